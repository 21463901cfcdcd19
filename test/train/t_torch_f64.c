/*
 * t_torch_f64.c - the same of the double build: nothing but rounding is left of the difference.
 */
#define DL_TRAIN_DOUBLE

#include "torch.h"

int
main(void)
{
	return torch_main("t_torch_f64", 1e-11);
}
