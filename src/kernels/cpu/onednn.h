/* The rows that oneDNN fills. */
#ifndef MOE2_KERNELS_CPU_ONEDNN_H
#define MOE2_KERNELS_CPU_ONEDNN_H

#include "kernels/cpu/cpu.h"

void onednn_linear_forward(struct device *dev, const struct linear_args *a);
void onednn_linear_backward_input(struct device *dev, const struct linear_args *a);
void onednn_linear_backward_weight(struct device *dev, const struct linear_args *a);

#endif
