/*
 * cpu_masks.h - from the CPU's best instructions down to plain C.
 */
#ifndef CPU_MASKS_H
#define CPU_MASKS_H

#include "dlm.h"

#define MASK_DOTS	(DLM_CPU_VNNI | DLM_CPU_AVXVNNI | DLM_CPU_DOTPROD)

static const uint32_t cpu_masks[] = {MASK_DOTS, MASK_DOTS | DLM_CPU_AVX512, ~0u};

#define N_CPU_MASKS	((int) (sizeof(cpu_masks) / sizeof(cpu_masks[0])))

#endif							/* CPU_MASKS_H */
