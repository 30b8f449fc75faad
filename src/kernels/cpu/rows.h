/* Norms, activations and other walks over rows, written once in the words of vec_*.h; rows_avx2.c and rows_avx512.c make functions of
 * them. Each agrees with the reference of the same name (k_*.c), where the definition stands.
 *
 * Threads take rows. Where a sum runs over rows (dw of the norm) rows are taken in chunks of CHUNK, each summed alone and the chunks
 * in their order, so that no sum depends on the threads. Small arrays are not worth waking anybody: see PARALLEL.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vec_tail.h"

enum { CHUNK = 32, PARALLEL = 1 << 14 };

/* Walks i over 0 … n−1 a vector at a time; get and put take what is left, n − i, and keep to it. */
#define EACH_VECTOR(i, n) for (int64_t i = 0; i < (n); i += LANES)

/* ---- the root mean square norm ---- */

static float dot(const float *a, const float *b, int64_t n)
{
    vf s0 = vf_set(0), s1 = s0;
    int64_t i = 0;
    for (; i + 2 * LANES <= n; i += 2 * LANES) {
        s0 = vf_fma(vf_load(a + i), vf_load(b + i), s0);
        s1 = vf_fma(vf_load(a + i + LANES), vf_load(b + i + LANES), s1);
    }
    for (; i + LANES <= n; i += LANES)
        s0 = vf_fma(vf_load(a + i), vf_load(b + i), s0);
    if (i < n)
        s1 = vf_fma(vf_load_some(a + i, n - i), vf_load_some(b + i, n - i), s1);
    return vf_sum(s0 + s1);
}

static void rmsnorm_forward(struct device *dev, float *y, float *rstd, const float *x,
                            const float *w, int64_t T, int64_t D, int64_t ldy, int64_t ldx,
                            float eps)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T * D > PARALLEL)
    for (int64_t t = 0; t < T; t++) {
        const float *xt = x + t * ldx;
        float *yt = y + t * ldy, r = 1 / sqrtf(dot(xt, xt, D) / (float)D + eps);
        rstd[t] = r;
        EACH_VECTOR(i, D)
        put(yt + i, get(xt + i, D - i) * vf_set(r) * get(w + i, D - i), D - i);
    }
}

/* dx of one row; dw, this chunk's, takes its share. */
static void rmsnorm_backward_row(float *dx, float *dw, const float *dy, const float *x,
                                 const float *w, float rstd, int64_t D)
{
    vf sum = vf_set(0), r = vf_set(rstd);
    EACH_VECTOR(i, D)
    sum = vf_fma(get(dy + i, D - i) * get(w + i, D - i), get(x + i, D - i), sum);
    vf mean = vf_set(vf_sum(sum) * rstd / (float)D);
    EACH_VECTOR(i, D)
    {
        vf n = get(x + i, D - i) * r, g = get(dy + i, D - i);
        put(dw + i, vf_fma(g, n, get(dw + i, D - i)), D - i);
        put(dx + i, vf_fma(r, g * get(w + i, D - i) - n * mean, get(dx + i, D - i)), D - i);
    }
}

static void rmsnorm_backward(struct device *dev, float *dx, float *dw, const float *dy,
                             const float *x, const float *w, const float *rstd, int64_t T,
                             int64_t D, int64_t ldy, int64_t ldx)
{
    int64_t n_chunks = (T + CHUNK - 1) / CHUNK;
    float *parts = cpu_shared(dev);
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T * D > PARALLEL)
    for (int64_t c = 0; c < n_chunks; c++) {
        float *part = parts + c * D;
        memset(part, 0, (size_t)D * sizeof *part);
        for (int64_t t = c * CHUNK; t < T && t < (c + 1) * CHUNK; t++)
            rmsnorm_backward_row(dx + t * ldx, part, dy + t * ldy, x + t * ldx, w, rstd[t], D);
    }
    for (int64_t c = 0; dw && c < n_chunks; c++)
        for (int64_t d = 0; d < D; d++)
            dw[d] += parts[c * D + d];
}

static void row_norm(struct device *dev, float *norm, const float *x, int64_t S, int64_t D)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (S * D > PARALLEL)
    for (int64_t s = 0; s < S; s++)
        norm[s] = sqrtf(dot(x + s * D, x + s * D, D));
}

/* ---- rotary embedding ---- */

static void rope_head(float *p, const float *cos, const float *sin, int64_t dr, float sign)
{
    int64_t i = 0;
    for (; i + LANES <= dr; i += LANES) {
        vf v = vf_load(p + i), turned = vf_minus_even(vf_swap_pairs(v));
        vf_store(p + i, v * vf_load_twice(cos + i / 2) +
                            turned * (vf_set(sign) * vf_load_twice(sin + i / 2)));
    }
    for (; i < dr; i += 2) {
        float re = p[i], im = p[i + 1], c = cos[i / 2], s = sign * sin[i / 2];
        p[i] = re * c - im * s;
        p[i + 1] = im * c + re * s;
    }
}

static void rope(struct device *dev, float *x, const int32_t *pos, const float *cos,
                 const float *sin, int64_t T, int64_t n_heads, int64_t dr, int64_t ldx,
                 int64_t x_head, int sign)
{
#pragma omp parallel for schedule(static)                                                          \
    num_threads(dev->n_threads) if (T * n_heads * dr > PARALLEL)
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < n_heads; h++)
            rope_head(x + t * ldx + h * x_head, cos + pos[t] * (dr / 2), sin + pos[t] * (dr / 2),
                      dr, (float)sign);
}

static void rope_half_head(float *re, const float *cos, const float *sin, int64_t half, float sign)
{
    float *im = re + half;
    EACH_VECTOR(i, half)
    {
        int64_t left = half - i;
        vf a = get(re + i, left), b = get(im + i, left), c = get(cos + i, left),
           s = vf_set(sign) * get(sin + i, left);
        put(re + i, a * c - b * s, left);
        put(im + i, b * c + a * s, left);
    }
}

static void rope_half(struct device *dev, float *x, const int32_t *pos, const float *cos,
                      const float *sin, int64_t T, int64_t n_heads, int64_t dr, int64_t ldx,
                      int64_t x_head, int sign)
{
    int64_t half = dr / 2;
#pragma omp parallel for schedule(static)                                                          \
    num_threads(dev->n_threads) if (T * n_heads * dr > PARALLEL)
    for (int64_t t = 0; t < T; t++)
        for (int64_t h = 0; h < n_heads; h++)
            rope_half_head(x + t * ldx + h * x_head, cos + pos[t] * half, sin + pos[t] * half, half,
                           (float)sign);
}

/* ---- biases ---- */

static void bias_forward(struct device *dev, float *y, const float *b, int64_t T, int64_t N,
                         int64_t ldy)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T * N > PARALLEL)
    for (int64_t t = 0; t < T; t++)
        EACH_VECTOR(n, N)
    put(y + t * ldy + n, get(y + t * ldy + n, N - n) + get(b + n, N - n), N - n);
}

/* Threads take columns, a vector of them at a time; a column's sum is one chain, chunk by chunk. */
static void bias_backward(struct device *dev, float *db, const float *dy, int64_t T, int64_t N,
                          int64_t ldy)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T * N > PARALLEL)
    for (int64_t n = 0; n < N; n += LANES) {
        vf sum = vf_set(0);
        for (int64_t c = 0; c < T; c += CHUNK) {
            vf part = vf_set(0);
            for (int64_t t = c; t < T && t < c + CHUNK; t++)
                part += get(dy + t * ldy + n, N - n);
            sum += part;
        }
        put(db + n, get(db + n, N - n) + sum, N - n);
    }
}

/* ---- SwiGLU ---- */

static void swiglu_forward(struct device *dev, float *h, const float *gu, int64_t T, int64_t F)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T * F > PARALLEL / 4)
    for (int64_t t = 0; t < T; t++) {
        const float *gate = gu + t * 2 * F, *up = gate + F;
        EACH_VECTOR(i, F)
        {
            vf g = get(gate + i, F - i);
            put(h + t * F + i, g * vf_sigmoid(g) * get(up + i, F - i), F - i);
        }
    }
}

struct swiglu_step {
    vf dgate, dup, h, dot;
};

/* The definitions of k_swiglu.c for one vector; w is the slot's weight. */
static inline struct swiglu_step swiglu_step(vf gate, vf up, vf dh, vf w)
{
    vf s = vf_sigmoid(gate), gs = gate * s, h = gs * up, e = dh * w;
    return (struct swiglu_step){e * up * s * (vf_set(1) + gate - gs), e * gs, w * h, dh * h};
}

static float swiglu_backward_row(float *dgu, float *hw, const float *dh, const float *gu,
                                 float weight, int64_t F)
{
    vf sum = vf_set(0), w = vf_set(weight);
    EACH_VECTOR(i, F)
    {
        struct swiglu_step s =
            swiglu_step(get(gu + i, F - i), get(gu + F + i, F - i), get(dh + i, F - i), w);
        put(dgu + i, s.dgate, F - i);
        put(dgu + F + i, s.dup, F - i);
        if (hw)
            put(hw + i, s.h, F - i);
        sum = sum + s.dot;
    }
    return vf_sum(sum);
}

static void swiglu_backward(struct device *dev, float *dgu, float *dweight, float *hw,
                            const float *dh, const float *gu, const float *weight, int64_t T,
                            int64_t F)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T * F > PARALLEL / 4)
    for (int64_t t = 0; t < T; t++) {
        float d = swiglu_backward_row(dgu + t * 2 * F, hw ? hw + t * F : NULL, dh + t * F,
                                      gu + t * 2 * F, weight ? weight[t] : 1, F);
        if (weight && dweight)
            dweight[t] = d;
    }
}

/* ---- rows together and apart ---- */

static inline void add_row(float *y, const float *x, float a, int64_t n)
{
    EACH_VECTOR(i, n)
    put(y + i, vf_fma(vf_set(a), get(x + i, n - i), get(y + i, n - i)), n - i);
}

static void combine(struct device *dev, float *y, const float *x, const float *weight,
                    const int32_t *first, const int32_t *slot, int64_t T, int64_t D)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T * D > PARALLEL)
    for (int64_t t = 0; t < T; t++)
        for (int64_t j = first[t]; j < first[t + 1]; j++)
            add_row(y + t * D, x + slot[j] * D, weight ? weight[slot[j]] : 1, D);
}

static void widen_row(float *y, const uint16_t *x, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store(y + i, vf_load_bf16(x + i));
    for (; i < n; i++)
        y[i] = bf16_to_f32(x[i]);
}

static void embed_forward(struct device *dev, float *y, const void *table, enum dtype type,
                          const int32_t *ids, int64_t T, int64_t D)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T * D > PARALLEL)
    for (int64_t t = 0; t < T; t++) {
        if (type == DT_BF16)
            widen_row(y + t * D, (const uint16_t *)table + ids[t] * D, D);
        else
            memcpy(y + t * D, (const float *)table + ids[t] * D, (size_t)D * sizeof *y);
    }
}

/* Threads take columns: each adds the rows in their order, so that a token seen twice adds up as in the reference. */
static void embed_backward(struct device *dev, float *dtable, const float *dy, const int32_t *ids,
                           int64_t T, int64_t D, int64_t V)
{
    (void)V;
    int64_t n_parts = dev->n_threads, width = (D / n_parts + 15) / 16 * 16;
    width = width > 0 ? width : 16;
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T * D > PARALLEL)
    for (int64_t d = 0; d < D; d += width)
        for (int64_t t = 0; t < T; t++)
            add_row(dtable + ids[t] * D + d, dy + t * D + d, 1, D - d < width ? D - d : width);
}

/* ---- long arrays, in pieces that threads share out ---- */

enum { PIECE = 1 << 13 };

static int64_t piece(int64_t from, int64_t n)
{
    return n - from < PIECE ? n - from : PIECE;
}

static void axpy(struct device *dev, float *y, const float *x, float a, int64_t n)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (n > PARALLEL)
    for (int64_t from = 0; from < n; from += PIECE)
        add_row(y + from, x + from, a, piece(from, n));
}

static void fill(struct device *dev, float *y, float value, int64_t n)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (n > PARALLEL)
    for (int64_t from = 0; from < n; from += PIECE)
        for (int64_t i = from; i < from + piece(from, n); i++)
            y[i] = value;
}

static void copy(struct device *dev, float *y, const float *x, int64_t n)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (n > PARALLEL)
    for (int64_t from = 0; from < n; from += PIECE)
        memcpy(y + from, x + from, (size_t)piece(from, n) * sizeof *y);
}

static void round_row(uint16_t *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vf_store_bf16(y + i, vf_load(x + i));
    for (; i < n; i++)
        y[i] = f32_to_bf16(x[i]);
}

static void to_bf16(struct device *dev, uint16_t *y, const float *x, int64_t n)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (n > PARALLEL)
    for (int64_t from = 0; from < n; from += PIECE)
        round_row(y + from, x + from, piece(from, n));
}

static void adamw_piece(const struct adamw_args *a, int64_t from, int64_t n)
{
    float *p = a->p + from, *m = a->m + from, *v = a->v + from;
    const float *g = a->g + from;
    const vf b1 = vf_set(a->beta1), b2 = vf_set(a->beta2), c1 = vf_set(1 - a->beta1),
             c2 = vf_set(1 - a->beta2);
    const vf clip = vf_set(a->grad_scale),
             keep = vf_set((float)(1 - (double)a->lr * a->weight_decay));
    const vf step = vf_set(a->lr / a->correction1),
             root = vf_set((float)(1 / sqrt(a->correction2)));
    const vf eps = vf_set(a->eps);
    EACH_VECTOR(i, n)
    {
        vf gi = get(g + i, n - i) * clip, mi = vf_fma(b1, get(m + i, n - i), c1 * gi);
        vf vi = vf_fma(b2, get(v + i, n - i), c2 * gi * gi);
        vf pi = get(p + i, n - i) * keep - step * mi / vf_fma(vf_sqrt(vi), root, eps);
        put(m + i, mi, n - i);
        put(v + i, vi, n - i);
        put(p + i, pi, n - i);
    }
    if (a->p_bf16)
        round_row(a->p_bf16 + from, p, n);
}

static void adamw(struct device *dev, const struct adamw_args *a)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (a->n > PARALLEL)
    for (int64_t from = 0; from < a->n; from += PIECE)
        adamw_piece(a, from, piece(from, a->n));
}

static double sum_squares(struct device *dev, const float *x, int64_t n)
{
    int64_t n_pieces = (n + PIECE - 1) / PIECE;
    double *parts = cpu_shared(dev), sum = 0;
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (n > PARALLEL)
    for (int64_t from = 0; from < n; from += PIECE) {
        int64_t len = piece(from, n);
        double part = 0;
        EACH_VECTOR(i, len)
        part += vf_sum_squares(get(x + from + i, len - i));
        parts[from / PIECE] = part;
    }
    for (int64_t i = 0; i < n_pieces; i++)
        sum += parts[i];
    return sum;
}

static int64_t find_nonfinite(struct device *dev, const float *x, int64_t n)
{
    int64_t first = n;
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (n > PARALLEL)            \
    reduction(min                                                                                  \
              : first)
    for (int64_t from = 0; from < n; from += PIECE) {
        int64_t len = n - from < PIECE ? n - from : PIECE;
        bool wild = false;
        EACH_VECTOR(i, len)
        wild |= vf_wild(get(x + from + i, len - i));
        for (int64_t i = from; wild && i < from + len && i < first; i++)
            if (!isfinite(x[i]))
                first = i;
    }
    return first < n ? first : -1;
}

/* ---- the loss ---- */

/* The largest of n numbers. */
static float highest(const float *x, int64_t n)
{
    vf m = vf_set(-INFINITY), low = m;
    EACH_VECTOR(i, n)
    m = vf_max(m, within(get(x + i, n - i), low, n - i));
    return vf_highest(m);
}

/* Σ exp(x − max), in double by blocks; where out is not NULL the terms are kept there (it may be x). */
static double exp_sum(float *out, const float *x, float max, int64_t n)
{
    double sum = 0;
    for (int64_t from = 0; from < n; from += 2048) {
        int64_t len = n - from < 2048 ? n - from : 2048;
        vf part = vf_set(0), zero = part;
        EACH_VECTOR(i, len)
        {
            vf e = vf_exp(get(x + from + i, len - i) - vf_set(max));
            part = part + within(e, zero, len - i);
            if (out)
                put(out + from + i, e, len - i);
        }
        sum += vf_sum(part);
    }
    return sum;
}

static void cross_entropy_row(float *nll, uint8_t *right, float *x, int32_t target, int64_t V,
                              float scale)
{
    float max = highest(x, V), hit = x[target];
    *right = hit == max;
    for (int64_t v = 0; v < target && *right; v++)
        *right = x[v] != max;
    double sum = exp_sum(scale != 0 ? x : NULL, x, max, V);
    *nll = (float)(log(sum) + max - hit);
    if (scale == 0)
        return;
    vf factor = vf_set((float)(scale / sum));
    EACH_VECTOR(i, V)
    put(x + i, get(x + i, V - i) * factor, V - i);
    x[target] -= scale;
}

static void cross_entropy(struct device *dev, float *nll, uint8_t *right, float *logits,
                          const int32_t *target, int64_t T, int64_t V, int64_t ldl, float scale)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T * V > PARALLEL)
    for (int64_t t = 0; t < T; t++) {
        uint8_t is_right = 0;
        nll[t] = 0;
        if (target[t] >= 0)
            cross_entropy_row(&nll[t], &is_right, logits + t * ldl, target[t], V, scale);
        else if (scale != 0)
            memset(logits + t * ldl, 0, (size_t)V * sizeof *logits);
        if (right)
            right[t] = is_right;
    }
}

/* ---- what attention does to a panel of scores (see cpu.h) ---- */

enum { PANEL = 2 * LANES };

/* v, with other in its first n lanes. */
static inline vf hide(vf v, vf other, int64_t n)
{
    if (n <= 0)
        return v;
    return n >= LANES ? other : vf_first(other, v, n);
}

static inline int64_t seen_by_all(int64_t n, int64_t lead)
{
    return lead + 1 < n ? (lead + 1 > 0 ? lead + 1 : 0) : n;
}

static vf highest_below(const float *s, int64_t n, int64_t all, int64_t lead)
{
    vf low = vf_set(-INFINITY), m = low;
    for (int64_t u = 0; u < all; u++)
        m = vf_max(m, vf_load(s + u * PANEL));
    for (int64_t u = all; u < n; u++)
        m = vf_max(m, hide(vf_load(s + u * PANEL), low, u - lead));
    return m;
}

static void softmax_columns(float *s, int64_t n, int64_t lead, float scale, float *max, float *sum,
                            float *shrink)
{
    const vf f = vf_set(scale * (float)M_LOG2E), zero = vf_set(0);
    for (int64_t j = 0; j < PANEL; j += LANES, s += LANES, lead += LANES) {
        int64_t all = seen_by_all(n, lead);
        vf old = vf_load(max + j), high = vf_max(old, highest_below(s, n, all, lead) * f),
           part = zero;
        for (int64_t u = 0; u < all; u++) {
            vf e = vf_exp2(vf_fma(vf_load(s + u * PANEL), f, zero - high));
            part = part + e;
            vf_store(s + u * PANEL, e);
        }
        for (int64_t u = all; u < n; u++) {
            vf e = vf_exp2(vf_fma(vf_load(s + u * PANEL), f, zero - high));
            e = hide(e, zero, u - lead);
            part = part + e;
            vf_store(s + u * PANEL, e);
        }
        vf less = vf_exp2(old - high);
        vf_store(shrink + j, less);
        vf_store(max + j, high);
        vf_store(sum + j, vf_fma(vf_load(sum + j), less, part));
    }
}

static void shrink_columns(float *y, int64_t n, const float *a)
{
    vf low = vf_load(a), high = vf_load(a + LANES);
    for (int64_t u = 0; u < n; u++, y += PANEL) {
        vf_store(y, vf_load(y) * low);
        vf_store(y + LANES, vf_load(y + LANES) * high);
    }
}

static void grad_columns(float *p, float *ds, int64_t pitch, int64_t n, int64_t lead, float scale,
                         const float *lse, const float *delta)
{
    const vf f = vf_set(scale * (float)M_LOG2E), factor = vf_set(scale), zero = vf_set(0);
    for (int64_t j = 0; j < PANEL; j += LANES, p += LANES, ds += LANES, lead += LANES) {
        int64_t all = seen_by_all(n, lead);
        vf l = zero - vf_load(lse + j), d = vf_load(delta + j);
        for (int64_t u = 0; u < n; u++) {
            vf e = vf_exp2(vf_fma(vf_load(p + u * pitch), f, l));
            vf g = e * factor * (vf_load(ds + u * pitch) - d);
            if (u >= all) {
                e = hide(e, zero, u - lead);
                g = hide(g, zero, u - lead);
            }
            vf_store(p + u * pitch, e);
            vf_store(ds + u * pitch, g);
        }
    }
}

static void scale_row(float *y, const float *x, int64_t n, float a)
{
    EACH_VECTOR(i, n)
    put(y + i, get(x + i, n - i) * vf_set(a), n - i);
}

static void set_rows(struct cpu_state *s)
{
    struct kernels *k = &s->table;
    k->rmsnorm_forward = rmsnorm_forward;
    k->rmsnorm_backward = rmsnorm_backward;
    k->rope = rope;
    k->rope_half = rope_half;
    k->bias_forward = bias_forward;
    k->bias_backward = bias_backward;
    k->swiglu_forward = swiglu_forward;
    k->swiglu_backward = swiglu_backward;
    k->combine = combine;
    k->embed_forward = embed_forward;
    k->embed_backward = embed_backward;
    k->axpy = axpy;
    k->fill = fill;
    k->copy = copy;
    k->to_bf16 = to_bf16;
    k->row_norm = row_norm;
    k->cross_entropy = cross_entropy;
    k->adamw = adamw;
    k->sum_squares = sum_squares;
    k->find_nonfinite = find_nonfinite;
    s->attention =
        (struct attention_rows){softmax_columns, shrink_columns, grad_columns, scale_row, dot};
}
