-- Calls in conditions: collected over the rows that the conditions before them leave, in PostgreSQL's order.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/batch.sql'
\i :include
-- scans of all kinds, joins, groups
SELECT pg_temp.both('SELECT id FROM r WHERE dlm_classify(body, ''{sun,rain}'') = ''sun''');
SELECT pg_temp.both('SELECT id FROM r WHERE id < 30 AND dlm_score(body) > -12 AND k = 1');
SELECT pg_temp.both('SELECT a.id FROM r a JOIN r b USING (id) WHERE dlm_score(a.body) > -12 AND dlm_score(b.body) > -11');
SELECT pg_temp.both('SELECT a.id FROM r a LEFT JOIN r b ON b.id = a.id + 20 WHERE dlm_score(coalesce(b.body, a.body)) > -12');
SELECT pg_temp.both('SELECT k FROM r GROUP BY k HAVING dlm_score(string_agg(body, '' '' ORDER BY id)) > -100');
SELECT pg_temp.both('SELECT * FROM (SELECT id, dlm_classify(body, labels) AS l FROM r) q WHERE l = ''sun''');
SELECT pg_temp.both('SELECT id FROM generate_series(1, 20) id WHERE dlm_score(id::text) > -12');
SELECT pg_temp.both('SELECT count(*) FROM r WHERE NOT (dlm_score(body) > -12)');
SELECT pg_temp.both('SELECT id FROM r a WHERE EXISTS (SELECT FROM r b WHERE b.k = a.k AND dlm_score(b.body) > -11)');
SELECT pg_temp.changed('UPDATE r SET k = -1 WHERE dlm_classify(body, labels) = ''sun''');
SELECT pg_temp.changed('DELETE FROM r WHERE dlm_score(body) > -12 AND k = 1');
-- a call that stands in the condition and in the target list is one; what comes after a condition is not computed for the rows it refuses
SELECT pg_temp.both('SELECT id, dlm_classify(body, labels) FROM r WHERE dlm_classify(body, labels) <> ''sun''');
SELECT pg_temp.counted('SELECT id, dlm_classify(body, labels) FROM r WHERE dlm_classify(body, labels) <> ''sun''');
SELECT count(*) FROM r WHERE dlm_classify(body, labels) <> 'sun';
SELECT pg_temp.both('SELECT id, dlm_score(body || id) FROM r WHERE k = 1 AND dlm_classify(body, labels) <> ''sun''');
SELECT pg_temp.counted('SELECT id, dlm_score(body || id) FROM r WHERE k = 1 AND dlm_classify(body, labels) <> ''sun''');
SELECT count(*) + count(*) FILTER (WHERE dlm_classify(body, labels) <> 'sun') FROM r WHERE k = 1;
SELECT pg_temp.both('SELECT id FROM r WHERE dlm_classify(body, labels) = ''sun'' AND dlm_score(body || 1 / (length(dlm_classify(body, labels)) - 4)) > -100');
SELECT pg_temp.both('SELECT id FROM r WHERE id <> 7 AND dlm_score((1 / (id - 7))::text) < 0');
SELECT pg_temp.both('SELECT id FROM r WHERE k = 0 OR dlm_score(body) > -12');
SELECT pg_temp.counted('SELECT id FROM r WHERE k = 0 OR dlm_score(body) > -12');
-- a call under a condition in the first place, unconditional in the second
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r WHERE k = 0 OR dlm_score(body) > -12');
-- LIMIT: an error further on is not met, and comes when its row does; a parallel plan, which cannot start subtransactions, meets it when it reads ahead
SET :force_parallel_mode = off;
SELECT pg_temp.both('SELECT id FROM r WHERE dlm_score(body, model => CASE WHEN id > 9 THEN ''none'' END) < 0 ORDER BY id LIMIT 9');
SELECT pg_temp.both('SELECT id FROM r WHERE dlm_score(body, model => CASE WHEN id > 9 THEN ''none'' END) < 0 ORDER BY id LIMIT 10');
SELECT pg_temp.both('SELECT id FROM r WHERE dlm_score(body) < 0 LIMIT 3');
SELECT pg_temp.counted('SELECT id FROM r WHERE dlm_score(body) < 0 LIMIT 3');
RESET :force_parallel_mode;
-- conditions of security barriers and policies stay the first
CREATE FUNCTION regress_dlm_leak(t text) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
	RAISE EXCEPTION 'leaked %', t;
END
$$;
CREATE VIEW regress_dlm_barrier WITH (security_barrier) AS SELECT id, body FROM regress_dlm_rows WHERE dlm_score(body) < -1000;
SELECT pg_temp.both('SELECT * FROM regress_dlm_barrier WHERE regress_dlm_leak(body)');
SELECT pg_temp.both('SELECT * FROM regress_dlm_barrier WHERE dlm_score(body || regress_dlm_leak(body)) < 0');
DROP VIEW regress_dlm_barrier;
DROP FUNCTION regress_dlm_leak;
-- volatile conditions are evaluated row by row, in step
SELECT pg_temp.both('SELECT id, random() < 2 FROM r WHERE dlm_score(body) < 0');
SELECT pg_temp.both('SELECT id FROM r WHERE random() < 2 AND dlm_score(body) < 0');
SELECT pg_temp.both('SELECT id FROM r a JOIN r b USING (id) WHERE dlm_score(a.body) < dlm_score(b.body) + random()');
-- one row
SELECT pg_temp.both('SELECT id FROM r WHERE id = 7 AND dlm_score(body) < 0');
DROP VIEW r;
DROP TABLE regress_dlm_rows;
DROP SERVER tiny;
