-- Models are foreign servers: load, look, drop, and what is refused.
\getenv root PG_ABS_SRCDIR
\set llama :root '/test/models/llama'
\set context :root '/test/models/context'
\set VERBOSITY terse

-- the default model is there after CREATE EXTENSION
SELECT name, architecture, attention, length_head, problem FROM dlm_model_info('dlm-135m');
SELECT name, owner = current_user AS mine, digest ~ '^[0-9a-f]{64}$' AS digest, parameters > 1e8 AS large,
	bytes > 1e8 AS bytes, context, mask_token, mapped_by > 0 AS mapped, comment, problem
FROM dlm_models WHERE name = 'dlm-135m';
SELECT (dlm_model_info()).name AS default_model;

-- load: the digest is that of the file, and the same every time
SELECT dlm_load_model('tiny', :'llama') AS digest \gset
SELECT dlm_load_model(name => 'tiny twin', path => :'llama') = :'digest' AS same;
SELECT dlm_load_model('tiny bf16', :'llama', '{"weights": "bf16"}') = :'digest' AS same;
SELECT name, architecture, weights, context, mask_token, problem FROM dlm_models WHERE name LIKE 'tiny%' ORDER BY name;
SELECT file = :'digest' || '.dlm' AS file, used_by FROM dlm_model_files() WHERE digest = :'digest';
SELECT srvname, srvoptions[1] = 'file=' || :'digest' || '.dlm' AS file FROM pg_foreign_server WHERE srvname = 'tiny';

-- what is refused
SELECT dlm_load_model('tiny', :'llama');
SELECT dlm_load_model('', :'llama');
SELECT dlm_load_model(repeat('x', 64), :'llama');
SELECT dlm_load_model(NULL, :'llama');
SELECT dlm_load_model('x', NULL);
SELECT dlm_load_model('x', '');
SELECT dlm_load_model('x', '/no/such/place');
SELECT dlm_load_model('x', :'llama', '{"weight": "int8"}');
SELECT dlm_load_model('x', :'llama', '{"weights": 8}');
SELECT dlm_load_model('x', :'llama', '{"weights": "int9"}');
SELECT dlm_load_model('x', :'llama', '["weights"]');
SELECT dlm_load_model('x', :'llama', '{"lora": "/no/such/place"}');
SELECT count(*) FROM dlm_models WHERE name = 'x';

-- a load that is rolled back leaves no model
BEGIN;
SELECT length(dlm_load_model('rolled back', :'context'));
ROLLBACK;
SELECT count(*) FROM dlm_models WHERE name = 'rolled back';

-- names
SELECT dlm_count_tokens('rain', model => 'no such model');
SELECT dlm_count_tokens('rain', model => repeat('x', 100));
SELECT dlm_count_tokens('rain', model => '');
SET dlm.default_model = '';
SELECT dlm_count_tokens('rain');
SET dlm.default_model = 'tiny';
SELECT (dlm_model_info()).name AS default_model;
SELECT dlm_count_tokens('rain') > 0 AS works;
RESET dlm.default_model;
CREATE FOREIGN DATA WRAPPER other;
CREATE SERVER stranger FOREIGN DATA WRAPPER other;
SELECT dlm_count_tokens('rain', model => 'stranger');
SELECT dlm_drop_model('stranger');
DROP FOREIGN DATA WRAPPER other CASCADE;

-- a model is a server
ALTER SERVER tiny RENAME TO small;
COMMENT ON SERVER small IS 'for tests';
SELECT name, comment FROM dlm_models WHERE name = 'small';
SELECT dlm_count_tokens('rain', model => 'tiny');
SELECT dlm_count_tokens('rain', model => 'small') > 0 AS works;
CREATE SERVER s FOREIGN DATA WRAPPER dlm;
CREATE SERVER s FOREIGN DATA WRAPPER dlm OPTIONS (file 'x.dlm');
CREATE SERVER s FOREIGN DATA WRAPPER dlm OPTIONS (file 'x.dlm', digest 'abc');
CREATE SERVER s FOREIGN DATA WRAPPER dlm OPTIONS (file '../x.dlm', digest :'digest');
CREATE SERVER s FOREIGN DATA WRAPPER dlm OPTIONS (file 'a/x.dlm', digest :'digest');
CREATE SERVER s FOREIGN DATA WRAPPER dlm OPTIONS (file 'bundled:abc', digest :'digest');
CREATE SERVER s FOREIGN DATA WRAPPER dlm OPTIONS (file 'x.dlm', digest :'digest', path '/');
ALTER SERVER small OPTIONS (DROP digest);
ALTER FOREIGN DATA WRAPPER dlm OPTIONS (ADD file 'x');
CREATE FOREIGN TABLE t (a int) SERVER small;
IMPORT FOREIGN SCHEMA public FROM SERVER small INTO public;
CREATE USER MAPPING FOR PUBLIC SERVER small OPTIONS (user 'x');

-- a file that is not there; a session that has a model of this digest mapped would not need it
\c -
\set VERBOSITY terse
CREATE SERVER away FOREIGN DATA WRAPPER dlm OPTIONS (file 'away.dlm', digest :'digest');
SELECT dlm_count_tokens('rain', model => 'away');
SELECT name, problem FROM dlm_models WHERE name = 'away';
DROP SERVER away;
-- a file that is another model
ALTER SERVER small OPTIONS (SET digest '0000000000000000000000000000000000000000000000000000000000000000');
SELECT regexp_replace(problem, '[0-9a-f]{64}', 'DIGEST', 'g') AS problem FROM dlm_models WHERE name = 'small';
ALTER SERVER small OPTIONS (SET digest :'digest');
SELECT dlm_count_tokens('rain', model => 'small') > 0 AS works;

-- drop
SELECT dlm_drop_model('no such model');
SELECT dlm_drop_model(NULL);
SELECT dlm_drop_model('dlm-135m');
SELECT dlm_drop_model('small'), dlm_drop_model('tiny twin'), dlm_drop_model('tiny bf16');
SELECT used_by FROM dlm_model_files() WHERE digest = :'digest';
SELECT dlm_count_tokens('rain', model => 'small');
SELECT count(*) FROM dlm_models WHERE name LIKE 'tiny%' OR name IN ('small', 'away', 'x');
