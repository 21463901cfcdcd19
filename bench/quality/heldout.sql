-- The database's answers to the rows of heldout.py's reference, a JSON line each:
--
--     psql -XqAt -v reference=reference.jsonl -v model=NAME -f heldout.sql > answers.jsonl
--
-- Without model: the default model. The scalar call and the scores must agree, so both are asked.
\if :{?model}
\else
	\set model ''
\endif
\set content `cat :'reference'`
WITH line AS (
	SELECT n, l::jsonb AS j
	FROM regexp_split_to_table(:'content', E'\n') WITH ORDINALITY AS t(l, n)
	WHERE l <> ''
), asked AS (
	SELECT n, j->>'input' AS input, j->>'instruction' AS instruction,
		   ARRAY(SELECT jsonb_array_elements_text(j->'labels')) AS labels
	FROM line
)
SELECT json_build_object(
		   'label', dlm_classify(input, labels, instruction, options => '{"scoring": "one_pass", "normalize": "mean", "calibrate": "content_free"}', model => NULLIF(:'model', '')),
		   'scores', (SELECT json_object_agg(label, logprob)
					  FROM dlm_classify_scores(input, labels, instruction, options => '{"scoring": "one_pass", "normalize": "mean", "calibrate": "content_free"}', model => NULLIF(:'model', ''))))
FROM asked
ORDER BY n;
