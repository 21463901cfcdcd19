-- Set dlm.cache_mem to :cache_mem, as SHOW writes it, and wait until this session has it.
\set ECHO none
ALTER SYSTEM SET dlm.cache_mem = :'cache_mem';
SELECT pg_reload_conf() AS reloaded \gset
\o /dev/null
SELECT format('SELECT pg_sleep(0.1) WHERE current_setting(''dlm.cache_mem'') <> %L', :'cache_mem') FROM generate_series(1, 100) \gexec
\o
\set ECHO all
SHOW dlm.cache_mem;
