-- dlm_infill_table, preview, columns, provenance and undo, with a model of random weights.
\getenv root PG_ABS_SRCDIR
\set include :root '/sql/include/fails.sql'
\i :include
\set llama :root '/test/models/llama'
\set VERBOSITY default
\set SHOW_CONTEXT errors
SET client_min_messages = warning;
SELECT dlm_load_model('tiny rows', :'llama') AS digest \gset
SET dlm.default_model = 'tiny rows';
CREATE SCHEMA regress_fill;
SET search_path = regress_fill, public;
SET client_min_messages = notice;

CREATE TYPE shade AS ENUM ('light', 'dark');
CREATE TABLE kind (id int PRIMARY KEY, name text);
INSERT INTO kind VALUES (7, 'sea'), (9, 'sun');
CREATE TABLE paint (a int, b text, note text, tone shade, level int CHECK (level BETWEEN 1 AND 4), kind_id int REFERENCES kind,
	fixed int NOT NULL DEFAULT 3, twice int GENERATED ALWAYS AS (a * 2) STORED, junk json, PRIMARY KEY (a, b));
INSERT INTO paint (a, b, note) SELECT i / 5, 'k' || i % 5, 'note ' || i FROM generate_series(0, 22) AS i;
UPDATE paint SET tone = 'dark' WHERE a = 1;
SELECT "column", fills, legal, choices, reason FROM dlm_infill_columns('paint');
SELECT count(*) AS cells, count(DISTINCT key) AS rows, bool_and(confidence BETWEEN 0 AND 1) AS sure,
	bool_and(CASE "column" WHEN 'tone' THEN value IN ('light', 'dark') WHEN 'level' THEN value::int BETWEEN 1 AND 4 ELSE value IN ('7', '9') END) AS legal
	FROM dlm_infill_preview('paint', batch => 4, options => '{"patterns": {"junk": "x"}, "columns": null}', columns => '{tone,level,kind_id}');
SELECT count(*) AS still_empty FROM paint WHERE level IS NULL;

-- a preview is what is written
CREATE TABLE shown AS SELECT * FROM dlm_infill_preview('paint', '{tone,level,kind_id}', batch => 100);
CALL dlm_infill_table('paint', '{tone,level,kind_id}', batch => 5, options => '{"provenance": "paint_notes"}') \gset
SELECT count(*) AS rows, count(tone) AS tones, count(level) AS levels, count(kind_id) AS kinds, count(junk) AS junk FROM paint;
SELECT count(*) AS differ FROM shown AS s FULL JOIN paint_notes AS n ON n.key = s.key AND n."column" = s."column"
	WHERE n.value IS DISTINCT FROM s.value OR n.confidence IS DISTINCT FROM s.confidence;
SELECT count(*) FILTER (WHERE tone <> 'dark') AS touched FROM paint WHERE a = 1;
SELECT kind, name, base, state, step, steps, message, counts FROM dlm_jobs ORDER BY job_id DESC LIMIT 1;
SELECT DISTINCT "table", digest = (SELECT digest FROM dlm_models WHERE name = 'tiny rows') AS digest, written, job_id IS NOT NULL AS job FROM paint_notes;
-- nothing left
CALL dlm_infill_table('paint', '{tone,level,kind_id}') \gset
-- undo: what was changed since stays
UPDATE paint SET level = 5 - level WHERE a = 2;
SELECT dlm_infill_undo('paint_notes') AS cleared;
SELECT count(tone) AS tones, count(level) AS levels, count(kind_id) AS kinds FROM paint;
SELECT count(*) AS notes FROM paint_notes;
SELECT dlm_infill_undo('paint_notes', 12345) AS cleared;

-- a filter, with a comment at its end; nothing sure enough is left NULL and noted
CALL dlm_infill_table('paint', '{kind_id}', 'a = 0 -- some', options => '{"min_confidence": 1, "provenance": "paint_notes"}') \gset
SELECT count(kind_id) AS kinds FROM paint WHERE a = 0;
SELECT written, count(*) FROM paint_notes WHERE key ->> 'a' = '0' GROUP BY written;
-- rows that the table refuses fail alone
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.b = 'k3' THEN
		RAISE EXCEPTION 'not this row';
	ELSIF NEW.b = 'k4' THEN
		RETURN NULL;
	END IF;
	NEW.note := NEW.note || ' written';
	RETURN NEW;
END
$$;
CREATE TRIGGER refuse BEFORE UPDATE ON paint FOR EACH ROW EXECUTE FUNCTION refuse();
CALL dlm_infill_table('paint', '{kind_id}', 'a < 2', batch => 4) \gset
SELECT b, count(kind_id) AS kinds, count(*) FILTER (WHERE note LIKE '% written') AS triggers FROM paint WHERE a < 2 GROUP BY b ORDER BY b;
DROP TRIGGER refuse ON paint;
-- a CHECK that nobody can satisfy
CREATE FUNCTION never(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 0';
CREATE TABLE strict (id int PRIMARY KEY, x int CHECK (x BETWEEN 1 AND 3 AND never(x)));
INSERT INTO strict SELECT generate_series(1, 3);
CALL dlm_infill_table('strict') \gset
SELECT counts, message FROM dlm_jobs ORDER BY job_id DESC LIMIT 1;

-- in the caller's transaction
BEGIN;
CALL dlm_infill_table('paint', '{level}', 'a = 0', options => '{"commit": false}') \gset
SELECT count(level) AS levels FROM paint WHERE a = 0;
ROLLBACK;
SELECT count(level) AS levels FROM paint WHERE a = 0;
\set VERBOSITY terse
BEGIN;
CALL dlm_infill_table('no such table');
ROLLBACK;
BEGIN;
CALL dlm_infill_table('paint');
ROLLBACK;
\set VERBOSITY default

-- values that do not fit their rows
SELECT count(*) AS listed, bool_and(logprob <= 0) AS logprobs, bool_and(expected IN ('light', 'dark')) AS expected,
	array_agg(logprob) = array_agg(logprob ORDER BY logprob) AS sorted
	FROM (TABLE paint LIMIT 0) AS none RIGHT JOIN dlm_outliers('paint', 'tone', max_rows => 3) ON true;
SELECT count(*) AS listed, count(expected) AS expected FROM dlm_outliers('paint', 'note', 'a = 1 -- five');
\set VERBOSITY terse
SELECT * FROM dlm_outliers('paint', 'zzz');
SELECT * FROM dlm_outliers('paint', 'tone', max_rows => 0);
\set VERBOSITY default
-- partitioned tables
CREATE TABLE parts (id int PRIMARY KEY, tone shade) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (3);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (3) TO (10);
INSERT INTO parts SELECT generate_series(1, 5);
CALL dlm_infill_table('parts', batch => 2) \gset
SELECT tableoid::regclass, count(tone) FROM parts GROUP BY tableoid ORDER BY 1;

-- bad input
CREATE TABLE keyless (x shade);
CREATE VIEW seen AS TABLE paint;
CREATE TABLE full_up (id int PRIMARY KEY, x int NOT NULL);
CALL dlm_infill_table(NULL);
CALL dlm_infill_table('keyless');
CALL dlm_infill_table('seen');
CALL dlm_infill_table('full_up');
CALL dlm_infill_table('paint', '{zzz}');
CALL dlm_infill_table('paint', '{twice}');
CALL dlm_infill_table('paint', '{junk}');
CALL dlm_infill_table('paint', '{a}');
CALL dlm_infill_table('paint', '{tone,tone}');
CALL dlm_infill_table('paint', '{}');
CALL dlm_infill_table('paint', batch => 0);
CALL dlm_infill_table('paint', '{tone}', 'no such column');
CALL dlm_infill_table('paint', '{tone}', options => '{"min_confidence": 2}');
CALL dlm_infill_table('paint', '{tone}', options => '{"provenance": 5}');
CALL dlm_infill_table('paint', '{tone}', options => '{"columns": ["tone"]}');
CALL dlm_infill_table('paint', '{tone}', options => '{"wrong": 1}');
CALL dlm_infill_table('paint', '{tone}', options => '{"commit": 1}');
CALL dlm_infill_table('paint', '{tone}', model => 'no such model');
CALL dlm_infill_table(NULL, job_id => 123456);
SELECT count(*) AS running FROM dlm_jobs WHERE state IN ('running', 'interrupted', 'reading');
-- rights
CREATE ROLE regress_dlm_filler;
GRANT USAGE ON FOREIGN SERVER "tiny rows" TO regress_dlm_filler;
GRANT SELECT, UPDATE (tone) ON paint TO regress_dlm_filler;
GRANT SELECT ON kind TO regress_dlm_filler;
GRANT USAGE ON SCHEMA regress_fill TO regress_dlm_filler;
UPDATE paint SET tone = NULL WHERE a = 3;
SET ROLE regress_dlm_filler;
CALL dlm_infill_table('paint', '{level}', 'a = 3');
CALL dlm_infill_table('paint', '{tone}', 'a = 3') \gset
SELECT count(*) AS jobs FROM dlm_jobs;
RESET ROLE;
SELECT job_id AS last FROM dlm_jobs ORDER BY job_id DESC LIMIT 1 \gset
\set VERBOSITY sqlstate
CALL dlm_infill_table(NULL, job_id => :last);
\set VERBOSITY default
REVOKE USAGE ON SCHEMA regress_fill FROM regress_dlm_filler;
REVOKE ALL ON paint, kind FROM regress_dlm_filler;
REVOKE USAGE ON FOREIGN SERVER "tiny rows" FROM regress_dlm_filler;
SELECT count(dlm_job_delete(job_id)) > 0 AS deleted FROM dlm_jobs;
DROP ROLE regress_dlm_filler;

SET client_min_messages = warning;
DROP SCHEMA regress_fill CASCADE;
SELECT dlm_drop_model('tiny rows');
