-- The length head: what it predicts, and what a model without one says.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/fails.sql'
\i :include
\set folder :abs_srcdir '/test/models/paper'
SELECT dlm_load_model('lengths', :'folder') IS NOT NULL AS loaded;
SELECT name, length_head FROM dlm_model_info('lengths');
-- the best first, as many as asked for
SELECT count(*) AS rows, count(DISTINCT length) AS lengths, bool_and(logprob < 0) AS logprobs,
	array_agg(logprob ORDER BY n) = array_agg(logprob ORDER BY logprob DESC) AS best_first
FROM dlm_predict_length('Hello', model => 'lengths') WITH ORDINALITY AS l (length, logprob, n);
SELECT count(*) AS rows FROM dlm_predict_length('Hello', 2, 'lengths');
SELECT a = b AS same FROM dlm_predict_length('Hello', 1, 'lengths') a, dlm_predict_length('Hello', 1, 'lengths') b;
-- generation takes the length from it
SELECT dlm_count_tokens(dlm_generate('Hello', 3, model => 'lengths'), 'lengths') <= 3 AS never_longer,
	dlm_generate('Hello', 8, model => 'lengths') = dlm_generate('Hello', 8, options => '{"length": "predicted"}', model => 'lengths') AS predicted;
\x on
SELECT * FROM pg_temp.fails($$SELECT * FROM dlm_predict_length('Hello', model => 'dlm-135m')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('Hello', 4, options => '{"length": "predicted"}', model => 'dlm-135m')$$);
\x off
SELECT dlm_drop_model('lengths');
