-- Embeddings: of length 1, closer for texts that are alike.
CREATE FUNCTION pg_temp.dot(a real[], b real[]) RETURNS float8 LANGUAGE sql AS
	$$SELECT sum(x::float8 * y) FROM unnest(a, b) AS u (x, y)$$;
SELECT cardinality(e) AS dimensions, abs(pg_temp.dot(e, e) - 1) < 1e-5 AS unit FROM dlm_embed('A red apple.') e;
SELECT dlm_embed('A red apple.') = dlm_embed('A red apple.') AS same;
SELECT pg_temp.dot(dlm_embed('A red apple.'), dlm_embed('A green apple.')) >
	pg_temp.dot(dlm_embed('A red apple.'), dlm_embed('Parliament passed the tax bill.')) AS closer;
SELECT ordinality, embedding = dlm_embed((ARRAY['one', 'two'])[ordinality]) AS same FROM dlm_embed_many(ARRAY['one', 'two']);
SELECT array_agg(round(x::numeric, 5)) AS first_five FROM (SELECT unnest(dlm_embed('A red apple.')) AS x LIMIT 5) s;
