/* What encoders do to rows, written once in the words of vec_*.h; encoder_rows_avx2.c and encoder_rows_avx512.c make functions of it.
 * Each agrees with the reference of the same name (k_dense.c, k_layernorm.c, k_encoder_attention.c), where the definition stands.
 *
 * gelu(z) = z · Φ(z). For z ≤ 0 Φ(z) = exp(−z²/2) · P(1 / (1 − z/4)), P the polynomial of degree 7 of least relative error (9e-8 for
 * −9 ≤ z ≤ 0; found by Lawson's iteration over erfcx(−z/√2)/2); for z > 0 it is 1 − Φ(−z).
 */
#include <math.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec_tail.h"

enum { PARALLEL = 1 << 13 }; /* numbers worth a second thread */

static inline vf gelu(vf z)
{
    vf zero = vf_set(0), size = vf_max(z, zero - z);
    vf t = vf_set(1) / vf_fma(size, vf_set(0.25f), vf_set(1));
    vf p = vf_set(-9.920271191e-2f);
    p = vf_fma(p, t, vf_set(3.782459312e-1f));
    p = vf_fma(p, t, vf_set(-3.407480310e-1f));
    p = vf_fma(p, t, vf_set(3.612595196e-1f));
    p = vf_fma(p, t, vf_set(-2.563436060e-2f));
    p = vf_fma(p, t, vf_set(1.305113841e-1f));
    p = vf_fma(p, t, vf_set(9.529325920e-2f));
    p = vf_fma(p, t, vf_set(2.750448214e-4f));
    vf tail = size * p * vf_exp(size * size * vf_set(-0.5f)); /* |z| · Φ(−|z|) */
    return vf_max(z, zero) - tail;
}

static void finish(float *y, int64_t ldy, const float *c, int64_t ldc, const float *bias,
                   const float *add, int64_t ldadd, int m, int n, enum dense_act act)
{
    for (int64_t j = 0; j < n; j += LANES) {
        int64_t left = n - j;
        vf b = bias ? get(bias + j, left) : vf_set(0);
        for (int64_t i = 0; i < m; i++) {
            vf z = get(c + i * ldc + j, left) + b;
            if (act == DENSE_GELU)
                z = gelu(z);
            if (add)
                z = z + get(add + i * ldadd + j, left);
            put(y + i * ldy + j, z, left);
        }
    }
}

static void finish_gated(float *y, int64_t ldy, const float *c, int64_t ldc, int64_t half,
                         const float *bias_up, const float *bias_gate, const float *add,
                         int64_t ldadd, int m, int n)
{
    for (int64_t j = 0; j < n; j += LANES) {
        int64_t left = n - j;
        vf up = bias_up ? get(bias_up + j, left) : vf_set(0);
        vf gate = bias_gate ? get(bias_gate + j, left) : vf_set(0);
        for (int64_t i = 0; i < m; i++) {
            vf z =
                (get(c + i * ldc + j, left) + up) * gelu(get(c + i * ldc + half + j, left) + gate);
            if (add)
                z = z + get(add + i * ldadd + j, left);
            put(y + i * ldy + j, z, left);
        }
    }
}

static float softmax(float *s, int64_t n, float scale, float *max, float *sum)
{
    vf high = vf_set(-INFINITY), low = high, part = vf_set(0), zero = part, f = vf_set(scale);
    for (int64_t i = 0; i < n; i += LANES)
        high = vf_max(high, within(get(s + i, n - i), low, n - i));
    float before = *max, now = fmaxf(before, vf_highest(high) * scale);
    vf m = vf_set(-now);
    for (int64_t i = 0; i < n; i += LANES) {
        vf e = vf_exp(vf_fma(get(s + i, n - i), f, m));
        part = part + within(e, zero, n - i);
        put(s + i, e, n - i);
    }
    float shrink = before == now ? 1 : expf(before - now);
    *max = now;
    *sum = *sum * shrink + vf_sum(part);
    return shrink;
}

static void scale(float *y, const float *x, int64_t n, float a)
{
    for (int64_t i = 0; i < n; i += LANES)
        put(y + i, get(x + i, n - i) * vf_set(a), n - i);
}

static void layernorm_row(float *y, const float *x, const float *w, const float *b, int64_t D,
                          float eps)
{
    vf sum = vf_set(0), zero = sum, squares = sum;
    for (int64_t d = 0; d < D; d += LANES)
        sum = sum + get(x + d, D - d);
    vf mean = vf_set(vf_sum(sum) / (float)D);
    for (int64_t d = 0; d < D; d += LANES) {
        vf v = within(get(x + d, D - d) - mean, zero, D - d);
        squares = vf_fma(v, v, squares);
    }
    vf rstd = vf_set(1 / sqrtf(vf_sum(squares) / (float)D + eps));
    for (int64_t d = 0; d < D; d += LANES) {
        vf v = (get(x + d, D - d) - mean) * rstd;
        put(y + d, vf_fma(v, get(w + d, D - d), get(b + d, D - d)), D - d);
    }
}

static void layernorm_forward(struct device *dev, float *y, const float *x, const float *w,
                              const float *b, int64_t T, int64_t D, float eps)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T * D > PARALLEL)
    for (int64_t t = 0; t < T; t++)
        layernorm_row(y + t * D, x + t * D, w, b, D, eps);
}

static void set_encoder_rows(struct cpu_state *s)
{
    s->table.layernorm_forward = layernorm_forward;
    s->encoder = (struct encoder_rows){finish, finish_gated, softmax, scale};
}
