/*
 * gguf_dequant.c - stored elements to f32, exactly as each format defines it.
 *
 * The arithmetic (order of multiplications, no fused operations) is that of
 * the format's reference, so the values are the same bits. Formats:
 * ggml's block layouts, little-endian; half and bfloat16 as IEEE and Google
 * define them.
 */
#include "source.h"

#include <string.h>

typedef struct dl_block_size
{
	uint16_t	elements;
	uint16_t	bytes;
} dl_block_size;

static const dl_block_size block_sizes[] = {
	[DL_ST_F32] = {1, 4}, [DL_ST_F16] = {1, 2}, [DL_ST_BF16] = {1, 2},
	[DL_ST_Q4_0] = {32, 18}, [DL_ST_Q4_1] = {32, 20}, [DL_ST_Q5_0] = {32, 22}, [DL_ST_Q5_1] = {32, 24},
	[DL_ST_Q8_0] = {32, 34}, [DL_ST_Q4_K] = {256, 144}, [DL_ST_Q5_K] = {256, 176}, [DL_ST_Q6_K] = {256, 210},
	[DL_ST_OTHER] = {1, 0},
};

uint32_t
dl_storage_block(dl_storage st)
{
	return block_sizes[st].elements;
}

uint32_t
dl_storage_block_bytes(dl_storage st)
{
	return block_sizes[st].bytes;
}

uint64_t
dl_storage_bytes(dl_storage st, uint64_t n)
{
	uint64_t	bytes;

	if (n % block_sizes[st].elements != 0 ||
		__builtin_mul_overflow(n / block_sizes[st].elements, (uint64_t) block_sizes[st].bytes, &bytes))
		return 0;
	return bytes;
}

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t) (p[0] | p[1] << 8);
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static float
float_of_bits(uint32_t bits)
{
	float		f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

float
dl_half_to_float(uint16_t h)
{
	uint32_t	sign = (uint32_t) (h & 0x8000) << 16;
	uint32_t	exponent = (h >> 10) & 31;
	uint32_t	fraction = h & 1023;

	if (exponent == 31)
		return float_of_bits(sign | 0x7f800000 | fraction << 13);
	if (exponent != 0)
		return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
	/* subnormal: fraction * 2^-24, exact in f32 */
	return float_of_bits(sign | 0) + (sign ? -1.0f : 1.0f) * (float) fraction * 0x1p-24f;
}

static float
half_at(const uint8_t *p)
{
	return dl_half_to_float(get16(p));
}

/* Q4_0: d, 16 bytes; element j is the low nibble of byte j, element j + 16 the high one; (q - 8) d. */
static void
block_q4_0(const uint8_t *b, float *out)
{
	float		d = half_at(b);

	for (int j = 0; j < 16; j++)
	{
		out[j] = (float) ((b[2 + j] & 15) - 8) * d;
		out[j + 16] = (float) ((b[2 + j] >> 4) - 8) * d;
	}
}

/* Q4_1: d, m; q d + m. */
static void
block_q4_1(const uint8_t *b, float *out)
{
	float		d = half_at(b),
				m = half_at(b + 2);

	for (int j = 0; j < 16; j++)
	{
		out[j] = (float) (b[4 + j] & 15) * d + m;
		out[j + 16] = (float) (b[4 + j] >> 4) * d + m;
	}
}

/* Q5_0: d, 32 high bits, nibbles; (q - 16) d. */
static void
block_q5_0(const uint8_t *b, float *out)
{
	float		d = half_at(b);
	uint32_t	high = get32(b + 2);

	for (int j = 0; j < 16; j++)
	{
		int			lo = (b[6 + j] & 15) | (int) (high >> j & 1) << 4;
		int			hi = (b[6 + j] >> 4) | (int) (high >> (j + 16) & 1) << 4;

		out[j] = (float) (lo - 16) * d;
		out[j + 16] = (float) (hi - 16) * d;
	}
}

/* Q5_1: d, m, 32 high bits, nibbles; q d + m. */
static void
block_q5_1(const uint8_t *b, float *out)
{
	float		d = half_at(b),
				m = half_at(b + 2);
	uint32_t	high = get32(b + 4);

	for (int j = 0; j < 16; j++)
	{
		int			lo = (b[8 + j] & 15) | (int) (high >> j & 1) << 4;
		int			hi = (b[8 + j] >> 4) | (int) (high >> (j + 16) & 1) << 4;

		out[j] = (float) lo * d + m;
		out[j + 16] = (float) hi * d + m;
	}
}

static void
block_q8_0(const uint8_t *b, float *out)
{
	float		d = half_at(b);

	for (int j = 0; j < 32; j++)
		out[j] = (float) (int8_t) b[2 + j] * d;
}

/* The eight 6-bit scales and minima of a K block, packed in 12 bytes. */
static void
scale_min(const uint8_t *s, int j, int *scale, int *min)
{
	if (j < 4)
	{
		*scale = s[j] & 63;
		*min = s[j + 4] & 63;
	}
	else
	{
		*scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
		*min = (s[j + 4] >> 4) | (s[j] >> 6) << 4;
	}
}

/*
 * Q4_K (high == NULL) and Q5_K: d, dmin, 12 bytes of scales, (32 bytes of
 * high bits,) 128 bytes of nibbles. Sub-block j has 32 elements; pairs of
 * sub-blocks share 32 bytes, the even one in the low nibbles. q (d s) - (dmin m).
 */
static void
block_k45(const uint8_t *b, const uint8_t *high, const uint8_t *nibbles, float *out)
{
	float		d = half_at(b),
				dmin = half_at(b + 2);

	for (int j = 0; j < 8; j++)
	{
		const uint8_t *q = nibbles + (j / 2) * 32;
		int			scale,
					min;
		float		ds,
					dm;

		scale_min(b + 4, j, &scale, &min);
		ds = d * (float) scale;
		dm = dmin * (float) min;
		for (int l = 0; l < 32; l++)
		{
			int			v = (j & 1) ? q[l] >> 4 : q[l] & 15;

			if (high != NULL)
				v |= (high[l] >> j & 1) << 4;
			out[j * 32 + l] = ds * (float) v - dm;
		}
	}
}

/* Q6_K: 128 bytes of low nibbles, 64 of high bit pairs, 16 scales of 16 elements, d; (d s) (q - 32). */
static void
block_q6_k(const uint8_t *b, float *out)
{
	const uint8_t *low = b,
			   *high = b + 128;
	const int8_t *scales = (const int8_t *) (b + 192);
	float		d = half_at(b + 208);

	for (int half = 0; half < 2; half++, low += 64, high += 32, scales += 8, out += 128)
		for (int l = 0; l < 32; l++)
			for (int part = 0; part < 4; part++)
			{
				int			byte = low[l + 32 * (part & 1)];
				int			q = (part < 2 ? byte & 15 : byte >> 4) | (high[l] >> (2 * part) & 3) << 4;

				out[l + 32 * part] = d * (float) scales[l / 16 + 2 * part] * (float) (q - 32);
			}
}

static void
dequantize_block(dl_storage st, const uint8_t *b, float *out)
{
	switch (st)
	{
		case DL_ST_Q4_0:
			block_q4_0(b, out);
			break;
		case DL_ST_Q4_1:
			block_q4_1(b, out);
			break;
		case DL_ST_Q5_0:
			block_q5_0(b, out);
			break;
		case DL_ST_Q5_1:
			block_q5_1(b, out);
			break;
		case DL_ST_Q8_0:
			block_q8_0(b, out);
			break;
		case DL_ST_Q4_K:
			block_k45(b, NULL, b + 16, out);
			break;
		case DL_ST_Q5_K:
			block_k45(b, b + 16, b + 48, out);
			break;
		default:
			block_q6_k(b, out);
			break;
	}
}

void
dl_dequantize(dl_storage st, const uint8_t *data, size_t n, float *out)
{
	switch (st)
	{
		case DL_ST_F32:
			for (size_t i = 0; i < n; i++)
				out[i] = float_of_bits(get32(data + 4 * i));
			break;
		case DL_ST_F16:
			for (size_t i = 0; i < n; i++)
				out[i] = half_at(data + 2 * i);
			break;
		case DL_ST_BF16:
			for (size_t i = 0; i < n; i++)
				out[i] = float_of_bits((uint32_t) get16(data + 2 * i) << 16);
			break;
		case DL_ST_OTHER:
			break;
		default:
			for (size_t i = 0; i < n; i += block_sizes[st].elements)
			{
				dequantize_block(st, data, out + i);
				data += block_sizes[st].bytes;
			}
	}
}
