/*
 * rope.c - rotary position embeddings: frequencies and the rows of the tables.
 *
 * The tables lie in the file (DESIGN 5), computed in double by our own sine,
 * cosine and power, so that they are the same bits on any machine.
 */
#include "convert.h"

#include "fmath.h"
#include "status.h"

/* Llama 3's rule: long waves are stretched by `factor`, short ones kept, those between blended linearly. */
static double
scale_llama3(const dl_rope *r, double freq)
{
	double		wavelength = 2 * 3.14159265358979323846 / freq,
				blend;

	if (wavelength < r->original_context / r->high_freq_factor)
		return freq;
	if (wavelength > r->original_context / r->low_freq_factor)
		return freq / r->factor;
	blend = (r->original_context / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
	return (1 - blend) * freq / r->factor + blend * freq;
}

dlm_status
dl_rope_frequencies(const dl_arch *arch, double *freq, dlm_error *err)
{
	const dl_rope *r = &arch->rope;
	int			d = (int) arch->config.head_dim;
	float		factor;
	uint8_t		raw[4];

	for (int i = 0; i < d / 2; i++)
	{
		freq[i] = dl_pow(r->theta, -2.0 * i / d);
		if (r->kind == DL_ROPE_LINEAR)
			freq[i] /= r->factor;
		else if (r->kind == DL_ROPE_LLAMA3)
			freq[i] = scale_llama3(r, freq[i]);
		if (r->factors != NULL)
		{
			dlm_status	st;

			if (r->factors->storage != DL_ST_F32 || r->factors->bytes != 4 * (uint64_t) (d / 2))
				return dl_fail(err, DLM_EDAMAGED, "", "tensor \"rope_freqs.weight\" has an invalid shape");
			st = dl_file_read(r->factors->file, r->factors->offset + 4 * (uint64_t) i, raw, 4, err);
			if (st != DLM_OK)
				return st;
			dl_dequantize(DL_ST_F32, raw, 1, &factor);
			if (!(factor >= 1e-6f && factor <= 1e6f))
				return dl_fail(err, DLM_EDAMAGED, "", "tensor \"rope_freqs.weight\" has invalid values");
			freq[i] /= factor;
		}
	}
	return DLM_OK;
}

void
dl_rope_row(const double *freq, int half, uint64_t position, float *cosines, float *sines)
{
	for (int i = 0; i < half; i++)
	{
		double		angle = (double) position * freq[i];

		cosines[i] = (float) dl_cos(angle);
		sines[i] = (float) dl_sin(angle);
	}
}
