-- Unique keys in a fill: a value that another row has is passed over. The model is random: only the rules make it so.
\getenv root PG_ABS_SRCDIR
\set include :root '/sql/include/fails.sql'
\i :include
\set llama :root '/test/models/llama'
SET client_min_messages = warning;
SELECT dlm_load_model('tiny unique', :'llama') AS digest \gset
SET dlm.default_model = 'tiny unique';
CREATE SCHEMA regress_unique;
SET search_path = regress_unique, public;
CREATE TYPE rank AS ENUM ('gold', 'silver', 'bronze', 'tin');

-- one row after the other: an enum, a foreign key, and open texts
CREATE TABLE room (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO room VALUES (1, 'red'), (2, 'blue'), (3, 'green'), (4, 'white');
CREATE TABLE guest (id int PRIMARY KEY, name text, medal rank UNIQUE, room int UNIQUE REFERENCES room, code text UNIQUE CHECK (code ~ '^[ab]$'));
INSERT INTO guest (id, name, medal, room, code) VALUES (1, 'Ann', 'gold', 2, 'a'), (2, 'Ben', 'tin', 3, NULL), (3, 'Cem', NULL, NULL, NULL);
SELECT (dlm_infill_row(g, '{"columns": ["medal"]}')).medal NOT IN ('gold', 'tin') AS medal,
	(dlm_infill_row(g, '{"columns": ["room"]}')).room NOT IN (2, 3) AS room,
	(dlm_infill_row(g, '{"columns": ["code"]}')).code AS code FROM guest AS g WHERE id = 3;
-- none is left
UPDATE guest SET code = 'b' WHERE id = 2;
SELECT * FROM pg_temp.fails('SELECT dlm_infill_row(g, ''{"columns": ["code"]}'') FROM guest AS g WHERE id = 3');
SELECT (dlm_infill_row(g, '{"columns": ["code"], "on_error": "null"}')).code IS NULL AS null FROM guest AS g WHERE id = 3;

-- a key of two columns: only what both say together is taken
CREATE TABLE seat (id int PRIMARY KEY, side text CHECK (side IN ('left', 'right')), row int CHECK (row BETWEEN 1 AND 2), UNIQUE (side, row));
INSERT INTO seat VALUES (1, 'left', 1), (2, 'right', 2), (3, 'left', 2), (4, NULL, NULL), (5, NULL, 1);
SELECT (f).side, (f).row FROM (SELECT dlm_infill_row(s) AS f FROM seat AS s WHERE id IN (4, 5)) AS t;

-- not understood: a key with a condition, of an expression, or not valid for all rows; the table decides
CREATE TABLE loose (id int PRIMARY KEY, word text CHECK (word IN ('x', 'Y')), medal rank);
CREATE UNIQUE INDEX ON loose (lower(word));
CREATE UNIQUE INDEX ON loose (medal) WHERE id > 100;
INSERT INTO loose VALUES (1, 'x', 'gold'), (2, NULL, NULL);
SELECT (f).word IN ('x', 'Y') AS word, (f).medal IS NOT NULL AS medal FROM (SELECT dlm_infill_row(l) AS f FROM loose AS l WHERE id = 2) AS t;

-- a table: rows of one batch do not see each other, and are computed again
TRUNCATE guest;
INSERT INTO guest (id, name) SELECT i, 'guest ' || i FROM generate_series(1, 4) AS i;
CALL dlm_infill_table('guest', '{medal,room}', job_id => NULL) \gset
SELECT state, (counts ->> 'written')::int AS written, (counts ->> 'failed')::int AS failed, (counts ->> 'skipped')::int AS skipped FROM dlm_jobs WHERE job_id = :job_id;
SELECT count(DISTINCT medal) AS medals, count(DISTINCT room) AS rooms FROM guest;
-- a fifth row finds nothing
INSERT INTO guest (id, name) VALUES (5, 'guest 5');
CALL dlm_infill_table('guest', '{medal}', job_id => NULL) \gset
SELECT (counts ->> 'written')::int AS written, (counts ->> 'failed')::int AS failed, message FROM dlm_jobs WHERE job_id = :job_id;
-- in the caller's own transaction, where nothing is committed
UPDATE guest SET medal = NULL, room = NULL;
DELETE FROM guest WHERE id = 5;
BEGIN;
CALL dlm_infill_table('guest', '{medal,room}', options => '{"commit": false}', job_id => NULL) \gset
SELECT count(DISTINCT medal) AS medals, count(DISTINCT room) AS rooms FROM guest;
ROLLBACK;
SELECT count(medal) AS medals FROM guest;

-- a job that was stopped has forgotten which rows are to be visited again: all that still have gaps are
CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('regress.stop') = 'on' AND (SELECT count(*) FROM guest WHERE medal IS NOT NULL) = 2 THEN
		RAISE EXCEPTION 'stopped' USING ERRCODE = 'query_canceled';
	END IF;
	RETURN NULL;
END $$;
CREATE TRIGGER stop AFTER UPDATE ON guest FOR EACH ROW EXECUTE FUNCTION stop();
SET regress.stop = on;
\set VERBOSITY terse
CALL dlm_infill_table('guest', '{medal}', options => '{"show": []}', job_id => NULL);
\set VERBOSITY default
SELECT max(job_id) AS job_id FROM dlm_jobs \gset
SELECT state, (counts ->> 'rows')::int AS rows, (counts ->> 'written')::int AS written, (counts ->> 'skipped')::int AS skipped FROM dlm_jobs WHERE job_id = :job_id;
SET regress.stop = off;
CALL dlm_infill_table(NULL, job_id => :job_id) \gset
SELECT state, (counts ->> 'rows')::int AS rows, (counts ->> 'written')::int AS written, (counts ->> 'skipped')::int AS skipped FROM dlm_jobs WHERE job_id = :job_id;
SELECT count(DISTINCT medal) AS medals FROM guest;
DROP TRIGGER stop ON guest;

-- many values are taken, and the one that is left is found
CREATE TABLE slot (id int PRIMARY KEY, name text UNIQUE NOT NULL);
INSERT INTO slot SELECT i, 'slot ' || i FROM generate_series(1, 300) AS i;
CREATE TABLE booked (id int PRIMARY KEY, slot int UNIQUE REFERENCES slot);
INSERT INTO booked SELECT i, CASE WHEN i <> 217 THEN i END FROM generate_series(1, 300) AS i;
SELECT (dlm_infill_row(b, '{"show": []}')).slot FROM booked AS b WHERE id = 217;

-- another row is one with another primary key
SELECT (dlm_infill_row(ROW(id, NULL)::booked, '{"choices": {"slot": ["5"]}}')).slot FROM booked WHERE id = 5;
SELECT (dlm_infill_row(ROW(NULL, NULL)::booked, '{"choices": {"slot": ["5", "217"]}, "columns": ["slot"]}')).slot;
-- children have keys of their own
CREATE TABLE parent (id int PRIMARY KEY, medal rank UNIQUE);
CREATE TABLE child () INHERITS (parent);
INSERT INTO child SELECT i, (enum_range(NULL::rank))[i] FROM generate_series(1, 4) AS i;
INSERT INTO parent VALUES (9, NULL);
SELECT (dlm_infill_row(p)).medal IS NOT NULL AS medal FROM ONLY parent AS p;
-- partitions have the table's
CREATE TABLE parted (part int, id int, side text CHECK (side IN ('l', 'r')), UNIQUE (part, side)) PARTITION BY LIST (part);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
INSERT INTO parted VALUES (1, 1, 'l'), (1, 2, NULL);
SELECT (dlm_infill_row(p)).side FROM parted AS p WHERE id = 2;
-- what is generated is not known before: the table decides
CREATE TABLE made (id int PRIMARY KEY, side text CHECK (side IN ('l', 'r')), part int, twice text GENERATED ALWAYS AS (coalesce(side, 'none')) STORED, UNIQUE (twice, part));
INSERT INTO made VALUES (1, NULL, 1), (2, NULL, NULL);
SELECT (dlm_infill_row(m)).side IS NOT NULL AS side FROM made AS m WHERE id = 2;

-- who may not read the rows is told nothing of them, and an owner that may not either leaves it to the table
CREATE ROLE regress_dlm_owner;
GRANT USAGE, CREATE ON SCHEMA regress_unique TO regress_dlm_owner;
GRANT USAGE ON FOREIGN SERVER "tiny unique" TO regress_dlm_owner;
SET ROLE regress_dlm_owner;
SELECT (dlm_infill_row(ROW(999, NULL)::booked, '{"choices": {"slot": ["5"]}}')).slot;
RESET ROLE;
GRANT SELECT ON booked TO regress_dlm_owner;
SET ROLE regress_dlm_owner;
SELECT code, message FROM pg_temp.fails('SELECT dlm_infill_row(ROW(999, NULL)::booked, ''{"choices": {"slot": ["5"]}}'')');
RESET ROLE;
ALTER TABLE booked ENABLE ROW LEVEL SECURITY;
SET ROLE regress_dlm_owner;
SELECT (dlm_infill_row(ROW(999, NULL)::booked, '{"choices": {"slot": ["5"]}}')).slot;
RESET ROLE;
ALTER TABLE guest OWNER TO regress_dlm_owner;
REVOKE SELECT ON guest FROM regress_dlm_owner;
SET ROLE regress_dlm_owner;
SELECT (dlm_infill_row(ROW(9, 'x', NULL, NULL, NULL)::guest, '{"columns": ["medal"], "choices": {"medal": ["gold"]}}')).medal;
RESET ROLE;

-- the table's code runs with nobody's rights but the caller's, whose search_path it follows
CREATE TABLE allowed (word text);
INSERT INTO allowed VALUES ('yes');
CREATE FUNCTION is_allowed(word text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN EXISTS (SELECT FROM allowed AS a WHERE a.word = is_allowed.word); END $$;
CREATE TABLE code (id int PRIMARY KEY, word text CHECK (is_allowed(word)));
GRANT SELECT ON allowed TO regress_dlm_owner;
SET ROLE regress_dlm_owner;
CREATE FUNCTION pg_temp.boom() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'ran as %', current_user; RETURN 'yes'; END $$;
CREATE TEMP VIEW allowed AS SELECT pg_temp.boom() AS word;
SET client_min_messages = notice;
SELECT (dlm_infill_row(ROW(7, NULL)::code, '{"choices": {"word": ["yes"]}}')).word;
RESET client_min_messages;
RESET ROLE;
SET client_min_messages = warning;
DROP OWNED BY regress_dlm_owner;
DROP ROLE regress_dlm_owner;

DROP SCHEMA regress_unique CASCADE;
SELECT dlm_drop_model('tiny unique');
