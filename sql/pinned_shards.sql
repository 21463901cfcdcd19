-- What postgres_fdw ships to shards: the pinned forms, which are IMMUTABLE, where the server's option names the extension. Nothing connects.
CREATE EXTENSION postgres_fdw;
SELECT digest FROM dlm_models WHERE name = 'dlm-135m' \gset
CREATE SERVER regress_shard1 FOREIGN DATA WRAPPER postgres_fdw OPTIONS (extensions 'dlm', async_capable 'true');
CREATE SERVER regress_shard2 FOREIGN DATA WRAPPER postgres_fdw OPTIONS (extensions 'dlm', async_capable 'true');
CREATE SERVER regress_plain FOREIGN DATA WRAPPER postgres_fdw;
CREATE USER MAPPING FOR CURRENT_USER SERVER regress_shard1;
CREATE USER MAPPING FOR CURRENT_USER SERVER regress_shard2;
CREATE USER MAPPING FOR CURRENT_USER SERVER regress_plain;
CREATE TABLE regress_mail (id int, body text, label text, vector real[]) PARTITION BY HASH (id);
CREATE FOREIGN TABLE regress_mail1 PARTITION OF regress_mail FOR VALUES WITH (MODULUS 2, REMAINDER 0) SERVER regress_shard1 OPTIONS (table_name 'mail');
CREATE FOREIGN TABLE regress_mail2 PARTITION OF regress_mail FOR VALUES WITH (MODULUS 2, REMAINDER 1) SERVER regress_shard2 OPTIONS (table_name 'mail');
CREATE FOREIGN TABLE regress_plain (id int, body text, label text) SERVER regress_plain OPTIONS (table_name 'mail');

-- plan(statement): its plan without the digest
CREATE FUNCTION pg_temp.plan(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || statement LOOP
		RETURN NEXT regexp_replace(line, '[0-9a-f]{64}', 'DIGEST', 'g');
	END LOOP;
END
$$;
\pset format unaligned
\pset tuples_only on
-- conditions
SELECT pg_temp.plan(format('SELECT id FROM regress_mail WHERE dlm_classify_pinned(%L, body, ''{spam,ham}'') = ''spam''', :'digest'));
SELECT pg_temp.plan(format('DELETE FROM regress_mail WHERE dlm_classify_pinned(%L, body, ''{spam,ham}'') = ''spam''', :'digest'));
-- what an UPDATE writes
SELECT pg_temp.plan(format('UPDATE regress_mail SET label = dlm_classify_pinned(%L, body, ''{spam,ham}''), vector = dlm_embed_pinned(%1$L, body) WHERE label IS NULL', :'digest'));
SELECT pg_temp.plan(format('UPDATE regress_mail1 SET label = dlm_infill_pinned(%L, ''It is [MASK]: '' || dlm_quote(body), 4), body = dlm_generate_pinned(%1$L, body, 8)', :'digest'));
-- aggregates, over one shard
SELECT pg_temp.plan(format('SELECT count(*) FILTER (WHERE dlm_classify_pinned(%L, body, ''{spam,ham}'') = ''spam'') FROM regress_mail1', :'digest'));
SELECT pg_temp.plan(format('SELECT count(*) FROM regress_mail1 WHERE dlm_classify_pinned(%L, body, ''{spam,ham}'') = ''spam''', :'digest'));
-- over several, the condition of what is counted
SELECT pg_temp.plan(format('SELECT count(*) FROM regress_mail WHERE dlm_classify_pinned(%L, body, ''{spam,ham}'') = ''spam''', :'digest'));
-- orders and groups are shipped, and computed here once more
SELECT pg_temp.plan(format('SELECT id FROM regress_mail1 ORDER BY dlm_classify_pinned(%L, body, ''{spam,ham}'')', :'digest'));
SELECT pg_temp.plan(format('SELECT dlm_classify_pinned(%L, body, ''{spam,ham}''), count(*) FROM regress_mail1 GROUP BY 1', :'digest'));
-- not shipped: what a SELECT shows
SELECT pg_temp.plan(format('SELECT id, dlm_classify_pinned(%L, body, ''{spam,ham}'') FROM regress_mail', :'digest'));
-- not shipped: the forms that are STABLE, and any without the option
SELECT pg_temp.plan('SELECT id FROM regress_mail WHERE dlm_classify(body, ''{spam,ham}'') = ''spam''');
SELECT pg_temp.plan('UPDATE regress_mail1 SET label = dlm_classify(body, ''{spam,ham}'')');
SELECT pg_temp.plan(format('UPDATE regress_plain SET label = dlm_classify_pinned(%L, body, ''{spam,ham}'')', :'digest'));
DROP TABLE regress_mail;
DROP EXTENSION postgres_fdw CASCADE;
