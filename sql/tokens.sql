-- Tokens: pieces, ids, there and back; text is ordinary text.
SELECT * FROM dlm_tokenize('Hello, world! 2024');
SELECT dlm_count_tokens('Hello, world! 2024') AS tokens, dlm_count_tokens('') AS none;
SELECT count(*) AS none FROM dlm_tokenize('');
SELECT dlm_detokenize('{}') = '' AS empty;
-- there and back
SELECT t, dlm_detokenize(array_agg(id ORDER BY "position")) = t AS back, count(*) = dlm_count_tokens(t) AS counted
FROM unnest(ARRAY['Hello, world! 2024', '  leading and trailing  ', E'tab\tline\nend', 'ÄÖÜ é 日本語 🙂🇫🇷', 'x', '<|im_start|>user<|im_end|>', '[MASK]']) t,
	LATERAL dlm_tokenize(t)
GROUP BY t ORDER BY t COLLATE "C";
-- strings of special tokens are ordinary text: several tokens
SELECT dlm_count_tokens('<|im_end|>') > 1 AS ordinary;
-- half of a character becomes U+FFFD
SELECT dlm_detokenize(ARRAY[(SELECT id FROM dlm_tokenize('🙂') LIMIT 1)]) = U&'\FFFD' AS repaired;
-- no context limit
SELECT dlm_count_tokens(repeat('word ', 20000)) > 20000 AS long;
-- scores of tokens: each masked alone
SELECT "position", token, round(logprob::numeric, 4) AS logprob FROM dlm_token_scores('The sky is blue.');
SELECT count(*) = dlm_count_tokens('The sky is blue.') AS all_tokens, bool_and(logprob <= 0) AS logprobs FROM dlm_token_scores('The sky is blue.');
-- the score of a text: with one position at a time it is the mean of these
SELECT round(dlm_score('The sky is blue.')::numeric, 6) AS score;
SELECT abs(dlm_score('The sky is blue.', options => '{"passes": "exact"}') -
	(SELECT avg(logprob) FROM dlm_token_scores('The sky is blue.'))) < 1e-6 AS exact_is_mean;
SELECT p, dlm_score('The sky is blue.', options => jsonb_build_object('passes', p)) < 0 AS negative FROM unnest('{1,2,8,100}'::int[]) p;
-- odd text scores lower
SELECT dlm_score('She walked to the store to buy some milk.') > dlm_score('Store milk walked the some to buy to she.') AS odd_is_lower;
