/*
 * embed.c - the sum of embeddings, and what flows back into them.
 */
#include "net_impl.h"

#include <string.h>

/* The row of the input embedding: some ids of a model read another one than the output projection does. */
static dl_param *
embedding_of(const dl_params *p, int32_t id, size_t *row)
{
	for (uint32_t i = 0; i < p->config.n_replaced; i++)
		if (p->config.replaced[i] == (uint32_t) id)
		{
			*row = i;
			return p->replaced;
		}
	*row = (size_t) id;
	return p->embed;
}

static void
look_up(const dl_net *net, int32_t id, dl_real *x)
{
	const dl_params *p = net->p;
	size_t		hidden = p->config.hidden;
	size_t		row;
	const dl_param *e = embedding_of(p, id, &row);

	if (net->teaching && e->grad != NULL)	/* the replaced rows train: the teacher's are the file's */
		dl_unpack_rows(e->entry, p->model->base + e->entry->offset, row, 1, x);
	else if (e->value != NULL)
		memcpy(x, e->value + row * hidden, hidden * sizeof(dl_real));
	else
		dl_weight_row(&p->model->embed, (int) row, x);
}

static size_t
position_row(const dl_net *net, int token)
{
	return ((size_t) net->position[token] + net->p->config.position_offset) * net->p->config.hidden;
}

static void
drop_row(const dl_net *net, int token, dl_real *x)
{
	dl_dropout(&net->drop, net->drop.hidden, DL_SITE_EMBED, net->drop.first + (uint32_t) token, x, (int) net->p->config.hidden);
}

static void
embed(dl_net *net, const dl_span *s)
{
	const dl_params *p = net->p;
	const dl_config *c = &p->config;
	size_t		hidden = c->hidden;

	for (int t = s->first; t < s->end; t++)
	{
		dl_real    *x = dl_row(net->sum, t);

		look_up(net, net->id[t], x);
		if (p->position != NULL)
			dl_add_scaled(x, p->position->value + position_row(net, t), 1, hidden);
		if (p->type != NULL)
			dl_add_scaled(x, p->type->value, 1, hidden);
		if (c->embed_norm)
			dl_norm_forward(c->norm, &p->embed_norm, c->norm_eps, x, (int) hidden, dl_row(net->x[0], t));
		drop_row(net, t, dl_row(net->x[0], t));
	}
}

void
dl_embed_run(dl_net *net)
{
	dl_stage(net, 0, net->n_tokens, embed);
}

static void
norm_back(dl_net *net, const dl_span *s)
{
	const dl_config *c = &net->p->config;
	const dl_norm_params *p = &net->p->embed_norm;
	int			hidden = (int) c->hidden;

	for (int t = s->first; t < s->end; t++)
	{
		dl_real    *g = dl_row(net->work.g, t);

		drop_row(net, t, g);
		if (c->embed_norm)
			dl_norm_backward(c->norm, p, c->norm_eps, dl_row(net->sum, t), g, hidden, false, g,
							 dl_norm_sums_w(net, p, hidden, s->item), dl_norm_sums_b(net, p, hidden, s->item));
	}
}

/* Rows of embeddings, token after token: tokens may be equal. */
static void
add_to_rows(dl_net *net)
{
	const dl_params *p = net->p;
	size_t		hidden = p->config.hidden;

	for (int t = 0; t < net->n_tokens; t++)
	{
		const dl_real *g = dl_row(net->work.g, t);
		size_t		row;
		dl_param   *e = embedding_of(p, net->id[t], &row);

		if (e->grad != NULL)
			dl_add_scaled(e->grad + row * hidden, g, 1, hidden);
		if (p->position != NULL && p->position->grad != NULL)
			dl_add_scaled(p->position->grad + position_row(net, t), g, 1, hidden);
		if (p->type != NULL && p->type->grad != NULL)
			dl_add_scaled(p->type->grad, g, 1, hidden);
	}
}

void
dl_embed_back(dl_net *net)
{
	const dl_norm_params *p = &net->p->embed_norm;
	int			hidden = (int) net->p->config.hidden;

	if (net->p->config.embed_norm)
		dl_norm_sums_clear(net, p, hidden);
	dl_stage(net, 0, net->n_tokens, norm_back);
	if (net->p->config.embed_norm)
		dl_norm_sums_add(net, p, hidden);
	if (!net->exec.stopped)
		add_to_rows(net);
}
