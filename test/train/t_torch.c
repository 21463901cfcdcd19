/*
 * t_torch.c - the trainer's gradients, in float, are those of PyTorch.
 */
#include "torch.h"

int
main(void)
{
	return torch_main("t_torch", 1e-4);
}
