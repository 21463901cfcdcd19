-- How common a value is in the table, and what the model says of nothing, in the choice of closed sets.
\getenv abs_srcdir PG_ABS_SRCDIR
\set llama :abs_srcdir '/test/models/llama'
SET client_min_messages = warning;
CREATE SCHEMA regress_priors;
SET search_path = regress_priors, public;
SELECT dlm_load_model('tiny priors', :'llama') AS digest \gset
SET dlm.default_model = 'tiny priors';
CREATE TYPE size AS ENUM ('small', 'large');
CREATE TABLE item (id int PRIMARY KEY, note text, size size, kind text CHECK (kind IN ('a', 'b', 'c'))) WITH (autovacuum_enabled = off);
INSERT INTO item SELECT i, 'item ' || i, CASE WHEN i <= 39 THEN 'small' WHEN i <= 49 THEN 'large' END::size, CASE WHEN i <= 40 THEN 'b' END
	FROM generate_series(1, 60) AS i;

-- the odds of small against large: by what the options say
CREATE FUNCTION odds(options jsonb) RETURNS numeric LANGUAGE sql AS $$
	SELECT round((p / (1 - p))::numeric, 4) FROM (SELECT CASE WHEN cell ->> 'value' = 'small' THEN (cell ->> 'confidence')::float8
		ELSE 1 - (cell ->> 'confidence')::float8 END AS p
		FROM (SELECT dlm_infill_cells(i, '{"columns": ["size"]}'::jsonb || options) -> 'size' AS cell FROM item AS i WHERE id = 55) AS c) AS q $$;
-- without statistics there is no prior
SELECT odds('{}') = odds('{"prior": "none"}') AS same;
ANALYZE item;
-- 39 small and 10 large: 40 to 11, each counted once more
SELECT abs(odds('{"prior": "statistics"}') / odds('{"prior": "none"}') / (40.0 / 11) - 1) < 0.001 AS by_frequency;
-- the model's own liking is taken away: odds where nothing is known are those of a row that says nothing
SELECT odds('{"prior": "none"}') <> odds('{"prior": "none", "calibrate": "none"}') AS calibrated,
	odds('{"prior": "none", "calibrate": "content_free"}') = odds('{"prior": "none"}') AS default_is_content_free;
-- a value that the statistics do not have is not ruled out, and one row is as many are
SELECT (dlm_infill_cells(i, '{"columns": ["kind"]}') #>> '{kind,confidence}')::float8 < 1 AS open FROM item AS i WHERE id = 60;
SELECT count(*) AS equal FROM (SELECT dlm_infill_cells(i) AS batched FROM item AS i WHERE id > 50) AS b,
	LATERAL (SELECT dlm_infill_cells(i) AS single FROM item AS i WHERE i.id = 60 OFFSET 0) AS s WHERE batched = single;
-- statistics that the user may not read are not used
CREATE ROLE regress_priors_guest;
GRANT USAGE ON SCHEMA regress_priors TO regress_priors_guest;
GRANT USAGE ON FOREIGN SERVER "tiny priors" TO regress_priors_guest;
SET ROLE regress_priors_guest;
SELECT dlm_infill_cells(ROW(55, 'item 55', NULL, NULL)::item) = dlm_infill_cells(ROW(55, 'item 55', NULL, NULL)::item, '{"prior": "none"}') AS same;
RESET ROLE;
GRANT SELECT ON item TO regress_priors_guest;
SET ROLE regress_priors_guest;
SELECT dlm_infill_cells(ROW(55, 'item 55', NULL, NULL)::item) = dlm_infill_cells(ROW(55, 'item 55', NULL, NULL)::item, '{"prior": "none"}') AS same;
RESET ROLE;
-- named types have no statistics, partitioned tables those of all partitions
CREATE TYPE pair AS (x size, y size);
SELECT (dlm_infill_row(ROW(NULL, NULL)::pair)).x IS NOT NULL AS filled;
CREATE TABLE part (id int, size size) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (100) WITH (autovacuum_enabled = off);
INSERT INTO part SELECT i, 'large' FROM generate_series(1, 30) AS i;
ANALYZE part;
SELECT dlm_infill_cells(ROW(99, NULL)::part) <> dlm_infill_cells(ROW(99, NULL)::part, '{"prior": "none"}') AS changed;
-- dates count whatever the session's DateStyle
CREATE TABLE visit (id int, day date CHECK (day IN ('2024-03-01', '2024-12-24'))) WITH (autovacuum_enabled = off);
INSERT INTO visit SELECT i, CASE WHEN i > 2 THEN '2024-12-24' ELSE '2024-03-01' END::date FROM generate_series(1, 30) AS i;
ANALYZE visit;
CREATE TEMP TABLE plain AS SELECT dlm_infill_cells(ROW(99, NULL)::visit) AS cells, dlm_infill_cells(ROW(99, NULL)::visit, '{"prior": "none"}') AS none;
SET DateStyle = 'SQL, DMY';
SELECT cells = dlm_infill_cells(ROW(99, NULL)::visit) AS same, cells <> none AS changed FROM plain;
RESET DateStyle;
-- a text column that has few values takes one of them: where ANALYZE has found nearly all, often enough, and the options want it
CREATE TABLE place (id int PRIMARY KEY, town text, street varchar(40), motto text CHECK (motto <> 'c')) WITH (autovacuum_enabled = off);
INSERT INTO place SELECT i, (ARRAY['Paris', 'New York'])[1 + i % 2], 'street ' || i, chr(97 + i % 3) FROM generate_series(1, 20) AS i WHERE i % 3 <> 2;
INSERT INTO place VALUES (99);
SELECT "column", legal, choices FROM dlm_infill_columns('place') WHERE fills;
INSERT INTO place SELECT i, (ARRAY['Paris', 'New York'])[1 + i % 2], 'street ' || i, chr(97 + i % 3) FROM generate_series(100, 200) AS i WHERE i % 3 <> 2;
ANALYZE place;
SELECT "column", legal, (SELECT array_agg(c ORDER BY c) FROM unnest(choices) AS c) AS choices FROM dlm_infill_columns('place') WHERE fills;
SELECT (dlm_infill_row(p, '{"columns": ["town"]}')).town IN ('Paris', 'New York') AS known,
	(dlm_infill_row(p, '{"columns": ["town"], "texts": "any"}')).town IN ('Paris', 'New York') AS any_text,
	(dlm_infill_row(p, '{"columns": ["town"], "choices": {"town": ["Rome"]}}')).town AS own FROM place AS p WHERE id = 99;
-- one in ten rows with a value of its own is too many; a user who may not read the column has no values from it
UPDATE place SET town = 'village ' || id WHERE id % 10 = 0;
ANALYZE place;
SELECT legal FROM dlm_infill_columns('place') WHERE "column" = 'town';
UPDATE place SET town = 'Paris' WHERE town LIKE 'village%';
ANALYZE place;
GRANT SELECT (id) ON place TO regress_priors_guest;
SET ROLE regress_priors_guest;
SELECT legal FROM dlm_infill_columns('place') WHERE "column" = 'town';
RESET ROLE;
-- wrong values
SELECT dlm_infill_cells(i, '{"texts": "few"}') FROM item AS i WHERE id = 55;
SELECT dlm_infill_cells(i, '{"prior": "table"}') FROM item AS i WHERE id = 55;
SELECT dlm_infill_cells(i, '{"calibrate": true}') FROM item AS i WHERE id = 55;
DROP SCHEMA regress_priors CASCADE;
SELECT dlm_drop_model('tiny priors');
DROP ROLE regress_priors_guest;
