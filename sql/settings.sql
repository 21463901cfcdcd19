-- The settings: who may set them, their bounds and defaults.
SELECT dlm_count_tokens(NULL);	-- loads the library
SELECT name, context, vartype AS type, unit, boot_val AS "default", min_val AS min, max_val AS max
FROM pg_settings WHERE name LIKE 'dlm.%' ORDER BY name;
SELECT name, short_desc, extra_desc FROM pg_settings WHERE name LIKE 'dlm.%' ORDER BY name;
\set VERBOSITY sqlstate
SET dlm.batch_size = 0;
SET dlm.no_such_setting = 1;
SET dlm.model_directory = '/tmp';
SET dlm.max_threads = 65;
ALTER SYSTEM SET dlm.model_directory = '../elsewhere';
ALTER SYSTEM SET dlm.model_directory = '';
\set VERBOSITY default
-- limits are for superusers, the rest is for all
CREATE ROLE regress_dlm_user;
SET ROLE regress_dlm_user;
SET dlm.default_model = 'x';
SET dlm.batch_size = 8;
SET dlm.max_threads = 1;
SET dlm.max_session_memory = '1GB';
SET dlm.statement_budget_ms = 0;
\set VERBOSITY sqlstate
SHOW dlm.model_directory;
\set VERBOSITY default
RESET ROLE;
DROP ROLE regress_dlm_user;
