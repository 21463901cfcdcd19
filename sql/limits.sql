-- Texts and answers that do not fit: an error, a cut that was asked for, or NULL; never a silent cut.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/fails.sql'
\i :include
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_generate(repeat('word ', 20000), 8)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify(repeat('word ', 20000), '{a,b}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill(repeat('word ', 20000) || '[MASK]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_score(repeat('word ', 20000))$$);
SELECT * FROM pg_temp.fails($$SELECT * FROM dlm_token_scores(repeat('word ', 20000))$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_embed(repeat('word ', 20000))$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', 100000000)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:5000]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', ARRAY['short', repeat('long ', 20000)])$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate(ARRAY['a', repeat('word ', 20000)], 8)$$);
-- 1 MB of one letter
SELECT * FROM pg_temp.fails($$SELECT dlm_classify(repeat('a', 1000000), '{a,b}')$$);
\x off
-- NULL instead
SELECT dlm_generate(repeat('word ', 20000), 8, options => '{"on_overflow": "null"}') IS NULL AS generate,
	dlm_classify(repeat('word ', 20000), '{a,b}', options => '{"on_overflow": "null"}') IS NULL AS classify,
	dlm_infill(repeat('word ', 20000) || '[MASK]', options => '{"on_overflow": "null"}') IS NULL AS infill,
	dlm_score(repeat('word ', 20000), options => '{"on_error": "null"}') IS NULL AS score;
SELECT a[1] IS NOT NULL AS first, a[2] IS NULL AS second
FROM dlm_classify(ARRAY['word', repeat('word ', 20000)], '{a,b}', options => '{"on_overflow": "null"}') a;
-- a cut that was asked for
SELECT dlm_classify(repeat('word ', 20000), '{a,b}', options => '{"on_overflow": "truncate"}') IN ('a', 'b') AS truncated;
-- on_error covers a row's own bad value, not a statement's
SELECT dlm_infill('no gap', options => '{"on_error": "null"}') IS NULL AS no_gap,
	dlm_classify('a', '{x,x}', options => '{"on_error": "null"}') IS NULL AS doubled_labels;
SELECT count(*) AS rows FROM dlm_classify_scores('a', '{}', options => '{"on_error": "null"}');
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', 0, options => '{"on_error": "null"}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', model => 'none', options => '{"on_error": "null"}')$$);
-- memory
SET dlm.max_session_memory = '1MB';
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', 64, options => '{"on_error": "null"}')$$);
RESET dlm.max_session_memory;
-- a spent budget
SET dlm.statement_budget_ms = 1;
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('Tell me a story.', 64, options => '{"on_error": "null"}')$$);
RESET dlm.statement_budget_ms;
\x off
-- and the session goes on
SELECT dlm_classify('I love it.', '{good,bad}') IN ('good', 'bad') AS goes_on;
