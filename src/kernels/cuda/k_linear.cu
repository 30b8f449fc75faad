/* The dense product and its gradients: operands brought into the type computed in, then cuBLASLt.
 *
 * Definition and sizes: cpu/k_linear.c. In bf16 both operands are rounded in scratch; a weight that is bf16 already stays where it is if
 * its place allows. Nothing is kept between calls. Narrow products in bf16 are narrow.h's.
 */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/narrow.h"
#include "kernels/cuda/operand.h"

/* c [m,n] (+)= a · b of p, whose operands are still to be placed. */
static void product(struct device *dev, struct blas_args p, struct operand a, struct operand b,
                    enum dtype compute)
{
    if (!p.m || !p.n)
        return;
    size_t n_bytes = operand_bytes(&a, compute) + operand_bytes(&b, compute);
    char *room = n_bytes ? (char *)cuda_scratch(dev, n_bytes) : NULL;
    if (n_bytes && !room)
        return;
    operand_place(dev, &a, compute, &room);
    operand_place(dev, &b, compute, &room);
    p.a = a.at, p.lda = a.ld;
    p.b = b.at, p.ldb = b.ld;
    p.narrow = compute == DT_BF16;
    blas_product(dev, &p);
}

static struct operand input(const struct linear_args *a)
{
    return (struct operand){a->x, a->ldx, DT_F32, NULL, a->M, a->K};
}

static struct operand output(const struct linear_args *a)
{
    return (struct operand){a->y, a->ldy, DT_F32, NULL, a->M, a->N};
}

static struct operand weight(const struct linear_args *a)
{
    return (struct operand){a->w, a->ldw, a->w_type, NULL, a->N, a->K};
}

/* Whether narrow.h is for this product. */
static bool is_narrow(const struct linear_args *a)
{
    return a->compute == DT_BF16 && a->M && a->N && a->K && min(a->N, a->K) <= NARROW_MOST;
}

/* out [M, n] of rows of `inner` numbers and the weight. */
static void narrow_rows(struct device *dev, const struct linear_args *a, float *out, int64_t ldout,
                        const float *rows, int64_t ld, int64_t n, int64_t inner, bool b_deep)
{
    struct narrow p = {};
    p.out = out, p.row_step = ldout, p.column_step = 1;
    p.a = rows, p.lda = ld;
    p.b = a->w, p.ldb = a->ldw, p.b_deep = b_deep, p.b_half = a->w_type == DT_BF16;
    p.R = a->M, p.C = n, p.inner = inner, p.accumulate = a->accumulate;
    if (inner <= NARROW_MOST)
        narrow_inner(dev, &p, NULL, narrow_wide(&p));
    else
        narrow_across(dev, &p, NULL, narrow_wide(&p));
}

/* The gradient or, where N is the shorter side, its transpose. */
static void narrow_weight(struct device *dev, const struct linear_args *a)
{
    struct narrow p = {};
    bool turned = a->N < a->K;
    p.out = (float *)a->w;
    p.row_step = turned ? 1 : a->ldw, p.column_step = turned ? a->ldw : 1;
    p.a = turned ? a->x : a->y, p.lda = turned ? a->ldx : a->ldy, p.a_deep = true;
    p.b = turned ? a->y : a->x, p.ldb = turned ? a->ldy : a->ldx, p.b_deep = true;
    p.R = turned ? a->K : a->N, p.C = turned ? a->N : a->K;
    p.inner = a->M, p.accumulate = a->accumulate;
    narrow_across(dev, &p, NULL, narrow_wide(&p));
}

void cuda_linear_forward(struct device *dev, const struct linear_args *a)
{
    if (is_narrow(a)) {
        narrow_rows(dev, a, a->y, a->ldy, a->x, a->ldx, a->N, a->K, false);
        return;
    }
    struct blas_args p = {};
    p.c = a->y, p.ldc = a->ldy, p.accumulate = a->accumulate;
    p.m = a->M, p.n = a->N, p.k = a->K, p.b_turned = true;
    product(dev, p, input(a), weight(a), a->compute);
}

void cuda_linear_backward_input(struct device *dev, const struct linear_args *a)
{
    if (is_narrow(a)) {
        narrow_rows(dev, a, a->x, a->ldx, a->y, a->ldy, a->K, a->N, true);
        return;
    }
    struct blas_args p = {};
    p.c = a->x, p.ldc = a->ldx, p.accumulate = a->accumulate;
    p.m = a->M, p.n = a->K, p.k = a->N;
    product(dev, p, output(a), weight(a), a->compute);
}

void cuda_linear_backward_weight(struct device *dev, const struct linear_args *a)
{
    if (is_narrow(a)) {
        narrow_weight(dev, a);
        return;
    }
    if (a->compute == DT_F32 && narrow_weight_f32(dev, a))
        return;
    struct blas_args p = {};
    p.c = (float *)a->w, p.ldc = a->ldw, p.accumulate = a->accumulate;
    p.m = a->N, p.n = a->K, p.k = a->M, p.a_turned = true;
    product(dev, p, output(a), input(a), a->compute);
}
