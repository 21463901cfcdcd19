-- Texts and answers that do not fit: an error, a cut that was asked for, or NULL; never a silent cut.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/fails.sql'
\i :include
-- a model with a context of 256 tokens, so that all of this is quick
\set folder :abs_srcdir '/test/models/context'
SELECT dlm_load_model('limits', :'folder') IS NOT NULL AS loaded;
SET dlm.default_model = 'limits';
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_generate(repeat('word ', 200), 8)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify(repeat('word ', 200), '{a,b}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill(repeat('word ', 200) || '[MASK]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_score(repeat('word ', 200))$$);
SELECT * FROM pg_temp.fails($$SELECT * FROM dlm_token_scores(repeat('word ', 200))$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_embed(repeat('word ', 200))$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', 300)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', 2147483647)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:300]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', ARRAY['short', repeat('long ', 200)])$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate(ARRAY['a', repeat('word ', 200)], 8)$$);
-- 1 MB of one letter
SELECT * FROM pg_temp.fails($$SELECT dlm_classify(repeat('a', 1000000), '{a,b}')$$);
\x off
-- NULL instead
SELECT dlm_generate(repeat('word ', 200), 8, options => '{"on_overflow": "null"}') IS NULL AS generate,
	dlm_classify(repeat('word ', 200), '{a,b}', options => '{"on_overflow": "null"}') IS NULL AS classify,
	dlm_infill(repeat('word ', 200) || '[MASK]', options => '{"on_overflow": "null"}') IS NULL AS infill,
	dlm_score(repeat('word ', 200), options => '{"on_error": "null"}') IS NULL AS score;
SELECT a[1] IS NOT NULL AS first, a[2] IS NULL AS second
FROM dlm_classify(ARRAY['word', repeat('word ', 200)], '{a,b}', options => '{"on_overflow": "null"}') a;
-- a cut that was asked for
SELECT dlm_classify(repeat('word ', 200), '{a,b}', options => '{"on_overflow": "truncate"}') IN ('a', 'b') AS classify,
	dlm_generate(repeat('word ', 200), 8, options => '{"on_overflow": "truncate"}') IS NOT NULL AS generate,
	dlm_score(repeat('word ', 200), options => '{"on_overflow": "truncate"}') < 0 AS score;
-- a template's text is only left out of what the model sees: the answer holds all of it
SELECT a LIKE repeat('word ', 200) || '%' AS infill
FROM dlm_infill(repeat('word ', 200) || '[MASK]', options => '{"on_overflow": "truncate"}') a;
-- on_error covers a row's own bad value, not a statement's
SELECT dlm_infill('no gap', options => '{"on_error": "null"}') IS NULL AS no_gap,
	dlm_classify('a', '{x,x}', options => '{"on_error": "null"}') IS NULL AS doubled_labels;
SELECT count(*) AS rows FROM dlm_classify_scores('a', '{}', options => '{"on_error": "null"}');
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', 0, options => '{"on_error": "null"}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', model => 'none', options => '{"on_error": "null"}')$$);
-- memory
SET dlm.default_model = 'dlm-135m';
SET dlm.max_session_memory = '1MB';
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', 64, options => '{"on_error": "null"}')$$);
RESET dlm.max_session_memory;
-- a spent budget
SET dlm.statement_budget_ms = 1;
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('Tell me a story.', 64, options => '{"on_error": "null"}')$$);
RESET dlm.statement_budget_ms;
\x off
-- a timeout in the middle of one long row
CREATE PROCEDURE pg_temp.times_out(statement text, OUT code text, OUT soon boolean) LANGUAGE plpgsql AS $$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	EXECUTE statement;
EXCEPTION WHEN query_canceled THEN
	code := SQLSTATE;
	soon := clock_timestamp() - start < interval '2 s';
END
$$;
SET statement_timeout = '300ms';
CALL pg_temp.times_out($$SELECT dlm_infill('[MASK:4000]')$$, NULL, NULL);
CALL pg_temp.times_out($$SELECT dlm_classify(repeat('word ', 8000), '{a,b}')$$, NULL, NULL);
CALL pg_temp.times_out($$SELECT count(*) FROM dlm_token_scores(repeat('word ', 8000))$$, NULL, NULL);
RESET statement_timeout;
-- nothing is left behind, and the session goes on
SELECT count(*) AS active FROM dlm_activity;
SELECT dlm_classify('I love it.', '{good,bad}') IN ('good', 'bad') AS goes_on;
SELECT dlm_drop_model('limits');

-- a typed space before each of many gaps costs one row more, not one a gap
SET statement_timeout = '20s';
SELECT dlm_infill('x' || repeat(' [MASK]', 60), steps => 1, options => '{"boundary": "heal"}') ~ '^x( \S+)+$' AS filled;
RESET statement_timeout;
