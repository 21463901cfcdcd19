-- Every function resolves with untyped literals, in PREPARE without types, and by name.
-- untyped literals: the scalar forms
SELECT dlm_generate('a') AS generate, dlm_generate('a', 8) AS generate_2, dlm_generate(NULL) AS generate_null,
	dlm_generate('a', '8', '4', '0', '1', '{}', 'm') AS generate_all,
	dlm_infill('a') AS infill, dlm_infill('a', '4', '0', '1', '{}', 'm') AS infill_all,
	dlm_infill_gaps('a') AS infill_gaps, dlm_infill_gaps('a', '4', '0', '1', '{}', 'm') AS infill_gaps_all,
	dlm_trace_html('a', '4', '0', '1', '{}', 'm') AS trace_html, dlm_trace_svg('a', '4', '0', '1', '{}', 'm') AS trace_svg,
	dlm_trace_generate_html('a', '8', '4', '0', '1', '{}', 'm') AS trace_generate_html,
	dlm_trace_generate_svg('a', '8', '4', '0', '1', '{}', 'm') AS trace_generate_svg,
	dlm_quote('a') AS quote, dlm_examples('a', 'b') AS examples,
	dlm_nearest_examples('a', '[]') AS nearest, dlm_nearest_examples('a', '[]', '2', 'm') AS nearest_all,
	dlm_classify('a', '{a,b}') AS classify, dlm_classify('a', '{a,b}', 'i', '{c,d}', '[]', '{}', 'm') AS classify_all,
	dlm_classify('a', ARRAY['a', 'b']) AS classify_array,
	dlm_classify_full('a', '{a,b}') AS classify_full,
	dlm_classify_multi('a', '{a,b}') AS classify_multi,
	dlm_classify_multi('a', '{a,b}', 'i', '{c,d}', '[]', '0.5', '{}', 'm') AS classify_multi_all,
	dlm_score('a') AS score, dlm_score('a', '{}', 'm') AS score_all,
	dlm_embed('a') AS embed, dlm_embed('a', 'm') AS embed_all,
	dlm_detokenize('{1,2}') AS detokenize, dlm_detokenize('{1,2}', 'm') AS detokenize_all,
	dlm_count_tokens('a') AS count_tokens, dlm_count_tokens('a', 'm') AS count_tokens_all,
	dlm_generate_pinned('d', 'a') AS generate_pinned, dlm_generate_pinned('d', 'a', '8', '4', '0', '1', '{}') AS generate_pinned_all,
	dlm_infill_pinned('d', 'a') AS infill_pinned, dlm_infill_pinned('d', 'a', '4', '0', '1', '{}') AS infill_pinned_all,
	dlm_classify_pinned('d', 'a', '{a,b}') AS classify_pinned,
	dlm_classify_pinned('d', 'a', '{a,b}', 'i', '{c,d}', '[]', '{}') AS classify_pinned_all,
	dlm_embed_pinned('d', 'a') AS embed_pinned \gdesc
-- untyped literals: rows
SELECT * FROM dlm_classify_scores('a', '{a,b}', 'i', '{c,d}', '[]', '{}', 'm') \gdesc
SELECT * FROM dlm_token_scores('a', '{}', 'm') \gdesc
SELECT * FROM dlm_embed_many('{a,b}', 'm') \gdesc
SELECT * FROM dlm_trace('a', '4', '0', '1', '{}', 'm') \gdesc
SELECT * FROM dlm_trace_generate('a', '8', '4', '0', '1', '{}', 'm') \gdesc
SELECT * FROM dlm_predict_length('a', '5', 'm') \gdesc
SELECT * FROM dlm_tokenize('a', 'm') \gdesc
-- array forms
SELECT dlm_generate(ARRAY['a', 'b'], 8) AS generate, dlm_infill(ARRAY['a', 'b']) AS infill,
	dlm_classify(ARRAY['a', 'b'], ARRAY['a', 'b']) AS classify, dlm_classify(ARRAY['a', 'b'], '{a,b}') AS classify_literal,
	dlm_generate('{a,b}'::text[]) AS generate_cast \gdesc
-- columns of other string types
SELECT dlm_generate('a'::varchar) AS varchar_column, dlm_classify('a'::char(3), '{a,b}') AS char_column,
	dlm_classify('a'::name, '{a,b}') AS name_column, dlm_classify('a', ARRAY['a', 'b']::varchar[]) AS varchar_labels \gdesc
-- an enum's labels
CREATE TYPE pg_temp.mood AS ENUM ('sad', 'happy');
SELECT dlm_classify('a', enum_range(NULL::pg_temp.mood)::text[]) AS enum_labels \gdesc
-- PREPARE without types
PREPARE generate AS SELECT dlm_generate($1);
PREPARE generate_all AS SELECT dlm_generate($1, $2, $3, $4, $5, $6, $7);
PREPARE infill AS SELECT dlm_infill($1, $2, $3, $4, $5, $6);
PREPARE infill_gaps AS SELECT dlm_infill_gaps($1, $2, $3, $4, $5, $6);
PREPARE quote AS SELECT dlm_quote($1);
PREPARE classify AS SELECT dlm_classify($1, $2);
PREPARE classify_all AS SELECT dlm_classify($1, $2, $3, $4, $5, $6, $7);
PREPARE classify_full AS SELECT dlm_classify_full($1, $2, $3, $4, $5, $6, $7);
PREPARE classify_scores AS SELECT * FROM dlm_classify_scores($1, $2, $3, $4, $5, $6, $7);
PREPARE classify_multi AS SELECT dlm_classify_multi($1, $2, $3, $4, $5, $6, $7, $8);
PREPARE score AS SELECT dlm_score($1, $2, $3);
PREPARE token_scores AS SELECT * FROM dlm_token_scores($1, $2, $3);
PREPARE embed AS SELECT dlm_embed($1, $2);
PREPARE embed_many AS SELECT * FROM dlm_embed_many($1, $2);
PREPARE trace AS SELECT * FROM dlm_trace($1, $2, $3, $4, $5, $6);
PREPARE trace_generate AS SELECT * FROM dlm_trace_generate($1, $2, $3, $4, $5, $6, $7);
PREPARE trace_html AS SELECT dlm_trace_html($1, $2, $3, $4, $5, $6);
PREPARE trace_svg AS SELECT dlm_trace_svg($1, $2, $3, $4, $5, $6);
PREPARE trace_generate_html AS SELECT dlm_trace_generate_html($1, $2, $3, $4, $5, $6, $7);
PREPARE trace_generate_svg AS SELECT dlm_trace_generate_svg($1, $2, $3, $4, $5, $6, $7);
PREPARE examples AS SELECT dlm_examples($1, $2);
PREPARE nearest_examples AS SELECT dlm_nearest_examples($1, $2, $3, $4);
PREPARE predict_length AS SELECT * FROM dlm_predict_length($1, $2, $3);
PREPARE tokenize AS SELECT * FROM dlm_tokenize($1, $2);
PREPARE detokenize AS SELECT dlm_detokenize($1, $2);
PREPARE count_tokens AS SELECT dlm_count_tokens($1, $2);
PREPARE generate_pinned AS SELECT dlm_generate_pinned($1, $2, $3, $4, $5, $6, $7);
PREPARE infill_pinned AS SELECT dlm_infill_pinned($1, $2, $3, $4, $5, $6);
PREPARE classify_pinned AS SELECT dlm_classify_pinned($1, $2, $3, $4, $5, $6, $7);
PREPARE embed_pinned AS SELECT dlm_embed_pinned($1, $2);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name;
DEALLOCATE ALL;
-- by name, in another order
SELECT dlm_generate(model => 'm', options => '{}', seed => 1, temperature => 0.5, steps => 4, max_tokens => 8,
		prompt => 'a') AS generate,
	dlm_generate(max_tokens => 8, prompts => '{a,b}') AS generate_array,
	dlm_infill(model => 'm', options => '{}', seed => 1, temperature => 0.5, steps => 4, template => 'a') AS infill,
	dlm_infill(templates => '{a,b}') AS infill_array,
	dlm_infill_gaps(steps => 4, template => 'a') AS infill_gaps,
	dlm_trace_html(steps => 4, template => 'a') AS trace_html, dlm_trace_svg(steps => 4, template => 'a') AS trace_svg,
	dlm_trace_generate_html(max_tokens => 4, prompt => 'a') AS trace_generate_html,
	dlm_trace_generate_svg(max_tokens => 4, prompt => 'a') AS trace_generate_svg,
	dlm_quote(value => 'a') AS quote,
	dlm_classify(model => 'm', options => '{}', examples => '[]', descriptions => '{c,d}', instruction => 'i',
		labels => '{a,b}', input => 'a') AS classify,
	dlm_classify(labels => '{a,b}', inputs => '{a,b}') AS classify_array,
	dlm_classify_full(labels => '{a,b}', input => 'a') AS classify_full,
	dlm_classify_multi(threshold => 0.3, labels => '{a,b}', input => 'a') AS classify_multi,
	dlm_nearest_examples(k => 2, examples => '[]', input => 'a') AS nearest,
	dlm_score(options => '{}', input => 'a') AS score, dlm_embed(model => 'm', input => 'a') AS embed,
	dlm_detokenize(model => 'm', ids => '{1}') AS detokenize,
	dlm_count_tokens(model => 'm', input => 'a') AS count_tokens,
	dlm_generate_pinned(options => '{}', seed => 1, temperature => 0.5, steps => 4, max_tokens => 8, prompt => 'a', digest => 'd') AS generate_pinned,
	dlm_infill_pinned(options => '{}', seed => 1, temperature => 0.5, steps => 4, template => 'a', digest => 'd') AS infill_pinned,
	dlm_classify_pinned(options => '{}', examples => '[]', descriptions => '{c,d}', instruction => 'i', labels => '{a,b}', input => 'a',
		digest => 'd') AS classify_pinned,
	dlm_embed_pinned(input => 'a', digest => 'd') AS embed_pinned \gdesc
SELECT * FROM dlm_classify_scores(labels => '{a,b}', input => 'a') \gdesc
SELECT * FROM dlm_token_scores(model => 'm', options => '{}', input => 'a') \gdesc
SELECT * FROM dlm_embed_many(model => 'm', inputs => '{a,b}') \gdesc
SELECT * FROM dlm_trace(steps => 4, template => 'a') \gdesc
SELECT * FROM dlm_trace_generate(max_tokens => 4, prompt => 'a') \gdesc
SELECT * FROM dlm_predict_length(k => 3, prompt => 'a') \gdesc
SELECT * FROM dlm_tokenize(model => 'm', input => 'a') \gdesc
