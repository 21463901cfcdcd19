-- Statements, plans and sessions: first statements, prepared ones, an extension that comes and goes, compiling.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/batch.sql'
\i :include
\set VERBOSITY terse
-- the first statement of a session, whose planning loads the library
ALTER DATABASE :"DBNAME" SET dlm.default_model = 'tiny';
\c -
EXPLAIN (COSTS OFF) SELECT dlm_score(body) FROM r;
\c -
SET :force_parallel_mode = off;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) SELECT count(dlm_score(body)) FROM r WHERE id < 9 \g :as_15
\c -
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) UPDATE regress_dlm_rows SET body = dlm_infill(body || ' [MASK]') WHERE id < 9 \g :as_15
\c -
SELECT count(dlm_score(body)) FROM r WHERE id < 9;
\i :include
-- prepared statements: custom and generic plans, settings of the moment
PREPARE p(int, text[]) AS SELECT id, dlm_classify(body, $2) FROM r WHERE id < $1 LIMIT $1;
EXECUTE p(4, '{sun,rain}');
EXPLAIN (COSTS OFF) EXECUTE p(4, '{sun,rain}');
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE p(4, '{sun,rain}');
EXECUTE p(4, '{sun,rain}');
EXECUTE p(3, '{wind,ice}');
EXECUTE p(3, '{}');
EXECUTE p(3, NULL);
SET dlm.enable_batching = off;
EXPLAIN (COSTS OFF) EXECUTE p(4, '{sun,rain}');
EXECUTE p(3, '{wind,ice}');
SET dlm.enable_batching = on;
EXPLAIN (COSTS OFF) EXECUTE p(4, '{sun,rain}');
EXECUTE p(3, '{wind,ice}');
RESET plan_cache_mode;
-- functions that run their statement again and again
CREATE FUNCTION pg_temp.labels(n int, names text[]) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT string_agg(dlm_classify(body, names), ',' ORDER BY id) FROM r WHERE id <= n);
END
$$;
CREATE FUNCTION pg_temp.labels_sql(n int, names text[]) RETURNS text LANGUAGE sql VOLATILE AS
	'SELECT string_agg(dlm_classify(body, names), '','' ORDER BY id) FROM r WHERE id <= n';
SELECT pg_temp.both('SELECT i, pg_temp.labels(i, ''{sun,rain}''), pg_temp.labels_sql(i, ARRAY[''wind'', i::text]) FROM generate_series(1, 12) i');
-- a statement within a statement, in the row and in the argument
SELECT pg_temp.both('SELECT id, pg_temp.labels(k, labels), dlm_score(body) FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(pg_temp.labels(k, labels)) FROM r WHERE k > 0');
CREATE FUNCTION pg_temp.stable_labels(n int, names text[]) RETURNS text LANGUAGE sql STABLE AS 'SELECT pg_temp.labels(n, names)';
SELECT pg_temp.both('SELECT id, dlm_score(pg_temp.stable_labels(k, labels)) FROM r WHERE k > 0');
CREATE FUNCTION pg_temp.fails_at(n int) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN (SELECT string_agg(dlm_classify(body, CASE WHEN id = 9 THEN '{}' ELSE labels END), ',' ORDER BY id) FROM r WHERE id <= n);
END
$$;
SELECT pg_temp.both('SELECT id, dlm_score(pg_temp.fails_at(id)) FROM r ORDER BY id LIMIT 8');
SELECT pg_temp.both('SELECT id, dlm_score(pg_temp.fails_at(id)) FROM r ORDER BY id');
-- and leave no memory behind
BEGIN;
SET LOCAL :force_parallel_mode = off;
DO $$
DECLARE
	before bigint;
	after bigint;
BEGIN
	FOR i IN 1..2000 LOOP
		PERFORM count(dlm_score(body)) FROM r WHERE id < 3;
		IF i = 500 THEN
			SELECT sum(total_bytes) INTO before FROM pg_backend_memory_contexts;
		END IF;
	END LOOP;
	SELECT sum(total_bytes) INTO after FROM pg_backend_memory_contexts;
	RAISE NOTICE 'grown: %', after > before + 200000;
END
$$;
COMMIT;
-- nothing of a plan is compiled
SET jit = on;
SET jit_above_cost = 0;
SET jit_inline_above_cost = 0;
SET jit_optimize_above_cost = 0;
CREATE FUNCTION pg_temp.jit(query text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	answer json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO answer;
	RETURN answer -> 0 -> 'JIT' IS NOT NULL;
END
$$;
SELECT pg_temp.jit('SELECT dlm_score(body) FROM r');
SELECT pg_temp.jit('SELECT id FROM r WHERE dlm_score(body) < 0');
SET dlm.enable_batching = off;
SELECT pg_temp.jit('SELECT dlm_score(body) FROM r');
RESET dlm.enable_batching;
RESET jit;
-- rights are looked at as ever
CREATE ROLE regress_dlm_reader;
GRANT SELECT ON r TO regress_dlm_reader;
REVOKE USAGE ON FOREIGN SERVER tiny FROM PUBLIC;
SET ROLE regress_dlm_reader;
SELECT dlm_score(body) FROM regress_dlm_rows;
SELECT dlm_score(body) FROM r;
RESET ROLE;
DROP OWNED BY regress_dlm_reader;
DROP ROLE regress_dlm_reader;
-- the extension in a schema that is not searched
DROP EXTENSION dlm CASCADE;
CREATE SCHEMA regress_dlm_schema;
CREATE EXTENSION dlm SCHEMA regress_dlm_schema;
SELECT count(regress_dlm_schema.dlm_load_model('tiny', :'llama'));
SELECT pg_temp.both('SELECT id, regress_dlm_schema.dlm_classify(body, labels) FROM r');
PREPARE q AS SELECT id, regress_dlm_schema.dlm_classify(body, labels) FROM r WHERE id < 4;
EXECUTE q;
-- ... comes and goes within a session and a transaction, and its functions get other OIDs
EXECUTE p(3, '{wind,ice}');
DROP EXTENSION dlm CASCADE;
EXECUTE q;
SELECT pg_temp.place('SELECT id FROM r');
BEGIN;
CREATE EXTENSION dlm SCHEMA regress_dlm_schema;
SELECT count(regress_dlm_schema.dlm_load_model('tiny', :'llama'));
EXPLAIN (COSTS OFF) EXECUTE q;
EXECUTE q;
ROLLBACK;
EXECUTE q;
DROP SCHEMA regress_dlm_schema;
CREATE EXTENSION dlm;
SELECT count(dlm_load_model('tiny', :'llama'));
EXPLAIN (COSTS OFF) EXECUTE p(4, '{wind,ice}');
EXECUTE p(4, '{wind,ice}');
ALTER DATABASE :"DBNAME" RESET dlm.default_model;
DROP VIEW r;
DROP TABLE regress_dlm_rows;
DROP SERVER tiny;
