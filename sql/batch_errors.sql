-- Rows are read ahead, their errors are not: they come when PostgreSQL would raise them, as it would.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/batch.sql'
\i :include
\set VERBOSITY terse
-- a bad row after the last one that is asked for: LIMIT, OFFSET, ties, under a lock, in a sub-query
SELECT pg_temp.both('SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN ''{}'' ELSE labels END) FROM r LIMIT 3');
SELECT pg_temp.both('SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN ''{}'' ELSE labels END) FROM r LIMIT 4');
SELECT pg_temp.both('SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN ''{}'' ELSE labels END) FROM r LIMIT 5');
SELECT pg_temp.both('SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN ''{}'' ELSE labels END) FROM r OFFSET 2 LIMIT 2');
SELECT pg_temp.both('SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN ''{}'' ELSE labels END) FROM r OFFSET 2 LIMIT 3');
SELECT pg_temp.both('SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN ''{}'' ELSE labels END) FROM r LIMIT ALL');
-- (a parallel plan has no subtransactions, so there a row that is read ahead fails at once)
SET :force_parallel_mode = off;
SELECT pg_temp.both('SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN ''{}'' ELSE labels END) FROM r LIMIT (SELECT 4)');
RESET :force_parallel_mode;
SELECT pg_temp.both('SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN ''{}'' ELSE labels END) FROM regress_dlm_rows LIMIT 4 FOR UPDATE');
SELECT pg_temp.both('SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN ''{}'' ELSE labels END) FROM r UNION ALL SELECT id, dlm_classify(body, ''{}'') FROM r LIMIT 4');
SELECT pg_temp.both('SELECT id FROM r a WHERE EXISTS (SELECT dlm_classify(b.body, ''{}'') FROM r b WHERE b.id = a.id)');
SELECT pg_temp.both('SELECT a.id, (SELECT dlm_classify(b.body, CASE WHEN b.id = 5 THEN ''{}'' ELSE b.labels END) FROM r b LIMIT 1) FROM r a WHERE a.id < 4');
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r LIMIT 0');
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r LIMIT -1');
-- no more is computed than is asked for, where that is known, and no more than twice as much where it is not
SELECT pg_temp.counted('SELECT dlm_score(body) FROM r LIMIT 5');
SELECT pg_temp.counted('SELECT dlm_score(body) FROM r LIMIT 3 OFFSET 2');
SELECT pg_temp.counted('SELECT dlm_score(s) FROM (SELECT dlm_infill(body || '' [MASK]'') AS s FROM r OFFSET 0) q LIMIT 5');
SELECT pg_temp.counted('SELECT dlm_score(body) FROM r ORDER BY id LIMIT 5');
SELECT pg_temp.counted('SELECT dlm_score(body), generate_series(1, 3) FROM r LIMIT 15');
SELECT pg_temp.counted('SELECT * FROM r a WHERE (SELECT dlm_score(b.body) FROM r b LIMIT 1) < 0');
-- every kind of error: in an argument, an option, a name, a text; of the first, of any, of the last row
SELECT pg_temp.both(format(query, id, n)) FROM unnest(ARRAY[
	'SELECT id, dlm_score((1 / (id - %s))::text) FROM r LIMIT %s',
	'SELECT id, dlm_score(body, CASE WHEN id = %s THEN ''{"passes": -1}'' END::jsonb) FROM r LIMIT %s',
	'SELECT id, dlm_score(body, model => CASE WHEN id = %s THEN ''none'' END) FROM r LIMIT %s',
	'SELECT id, dlm_infill(CASE WHEN id = %s THEN ''[MASK:0]'' ELSE body || '' [MASK]'' END) FROM r LIMIT %s',
	'SELECT id, dlm_generate(CASE WHEN id = %s THEN repeat(body || '' '', 9000) ELSE body END, 2) FROM r LIMIT %s']) query,
	(VALUES (1, 3), (5, 4), (5, 5), (40, 39), (40, 40)) v(id, n);
-- ... in one of several calls, in an inner call, next to a branch
SELECT pg_temp.both('SELECT id, dlm_score(body), dlm_score(body, model => CASE WHEN id = 5 THEN ''none'' END), dlm_classify(body, labels) FROM r LIMIT 4');
SELECT pg_temp.both('SELECT id, dlm_score(body), dlm_score(body, model => CASE WHEN id = 5 THEN ''none'' END), dlm_classify(body, labels) FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(dlm_infill(CASE WHEN id = 5 THEN ''[MASK:0]'' ELSE body || '' [MASK]'' END)) FROM r LIMIT 4');
SELECT pg_temp.both('SELECT id, dlm_score(dlm_infill(CASE WHEN id = 5 THEN ''[MASK:0]'' ELSE body || '' [MASK]'' END)) FROM r');
SELECT pg_temp.both('SELECT id, dlm_score((1 / (length(dlm_infill(body || '' [MASK]'')) - length(dlm_infill(body || '' [MASK]'')) + id - 5))::text) FROM r LIMIT 4');
SELECT pg_temp.both('SELECT id, CASE WHEN id <> 5 THEN dlm_score(body, model => CASE WHEN id = 5 THEN ''none'' END) END, dlm_score((1 / (id - 6))::text) FROM r LIMIT 5');
-- ... the first of several of a row
SET :force_parallel_mode = off;
SELECT pg_temp.both(format('SELECT id, dlm_classify(body, CASE WHEN id = %s THEN ''{}'' ELSE labels END), dlm_score((1 / (id - %1$s))::text) FROM r', id)) FROM unnest('{1,5}'::int[]) id;
SELECT pg_temp.both(format('SELECT id, dlm_score((1 / (id - %s))::text), dlm_classify(body, CASE WHEN id = %1$s THEN ''{}'' ELSE labels END) FROM r', id)) FROM unnest('{1,5}'::int[]) id;
RESET :force_parallel_mode;
-- ... below an aggregate, an UPDATE, an INSERT: nothing of the statement stays
SELECT pg_temp.both('SELECT sum(dlm_score((1 / (id - 5))::text)) FROM r');
SELECT pg_temp.both('SELECT sum(dlm_score((1 / (id - 5))::text)) FROM r WHERE id < 5');
SELECT pg_temp.changed('UPDATE regress_dlm_rows SET body = dlm_infill(CASE WHEN id = 5 THEN ''[MASK:0]'' ELSE body || '' [MASK]'' END)');
-- on_error: the third row of a batch is NULL, or an error
SELECT pg_temp.both('SELECT id, dlm_infill(CASE WHEN id = 3 THEN ''[MASK:0]'' ELSE body || '' [MASK]'' END, options => ''{"on_error": "null"}'') FROM r LIMIT 6');
SELECT pg_temp.both('SELECT id, dlm_infill(CASE WHEN id = 3 THEN ''[MASK:0]'' ELSE body || '' [MASK]'' END, options => CASE WHEN id <> 3 THEN ''{"on_error": "null"}'' END::jsonb) FROM r LIMIT 6');
SELECT id, dlm_infill(CASE WHEN id % 3 = 0 THEN '[MASK:0]' ELSE body || ' [MASK]' END, options => '{"on_error": "null"}') IS NULL FROM r LIMIT 7;
-- the error is PostgreSQL's to the letter, and the session goes on
SELECT id, dlm_classify(body, CASE WHEN id = 5 THEN '{}' ELSE labels END) FROM r;
SELECT id, dlm_score(body, model => CASE WHEN id = 5 THEN 'none' END) FROM r;
\set VERBOSITY default
SELECT id, dlm_score(body, model => CASE WHEN id = 5 THEN 'none' END) FROM r;
\set VERBOSITY terse
SELECT count(dlm_score(body)) FROM r;
-- arguments with init plans and sub-queries, which begin scans
SELECT pg_temp.both('SELECT id, dlm_classify(upper(body), (SELECT array_agg(DISTINCT l) FROM r, unnest(labels) l)) FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN id > 5 THEN dlm_classify(upper(body), (SELECT ARRAY[body, ''x''] FROM r OFFSET 1 LIMIT 1)) END, dlm_score(body) FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN id > (SELECT 5 + min(id) FROM r) THEN dlm_score((1 / (id - 9))::text) END FROM r LIMIT 8');
SELECT pg_temp.both('SELECT id, dlm_classify(upper(body), (SELECT b.labels FROM r b WHERE b.id = a.id)), 1 / (id - 30) FROM r a LIMIT 29');
SELECT pg_temp.both('SELECT id, CASE WHEN id < 5 THEN dlm_classify(upper(body), (SELECT ARRAY[body, (1 / (id - 1))::text] FROM r LIMIT 1)) END FROM r');
SELECT pg_temp.both('SELECT id, CASE WHEN id > 50 THEN dlm_classify(upper(body), (SELECT ARRAY[body, (1 / (id - 1))::text] FROM r LIMIT 1)) END FROM r');
-- cursors: what is fetched is right, forward and back, and errors come with their row
BEGIN;
DECLARE c CURSOR FOR SELECT id, dlm_classify(body, CASE WHEN id = 9 THEN '{}' ELSE labels END) FROM r;
FETCH 1 FROM c;
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
FETCH ABSOLUTE 7 FROM c;
FETCH FIRST FROM c;
MOVE 6 IN c;
FETCH NEXT FROM c;
SAVEPOINT before;
FETCH 2 FROM c;
ROLLBACK TO before;
ROLLBACK;
BEGIN;
DECLARE s SCROLL CURSOR FOR SELECT id, dlm_score(body) < 0, dlm_classify(body, labels) FROM r ORDER BY id DESC;
FETCH LAST FROM s;
FETCH PRIOR FROM s;
FETCH RELATIVE -5 FROM s;
FETCH BACKWARD ALL FROM s;
FETCH 2 FROM s;
CLOSE s;
DECLARE n NO SCROLL CURSOR FOR SELECT id, dlm_classify(body, labels) FROM r LIMIT 4;
FETCH 2 FROM n;
FETCH PRIOR FROM n;
ROLLBACK;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT id, dlm_classify(body, labels) FROM r WHERE id < 6;
FETCH 2 FROM h;
COMMIT;
FETCH ALL FROM h;
FETCH PRIOR FROM h;
CLOSE h;
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT id, dlm_classify(body, CASE WHEN id = 9 THEN '{}' ELSE labels END) FROM r;
FETCH 2 FROM h;
COMMIT;
-- a cursor that locks its rows says which one is current
BEGIN;
DECLARE u CURSOR FOR SELECT id, dlm_classify(body, labels) FROM regress_dlm_rows FOR UPDATE;
MOVE 3 IN u;
UPDATE regress_dlm_rows SET body = 'changed' WHERE CURRENT OF u RETURNING id;
FETCH 1 FROM u;
DELETE FROM regress_dlm_rows WHERE CURRENT OF u RETURNING id;
ROLLBACK;
-- (one that does not lock them cannot, where it has a batch node)
BEGIN;
DECLARE u CURSOR FOR SELECT id, dlm_classify(body, labels) FROM regress_dlm_rows;
MOVE 3 IN u;
UPDATE regress_dlm_rows SET body = 'changed' WHERE CURRENT OF u RETURNING id;
ROLLBACK;
-- (what the plan below fails with comes when its row is read, as it would under a sort; so does what an argument's
-- sub-query fails with)
BEGIN;
DECLARE c CURSOR FOR SELECT id, dlm_classify(body, labels) FROM r WHERE 1 / (id - 9) < 5;
FETCH 7 FROM c;
FETCH 1 FROM c;
ROLLBACK;
BEGIN;
DECLARE c CURSOR FOR SELECT id, dlm_classify(body, (SELECT b.labels FROM r b WHERE b.id = a.id + 0 / (a.id - 9))) FROM r a;
FETCH 7 FROM c;
FETCH 1 FROM c;
ROLLBACK;
SELECT pg_temp.both('SELECT id, dlm_classify(body, labels) FROM r WHERE 1 / (id - 9) < 5 LIMIT 8');
SELECT pg_temp.both('SELECT id, dlm_classify(body, (SELECT b.labels FROM r b WHERE b.id = a.id + 0 / (a.id - 9))) FROM r a LIMIT 8');
-- a loop that commits reads the rest first
CREATE PROCEDURE pg_temp.commits(n int) LANGUAGE plpgsql AS $$
DECLARE
	row record;
BEGIN
	FOR row IN SELECT id, dlm_classify(body, CASE WHEN id = n THEN '{}' ELSE labels END) AS l FROM r LIMIT 4 LOOP
		RAISE NOTICE '% %', row.id, row.l;
		COMMIT;
	END LOOP;
END
$$;
CALL pg_temp.commits(5);
CALL pg_temp.commits(4);
-- loops of PL/pgSQL, with errors caught
DO $$
DECLARE
	row record;
	n int = 0;
BEGIN
	FOR row IN SELECT id, dlm_classify(body, CASE WHEN id = 25 THEN '{}' ELSE labels END) AS l FROM r LOOP
		n := n + 1;
		BEGIN
			PERFORM dlm_classify(row.l, CASE WHEN row.id = 7 THEN '{}'::text[] ELSE '{a,b}' END);
		EXCEPTION WHEN invalid_parameter_value THEN
			RAISE NOTICE 'inner %: %', row.id, sqlerrm;
		END;
	END LOOP;
EXCEPTION WHEN invalid_parameter_value THEN
	RAISE NOTICE 'outer after % rows: %', n, sqlerrm;
END
$$;
DROP VIEW r;
DROP TABLE regress_dlm_rows;
DROP SERVER tiny;
