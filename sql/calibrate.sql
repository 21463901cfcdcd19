-- dlm_calibrate: a temperature and biases of labels, fitted on labelled rows; dlm_repair.
\getenv root PG_ABS_SRCDIR
\set include :root '/sql/include/fails.sql'
\i :include
CREATE TEMP TABLE review (body text, good boolean);
INSERT INTO review VALUES ('I love it, great', true), ('terrible, it broke at once', false), ('works fine, happy', true), ('awful quality', false),
	('the best I ever had', true), ('never again', false), ('broke after a day', false), ('perfect gift', true), ('waste of money', false),
	('five stars', true), ('do not buy', false), ('very good value', true), (NULL, true);
\set rows 'SELECT body AS input, CASE WHEN good THEN ''positive'' ELSE ''negative'' END AS target, ARRAY[''positive'', ''negative''] AS labels FROM review'
SELECT (f ->> 'rows')::int AS rows, (f ->> 'temperature')::float8 > 0 AS temperature,
	(f ->> 'accuracy_after')::float8 >= (f ->> 'accuracy_before')::float8 AS no_worse
	FROM dlm_calibrate('tone', :'rows') AS f;
SELECT name, owner = current_user AS own, digest = (SELECT digest FROM dlm_models WHERE name = 'dlm-135m') AS digest, labels,
	cardinality(bias) AS biases, scale > 0 AS scale, rows FROM dlm_calibration;
-- the answers are the fit's: softmax of scale * (score - bias)
WITH s AS (
	SELECT r.body, p.label, p.logprob, c.scale * (p.logprob - c.bias[array_position(c.labels, p.label)]) AS score
	FROM review AS r, dlm_calibration AS c, dlm_classify_scores(r.body, ARRAY['positive', 'negative']) AS p WHERE c.name = 'tone'
), e AS (
	SELECT body, label, exp(score) / sum(exp(score)) OVER (PARTITION BY body) AS p FROM s
)
SELECT count(*) AS compared, max(abs(e.p - f.probability)) < 1e-9 AS same
	FROM e, dlm_classify_scores(e.body, ARRAY['positive', 'negative'], options => '{"calibration": "tone"}') AS f WHERE f.label = e.label;
SELECT count(*) FILTER (WHERE dlm_classify(body, ARRAY['positive', 'negative'], options => '{"calibration": "tone"}') =
	CASE WHEN good THEN 'positive' ELSE 'negative' END) >= count(*) FILTER (WHERE dlm_classify(body, ARRAY['positive', 'negative']) =
	CASE WHEN good THEN 'positive' ELSE 'negative' END) AS no_worse FROM review WHERE body IS NOT NULL;
-- fitted again under the same name; one label alone
SELECT dlm_calibrate('tone', :'rows' || ' WHERE good') ->> 'rows' AS rows;
SELECT count(*) FROM dlm_calibration;
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('x', ARRAY['a', 'negative'], options => '{"calibration": "tone"}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('x', ARRAY['a', 'b'], options => '{"calibration": "none of them"}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('x', ARRAY['a', 'b'], options => '{"calibration": 1}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_calibrate('x', 'SELECT 1 AS a')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_calibrate('x', 'SELECT WHERE false')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_calibrate('x', 'CREATE TABLE y ()')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_calibrate('x', 'SELECT ''a'' AS input, ''c'' AS target, ARRAY[''a'', ''b''] AS labels')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_calibrate('x', 'SELECT 1 AS input, ''c'' AS target, ARRAY[''a'', ''b''] AS labels')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_calibrate('x', 'SELECT input, ''a'' AS target, ARRAY[''a'', input] AS labels FROM unnest(ARRAY[''b'', ''c'']) AS input')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_calibrate(NULL, 'SELECT 1')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_calibration_drop('x')$$);
\x off
CREATE ROLE regress_dlm_other;
SET ROLE regress_dlm_other;
SELECT name FROM dlm_calibration;
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_calibration_drop('tone')$$);
\x off
RESET ROLE;
DROP ROLE regress_dlm_other;
SELECT dlm_calibration_drop('tone');

-- without targets: what a label has in the mean over the rows is taken away
\set unlabelled 'SELECT body AS input, ARRAY[''positive'', ''negative''] AS labels FROM review'
SELECT dlm_calibrate('mean', :'unlabelled');
SELECT scale, rows, abs(bias[1] - ln(positive)) < 1e-9 AND abs(bias[2] - ln(1 - positive)) < 1e-9 AS of_the_mean
	FROM dlm_calibration, (SELECT avg(p.probability) FILTER (WHERE p.label = 'positive') AS positive
		FROM review AS r, dlm_classify_scores(r.body, ARRAY['positive', 'negative']) AS p WHERE r.body IS NOT NULL) AS m;
SELECT count(*) FILTER (WHERE dlm_classify(body, ARRAY['positive', 'negative'], options => '{"calibration": "mean"}') = 'positive') BETWEEN 3 AND 9 AS both
	FROM review WHERE body IS NOT NULL;
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_calibrate('mean', 'SELECT ''a'' AS input, ARRAY[''a'', ''b''] AS labels FROM generate_series(1, 9)')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_calibrate('mean', 'SELECT NULL::text AS input, ARRAY[''a'', ''b''] AS labels')$$);
\x off
SELECT dlm_calibration_drop('mean');

-- dlm_repair: given spans, characters from 1; or what is improbable
SELECT r LIKE 'Ü: The capital of France is %, a city in Europe.' AS kept, r
	FROM dlm_repair('Ü: The capital of France is Berlin, a city in Europe.', '{"[29,35)"}') AS r;
SELECT dlm_repair('The capital of France is Paris.', threshold => 0) = 'The capital of France is Paris.' AS nothing_to_do;
SELECT dlm_repair('The sky is blue and teh grass is green.', threshold => 0.001) LIKE 'The sky is%' AS written;
SELECT dlm_repair('a [MASK] b c', '{"[12,13)"}') LIKE 'a [MASK] b %' AS text_is_text;
SELECT dlm_repair(NULL) IS NULL AS null;
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_repair('abc', '{"[5,9)"}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_repair('abc', '{empty}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_repair('abc', '{"[0,2)"}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_repair('abc', '{NULL}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_repair('abc', threshold => 2)$$);
\x off
