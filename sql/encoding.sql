-- Databases in other encodings: texts are converted; what the encoding cannot hold is never written.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/fails.sql'
SELECT current_database() AS home \gset
CREATE DATABASE regress_dlm_latin1 TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
\c regress_dlm_latin1
SET client_min_messages = warning;
CREATE EXTENSION dlm;
SET client_encoding = 'UTF8';
-- the same tokens and labels as in a UTF-8 database
SELECT dlm_count_tokens('Käse für 5 €uro?' ) AS failed;
SELECT dlm_count_tokens('Käse für fünf') AS tokens, dlm_classify('Der Käse war schön.', '{schön,übel}') IN ('schön', 'übel') AS label;
SELECT dlm_infill('Der Käse ist [MASK].') LIKE 'Der Käse ist %.' AS kept;
SELECT dlm_detokenize(array_agg(id ORDER BY "position")) = 'Käse für fünf' AS back FROM dlm_tokenize('Käse für fünf');
-- pieces that the encoding cannot hold are escaped
SELECT token FROM dlm_tokenize('two words');
-- pages hold ASCII alone
SELECT page ~ '^[\x01-\x7f]*$' AS ascii, page ~ 'Der K&#xe4;se ist ' AS kept FROM dlm_trace_html('Der Käse ist [MASK:4].', temperature => 2) page;
-- answers can be stored whatever is drawn
SELECT count(dlm_infill('In Tokyo they say [MASK:6].', temperature => 2, seed => i)) AS answers FROM generate_series(1, 4) i;
SELECT count(dlm_generate('Write in Japanese or Russian.', 8, temperature => 1, seed => i)) AS answers FROM generate_series(1, 2) i;
\c :home
SET client_min_messages = warning;
CREATE DATABASE regress_dlm_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';
\c regress_dlm_ascii
SET client_min_messages = warning;
CREATE EXTENSION dlm;
\i :include
-- bytes must be UTF-8
SELECT dlm_infill('Der Käse ist [MASK].') LIKE 'Der Käse ist %.' AS kept;
SELECT code, message FROM pg_temp.fails($$SELECT dlm_classify(E'K\xe4se', '{a,b}')$$);
SELECT code, message FROM pg_temp.fails($$SELECT dlm_classify('Kase', ARRAY['a', E'\xe4'])$$);
SELECT dlm_classify(ARRAY[E'K\xe4se', 'good'], '{a,b}', options => '{"on_error": "null"}') IS NOT NULL AS works,
	(dlm_classify(ARRAY[E'K\xe4se', 'good'], '{a,b}', options => '{"on_error": "null"}'))[1] IS NULL AS bad_row;
\c :home
SET client_min_messages = warning;
DROP DATABASE regress_dlm_latin1;
DROP DATABASE regress_dlm_ascii;
