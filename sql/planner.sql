-- What the planner knows: costs, rows, parallel plans, and answers that do not depend on the plan.
\getenv root PG_ABS_SRCDIR
\set versions :root '/sql/include/versions.sql'
\i :versions
CREATE FUNCTION pg_temp.plan(query text, OUT rows int, OUT cost numeric) LANGUAGE plpgsql AS $$
DECLARE
	j json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO j;
	rows := j -> 0 -> 'Plan' ->> 'Plan Rows';
	cost := j -> 0 -> 'Plan' ->> 'Total Cost';
END
$$;
SELECT q, rows FROM unnest(ARRAY[
	$$SELECT * FROM dlm_classify_scores('a', '{x,y,z}')$$,
	$$SELECT * FROM dlm_embed_many('{a,b}')$$,
	$$SELECT * FROM dlm_predict_length('a', 7)$$,
	$$SELECT * FROM dlm_trace_generate('a', 32)$$,
	$$SELECT * FROM dlm_tokenize('twelve bytes')$$]) q, pg_temp.plan(q);
CREATE TEMP TABLE one (body text);
INSERT INTO one VALUES ('a');
ANALYZE one;
-- more steps, a longer canvas and more rows cost more; the cost of one call is capped
SELECT (SELECT cost FROM pg_temp.plan('SELECT dlm_generate(body, steps => 64) FROM one')) >
		(SELECT cost FROM pg_temp.plan('SELECT dlm_generate(body) FROM one')) AS steps,
	(SELECT cost FROM pg_temp.plan('SELECT dlm_generate(body, 256) FROM one')) >
		(SELECT cost FROM pg_temp.plan('SELECT dlm_generate(body, 64) FROM one')) AS length,
	(SELECT cost FROM pg_temp.plan('SELECT dlm_generate(body, 100000, 100000) FROM one')) < 1000 AS capped,
	(SELECT cost FROM pg_temp.plan('SELECT dlm_classify(body, ''{x,y}'') FROM one')) >
		10 * (SELECT cost FROM pg_temp.plan('SELECT lower(body) FROM one')) AS expensive;
-- a parallel plan, and the same answers as the serial one
CREATE TABLE regress_dlm_big AS
SELECT i AS id, (ARRAY['I love it.', 'It broke.', 'Great value.', 'Never again.'])[1 + i % 4] || ' ' || i AS body
FROM generate_series(1, 200) i;
ALTER TABLE regress_dlm_big SET (parallel_workers = 2);
ANALYZE regress_dlm_big;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT count(*) FILTER (WHERE dlm_classify(body, '{good,bad}') = 'good') FROM regress_dlm_big;
DELETE FROM regress_dlm_big WHERE id > 24;
SET parallel_setup_cost = 0;
EXPLAIN (COSTS OFF) SELECT id, dlm_classify_full(body, '{good,bad}') FROM regress_dlm_big;
CREATE TABLE regress_dlm_parallel AS SELECT id, dlm_classify_full(body, '{good,bad}') AS answer FROM regress_dlm_big;
SET max_parallel_workers_per_gather = 0;
SELECT count(*) AS rows, bool_and(p.answer = dlm_classify_full(b.body, '{good,bad}')) AS same
FROM regress_dlm_big b JOIN regress_dlm_parallel p USING (id);
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
-- all of it in a worker
SET :force_parallel_mode = on;
SELECT dlm_infill('The sky is [MASK].') = (SELECT dlm_infill('The sky is [MASK].') OFFSET 0) AS same;
RESET :force_parallel_mode;
DROP TABLE regress_dlm_big, regress_dlm_parallel;
-- UPDATE
CREATE TEMP TABLE review (id int, body text, label text);
INSERT INTO review (id, body) VALUES (1, 'I love it.'), (2, 'It broke.'), (3, NULL);
UPDATE review SET label = dlm_classify(body, '{good,bad}');
SELECT id, label IS NOT DISTINCT FROM dlm_classify(body, '{good,bad}') AS same FROM review ORDER BY id;
