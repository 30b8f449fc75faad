/* The rows of the avx2 table. */
#include "kernels/cpu/onednn.h"

void table_avx2(struct kernels *k)
{
    k->linear_forward = onednn_linear_forward;
    k->linear_backward_input = onednn_linear_backward_input;
    k->linear_backward_weight = onednn_linear_backward_weight;
}
