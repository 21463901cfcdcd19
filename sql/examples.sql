-- Rows of a query as examples of the classify functions.
\getenv root PG_ABS_SRCDIR
\set versions :root '/sql/include/versions.sql'
\i :versions
CREATE TEMP TABLE sample (id int, body text, label text);
INSERT INTO sample VALUES (3, 'It broke on day "one".', 'bad'), (1, 'I love it.', 'good'), (2, 'no label', NULL),
	(4, NULL, 'bad'), (5, '', 'good'), (6, E'back\\slash\nand a [MASK]', 'bad');
-- in the order that is asked for; rows with a NULL are passed over
SELECT dlm_examples(body, label ORDER BY id) FROM sample;
SELECT dlm_examples(body, label ORDER BY id DESC) FILTER (WHERE label = 'bad') FROM sample;
SELECT label, dlm_examples(body, label ORDER BY id) FROM sample GROUP BY label ORDER BY label;
SELECT dlm_examples(DISTINCT label, label) FROM sample CROSS JOIN generate_series(1, 3);
-- no row, or none without a NULL: NULL, which means no examples
SELECT dlm_examples(body, label) IS NULL AS "null" FROM sample WHERE false;
SELECT dlm_examples(body, label) IS NULL AS "null" FROM sample WHERE label IS NULL;
-- a window asks for the answer many times
SELECT id, jsonb_array_length(dlm_examples(body, label) OVER (ORDER BY id)) AS examples FROM sample ORDER BY id;
-- a long text comes from its toast table
CREATE TEMP TABLE long_text AS SELECT string_agg(md5(i::text), ' ') AS body FROM generate_series(1, 1000) i;
SELECT dlm_examples(body, 'a') = jsonb_build_array(jsonb_build_object('input', body, 'label', 'a')) AS same
FROM long_text GROUP BY body;
-- many rows, the same as by hand
SELECT jsonb_array_length(e) AS examples, e = (SELECT jsonb_agg(jsonb_build_object('input', 'text ' || i, 'label', (i % 7)::text) ORDER BY i)
	FROM generate_series(1, 10000) i) AS same
FROM (SELECT dlm_examples('text ' || i, (i % 7)::text ORDER BY i) AS e FROM generate_series(1, 10000) i) s;
-- what the classify functions take
CREATE TYPE pg_temp.mood AS ENUM ('good', 'bad');
SELECT dlm_classify_full(body, '{good,bad}', examples => (SELECT dlm_examples(body, label ORDER BY id) FROM sample)) =
	dlm_classify_full(body, '{good,bad}', examples => '[{"input": "I love it.", "label": "good"},
		{"input": "It broke on day \"one\".", "label": "bad"}, {"input": "", "label": "good"},
		{"input": "back\\slash\nand a [MASK]", "label": "bad"}]') AS same
FROM (VALUES ('Great value.'), ('Never again.')) v (body);
SELECT dlm_classify('Great value.', enum_range(NULL::pg_temp.mood)::text[],
	examples => (SELECT dlm_examples(body, label::pg_temp.mood::text) FROM sample WHERE id < 4)) IN ('good', 'bad') AS enum;
SELECT dlm_classify_full('Great value.', '{good,bad}', examples => (SELECT dlm_examples(body, label) FROM sample WHERE false)) =
	dlm_classify_full('Great value.', '{good,bad}') AS none;
-- rows that are classified with the same examples go through the model together
\t on
\a
EXPLAIN (COSTS OFF) SELECT dlm_classify(body, '{good,bad}', examples => (SELECT dlm_examples(body, label ORDER BY id) FROM sample)) FROM sample \g :as_15
\a
\t off
-- more than the model is told of are too many for it, not for the aggregate
SELECT dlm_classify('Great value.', '{good,bad}', examples => (SELECT dlm_examples('a', 'good') FROM generate_series(1, 1001)));
