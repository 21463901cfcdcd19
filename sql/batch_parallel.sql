-- Batch nodes in parallel plans, and tables that are small for PostgreSQL and long for a model.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/batch.sql'
\i :include
SET :force_parallel_mode = off;
RESET parallel_setup_cost;
SET dlm.max_threads = 4;
SET max_parallel_workers_per_gather = 2;
SET parallel_leader_participation = on;
CREATE TABLE regress_dlm_pages (id int, k int, body text, filler text);
ALTER TABLE regress_dlm_pages ALTER filler SET STORAGE PLAIN;
INSERT INTO regress_dlm_pages SELECT i, i % 3, 'rain ' || i % 40, repeat('x', 400) FROM generate_series(1, 200) i;
ANALYZE regress_dlm_pages;
SELECT pg_relation_size('regress_dlm_pages') < 512 * 1024 AS small;
-- from the second page on a table is worth a worker; with the setting off it is as ever
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body) FROM regress_dlm_pages;
EXPLAIN (COSTS OFF) SELECT id, lower(body) FROM regress_dlm_pages;
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body) FROM r;
SET dlm.parallel_small_tables = off;
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body) FROM regress_dlm_pages;
SET min_parallel_table_scan_size = 0;
SET parallel_setup_cost = 0;
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body) FROM regress_dlm_pages;
RESET min_parallel_table_scan_size;
RESET dlm.parallel_small_tables;
-- not more workers than slots, than PostgreSQL allows, than the table says
SET max_parallel_workers_per_gather = 8;
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body) FROM regress_dlm_pages;
SET dlm.max_threads = 2;
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body) FROM regress_dlm_pages;
SET dlm.max_threads = 1;
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body) FROM regress_dlm_pages;
SET dlm.max_threads = 4;
ALTER TABLE regress_dlm_pages SET (parallel_workers = 1);
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body) FROM regress_dlm_pages;
ALTER TABLE regress_dlm_pages SET (parallel_workers = 0);
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body) FROM regress_dlm_pages;
ALTER TABLE regress_dlm_pages RESET (parallel_workers);
SET max_parallel_workers_per_gather = 0;
EXPLAIN (COSTS OFF) SELECT id, dlm_score(body) FROM regress_dlm_pages;
SET max_parallel_workers_per_gather = 2;
-- where the node sits, and that rows are those of a serial plan
CREATE FUNCTION pg_temp.serial(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	parallel text := pg_temp.outcome(true, 'SELECT', query);
	serial text;
BEGIN
	RETURN QUERY SELECT pg_temp.place(query);
	SET LOCAL max_parallel_workers_per_gather = 0;
	serial := pg_temp.outcome(true, 'SELECT', query);
	RESET max_parallel_workers_per_gather;
	SET max_parallel_workers_per_gather = 2;
	RETURN NEXT CASE WHEN parallel IS DISTINCT FROM serial THEN E'DIFFERENT\n' || parallel || E'\nagainst\n' || serial
		ELSE '    the same ' || split_part(serial, E'\n', 1) END;
END
$$;
SELECT pg_temp.serial('SELECT id, dlm_score(body) FROM regress_dlm_pages ORDER BY id');
SELECT pg_temp.serial('SELECT k, count(dlm_score(body)), max(dlm_classify(body, ''{sun,rain}'')) FROM regress_dlm_pages GROUP BY k ORDER BY k');
SELECT pg_temp.serial('SELECT min(dlm_score(body)) FILTER (WHERE k = 1) FROM regress_dlm_pages');
SELECT pg_temp.serial('SELECT dlm_classify(body, ''{sun,rain}''), count(*) FROM regress_dlm_pages GROUP BY 1 ORDER BY 1');
SET enable_mergejoin = off;
SELECT pg_temp.serial('SELECT p.id, dlm_score(p.body || r.id) FROM regress_dlm_pages p JOIN r ON r.id = p.id ORDER BY 1');
RESET enable_mergejoin;
SELECT pg_temp.serial('SELECT id, CASE WHEN k = 1 THEN dlm_score(dlm_infill(body || '' [MASK]'')) END FROM regress_dlm_pages ORDER BY id');
SELECT pg_temp.serial('SELECT id, dlm_classify(upper(body), (SELECT array_agg(DISTINCT l) FROM r, unnest(labels) l)) FROM regress_dlm_pages ORDER BY id');
SELECT pg_temp.serial('SELECT id, (SELECT dlm_score(body)), (SELECT min(dlm_score(r.body)) FROM r WHERE r.id < p.k + 3) FROM regress_dlm_pages p ORDER BY id');
SELECT pg_temp.serial('SELECT id, dlm_classify(body, CASE WHEN id = 77 THEN ''{}'' ELSE ''{a,b}'' END::text[]) FROM regress_dlm_pages ORDER BY id');
SELECT pg_temp.serial('SELECT count(*) FROM (SELECT id, dlm_classify(body, CASE WHEN id = 177 THEN ''{}'' ELSE ''{a,b}'' END::text[]) FROM regress_dlm_pages LIMIT 1) q');
SELECT pg_temp.serial('SELECT id, sum(dlm_score(body)) OVER (ORDER BY id) FROM regress_dlm_pages ORDER BY id');
SELECT pg_temp.serial('SELECT count(*) FROM regress_dlm_pages WHERE dlm_score(body) < -10');
-- tables made from queries; rows that are changed are read by one process
EXPLAIN (COSTS OFF) CREATE TABLE regress_dlm_made AS SELECT id, dlm_score(body) AS s FROM regress_dlm_pages;
EXPLAIN (COSTS OFF) UPDATE regress_dlm_pages SET body = dlm_infill(body || ' [MASK]');
CREATE TABLE regress_dlm_made AS SELECT id, dlm_score(body) AS s FROM regress_dlm_pages;
SET max_parallel_workers_per_gather = 0;
SELECT count(*), bool_and(s = dlm_score(body)) FROM regress_dlm_made JOIN regress_dlm_pages USING (id);
SET max_parallel_workers_per_gather = 2;
-- what workers did is counted: all rows, and each text at most once a process
CREATE FUNCTION pg_temp.figure(answer jsonb, figure text) RETURNS bigint LANGUAGE sql AS
	$$SELECT sum(n::int) FROM jsonb_path_query(answer, ('strict $.**."' || figure || '"')::jsonpath) n$$;
CREATE FUNCTION pg_temp.analyzed(query text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT JSON) ' || query INTO answer;
	RETURN answer;
END
$$;
SELECT pg_temp.figure(a, 'Batch Rows'), pg_temp.figure(a, 'Requests') BETWEEN 40 AND 120, pg_temp.figure(a, 'Workers Launched') > 0
	FROM pg_temp.analyzed('SELECT id, dlm_score(body) FROM regress_dlm_pages') a;
SET parallel_leader_participation = off;
SELECT pg_temp.figure(a, 'Batch Rows'), pg_temp.figure(a, 'Requests') BETWEEN 40 AND 80
	FROM pg_temp.analyzed('SELECT sum(dlm_score(body)) FROM regress_dlm_pages') a;
RESET parallel_leader_participation;
-- a Gather that is read again and again
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_material = off;
SET enable_memoize = off;
SELECT pg_temp.serial('SELECT a.k, b.s FROM (VALUES (0), (1), (2)) a(k) LEFT JOIN (SELECT k, min(dlm_score(body)) AS s FROM regress_dlm_pages GROUP BY k OFFSET 0) b ON b.k = a.k ORDER BY 1');
RESET enable_hashjoin;
RESET enable_mergejoin;
RESET enable_material;
RESET enable_memoize;
-- all of a query in a worker
SET :force_parallel_mode = on;
SELECT pg_temp.serial('SELECT id, dlm_score(body), dlm_classify(body, labels) FROM r');
SET :force_parallel_mode = regress;
SELECT pg_temp.serial('SELECT id, dlm_score(body), dlm_classify(body, labels) FROM r');
SELECT pg_temp.serial('SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN ''{}'' ELSE labels END) FROM r LIMIT 4');
SELECT pg_temp.serial('SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN ''{}'' ELSE labels END) FROM r');
RESET :force_parallel_mode;
DROP TABLE regress_dlm_pages, regress_dlm_made;
DROP VIEW r;
DROP TABLE regress_dlm_rows;
DROP SERVER tiny;
