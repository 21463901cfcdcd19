-- pgvector beside the pinned forms: an index over an expression, a generated column, and plans that use them.
\getenv abs_srcdir PG_ABS_SRCDIR
SET client_min_messages = warning;
\set folder :abs_srcdir '/../models/llama'
SELECT dlm_load_model('tiny', :'folder') AS digest \gset
SELECT cardinality(dlm_embed_pinned(:'digest', 'a')) AS dimensions \gset
CREATE TABLE regress_dlm_notes (id int PRIMARY KEY, body text);
INSERT INTO regress_dlm_notes SELECT n, (ARRAY['The battery died', 'A lovely lamp', 'Parliament passed a bill', 'The striker scored'])[1 + n % 4] || ' on day ' || n
	FROM generate_series(1, 24) n;
SELECT format('CREATE INDEX regress_dlm_hnsw ON regress_dlm_notes USING hnsw ((dlm_embed_pinned(%L, body)::vector(%s)) vector_cosine_ops)',
	:'digest', :'dimensions') AS statement \gset
:statement;
ANALYZE regress_dlm_notes;
-- what the planner makes of ORDER BY ... <=> ... LIMIT
CREATE FUNCTION pg_temp.nodes(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
BEGIN
	EXECUTE 'EXPLAIN (COSTS OFF, FORMAT JSON) ' || query INTO answer;
	RETURN QUERY SELECT concat_ws(' ', node ->> 'Node Type', node ->> 'Custom Plan Provider', node ->> 'Index Name')
		FROM jsonb_path_query(answer, 'strict $.**') node WHERE node ? 'Node Type';
END
$$;
SELECT format('SELECT id FROM regress_dlm_notes ORDER BY dlm_embed_pinned(%L, body)::vector(%s) <=> dlm_embed_pinned(%1$L, ''The striker scored on day 7'')::vector(%2$s) LIMIT 3',
	:'digest', :'dimensions') AS query \gset
SET enable_seqscan = off;
SELECT pg_temp.nodes(:'query');
CREATE TEMP TABLE by_index AS :query;
-- the index finds the row itself first, and what a scan of all rows finds
RESET enable_seqscan;
SET enable_indexscan = off;
SELECT pg_temp.nodes(:'query');
CREATE TEMP TABLE by_scan AS :query;
RESET enable_indexscan;
SELECT (SELECT id FROM by_index LIMIT 1) AS first, (SELECT array_agg(id ORDER BY id) FROM by_index) = (SELECT array_agg(id ORDER BY id) FROM by_scan) AS same;
-- a new row is in the index
INSERT INTO regress_dlm_notes VALUES (100, 'The striker scored on day 7');
SET enable_seqscan = off;
SELECT array_agg(id) @> '{7,100}' AS both FROM (:query) q;
RESET enable_seqscan;
-- a generated column of pgvector's type, which INSERT and UPDATE fill
SELECT format('CREATE TABLE regress_dlm_kept (id int PRIMARY KEY, body text, near vector(%s) GENERATED ALWAYS AS (dlm_embed_pinned(%L, body)::vector(%1$s)) STORED)',
	:'dimensions', :'digest') AS statement \gset
:statement;
INSERT INTO regress_dlm_kept (id, body) TABLE regress_dlm_notes;
UPDATE regress_dlm_kept SET body = body || ' again' WHERE id < 5;
SELECT count(*) AS "rows", bool_and(near = dlm_embed_pinned(:'digest', body)::vector) AS same FROM regress_dlm_kept;
CREATE INDEX regress_dlm_kept_hnsw ON regress_dlm_kept USING hnsw (near vector_cosine_ops);
SET enable_seqscan = off;
SELECT pg_temp.nodes(format('SELECT id FROM regress_dlm_kept ORDER BY near <=> dlm_embed_pinned(%L, ''The striker scored on day 11'')::vector LIMIT 1', :'digest'));
SELECT id FROM regress_dlm_kept ORDER BY near <=> dlm_embed_pinned(:'digest', 'The striker scored on day 11')::vector LIMIT 1;
RESET enable_seqscan;
DROP TABLE regress_dlm_notes, regress_dlm_kept;
DROP SERVER tiny;
