/*
 * t_score.c - score, token scores, embeddings and predicted lengths against PyTorch.
 */
#include "tiny_model.h"

#define TOLERANCE	3e-4

static const char *const models[] = {"bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "paper", "llama", "context",
"untied", "qwen2", "qwen3"};

static dlm_request
request_of(dlm_task task, const char *text, const dlm_options *options)
{
	return (dlm_request) {.task = task, .input = tiny_text(text), .options = options};
}

static void
score_agrees_with_pytorch(const tiny_model *m, const char *model, const cJSON *text)
{
	static const struct
	{
		const char *key;
		int			passes;
	}			ways[] = {{"score", 0}, {"score3", 3}, {"score", 8}};
	const char *input = tiny_get(text, "input")->valuestring;
	const cJSON *tokens = tiny_get(text, "tokens");
	int			n = cJSON_GetArraySize(tokens);
	dlm_options exact = {.passes = -1};
	dlm_error	err = {0};
	dlm_request r;
	dlm_session *s;
	double		sum = 0;

	for (int i = 0; i < 3; i++)
	{
		dlm_options options = {.passes = ways[i].passes};
		double		want = tiny_get(text, ways[i].key)->valuedouble;

		r = request_of(DLM_SCORE, input, &options);
		s = tiny_run(m, &r, 1, NULL, &err);
		CHECK(s != NULL, "%s: %s", model, err.message);
		if (s == NULL)
			return;
		CHECK(fabs(dlm_session_result(s, 0)->logprob - want) < TOLERANCE, "%s %s: %.6f, PyTorch %.6f", model,
			  ways[i].key, dlm_session_result(s, 0)->logprob, want);
		dlm_session_close(s);
	}
	for (int i = 0; i < n; i++)
		sum += cJSON_GetArrayItem(tokens, i)->valuedouble;
	r = request_of(DLM_SCORE, input, &exact);
	s = tiny_run(m, &r, 1, NULL, &err);
	CHECK(s != NULL && fabs(dlm_session_result(s, 0)->logprob - sum / n) < TOLERANCE, "%s exact", model);
	if (s != NULL)
		dlm_session_close(s);
}

static void
token_scores_agree_with_pytorch(const tiny_model *m, const char *model, const cJSON *text)
{
	const cJSON *tokens = tiny_get(text, "tokens");
	const cJSON *ids = tiny_get(text, "ids");
	dlm_request r = request_of(DLM_TOKEN_SCORES, tiny_get(text, "input")->valuestring, NULL);
	dlm_error	err = {0};
	dlm_session *s = tiny_run(m, &r, 1, NULL, &err);
	const dlm_result *result;

	CHECK(s != NULL, "%s: %s", model, err.message);
	if (s == NULL)
		return;
	result = dlm_session_result(s, 0);
	CHECK(result->n_tokens == cJSON_GetArraySize(tokens), "%s: %d tokens, %s", model, result->n_tokens,
		  result->error.message);
	for (int i = 0; i < result->n_tokens; i++)
	{
		double		want = cJSON_GetArrayItem(tokens, i)->valuedouble;

		CHECK(result->tokens[i].id == cJSON_GetArrayItem(ids, i)->valueint, "%s token %d", model, i);
		CHECK(fabs(result->tokens[i].logprob - want) < 2 * TOLERANCE, "%s token %d: %.6f, PyTorch %.6f", model, i,
			  result->tokens[i].logprob, want);
	}
	dlm_session_close(s);
}

static void
embedding_agrees_with_pytorch(const tiny_model *m, const char *model, const cJSON *text)
{
	const cJSON *want = tiny_get(text, "embedding");
	dlm_request r = request_of(DLM_EMBED, tiny_get(text, "input")->valuestring, NULL);
	dlm_error	err = {0};
	dlm_session *s = tiny_run(m, &r, 1, NULL, &err);
	const dlm_result *result;
	double		norm = 0;

	CHECK(s != NULL, "%s: %s", model, err.message);
	if (s == NULL)
		return;
	result = dlm_session_result(s, 0);
	CHECK(result->n_embedding == cJSON_GetArraySize(want), "%s: %d", model, result->n_embedding);
	for (int i = 0; i < result->n_embedding; i++)
	{
		CHECK(fabs(result->embedding[i] - cJSON_GetArrayItem(want, i)->valuedouble) < 1e-4, "%s element %d", model, i);
		norm += (double) result->embedding[i] * result->embedding[i];
	}
	CHECK(fabs(norm - 1) < 1e-5, "%s: norm %.8f", model, norm);
	dlm_session_close(s);
}

static void
lengths_agree_with_pytorch(const tiny_model *m, const char *model, const cJSON *text)
{
	const cJSON *want = tiny_get(text, "lengths");
	dlm_options options = {.top_lengths = 7};
	dlm_request r = request_of(DLM_PREDICT_LENGTH, tiny_get(text, "input")->valuestring, &options);
	dlm_error	err = {0};
	dlm_session *s = tiny_run(m, &r, 1, NULL, &err);
	const dlm_result *result;

	CHECK(s != NULL, "%s: %s", model, err.message);
	if (s == NULL)
		return;
	result = dlm_session_result(s, 0);
	if (want == NULL)
		CHECK(result->error.status == DLM_EUNSUPPORTED && result->error.hint[0] != 0, "%s: %s", model,
			  result->error.message);
	else
		CHECK(result->n_lengths == 7, "%s: %d lengths, %s", model, result->n_lengths, result->error.message);
	for (int i = 0; i < result->n_lengths; i++)
	{
		const dlm_length_score *l = &result->lengths[i];

		CHECK(fabs(l->logprob - cJSON_GetArrayItem(want, l->length - 1)->valuedouble) < TOLERANCE, "%s length %d",
			  model, l->length);
		CHECK(i == 0 || l->logprob <= l[-1].logprob, "%s: lengths out of order at %d", model, i);
	}
	for (int c = 0; want != NULL && result->n_lengths > 0 && c < cJSON_GetArraySize(want); c++)
		CHECK(cJSON_GetArrayItem(want, c)->valuedouble <= result->lengths[0].logprob + TOLERANCE, "%s class %d", model,
			  c);
	dlm_session_close(s);
}

static bool
same_result(const dlm_result *a, const dlm_result *b)
{
	return a->error.status == b->error.status && tiny_same(&a->logprob, &b->logprob, sizeof(double)) &&
		a->n_tokens == b->n_tokens && tiny_same(a->tokens, b->tokens, (size_t) a->n_tokens * sizeof(*a->tokens)) &&
		a->n_embedding == b->n_embedding &&
		tiny_same(a->embedding, b->embedding, (size_t) a->n_embedding * sizeof(float)) &&
		a->n_lengths == b->n_lengths &&
		tiny_same(a->lengths, b->lengths, (size_t) a->n_lengths * sizeof(*a->lengths));
}

static void
batch_equals_single(const tiny_model *m, const char *model, const cJSON *texts)
{
	static const dlm_task tasks[] = {DLM_SCORE, DLM_TOKEN_SCORES, DLM_EMBED, DLM_PREDICT_LENGTH};
	dlm_request requests[32];
	dlm_env		env = {.threads = 3};
	dlm_error	err = {0};
	const cJSON *text;
	dlm_session *all;
	int			n = 0;

	cJSON_ArrayForEach(text, texts)
		for (int t = 0; t < 4; t++)
			requests[n++] = request_of(tasks[t], tiny_get(text, "input")->valuestring, NULL);
	all = tiny_run(m, requests, n, &env, &err);
	CHECK(all != NULL, "%s: %s", model, err.message);
	for (int i = 0; i < n && all != NULL; i++)
	{
		dlm_session *one = tiny_run(m, &requests[i], 1, NULL, &err);

		CHECK(one != NULL && same_result(dlm_session_result(all, i), dlm_session_result(one, 0)), "%s request %d",
			  model, i);
		if (one != NULL)
			dlm_session_close(one);
	}
	if (all != NULL)
		dlm_session_close(all);
}

static void
expect(const tiny_model *m, const dlm_request *request, dlm_status status, const char *says, int tokens)
{
	dlm_error	err = {0};
	dlm_session *s = tiny_run(m, request, 1, NULL, &err);
	const dlm_result *r;

	CHECK(s != NULL, "session failed: %s", err.message);
	if (s == NULL)
		return;
	r = dlm_session_result(s, 0);
	CHECK(r->error.status == status && strstr(r->error.message, says) != NULL && r->n_tokens == tokens,
		  "want %d \"%s\", got %d \"%s\", %d tokens", status, says, r->error.status, r->error.message, r->n_tokens);
	dlm_session_close(s);
}

static void
edges_have_clear_answers(const tiny_model *m)
{
	enum { SIZE = 5000 };
	static char text[SIZE + 1];
	dlm_options cut = {.overflow = DLM_OVERFLOW_TRUNCATE};
	dlm_request r = request_of(DLM_SCORE, "", NULL);

	expect(m, &r, DLM_EINVAL, "no tokens", 0);
	r.task = DLM_TOKEN_SCORES;
	expect(m, &r, DLM_OK, "", 0);
	r.task = DLM_EMBED;
	expect(m, &r, DLM_OK, "", 0);
	for (int i = 0; i < SIZE; i++)
		text[i] = (char) ('0' + i % 10);
	r.input = (dlm_text) {text, SIZE};
	expect(m, &r, DLM_ETOOLONG, "leaves room for 256", 0);
	r.options = &cut;
	expect(m, &r, DLM_OK, "", 0);
	r.input.len = 300;
	r.task = DLM_TOKEN_SCORES;
	r.options = NULL;
	expect(m, &r, DLM_ETOOLONG, "leaves room for 256", 0);
	r.input = tiny_text("\xff");
	expect(m, &r, DLM_EENCODING, "", 0);
}

int
main(void)
{
	tiny_model	m;

	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
	{
		char		path[256];
		cJSON	   *json;
		const cJSON *text;

		snprintf(path, sizeof(path), "test/vectors/labels/%s.json", models[i]);
		json = tiny_json(path);
		CHECK(cJSON_GetArraySize(tiny_get(json, "texts")) > 0, "no vectors in %s", path);
		if (tiny_open(models[i], &m))
		{
			cJSON_ArrayForEach(text, tiny_get(json, "texts"))
			{
				score_agrees_with_pytorch(&m, models[i], text);
				token_scores_agree_with_pytorch(&m, models[i], text);
				embedding_agrees_with_pytorch(&m, models[i], text);
				lengths_agree_with_pytorch(&m, models[i], text);
			}
			batch_equals_single(&m, models[i], tiny_get(json, "texts"));
		}
		tiny_close(&m);
		cJSON_Delete(json);
	}
	if (tiny_open("context", &m))
		edges_have_clear_answers(&m);
	tiny_close(&m);
	return harness_end("t_score");
}
