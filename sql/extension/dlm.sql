-- dlm: diffusion language models inside PostgreSQL.
--
-- The newest version in full; make copies this file to dlm--VERSION.sql.
-- Inference functions are STABLE: one model and one set of arguments give one
-- answer, whatever the plan, but a name may come to mean another model. They
-- are not STRICT, since a NULL option means its default. Option arguments
-- stand in one order everywhere; model is always the last.

\echo Use "CREATE EXTENSION dlm" to load this file. \quit

-- planner support: cost by length, rows of the set-returning functions

CREATE FUNCTION dlm_support(internal)
RETURNS internal
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'dlm_sql_support';
COMMENT ON FUNCTION dlm_support(internal) IS
	'planner support of the functions of dlm';

-- generate

CREATE FUNCTION dlm_generate(
	prompt text,
	max_tokens int DEFAULT 64,
	steps int DEFAULT NULL,
	temperature float8 DEFAULT 0,
	seed bigint DEFAULT 0,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS text
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_generate';
COMMENT ON FUNCTION dlm_generate(text, int, int, float8, bigint, jsonb, text) IS
	'generate text that follows a prompt';

CREATE FUNCTION dlm_generate(
	prompts text[],
	max_tokens int DEFAULT 64,
	steps int DEFAULT NULL,
	temperature float8 DEFAULT 0,
	seed bigint DEFAULT 0,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_generate_array';
COMMENT ON FUNCTION dlm_generate(text[], int, int, float8, bigint, jsonb, text) IS
	'generate a text for each prompt of an array, as one batch';

CREATE FUNCTION dlm_trace_generate(
	prompt text,
	max_tokens int DEFAULT 64,
	steps int DEFAULT NULL,
	temperature float8 DEFAULT 0,
	seed bigint DEFAULT 0,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS TABLE (step int, "position" int, id int, token text, logprob float8, event text, canvas text)
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 100 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_trace_generate';
COMMENT ON FUNCTION dlm_trace_generate(text, int, int, float8, bigint, jsonb, text) IS
	'show the denoising of dlm_generate: a row for each canvas position that a step changed';

CREATE FUNCTION dlm_predict_length(
	prompt text,
	k int DEFAULT 5,
	model text DEFAULT NULL
)
RETURNS TABLE (length int, logprob float8)
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 5 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_predict_length';
COMMENT ON FUNCTION dlm_predict_length(text, int, text) IS
	'the most likely lengths of an answer, from the length head of the model';

-- infill

CREATE FUNCTION dlm_infill(
	template text,
	steps int DEFAULT NULL,
	temperature float8 DEFAULT 0,
	seed bigint DEFAULT 0,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS text
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_infill';
COMMENT ON FUNCTION dlm_infill(text, int, float8, bigint, jsonb, text) IS
	'fill all gaps ([MASK], [MASK:5], [MASK:name:1-8]) of a template together';

CREATE FUNCTION dlm_infill(
	templates text[],
	steps int DEFAULT NULL,
	temperature float8 DEFAULT 0,
	seed bigint DEFAULT 0,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_infill_array';
COMMENT ON FUNCTION dlm_infill(text[], int, float8, bigint, jsonb, text) IS
	'fill the gaps of each template of an array, as one batch';

CREATE FUNCTION dlm_infill_gaps(
	template text,
	steps int DEFAULT NULL,
	temperature float8 DEFAULT 0,
	seed bigint DEFAULT 0,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS jsonb
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_infill_gaps';
COMMENT ON FUNCTION dlm_infill_gaps(text, int, float8, bigint, jsonb, text) IS
	'fill all gaps of a template and return only the gaps, by name or number';

CREATE FUNCTION dlm_trace(
	template text,
	steps int DEFAULT NULL,
	temperature float8 DEFAULT 0,
	seed bigint DEFAULT 0,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS TABLE (step int, "position" int, id int, token text, logprob float8, event text, canvas text)
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 100 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_trace';
COMMENT ON FUNCTION dlm_trace(text, int, float8, bigint, jsonb, text) IS
	'show the denoising of dlm_infill: a row for each canvas position that a step changed';

CREATE FUNCTION dlm_quote(value text)
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'dlm_sql_quote';
COMMENT ON FUNCTION dlm_quote(text) IS
	'escape a value for a template of dlm_infill, so that no part of it can open a gap';

-- classify

CREATE TYPE dlm_label AS (label text, probability float8, margin float8);
COMMENT ON TYPE dlm_label IS
	'answer of dlm_classify_full: the best label, its probability, and its lead over the second best';

CREATE FUNCTION dlm_classify(
	input text,
	labels text[],
	instruction text DEFAULT NULL,
	descriptions text[] DEFAULT NULL,
	examples jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS text
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_classify';
COMMENT ON FUNCTION dlm_classify(text, text[], text, text[], jsonb, jsonb, text) IS
	'the label that fits a text best';

CREATE FUNCTION dlm_classify(
	inputs text[],
	labels text[],
	instruction text DEFAULT NULL,
	descriptions text[] DEFAULT NULL,
	examples jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_classify_array';
COMMENT ON FUNCTION dlm_classify(text[], text[], text, text[], jsonb, jsonb, text) IS
	'the label that fits each text of an array best, as one batch';

CREATE FUNCTION dlm_classify_full(
	input text,
	labels text[],
	instruction text DEFAULT NULL,
	descriptions text[] DEFAULT NULL,
	examples jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS dlm_label
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_classify_full';
COMMENT ON FUNCTION dlm_classify_full(text, text[], text, text[], jsonb, jsonb, text) IS
	'the label that fits a text best, with its probability and its lead over the second best';

CREATE FUNCTION dlm_classify_scores(
	input text,
	labels text[],
	instruction text DEFAULT NULL,
	descriptions text[] DEFAULT NULL,
	examples jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS TABLE (label text, probability float8, logprob float8)
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 5 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_classify_scores';
COMMENT ON FUNCTION dlm_classify_scores(text, text[], text, text[], jsonb, jsonb, text) IS
	'all labels of a text with their probabilities, the best first';

CREATE FUNCTION dlm_classify_multi(
	input text,
	labels text[],
	instruction text DEFAULT NULL,
	descriptions text[] DEFAULT NULL,
	examples jsonb DEFAULT NULL,
	threshold float8 DEFAULT 0.5,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS text[]
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_classify_multi';
COMMENT ON FUNCTION dlm_classify_multi(text, text[], text, text[], jsonb, float8, jsonb, text) IS
	'all labels that fit a text, each judged on its own';

-- scores, tokens, embeddings

CREATE FUNCTION dlm_score(
	input text,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS float8
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_score';
COMMENT ON FUNCTION dlm_score(text, jsonb, text) IS
	'mean pseudo-log-likelihood of a text per token: low for odd texts';

CREATE FUNCTION dlm_token_scores(
	input text,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS TABLE ("position" int, id int, token text, logprob float8)
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 30 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_token_scores';
COMMENT ON FUNCTION dlm_token_scores(text, jsonb, text) IS
	'log-probability of each token of a text, masked alone';

CREATE FUNCTION dlm_embed(
	input text,
	model text DEFAULT NULL
)
RETURNS real[]
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_embed';
COMMENT ON FUNCTION dlm_embed(text, text) IS
	'mean-pooled hidden states of a text, of length 1';

CREATE FUNCTION dlm_embed_many(
	inputs text[],
	model text DEFAULT NULL
)
RETURNS TABLE (ordinality int, embedding real[])
LANGUAGE C STABLE PARALLEL SAFE COST 10000 ROWS 10 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_embed_many';
COMMENT ON FUNCTION dlm_embed_many(text[], text) IS
	'embeddings of the texts of an array, as one batch';

CREATE FUNCTION dlm_tokenize(
	input text,
	model text DEFAULT NULL
)
RETURNS TABLE ("position" int, id int, token text)
LANGUAGE C STABLE PARALLEL SAFE COST 100 ROWS 30 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_tokenize';
COMMENT ON FUNCTION dlm_tokenize(text, text) IS
	'the tokens of a text';

CREATE FUNCTION dlm_detokenize(
	ids int[],
	model text DEFAULT NULL
)
RETURNS text
LANGUAGE C STABLE PARALLEL SAFE COST 100 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_detokenize';
COMMENT ON FUNCTION dlm_detokenize(int[], text) IS
	'the text of token ids';

CREATE FUNCTION dlm_count_tokens(
	input text,
	model text DEFAULT NULL
)
RETURNS int
LANGUAGE C STABLE PARALLEL SAFE COST 100 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_count_tokens';
COMMENT ON FUNCTION dlm_count_tokens(text, text) IS
	'the number of tokens of a text';

-- models (registry)

-- end of models

-- monitoring

-- end of monitoring
