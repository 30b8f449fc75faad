/* Products with a weight that was laid out once, and what follows them: cuBLASLt, then one pass over its result.
 *
 * Definition and sizes: cpu/k_dense.c. The layout is w row by row, in bf16 where it is computed in, each row padded to a multiple of 8
 * numbers. A gated product
 * leaves its sums in scratch, another in y.
 */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/operand.h"

enum { THREADS = 256 };

static size_t size_of(const struct dense_weight *w)
{
    return w->compute == DT_BF16 ? sizeof(uint16_t) : sizeof(float);
}

size_t cuda_dense_bytes(struct device *dev, const struct dense_weight *w)
{
    (void)dev;
    return (size_t)(w->N * operand_pitch(w->K)) * size_of(w);
}

/* Rows go through scratch some at a time. */
void cuda_dense_pack(struct device *dev, const struct dense_weight *w, const float *rows)
{
    static const int64_t room = 16 << 20; /* numbers */
    int64_t pitch = operand_pitch(w->K), at_once = w->K ? max(room / w->K, (int64_t)1) : 0;
    if (!w->K || !w->N)
        return;
    at_once = min(at_once, w->N);
    float *here = (float *)cuda_scratch(dev, (size_t)(at_once * w->K) * sizeof *here);
    for (int64_t n = 0; n < w->N && here; n += at_once) {
        int64_t some = min(at_once, w->N - n);
        dev->ops->write(dev, here, rows + n * w->K, (size_t)(some * w->K) * sizeof *here);
        struct operand from = {here, w->K, DT_F32, NULL, some, w->K};
        operand_copy(dev, (char *)w->packed + (size_t)(n * pitch) * size_of(w), w->compute, pitch,
                     &from);
    }
    device_sync(dev); /* rows are the caller's again */
}

/* From the smaller side of the normal distribution, which keeps its digits. */
static __device__ __forceinline__ float gelu(float z)
{
    float less = 0.5f * erfcf(fabsf(z) * 0.707106781f);
    return z > 0 ? fmaf(-z, less, z) : z * less;
}

/* y[m,f] from the sums z [M,N] (+ gate columns behind): see the definition. */
struct finish {
    float *y;
    const float *z, *bias, *add;
    int64_t M, N, ldy, ldz, ldadd;
};

enum after { AFTER_NOTHING, AFTER_GELU, AFTER_GATE };

template <enum after A> static __global__ void finish(struct finish f)
{
    int64_t n = (int64_t)blockIdx.y * THREADS + threadIdx.x, m = blockIdx.x;
    if (n >= f.N)
        return;
    const float *z = f.z + m * f.ldz + n;
    float v = z[0] + (f.bias ? f.bias[n] : 0);
    if (A == AFTER_GELU)
        v = gelu(v);
    if (A == AFTER_GATE)
        v *= gelu(z[f.N] + (f.bias ? f.bias[f.N + n] : 0));
    f.y[m * f.ldy + n] = f.add ? v + f.add[m * f.ldadd + n] : v;
}

static void finish_rows(struct device *dev, const struct finish *f, enum after after)
{
    dim3 grid((unsigned)f->M, blocks_for(f->N, THREADS));
    if (after == AFTER_GATE)
        LAUNCH(dev, finish<AFTER_GATE>, grid, THREADS, 0, *f);
    else if (after == AFTER_GELU)
        LAUNCH(dev, finish<AFTER_GELU>, grid, THREADS, 0, *f);
    else
        LAUNCH(dev, finish<AFTER_NOTHING>, grid, THREADS, 0, *f);
}

void cuda_dense_forward(struct device *dev, const struct dense_args *a)
{
    const struct dense_weight *w = a->w;
    enum after after = w->gated ? AFTER_GATE : a->act == DENSE_GELU ? AFTER_GELU : AFTER_NOTHING;
    int64_t N = w->gated ? w->N / 2 : w->N;
    if (!a->M || !N)
        return;
    struct operand x = {a->x, a->ldx, DT_F32, NULL, a->M, w->K};
    size_t x_bytes = operand_bytes(&x, w->compute),
           z_bytes = w->gated ? (size_t)(a->M * w->N) * sizeof(float) : 0;
    char *room = x_bytes + z_bytes ? (char *)cuda_scratch(dev, x_bytes + z_bytes) : NULL;
    if (x_bytes + z_bytes && !room)
        return;
    operand_place(dev, &x, w->compute, &room);
    struct blas_args p = {};
    p.c = w->gated ? (float *)room : a->y;
    p.ldc = w->gated ? w->N : a->ldy;
    p.a = x.at, p.lda = x.ld;
    p.b = w->packed, p.ldb = operand_pitch(w->K);
    p.m = a->M, p.n = w->N, p.k = w->K;
    p.b_turned = true, p.narrow = w->compute == DT_BF16;
    blas_product(dev, &p);
    struct finish f = {a->y, p.c, a->bias, a->add, a->M, N, a->ldy, p.ldc, a->ldadd};
    if (after != AFTER_NOTHING || a->bias || a->add)
        finish_rows(dev, &f, after);
}
