-- The text[] forms: the same answers as one call for each element, in the same shape.
CREATE TEMP TABLE review (id int, body text);
INSERT INTO review VALUES
	(1, 'The battery died after two days.'), (2, 'Wonderful screen, I love it.'), (3, NULL),
	(4, 'It arrived late and the box was open.'), (5, 'Best purchase of the year!'), (6, ''),
	(7, 'Wonderful screen, I love it.');
-- batch = single
SELECT dlm_classify(array_agg(body ORDER BY id), '{positive,negative}') =
	array_agg(dlm_classify(body, '{positive,negative}') ORDER BY id) AS classify FROM review;
SELECT dlm_infill(array_agg(body || ' I feel [MASK:1-3].' ORDER BY id)) =
	array_agg(dlm_infill(body || ' I feel [MASK:1-3].') ORDER BY id) AS infill FROM review;
SELECT dlm_generate(array_agg('Summarize: ' || body ORDER BY id), 8) =
	array_agg(dlm_generate('Summarize: ' || body, 8) ORDER BY id) AS generate FROM review;
SELECT bool_and(e.embedding IS NOT DISTINCT FROM dlm_embed(r.body)) AS embed
FROM (SELECT array_agg(body ORDER BY id) AS bodies FROM review) a, dlm_embed_many(a.bodies) e JOIN review r ON r.id = e.ordinality;
-- sampling too: a row's noise depends on its own text, not on its place
SELECT a[1] = b[2] AND a[2] = b[1] AS placeless
FROM dlm_generate(ARRAY['Name a fruit.', 'Name a city.'], 6, temperature => 1, seed => 7) a,
	dlm_generate(ARRAY['Name a city.', 'Name a fruit.'], 6, temperature => 1, seed => 7) b;
-- whatever the size of a batch, and with one thread
SET dlm.batch_size = 2;
CREATE TEMP TABLE small AS SELECT dlm_classify(array_agg(body ORDER BY id), '{positive,negative}') AS labels FROM review;
SET dlm.batch_size = 64;
SET dlm.max_threads = 1;
SELECT labels = (SELECT dlm_classify(array_agg(body ORDER BY id), '{positive,negative}') FROM review) AS equal FROM small;
RESET dlm.max_threads;
-- dimensions and lower bounds stay
SELECT dlm_classify('[0:1][2:3]={{I love it.,I hate it.},{Good.,Bad.}}'::text[], '{positive,negative}');
SELECT dlm_classify('{}'::text[], '{positive,negative}') AS empty;
-- one bad element fails the call and is named
\set VERBOSITY terse
SELECT dlm_infill(ARRAY['The [MASK] is blue.', 'The [MASK:9-2] is green.']);
\set VERBOSITY default
SELECT dlm_infill(ARRAY['The [MASK] is blue.', 'The [MASK:9-2] is green.']);
-- or is NULL
SELECT a[1] IS NOT NULL AS first, a[2] IS NULL AS second
FROM dlm_infill(ARRAY['The [MASK] is blue.', 'The [MASK:9-2] is green.'], options => '{"on_error": "null"}') a;
