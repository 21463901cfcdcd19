/*
 * kernels_ymm_int8.h - add_group for kernels_s8_body.h in 256-bit registers,
 * two to a panel. DOT(sum, x, w): sum of eight columns plus four products of
 * unsigned x and signed w in each.
 */

/* The int32 sums of eight columns of a row to its chains */
static inline __attribute__((always_inline)) void
add_sums(float *chain, __m256i sum, __m256 sx, const float *scale)
{
	__m256		factor = _mm256_mul_ps(sx, _mm256_loadu_ps(scale));

	_mm256_store_ps(chain, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), factor, _mm256_load_ps(chain)));
}

/* What eight columns' sums begin at: x is stored as q + 128 */
static inline __attribute__((always_inline)) __m256i
less_offset(const int32_t *sum)
{
	return _mm256_sub_epi32(_mm256_setzero_si256(),
							_mm256_slli_epi32(_mm256_loadu_si256((const __m256i *) sum), 7));
}

static inline __attribute__((always_inline)) void
add_group(const dl_s8_group *g, const int8_t *x, size_t ldx, const float *sx, size_t lds, size_t panel_bytes,
		  const int rows, const int panels, float *chain)
{
	__m256i		low[MOST_ROWS],
				high[MOST_ROWS];

	(void) panel_bytes;
	(void) panels;
#pragma GCC unroll 6
	for (int r = 0; r < rows; r++)
	{
		low[r] = less_offset(g->sum);
		high[r] = less_offset(g->sum + 8);
	}
	for (size_t i = 0; i < (size_t) g->steps; i++)
	{
		__m256i		w_low = _mm256_loadu_si256((const __m256i *) (g->w + i * 64));
		__m256i		w_high = _mm256_loadu_si256((const __m256i *) (g->w + i * 64 + 32));

#pragma GCC unroll 6
		for (int r = 0; r < rows; r++)
		{
			int32_t		four;
			__m256i		v;

			memcpy(&four, x + (size_t) r * ldx + i * 4, sizeof four);
			v = _mm256_set1_epi32(four);
			low[r] = DOT(low[r], v, w_low);
			high[r] = DOT(high[r], v, w_high);
		}
	}
#pragma GCC unroll 6
	for (int r = 0; r < rows; r++)
	{
		__m256		scale = _mm256_set1_ps(sx[(size_t) r * lds]);

		add_sums(chain + r * DL_PANEL, low[r], scale, g->scale);
		add_sums(chain + r * DL_PANEL + 8, high[r], scale, g->scale + 8);
	}
}
