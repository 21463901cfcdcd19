-- dlm_finetune: rights, columns, rows, jobs. What a training makes of the rows is tested in test/t.
\getenv root PG_ABS_SRCDIR
\set llama :root '/test/models/llama'
\set VERBOSITY default
\set SHOW_CONTEXT errors
SET client_min_messages = warning;

SELECT dlm_load_model('tiny', :'llama') AS digest \gset
CREATE TABLE weather (id int PRIMARY KEY, body text, label text);
INSERT INTO weather SELECT i, (ARRAY['rain', 'sun', 'snow', 'wind'])[1 + i % 4] || ' ' || i, (ARRAY['wet', 'dry'])[1 + i % 2]
	FROM generate_series(1, 40) AS i;
\set rows 'SELECT body AS input, label AS target FROM weather ORDER BY id'

-- where it may run: before any look at the arguments
BEGIN;
CALL dlm_finetune('m', 'no such model', 'no query');
ROLLBACK;
BEGIN;
SAVEPOINT s;
CALL dlm_finetune('m', 'tiny', :'rows');
ROLLBACK;
CREATE FUNCTION inside() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	job bigint;
BEGIN
	CALL dlm_finetune('m', 'tiny', 'SELECT 1', job_id => job);
END
$$;
\set VERBOSITY terse
SELECT inside();
DO $$
DECLARE
	job bigint;
BEGIN
	BEGIN
		CALL dlm_finetune('m', 'tiny', 'SELECT 1', job_id => job);
	EXCEPTION WHEN sqlstate '25001' THEN
		RAISE WARNING 'in an exception block: %', sqlerrm;
	END;
END
$$;
SET default_transaction_read_only = on;
CALL dlm_finetune('m', 'tiny', :'rows');
RESET default_transaction_read_only;

-- arguments
CALL dlm_finetune(NULL, 'tiny', :'rows');
CALL dlm_finetune('m', NULL, :'rows');
CALL dlm_finetune('m', 'tiny', NULL);
CALL dlm_finetune('', 'tiny', :'rows');
CALL dlm_finetune(repeat('x', 64), 'tiny', :'rows');
CALL dlm_finetune('tiny', 'tiny', :'rows');
CALL dlm_finetune('m', 'no such model', :'rows');
CALL dlm_finetune('m', 'tiny', :'rows', 'guess');
CALL dlm_finetune('m', 'tiny', :'rows', options => '[1]');
CALL dlm_finetune('m', 'tiny', :'rows', options => '{"background": 1}');
CALL dlm_finetune('m', 'tiny', :'rows', options => '{"replace": "yes"}');
CALL dlm_finetune('m', 'tiny', :'rows', options => '{"memory_limit": "much"}');
CALL dlm_finetune('m', 'tiny', :'rows', options => '{"memory_limit": "100 GB"}');
CALL dlm_finetune('m', 'tiny', :'rows', options => '{"time_limit": -1}');
CALL dlm_finetune('m', 'tiny', :'rows', options => '{"time_limit": "1 parsec"}');
CALL dlm_finetune('m', 'tiny', :'rows', options => '{"checkpoint_every": []}');
CALL dlm_finetune('m', 'tiny', :'rows', job_id => 1000000);

-- columns
\set VERBOSITY default
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input FROM weather');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS text FROM weather', 'instruction');
CALL dlm_finetune('m', 'tiny', :'rows', 'text');
\set VERBOSITY terse
CALL dlm_finetune('m', 'tiny', 'SELECT label AS target FROM weather');
CALL dlm_finetune('m', 'tiny', 'SELECT id, body AS input, label AS target FROM weather');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, label AS target, label AS target FROM weather');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, label AS target, label AS labels FROM weather');
CALL dlm_finetune('m', 'tiny', :'rows', validation_query => 'SELECT body AS input FROM weather');
CALL dlm_finetune('m', 'tiny', 'SELECT 1; SELECT 2');
CALL dlm_finetune('m', 'tiny', '');
CALL dlm_finetune('m', 'tiny', 'DELETE FROM weather RETURNING body AS input, label AS target');
CALL dlm_finetune('m', 'tiny', 'WITH d AS (DELETE FROM weather RETURNING *) SELECT body AS input, label AS target FROM d');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, label AS target FROM weather FOR UPDATE');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, label AS target INTO other FROM weather');
CALL dlm_finetune('m', 'tiny', 'SHOW work_mem');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, label AS target FROM no_such_table');

-- rows: an error names the row, and nothing is kept
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, label AS target FROM weather WHERE false');
CALL dlm_finetune('m', 'tiny', :'rows', validation_query => 'SELECT body AS input, label AS target FROM weather WHERE false');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, nullif(label, ''wet'') AS target FROM weather ORDER BY id');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, '''' AS target FROM weather');
CALL dlm_finetune('m', 'tiny', 'SELECT NULL AS input, label AS target FROM weather');
CALL dlm_finetune('m', 'tiny', 'SELECT NULL::text AS text FROM weather', 'text');
CALL dlm_finetune('m', 'tiny', 'SELECT '''' AS text FROM weather', 'text');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, label AS target, ARRAY[label, NULL] AS labels FROM weather');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, label AS target, ''{}''::jsonb AS labels FROM weather');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, label AS target, ''[1]''::json AS labels FROM weather');
CALL dlm_finetune('m', 'tiny', :'rows', validation_query => 'SELECT body AS input, NULL AS target FROM weather');
\set VERBOSITY default
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, (1 / (20 - id))::text AS target FROM weather ORDER BY id');
\set VERBOSITY terse
-- a query changes nothing, whatever it calls
CREATE FUNCTION change() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM weather;
	RETURN 'x';
END
$$;
CALL dlm_finetune('m', 'tiny', 'SELECT change() AS input, label AS target FROM weather');
SELECT count(*) FROM weather;
SELECT count(*) FROM dlm_jobs;
SELECT count(*) FROM dlm_models WHERE name = 'm';
SHOW transaction_read_only;

-- the trainer's own refusals: only their codes are compared here
\set VERBOSITY sqlstate
CALL dlm_finetune('m', 'tiny', :'rows', options => '{"no_such_option": 1}');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, ''wet'' AS target, ''{wet}''::text[] AS labels FROM weather');
CALL dlm_finetune('m', 'tiny', 'SELECT body AS input, repeat(label, 10000) AS target FROM weather');
CALL dlm_finetune('m', 'tiny', :'rows', options => '{"memory_limit": "1MB", "batch_tokens": 100000, "part_tokens": 100000}');
\set VERBOSITY default
SELECT dlm_load_model('tiny8', :'llama', '{"weights": "int8"}') AS int8 \gset
CALL dlm_finetune('m', 'tiny8', :'rows', options => '{"mode": "full"}');
SELECT dlm_drop_model('tiny8');
\set VERBOSITY terse
SELECT name, state, finished IS NOT NULL AS finished, message IS NOT NULL AS message, pid FROM dlm_jobs ORDER BY job_id;
-- such a job has its rows; it can be deleted
SELECT count(dlm_job_delete(job_id)) FROM dlm_jobs;
SELECT count(*) FROM dlm_jobs;
SELECT dlm_job_delete(1000000);

-- a training from start to end; targets of other types, labels as arrays and as JSON
CREATE TYPE kind AS ENUM ('wet', 'dry');
CALL dlm_finetune('taught', 'tiny', 'SELECT body AS input, label::kind AS target, enum_range(NULL::kind) AS labels FROM weather',
	validation_query => 'SELECT body AS input, label AS target, ''["wet", "dry"]''::json AS labels FROM weather WHERE id < 9',
	options => '{"steps": 3}') \gset
SELECT job_id = :job_id AS same, kind, name, base, owner = current_user AS mine, state, step, steps, tokens > 0 AS tokens,
	loss > 0 AS loss, started < finished AS time, message, pid FROM dlm_jobs;
SELECT name, training - '{loss,accuracy,validation_loss,validation_accuracy,tokens,seconds,finished,best_step,base_digest}'::text[] AS training,
	training ->> 'base_digest' = :'digest' AS base, (training ->> 'loss')::float8 > 0 AS loss,
	(training ->> 'validation_accuracy')::float8 BETWEEN 0 AND 1 AS judged
FROM dlm_model_info('taught');
SELECT dlm_classify('rain', '{wet,dry}', model => 'taught') IN ('wet', 'dry') AS works;
CALL dlm_finetune('taught', 'tiny', :'rows', options => '{"steps": 3}');
CALL dlm_finetune(NULL, NULL, NULL, job_id => :job_id);

-- replace: rights, comments stay; a model that was loaded loses its card
COMMENT ON SERVER taught IS 'for tests';
CALL dlm_finetune('taught', 'tiny', 'SELECT body AS text FROM weather', 'text', options => '{"steps": 2, "replace": true}') \gset
SELECT comment FROM dlm_models WHERE name = 'taught';
SELECT training ->> 'objective' AS objective, training ->> 'steps' AS steps FROM dlm_model_info('taught');
CALL dlm_finetune('taught', 'taught', :'rows', options => '{"steps": 2, "replace": true}') \gset
SELECT training ->> 'objective' AS objective, training ->> 'base' AS base FROM dlm_model_info('taught');
ALTER SERVER taught OPTIONS (SET training '[1]');

-- in a DO block outside of a transaction it may work
DO $$
DECLARE
	job bigint;
BEGIN
	CALL dlm_finetune('done', 'tiny', 'SELECT body AS input, label AS target FROM weather', options => '{"steps": 2}', job_id => job);
	RAISE WARNING 'job %', job > 0;
END
$$;

-- rights
CREATE ROLE regress_dlm_trainer;
SET ROLE regress_dlm_trainer;
CALL dlm_finetune('theirs', 'dlm-135m', 'SELECT 1');
CALL dlm_finetune('theirs', 'tiny', 'SELECT 1');
SELECT count(*) FROM dlm_jobs;
SELECT count(*) FROM dlm_job;
SELECT dlm_job_delete(:job_id);
CALL dlm_finetune(NULL, NULL, NULL, job_id => :job_id);
RESET ROLE;
GRANT USAGE ON FOREIGN DATA WRAPPER dlm TO regress_dlm_trainer;
GRANT USAGE ON FOREIGN SERVER tiny TO regress_dlm_trainer;
SET ROLE regress_dlm_trainer;
CALL dlm_finetune('theirs', 'tiny', :'rows');
CALL dlm_finetune('taught', 'tiny', 'SELECT ''a'' AS input, ''b'' AS target', options => '{"replace": true}');
CALL dlm_finetune('theirs', 'tiny', 'SELECT body AS input, label AS target FROM (VALUES (''rain'', ''wet''), (''sun'', ''dry'')) AS v (body, label)',
	options => '{"steps": 2}') \gset
SELECT name, owner FROM dlm_models WHERE name = 'theirs';
SELECT name, owner FROM dlm_jobs;
SELECT dlm_drop_model('theirs');
RESET ROLE;
SELECT count(*) > 1 AS all FROM dlm_jobs;

-- the length head of a base that has none
CALL dlm_finetune('long', 'tiny', 'SELECT body AS input, repeat(label || '' '', 1 + id % 3) AS target FROM weather ORDER BY id', 'length',
	options => '{"steps": 3}') \gset
SELECT state, step, validation_accuracy IS NOT NULL AS judged FROM dlm_jobs WHERE job_id = :job_id;
SELECT count(*) FROM dlm_predict_length('rain 3', 3, 'long');
SELECT dlm_drop_model('long');
CALL dlm_finetune('long', 'tiny', 'SELECT body AS text FROM weather', 'length');

-- deleting is part of a transaction
BEGIN;
SELECT count(dlm_job_delete(job_id)) > 1 AS deleted FROM dlm_jobs;
SELECT count(*) FROM dlm_jobs;
ROLLBACK;
SELECT count(dlm_job_delete(job_id)) > 1 AS deleted FROM dlm_jobs;
SELECT count(*) FROM dlm_jobs;

DROP TABLE weather;
DROP FUNCTION inside, change;
DROP TYPE kind;
REVOKE USAGE ON FOREIGN DATA WRAPPER dlm FROM regress_dlm_trainer;
SELECT dlm_drop_model('taught'), dlm_drop_model('done'), dlm_drop_model('tiny');
DROP ROLE regress_dlm_trainer;
