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

-- an owner that may not read its own table: the table decides
CREATE ROLE regress_dlm_owner;
GRANT USAGE, CREATE ON SCHEMA regress_unique TO regress_dlm_owner;
ALTER TABLE guest OWNER TO regress_dlm_owner;
UPDATE guest SET medal = 'gold' WHERE id = 1;
REVOKE SELECT ON guest FROM regress_dlm_owner;
SELECT (dlm_infill_row(g, '{"columns": ["medal"]}')).medal IS NOT NULL AS medal FROM guest AS g WHERE id = 2;
DROP OWNED BY regress_dlm_owner;
DROP ROLE regress_dlm_owner;

DROP SCHEMA regress_unique CASCADE;
SELECT dlm_drop_model('tiny unique');
