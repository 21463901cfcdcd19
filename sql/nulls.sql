-- A NULL first argument, or NULL labels, gives NULL or no rows; a NULL option means its default.
SELECT dlm_generate(NULL) IS NULL AS generate, dlm_generate(NULL::text[]) IS NULL AS generate_array,
	dlm_infill(NULL) IS NULL AS infill, dlm_infill(NULL::text[]) IS NULL AS infill_array,
	dlm_infill_gaps(NULL) IS NULL AS infill_gaps, dlm_quote(NULL) IS NULL AS quote,
	dlm_classify(NULL, '{a,b}') IS NULL AS classify, dlm_classify('a', NULL) IS NULL AS classify_labels,
	dlm_classify(NULL::text[], '{a,b}') IS NULL AS classify_array,
	dlm_classify(ARRAY['a'], NULL) IS NULL AS classify_array_labels,
	dlm_classify_full(NULL, '{a,b}') IS NULL AS classify_full, dlm_classify_full('a', NULL) IS NULL AS classify_full_labels,
	dlm_classify_multi(NULL, '{a,b}') IS NULL AS multi, dlm_classify_multi('a', NULL) IS NULL AS multi_labels,
	dlm_trace_html(NULL) IS NULL AS trace_html, dlm_trace_svg(NULL) IS NULL AS trace_svg,
	dlm_trace_generate_html(NULL) IS NULL AS trace_generate_html, dlm_trace_generate_svg(NULL) IS NULL AS trace_generate_svg,
	dlm_score(NULL) IS NULL AS score, dlm_embed(NULL) IS NULL AS embed,
	dlm_detokenize(NULL) IS NULL AS detokenize, dlm_count_tokens(NULL) IS NULL AS count_tokens \gx
SELECT * FROM dlm_classify_scores(NULL, '{a,b}');
SELECT * FROM dlm_classify_scores('a', NULL);
SELECT * FROM dlm_token_scores(NULL);
SELECT * FROM dlm_embed_many(NULL);
SELECT * FROM dlm_trace(NULL);
SELECT * FROM dlm_trace_generate(NULL);
SELECT * FROM dlm_predict_length(NULL);
SELECT * FROM dlm_tokenize(NULL);
-- not even an unknown model or a bad option is looked at
SELECT dlm_generate(NULL, max_tokens => 0, model => 'no such model') IS NULL AS "null";
-- NULL options are the defaults
SELECT dlm_generate('Say yes.', 4, NULL, NULL, NULL, NULL, NULL) = dlm_generate('Say yes.', 4) AS generate,
	dlm_infill('The sky is [MASK].', NULL, NULL, NULL, NULL, NULL) = dlm_infill('The sky is [MASK].') AS infill,
	dlm_classify('I like it.', '{good,bad}', NULL, NULL, NULL, NULL, NULL) = dlm_classify('I like it.', '{good,bad}') AS classify,
	dlm_classify_multi('I like it.', '{good,bad}', NULL, NULL, NULL, NULL, NULL, NULL) =
		dlm_classify_multi('I like it.', '{good,bad}') AS multi,
	dlm_score('I like it.', NULL, NULL) = dlm_score('I like it.') AS score;
-- a JSON null too
SELECT dlm_generate('Say yes.', 4, options => '{"sampler": null, "ban": null, "template": null, "on_error": null}') =
	dlm_generate('Say yes.', 4) AS generate;
-- NULL elements of an array stay NULL, in their places
SELECT array_position(a, NULL) AS null_at, cardinality(a) AS elements
FROM dlm_generate(ARRAY['Say yes.', NULL, 'Say no.'], 4) AS a;
SELECT dlm_classify(ARRAY[NULL, 'I love it.', NULL], '{good,bad}');
SELECT dlm_infill(ARRAY[NULL]::text[]) AS all_null, dlm_infill('{}'::text[]) AS empty;
SELECT ordinality, embedding IS NULL AS "null" FROM dlm_embed_many(ARRAY['a', NULL, 'b']);
-- NULL descriptions
SELECT dlm_classify('I love it.', '{good,bad}', descriptions => '{"a happy text",NULL}') IN ('good', 'bad') AS described;
