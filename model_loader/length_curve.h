/*
 * length_curve.h - how sure a model is of a gap at the first step, by the
 * gap's tokens alone (DESIGN 3, Lengths): fitted here, divided by in
 * src/engine/lengths.c (private to model_loader).
 */
#ifndef DLM_LENGTH_CURVE_H
#define DLM_LENGTH_CURVE_H

/* Gaps of so many tokens, none of them of the right length, and what was found of them. */
typedef struct dl_length_point
{
	int			tokens;
	int			gaps;
	double		confidence;		/* mean over the gaps of the mean over positions of the largest probability */
} dl_length_point;

/*
 * The curve (dl_length_curve_at of model.h) with the least squares over points [n], each as often as it has
 * gaps, within 0 <= a, c <= 1, 0 <= b <= 2, 0 <= d, e <= 0.5 (arXiv
 * 2602.00476). Rounded to four digits behind the point.
 */
void		dl_length_curve_fit(const dl_length_point *points, int n, double curve[5]);

#endif							/* DLM_LENGTH_CURVE_H */
