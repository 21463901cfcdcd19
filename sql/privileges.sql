-- Rights on models: USAGE on the server, USAGE on the wrapper, ownership; who sees what.
\getenv root PG_ABS_SRCDIR
\set llama :root '/test/models/llama'
\set VERBOSITY terse

SELECT dlm_load_model('guarded', :'llama') AS digest \gset
CREATE ROLE regress_dlm_guest;
CREATE ROLE regress_dlm_maker;

-- use
SET ROLE regress_dlm_guest;
SELECT dlm_count_tokens('rain') > 0 AS default_model;
SELECT dlm_count_tokens('rain', model => 'guarded');
SELECT (dlm_model_info('guarded')).name;
SELECT name, digest IS NULL AS digest, architecture IS NULL AS hidden FROM dlm_models WHERE name IN ('dlm-135m', 'guarded') ORDER BY name;
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER guarded TO regress_dlm_guest;
SET ROLE regress_dlm_guest;
SELECT dlm_count_tokens('rain', model => 'guarded') > 0 AS granted;
SELECT name, architecture IS NULL AS hidden FROM dlm_models WHERE name IN ('dlm-135m', 'guarded') ORDER BY name;
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER "dlm-135m" FROM PUBLIC;
SET ROLE regress_dlm_guest;
SELECT dlm_count_tokens('rain');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER "dlm-135m" TO PUBLIC;

-- make
SET ROLE regress_dlm_maker;
SELECT dlm_load_model('mine', :'llama');
RESET ROLE;
GRANT USAGE ON FOREIGN DATA WRAPPER dlm TO regress_dlm_maker;
SET ROLE regress_dlm_maker;
SELECT dlm_load_model('mine', :'llama');
SELECT dlm_load_model('mine', '../../etc');
-- the name of a file is no secret, but its use is a right
SELECT dlm_load_model('mine', :'digest' || '.dlm');
\set file :digest .dlm
CREATE SERVER mine FOREIGN DATA WRAPPER dlm OPTIONS (file :'file', digest :'digest');
CREATE SERVER mine FOREIGN DATA WRAPPER dlm
	OPTIONS (file 'x.dlm', digest '0000000000000000000000000000000000000000000000000000000000000000');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER guarded TO regress_dlm_maker;
SET ROLE regress_dlm_maker;
CREATE SERVER mine FOREIGN DATA WRAPPER dlm OPTIONS (file :'file', digest :'digest');
SELECT dlm_count_tokens('rain', model => 'mine') > 0 AS works;
ALTER SERVER mine OPTIONS (SET digest '0000000000000000000000000000000000000000000000000000000000000000');
SELECT dlm_drop_model('mine');
SELECT dlm_load_model('mine', :'file') = :'digest' AS same;
SELECT dlm_drop_model('mine');
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER guarded FROM regress_dlm_maker;
GRANT pg_read_server_files TO regress_dlm_maker;
SET ROLE regress_dlm_maker;
SELECT length(dlm_load_model('mine', :'llama'));
RESET ROLE;
SELECT name, owner FROM dlm_models WHERE name = 'mine';

-- drop
SET ROLE regress_dlm_guest;
SELECT dlm_drop_model('mine');
ALTER SERVER mine OWNER TO regress_dlm_guest;
RESET ROLE;
\set VERBOSITY default
DROP ROLE regress_dlm_maker;
\set VERBOSITY terse

-- monitoring
SET ROLE regress_dlm_guest;
SELECT dlm_stats_reset();
SELECT * FROM dlm_model_files();
SELECT count(*) FROM dlm_stats WHERE userid <> 'regress_dlm_guest'::regrole AND model IS NOT NULL;
SELECT count(*) FROM dlm_activity WHERE task IS NOT NULL;
RESET ROLE;

-- the statements of a model that its owner may not use fail in plans made before, too
PREPARE count_tokens AS SELECT dlm_count_tokens('rain', model => 'guarded') > 0 AS allowed;
SET ROLE regress_dlm_guest;
EXECUTE count_tokens;
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER guarded FROM regress_dlm_guest;
SET ROLE regress_dlm_guest;
EXECUTE count_tokens;
RESET ROLE;

SELECT dlm_drop_model('mine'), dlm_drop_model('guarded');
REVOKE USAGE ON FOREIGN DATA WRAPPER dlm FROM regress_dlm_maker;
DROP ROLE regress_dlm_guest, regress_dlm_maker;
