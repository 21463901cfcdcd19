-- dlm: diffusion language models inside PostgreSQL.
--
-- Version 1.0 in full. A released script is never changed: what comes later stands
-- in upgrade scripts, which CREATE EXTENSION runs after this one.
-- Inference functions are STABLE: one model and one set of arguments give one
-- answer, whatever the plan, but a name may come to mean another model. They
-- are not STRICT, since a NULL option means its default. Option arguments
-- stand in one order everywhere; model is always the last. The pinned forms
-- take a digest, as the first argument, in the place of a name: what it means
-- never changes, so they are IMMUTABLE.

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

CREATE FUNCTION dlm_trace_generate_html(
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
AS 'MODULE_PATHNAME', 'dlm_sql_trace_generate_html';
COMMENT ON FUNCTION dlm_trace_generate_html(text, int, int, float8, bigint, jsonb, text) IS
	'the denoising of dlm_generate as a page of HTML';

CREATE FUNCTION dlm_trace_generate_svg(
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
AS 'MODULE_PATHNAME', 'dlm_sql_trace_generate_svg';
COMMENT ON FUNCTION dlm_trace_generate_svg(text, int, int, float8, bigint, jsonb, text) IS
	'the denoising of dlm_generate as a picture (SVG)';

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

CREATE FUNCTION dlm_infill_row("row" anyelement, options jsonb DEFAULT NULL, model text DEFAULT NULL)
RETURNS anyelement
LANGUAGE C STABLE PARALLEL UNSAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_infill_row';
COMMENT ON FUNCTION dlm_infill_row(anyelement, jsonb, text) IS
	'fill the NULL columns of a row together, with values that its table allows';

CREATE FUNCTION dlm_infill_cells("row" anyelement, options jsonb DEFAULT NULL, model text DEFAULT NULL)
RETURNS jsonb
LANGUAGE C STABLE PARALLEL UNSAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_infill_cells';
COMMENT ON FUNCTION dlm_infill_cells(anyelement, jsonb, text) IS
	'what dlm_infill_row writes into each NULL column, as {"column": {"value": text, "confidence": 0..1}}';

CREATE FUNCTION dlm_infill_record(record jsonb, options jsonb DEFAULT NULL, model text DEFAULT NULL)
RETURNS jsonb
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_infill_record';
COMMENT ON FUNCTION dlm_infill_record(jsonb, jsonb, text) IS
	'fill the null members of a JSON object together';

CREATE FUNCTION dlm_trace_html(
	template text,
	steps int DEFAULT NULL,
	temperature float8 DEFAULT 0,
	seed bigint DEFAULT 0,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS text
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_trace_html';
COMMENT ON FUNCTION dlm_trace_html(text, int, float8, bigint, jsonb, text) IS
	'the denoising of dlm_infill as a page of HTML';

CREATE FUNCTION dlm_trace_svg(
	template text,
	steps int DEFAULT NULL,
	temperature float8 DEFAULT 0,
	seed bigint DEFAULT 0,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS text
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_trace_svg';
COMMENT ON FUNCTION dlm_trace_svg(text, int, float8, bigint, jsonb, text) IS
	'the denoising of dlm_infill as a picture (SVG)';

CREATE FUNCTION dlm_repair(
	input text,
	spans int4range[] DEFAULT NULL,
	threshold float8 DEFAULT 0.01,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS text
LANGUAGE C STABLE PARALLEL SAFE COST 20000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_repair';
COMMENT ON FUNCTION dlm_repair(text, int4range[], float8, jsonb, text) IS
	'write again what is improbable in a text, or the given ranges of its characters';

CREATE FUNCTION dlm_quote(value text)
RETURNS text
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'dlm_sql_quote';
COMMENT ON FUNCTION dlm_quote(text) IS
	'escape a value for a template of dlm_infill, so that no part of it can open a gap';

-- figures of answers

CREATE FUNCTION dlm_chrf(answer text, reference text)
RETURNS float8
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'dlm_sql_chrf';
COMMENT ON FUNCTION dlm_chrf(text, text) IS
	'how alike two texts are in runs of 1 to 6 characters: chrF2, 0 to 100';

CREATE FUNCTION dlm_rouge_l(answer text, reference text)
RETURNS float8
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'dlm_sql_rouge_l';
COMMENT ON FUNCTION dlm_rouge_l(text, text) IS
	'how alike two texts are in their longest common run of words: F1 of ROUGE-L, 0 to 1';

CREATE FUNCTION dlm_calibration_step(state float8[], probability float8, correct boolean)
RETURNS float8[]
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'dlm_sql_calibration_step';
COMMENT ON FUNCTION dlm_calibration_step(float8[], float8, boolean) IS 'of the aggregate dlm_calibration_error';

CREATE FUNCTION dlm_calibration_final(state float8[])
RETURNS float8
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'dlm_sql_calibration_final';
COMMENT ON FUNCTION dlm_calibration_final(float8[]) IS 'of the aggregate dlm_calibration_error';

CREATE AGGREGATE dlm_calibration_error(probability float8, correct boolean) (
	SFUNC = dlm_calibration_step,
	STYPE = float8[],
	FINALFUNC = dlm_calibration_final
);
COMMENT ON AGGREGATE dlm_calibration_error(float8, boolean) IS
	'mean distance between the probabilities of answers and the share of them that is right (ECE, 15 bins)';

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

CREATE FUNCTION dlm_examples_step(state internal, input text, label text)
RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'dlm_sql_examples_step';
COMMENT ON FUNCTION dlm_examples_step(internal, text, text) IS 'of the aggregate dlm_examples';

CREATE FUNCTION dlm_examples_final(state internal)
RETURNS jsonb
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'dlm_sql_examples_final';
COMMENT ON FUNCTION dlm_examples_final(internal) IS 'of the aggregate dlm_examples';

CREATE AGGREGATE dlm_examples(input text, label text) (
	SFUNC = dlm_examples_step,
	STYPE = internal,
	FINALFUNC = dlm_examples_final,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE dlm_examples(text, text) IS
	'rows as the argument examples of the classify functions';

CREATE FUNCTION dlm_nearest_examples(
	input text,
	examples jsonb,
	k int DEFAULT 4,
	model text DEFAULT NULL
)
RETURNS jsonb
LANGUAGE C STABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_nearest_examples';
COMMENT ON FUNCTION dlm_nearest_examples(text, jsonb, int, text) IS
	'the examples whose inputs are nearest to a text, the nearest last';

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

-- pinned forms

CREATE FUNCTION dlm_generate_pinned(
	digest text,
	prompt text,
	max_tokens int DEFAULT 64,
	steps int DEFAULT NULL,
	temperature float8 DEFAULT 0,
	seed bigint DEFAULT 0,
	options jsonb DEFAULT NULL
)
RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_generate_pinned';
COMMENT ON FUNCTION dlm_generate_pinned(text, text, int, int, float8, bigint, jsonb) IS
	'dlm_generate by the model of a digest';

CREATE FUNCTION dlm_infill_pinned(
	digest text,
	template text,
	steps int DEFAULT NULL,
	temperature float8 DEFAULT 0,
	seed bigint DEFAULT 0,
	options jsonb DEFAULT NULL
)
RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_infill_pinned';
COMMENT ON FUNCTION dlm_infill_pinned(text, text, int, float8, bigint, jsonb) IS
	'dlm_infill by the model of a digest';

CREATE FUNCTION dlm_classify_pinned(
	digest text,
	input text,
	labels text[],
	instruction text DEFAULT NULL,
	descriptions text[] DEFAULT NULL,
	examples jsonb DEFAULT NULL,
	options jsonb DEFAULT NULL
)
RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_classify_pinned';
COMMENT ON FUNCTION dlm_classify_pinned(text, text, text[], text, text[], jsonb, jsonb) IS
	'dlm_classify by the model of a digest';

CREATE FUNCTION dlm_embed_pinned(
	digest text,
	input text
)
RETURNS real[]
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10000 SUPPORT dlm_support
AS 'MODULE_PATHNAME', 'dlm_sql_embed_pinned';
COMMENT ON FUNCTION dlm_embed_pinned(text, text) IS
	'dlm_embed by the model of a digest';

-- models (registry)
--
-- A model is a foreign server of the wrapper dlm: its name, owner, rights,
-- comment and dump are the server's. GRANT USAGE ON FOREIGN SERVER lets a role
-- use a model; USAGE ON FOREIGN DATA WRAPPER dlm lets it make one, which is why
-- dlm_load_model itself needs no right of its own.

CREATE FUNCTION dlm_fdw_handler()
RETURNS fdw_handler
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dlm_sql_fdw_handler';
COMMENT ON FUNCTION dlm_fdw_handler() IS
	'handler of the wrapper dlm: says that models have no foreign tables';

CREATE FUNCTION dlm_fdw_validator(text[], oid)
RETURNS void
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dlm_sql_fdw_validator';
COMMENT ON FUNCTION dlm_fdw_validator(text[], oid) IS
	'validator of the options of a model: file, digest, training';

REVOKE EXECUTE ON FUNCTION dlm_fdw_handler() FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION dlm_fdw_validator(text[], oid) FROM PUBLIC;

CREATE FOREIGN DATA WRAPPER dlm HANDLER dlm_fdw_handler VALIDATOR dlm_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER dlm IS
	'its servers are the models of dlm';

CREATE SERVER "dlm-135m" FOREIGN DATA WRAPPER dlm
	OPTIONS (file 'bundled:29a2807098a32425181ad1511e2c9c5bca83480f7b2f05a91da99e59eb6cda1e', digest '29a2807098a32425181ad1511e2c9c5bca83480f7b2f05a91da99e59eb6cda1e');
COMMENT ON SERVER "dlm-135m" IS
	'the default model: SmolLM2-135M-Instruct adapted to masked diffusion';
GRANT USAGE ON FOREIGN SERVER "dlm-135m" TO PUBLIC;

CREATE FUNCTION dlm_load_model(
	name text,
	path text,
	options jsonb DEFAULT NULL,
	replace boolean DEFAULT false
)
RETURNS text
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dlm_sql_load_model';
COMMENT ON FUNCTION dlm_load_model(text, text, jsonb, boolean) IS
	'convert a checkpoint on the server into a model, or into the next one of the same name, and return its digest';

CREATE FUNCTION dlm_drop_model(name text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dlm_sql_drop_model';
COMMENT ON FUNCTION dlm_drop_model(text) IS
	'drop a model; its file stays';

CREATE TYPE dlm_model AS (
	name text, owner text, digest text, architecture text, parameters bigint, weights text, bytes bigint,
	context int, mask_token text, attention text, layers int, hidden int, vocab int, length_head boolean,
	license text, source text, mapped_by int, file text, problem text, training jsonb
);
COMMENT ON TYPE dlm_model IS
	'what is known of a model';

CREATE FUNCTION dlm_model_list()
RETURNS SETOF dlm_model
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 5
AS 'MODULE_PATHNAME', 'dlm_sql_model_list';
COMMENT ON FUNCTION dlm_model_list() IS
	'the models of this database, behind the view dlm_models';

CREATE VIEW dlm_models AS
	SELECT m.name, m.owner, m.digest, m.architecture, m.parameters, m.weights, m.bytes, m.context,
		   m.mask_token, m.license, m.mapped_by,
		   pg_catalog.obj_description(s.oid, 'pg_foreign_server') AS comment, m.problem
	FROM dlm_model_list() AS m
	JOIN pg_catalog.pg_foreign_server AS s ON s.srvname OPERATOR(pg_catalog.=) m.name::pg_catalog.name;
COMMENT ON VIEW dlm_models IS
	'the models of this database; what a file says is shown to those who may use the model';
GRANT SELECT ON dlm_models TO PUBLIC;

CREATE FUNCTION dlm_model_info(name text DEFAULT NULL)
RETURNS dlm_model
LANGUAGE C VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'dlm_sql_model_info';
COMMENT ON FUNCTION dlm_model_info(text) IS
	'all that is known of one model, or the error of using it';

CREATE FUNCTION dlm_model_files(
	OUT file text, OUT digest text, OUT bytes bigint, OUT used_by text[], OUT mapped_by int
)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'dlm_sql_model_files';
COMMENT ON FUNCTION dlm_model_files() IS
	'the files of the model directory and of packages, and which models of this database use them';
REVOKE EXECUTE ON FUNCTION dlm_model_files() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dlm_model_files() TO pg_read_server_files;

-- end of models

-- fine-tuning
--
-- A job outlives the transaction and the session that began it. Its row is
-- written by C code alone, as the owner of the table; it is part of no dump,
-- as its files are not. The query runs with the rights of the caller.

CREATE TABLE dlm_job (
	job_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	kind text NOT NULL,
	name text NOT NULL,
	base text,
	owner oid NOT NULL,
	state text NOT NULL,
	arguments jsonb NOT NULL,
	step bigint NOT NULL,
	steps bigint,
	tokens bigint NOT NULL,
	seconds float8,
	tokens_per_second float8,
	loss float8,
	accuracy float8,
	validation_loss float8,
	validation_accuracy float8,
	best_step bigint,
	started timestamptz NOT NULL,
	finished timestamptz,
	message text,
	digest text,
	pid int
);
COMMENT ON TABLE dlm_job IS
	'what the view dlm_jobs shows; written by the extension alone';
COMMENT ON SEQUENCE dlm_job_job_id_seq IS
	'numbers of jobs';
REVOKE ALL ON dlm_job FROM PUBLIC;

CREATE PROCEDURE dlm_finetune(
	name text,
	base text,
	query text,
	objective text DEFAULT 'instruction',
	validation_query text DEFAULT NULL,
	options jsonb DEFAULT NULL,
	INOUT job_id bigint DEFAULT NULL
)
LANGUAGE C
AS 'MODULE_PATHNAME', 'dlm_sql_finetune';
COMMENT ON PROCEDURE dlm_finetune(text, text, text, text, text, jsonb, bigint) IS
	'teach a model the task that the rows of a query show, and register the result under a new name';

CREATE FUNCTION dlm_job_rows(
	OUT job_id bigint, OUT kind text, OUT name text, OUT base text, OUT owner oid, OUT state text, OUT step bigint,
	OUT steps bigint, OUT tokens bigint, OUT tokens_per_second float8, OUT loss float8, OUT accuracy float8,
	OUT validation_loss float8, OUT validation_accuracy float8, OUT best_step bigint, OUT started timestamptz,
	OUT finished timestamptz, OUT eta interval, OUT message text, OUT pid int, OUT counts jsonb
)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'dlm_sql_job_rows';
COMMENT ON FUNCTION dlm_job_rows() IS
	'the jobs of the current user, behind the view dlm_jobs';

CREATE VIEW dlm_jobs AS
	SELECT j.job_id, j.kind, j.name, j.base, u.rolname AS owner, j.state, j.step, j.steps, j.tokens,
		   j.tokens_per_second, j.loss, j.accuracy, j.validation_loss, j.validation_accuracy, j.best_step,
		   j.started, j.finished, j.eta, j.message, j.pid, j.counts
	FROM dlm_job_rows() AS j
	LEFT JOIN pg_catalog.pg_roles AS u ON u.oid OPERATOR(pg_catalog.=) j.owner;
COMMENT ON VIEW dlm_jobs IS
	'trainings and fills of tables that run and that have run; those of other users need pg_read_all_stats';
GRANT SELECT ON dlm_jobs TO PUBLIC;

CREATE FUNCTION dlm_job_delete(job_id bigint)
RETURNS void
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dlm_sql_job_delete';
COMMENT ON FUNCTION dlm_job_delete(bigint) IS
	'delete a job that does not run, with the rows and the checkpoint that it keeps; a model that it made stays';

-- end of fine-tuning

-- calibration
--
-- What dlm_calibrate has fitted; read by classification as whoever calls it,
-- written by C code alone, as the owner of the table. It is part of dumps.

CREATE TABLE dlm_calibration (
	name text PRIMARY KEY,
	owner text NOT NULL,
	digest text NOT NULL,
	labels text[] NOT NULL,
	bias float8[] NOT NULL,
	scale float8 NOT NULL,
	rows bigint NOT NULL,
	fitted timestamptz NOT NULL
);
COMMENT ON TABLE dlm_calibration IS
	'biases of labels and temperatures that dlm_calibrate fitted, by the name that the option "calibration" takes';
GRANT SELECT ON dlm_calibration TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('dlm_calibration', '');

CREATE FUNCTION dlm_calibrate(name text, query text, options jsonb DEFAULT NULL, model text DEFAULT NULL)
RETURNS jsonb
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 1000000
AS 'MODULE_PATHNAME', 'dlm_sql_calibrate';
COMMENT ON FUNCTION dlm_calibrate(text, text, jsonb, text) IS
	'fit a temperature and a bias for each label on the labelled rows of a query, for the option "calibration" of dlm_classify';

CREATE FUNCTION dlm_calibration_drop(name text)
RETURNS void
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dlm_sql_calibration_drop';
COMMENT ON FUNCTION dlm_calibration_drop(text) IS
	'forget what dlm_calibrate fitted under a name';

-- end of calibration

-- filling tables

CREATE PROCEDURE dlm_infill_table(
	target regclass,
	columns name[] DEFAULT NULL,
	filter text DEFAULT NULL,
	batch int DEFAULT 500,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL,
	INOUT job_id bigint DEFAULT NULL
)
LANGUAGE C
AS 'MODULE_PATHNAME', 'dlm_sql_infill_table';
COMMENT ON PROCEDURE dlm_infill_table(regclass, name[], text, int, jsonb, text, bigint) IS
	'fill the NULL columns of a table''s rows, in committed batches that a later call can go on from';

CREATE FUNCTION dlm_infill_preview(
	target regclass,
	columns name[] DEFAULT NULL,
	filter text DEFAULT NULL,
	batch int DEFAULT 20,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS TABLE (key jsonb, "column" name, value text, confidence float8)
LANGUAGE C STABLE PARALLEL UNSAFE COST 100000 ROWS 20
AS 'MODULE_PATHNAME', 'dlm_sql_infill_preview';
COMMENT ON FUNCTION dlm_infill_preview(regclass, name[], text, int, jsonb, text) IS
	'what dlm_infill_table would write into the first rows of a table that have a gap';

CREATE FUNCTION dlm_infill_columns(target regclass)
RETURNS TABLE ("column" name, fills boolean, legal text, choices text[], reason text)
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'dlm_sql_infill_columns';
COMMENT ON FUNCTION dlm_infill_columns(regclass) IS
	'which columns of a table can be filled, and what the catalog says is legal in them';

CREATE FUNCTION dlm_infill_undo(provenance regclass, job_id bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dlm_sql_infill_undo';
COMMENT ON FUNCTION dlm_infill_undo(regclass, bigint) IS
	'set cells that fills have written, and that nobody has changed since, to NULL again';

CREATE FUNCTION dlm_outliers(
	target regclass,
	"column" name,
	filter text DEFAULT NULL,
	max_rows int DEFAULT 20,
	options jsonb DEFAULT NULL,
	model text DEFAULT NULL
)
RETURNS TABLE (key jsonb, value text, expected text, logprob float8)
LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 20
AS 'MODULE_PATHNAME', 'dlm_sql_outliers';
COMMENT ON FUNCTION dlm_outliers(regclass, name, text, int, jsonb, text) IS
	'the values of a column that are least probable beside the rest of their rows';

-- end of filling tables

-- monitoring

CREATE FUNCTION dlm_stats_rows(
	OUT userid oid, OUT dbid oid, OUT task text, OUT model text, OUT digest text, OUT calls bigint,
	OUT rows bigint, OUT batches bigint, OUT tokens bigint, OUT steps bigint, OUT ms float8,
	OUT cancelled bigint, OUT errors bigint, OUT cache_hits bigint
)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 20
AS 'MODULE_PATHNAME', 'dlm_sql_stats';
COMMENT ON FUNCTION dlm_stats_rows() IS
	'what has run, behind the view dlm_stats';

CREATE VIEW dlm_stats AS
	SELECT s.userid, u.rolname AS username, s.dbid, d.datname AS database, s.task,
		   'dlm_' OPERATOR(pg_catalog.||) s.task AS function, s.model, s.digest, s.calls, s.rows, s.batches,
		   s.tokens, s.steps, s.ms, s.cancelled, s.errors, s.cache_hits
	FROM dlm_stats_rows() AS s
	LEFT JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) s.dbid
	LEFT JOIN pg_catalog.pg_roles AS u ON u.oid OPERATOR(pg_catalog.=) s.userid;
COMMENT ON VIEW dlm_stats IS
	'what has run, by user, database, task and model; a function counts with the plainest one of its task; ms is compute time';
GRANT SELECT ON dlm_stats TO PUBLIC;

CREATE FUNCTION dlm_activity_rows(
	OUT pid int, OUT dbid oid, OUT userid oid, OUT leader_pid int, OUT query_id bigint, OUT phase text,
	OUT task text, OUT model text, OUT started timestamptz, OUT rows bigint, OUT rows_done bigint,
	OUT step int, OUT steps int, OUT tokens bigint, OUT tokens_per_s float8, OUT eta interval, OUT threads int
)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 20
AS 'MODULE_PATHNAME', 'dlm_sql_activity';
COMMENT ON FUNCTION dlm_activity_rows() IS
	'what runs now, behind the view dlm_activity';

CREATE VIEW dlm_activity AS
	SELECT a.pid, a.dbid, d.datname AS database, a.userid, u.rolname AS username, a.leader_pid, a.query_id,
		   a.phase, a.task, a.model, a.started, a.rows, a.rows_done, a.step, a.steps, a.tokens, a.tokens_per_s,
		   a.eta, a.threads
	FROM dlm_activity_rows() AS a
	LEFT JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) a.dbid
	LEFT JOIN pg_catalog.pg_roles AS u ON u.oid OPERATOR(pg_catalog.=) a.userid;
COMMENT ON VIEW dlm_activity IS
	'what runs now and how far it is; other users'' details need pg_read_all_stats';
GRANT SELECT ON dlm_activity TO PUBLIC;

CREATE FUNCTION dlm_stats_info(
	OUT stats_reset timestamptz, OUT kept_over_restart boolean, OUT shared boolean,
	OUT lost_calls bigint, OUT compute_slots_used int, OUT computing_sessions int, OUT max_threads int
)
RETURNS record
LANGUAGE C VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'dlm_sql_stats_info';
COMMENT ON FUNCTION dlm_stats_info() IS
	'since when dlm_stats counts, whether it outlives a restart (needs shared_preload_libraries), and compute threads in use';

CREATE FUNCTION dlm_stats_reset()
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dlm_sql_stats_reset';
COMMENT ON FUNCTION dlm_stats_reset() IS
	'forget all of dlm_stats';
REVOKE EXECUTE ON FUNCTION dlm_stats_reset() FROM PUBLIC;

CREATE FUNCTION dlm_cache_info(
	OUT bytes bigint, OUT used_bytes bigint, OUT answers bigint, OUT hits bigint, OUT misses bigint,
	OUT stored bigint, OUT evicted bigint, OUT not_stored bigint, OUT reset timestamptz
)
RETURNS record
LANGUAGE C VOLATILE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'dlm_sql_cache_info';
COMMENT ON FUNCTION dlm_cache_info() IS
	'the cache of answers (dlm.cache_mem): its memory, what it holds, and how often it had an answer';

CREATE FUNCTION dlm_cache_reset()
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'dlm_sql_cache_reset';
COMMENT ON FUNCTION dlm_cache_reset() IS
	'forget all answers of the cache, and what dlm_cache_info has counted';
REVOKE EXECUTE ON FUNCTION dlm_cache_reset() FROM PUBLIC;

-- end of monitoring
