-- EXPLAIN and the log say which calls are collected, and why the others are not.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/batch.sql'
\i :include
CREATE TABLE regress_dlm_out (id int PRIMARY KEY, label text);
INSERT INTO regress_dlm_out SELECT id FROM r;
ANALYZE regress_dlm_out;
-- every format; more with VERBOSE, ANALYZE, TIMING
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body), upper(dlm_classify(body, labels)) FROM r WHERE dlm_score(body) < 0 AND id < 30;
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body) FROM r WHERE dlm_score(body) < 0 OR dlm_classify(body, labels) = 'sun';
EXPLAIN (COSTS OFF, VERBOSE) SELECT id + 1, dlm_score(dlm_infill(body || ' [MASK]')) * 2, r FROM regress_dlm_rows r;
EXPLAIN (COSTS OFF, VERBOSE) SELECT k, sum(dlm_score(body)) FILTER (WHERE id > 3) FROM r GROUP BY k;
EXPLAIN (COSTS OFF, FORMAT JSON) SELECT dlm_score(body) FROM r WHERE id < 30 LIMIT dlm_score('x')::int \g :as_15
EXPLAIN (COSTS OFF, FORMAT YAML) SELECT dlm_score(body) FROM r WHERE id < 30 LIMIT dlm_score('x')::int \g :as_15
EXPLAIN (COSTS OFF, FORMAT XML) SELECT dlm_score(body) FROM r WHERE id < 30 LIMIT dlm_score('x')::int \g :as_15
SET :force_parallel_mode = off;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT id, dlm_score(body) FROM r \g :as_15
BEGIN;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) UPDATE regress_dlm_rows SET body = dlm_infill('It is [MASK].') \g :as_15
ROLLBACK;
SELECT pg_temp.counted('SELECT id, dlm_score(body) FROM r', figure) FROM unnest('{Batches,Batch Rows,Requests,Rows Computed Alone,Steps}'::text[]) figure;
RESET :force_parallel_mode;
-- no plan, no reasons: without batching, without calls
SET dlm.enable_batching = off;
EXPLAIN (COSTS OFF) SELECT dlm_score(body) FROM r WHERE dlm_score(body) < 0;
RESET dlm.enable_batching;
EXPLAIN (COSTS OFF) SELECT lower(body) FROM r WHERE length(body) < 0;
-- every place that is computed row by row
SELECT pg_temp.place('SELECT id FROM r WHERE dlm_score(body) < 0');
SELECT pg_temp.place('SELECT a.id, b.k FROM r a LEFT JOIN r b ON a.id = b.id AND dlm_score(a.body) < 0');
SELECT pg_temp.place('SELECT a.id FROM r a JOIN r b ON dlm_classify(a.body, a.labels) = b.body');
SELECT pg_temp.place('SELECT k FROM r GROUP BY k HAVING dlm_score(k::text) < 0 OR dlm_score(max(body)) < 0');
SELECT pg_temp.place('UPDATE regress_dlm_out SET label = ''x'' RETURNING dlm_classify(label, ''{a,b}'')');
SELECT pg_temp.place('INSERT INTO regress_dlm_out SELECT id, body FROM r ON CONFLICT (id) DO UPDATE SET label = dlm_infill(excluded.label) WHERE dlm_score(excluded.label) < 0');
SELECT pg_temp.place('MERGE INTO regress_dlm_out o USING r ON r.id = o.id WHEN MATCHED AND dlm_score(r.body) < 0 THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (r.id, dlm_infill(r.body))');
SELECT pg_temp.place('SELECT * FROM dlm_classify(''a'', ''{a,b}'') c');
SELECT pg_temp.place('SELECT * FROM generate_series(1, dlm_score(''a'')::int) i, ROWS FROM (dlm_embed(''a'')) f');
SELECT pg_temp.place('SELECT id, (SELECT count(*) FROM r b WHERE b.body < dlm_classify(a.body, a.labels)) FROM r a');
SELECT pg_temp.place('SELECT id, dlm_classify(body, labels) IN (SELECT b.body FROM r b) FROM r a');
SELECT pg_temp.place('SELECT dlm_score(''rain'')');
SELECT pg_temp.place('SELECT dlm_score(body) FROM r WHERE id = 3');
SELECT pg_temp.place('SELECT dlm_score(max(body)) FROM r');
SELECT pg_temp.place('SELECT max(dlm_score(body)) FROM r WHERE id = 3');
SELECT pg_temp.place('SELECT unnest(ARRAY[dlm_score(''rain'')])');
SELECT pg_temp.place('VALUES (dlm_score(''rain'')), (dlm_score(''sun''))');
SELECT pg_temp.place('SELECT id FROM r LIMIT dlm_score(''x'')::int OFFSET dlm_score(''y'')::int');
SELECT pg_temp.place('SELECT CASE WHEN random() < 0.5 THEN dlm_score(body) END FROM r');
SELECT pg_temp.place('SELECT dlm_score(body || random()) FROM r');
SELECT pg_temp.place('SELECT random(), dlm_score(body) FROM r WHERE random() < 0.5');
SELECT pg_temp.place('SELECT labels[dlm_score(body)::int] FROM r');
SELECT pg_temp.place('SELECT ARRAY[body]::varchar(3)[] = ARRAY[dlm_classify(body, labels)]::varchar(3)[] FROM r');
SELECT pg_temp.place('SELECT (dlm_score(body), 1) < (k, 2) FROM r');
SELECT pg_temp.place('SELECT lag(dlm_score(body)) OVER () FROM r');
SELECT pg_temp.place('SELECT sum(k) OVER (ORDER BY id ROWS dlm_score(''x'')::int PRECEDING) FROM r');
SELECT pg_temp.place('SELECT percentile_cont(dlm_score(k::text)) WITHIN GROUP (ORDER BY id) FROM r GROUP BY k');
SET enable_seqscan = off;
SELECT pg_temp.place('SELECT id FROM regress_dlm_out WHERE id = dlm_score(''x'')::int');
SELECT pg_temp.place('SELECT id FROM regress_dlm_rows WHERE ctid = dlm_classify(''x'', ''{"(0,1)"}'')::tid');
RESET enable_seqscan;
ALTER TABLE regress_dlm_out ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON regress_dlm_out USING (dlm_score(label) < 0) WITH CHECK (dlm_classify(label, '{a,b}') = 'a');
CREATE ROLE regress_dlm_owner;
GRANT ALL ON regress_dlm_out, r TO regress_dlm_owner;
SET ROLE regress_dlm_owner;
SELECT pg_temp.place('UPDATE regress_dlm_out SET label = ''x'' WHERE id < 9');
RESET ROLE;
DROP TABLE regress_dlm_out;
DROP OWNED BY regress_dlm_owner;
DROP ROLE regress_dlm_owner;
-- the log
SET client_min_messages = debug1;
SELECT count(*) FROM r WHERE dlm_score(body) < 0;
SELECT count(CASE WHEN random() < 2 THEN dlm_score(body) END) FROM r;
SELECT count(dlm_score(body)) FROM r;
RESET client_min_messages;
DROP VIEW r;
DROP TABLE regress_dlm_rows;
DROP SERVER tiny;
