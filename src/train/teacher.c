/*
 * teacher.c - what the base's own left-to-right model makes of the asks that
 * learn from it; see net.h.
 *
 * Its batch goes through the student's buffers before the student's own does,
 * since nothing of it is needed for a derivative but what the output
 * projection reads. Attention is causal, so a row ends where the last state
 * that teaches stands, and rows without one are left out.
 */
#include "net_impl.h"

#include <string.h>

/* The last position that is taught, -1: none. */
static int
last_taught(const dl_example *e)
{
	int			last = -1;

	for (int i = 0; e->taught != NULL && i < e->n_ask; i++)
		if (e->taught[i] > 0)
			last = dl_larger(last, e->ask[i]);
	return last;
}

/* The row with its targets where they belong, as far as the state that predicts position `last`. */
static void
add_clean_row(dl_net *net, const dl_example *e, int last)
{
	int			n = last - (int) net->p->config.logit_shift + 1;
	int32_t    *ids = net->id + net->n_tokens;

	dl_batch_row(net, e->ids, n);
	for (int i = 0; i < e->n_ask; i++)
	{
		if (e->ask[i] < n)
			ids[e->ask[i]] = e->target[i];
		if (e->taught[i] > 0)
			dl_batch_ask(net, e->ask[i]);
	}
}

void
dl_teacher_run(dl_net *net, const dl_example *rows, int n_rows)
{
	dl_head_state *h = &net->head;

	dl_batch_begin(net);
	for (int i = 0; i < n_rows; i++)
	{
		int			last = last_taught(&rows[i]);

		if (last >= 0)
			add_clean_row(net, &rows[i], last);
	}
	if (net->n_rows == 0)
		return;
	dl_batch_end(net);
	net->drop = (dl_drop) {0};
	net->work.dense.drop = NULL;
	net->teaching = true;
	dl_batch_run(net);
	net->teaching = false;
	for (int i = 0; i < net->n_asks; i++)
		memcpy(dl_row(h->teacher, i), dl_row(h->x, i), net->p->config.hidden * sizeof(dl_real));
}
