/* Routing where the logits are: scores, picks and weights of a token by one warp, and the way back. What cpu/k_route.c defines, in the
 * very bits of route/row_ops_body.h and route/combine.c: the same exponential, the same 16 lanes of a sum, nothing fused.
 *
 * The row lies in shared memory. Picks come one after the other, the best first: the largest number behind the one before in the order
 * "larger first, then lower index", which no two experts share, so that nothing has to be crossed out.
 */
#include "kernels/cuda/rows.h"

enum { ROWS = 8, MOMENT_ROWS = 64, SUM_LANES = 16 };

/* ---- the arithmetic of row_ops_body.h, each operation rounded alone ---- */

static __device__ __forceinline__ float times_plus(float a, float b, float c)
{
    return __fadd_rn(__fmul_rn(a, b), c);
}

static __device__ __forceinline__ float exp_row(float x)
{
    const float magic = 12582912; /* 1.5 · 2^23: adding it rounds to a whole number */
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float n = __fsub_rn(times_plus(x, 1.44269504088896341f, magic), magic);
    float r = __fsub_rn(x, __fmul_rn(n, 0.693359375f));
    r = __fsub_rn(r, __fmul_rn(n, -2.12194440e-4f));
    float p = times_plus(1.9875691500e-4f, r, 1.3981999507e-3f);
    p = times_plus(p, r, 8.3334519073e-3f);
    p = times_plus(p, r, 4.1665795894e-2f);
    p = times_plus(p, r, 1.6666665459e-1f);
    p = times_plus(p, r, 5.0000001201e-1f);
    p = __fadd_rn(times_plus(p, __fmul_rn(r, r), r), 1);
    return __fmul_rn(p, __int_as_float(((int)n + 127) * (1 << 23)));
}

static __device__ __forceinline__ float sigmoid(float x)
{
    float e = exp_row(-fabsf(x));
    return __fdiv_rn(x < 0 ? e : 1, __fadd_rn(1, e));
}

/* Over lanes 0 … 15, in lane 0 and all others; the order of fold_sum. */
template <typename T> static __device__ __forceinline__ T fold(T x)
{
    for (int w = SUM_LANES / 2; w; w /= 2)
        x += __shfl_xor_sync(ALL_LANES, x, w);
    return __shfl_sync(ALL_LANES, x, 0);
}

/* Whether all E numbers of x are finite. */
static __device__ __forceinline__ bool all_finite(const float *x, int E)
{
    int bad = 0;
    for (int i = threadIdx.x; i < E; i += ALL_WARP)
        bad |= (__float_as_uint(x[i]) & 0x7fffffff) >= 0x7f800000;
    return !__any_sync(ALL_LANES, bad);
}

/* s = softmax(x); row [E] is shared. */
static __device__ __forceinline__ void softmax_row(float *s, float *row, const float *x, int E)
{
    int lane = threadIdx.x;
    float max = -INFINITY, sum = 0;
    for (int i = lane; i < E; i += ALL_WARP)
        max = fmaxf(max, x[i]);
    max = warp_max(max);
    for (int i = lane; i < E; i += ALL_WARP)
        row[i] = exp_row(__fsub_rn(x[i], max));
    __syncwarp();
    for (int i = lane; i < E && lane < SUM_LANES; i += SUM_LANES)
        sum = __fadd_rn(sum, row[i]);
    sum = fold(sum);
    __syncwarp();
    for (int i = lane; i < E; i += ALL_WARP)
        s[i] = __fdiv_rn(row[i], sum);
}

/* ---- picks ---- */

/* What a warp has in shared memory. */
struct room {
    float *row;    /* [E] */
    float *chosen; /* [K] */
    int *picks;    /* [K] */
    float *value;  /* [n_group] */
    int *open;     /* [n_group] */
};

static inline size_t room_bytes(const struct route_args *a)
{
    return (size_t)(a->E + 2 * a->K + 2 * a->n_group) * sizeof(float);
}

static __device__ __forceinline__ struct room room_at(float *p, const struct route_args &a)
{
    struct room r;
    p += threadIdx.y * (a.E + 2 * a.K + 2 * a.n_group);
    r.row = p;
    r.chosen = r.row + a.E;
    r.picks = (int *)(r.chosen + a.K);
    r.value = r.chosen + 2 * a.K;
    r.open = (int *)(r.value + a.n_group);
    return r;
}

/* The value of a group of n numbers. */
static __device__ __forceinline__ float group_value(const float *c, int n, bool largest)
{
    float first = -INFINITY, second = -INFINITY;
    for (int i = 0; i < n; i++) {
        float x = c[i], less = x < first ? x : first;
        first = x > first ? x : first;
        second = less > second ? less : second;
    }
    return largest || n == 1 ? first : __fadd_rn(first, second);
}

/* −infinity outside the topk_group best groups. */
static __device__ void mask_groups(const struct room &r, const struct route_args &a)
{
    int G = (int)a.n_group, n = (int)(a.E / a.n_group);
    for (int g = threadIdx.x; g < G; g += ALL_WARP)
        r.value[g] = group_value(r.row + g * n, n, a.group_max);
    __syncwarp();
    for (int g = threadIdx.x; g < G; g += ALL_WARP) {
        int before = 0;
        for (int h = 0; h < G; h++)
            before += r.value[h] > r.value[g] || (h < g && r.value[h] == r.value[g]);
        r.open[g] = before < a.topk_group;
    }
    __syncwarp();
    for (int i = threadIdx.x; i < a.E; i += ALL_WARP)
        if (!r.open[i / n])
            r.row[i] = -INFINITY;
    __syncwarp();
}

/* Floats in the order of whole numbers, −0 as 0. */
static __device__ __forceinline__ unsigned order_of(float c)
{
    unsigned u = __float_as_uint(__fadd_rn(c, 0));
    return u >> 31 ? ~u : u | 0x80000000u;
}

/* The K best of row, their numbers in picks. */
static __device__ void best_of(const struct room &r, int E, int K)
{
    unsigned last = 0xffffffffu, last_at = 0;
    for (int k = 0; k < K; k++) {
        unsigned best = 0, at = 0xffffffffu;
        for (unsigned i = threadIdx.x; i < (unsigned)E; i += ALL_WARP) {
            unsigned c = order_of(r.row[i]);
            bool behind = c < last || (c == last && i > last_at);
            at = behind && c > best ? i : at;
            best = behind && c > best ? c : best;
        }
        last = __reduce_max_sync(ALL_LANES, best);
        last_at = __reduce_min_sync(ALL_LANES, best == last ? at : 0xffffffffu);
        if (threadIdx.x == 0)
            r.picks[k] = (int)last_at;
    }
    __syncwarp();
}

static __device__ void weigh(const struct room &r, float *weight, int32_t *idx, const float *s,
                             const struct route_args &a)
{
    float factor = a.factor, sum = 0;
    for (int k = threadIdx.x; k < a.K; k += ALL_WARP)
        r.chosen[k] = s[r.picks[k]];
    __syncwarp();
    for (int k = 0; k < a.K && a.normed; k++)
        sum = __fadd_rn(sum, r.chosen[k]);
    if (a.normed)
        factor = __fdiv_rn(factor, __fadd_rn(sum, 1e-20f));
    for (int k = threadIdx.x; k < a.K; k += ALL_WARP) {
        idx[k] = r.picks[k];
        weight[k] = __fmul_rn(r.chosen[k], factor);
    }
}

static __device__ void nobody(float *s, float *weight, int32_t *idx, int why,
                              const struct route_args &a)
{
    for (int i = threadIdx.x; i < a.E; i += ALL_WARP)
        s[i] = 0;
    for (int k = threadIdx.x; k < a.K; k += ALL_WARP) {
        weight[k] = 0;
        idx[k] = why;
    }
}

static __global__ void pick_rows(struct route_args a)
{
    DYNAMIC_SHARED(float, shared);
    int64_t t = my_row();
    if (t >= a.T)
        return;
    struct room r = room_at(shared, a);
    const float *x = a.logits + t * a.E;
    float *s = a.scores + t * a.E, *weight = a.weight + t * a.K;
    int32_t *idx = a.idx + t * a.K;
    int E = (int)a.E;
    bool padding = a.valid && !a.valid[t];
    if (padding || !all_finite(x, E)) {
        nobody(s, weight, idx, padding ? -1 : -2, a);
        return;
    }
    if (a.softmax)
        softmax_row(s, r.row, x, E);
    for (int i = threadIdx.x; i < E; i += ALL_WARP) {
        float own = a.softmax ? s[i] : sigmoid(x[i]);
        s[i] = own;
        r.row[i] = __fadd_rn(own, a.bias[i]);
    }
    __syncwarp();
    if (a.n_group > 1)
        mask_groups(r, a);
    best_of(r, E, (int)a.K);
    weigh(r, weight, idx, s, a);
}

/* One warp for 64 rows: lanes 0 … 15 sum s, the others s². */
static __global__ void sum_moments(double *moments, const float *s, int64_t T, int64_t E)
{
    int64_t first = (int64_t)blockIdx.x * MOMENT_ROWS;
    int64_t rows = MOMENT_ROWS, n = (T - first < rows ? T - first : rows) * E;
    int lane = threadIdx.x;
    bool square = lane >= SUM_LANES;
    double sum = 0;
    s += first * E;
#pragma unroll 8
    for (int64_t i = lane % SUM_LANES; i < n; i += SUM_LANES) {
        double v = s[i];
        sum += square ? v * v : v;
    }
    for (int w = SUM_LANES / 2; w; w /= 2)
        sum += __shfl_xor_sync(ALL_LANES, sum, w);
    if (lane % SUM_LANES == 0)
        moments[2 * blockIdx.x + square] = sum;
}

void cuda_route_pick(struct device *dev, const struct route_args *a)
{
    size_t n_bytes = room_bytes(a);
    unsigned rows = n_bytes * ROWS <= 32 << 10 ? (unsigned)ROWS : 1;
    cuda_allow_shared(dev, (const void *)pick_rows, rows * n_bytes);
    struct route_args args = *a;
    LAUNCH(dev, pick_rows, blocks_for(a->T, rows), dim3(ALL_WARP, rows), rows * n_bytes, args);
    if (a->moments)
        LAUNCH(dev, sum_moments, blocks_for(a->T, MOMENT_ROWS), ALL_WARP, 0, args.moments,
               args.scores, args.T, args.E);
}

/* ---- the way back: combine.c's, then score.c's ---- */

/* ds [K] from dw, the weights w and the scores s of the picks. */
static __device__ void combine_back(float *ds, const float *dw, const float *w, const float *s,
                                    const struct route_args &a)
{
    float mean = 0, sum = 0;
    for (int k = 0; k < a.K && a.normed; k++) {
        mean = __fadd_rn(mean, __fmul_rn(__fdiv_rn(w[k], a.factor), dw[k]));
        sum = __fadd_rn(sum, s[k]);
    }
    float factor = a.normed ? __fdiv_rn(a.factor, __fadd_rn(sum, 1e-20f)) : a.factor;
    for (int k = threadIdx.x; k < a.K; k += ALL_WARP)
        ds[k] = a.normed ? __fmul_rn(factor, __fsub_rn(dw[k], mean)) : __fmul_rn(factor, dw[k]);
    __syncwarp();
}

static __global__ void back_rows(float *dlogits, const float *dweight, const int32_t *position,
                                 struct route_args a)
{
    DYNAMIC_SHARED(float, shared);
    int64_t t = my_row();
    if (t >= a.T || a.idx[t * a.K] < 0)
        return;
    int K = (int)a.K;
    float *dw = shared + threadIdx.y * 4 * K, *w = dw + K, *s = w + K, *ds = s + K;
    float *dx = dlogits + t * a.E;
    const float *scores = a.scores + t * a.E;
    const int32_t *idx = a.idx + t * K;
    for (int k = threadIdx.x; k < K; k += ALL_WARP) {
        int32_t place = position[t * K + k];
        dw[k] = place < 0 ? 0 : dweight[place];
        w[k] = a.weight[t * K + k];
        s[k] = scores[idx[k]];
    }
    __syncwarp();
    combine_back(ds, dw, w, s, a);
    for (int k = threadIdx.x; k < K; k += ALL_WARP) {
        float d = __fmul_rn(ds[k], s[k]);
        dx[idx[k]] = __fadd_rn(dx[idx[k]], a.softmax ? d : __fmul_rn(d, __fsub_rn(1, s[k])));
    }
    if (!a.softmax)
        return;
    float sum = 0;
    for (int k = 0; k < K; k++)
        sum = __fadd_rn(sum, __fmul_rn(ds[k], s[k]));
    __syncwarp();
    for (int i = threadIdx.x; i < a.E; i += ALL_WARP)
        dx[i] = times_plus(-sum, scores[i], dx[i]);
}

void cuda_route_backward(struct device *dev, float *dlogits, const float *dweight,
                         const int32_t *position, const struct route_args *a)
{
    struct route_args args = *a;
    LAUNCH(dev, back_rows, blocks_for(a->T, ROWS), dim3(ALL_WARP, ROWS),
           (size_t)a->K * 4 * ROWS * sizeof(float), dlogits, dweight, position, args);
}
