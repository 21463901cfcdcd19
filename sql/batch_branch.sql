-- A call is computed only where PostgreSQL would compute it, and once where it stands more than once.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/batch.sql'
\i :include
-- CASE: with and without a value to compare, nested, and a call in its condition
SELECT pg_temp.both('SELECT id, CASE WHEN k = 0 THEN dlm_score(body) WHEN k = 1 THEN dlm_score(id::text) ELSE -1 END FROM r');
SELECT pg_temp.counted('SELECT id, CASE WHEN k = 0 THEN dlm_score(body) WHEN k = 1 THEN dlm_score(id::text) ELSE -1 END FROM r');
SELECT pg_temp.both('SELECT id, CASE k WHEN 0 THEN dlm_score(body) WHEN 1 THEN NULL ELSE dlm_score(id::text) END FROM r');
SELECT pg_temp.counted('SELECT id, CASE k WHEN 0 THEN dlm_score(body) WHEN 1 THEN NULL ELSE dlm_score(id::text) END FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN id > 20 THEN CASE k WHEN 0 THEN dlm_score(body) END END FROM r');
SELECT pg_temp.counted('SELECT id, CASE WHEN id > 20 THEN CASE k WHEN 0 THEN dlm_score(body) END END FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN k = 1 THEN ''no'' WHEN dlm_classify(body, ''{sun,rain}'') = ''sun'' THEN dlm_infill(body || '' [MASK]'') END FROM r');
SELECT pg_temp.counted('SELECT id, CASE WHEN k = 1 THEN ''no'' WHEN dlm_classify(body, ''{sun,rain}'') = ''sun'' THEN dlm_infill(body || '' [MASK]'') END FROM r');
SELECT pg_temp.both('SELECT id, CASE dlm_classify(body, labels) WHEN ''sun'' THEN 1 WHEN dlm_classify(body, ''{ice,rain}'') THEN 2 END FROM r');
-- a CASE within an argument is the argument's own
SELECT pg_temp.both('SELECT id, dlm_score(CASE k WHEN 0 THEN body ELSE ''x'' END) FROM r');
SELECT pg_temp.both('SELECT id, CASE k WHEN 1 THEN dlm_score(CASE id % 2 WHEN 0 THEN body ELSE ''x'' END) END FROM r');
-- COALESCE, AND, OR, and what evaluates all it is given
SELECT pg_temp.both('SELECT id, COALESCE(NULLIF(k, 1)::float8, dlm_score(body)) FROM r');
SELECT pg_temp.counted('SELECT id, COALESCE(NULLIF(k, 1)::float8, dlm_score(body)) FROM r');
SELECT pg_temp.both('SELECT id, COALESCE(dlm_classify(body, CASE WHEN k = 1 THEN labels END), dlm_classify(body, labels)) FROM r');
SELECT pg_temp.both('SELECT id, k = 1 AND dlm_score(body) < -10, k = 1 OR dlm_score(id::text) < -10, NOT (k = 2 OR dlm_score(body) > -9) FROM r');
SELECT pg_temp.counted('SELECT id, k = 1 AND dlm_score(body) < -10, k = 1 OR dlm_score(id::text) < -10 FROM r');
SELECT pg_temp.both('SELECT id, NULLIF(k, 1) = 2 AND dlm_score(body) < -10, NULLIF(k, 1) = 2 OR dlm_score(body) < -10 FROM r');
SELECT pg_temp.both('SELECT id, GREATEST(dlm_score(body), dlm_score(k::text)), NULLIF(dlm_classify(body, labels), ''sun'') FROM r');
SELECT pg_temp.both('SELECT id, (dlm_score(body), k) < (dlm_score(k::text), id), ROW (k, dlm_score(body)) = ROW (1, dlm_score(body)) FROM r');
SELECT pg_temp.both('SELECT id, dlm_classify(body, labels) = ANY (ARRAY[''sun'', dlm_classify(body, ''{rain,ice}'')]), dlm_classify(body, labels) IS NOT NULL FROM r');
-- a branch that would fail is not looked at: as text, as options, in an argument, in its condition
SELECT pg_temp.both('SELECT id, CASE WHEN k = 1 THEN dlm_classify(body, ''{}'') ELSE body END FROM r WHERE k <> 1');
SELECT pg_temp.both('SELECT id, CASE WHEN id = 0 THEN dlm_score(body, model => ''none'') WHEN id > 5 THEN dlm_score((1 / (id - 5))::text) END FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN id <> 7 THEN CASE WHEN 1 / (id - 7) = 0 THEN dlm_score(body) END END FROM r');
SELECT pg_temp.both('SELECT id <> 7 AND 1 / (id - 7) = 0 AND dlm_score(body) < 0 FROM r');
SELECT pg_temp.both('SELECT sum(dlm_score((1 / (id - 7))::text)) FILTER (WHERE id <> 7) FROM r');
SELECT pg_temp.both('SELECT id, first_value(dlm_score((1 / (id - 7))::text)) OVER (ORDER BY id) FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN id = 7 THEN (SELECT dlm_score(body, model => ''none'' || id) WHERE id <> 7) END FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN id < 7 THEN (SELECT dlm_score((1 / (id - 7))::text)) END FROM r');
-- ... and where it is looked at, fails
SELECT pg_temp.both('SELECT id, CASE WHEN k = 1 THEN dlm_classify(body, ''{}'') ELSE body END FROM r');
SELECT pg_temp.both('SELECT id, COALESCE(NULLIF(id, 7), 1 / (dlm_score(body)::int * 0)) FROM r');
-- conditions that are not immutable, or dear, are not evaluated ahead
SELECT pg_temp.both('SELECT id, CASE WHEN clock_timestamp() > ''2020-01-01'' THEN dlm_score(body) END FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN to_char(now(), ''YYYY'') > ''2020'' THEN dlm_score(body) END FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN (SELECT count(*) FROM r b WHERE b.k = a.k) > 5 THEN dlm_score(body) END FROM r a');
-- an equal call elsewhere gets its answer only where it is computed for both
SELECT pg_temp.both('SELECT id, CASE WHEN k = 0 THEN dlm_score(body) END, CASE WHEN k = 1 THEN dlm_score(body) END FROM r');
SELECT pg_temp.counted('SELECT id, CASE WHEN k = 0 THEN dlm_score(body) END, CASE WHEN k = 1 THEN dlm_score(body) END FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN k = 0 THEN dlm_score(body) END, CASE WHEN clock_timestamp() > ''2020-01-01'' THEN dlm_score(body) END FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(body), CASE WHEN clock_timestamp() > ''2020-01-01'' THEN dlm_score(body) END FROM r');
SELECT pg_temp.both('SELECT k, sum(dlm_score(body)) FILTER (WHERE id > 20), percentile_disc(abs(dlm_score(k::text)) / 100) WITHIN GROUP (ORDER BY dlm_score(k::text)) FILTER (WHERE id > 20) FROM r GROUP BY k ORDER BY k');
-- nested calls, and one within another's condition
SELECT pg_temp.both('SELECT id, dlm_infill(dlm_infill(body || '' [MASK]'') || '' [MASK]''), dlm_score(dlm_infill(body || '' [MASK]'')) FROM r');
SELECT pg_temp.counted('SELECT id, dlm_infill(dlm_infill(body || '' [MASK]'') || '' [MASK]''), dlm_score(dlm_infill(body || '' [MASK]'')) FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN k = 1 THEN dlm_score(dlm_infill(body || '' [MASK]'')) END, CASE WHEN id < 9 THEN dlm_infill(body || '' [MASK]'') END FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(CASE WHEN k = 1 THEN dlm_infill(body || '' [MASK]'') ELSE body END) FROM r');
-- copies are one request: of the planner's making, in a row, over the rows
SELECT pg_temp.both('SELECT (dlm_classify_full(body, labels)).* FROM r');
SELECT pg_temp.counted('SELECT (dlm_classify_full(body, labels)).* FROM r');
SELECT pg_temp.counted('SELECT dlm_classify(body, labels) || dlm_classify(body, labels) FROM r');
SELECT pg_temp.counted('SELECT s, s * 2, s * 3 FROM (SELECT dlm_score(body) AS s FROM r) q');
SELECT pg_temp.counted('SELECT dlm_score((i % 10)::text) FROM generate_series(1, 2000) i');
SELECT pg_temp.counted('SELECT dlm_score(body), (SELECT max(dlm_score(b.body)) FROM r b WHERE b.id <= a.id) FROM r a WHERE id < 6');
SELECT pg_temp.counted('SELECT sum(dlm_score(body)), avg(dlm_score(body)), max(dlm_score(body)) FROM r');
-- neighbours with side effects run once a row, in order
CREATE SEQUENCE regress_dlm_sequence;
SELECT pg_temp.both('SELECT id, dlm_score(body), nextval(''regress_dlm_sequence''), random(), CASE WHEN random() < 0.5 THEN dlm_score(body) END FROM r', 'SELECT setseed(0.5), setval(''regress_dlm_sequence'', 1)');
SELECT pg_temp.both('SELECT id, dlm_score(body), nextval(''regress_dlm_sequence''), currval(''regress_dlm_sequence'') FROM r LIMIT 3', 'SELECT setval(''regress_dlm_sequence'', 1)');
SELECT pg_temp.both('SELECT id, dlm_score(body || random()), dlm_score(body) FROM r', 'SELECT setseed(0.5)');
SELECT pg_temp.both('SELECT id, dlm_generate(body, 2, 2, 0.7, seed => (random() * 100)::int) FROM r', 'SELECT setseed(0.5)');
SELECT pg_temp.both('SELECT id, dlm_score(body), random() FROM r WHERE random() < 0.5', 'SELECT setseed(0.5)');
SELECT pg_temp.both('SELECT q.n, nextval(''regress_dlm_sequence''), q.s FROM (SELECT nextval(''regress_dlm_sequence'') AS n, dlm_score(body) AS s FROM r) q', 'SELECT setval(''regress_dlm_sequence'', 1)');
SELECT pg_temp.both('SELECT random(), s FROM (SELECT dlm_score(body) AS s FROM r WHERE random() < 0.5 OFFSET 0) q', 'SELECT setseed(0.5)');
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r WHERE random() < 0.5', 'SELECT setseed(0.5)');
SELECT pg_temp.both('SELECT sum(dlm_score(body)), sum(random()) FROM r WHERE random() < 0.5', 'SELECT setseed(0.5)');
SELECT pg_temp.both('SELECT dlm_score(body), nextval(''regress_dlm_sequence'') FROM (SELECT body FROM r ORDER BY random() LIMIT 9) q', 'SELECT setseed(0.5), setval(''regress_dlm_sequence'', 1)');
DROP SEQUENCE regress_dlm_sequence;
DROP VIEW r;
DROP TABLE regress_dlm_rows;
DROP SERVER tiny;
