/* The dense product and its gradients: operands brought into the type computed in, then cuBLASLt.
 *
 * Definition and sizes: cpu/k_linear.c. In bf16 both operands are rounded in scratch; a weight that is bf16 already stays where it is if
 * its place allows. Nothing is kept between calls.
 */
#include "kernels/cuda/blas.h"
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

void cuda_linear_forward(struct device *dev, const struct linear_args *a)
{
    struct blas_args p = {};
    p.c = a->y, p.ldc = a->ldy, p.accumulate = a->accumulate;
    p.m = a->M, p.n = a->N, p.k = a->K, p.b_turned = true;
    product(dev, p, input(a), weight(a), a->compute);
}

void cuda_linear_backward_input(struct device *dev, const struct linear_args *a)
{
    struct blas_args p = {};
    p.c = a->x, p.ldc = a->ldx, p.accumulate = a->accumulate;
    p.m = a->M, p.n = a->K, p.k = a->N;
    product(dev, p, output(a), weight(a), a->compute);
}

void cuda_linear_backward_weight(struct device *dev, const struct linear_args *a)
{
    struct blas_args p = {};
    p.c = (float *)a->w, p.ldc = a->ldw, p.accumulate = a->accumulate;
    p.m = a->N, p.n = a->K, p.k = a->M, p.a_turned = true;
    product(dev, p, output(a), input(a), a->compute);
}
