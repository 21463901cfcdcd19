-- For the tests of the batch node: a tiny model, rows, and functions that run a query with batching on and off.
\set ECHO none
\getenv root PG_ABS_SRCDIR
\set llama :root '/test/models/llama'
SET client_min_messages = warning;
SELECT count(dlm_load_model('tiny', :'llama')) AS loaded WHERE NOT EXISTS (SELECT FROM dlm_models WHERE name = 'tiny') \gset
SET dlm.default_model = 'tiny';
DROP TABLE IF EXISTS regress_dlm_rows CASCADE;
CREATE TABLE regress_dlm_rows (id int PRIMARY KEY, body text, k int, labels text[]);
INSERT INTO regress_dlm_rows
	SELECT i, (ARRAY['rain', 'sun', 'snow and ice', 'wind'])[1 + i % 4] || ' ' || i, i % 3,
		CASE WHEN i % 2 = 0 THEN '{sun,rain}'::text[] ELSE '{wind,snow,ice}' END
	FROM generate_series(1, 40) i;
ANALYZE regress_dlm_rows;
CREATE VIEW r AS TABLE regress_dlm_rows;
RESET client_min_messages;
-- however many cores: a plan is parallel where a test asks for it
SET parallel_setup_cost = 1000000;

-- nodes of a plan, outer to inner: A > B > C, or A (B, C)
CREATE FUNCTION pg_temp.shape(plan json) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	name text := plan ->> 'Node Type';
	inner_nodes text[] := ARRAY(SELECT pg_temp.shape(p) FROM json_array_elements(plan -> 'Plans') p);
BEGIN
	IF plan ->> 'Custom Plan Provider' = 'DlmBatch' THEN
		name := 'Batch[' || (SELECT string_agg(c, ', ') FROM json_array_elements_text(plan -> 'Calls') c) || ']';
	END IF;
	IF plan ->> 'Subplan Name' IS NOT NULL THEN
		name := regexp_replace(plan ->> 'Subplan Name', ' \(returns .*\)$', '') || ': ' || name;
	END IF;
	RETURN name || CASE cardinality(inner_nodes) WHEN 0 THEN '' WHEN 1 THEN ' > ' || inner_nodes[1]
		ELSE ' (' || array_to_string(inner_nodes, ', ') || ')' END;
END
$$;

-- where the nodes of a statement sit, and which calls are computed row by row
CREATE FUNCTION pg_temp.place(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	answer json;
BEGIN
	EXECUTE 'EXPLAIN (COSTS OFF, FORMAT JSON) ' || statement INTO answer;
	RETURN NEXT pg_temp.shape(answer -> 0 -> 'Plan');
	RETURN QUERY SELECT '    row by row: ' || reason
		FROM json_array_elements_text(answer -> 1 -> 'Computed Row by Row') reason;
END
$$;

-- what a statement, and a query after it, give; nothing of it stays
CREATE FUNCTION pg_temp.outcome(batching bool, statement text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	PERFORM set_config('dlm.enable_batching', batching::text, true);
	EXECUTE statement;
	EXECUTE 'SELECT count(*) || '' rows'' || coalesce(string_agg(E''\n'' || q::text, ''''), '''') FROM (' || query || ') q'
		INTO answer;
	RAISE EXCEPTION USING errcode = 'DLM00';
EXCEPTION
	WHEN SQLSTATE 'DLM00' THEN
		RETURN answer;
	WHEN OTHERS THEN
		RETURN sqlstate || ': ' || sqlerrm;
END
$$;
CREATE FUNCTION pg_temp.compare(statement text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	batched text := pg_temp.outcome(true, statement, query);
	plain text := pg_temp.outcome(false, statement, query);
BEGIN
	RETURN CASE WHEN batched IS DISTINCT FROM plain THEN E'DIFFERENT\n' || batched || E'\nagainst\n' || plain
		ELSE '    the same ' || split_part(batched, E'\n', 1) END;
END
$$;

-- both for a query; changed: for a statement that changes rows, and a query that shows them
CREATE FUNCTION pg_temp.both(query text, before text = 'SELECT') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_temp.place(query) UNION ALL SELECT pg_temp.compare(before, query);
$$;
CREATE FUNCTION pg_temp.changed(statement text, query text = 'SELECT * FROM r ORDER BY id') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_temp.place(statement) UNION ALL SELECT pg_temp.compare(statement, query);
$$;

-- a figure of all batch nodes, as EXPLAIN ANALYZE counts it in one process
CREATE FUNCTION pg_temp.counted(query text, figure text = 'Requests') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	PERFORM set_config(name, 'off', true) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
	EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT JSON) ' || query INTO answer;
	RETURN (SELECT sum(n::int) FROM jsonb_path_query(answer, ('strict $.**."' || figure || '"')::jsonpath) n) || ' ' || lower(figure);
END
$$;
\pset format unaligned
\pset tuples_only on
\set versions :root '/sql/include/versions.sql'
\i :versions
