-- What rows may hold: options and models of their own, NULLs, wide values, domains, arrays, composites.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/batch.sql'
\i :include
\set context :root '/test/models/context'
SELECT count(dlm_load_model('tiny context', :'context')) FROM (SELECT) q WHERE NOT EXISTS (SELECT FROM dlm_models WHERE name = 'tiny context') \gset ignored_
-- options from columns: a seed, labels, jsonb, the model
SELECT pg_temp.both('SELECT id, dlm_generate(body, 4, 4, 1.0, seed => id) FROM r');
SELECT pg_temp.both('SELECT id, dlm_classify(body, labels, ''the weather'', CASE WHEN k = 1 THEN array_fill(''x''::text, ARRAY[cardinality(labels)]) END) FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(body, jsonb_build_object(''passes'', 1 + k)) FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(body, model => CASE k WHEN 0 THEN ''tiny'' WHEN 1 THEN ''tiny context'' END) FROM r');
SELECT pg_temp.counted('SELECT id, dlm_score(body, model => CASE k WHEN 0 THEN ''tiny'' WHEN 1 THEN ''tiny context'' END) FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(body, model => CASE k WHEN 0 THEN ''tiny'' WHEN 1 THEN ''tiny context'' ELSE CASE WHEN id > 20 THEN ''none'' END END) FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(body, model => CASE k WHEN 0 THEN ''tiny'' WHEN 1 THEN ''tiny context'' ELSE CASE WHEN id > 20 THEN ''none'' END END) FROM r LIMIT 22');
-- every function of one text
SELECT pg_temp.both('SELECT id, dlm_generate(body, 3), dlm_infill(body || '' [MASK]''), dlm_infill_gaps(body || '' [MASK:2]'') FROM r');
SELECT pg_temp.both('SELECT id, dlm_classify(body, labels), dlm_classify_full(body, labels), dlm_classify_multi(body, labels) FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(body), dlm_embed(body), dlm_embed(body || id, ''tiny context'') FROM r');
-- those of arrays, and of rows, are batches of their own
SELECT pg_temp.both('SELECT id, dlm_classify(ARRAY[body, k::text], labels) FROM r');
SELECT pg_temp.both('SELECT id, s.label FROM r, dlm_classify_scores(body, labels) s');
-- NULLs
SELECT pg_temp.both('SELECT id, dlm_score(NULLIF(body, ''sun 1'')), dlm_classify(NULLIF(k, 1)::text, labels), dlm_classify(body, CASE WHEN k = 1 THEN labels END) FROM r');
SELECT pg_temp.counted('SELECT id, dlm_classify(NULLIF(k, 1)::text, ''{a,b}''), dlm_classify(body, CASE WHEN k = 1 THEN labels END) FROM r');
SELECT pg_temp.both('SELECT id, (dlm_classify_full(CASE WHEN k = 1 THEN body END, labels)).margin, dlm_classify_full(CASE WHEN k = 1 THEN body END, labels) IS NULL FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(NULL::text), dlm_score('''') FROM r');
-- wide rows, toasted and long texts
SELECT pg_temp.both(format('SELECT %s, dlm_score(body), %s FROM r', string_agg('id + ' || i, ', '), string_agg('body || ' || i, ', '))) FROM generate_series(1, 400) i;
CREATE TABLE regress_dlm_wide (id int, body text, tail text);
ALTER TABLE regress_dlm_wide ALTER tail SET STORAGE EXTERNAL;
INSERT INTO regress_dlm_wide SELECT i, repeat('rain ', 1 + i * 40), repeat('x', i * 1000) FROM generate_series(1, 20) i;
ANALYZE regress_dlm_wide;
SELECT pg_temp.both('SELECT id, dlm_score(substr(tail, 1, 5) || id), md5(tail), md5(body), dlm_score(body, ''{"passes": 1}'') FROM regress_dlm_wide');
SET dlm.batch_mem = '1MB';
SELECT pg_temp.both('SELECT id, dlm_score(body, ''{"passes": 1}''), md5(tail || repeat(''y'', 200000)) FROM regress_dlm_wide');
SELECT pg_temp.both('SELECT i, dlm_score((i % 50)::text || left(repeat(''rain '', 30000), i % 2)), length(w) FROM (SELECT i, repeat(''w'', 30000) AS w FROM generate_series(1, 300) i OFFSET 0) q');
RESET dlm.batch_mem;
SET dlm.batch_size = 3;
SELECT pg_temp.both('SELECT id, dlm_score(body), dlm_classify(body, labels) FROM r');
SELECT pg_temp.counted('SELECT dlm_score(body) FROM r', 'Batches');
RESET dlm.batch_size;
SELECT pg_temp.counted('SELECT dlm_score(body) FROM r', 'Batches');
-- domains, casts, arrays, subscripts, composites
CREATE DOMAIN regress_dlm_word AS text CHECK (VALUE <> 'ice');
SELECT pg_temp.both('SELECT id, dlm_classify(body, labels)::regress_dlm_word FROM r');
SELECT pg_temp.both('SELECT id, dlm_classify(body, ''{sun,rain}'')::regress_dlm_word, dlm_score(body::regress_dlm_word) FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(body::varchar(4)), dlm_score(id::text)::numeric(8,3), dlm_score(body)::text::float4 FROM r');
SELECT pg_temp.both('SELECT id, ARRAY[dlm_score(body), dlm_score(k::text), 1], ARRAY[dlm_classify(body, labels)]::varchar(3)[] FROM r');
SELECT pg_temp.both('SELECT id, (dlm_embed(body))[1], (dlm_embed(body))[2:3], labels[CASE WHEN dlm_score(body) < -10 THEN 1 ELSE 2 END] FROM r');
SELECT pg_temp.both('SELECT id, (dlm_classify_full(body, labels)).probability, (dlm_classify_full(body, labels)).label, (f).margin FROM (SELECT *, dlm_classify_full(body, ''{sun,rain}'') AS f FROM r) q');
SELECT pg_temp.both('SELECT ROW (id, dlm_score(body)), ROW (dlm_classify_full(body, labels), r.*) FROM r');
SELECT pg_temp.both('SELECT to_jsonb(dlm_classify_full(body, labels)) || to_jsonb(r) FROM r');
SELECT pg_temp.both('SELECT dlm_infill_gaps(body || '' [MASK:city]'') ->> ''city'', (dlm_infill_gaps(body || '' [MASK:city]''))[''city''] FROM r');
-- arguments by name and by default, from a column of any name, at any depth
SELECT pg_temp.both('SELECT dlm_classify(labels => labels, input => body, options => NULL) FROM r');
SELECT pg_temp.both('SELECT dlm_generate(prompt => body, max_tokens => 2, seed => 3), upper(left(dlm_infill(template => body || '' [MASK]'', steps => 1), 20)) FROM r');
SELECT pg_temp.both('SELECT length(md5(concat_ws(''-'', dlm_classify(body, labels), dlm_score(body)::text))) FROM r');
-- whatever the search_path
SET search_path = pg_catalog, pg_temp;
SELECT pg_temp.both('SELECT id, public.dlm_score(body) FROM public.r');
RESET search_path;
-- functions of the user: SQL functions that are inlined, those that are not, PL/pgSQL
CREATE FUNCTION pg_temp.score(t text) RETURNS float8 LANGUAGE sql STABLE AS 'SELECT public.dlm_score(t)';
SELECT pg_temp.both('SELECT id, pg_temp.score(body) FROM r');
CREATE FUNCTION pg_temp.all_scores(OUT id int, OUT s float8) RETURNS SETOF record LANGUAGE sql VOLATILE AS 'SELECT id, public.dlm_score(body) FROM public.r';
SELECT pg_temp.both('SELECT * FROM pg_temp.all_scores()');
SELECT pg_temp.both('SELECT pg_temp.all_scores() LIMIT 3');
CREATE FUNCTION pg_temp.plain_scores() RETURNS SETOF float8 LANGUAGE plpgsql AS $$
DECLARE
	row record;
BEGIN
	RETURN QUERY SELECT dlm_score(body) FROM r;
	FOR row IN SELECT dlm_score(body) AS s FROM r WHERE id < 5 LOOP
		RETURN NEXT row.s;
	END LOOP;
	RETURN NEXT dlm_score('rain');
END
$$;
SELECT pg_temp.both('SELECT * FROM pg_temp.plain_scores()');
CREATE SCHEMA regress_dlm_schema;
CREATE FUNCTION regress_dlm_schema.dlm_score(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT pg_temp.both('SELECT id, regress_dlm_schema.dlm_score(body) FROM r');
DROP SCHEMA regress_dlm_schema CASCADE;
DROP DOMAIN regress_dlm_word;
DROP TABLE regress_dlm_wide;
DROP VIEW r;
DROP TABLE regress_dlm_rows;
DROP SERVER tiny, "tiny context";
