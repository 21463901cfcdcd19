-- dlm_infill_row: what the catalog says is legal is what is written. The model is random: only the rules make it so.
\getenv root PG_ABS_SRCDIR
\set include :root '/sql/include/fails.sql'
\i :include
\set llama :root '/test/models/llama'
SET client_min_messages = warning;
SELECT dlm_load_model('tiny rows', :'llama') AS digest \gset
SET dlm.default_model = 'tiny rows';
CREATE SCHEMA regress_row;
SET search_path = regress_row, public;

CREATE TYPE mood AS ENUM ('sad', 'ok', 'very happy');
CREATE DOMAIN grade AS int CHECK (VALUE BETWEEN 1 AND 6);
CREATE DOMAIN plan AS text CHECK (VALUE IN ('free', 'paid')) NOT NULL;
CREATE DOMAIN good_mood AS mood CHECK (VALUE <> 'sad');
CREATE TABLE place (id int PRIMARY KEY, name text NOT NULL UNIQUE);
INSERT INTO place VALUES (10, 'Berlin'), (20, 'Rome'), (30, 'Oslo');
CREATE TABLE zoo (
	id int PRIMARY KEY,
	note text,
	c_bool boolean,
	c_enum mood,
	c_domain grade,
	c_domain_text plan,
	c_domain_enum good_mood,
	c_in text CHECK (c_in IN ('red', 'dark green', 'blue')),
	c_any varchar(10) CHECK (c_any = ANY (ARRAY['a', 'bc', 'def'])),
	c_or text CHECK (c_or = 'x' OR c_or = 'y' OR c_or IS NULL),
	c_fk int REFERENCES place,
	c_fk_text text REFERENCES place (name),
	c_small smallint CHECK (c_small >= 0 AND c_small < 200),
	c_few int CHECK (c_few BETWEEN 3 AND 7),
	c_int int CHECK (c_int BETWEEN 17 AND 150),
	c_negative int CHECK (c_negative < 0 AND c_negative > -40000),
	c_big bigint CHECK (c_big > 100),
	c_numeric numeric(6, 2) CHECK (c_numeric >= 0),
	c_real real CHECK (c_real BETWEEN 0 AND 99),
	c_date date CHECK (c_date >= '1990-01-01' AND c_date < '2031-01-01'),
	c_time time,
	c_stamp timestamp,
	c_stamptz timestamptz,
	c_interval interval,
	c_uuid uuid,
	c_inet inet,
	c_cidr cidr,
	c_mac macaddr,
	c_bit bit(4),
	c_varbit bit varying(6),
	c_varchar varchar(5),
	c_char char(3),
	c_short text CHECK (length(c_short) <= 4),
	c_regex text CHECK (c_regex ~ '^[A-Z]{2}-[0-9]{1,3}$'),
	c_money money,
	c_name name,
	c_text text NOT NULL DEFAULT 'x',
	c_generated int GENERATED ALWAYS AS (id * 2) STORED,
	c_low int CHECK (c_low BETWEEN 1 AND 3),
	c_high int CHECK (c_high BETWEEN 1 AND 3),
	CHECK (c_low < c_high)
);
COMMENT ON COLUMN zoo.c_int IS 'an age, in years';
ALTER TABLE zoo DROP COLUMN c_or;

-- every column of a row at once, and every value is legal: the real table takes it
CREATE TABLE bare AS SELECT i AS id, 'note ' || i AS note FROM generate_series(1, 3) AS i;
INSERT INTO zoo (id, note) SELECT id, note FROM bare WHERE false;
ALTER TABLE zoo ALTER c_text DROP NOT NULL, ALTER c_text DROP DEFAULT;
ALTER DOMAIN plan DROP NOT NULL;
INSERT INTO zoo (id, note) SELECT id, note FROM bare;
CREATE TABLE filled AS SELECT (f).* FROM (SELECT dlm_infill_row(z, '{"length_budget": 4, "steps": 4}') AS f FROM zoo AS z OFFSET 0) AS s;
SELECT count(*) AS rows, count(*) FILTER (WHERE to_jsonb(f) - 'id' - 'note' @? '$.* ? (@ == null)') AS with_gaps FROM filled AS f;
UPDATE filled SET id = id + 100;
ALTER TABLE filled DROP COLUMN c_generated;
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns FROM pg_attribute
	WHERE attrelid = 'filled'::regclass AND attnum > 0 AND NOT attisdropped \gset
INSERT INTO zoo (:columns) SELECT :columns FROM filled;
SELECT count(*) AS taken FROM zoo WHERE id > 100;

-- what is known is never touched; nothing to fill is nothing to do
SELECT (dlm_infill_row(z)).id = z.id AND (dlm_infill_row(z)).note = z.note AND (dlm_infill_row(z)).c_int = z.c_int AS kept
	FROM zoo AS z WHERE id = 101;
SELECT dlm_infill_row(p) FROM place AS p ORDER BY id;
SELECT dlm_infill_row(NULL::place) IS NULL AS null;
-- one row is many rows; with and without the batch node
CREATE TABLE few AS SELECT i AS id, 'note ' || i AS note, NULL::mood AS a, NULL::int AS b FROM generate_series(1, 20) AS i;
ALTER TABLE few ADD CHECK (b BETWEEN 0 AND 400);
SELECT md5(string_agg(dlm_infill_row(s)::text, ',' ORDER BY id)) AS many FROM few AS s \gset
SET dlm.enable_batching = off;
SELECT md5(string_agg(dlm_infill_row(s)::text, ',' ORDER BY id)) = :'many' AS same FROM few AS s;
RESET dlm.enable_batching;
EXPLAIN (COSTS OFF) SELECT (dlm_infill_row(s)).* FROM few AS s;
-- a call in each of two columns is one call
CREATE TABLE twice AS TABLE few;
UPDATE twice AS t SET a = (dlm_infill_row(t)).a, b = (dlm_infill_row(t)).b;
SELECT count(*) FILTER (WHERE a IS NULL OR b IS NULL) AS left FROM twice;

-- options
SELECT (dlm_infill_row(s, '{"columns": ["a"]}')).b IS NULL AS b_stays FROM few AS s WHERE id = 1;
SELECT DISTINCT (dlm_infill_row(s, '{"choices": {"a": ["ok"], "b": ["7", "9"]}}')).b IN (7, 9) AS chosen FROM few AS s;
SELECT (dlm_infill_row(s, '{"patterns": {"b": "3[0-9]"}}')).b BETWEEN 30 AND 39 AS matched FROM few AS s WHERE id = 2;
SELECT (dlm_infill_row(s, '{"order": ["b", "note"], "show": ["note"], "title": "rows", "descriptions": false, "seed": 4,
	"temperature": 1}')).a IS NOT NULL AS written FROM few AS s WHERE id = 2;
SELECT dlm_infill_cells(s, '{"columns": ["a"]}') #>> '{a,value}' IN ('sad', 'ok', 'very happy') AS cell,
	(dlm_infill_cells(s, '{"columns": ["a"]}') #>> '{a,confidence}')::float8 BETWEEN 0 AND 1 AS sure FROM few AS s WHERE id = 3;

-- choices that the table does not take: the next one; none left: an error, or the row as it was
SELECT DISTINCT (dlm_infill_row(s, '{"choices": {"b": ["900", "12", "no number"]}}')).b FROM few AS s;
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(s, '{"choices": {"b": ["900", "901"]}}') FROM few AS s WHERE id = 1$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(s, '{"patterns": {"b": "9[0-9]{2}"}}') FROM few AS s WHERE id = 1$$);
\x off
SELECT dlm_infill_row(s, '{"choices": {"b": ["900"]}, "on_error": "null"}') FROM few AS s WHERE id = 1;

-- ... also where the model has written everything that it can: nothing illegal is left behind
CREATE TABLE odd (id int PRIMARY KEY, x int CHECK (x BETWEEN 0 AND 99 AND x % 50 = 49));
INSERT INTO odd SELECT generate_series(1, 6);
SELECT count((o).x) FILTER (WHERE (o).x % 50 <> 49) AS illegal FROM (SELECT dlm_infill_row(t, '{"on_error": "null"}') AS o FROM odd AS t OFFSET 0) AS s;
-- bad input
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(ROW(1, NULL))$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row('text'::text)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(name) FROM place$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_cells(1)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(s, '{"columns": ["zzz"]}') FROM few AS s$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(s, '{"columns": "a"}') FROM few AS s$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(s, '{"order": "up"}') FROM few AS s$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(s, '{"max_tokens": 0}') FROM few AS s$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(s, '{"stop": ["x"]}') FROM few AS s$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(s, '{"wrong": 1}') FROM few AS s$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(s, '{"patterns": {"b": "("}}') FROM few AS s$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(s, '[]') FROM few AS s$$);
CREATE TABLE hard (id int, a json, b int[], c point, d int4range, e place, f mood CHECK (f <> 'sad' AND f <> 'ok' AND f <> 'very happy'),
	g int CHECK (g > 5 AND g < 3), h int REFERENCES place);
INSERT INTO hard VALUES (1);
SELECT c, f.* FROM unnest('{a,b,c,d,e,f,g}'::text[]) AS c,
	pg_temp.fails(format($$SELECT dlm_infill_row(t, '{"columns": ["%s"]}') FROM hard AS t$$, c)) AS f;
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_row(z, '{"columns": ["c_generated"]}') FROM zoo AS z$$);
\x off
TRUNCATE place CASCADE;
INSERT INTO hard VALUES (1);
SELECT code, message, detail FROM pg_temp.fails($$SELECT dlm_infill_row(t, '{"columns": ["h"]}') FROM hard AS t$$);

-- a foreign key of two columns: both together
CREATE TABLE spot (area text, lot int, PRIMARY KEY (area, lot));
INSERT INTO spot VALUES ('north', 1), ('north', 2), ('south', 7);
CREATE TABLE stall (id int PRIMARY KEY, area text, lot int, note text, FOREIGN KEY (area, lot) REFERENCES spot);
INSERT INTO stall (id, area, note) VALUES (1, NULL, 'a'), (2, 'south', 'b'), (3, 'north', 'c'), (4, NULL, 'd');
UPDATE stall AS s SET area = (dlm_infill_row(s)).area, lot = (dlm_infill_row(s)).lot;
SELECT count(*) AS legal FROM stall JOIN spot USING (area, lot);
-- a named composite type has no table, and needs none
CREATE TYPE pair AS (x mood, y grade);
SELECT (p).x IS NOT NULL AND (p).y BETWEEN 1 AND 6 AS filled FROM dlm_infill_row(ROW(NULL, NULL)::pair) AS p;

-- a value that a CHECK takes away is none of a range of few numbers
CREATE TABLE less (id int PRIMARY KEY, x int CHECK (x <> 3 AND x BETWEEN 1 AND 4), y mood CHECK (y <> 'ok'));
SELECT "column", choices FROM dlm_infill_columns('less') WHERE fills;
-- JSON records
SELECT dlm_infill_record('{"a": 1, "b": true, "c": "x"}');
SELECT r - 'b' AS kept, r ->> 'b' IN ('yes', 'no') AS chosen, (r ->> 'z') ~ '^[0-9]{2}$' AS matched
	FROM dlm_infill_record('{"a": 1, "b": null, "n": {"m": null}, "z": null}',
		'{"choices": {"b": ["yes", "no"]}, "patterns": {"z": "[0-9]{2}"}, "columns": ["b", "z"]}') AS r,
	LATERAL (SELECT r - 'z' AS r) AS s (rest);
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_record('[1]')$$);
-- a bad row behind good ones of the same batch
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_record(CASE WHEN i < 40 THEN jsonb_build_object('b', NULL, 'n', i) ELSE '[1]' END,
	'{"columns": ["b"], "choices": {"b": ["x", "y"]}}') FROM generate_series(1, 40) AS i$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill_record('{"a": null}', '{"choices": {"a": []}}')$$);
\x off

SET client_min_messages = warning;
DROP SCHEMA regress_row CASCADE;
SELECT dlm_drop_model('tiny rows');
