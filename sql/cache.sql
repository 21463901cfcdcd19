-- dlm.cache_mem: answers that all sessions may find again. The same bits, and never somebody else's.
\getenv root PG_ABS_SRCDIR
\set llama :root '/test/models/llama'
\set context :root '/test/models/context'
\set cache_mem_sql :root '/sql/include/cache_mem.sql'
\set versions :root '/sql/include/versions.sql'
\i :versions
\set VERBOSITY terse
SET client_min_messages = warning;
SELECT dlm_load_model('tiny', :'llama') AS digest \gset
SET dlm.default_model = 'tiny';
CREATE SCHEMA regress_cache;
SET search_path = regress_cache, public;
CREATE TABLE zoo (id int PRIMARY KEY, animal text, legs int CHECK (legs BETWEEN 0 AND 9), wild boolean, color text CHECK (color IN ('red', 'dark green', 'blue')));
INSERT INTO zoo VALUES (1, 'ant', 6, true, 'red'), (2, 'cat', NULL, NULL, NULL), (3, 'eel', 0, NULL, 'blue'), (4, 'dog', 4, false, NULL), (5, 'cat', NULL, NULL, NULL);
ANALYZE zoo;
-- one of everything
CREATE FUNCTION answers() RETURNS TABLE (name text, value text) LANGUAGE sql AS $$
	SELECT 'generate', dlm_generate('The rain', 6)
	UNION ALL SELECT 'sampled', dlm_generate('The rain', 6, temperature => 1, seed => 7)
	UNION ALL SELECT 'generates', dlm_generate(ARRAY['a', NULL, 'b', 'a'], 3)::text
	UNION ALL SELECT 'infill', dlm_infill('It [MASK:1-3] on [MASK:day] and [MASK:2].')
	UNION ALL SELECT 'gaps', dlm_infill_gaps('It [MASK:1-3] on [MASK:day] and [MASK:2].')::text
	UNION ALL SELECT 'choices', dlm_infill_gaps('It [MASK:a] and [MASK:2] [MASK].', options => '{"choices": {"a": ["rains", "snows hard", "is"], "3": ["x", "y"]}}')::text
	UNION ALL SELECT 'patterns', dlm_infill('It is [MASK:t:1-4].', options => '{"patterns": {"t": "[0-9]{1,2}:[0-9]{2}"}}')
	UNION ALL SELECT 'classify', dlm_classify('It rains', '{rain,sun,snow and ice}')
	UNION ALL SELECT 'full', dlm_classify_full('It rains', '{rain,sun,snow and ice}')::text
	UNION ALL SELECT 'scores', string_agg(s::text, ' ') FROM dlm_classify_scores('It rains', '{rain,sun,snow and ice}') AS s
	UNION ALL SELECT 'multi', dlm_classify_multi('It rains', '{rain,sun,snow and ice}')::text
	UNION ALL SELECT 'score', dlm_score('It rains today')::text
	UNION ALL SELECT 'tokens', string_agg(s::text, ' ') FROM dlm_token_scores('It rains today') AS s
	UNION ALL SELECT 'embed', dlm_embed('It rains')::text
	UNION ALL SELECT 'embeds', string_agg(e::text, ' ') FROM dlm_embed_many('{It rains,NULL,sun}') AS e
	UNION ALL SELECT 'empty', dlm_generate('', 1)
	UNION ALL SELECT 'row', dlm_infill_row(z)::text FROM zoo AS z
	UNION ALL SELECT 'cells', dlm_infill_cells(z)::text FROM zoo AS z
	UNION ALL SELECT 'odd', string_agg(o::text, ' ') FROM dlm_outliers('zoo', 'animal') AS o
	UNION ALL SELECT 'odd', string_agg(o::text, ' ') FROM dlm_outliers('zoo', 'color') AS o
	UNION ALL SELECT 'repair', dlm_repair('The rain falls', threshold => 0.5)
$$;
-- what a query asks of the cache
CREATE FUNCTION asked(query text, OUT hits bigint, OUT misses bigint, OUT stored bigint) LANGUAGE plpgsql AS $$
DECLARE
	before record;
BEGIN
	SELECT * INTO before FROM dlm_cache_info();
	EXECUTE query;
	SELECT i.hits - before.hits, i.misses - before.misses, i.stored - before.stored INTO hits, misses, stored FROM dlm_cache_info() AS i;
END
$$;

-- off
SHOW dlm.cache_mem;
SELECT dlm_cache_reset();
CREATE TABLE off AS SELECT row_number() OVER () AS n, a.* FROM answers() AS a;
SELECT * FROM asked('SELECT * FROM answers()');
SELECT bytes, used_bytes, answers, hits + misses + stored + evicted + not_stored AS counted FROM dlm_cache_info();

-- it is the server's memory: nobody has a value of their own
SET dlm.cache_mem = '1MB';
ALTER ROLE CURRENT_USER SET dlm.cache_mem = '1MB';
\set VERBOSITY default
ALTER SYSTEM SET dlm.cache_mem = '63kB';
\set VERBOSITY sqlstate
ALTER SYSTEM SET dlm.cache_mem = -1;
\set VERBOSITY terse
SELECT min_val, max_val, unit FROM pg_settings WHERE name = 'dlm.cache_mem';

-- on: the first time all is computed and kept, the second time nothing is computed; the same bits
\set cache_mem 1MB
\i :cache_mem_sql
SELECT bytes, used_bytes, answers FROM dlm_cache_info();
SELECT dlm_stats_reset();
CREATE TABLE first AS SELECT row_number() OVER () AS n, a.* FROM answers() AS a;
CREATE TABLE stats AS SELECT sum(calls) AS calls, sum(rows) AS rows, sum(batches) AS batches, sum(tokens) AS tokens, sum(cache_hits) AS hits FROM dlm_stats;
CREATE TABLE second AS SELECT row_number() OVER () AS n, a.* FROM answers() AS a;
SELECT name, off.value = first.value AS first, off.value = second.value AS second FROM off JOIN first USING (n, name) JOIN second USING (n, name) ORDER BY n;
SELECT sum(s.batches) - max(b.batches) AS batches, sum(s.tokens) - max(b.tokens) AS tokens, sum(s.calls) = 2 * max(b.calls) AS calls, sum(s.rows) = 2 * max(b.rows) AS rows,
	sum(s.cache_hits) - max(b.hits) = max(b.rows) AS all_hits FROM dlm_stats AS s, stats AS b;
-- equal rows of one batch are asked for one by one, and kept once
SELECT misses - stored AS equal, hits > misses AS found, answers = stored AS there, used_bytes BETWEEN 128 * answers AND bytes AS used FROM dlm_cache_info();

-- a right that is missing is missing, whatever is known; another role has answers of its own
CREATE ROLE regress_dlm_guest;
GRANT USAGE ON SCHEMA regress_cache TO regress_dlm_guest;
SET ROLE regress_dlm_guest;
SELECT dlm_score('It rains today');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER tiny TO regress_dlm_guest;
SET ROLE regress_dlm_guest;
SELECT * FROM asked($$SELECT dlm_score('It rains today')$$);
SELECT * FROM asked($$SELECT dlm_score('It rains today')$$);
SELECT dlm_cache_reset();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION dlm_score(text, jsonb, text) FROM PUBLIC;
SET ROLE regress_dlm_guest;
SELECT dlm_score('It rains today');
RESET ROLE;
GRANT EXECUTE ON FUNCTION dlm_score(text, jsonb, text) TO PUBLIC;
REVOKE USAGE ON FOREIGN SERVER tiny FROM regress_dlm_guest;
SET ROLE regress_dlm_guest;
SELECT dlm_score('It rains today');
SELECT dlm_score(body) FROM (VALUES ('It rains today'), ('x')) AS v (body);
RESET ROLE;
REVOKE USAGE ON SCHEMA regress_cache FROM regress_dlm_guest;
DROP ROLE regress_dlm_guest;

-- what may change an answer is another question; what is the same after defaults is the same one
SELECT * FROM asked($$SELECT dlm_infill('The [MASK].')$$);
SELECT v AS options, a.* FROM unnest(ARRAY['NULL', 'steps => 2', 'temperature => 1', 'temperature => 1, seed => 2',
	'options => ''{"ban": ["a"]}''', 'options => ''{"ban": ["b"]}''', 'options => ''{"sampler": "margin"}''', 'options => ''{"top_k": 5}''', 'options => ''{"boundary": "plain"}''',
	'options => ''{"choices": {"1": ["a", "b"]}}''', 'options => ''{"choices": {"1": ["a", "c"]}}''', 'options => ''{"patterns": {"1": "[a-z]+"}}''', 'options => ''{"on_overflow": "truncate"}''',
	'options => ''{}'', seed => 0, temperature => 0, model => ''tiny''', 'options => ''{"ban": null, "on_error": "null"}''']) AS v, asked(format('SELECT dlm_infill(''The [MASK].'', %s)', v)) AS a;
SELECT v AS labels, a.* FROM unnest(ARRAY['''{a,b}''', '''{b,a}''', '''{ab}''', '''{a,b}'', ''Choose.''', '''{a,b}'', descriptions => ''{x,y}''',
	'''{a,b}'', descriptions => ''{xy,""}''', '''{a,b}'', examples => ''[{"input": "a", "label": "b"}]''', '''{a,b}'', options => ''{"calibrate": "none"}''', '''{a,b}'', options => ''{"scoring": "pll"}''',
	'ARRAY[''a'', ''b'']']) AS v, asked(format('SELECT dlm_classify(''The day'', %s)', v)) AS a;
SELECT v AS threshold, a.* FROM unnest(ARRAY['0.5', '0.1', 'NULL']) AS v, asked(format('SELECT dlm_classify_multi(''The day'', ''{a,b}'', threshold => %s)', v)) AS a;
SELECT * FROM asked('SELECT dlm_generate(''The day'', 4)');
SELECT * FROM asked('SELECT dlm_generate(''The day'', 5)');
-- a fit is known by what it says, not by its name
SELECT dlm_calibrate('regress cache', $$SELECT i AS input, t AS target, '{a,b}'::text[] AS labels FROM (VALUES ('x', 'a'), ('y', 'b'), ('z', 'a')) AS v (i, t)$$) IS NOT NULL AS fitted;
SELECT * FROM asked($$SELECT dlm_classify('The day', '{a,b}', options => '{"calibration": "regress cache"}')$$);
SELECT * FROM asked($$SELECT dlm_classify('The day', '{a,b}', options => '{"calibration": "regress cache"}')$$);
SELECT dlm_calibrate('regress cache', $$SELECT i AS input, t AS target, '{a,b}'::text[] AS labels FROM (VALUES ('x', 'b'), ('y', 'b'), ('z', 'a')) AS v (i, t)$$) IS NOT NULL AS fitted;
SELECT * FROM asked($$SELECT dlm_classify('The day', '{a,b}', options => '{"calibration": "regress cache"}')$$);
SELECT dlm_calibration_drop('regress cache');
-- what a table allows is asked anew
SELECT dlm_infill_row(z)::text AS before FROM zoo AS z WHERE id = 4 \gset
SELECT color AS was FROM dlm_infill_row((SELECT z FROM zoo AS z WHERE id = 4)) \gset
SELECT format('ALTER TABLE zoo ADD CHECK (id <> 4 OR color <> %L)', :'was') \gexec
SELECT color <> :'was' AS legal FROM dlm_infill_row((SELECT z FROM zoo AS z WHERE id = 4));

-- errors are not kept, nor traces
SELECT a.* FROM generate_series(1, 2) AS i, asked($$SELECT dlm_score(repeat('long ', 9000), options => '{"on_error": "null"}')$$ || repeat(' ', i)) AS a;
SELECT a.* FROM generate_series(1, 2) AS i, asked($$SELECT count(*) FROM dlm_trace('The [MASK].')$$ || repeat(' ', i)) AS a;

-- a model is its weights: another name finds the answers, other weights under the name do not
SELECT dlm_load_model('twin', :'llama') = :'digest' AS same;
SELECT * FROM asked($$SELECT dlm_score('It rains today', model => 'twin')$$);
SELECT dlm_drop_model('twin');
SELECT dlm_load_model('twin', :'context') = :'digest' AS same;
SELECT * FROM asked($$SELECT dlm_score('It rains today', model => 'twin')$$);
SELECT dlm_drop_model('twin');

-- a growing table: only what is new is computed, and together
CREATE TABLE news (id int PRIMARY KEY, body text, label text);
INSERT INTO news SELECT i, 'day ' || i FROM generate_series(1, 60) AS i;
ANALYZE news;
SET parallel_setup_cost = 1000000;
UPDATE news SET label = dlm_classify(body, '{rain,sun}');
INSERT INTO news SELECT i, 'day ' || i FROM generate_series(61, 70) AS i;
SET dlm.batch_size = 16;
SET :force_parallel_mode = off;
\t on
\a
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT id, dlm_classify(body, '{rain,sun}') FROM news ORDER BY id \g :as_15
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT id, dlm_classify(body, '{rain,sun}') FROM news ORDER BY id \g :as_15
\a
\t off
RESET :force_parallel_mode;
-- an array with two that are new
SELECT dlm_stats_reset();
SELECT * FROM asked($$SELECT dlm_classify(array_agg(body || CASE WHEN id IN (7, 70) THEN '!' ELSE '' END ORDER BY id), '{rain,sun}') FROM news$$);
SELECT task, calls, rows, batches, cache_hits FROM dlm_stats;
SELECT n.id, a.label FROM unnest((SELECT dlm_classify(array_agg(body ORDER BY id), '{rain,sun}') FROM news)) WITH ORDINALITY AS a (label, id) JOIN news AS n USING (id)
	WHERE a.label IS DISTINCT FROM n.label AND n.id <= 60;
RESET dlm.batch_size;

-- reset: nothing is known
SELECT dlm_cache_reset();
SELECT bytes, used_bytes, answers, hits + misses + stored + evicted + not_stored AS counted, reset > now() - interval '1 minute' AS now FROM dlm_cache_info();
SELECT * FROM asked($$SELECT dlm_score('It rains today')$$);

-- the smallest: most have to go, those asked for again stay, and answers are right
\set cache_mem 64kB
\i :cache_mem_sql
SELECT bytes, used_bytes, answers FROM dlm_cache_info();
SELECT dlm_cache_reset();
CREATE TABLE many AS SELECT i AS id, dlm_score('row ' || i) AS value FROM generate_series(1, 1000) AS i;
SELECT stored, evicted > 0 AS evicted, answers = stored - evicted AS balance, used_bytes <= bytes AS bounded, answers > 300 AS full FROM dlm_cache_info();
SELECT count(*) AS wrong FROM many WHERE value <> dlm_score('row ' || id);
SELECT dlm_score('row 1') IS NOT NULL AS known;
SELECT hits, misses FROM asked($q$DO $$
BEGIN
	FOR i IN 1 .. 500 LOOP
		PERFORM dlm_score('row 1'), dlm_score('other ' || i);
	END LOOP;
END
$$$q$);
SELECT * FROM asked($$SELECT dlm_score('row 1')$$);
SELECT * FROM asked($$SELECT dlm_score('row 2')$$);
-- what is too large for it is not kept, and takes nobody's place
SELECT answers, evicted FROM dlm_cache_info() \gset
SELECT length(dlm_infill(repeat('long text ', 200) || '[MASK]')) > 2000 AS answered;
SELECT not_stored, answers = :answers AND evicted = :evicted AS as_before FROM dlm_cache_info();

-- off again, at once
\set cache_mem 0
\i :cache_mem_sql
SELECT * FROM asked($$SELECT dlm_score('row 1000')$$);
SELECT bytes, used_bytes, answers FROM dlm_cache_info();
\set ECHO none
ALTER SYSTEM RESET dlm.cache_mem;
SELECT pg_reload_conf() \gset
RESET search_path;
DROP SCHEMA regress_cache CASCADE;
SELECT dlm_drop_model('tiny');
