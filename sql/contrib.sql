-- The batch node beside PostgreSQL's contrib modules: file_fdw's tables, auto_explain, an index over cube.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/batch.sql'
\i :include
-- foreign tables
CREATE EXTENSION file_fdw;
CREATE SERVER regress_dlm_files FOREIGN DATA WRAPPER file_fdw;
COPY (SELECT id, body FROM r) TO PROGRAM 'cat > regress_dlm_rows.tsv';
CREATE FOREIGN TABLE regress_dlm_file (id int, body text) SERVER regress_dlm_files OPTIONS (filename 'regress_dlm_rows.tsv');
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM regress_dlm_file');
COPY (SELECT) TO PROGRAM 'cat >/dev/null && rm regress_dlm_rows.tsv';
-- other rows of a table with a foreign partition are not read for a fill: the file is gone, and nothing misses it
CREATE TABLE regress_dlm_parts (id int, kind text CHECK (kind IN ('a', 'b')), word text) PARTITION BY RANGE (id);
CREATE TABLE regress_dlm_here PARTITION OF regress_dlm_parts FOR VALUES FROM (1) TO (100);
INSERT INTO regress_dlm_parts SELECT i, 'a', 'x' FROM generate_series(1, 20) AS i;
COPY (SELECT i, 'b', 'x' FROM generate_series(100, 110) AS i) TO PROGRAM 'cat > regress_dlm_there.tsv';
CREATE FOREIGN TABLE regress_dlm_there PARTITION OF regress_dlm_parts FOR VALUES FROM (100) TO (200) SERVER regress_dlm_files
	OPTIONS (filename 'regress_dlm_there.tsv');
ANALYZE regress_dlm_parts;
COPY (SELECT) TO PROGRAM 'cat >/dev/null && rm regress_dlm_there.tsv';
SELECT dlm_infill_cells(ROW(1, NULL, 'x')::regress_dlm_parts) = dlm_infill_cells(ROW(1, NULL, 'x')::regress_dlm_parts, '{"prior": "statistics"}') AS not_read;
DROP TABLE regress_dlm_parts;
DROP EXTENSION file_fdw CASCADE;
-- what looks into plans while they run can read them
CREATE FUNCTION pg_temp.labels(n int, names text[]) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN (SELECT string_agg(dlm_classify(body, names), ',' ORDER BY id) FROM r WHERE id <= n);
END
$$;
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_verbose = on;
SET auto_explain.log_analyze = on;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_level = debug5;
SELECT pg_temp.both('SELECT id, dlm_score(body), pg_temp.labels(k, labels) FROM r');
DO $$
DECLARE
	row record;
BEGIN
	FOR row IN SELECT id, dlm_score(body), (dlm_classify_full(body, labels)).* FROM r LIMIT 3 LOOP
		RAISE NOTICE '% %', row.id, row.label;
	END LOOP;
END
$$;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id, dlm_classify(body, labels), r FROM r WHERE id < 5;
FETCH 2 FROM c;
FETCH PRIOR FROM c;
COMMIT;
SET auto_explain.log_min_duration = -1;
-- nearest neighbours by an index
SELECT digest FROM dlm_models WHERE name = 'tiny' \gset
CREATE EXTENSION cube;
SELECT format('CREATE INDEX regress_dlm_near ON regress_dlm_rows USING gist (cube(dlm_embed_pinned(%L, body)::float8[]))', :'digest') \gexec
SET enable_seqscan = off;
SELECT pg_temp.place(format('SELECT id FROM regress_dlm_rows ORDER BY cube(dlm_embed_pinned(%L, body)::float8[]) <-> cube(dlm_embed_pinned(%1$L, ''rain 8'')::float8[]) LIMIT 1', :'digest'));
SELECT body FROM regress_dlm_rows ORDER BY cube(dlm_embed_pinned(:'digest', body)::float8[]) <-> cube(dlm_embed_pinned(:'digest', 'rain 8')::float8[]) LIMIT 1;
RESET enable_seqscan;
DROP EXTENSION cube CASCADE;
DROP VIEW r;
DROP TABLE regress_dlm_rows;
DROP SERVER tiny;
