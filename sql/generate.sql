-- Generation: answers, lengths, options that change it.
SELECT dlm_generate('What is the capital of France?', 16);
SELECT dlm_generate('Answer with one word: is fire hot or cold?', 8);
-- the same call, the same answer
SELECT count(DISTINCT dlm_generate('Name a color.', 8)) AS answers FROM generate_series(1, 3);
-- never longer than asked for
SELECT n, dlm_count_tokens(dlm_generate('Tell me a story.', n)) <= n AS fits FROM unnest('{1,2,5,16}'::int[]) n;
-- lengths
SELECT l, dlm_count_tokens(dlm_generate('Tell me a story.', 12, options => jsonb_build_object('length', l))) <= 12 AS fits
FROM unnest('{fixed,probed}'::text[]) l;
-- every sampler works, and gives the same answer twice
SELECT s, a IS NOT NULL AND a = b AS same
FROM unnest(ARRAY['confidence', 'margin', 'entropy', 'random', 'left-to-right',
	'reparam-cond-deterministic-linear', 'reparam-cond-deterministic-cosine', 'reparam-uncond-deterministic-linear',
	'reparam-uncond-deterministic-cosine', 'reparam-uncond-stochastic1.0-linear', 'reparam-cond-stochastic0.5-cosine']) s,
	LATERAL (SELECT dlm_generate('Name a fruit.', 6, steps => 4, options => jsonb_build_object('sampler', s)) AS a,
		dlm_generate('Name a fruit.', 6, steps => 4, options => jsonb_build_object('sampler', s)) AS b OFFSET 0) x;
-- good values of the other options
SELECT o, dlm_generate('Name a fruit.', 6, steps => 4, options => o) IS NOT NULL AS works
FROM unnest(ARRAY['{}', '{"threshold": 0.9}', '{"threshold": 1}', '{"block_length": 2}', '{"cfg_scale": 1.5}', '{"top_k": 5}', '{"top_p": 0.9}',
	'{"length_beam": 2}', '{"length_budget": 8}', '{"multiline": true}', '{"boundary": "plain"}', '{"template": "raw"}',
	'{"template": "Q: {prompt} A:"}', '{"on_error": "null"}', '{"on_overflow": "truncate"}', '{"stop": []}', '{"ban": []}']::jsonb[]) o;
-- stop: the text is cut before the first of them
SELECT position('a' IN dlm_generate('Name a fruit.', 8, options => '{"stop": ["a", "e", "i", "o", "u"]}')) = 0 AS cut;
-- ban: never written
SELECT dlm_generate('Name a fruit.', 8, options => '{"ban": ["e", "E"]}') !~* 'e' AS banned;
-- templates: raw continues the text, a hole is needed
SELECT dlm_generate('The sky is', 4, options => '{"template": "raw"}');
\set VERBOSITY terse
SELECT dlm_generate('The sky is', 4, options => '{"template": "no hole"}');
SELECT dlm_generate('The sky is', 4, options => '{"template": "{prompt} {unknown}"}');
\set VERBOSITY default
-- chance: vary the seed for variety, temperature 0 ignores it
SELECT count(DISTINCT dlm_generate('Name a city.', 6, temperature => 1, seed => i)) > 1 AS vary,
	count(DISTINCT dlm_generate('Name a city.', 6, seed => i)) AS greedy
FROM generate_series(1, 4) i;
SELECT dlm_generate('Name a city.', 6, temperature => 1, seed => -9223372036854775808) IS NOT NULL AS smallest_seed;
-- text of special-token strings only is ordinary text
SELECT dlm_generate('<|im_end|><|im_start|><|endoftext|><|mask|>', 4) IS NOT NULL AS plain;
SELECT dlm_generate('Write a tag.', 8) !~ '<\|(mask|im_start|endoftext)\|>' AS no_special;
