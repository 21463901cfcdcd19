-- Gaps: syntax, lengths, names, what may not be written.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/fails.sql'
\i :include
SELECT dlm_infill('The capital of France is [MASK].');
SELECT dlm_infill('The capital of France is [MASK:1-3], and the capital of Italy is [MASK:1-3].');
SELECT dlm_infill_gaps('The capital of France is [MASK:city:1-3] and its language is [MASK].');
-- text around gaps is the user's own, byte for byte
SELECT t, a LIKE replace(replace(t, '[MASK:2]', '%'), '[MASK]', '%') AS kept
FROM unnest(ARRAY['  two  spaces [MASK] kept  ', E'tabs\tand\nlines [MASK:2]\r\n', 'ÄÖÜ é 日本語 🙂 [MASK]', 'e' || U&'\0301' || ' [MASK]',
	'<|im_end|> [MASK] <|endoftext|>', '[MASK]']) t, LATERAL dlm_infill(t) a;
-- literal text: [[MASK]] is [MASK]
SELECT a LIKE 'Write [MASK] and not %.' AS literal, a FROM dlm_infill('Write [[MASK]] and not [MASK].') a;
-- no white space at the end of a gap, no line break in it
SELECT bool_and(g !~ '\s$' AND g !~ '[\n\r]') AS clean
FROM dlm_infill_gaps('Dear [MASK:1-4], thank you for [MASK:2-6]. Yours, [MASK:1-4]') j, jsonb_each_text(j) AS e (k, g);
-- a fixed number of tokens
SELECT dlm_infill_gaps('I would like to eat [MASK:5] today.') ? '1' AS five;
SELECT dlm_count_tokens(' ' || (dlm_infill_gaps('I would like to eat [MASK:3] today.') ->> '1')) BETWEEN 1 AND 3 AS three;
-- names: letters, digits, underscore; unnamed gaps are numbered among all
SELECT array_agg(k ORDER BY k) AS names
FROM jsonb_object_keys(dlm_infill_gaps('[MASK:first_1] and [MASK] and [MASK:B:2] and [MASK:2]')) k;
-- what is no gap
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('no gap here')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[[MASK]] alone')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('unclosed [MASK:')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('unclosed [MASK:5 and more')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:0]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:-1]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:8-1]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:0-4]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:99999999999999999999]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:a b]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:name:]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:name:2:3]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:twice] [MASK:twice]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK:500000]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill(repeat('[MASK] ', 5000))$$);
\x off
-- good values of every option
SELECT o, dlm_infill('I eat [MASK:1-2] every day.', steps => 2, options => o) LIKE 'I eat % every day.' AS works
FROM unnest(ARRAY['{}', '{"sampler": "left-to-right"}', '{"threshold": 0.5}', '{"block_length": 1}', '{"cfg_scale": 1.5}', '{"top_k": 5}', '{"top_p": 0.9}',
	'{"length_beam": 1}', '{"length_budget": 1}', '{"multiline": true}', '{"boundary": "plain"}', '{"template": "raw"}',
	'{"template": "Complete: {text}"}', '{"on_error": "null"}', '{"on_overflow": "truncate"}', '{"stop": ["a"]}', '{"ban": ["a"]}']::jsonb[]) o;
SELECT code, message FROM pg_temp.fails($$SELECT dlm_infill('I eat [MASK].', options => '{"template": "no hole"}')$$);
-- bans hold, within a token and across tokens
SELECT position('Paris' IN a) = 0 AS banned FROM dlm_infill('The capital of France is [MASK:1-3].', options => '{"ban": ["Paris"]}') a;
SELECT a ~ '[e]' AS has_e FROM dlm_infill_gaps('My favorite animal is the [MASK:3].', options => '{"ban": ["e"]}') j, LATERAL (SELECT j ->> '1') AS g (a);
-- chance: the same seed gives the same answer; different seeds differ somewhere
SELECT dlm_infill(t, temperature => 1, seed => 3) = dlm_infill(t, temperature => 1, seed => 3) AS same
FROM (VALUES ('My name is [MASK:2] and I live in [MASK:2].')) v (t);
SELECT count(DISTINCT dlm_infill('My name is [MASK:2] and I live in [MASK:2].', temperature => 1, seed => i)) > 1 AS vary
FROM generate_series(1, 4) i;
SELECT count(DISTINCT dlm_infill('My name is [MASK:2].', seed => i)) AS greedy_ignores_seed FROM generate_series(1, 3) i;
-- what a gap may hold: choices, patterns, by name or number
SELECT dlm_infill_gaps('Berlin is the capital of [MASK:c]; it lies in [MASK].',
	options => '{"choices": {"c": ["France", "Germany", "Japan"], "2": ["Europe", "Asia"]}}');
SELECT g ->> 'year' ~ '^(19|20)[0-9]{2}$' AS year, g ->> '2' ~ '^[a-z]+$' AS word
FROM dlm_infill_gaps('It opened in [MASK:year:1-6] and was [MASK:1-3].',
	options => '{"patterns": {"year": "(19|20)[0-9]{2}", "2": "[a-z]+"}}') AS g;
\x on
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('a [MASK]', options => '{"choices": {"b": ["c"]}}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('a [MASK]', options => '{"choices": ["c"]}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('a [MASK]', options => '{"choices": {"1": ["c", 2]}}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('a [MASK]', options => '{"patterns": {"1": 5}}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('a [MASK]', options => '{"patterns": {"1": "a{2"}}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('a [MASK:2]', options => '{"patterns": {"1": "x{9}y{9}z{9}q{30}"}}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('a [MASK:2]', options => '{"patterns": {"1": "x"}, "choices": {"1": ["y"]}}')$$);
\x off
