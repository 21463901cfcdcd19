-- What the table's other rows say of a closed set: values beside those that the row has.
\getenv abs_srcdir PG_ABS_SRCDIR
\set llama :abs_srcdir '/test/models/llama'
SET client_min_messages = warning;
CREATE SCHEMA regress_evidence;
SET search_path = regress_evidence, public;
SELECT dlm_load_model('tiny evidence', :'llama') AS digest \gset
SET dlm.default_model = 'tiny evidence';
CREATE TYPE size AS ENUM ('small', 'large');
CREATE DOMAIN department AS text CHECK (VALUE <> '');
CREATE TABLE item (id int PRIMARY KEY, dept department, note text, size size) WITH (autovacuum_enabled = off);
-- of 30 in A 27 are small, of 20 in B 3
INSERT INTO item SELECT i, CASE WHEN i <= 30 THEN 'A' ELSE 'B' END, 'item ' || i, CASE WHEN i <= 27 OR i > 47 THEN 'small' ELSE 'large' END::size
	FROM generate_series(1, 50) AS i;
INSERT INTO item VALUES (60, 'A'), (61, 'B'), (62, 'C'), (63, NULL);
ANALYZE item;

-- the logarithm of the odds of small
CREATE FUNCTION log_odds(i item, options jsonb) RETURNS float8 LANGUAGE sql AS $$
	SELECT ln(p / (1 - p)) FROM (SELECT CASE WHEN cell ->> 'value' = 'small' THEN (cell ->> 'confidence')::float8 ELSE 1 - (cell ->> 'confidence')::float8 END AS p
		FROM (SELECT dlm_infill_cells(i, '{"columns": ["size"]}'::jsonb || options) -> 'size' AS cell) AS c) AS q $$;
-- by how often small stands in rows of the department, and large; five more rows of no opinion
CREATE FUNCTION of_department(small float8, large float8) RETURNS float8 LANGUAGE sql AS $$
	SELECT ln((small + 5 * s) / s) - ln((large + 5 * l) / l) FROM (SELECT 31 / 52.0::float8 AS s, 21 / 52.0::float8 AS l) AS p $$;
CREATE VIEW found AS SELECT id, log_odds(i, '{}') AS rows, log_odds(i, '{"prior": "statistics"}') AS statistics, log_odds(i, '{"prior": "none"}') AS none
	FROM item AS i WHERE size IS NULL;
-- three tenths of what the model says, the shares, and the department; with a department that no other row has, or none, all of what the model says
SELECT id, abs(rows - ln(31 / 21.0) - CASE id WHEN 60 THEN 0.3 * none + of_department(27, 3) WHEN 61 THEN 0.3 * none + of_department(3, 17) ELSE none END) < 1e-4 AS right,
	abs(statistics - (none + ln(31 / 21.0))) < 1e-4 AS shares FROM found ORDER BY id;
SELECT log_odds(i, '{"prior": "rows"}') = log_odds(i, '{}') AS default_is_rows FROM item AS i WHERE id = 60;
-- what is not shown to the model is no witness
SELECT abs(log_odds(i, '{"show": ["note"]}') - log_odds(i, '{"show": ["note"], "prior": "none"}') - ln(31 / 21.0)) < 1e-4 AS hidden FROM item AS i WHERE id = 60;
-- together and alone
SELECT count(*) FILTER (WHERE batched = single) AS equal FROM (SELECT i.id, dlm_infill_cells(i) AS batched FROM item AS i WHERE size IS NULL AND dept IS NOT NULL) AS b,
	LATERAL (SELECT dlm_infill_cells(i) AS single FROM item AS i WHERE i.id = b.id OFFSET 0) AS s;
-- a value that is long is no witness, one of another case is another
UPDATE item SET dept = dept || repeat(' long', 60);
SELECT abs(log_odds(i, '{}') - log_odds(i, '{"prior": "none"}') - ln(31 / 21.0)) < 1e-4 AS too_long FROM item AS i WHERE id = 60;
UPDATE item SET dept = left(dept, 1);
SELECT abs(log_odds(ROW(60, 'a', NULL, NULL)::item, '{}') - log_odds(ROW(60, 'a', NULL, NULL)::item, '{"prior": "none"}') - ln(31 / 21.0)) < 1e-4 AS other_case;
-- only what the caller may read
CREATE ROLE regress_evidence_guest;
GRANT USAGE ON SCHEMA regress_evidence TO regress_evidence_guest;
GRANT USAGE ON FOREIGN SERVER "tiny evidence" TO regress_evidence_guest;
GRANT SELECT (id, note, size) ON item TO regress_evidence_guest;
SET ROLE regress_evidence_guest;
SELECT abs(log_odds(i, '{}') - log_odds(i, '{"prior": "none"}') - ln(31 / 21.0)) < 1e-4 AS no_right
	FROM (SELECT ROW(60, 'A', NULL, NULL)::item AS i) AS r;
RESET ROLE;
-- under row security nobody else's rows are read: pg_stats shows nothing, so nothing counts
GRANT SELECT ON item TO regress_evidence_guest;
ALTER TABLE item ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON item TO regress_evidence_guest USING (id > 55);
SET ROLE regress_evidence_guest;
SELECT log_odds(i, '{}') = log_odds(i, '{"prior": "none"}') AS nothing FROM item AS i WHERE id = 60;
RESET ROLE;
ALTER TABLE item DISABLE ROW LEVEL SECURITY;
-- a row is no witness of its own value: one large item of A beside 27 small ones
DELETE FROM item WHERE id IN (28, 29) OR size IS NULL;
ANALYZE item;
SELECT key, value, expected, abs(logprob - l) < 1e-4 AS without_itself FROM dlm_outliers('item', 'size', max_rows => 100),
	LATERAL (SELECT -ln(1 + exp(log_odds(ROW(30, 'A', 'item 30', NULL)::item, '{"prior": "none"}') * 0.3 + ln(31 / 19.0)
		+ ln((27 + 5 * 31 / 49.0) / (31 / 49.0)) - ln((0 + 5 * 18 / 49.0) / (18 / 49.0)))) AS l) AS x
	WHERE key ->> 'id' = '30';
-- partitions are read; without statistics nothing is
CREATE TABLE part (id int, dept text, size size) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (100) WITH (autovacuum_enabled = off);
INSERT INTO part SELECT id, dept, size FROM item;
SELECT dlm_infill_cells(ROW(99, 'B', NULL)::part) = dlm_infill_cells(ROW(99, 'B', NULL)::part, '{"prior": "none"}') AS unknown;
ANALYZE part;
SELECT dlm_infill_cells(ROW(99, 'B', NULL)::part) <> dlm_infill_cells(ROW(99, 'B', NULL)::part, '{"prior": "statistics"}') AS changed,
	dlm_infill_row(ROW(99, 'B', NULL)::part);
-- a number that has few values takes one of them, but where the options say what it is
CREATE TABLE drive (id int PRIMARY KEY, kind text, gb int CHECK (gb > 0), price numeric(6, 2), day date) WITH (autovacuum_enabled = off);
INSERT INTO drive SELECT i, chr(65 + i % 2), (ARRAY[256, 512])[1 + i % 2], i * 1.25, CASE WHEN i % 2 = 0 THEN '2024-03-01' ELSE '2025-03-01' END::date
	FROM generate_series(1, 40) AS i;
INSERT INTO drive VALUES (99, 'B');
ANALYZE drive;
SELECT "column", legal, (SELECT array_agg(c ORDER BY c) FROM unnest(choices) AS c) AS choices FROM dlm_infill_columns('drive') WHERE fills AND "column" <> 'id';
SELECT dlm_infill_row(d, '{"columns": ["gb", "day"]}') FROM drive AS d WHERE id = 99;
SELECT (dlm_infill_row(d, '{"columns": ["gb"], "patterns": {"gb": "7"}}')).gb AS pattern, (dlm_infill_row(d, '{"columns": ["gb"], "choices": {"gb": ["9"]}}')).gb AS choice,
	(dlm_infill_row(d, '{"columns": ["gb"], "texts": "any"}')).gb NOT IN (256, 512) AS any_number FROM drive AS d WHERE id = 99;
-- numbers are compared as numbers and char(n) without its spaces, whatever a CHECK calls them
CREATE TABLE price (id int PRIMARY KEY, dept text, dropped text, euro numeric(6, 2) CHECK (euro IN (0.50, 1)), "Code" char(3) CHECK ("Code" IN ('a', 'bbb')))
	WITH (autovacuum_enabled = off);
ALTER TABLE price DROP dropped;
INSERT INTO price SELECT i, 'A', CASE WHEN i <= 38 THEN 1 ELSE 0.5 END, CASE WHEN i <= 38 THEN 'a' ELSE 'bbb' END FROM generate_series(1, 40) AS i;
INSERT INTO price SELECT i, 'B', CASE WHEN i <= 41 THEN 1 ELSE 0.5 END, CASE WHEN i <= 41 THEN 'a' ELSE 'bbb' END FROM generate_series(41, 80) AS i;
ANALYZE price;
SELECT dlm_infill_row(ROW(99, 'A', NULL, NULL)::price), dlm_infill_row(ROW(99, 'B', NULL, NULL)::price);
-- a number of a key is none of few
CREATE TABLE line (list int, pos int, word text, UNIQUE (list, pos)) WITH (autovacuum_enabled = off);
INSERT INTO line SELECT i, k, 'x' FROM generate_series(1, 30) AS i, generate_series(0, 19) AS k;
ANALYZE line;
SELECT legal FROM dlm_infill_columns('line') WHERE "column" = 'pos';
-- a large table is sampled from its beginning to its end, and a row of the sample is no witness of itself
CREATE TABLE many (id int PRIMARY KEY, mail text, a bool, b bool, kind text CHECK (kind IN ('a', 'b'))) WITH (autovacuum_enabled = off);
INSERT INTO many SELECT i, 'mail ' || i, i % 2 = 0, i % 3 = 0, CASE WHEN i <= 20000 THEN 'a' ELSE 'b' END FROM generate_series(1, 30000) AS i;
ANALYZE many;
CREATE FUNCTION odds_of_a(options jsonb) RETURNS float8 LANGUAGE sql AS $$
	SELECT ln(p / (1 - p)) FROM (SELECT CASE WHEN cell ->> 'value' = 'a' THEN (cell ->> 'confidence')::float8 ELSE 1 - (cell ->> 'confidence')::float8 END AS p
		FROM (SELECT dlm_infill_cells(ROW(99999, NULL, true, false, NULL)::many, '{"show": ["a", "b"], "columns": ["kind"]}'::jsonb || options) -> 'kind' AS cell) AS c) AS q $$;
SELECT abs(odds_of_a('{}') - (odds_of_a('{"prior": "statistics"}') - odds_of_a('{"prior": "none"}') / 2)) < 0.5 AS nothing_new;
SELECT count(*) AS no_witnesses FROM dlm_outliers('many', 'kind', filter => 'id % 100 = 7', options => '{"show": ["mail"]}') AS r
	JOIN dlm_outliers('many', 'kind', filter => 'id % 100 = 7', options => '{"show": ["mail"], "prior": "statistics"}') AS s USING (key, logprob);
-- generated columns are no witnesses; under SERIALIZABLE no rows are read
CREATE TABLE upper (id int PRIMARY KEY, size size, loud text GENERATED ALWAYS AS (CASE size WHEN 'small' THEN 's' ELSE 'l' END) STORED) WITH (autovacuum_enabled = off);
INSERT INTO upper (id, size) SELECT i, CASE WHEN i > 1 THEN 'small' ELSE 'large' END::size FROM generate_series(1, 100) AS i;
ANALYZE upper;
SELECT r.key, r.logprob = s.logprob AS same FROM dlm_outliers('upper', 'size', max_rows => 1) AS r, dlm_outliers('upper', 'size', max_rows => 1, options => '{"prior": "statistics"}') AS s;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT dlm_infill_cells(ROW(99, 'B', NULL)::part) = dlm_infill_cells(ROW(99, 'B', NULL)::part, '{"prior": "statistics"}') AS not_read;
COMMIT;
-- the table is locked from when its columns are looked up, so that nobody makes others of them meanwhile
BEGIN;
SELECT dlm_infill_cells(ROW(99, 'B', NULL)::part, '{"prior": "none", "texts": "any"}') IS NOT NULL AS filled;
SELECT DISTINCT mode FROM pg_locks WHERE relation = 'part'::regclass AND pid = pg_backend_pid();
COMMIT;
-- a schema that the caller may not use
REVOKE USAGE ON SCHEMA regress_evidence FROM regress_evidence_guest;
CREATE SCHEMA regress_evidence_seen;
GRANT USAGE ON SCHEMA regress_evidence_seen TO regress_evidence_guest;
CREATE VIEW regress_evidence_seen.rows AS SELECT ROW(99, 'B', NULL)::part AS r;
GRANT SELECT ON regress_evidence_seen.rows TO regress_evidence_guest;
GRANT SELECT ON part TO regress_evidence_guest;
SET ROLE regress_evidence_guest;
SELECT public.dlm_infill_cells(r) -> 'size' IS NOT NULL AS filled FROM regress_evidence_seen.rows;
RESET ROLE;
DROP SCHEMA regress_evidence_seen CASCADE;
DROP SCHEMA regress_evidence CASCADE;
SELECT dlm_drop_model('tiny evidence');
DROP ROLE regress_evidence_guest;
