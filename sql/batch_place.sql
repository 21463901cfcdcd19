-- Where batch nodes sit in plans of queries, and that the rows are the same without them.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/batch.sql'
\i :include
-- scans
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r');
SET enable_seqscan = off;
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r WHERE id < 20 ORDER BY id');
SELECT pg_temp.both('SELECT dlm_score(id::text) FROM r WHERE id < 20');
SET enable_indexscan = off;
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r WHERE id < 20');
SELECT pg_temp.both($$SELECT id, dlm_score(body) FROM regress_dlm_rows WHERE ctid < '(0,20)'$$);
SELECT pg_temp.both($$SELECT id, dlm_score(body) FROM regress_dlm_rows WHERE ctid = ANY ('{"(0,2)","(0,5)"}'::tid[])$$);
RESET enable_seqscan;
RESET enable_indexscan;
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM regress_dlm_rows TABLESAMPLE system (100) REPEATABLE (1)');
SELECT pg_temp.both($$SELECT dlm_score(v.x) FROM (VALUES ('a'), ('b'), ('c')) v(x)$$);
SELECT pg_temp.both('SELECT i, dlm_score(i::text) FROM generate_series(1, 20) i');
-- rows of no columns, and whole rows
SELECT pg_temp.both($$SELECT dlm_infill('It is [MASK].') FROM r$$);
SELECT pg_temp.both('SELECT r, dlm_score(r::text) FROM regress_dlm_rows r');
SELECT pg_temp.both('SELECT dlm_score(s::text), s FROM (SELECT id, body FROM r OFFSET 0) s');
SELECT pg_temp.both('SELECT ctid, tableoid::regclass, dlm_score(body) FROM regress_dlm_rows');
-- joins
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SELECT pg_temp.both('SELECT a.id, dlm_score(a.body || b.id) FROM r a JOIN r b ON a.id = b.id + 30');
SELECT pg_temp.both('SELECT a.id, l.s FROM r a, LATERAL (SELECT dlm_score(b.body || a.k) AS s FROM r b WHERE b.k = a.k AND b.id < 9 OFFSET 0) l WHERE a.id < 9');
SELECT pg_temp.both('SELECT a.id, l.s FROM r a, LATERAL (SELECT string_agg(dlm_classify(b.body, a.labels), '','' ORDER BY b.id) AS s FROM r b) l WHERE a.id < 9');
RESET enable_hashjoin;
SET enable_nestloop = off;
SELECT pg_temp.both('SELECT a.id, b.id, dlm_score(a.body || b.id) FROM r a LEFT JOIN r b ON a.id = b.id + 30');
SELECT pg_temp.both('SELECT a.id, b.s FROM r a JOIN (SELECT id, dlm_score(body) AS s FROM r OFFSET 0) b USING (id)');
SET enable_hashjoin = off;
RESET enable_mergejoin;
SELECT pg_temp.both('SELECT a.id, dlm_score(a.body || b.id) FROM r a JOIN r b ON a.id = b.id + 30');
-- the inner side of a merge join, which reads rows again
SET enable_sort = off;
SELECT pg_temp.both('SELECT a.id, b.s FROM r a LEFT JOIN (SELECT id, dlm_score(body) AS s FROM r) b ON a.id = b.id');
RESET enable_sort;
RESET enable_nestloop;
RESET enable_hashjoin;
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r a WHERE EXISTS (SELECT FROM r b WHERE b.id = a.id + 5) ORDER BY id');
-- aggregates
SELECT pg_temp.both('SELECT count(*), sum(dlm_score(body)), max(dlm_classify(body, ''{sun,rain}'')) FROM r');
SELECT pg_temp.both('SELECT k, sum(dlm_score(body)), count(DISTINCT dlm_classify(body, labels)) FROM r GROUP BY k ORDER BY k');
SELECT pg_temp.both('SELECT string_agg(dlm_classify(body, labels), '','' ORDER BY dlm_score(body), id) FROM r');
SELECT pg_temp.both('SELECT array_agg(DISTINCT dlm_classify(body, labels)), count(*) FILTER (WHERE dlm_score(body) > -10) FROM r');
SELECT pg_temp.both('SELECT sum(dlm_score(body)) FILTER (WHERE k = 1), sum(dlm_score(body)) FILTER (WHERE k = 2) FROM r');
SELECT pg_temp.both('SELECT k, sum(dlm_score(body)) FROM r GROUP BY k HAVING sum(dlm_score(body)) < -10 ORDER BY k');
SELECT pg_temp.both('SELECT k, id % 2 AS m, sum(dlm_score(body)), grouping(k, id % 2) FROM r GROUP BY GROUPING SETS ((k), (id % 2), ()) ORDER BY 1, 2');
SELECT pg_temp.both('SELECT k, id % 2 AS m, sum(dlm_score(body)) FROM r GROUP BY ROLLUP (k, id % 2)');
SELECT pg_temp.both('SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY dlm_score(body)) FROM r');
SELECT pg_temp.both('SELECT id, percentile_cont(abs(dlm_score(id::text)) / 100) WITHIN GROUP (ORDER BY abs(dlm_score(id::text)) / 100) FROM r GROUP BY id ORDER BY id');
SELECT pg_temp.both('SELECT k, dlm_score(string_agg(body, '' '' ORDER BY id)) FROM r GROUP BY k ORDER BY k');
SELECT pg_temp.both('SELECT dlm_classify(body, ''{sun,rain,wind}''), count(*) FROM r GROUP BY 1 ORDER BY 1');
SELECT pg_temp.both('SELECT DISTINCT dlm_classify(body, labels) FROM r ORDER BY 1');
SELECT pg_temp.both('SELECT DISTINCT ON (k) k, dlm_score(body) FROM r ORDER BY k, id');
-- window functions
SELECT pg_temp.both('SELECT id, sum(dlm_score(body)) OVER (PARTITION BY k ORDER BY id) FROM r');
SELECT pg_temp.both('SELECT id, dlm_score(body || row_number() OVER (ORDER BY id)) FROM r');
SELECT pg_temp.both('SELECT id, rank() OVER (ORDER BY dlm_score(body)) FROM r');
SELECT pg_temp.both('SELECT id, count(dlm_score(body)) FILTER (WHERE k = 1) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING) FROM r');
SELECT pg_temp.both('SELECT id, sum(dlm_score(body)) OVER (ORDER BY id ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING) FROM r WHERE id < 9');
SELECT pg_temp.both('SELECT id, lag(dlm_score(body)) OVER (ORDER BY id), sum(dlm_score(body)) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW) FROM r WHERE id < 9');
-- functions that return rows
SELECT pg_temp.both('SELECT id, generate_series(1, 2), dlm_score(body) FROM r');
SELECT pg_temp.both('SELECT id, regexp_split_to_table(dlm_classify(body, labels) || '' x'', '' '') FROM r');
SELECT pg_temp.both('SELECT id, unnest(ARRAY[dlm_score(body), dlm_score(k::text)]) FROM r');
-- order and limit
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r ORDER BY dlm_score(body), id');
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r ORDER BY body DESC LIMIT 5 OFFSET 3');
SELECT pg_temp.both('SELECT k, dlm_score(body) FROM r ORDER BY k FETCH FIRST 3 ROWS WITH TIES');
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r ORDER BY id FOR UPDATE');
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM regress_dlm_rows LIMIT 5 FOR UPDATE');
-- sets
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM r UNION ALL SELECT k, dlm_score(k::text) FROM r');
SET enable_sort = off;
SELECT pg_temp.both('SELECT dlm_classify(body, labels) FROM r UNION SELECT dlm_classify(body, ''{fog,hail}'') FROM r');
RESET enable_sort;
SET enable_hashagg = off;
SELECT pg_temp.both('SELECT dlm_classify(body, labels) FROM r UNION SELECT dlm_classify(body, ''{fog,hail}'') FROM r ORDER BY 1');
RESET enable_hashagg;
-- (18 has both sides below SetOp, where the others append them)
SELECT regexp_replace(line, 'SetOp > Append \(Subquery Scan > (.*), Subquery Scan > (.*)\)', 'SetOp (\1, \2)')
	FROM pg_temp.both('SELECT dlm_classify(body, labels) FROM r INTERSECT SELECT ''sun'' ORDER BY 1') line;
SELECT pg_temp.both('SELECT q.s FROM (SELECT id, dlm_score(body) AS s FROM r UNION ALL SELECT k, dlm_score(k::text) FROM r) q LIMIT 50');
-- CTEs
SELECT pg_temp.both('WITH c AS MATERIALIZED (SELECT id, dlm_score(body) AS s FROM r) SELECT a.s + b.s FROM c a JOIN c b USING (id)');
SELECT pg_temp.both('WITH c AS NOT MATERIALIZED (SELECT id, dlm_score(body) AS s FROM r) SELECT id, s FROM c');
SELECT pg_temp.both('WITH RECURSIVE c(n, t) AS (SELECT id, body FROM r WHERE id < 5 UNION ALL SELECT n + 10, dlm_infill(t || '' [MASK]'') FROM c WHERE n < 30) SELECT * FROM c');
-- sub-queries
SELECT pg_temp.both('SELECT id, (SELECT dlm_score(body)) FROM r');
SELECT pg_temp.both('SELECT id, (SELECT max(dlm_score(b.body)) FROM r b WHERE b.k = a.k AND b.id < 12) FROM r a WHERE id < 6');
SELECT pg_temp.both('SELECT id, dlm_classify(body, (SELECT array_agg(DISTINCT l) FROM r, unnest(labels) l)) FROM r');
SELECT pg_temp.both('SELECT id, dlm_classify(upper(body), (SELECT b.labels FROM r b WHERE b.id = a.id)) FROM r a');
SELECT pg_temp.both('SELECT id, dlm_score(body) IN (SELECT dlm_score(b.body) FROM r b WHERE b.k = 1) FROM r a');
SELECT pg_temp.both('SELECT id, (SELECT count(*) FROM r b WHERE b.body < dlm_classify(a.body, a.labels)) FROM r a');
SELECT pg_temp.both('SELECT f.label, f.margin, id FROM r, dlm_classify_full(body, labels) f');
SELECT pg_temp.both('SELECT id, (SELECT f.label FROM dlm_classify_full(body, labels) f) FROM r');
SELECT pg_temp.both('SELECT id, ARRAY(SELECT dlm_score(l) FROM unnest(labels) l) FROM r WHERE id < 9');
-- the plans that later versions have learnt, switched on again: whatever they are, the rows are the same
SELECT count(set_config(name, 'on', false)) AS switched_on FROM pg_settings
	WHERE name IN ('enable_presorted_aggregate', 'enable_self_join_elimination') \gset
SELECT pg_temp.compare('SELECT', query) FROM unnest(ARRAY[
	'SELECT k, sum(dlm_score(body)), count(DISTINCT dlm_classify(body, labels)) FROM r GROUP BY k ORDER BY k',
	'SELECT string_agg(dlm_classify(body, labels), '','' ORDER BY dlm_score(body), id) FROM r',
	'SELECT array_agg(DISTINCT dlm_classify(body, labels)), count(*) FILTER (WHERE dlm_score(body) > -10) FROM r',
	'SELECT a.id, dlm_score(b.body) FROM r a JOIN r b USING (id) WHERE dlm_score(a.body) > -12 AND dlm_score(b.body) > -11',
	'SELECT id FROM r a JOIN r b USING (id) WHERE dlm_score(a.body) < dlm_score(b.body) + random()',
	'SELECT id FROM r a WHERE EXISTS (SELECT dlm_classify(b.body, ''{}'') FROM r b WHERE b.id = a.id)']) query;
DROP VIEW r;
DROP TABLE regress_dlm_rows;
DROP SERVER tiny;
