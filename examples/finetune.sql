-- Teach the default model ten intents from 200 rows of the demo's table, and compare on the other 50.
--   make demo, then: psql -f examples/finetune.sql        (some minutes on two cores)
\set ON_ERROR_STOP on
SET client_min_messages = warning;

-- rows that show the task, and rows to judge by
DROP TABLE IF EXISTS intent;
CREATE TABLE intent AS
SELECT id, body, truth, array_agg(truth) FILTER (WHERE first) OVER () AS labels, row_number() OVER (ORDER BY md5(body)) <= 200 AS taught
FROM (SELECT id, body, truth, row_number() OVER (PARTITION BY truth ORDER BY id) = 1 AS first FROM messages WHERE kind = 'label') AS m;

\echo 'before:'
SELECT count(*) AS rows, round(avg((dlm_classify(body, labels) = truth)::int), 3) AS right FROM intent WHERE NOT taught;

CALL dlm_finetune('intents', 'dlm-135m', 'SELECT body AS input, truth AS target, labels FROM intent WHERE taught ORDER BY id',
    options => '{"replace": true}');

\echo 'after:'
SELECT count(*) AS rows, round(avg((dlm_classify(body, labels, model => 'intents') = truth)::int), 3) AS right FROM intent WHERE NOT taught;

SELECT state, step, loss, validation_accuracy, finished - started AS took FROM dlm_jobs ORDER BY job_id DESC LIMIT 1;
