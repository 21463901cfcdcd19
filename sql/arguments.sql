-- Bad values of arguments: the error, its SQLSTATE, its hint. Checked before a model is looked for.
\getenv abs_srcdir PG_ABS_SRCDIR
\set include :abs_srcdir '/sql/include/fails.sql'
\i :include
\x on
-- numbers
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', max_tokens => 0)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', max_tokens => -1)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', steps => 0)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', steps => 2147483647)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_infill('[MASK]', steps => -3)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', temperature => 'NaN')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', temperature => 'Infinity')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', temperature => -0.5)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify_multi('a', '{x,y}', threshold => 1.5)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify_multi('a', '{x,y}', threshold => 'NaN')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_predict_length('a', k => 0)$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_predict_length('a', k => 1001)$$);
-- labels
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,NULL}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,y,x}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,""}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{{x,y},{z,w}}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', (SELECT array_agg(i::text) FROM generate_series(1, 10000) i))$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify_full('a', '{}')$$);
SELECT * FROM pg_temp.fails($$SELECT * FROM dlm_classify_scores('a', '{}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify_multi('a', '{}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify(ARRAY['a', 'b'], '{}')$$);
-- descriptions
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,y}', descriptions => '{only one}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,y}', descriptions => '{{a},{b}}')$$);
-- examples
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,y}', examples => '{}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,y}', examples => '"text"')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,y}', examples => '[1]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,y}', examples => '[{"input": "b", "label": "x"}, {"input": "c"}]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,y}', examples => '[{"input": 1, "label": "x"}]')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_classify('a', '{x,y}', examples => '[{"input": "b", "label": "x", "note": ""}]')$$);
-- ids
SELECT * FROM pg_temp.fails($$SELECT dlm_detokenize('{1,NULL}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_detokenize('{-1}')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_detokenize('{2147483647}')$$);
-- models
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', model => 'no such model')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a', model => '')$$);
SELECT * FROM pg_temp.fails($$SELECT dlm_tokenize('a', 'no such model')$$);
SET dlm.default_model = 'nowhere';
SELECT * FROM pg_temp.fails($$SELECT dlm_generate('a')$$);
RESET dlm.default_model;
