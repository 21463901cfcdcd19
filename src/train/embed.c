/*
 * embed.c - the sum of embeddings, and what flows back into them.
 */
#include "net_impl.h"

/* The row of the input embedding: some ids of a model read another one than the output projection does. */
static dl_real *
embedding_row(const dl_params *p, int32_t id, bool grad)
{
	size_t		hidden = p->config.hidden;
	const dl_param *param = p->embed;
	size_t		row = (size_t) id;

	for (uint32_t i = 0; i < p->config.n_replaced; i++)
		if (p->config.replaced[i] == (uint32_t) id)
		{
			param = p->replaced;
			row = i;
		}
	if (grad)
		return param->grad != NULL ? param->grad + row * hidden : NULL;
	return param->value + row * hidden;
}

static size_t
position_row(const dl_net *net, int token)
{
	return ((size_t) net->position[token] + net->p->config.position_offset) * net->p->config.hidden;
}

void
dl_embed_run(dl_net *net)
{
	const dl_params *p = net->p;
	const dl_config *c = &p->config;
	size_t		hidden = c->hidden;

	for (int t = 0; t < net->n_tokens; t++)
	{
		dl_real    *x = net->sum + (size_t) t * hidden;
		const dl_real *row = embedding_row(p, net->id[t], false);

		for (size_t i = 0; i < hidden; i++)
			x[i] = row[i];
		if (p->position != NULL)
			dl_add_scaled(x, p->position->value + position_row(net, t), 1, hidden);
		if (p->type != NULL)
			dl_add_scaled(x, p->type->value, 1, hidden);
	}
	if (c->embed_norm)
		dl_norm_forward(c->norm, &p->embed_norm, c->norm_eps, net->sum, net->n_tokens, (int) hidden, net->x[0]);
	for (int t = 0; t < net->n_tokens; t++)
		dl_dropout(&net->drop, net->drop.hidden, DL_SITE_EMBED, (uint32_t) t, net->x[0] + (size_t) t * hidden,
				   (int) hidden);
}

void
dl_embed_back(dl_net *net)
{
	const dl_params *p = net->p;
	const dl_config *c = &p->config;
	size_t		hidden = c->hidden;
	dl_real    *g = net->work.g;

	for (int t = 0; t < net->n_tokens; t++)
		dl_dropout(&net->drop, net->drop.hidden, DL_SITE_EMBED, (uint32_t) t, g + (size_t) t * hidden, (int) hidden);
	if (c->embed_norm)
		dl_norm_backward(c->norm, &p->embed_norm, c->norm_eps, net->sum, g, net->n_tokens, (int) hidden, false, g);
	for (int t = 0; t < net->n_tokens; t++, g += hidden)
	{
		dl_real    *row = embedding_row(p, net->id[t], true);

		if (row != NULL)
			dl_add_scaled(row, g, 1, hidden);
		if (p->position != NULL && p->position->grad != NULL)
			dl_add_scaled(p->position->grad + position_row(net, t), g, 1, hidden);
		if (p->type != NULL && p->type->grad != NULL)
			dl_add_scaled(p->type->grad, g, 1, hidden);
	}
}
