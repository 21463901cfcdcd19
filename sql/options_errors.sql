-- Keys and values of options that are refused.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/fails.sql'
\i :include
\x on
-- unknown keys: the hint names the known ones, for each function its own
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', options => '{"treshold": 0.5}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK]', options => '{"scoring": "pll"}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,y}', options => '{"sampler": "random"}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_score('a', options => '{"exact": true}')$$);
SELECT * FROM pg_temp.fails($$SELECT * FROM dlm_token_scores('a', options => '{"passes": 8}')$$);
SELECT * FROM pg_temp.fails($$SELECT * FROM dlm_trace('[MASK]', options => '{"": 1}')$$);
SELECT * FROM pg_temp.fails(format($$SELECT dlm_generate('a', options => '{"%s": 1}')$$, repeat('k', 1000)));
\x off
-- no object
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', options => '[]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', options => '"raw"')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', options => '1')$$);
-- every option with values of the wrong type, beyond its bounds, or unknown
SELECT option, value, f.code, f.message, f.hint
FROM (VALUES
	('ban', '"text"'), ('ban', '[1]'), ('ban', '[""]'), ('ban', '[["a"]]'), ('ban', '{"a": 1}'),
	('block_length', '-1'), ('block_length', '1.5'), ('block_length', '"8"'), ('block_length', '1e400'),
	('boundary', '"healed"'), ('boundary', '1'), ('boundary', '["heal"]'),
	('cfg_scale', '-1'), ('cfg_scale', '101'), ('cfg_scale', '"1"'),
	('length', '"guess"'), ('length', '8'),
	('length_beam', '0'), ('length_beam', '65'), ('length_beam', '2.5'),
	('length_budget', '0'), ('length_budget', '-1'),
	('multiline', '"true"'), ('multiline', '1'),
	('on_error', '"ignore"'), ('on_error', 'true'),
	('on_overflow', '"cut"'), ('on_overflow', '{}'),
	('sampler', '"reparam"'), ('sampler', '1'), ('sampler', '""'), ('sampler', '"reparam-cond-stochasticX-linear"'),
	('stop', '"text"'), ('stop', '[null]'), ('stop', '[""]'),
	('template', '1'), ('template', '["raw"]'),
	('threshold', '-0.1'), ('threshold', '1.1'), ('threshold', '"0.5"'),
	('top_k', '-1'), ('top_k', '0.5'), ('top_k', '"5"'),
	('top_p', '-0.1'), ('top_p', '2'), ('top_p', 'true')) AS bad (option, value),
	pg_temp.fails(format('SELECT dlm_generate(''a'', options => ''{"%s": %s}'')', option, value)) AS f;
SELECT option, value, f.code, f.message, f.hint
FROM (VALUES
	('calibrate', '"zero"'), ('calibrate', 'false'),
	('normalize', '"max"'), ('normalize', '0'),
	('scoring', '"two_pass"'), ('scoring', '[]'),
	('template', 'false')) AS bad (option, value),
	pg_temp.fails(format('SELECT dlm_classify(''a'', ''{x,y}'', options => ''{"%s": %s}'')', option, value)) AS f;
SELECT option, value, f.code, f.message, f.hint
FROM (VALUES
	('passes', '0'), ('passes', '-1'), ('passes', '1001'), ('passes', '"all"'), ('passes', '1.5')) AS bad (option, value),
	pg_temp.fails(format('SELECT dlm_score(''a'', options => ''{"%s": %s}'')', option, value)) AS f;
