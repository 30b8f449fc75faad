/* Dense products through oneDNN's sgemm, whose call is the same in its versions 2 and 3.
 *
 * sgemm computes C = alpha·op(A)·op(B) + beta·C on row-major matrices. Weights in bf16 are left to the reference.
 */
#include <dnnl.h>

#include "kernels/cpu/onednn.h"

void onednn_linear_forward(struct device *dev, const struct linear_args *a)
{
    if (a->w_type != DT_F32 || a->M == 0 || a->N == 0 || a->K == 0) {
        ref_linear_forward(dev, a);
        return;
    }
    dnnl_sgemm('N', 'T', a->M, a->N, a->K, 1, a->x, a->ldx, a->w, a->ldw, a->accumulate ? 1 : 0, a->y, a->ldy);
}

void onednn_linear_backward_input(struct device *dev, const struct linear_args *a)
{
    if (a->w_type != DT_F32 || a->M == 0 || a->N == 0 || a->K == 0) {
        ref_linear_backward_input(dev, a);
        return;
    }
    dnnl_sgemm('N', 'N', a->M, a->K, a->N, 1, a->y, a->ldy, a->w, a->ldw, a->accumulate ? 1 : 0, a->x, a->ldx);
}

void onednn_linear_backward_weight(struct device *dev, const struct linear_args *a)
{
    if (a->M == 0 || a->N == 0 || a->K == 0) {
        ref_linear_backward_weight(dev, a);
        return;
    }
    dnnl_sgemm('T', 'N', a->N, a->K, a->M, 1, a->y, a->ldy, a->x, a->ldx, a->accumulate ? 1 : 0, a->w, a->ldw);
}
