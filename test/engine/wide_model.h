/*
 * wide_model.h - a tiny checkpoint whose vocabulary is made wider than a block:
 * input embedding and head are one random matrix of as many rows as wanted.
 */
#ifndef WIDE_MODEL_H
#define WIDE_MODEL_H

#include <math.h>

#include "fixture.h"
#include "logprob.h"

typedef struct wide_model
{
	fixture		base;
	dlm_model	model;			/* a copy with another matrix */
	void	   *weights;
	float	   *bias;
} wide_model;

static uint64_t wide_state = 0x9e3779b97f4a7c15u;

static inline uint32_t
wide_random(void)
{
	wide_state ^= wide_state << 13;
	wide_state ^= wide_state >> 7;
	wide_state ^= wide_state << 17;
	return (uint32_t) (wide_state >> 32);
}

/* In [-1, 1) */
static inline float
wide_number(void)
{
	return (float) (wide_random() >> 8) * 0x1p-23f - 1.0f;
}

/* A panel of int8 weights, in groups of k, scales and sums behind each group. */
static inline void
wide_fill_s8(int8_t *panel, int k)
{
	int			k4 = (k + 3) / 4;

	for (int g = 0; g < dl_groups(k4); g++)
	{
		dl_s8_group group = dl_s8_group_at(panel, k4, g);
		int8_t	   *w = panel + (group.w - panel);
		float	   *scale = (float *) (w + group.steps * 4 * DL_PANEL);
		int32_t    *sum = (int32_t *) (scale + DL_PANEL);

		for (int l = 0; l < DL_PANEL; l++)
			scale[l] = 3e-3f * (1 + (float) (l % 5));
		for (int i = 0; i < group.steps * 4 * DL_PANEL; i++)
		{
			int			step = g * DL_GROUP + i / (4 * DL_PANEL) * 4 + i % 4;

			w[i] = (int8_t) (step < k ? (int) (wide_random() % (2 * DL_MOST_S8 + 1)) - DL_MOST_S8 : 0);
			sum[i / 4 % DL_PANEL] += w[i];
		}
	}
}

static inline void
wide_fill(wide_model *w, dl_dtype dtype, size_t panels, size_t k)
{
	size_t		s8 = dl_s8_panel_bytes(((int) k + 3) / 4);

	w->weights = calloc(panels, 2 * k * DL_PANEL * sizeof(float) + s8);
	for (size_t i = 0; dtype == DL_I8 && i < panels; i++)
		wide_fill_s8((int8_t *) w->weights + i * s8, (int) k);
	for (size_t i = 0; dtype != DL_I8 && i < panels * k * DL_PANEL; i++)
	{
		float		x = wide_number() * 0.5f;
		uint32_t	bits;

		memcpy(&bits, &x, sizeof(bits));
		if (dtype == DL_F32)
			((float *) w->weights)[i] = x;
		else
			((uint16_t *) w->weights)[i] = (uint16_t) (bits >> 16);
	}
}

static inline bool
wide_open(const char *name, dl_dtype dtype, int vocab, wide_model *w)
{
	size_t		panels = ((size_t) vocab + DL_PANEL - 1) / DL_PANEL;
	dl_matrix	m;

	memset(w, 0, sizeof(*w));
	if (!fixture_open(name, DLM_WEIGHTS_F32, &w->base))
		return false;
	w->model = *w->base.model;
	w->bias = calloc((size_t) vocab, sizeof(float));
	for (int i = 0; i < vocab; i++)
		w->bias[i] = wide_number();
	wide_fill(w, dtype, panels, w->model.config.hidden);
	m = (dl_matrix) {.dtype = dtype, .n = vocab, .k = (int) w->model.config.hidden, .data = w->weights};
	w->model.embed = m;
	m.bias = w->bias;
	w->model.head = m;
	w->model.config.vocab = (uint32_t) vocab;
	return true;
}

static inline void
wide_close(wide_model *w)
{
	free(w->weights);
	free(w->bias);
	fixture_close(&w->base);
}

/* log of the sum of exp over logits, those at -inf left out. */
static inline double
wide_log_sum_exp(const float *x, int n)
{
	double		most = -INFINITY,
				sum = 0;

	for (int i = 0; i < n; i++)
		most = fmax(most, x[i]);
	for (int i = 0; i < n; i++)
		sum += exp(x[i] - most);
	return most + log(sum);
}

#endif							/* WIDE_MODEL_H */
