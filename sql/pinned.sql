-- The pinned forms: IMMUTABLE functions of a model's digest, and what can be built of them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/batch.sql'
\i :include
\set include :abs_srcdir '/sql/include/fails.sql'
\i :include
SELECT digest FROM dlm_models WHERE name = 'tiny' \gset
SELECT set_config('regress.digest', :'digest', false) \gset
-- the answers of the unpinned forms, with all arguments
SELECT bool_and(dlm_classify_pinned(:'digest', body, labels) = dlm_classify(body, labels)),
	bool_and(dlm_infill_pinned(:'digest', 'It is [MASK:2] ' || dlm_quote(body)) = dlm_infill('It is [MASK:2] ' || dlm_quote(body))),
	bool_and(dlm_generate_pinned(:'digest', body, 6) = dlm_generate(body, 6)),
	bool_and(dlm_embed_pinned(:'digest', body) = dlm_embed(body))
FROM r;
SELECT dlm_classify_pinned(:'digest', 'rain', '{wet,dry}', 'What is it?', '{"with water",NULL}', '[{"input": "sun", "label": "dry"}]',
		'{"calibrate": "content_free", "scoring": "chain"}') =
	dlm_classify('rain', '{wet,dry}', 'What is it?', '{"with water",NULL}', '[{"input": "sun", "label": "dry"}]',
		'{"calibrate": "content_free", "scoring": "chain"}');
SELECT dlm_infill_pinned(:'digest', 'It is [MASK:1-3].', 4, 1.5, 7, '{"top_k": 50}') = dlm_infill('It is [MASK:1-3].', 4, 1.5, 7, '{"top_k": 50}');
SELECT dlm_generate_pinned(:'digest', 'It is', 6, 4, 1.5, 7, '{"length": "fixed"}') = dlm_generate('It is', 6, 4, 1.5, 7, '{"length": "fixed"}');
-- by name, and a NULL option is its default
SELECT dlm_classify_pinned(options => NULL, examples => NULL, labels => '{sun,rain}', input => 'rain', digest => :'digest') = dlm_classify('rain', '{sun,rain}'),
	dlm_generate_pinned(:'digest', 'It is', NULL, NULL, NULL, NULL, NULL) = dlm_generate('It is');
-- NULL: nothing is looked at
SELECT dlm_classify_pinned(NULL, 'a', '{x,y}') IS NULL, dlm_classify_pinned('none', NULL, '{x,y}') IS NULL, dlm_classify_pinned('none', 'a', NULL) IS NULL,
	dlm_infill_pinned(NULL, 'a') IS NULL, dlm_infill_pinned('none', NULL) IS NULL, dlm_generate_pinned(NULL, 'a') IS NULL,
	dlm_generate_pinned('none', NULL) IS NULL, dlm_embed_pinned(NULL, 'a') IS NULL, dlm_embed_pinned('none', NULL) IS NULL;
-- neither settings nor names decide: another default, another name, another path
SELECT dlm_classify_pinned(:'digest', body, labels) AS before FROM r WHERE id = 7 \gset
SET dlm.default_model = 'nowhere';
SET search_path = pg_catalog;
ALTER SERVER tiny RENAME TO small;
SELECT public.dlm_classify_pinned(:'digest', body, labels) = :'before' FROM public.regress_dlm_rows WHERE id = 7;
ALTER SERVER small RENAME TO tiny;
RESET search_path;
SET dlm.default_model = 'tiny';
-- what could change is refused
SELECT * FROM pg_temp.fails($$SELECT dlm_embed_pinned('tiny', 'a')$$);
SELECT * FROM pg_temp.fails(format('SELECT dlm_embed_pinned(%L, ''a'')', left(:'digest', 12)));
SELECT * FROM pg_temp.fails(format('SELECT dlm_embed_pinned(%L, ''a'')', upper(:'digest')));
SELECT * FROM pg_temp.fails(format('SELECT dlm_embed_pinned(%L, ''a'')', :'digest' || ' '));
SELECT * FROM pg_temp.fails($$SELECT dlm_embed_pinned('', 'a')$$);
SELECT length(dlm_calibrate('regress fit', $$SELECT body AS input, CASE WHEN id % 2 = 0 THEN 'sun' ELSE 'rain' END AS target,
	ARRAY['sun', 'rain'] AS labels FROM r WHERE id < 9$$)::text) > 0;
SELECT * FROM pg_temp.fails(format($$SELECT dlm_classify_pinned(%L, 'a', '{sun,rain}', options => '{"calibration": "regress fit"}')$$, :'digest'));
SELECT dlm_classify('a', '{sun,rain}', options => '{"calibration": "regress fit"}') IS NOT NULL;
SELECT dlm_calibration_drop('regress fit');
-- options are checked as ever
SELECT * FROM pg_temp.fails(format($$SELECT dlm_infill_pinned(%L, 'no gap')$$, :'digest'));
SELECT * FROM pg_temp.fails(format($$SELECT dlm_classify_pinned(%L, 'a', '{x,x}')$$, :'digest'));
SELECT * FROM pg_temp.fails(format($$SELECT dlm_generate_pinned(%L, 'a', options => '{"unknown": 1}')$$, :'digest'));
-- a digest that no model has; one whose file is away; a model of it, away, beside one that is there
SELECT * FROM pg_temp.fails(format('SELECT dlm_embed_pinned(%L, ''a'')', repeat('0', 64)));
CREATE SERVER regress_away FOREIGN DATA WRAPPER dlm OPTIONS (file 'away.dlm', digest '0000000000000000000000000000000000000000000000000000000000000000');
SELECT code, message FROM pg_temp.fails(format('SELECT dlm_embed_pinned(%L, ''a'')', repeat('0', 64)));
DROP SERVER regress_away;
ALTER SERVER tiny RENAME TO regress_twin;
SELECT format('CREATE SERVER tiny FOREIGN DATA WRAPPER dlm OPTIONS (file %L, digest %L)', 'away.dlm', :'digest') \gexec
SELECT format('CREATE SERVER regress_last FOREIGN DATA WRAPPER dlm OPTIONS (file %L, digest %L)', 'away.dlm', :'digest') \gexec
SELECT dlm_classify_pinned(:'digest', body, labels) = :'before' FROM r WHERE id = 7;
DROP SERVER tiny;
DROP SERVER regress_last;
-- rights: USAGE on any model of the digest
CREATE ROLE regress_dlm_pinned;
CREATE ROLE regress_dlm_app;
GRANT SELECT ON regress_dlm_rows TO regress_dlm_pinned;
SET ROLE regress_dlm_pinned;
SELECT dlm_classify_pinned(:'digest', body, labels) = :'before' FROM regress_dlm_rows WHERE id = 7;
RESET ROLE;
SELECT dlm_load_model('tiny', :'llama') = :'digest';
GRANT USAGE ON FOREIGN SERVER tiny TO regress_dlm_pinned;
SET ROLE regress_dlm_pinned;
SELECT dlm_classify_pinned(:'digest', body, labels) = :'before' FROM regress_dlm_rows WHERE id = 7;
RESET ROLE;
DROP SERVER regress_twin;
-- ... and to write rows of a table that has such an index
SELECT format('CREATE TABLE regress_dlm_guarded (body text); CREATE INDEX ON regress_dlm_guarded (dlm_classify_pinned(%L, body, ''{sun,rain}''))', :'digest') \gexec
GRANT INSERT ON regress_dlm_guarded TO regress_dlm_app;
SET ROLE regress_dlm_app;
INSERT INTO regress_dlm_guarded VALUES ('rain');
RESET ROLE;
DROP TABLE regress_dlm_guarded;
-- constant arguments: the planner evaluates the call, and all bounds hold there
EXPLAIN (VERBOSE, COSTS OFF) SELECT dlm_classify_pinned(current_setting('regress.digest'), 'rain', '{wet,dry}') IS NULL;
PREPARE folded AS SELECT dlm_classify_pinned(:'digest', 'rain', '{wet,dry}') = dlm_classify('rain', '{wet,dry}');
EXECUTE folded;
SELECT pg_temp.place(format('SELECT dlm_infill_pinned(%L, ''It is [MASK].'') FROM r', :'digest'));
SET dlm.statement_budget_ms = 1;
SELECT code, message FROM pg_temp.fails(format($$EXPLAIN SELECT dlm_generate_pinned(%L, 'It is', 400, 400, options => '{"length": "fixed"}')$$, :'digest'));
SELECT code, message FROM pg_temp.fails(format($$SELECT CASE WHEN id > 0 THEN 'x' ELSE dlm_generate_pinned(%L, 'It is', 400, 400, options => '{"length": "fixed"}') END FROM r$$, :'digest'));
RESET dlm.statement_budget_ms;
-- batches, as the unpinned forms
SELECT pg_temp.both(format('SELECT id, dlm_classify_pinned(%L, body, labels) FROM r', :'digest'));
SELECT pg_temp.both(format('SELECT id, dlm_embed_pinned(%L, body), dlm_generate_pinned(%1$L, body, 4), dlm_infill_pinned(%1$L, body || '' [MASK]'') FROM r', :'digest'));
SELECT pg_temp.counted(format('SELECT id, dlm_classify_pinned(%L, left(body, 4), labels) FROM r', :'digest'));
SELECT pg_temp.both(format('SELECT count(*), min(dlm_classify_pinned(%L, body, labels)) FROM r WHERE dlm_classify_pinned(%1$L, body, ''{sun,rain}'') = ''sun''', :'digest'));
SELECT pg_temp.both(format('SELECT id, CASE WHEN k = 1 THEN dlm_classify_pinned(%L, body, labels) END FROM r', :'digest'));
SELECT pg_temp.changed(format('UPDATE r SET body = dlm_classify_pinned(%L, body, labels)', :'digest'));
-- a digest that changes from row to row, one of them unknown, one of them none
SELECT digest AS bundled FROM dlm_models WHERE name = 'dlm-135m' \gset
SELECT pg_temp.both(format($$SELECT id, dlm_classify_pinned(CASE id %% 3 WHEN 0 THEN %L WHEN 1 THEN %L END, body, labels) FROM r WHERE id < 9$$, :'digest', :'bundled'));
SET :force_parallel_mode = off;
SELECT pg_temp.both(format($$SELECT id, dlm_embed_pinned(CASE WHEN id < 9 THEN %L ELSE 'none' END, body) FROM r ORDER BY id LIMIT 8$$, :'digest'));
SELECT pg_temp.both(format($$SELECT id, dlm_embed_pinned(CASE WHEN id < 9 THEN %L ELSE 'none' END, body) FROM r ORDER BY id LIMIT 9$$, :'digest'));
RESET :force_parallel_mode;
-- generated columns
SELECT * FROM pg_temp.fails($$CREATE TABLE regress_dlm_stable (body text, label text GENERATED ALWAYS AS (dlm_classify(body, '{sun,rain}', model => 'tiny')) STORED)$$);
SELECT format($$CREATE TABLE regress_dlm_pinned (id int, body text, label text GENERATED ALWAYS AS (dlm_classify_pinned(%L, body, '{sun,rain}')) STORED)$$, :'digest') \gexec
INSERT INTO regress_dlm_pinned SELECT id, body FROM r;
INSERT INTO regress_dlm_pinned VALUES (0, NULL);
UPDATE regress_dlm_pinned SET body = 'sun' WHERE id = 1;
SELECT count(*), count(label), bool_and(label IS NOT DISTINCT FROM dlm_classify(body, '{sun,rain}')) FROM regress_dlm_pinned;
SELECT format('ALTER TABLE regress_dlm_pinned ADD embedding real[] GENERATED ALWAYS AS (dlm_embed_pinned(%L, body)) STORED', :'digest') \gexec
SELECT count(*), count(embedding), bool_and(embedding IS NOT DISTINCT FROM dlm_embed(body)) FROM regress_dlm_pinned;
-- without the model rows can be read, not written
BEGIN;
DROP SERVER tiny;
SELECT count(label) FROM regress_dlm_pinned;
\set VERBOSITY terse
INSERT INTO regress_dlm_pinned VALUES (100, 'wind');
ROLLBACK;
-- an index of an expression: found without a call
SELECT format('CREATE INDEX regress_dlm_index ON regress_dlm_rows (dlm_classify_pinned(%L, body, ''{sun,rain}''))', :'digest') \gexec
ALTER INDEX regress_dlm_index ALTER COLUMN 1 SET STATISTICS 0;
SET enable_seqscan = off;
SELECT sum(calls) AS calls FROM dlm_stats WHERE task = 'classify' AND digest = :'digest' AND database = current_database() \gset
SELECT count(*) AS indexed FROM regress_dlm_rows WHERE dlm_classify_pinned(:'digest', body, '{sun,rain}') = 'sun' \gset
ANALYZE regress_dlm_rows;
SELECT sum(calls) = :calls FROM dlm_stats WHERE task = 'classify' AND digest = :'digest' AND database = current_database();
SELECT pg_temp.place(format('SELECT id FROM regress_dlm_rows WHERE dlm_classify_pinned(%L, body, ''{sun,rain}'') = ''sun''', :'digest'));
RESET enable_seqscan;
SELECT count(*) = :indexed FROM regress_dlm_rows WHERE dlm_classify(body, '{sun,rain}') = 'sun';
UPDATE regress_dlm_rows SET body = 'sun' WHERE id = 2;
REINDEX INDEX regress_dlm_index;
DROP INDEX regress_dlm_index;
-- built by parallel workers
SET min_parallel_table_scan_size = 0;
SET max_parallel_maintenance_workers = 2;
ALTER TABLE regress_dlm_rows SET (parallel_workers = 2);
SELECT format('CREATE INDEX regress_dlm_index ON regress_dlm_rows (dlm_classify_pinned(%L, body, ''{sun,rain}''))', :'digest') \gexec
SET enable_seqscan = off;
SELECT (SELECT count(*) FROM regress_dlm_rows WHERE dlm_classify_pinned(:'digest', body, '{sun,rain}') = 'sun') =
	(SELECT count(*) FROM regress_dlm_rows WHERE dlm_classify(body, '{sun,rain}') = 'sun');
RESET enable_seqscan;
RESET min_parallel_table_scan_size;
RESET max_parallel_maintenance_workers;
DROP INDEX regress_dlm_index;
-- the condition of an index, extended statistics, a partition key, a materialised view
SELECT format('CREATE UNIQUE INDEX regress_dlm_part ON regress_dlm_rows (id) WHERE dlm_classify_pinned(%L, body, ''{sun,rain}'') = ''sun''', :'digest') \gexec
SELECT format('CREATE STATISTICS regress_dlm_stats ON (dlm_classify_pinned(%L, body, ''{sun,rain}'')), k FROM regress_dlm_rows', :'digest') \gexec
ANALYZE regress_dlm_rows;
SELECT format('CREATE TABLE regress_dlm_routed (body text) PARTITION BY LIST (dlm_classify_pinned(%L, body, ''{sun,rain}''))', :'digest') \gexec
CREATE TABLE regress_dlm_sun PARTITION OF regress_dlm_routed FOR VALUES IN ('sun');
CREATE TABLE regress_dlm_rest PARTITION OF regress_dlm_routed DEFAULT;
INSERT INTO regress_dlm_routed SELECT body FROM regress_dlm_rows;
SELECT count(*), bool_and(dlm_classify(body, '{sun,rain}') = 'sun') FROM regress_dlm_sun;
SELECT format('CREATE MATERIALIZED VIEW regress_dlm_view AS SELECT id, dlm_classify_pinned(%L, body, labels) AS label FROM regress_dlm_rows', :'digest') \gexec
REFRESH MATERIALIZED VIEW regress_dlm_view;
SELECT count(*), bool_and(label = dlm_classify(body, labels)) FROM regress_dlm_view JOIN regress_dlm_rows USING (id);
-- a superuser's REINDEX, ANALYZE and REFRESH run with the rights of the owner
ALTER MATERIALIZED VIEW regress_dlm_view OWNER TO regress_dlm_app;
GRANT SELECT ON regress_dlm_rows TO regress_dlm_app;
ALTER TABLE regress_dlm_rows OWNER TO regress_dlm_app;
REFRESH MATERIALIZED VIEW regress_dlm_view;
REINDEX TABLE regress_dlm_rows;
GRANT USAGE ON FOREIGN SERVER tiny TO regress_dlm_app;
REFRESH MATERIALIZED VIEW regress_dlm_view;
REINDEX TABLE regress_dlm_rows;
ANALYZE regress_dlm_rows;
DROP VIEW r;
DROP MATERIALIZED VIEW regress_dlm_view;
DROP TABLE regress_dlm_rows, regress_dlm_pinned, regress_dlm_routed;
DROP SERVER tiny;
DROP ROLE regress_dlm_pinned;
DROP ROLE regress_dlm_app;
