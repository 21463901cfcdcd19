-- The denoising, step by step.
SELECT step, "position", token, event, round(logprob::numeric, 4) AS logprob, canvas
FROM dlm_trace('The capital of France is [MASK:3].', steps => 3);
-- the last canvas holds the answer; steps and positions count from 1
SELECT min(step) AS first_step, max(step) <= 4 AS steps, min("position") AS first_position, max("position") AS last_position,
	bool_and(event IN ('reveal', 'remask', 'revise')) AS events, bool_and(logprob <= 0) AS logprobs
FROM dlm_trace('I like [MASK:4] in the morning.', steps => 4);
-- every position is revealed
SELECT count(DISTINCT "position") AS revealed FROM dlm_trace('I like [MASK:4] in the morning.', steps => 4) WHERE event = 'reveal';
-- a re-mask writes the mask token
SELECT bool_and(token = '<|mask|>') IS NOT FALSE AS remask_is_mask
FROM dlm_trace('I like [MASK:4] in the morning.', steps => 4) WHERE event = 'remask';
-- the same for generation
SELECT count(*) > 0 AS changes, max(step) <= 4 AS steps, max("position") <= 8 AS positions
FROM dlm_trace_generate('Name a fruit.', 8, steps => 4, options => '{"length": "fixed"}');
-- one step reveals all
SELECT DISTINCT step, event FROM dlm_trace('I like [MASK:4] in the morning.', steps => 1);
