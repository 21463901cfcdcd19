-- The examples whose inputs are nearest to a text.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/fails.sql'
\i :include
\set versions :abs_srcdir '/sql/include/versions.sql'
\i :versions
CREATE FUNCTION pg_temp.dot(a real[], b real[]) RETURNS float8 LANGUAGE sql AS
	$$SELECT sum(x::float8 * y ORDER BY i) FROM unnest(a, b) WITH ORDINALITY AS u (x, y, i)$$;
CREATE TABLE judged (id int PRIMARY KEY, body text, label text);
INSERT INTO judged VALUES (1, 'The battery died after two days.', 'bad'), (2, 'A lovely lamp, warm light.', 'good'),
	(3, 'Parliament passed the tax bill.', 'politics'), (4, 'The striker scored twice.', 'sports'), (5, '', 'bad'),
	(6, 'The goalkeeper saved a penalty.', 'sports'), (7, 'The lamp broke on day "one".', 'bad');
CREATE TABLE asked (id int, body text);
INSERT INTO asked VALUES (1, 'The lamp stopped working.'), (2, 'The senate voted on the budget.'), (3, NULL), (4, 'They lost the final.'), (5, '');
CREATE VIEW examples AS SELECT dlm_examples(body, label ORDER BY id) AS e FROM judged;
-- the nearest last: next to the input
SELECT jsonb_array_elements(dlm_nearest_examples('The lamp stopped working.', e, 3)) AS nearest FROM examples;
-- the same as by hand, in a batch, row by row and alone
CREATE TABLE by_hand AS
SELECT a.id, (SELECT jsonb_agg(jsonb_build_object('input', n.body, 'label', n.label) ORDER BY n.near, n.id DESC) FROM (
	SELECT j.*, pg_temp.dot(dlm_embed(a.body), dlm_embed(j.body)) AS near FROM judged j ORDER BY near DESC, j.id LIMIT 3) n) AS e
FROM asked a WHERE a.body IS NOT NULL;
SELECT id, n.e = h.e AS same FROM (SELECT a.id, dlm_nearest_examples(a.body, (SELECT e FROM examples), 3) AS e FROM asked a) n
LEFT JOIN by_hand h USING (id) ORDER BY id;
SET dlm.enable_batching = off;
SELECT id, n.e = h.e AS same FROM (SELECT a.id, dlm_nearest_examples(a.body, (SELECT e FROM examples), 3) AS e FROM asked a) n
LEFT JOIN by_hand h USING (id) ORDER BY id;
SET dlm.memo_mem = 0;
SELECT id, n.e = h.e AS same FROM (SELECT a.id, dlm_nearest_examples(a.body, (SELECT e FROM examples), 3) AS e FROM asked a) n
LEFT JOIN by_hand h USING (id) ORDER BY id;
RESET dlm.memo_mem;
RESET dlm.enable_batching;
-- examples are embedded once by each process of a query: 7 of them and 4 texts
SET max_parallel_workers_per_gather = 0;
SELECT dlm_stats_reset();
SELECT count(dlm_nearest_examples(a.body, e, 1)) FROM asked a, examples;
SELECT sum(rows) AS rows FROM dlm_stats;
-- and kept over the end of the transaction as far as dlm.memo_mem goes: the texts alone, then all again
SELECT dlm_stats_reset();
SELECT count(dlm_nearest_examples(a.body, e, 1)) FROM asked a, examples;
SELECT sum(rows) AS rows FROM dlm_stats;
SET dlm.memo_mem = 0;
SELECT count(dlm_nearest_examples(a.body, e, 1)) FROM asked a, examples;
SELECT dlm_stats_reset();
SELECT count(dlm_nearest_examples(a.body, e, 1)) FROM asked a, examples;
SELECT sum(rows) AS rows FROM dlm_stats;
RESET dlm.memo_mem;
-- ties go to the earlier example
SELECT dlm_nearest_examples('a text', '[{"input": "b", "label": "first"}, {"input": "b", "label": "second"}, {"input": "b", "label": "third"}]', 2);
-- four where nothing is said; all where there are fewer; an example keeps its form
SELECT jsonb_array_length(dlm_nearest_examples('a', e)) AS usual, jsonb_array_length(dlm_nearest_examples('a', e, NULL)) AS null,
	jsonb_array_length(dlm_nearest_examples('a', e, 1000)) AS all FROM examples;
SELECT dlm_nearest_examples('a', '[{"label": "l\\1", "input": "\u20ac [MASK]"}]') AS one, dlm_nearest_examples('a', '[]') AS none;
SELECT dlm_nearest_examples(NULL, '[]') IS NULL AS no_text, dlm_nearest_examples('a', NULL) IS NULL AS no_examples,
	dlm_nearest_examples('a', (SELECT dlm_examples(body, label) FROM judged WHERE false)) IS NULL AS no_rows;
-- another model has other vectors, and neither takes the other's
\set folder :abs_srcdir '/test/models/context'
SELECT dlm_load_model('nearest', :'folder') IS NOT NULL AS loaded;
CREATE VIEW of_both AS
SELECT dlm_nearest_examples('They lost the final.', e, 7) AS bundled, dlm_nearest_examples('They lost the final.', e, 7, 'nearest') AS loaded FROM examples;
SELECT jsonb_array_length(bundled) AS n, bundled <> loaded AS differ, bundled @> loaded AND loaded @> bundled AS same_set FROM of_both;
SELECT bundled = dlm_nearest_examples('They lost the final.', e, 7) AS again FROM of_both, examples;
-- what classification takes; both go through the model in batches
\t on
\a
EXPLAIN (COSTS OFF) SELECT dlm_classify(body, '{bad,good,politics,sports}', examples => dlm_nearest_examples(body, (SELECT e FROM examples), 2))
FROM asked \g :as_15
\a
\t off
RESET max_parallel_workers_per_gather;
SELECT id, n.label = (dlm_classify_full(body, '{bad,good,politics,sports}', examples => dlm_nearest_examples(body, e, 2))).label AS same
FROM (SELECT a.*, dlm_classify(body, '{bad,good,politics,sports}', examples => dlm_nearest_examples(body, e, 2)) AS label, e
	FROM asked a, examples OFFSET 0) n ORDER BY id;
-- examples of each row's own; a row that fails does so where it stands
SELECT a.id, dlm_nearest_examples(a.body, dlm_examples(j.body, j.label ORDER BY j.id), 1) AS nearest
FROM asked a JOIN judged j ON j.id % 2 = a.id % 2 WHERE a.id < 3 GROUP BY a.id, a.body ORDER BY a.id;
SELECT * FROM pg_temp.fails($$SELECT dlm_nearest_examples(body, CASE WHEN id = 4 THEN '[1]' ELSE '[]' END::jsonb) FROM asked ORDER BY id$$);
SELECT dlm_nearest_examples(body, CASE WHEN id = 4 THEN '[1]' ELSE '[]' END::jsonb) FROM asked ORDER BY id LIMIT 2;
-- wrong values
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_nearest_examples('a', '[]', 0)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_nearest_examples('a', '[]', 1001)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_nearest_examples('a', '{}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_nearest_examples('a', '[{"input": "b"}]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_nearest_examples('a', (SELECT dlm_examples('b', 'c') FROM generate_series(1, 10001)))$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_nearest_examples('a', '[]', model => 'none such')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_nearest_examples('a', jsonb_build_array('{"input": "b", "label": "c"}'::jsonb,
	jsonb_build_object('input', repeat('long ', 10000), 'label', 'c')), model => 'dlm-135m')$$);
\x off
DROP VIEW of_both, examples;
DROP TABLE judged, asked, by_hand;
SELECT dlm_drop_model('nearest');
