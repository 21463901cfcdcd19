-- Batch nodes in statements that change or define something.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/batch.sql'
\i :include
CREATE TABLE regress_dlm_out (id serial PRIMARY KEY, body text, label text, margin float8, words text[], pair dlm_label);
-- INSERT
SELECT pg_temp.changed('INSERT INTO regress_dlm_out (body, label) SELECT body, dlm_classify(body, labels) FROM r', 'SELECT body, label FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('INSERT INTO regress_dlm_out (id, label) SELECT id, dlm_classify(body, labels) FROM r ORDER BY id LIMIT 5', 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed($$INSERT INTO regress_dlm_out (id, label) VALUES (1, dlm_classify('rain', '{a,b}')), (2, dlm_classify('sun', '{a,b}'))$$, 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed($$INSERT INTO regress_dlm_out (id, label) SELECT id, dlm_classify(body, labels) FROM r
	ON CONFLICT (id) DO UPDATE SET label = dlm_classify(excluded.label, '{p,q}') WHERE dlm_score(excluded.label) < 0$$, 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('INSERT INTO regress_dlm_out (id, words[2]) SELECT id, dlm_classify(body, labels) FROM r', 'SELECT * FROM regress_dlm_out ORDER BY id');
-- UPDATE
INSERT INTO regress_dlm_out SELECT id, body FROM r;
ANALYZE regress_dlm_out;
SELECT pg_temp.changed('UPDATE regress_dlm_out SET label = upper(dlm_classify(body, ''{sun,rain}'')) WHERE id % 2 = 0', 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('UPDATE regress_dlm_out o SET label = dlm_classify(o.body, r.labels) FROM r WHERE r.id = o.id', 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('UPDATE regress_dlm_out o SET (label, margin) = (SELECT f.label, f.margin FROM dlm_classify_full(o.body, ''{sun,rain}'') f)', 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('UPDATE regress_dlm_out SET (label, margin) = ROW (dlm_classify(body, ''{sun,rain}''), dlm_score(body))', 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('UPDATE regress_dlm_out SET (label, margin) = (SELECT dlm_classify(body, ''{sun,rain}''), dlm_score(body))', 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('UPDATE regress_dlm_out SET pair = dlm_classify_full(body, ''{sun,rain}''), words[3] = dlm_classify(body, ''{sun,rain}'')', 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('UPDATE regress_dlm_out SET pair.label = dlm_classify(body, ''{sun,rain}''), pair.margin = dlm_score(body)', 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('UPDATE regress_dlm_out SET label = dlm_classify(body, ''{sun,rain}'') RETURNING dlm_score(body)', 'SELECT * FROM regress_dlm_out ORDER BY id');
-- whether an index pays depends on when autovacuum was there
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SELECT pg_temp.changed('UPDATE regress_dlm_out SET label = dlm_classify(body, ''{sun,rain}'') WHERE id = 7', 'SELECT * FROM regress_dlm_out ORDER BY id');
RESET enable_indexscan;
RESET enable_bitmapscan;
SELECT pg_temp.changed('UPDATE r SET body = dlm_infill(body || '' [MASK]'')');
-- DELETE
SELECT pg_temp.changed('DELETE FROM regress_dlm_out o USING (SELECT id, dlm_classify(body, ''{sun,rain}'') AS l FROM r OFFSET 0) s WHERE s.id = o.id AND s.l = ''sun'' RETURNING dlm_score(o.body)', 'SELECT * FROM regress_dlm_out ORDER BY id');
-- MERGE: its source is collected, however deep or wherever it stands
SELECT pg_temp.changed('MERGE INTO regress_dlm_out o USING (SELECT id, dlm_classify(body, labels) AS l FROM r) s ON s.id = o.id
	WHEN MATCHED AND s.l = ''sun'' THEN DELETE WHEN MATCHED THEN UPDATE SET label = s.l WHEN NOT MATCHED THEN INSERT (id, label) VALUES (s.id, s.l)', 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('MERGE INTO regress_dlm_out o USING (SELECT * FROM (SELECT id, dlm_classify(body, labels) AS l FROM r) q) s ON s.id = o.id
	WHEN MATCHED THEN UPDATE SET label = s.l', 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('WITH s AS (SELECT id, dlm_classify(body, labels) AS l FROM r) MERGE INTO regress_dlm_out o USING s ON s.id = o.id
	WHEN MATCHED THEN UPDATE SET label = s.l', 'SELECT * FROM regress_dlm_out ORDER BY id');
CREATE VIEW labelled AS SELECT id, dlm_classify(body, labels) AS l FROM r;
SELECT pg_temp.changed('MERGE INTO regress_dlm_out o USING labelled s ON s.id = o.id
	WHEN MATCHED THEN UPDATE SET label = s.l', 'SELECT * FROM regress_dlm_out ORDER BY id');
SELECT pg_temp.changed('MERGE INTO regress_dlm_out o USING r s ON s.id = o.id
	WHEN MATCHED AND s.k = 1 THEN UPDATE SET label = dlm_classify(s.body, s.labels)', 'SELECT * FROM regress_dlm_out ORDER BY id');
-- defined from a query
SELECT pg_temp.changed('CREATE TABLE regress_dlm_ctas AS SELECT id, dlm_score(body) AS s FROM r', 'SELECT * FROM regress_dlm_ctas ORDER BY id');
SELECT pg_temp.changed('CREATE MATERIALIZED VIEW regress_dlm_matview AS SELECT id, dlm_score(body) AS s FROM r', 'SELECT * FROM regress_dlm_matview ORDER BY id');
SELECT pg_temp.both('SELECT * FROM labelled WHERE id < 9');
SELECT pg_temp.both('SELECT * FROM labelled WHERE l = ''sun''');
CREATE VIEW barrier WITH (security_barrier) AS SELECT id, dlm_classify(body, labels) AS l FROM r;
SELECT pg_temp.both('SELECT * FROM barrier WHERE l = ''sun'' AND length(l) > 2');
COPY (SELECT id, dlm_classify(body, labels) FROM r WHERE id < 4) TO STDOUT;
-- triggers see what they would see, generated columns follow
CREATE FUNCTION pg_temp.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.words := ARRAY[NEW.label, dlm_classify(NEW.body, '{x,y}')];
	RETURN CASE WHEN NEW.id % 5 = 0 THEN NULL ELSE NEW END;
END
$$;
CREATE TRIGGER stamp BEFORE UPDATE ON regress_dlm_out FOR EACH ROW EXECUTE FUNCTION pg_temp.stamp();
SELECT pg_temp.changed('UPDATE regress_dlm_out SET label = dlm_classify(body, ''{sun,rain}'')', 'SELECT * FROM regress_dlm_out ORDER BY id');
DROP TRIGGER stamp ON regress_dlm_out;
ALTER TABLE regress_dlm_out ADD COLUMN size int GENERATED ALWAYS AS (length(label)) STORED;
SELECT pg_temp.changed('UPDATE regress_dlm_out SET label = dlm_classify(body, ''{sun,rain}'')', 'SELECT * FROM regress_dlm_out ORDER BY id');
-- locks on rows of joins, of sub-queries, and of one table of two
SELECT pg_temp.both('SELECT a.id, dlm_score(a.body || b.k) FROM regress_dlm_rows a JOIN regress_dlm_rows b ON a.id = b.id + 1 FOR UPDATE');
SELECT pg_temp.both('SELECT a.id, dlm_score(a.body || s.t) FROM regress_dlm_rows a, (SELECT k, max(body) AS t FROM r GROUP BY k) s WHERE s.k = a.k ORDER BY a.id FOR NO KEY UPDATE OF a');
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM (SELECT * FROM regress_dlm_rows WHERE k = 1 FOR SHARE) q');
-- a view whose rows go through a trigger, and one that is a join
CREATE VIEW joined AS SELECT o.id, o.label, r.body FROM regress_dlm_out o JOIN r USING (id);
CREATE FUNCTION pg_temp.instead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE regress_dlm_out SET label = NEW.label || length(OLD.body) WHERE id = NEW.id;
	RETURN NEW;
END
$$;
CREATE TRIGGER instead INSTEAD OF UPDATE ON joined FOR EACH ROW EXECUTE FUNCTION pg_temp.instead();
SELECT pg_temp.changed('UPDATE joined SET label = dlm_classify(body, ''{sun,rain}'')', 'SELECT * FROM regress_dlm_out ORDER BY id');
DROP VIEW joined;
-- transition tables
CREATE FUNCTION pg_temp.after() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	UPDATE regress_dlm_out o SET words = ARRAY[n.w, CASE WHEN n.id < 9 THEN dlm_classify(n.body, '{x,y}') END]
		FROM (SELECT id, body, dlm_classify(body, '{p,q}') AS w FROM changed_rows) n WHERE n.id = o.id;
	RETURN NULL;
END
$$;
CREATE TRIGGER after AFTER UPDATE ON regress_dlm_out REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT
	WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION pg_temp.after();
SELECT pg_temp.changed('UPDATE regress_dlm_out SET label = dlm_classify(body, ''{sun,rain}'')', 'SELECT * FROM regress_dlm_out ORDER BY id');
DROP TRIGGER after ON regress_dlm_out;
-- rules make several statements of one
CREATE TABLE regress_dlm_log (id int, label text);
CREATE RULE also AS ON UPDATE TO regress_dlm_out DO ALSO INSERT INTO regress_dlm_log SELECT NEW.id, dlm_classify(NEW.body, '{p,q}') WHERE NEW.label = 'sun';
SELECT pg_temp.compare('UPDATE regress_dlm_out SET label = dlm_classify(body, ''{sun,rain}'')', 'SELECT * FROM regress_dlm_log ORDER BY id');
DROP RULE also ON regress_dlm_out;
DROP TABLE regress_dlm_log;
-- statements that change rows within a query
WITH u AS (UPDATE regress_dlm_out SET label = dlm_classify(body, '{sun,rain}') WHERE id < 7 RETURNING id, label)
	SELECT id, label, dlm_classify(label, '{p,q}') FROM u ORDER BY id;
EXPLAIN (COSTS OFF) WITH u AS (UPDATE regress_dlm_out SET label = dlm_classify(body, '{sun,rain}') RETURNING id, label)
	SELECT id, label, dlm_classify(label, '{p,q}') FROM u;
-- partitions, and rows that move between them
CREATE TABLE regress_dlm_parts (id int, body text, label text) PARTITION BY LIST (label);
CREATE TABLE regress_dlm_part1 PARTITION OF regress_dlm_parts FOR VALUES IN ('sun');
CREATE TABLE regress_dlm_part2 PARTITION OF regress_dlm_parts DEFAULT;
INSERT INTO regress_dlm_parts SELECT id, body, CASE WHEN id < 20 THEN 'sun' END FROM r;
ANALYZE regress_dlm_parts;
SELECT pg_temp.both('SELECT id, dlm_score(body) FROM regress_dlm_parts');
SELECT pg_temp.changed('UPDATE regress_dlm_parts SET label = dlm_classify(body, ''{sun,rain,wind}'')', 'SELECT tableoid::regclass, * FROM regress_dlm_parts ORDER BY id');
SELECT pg_temp.changed('INSERT INTO regress_dlm_parts SELECT id + 100, body, dlm_classify(body, ''{sun,rain}'') FROM r', 'SELECT tableoid::regclass, * FROM regress_dlm_parts ORDER BY id');
DROP TABLE regress_dlm_parts, regress_dlm_out;
DROP VIEW labelled, barrier, r;
DROP TABLE regress_dlm_rows;
DROP SERVER tiny;
