/* Products of a few rows with packed weights: a token at a time, where the memory's bandwidth is the limit.
 *
 * A warp takes R rows of w and all of a job's slots (eight at most; a job of more is cut up) and walks along K: per row a load of 16
 * bytes a lane brings a chunk of codes, all R rows' loads before the first sum, and while a warp waits for them two dozen others on its
 * multiprocessor add up. Numbers are widened in registers and multiplied with x in float32, x coming out of the first-level cache, which
 * the weights bypass. Weights of few rows are shared by several warps of a block, each with every S-th chunk; their sums meet in
 * shared memory, in order.
 *
 * Gated, a warp's rows are pairs of gate and up, so that silu(gate)·up is made where the sums are.
 */
#include "kernels/cuda/packed.h"

enum { THREADS = 256, WARPS = THREADS / 32, MOST = 8, LIST = 128, WISHED_WARPS = 2048 };

struct few_list {
    struct packed_job job[LIST];
};

/* Rows of w that a warp takes with M slots. */
FORM_FACT int rows_of(int M)
{
    return M > 4 ? 2 : 4;
}

/* Steps that a row takes: whole chunks, or (a float form) units two by two; what is left of an integer form goes by single units. */
FORM_FACT int steps_of(int form, int units)
{
    return is_whole(form) ? units / CHUNK : (units + step_units(form) - 1) / step_units(form);
}

FORM_FACT int rest_of(int form, int units)
{
    return is_whole(form) ? units % CHUNK : 0;
}

/* acc[r][m] += the part of unit u, which is piece i of what was read. */
template <int F, int M, int R>
static __device__ __forceinline__ void add_unit(float acc[R][M], const struct pieces<F> p[R], int i,
                                                int u, const float *const x[M], int K, int lane,
                                                const float *levels)
{
#pragma unroll
    for (int quad = 0; quad < 2; quad++) {
        int k = u * UNIT + quad_at(F, lane, quad);
        float v[R][4], scale[R], min[R];
#pragma unroll
        for (int r = 0; r < R; r++) {
            quad_numbers<F>(v[r], &p[r], i, quad, levels);
            scale[r] = quad_scale<F>(&p[r], i, quad);
            min[r] = quad_min<F>(&p[r], i, quad);
        }
#pragma unroll
        for (int m = 0; m < M; m++) {
            float4 at = make_float4(0, 0, 0, 0);
            if (k < K)
                at = __ldg((const float4 *)(x[m] + k));
            float all = has_min(F) ? (at.x + at.y) + (at.z + at.w) : 0;
#pragma unroll
            for (int r = 0; r < R; r++) {
                float sum = at.x * v[r][0];
                sum = fmaf(at.y, v[r][1], sum);
                sum = fmaf(at.z, v[r][2], sum);
                sum = fmaf(at.w, v[r][3], sum);
                acc[r][m] = is_whole(F) ? fmaf(scale[r], sum, acc[r][m]) : acc[r][m] + sum;
                if (has_min(F))
                    acc[r][m] = fmaf(min[r], all, acc[r][m]);
            }
        }
    }
}

template <int F, int R>
static __device__ __forceinline__ void load_step(struct pieces<F> p[R], const uint8_t *const row[R],
                                                 const struct row_plan &at, int i, int K, int lane)
{
#pragma unroll
    for (int r = 0; r < R; r++)
        if constexpr (is_whole(F))
            load_chunk<F>(&p[r], row[r], at, i, lane);
        else
            load_floats<F>(&p[r], row[r], i * step_units(F), step_units(F), K, lane);
}

/* Steps first, first + S, … of R rows, then as many of the single units. */
template <int F, int M, int R>
static __device__ __forceinline__ void
walk(float acc[R][M], const uint8_t *const row[R], const struct row_plan &at, int first, int S,
     const float *const x[M], int K, int lane, const float *levels)
{
    int steps = steps_of(F, at.units), i = first;
    struct pieces<F> p[R];
#pragma unroll 1
    for (; i < steps; i += S) {
        load_step<F, R>(p, row, at, i, K, lane);
#pragma unroll
        for (int j = 0; j < step_units(F); j++)
            add_unit<F, M, R>(acc, p, j, i * step_units(F) + j, x, K, lane, levels);
    }
    if constexpr (is_whole(F)) {
#pragma unroll 1
        for (; i < steps + rest_of(F, at.units); i += S) {
            int u = steps * CHUNK + i - steps;
#pragma unroll
            for (int r = 0; r < R; r++)
                load_unit<F>(&p[r], row[r], at, u, lane);
            add_unit<F, M, R>(acc, p, 0, u, x, K, lane, levels);
        }
    }
}

/* Row r of a warp's R from n on: of w; −1 behind the end. */
static __device__ __forceinline__ int64_t row_at(const struct packed_call &c, int64_t n, int r)
{
    int64_t half = c.N / 2, i = c.gated ? (n + r) / 2 : n + r;
    if (i >= (c.gated ? half : c.N))
        return -1;
    return c.gated && r % 2 ? half + i : i;
}

static __device__ __forceinline__ void put(const struct packed_call &c, int64_t slot, int64_t n,
                                           float value)
{
    float *y = c.y + (c.y_row ? c.y_row[slot] : slot) * c.ldy + n;
    if (c.bias)
        value += c.bias[n];
    *y = c.accumulate ? *y + value : value;
}

/* The sums of a block's warps become outputs: sums[warp][r][m], S warps a group of rows. */
template <int M, int R>
static __device__ void finish(const struct packed_call &c, const struct packed_job &job,
                              const float *sums, int S, int64_t n0)
{
    int step = c.gated ? 2 : 1;
    for (int i = threadIdx.x; i < WARPS / S * R * M / step; i += THREADS) {
        int m = i % M, r = i / M % (R / step) * step, group = i / M / (R / step);
        int64_t n = n0 + group * R, row = row_at(c, n, r);
        const float *at = sums + (group * S * R + r) * M + m;
        float z = 0, up = 0;
        for (int s = 0; s < S; s++) {
            z += at[s * R * M];
            up += c.gated ? at[s * R * M + M] : 0;
        }
        if (c.gated)
            z = z / (1 + expf(-z)) * up;
        if (row >= 0 && m < job.n)
            put(c, job.first + m, row, z);
    }
}

template <int F, int M>
static __global__ void __launch_bounds__(THREADS, M > 1 || has_min(F) || high_bytes(F) ? 2 : 3)
    few(const struct packed_call c, const __grid_constant__ struct few_list list, int S,
        const struct levels given)
{
    constexpr int R = rows_of(M);
    __shared__ float sums[WARPS * R * M], levels[16];
    const struct packed_job job = list.job[blockIdx.y];
    const struct row_plan at = plan_row(F, c.K);
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int64_t n0 = (int64_t)blockIdx.x * (WARPS / S) * R, n = n0 + warp / S * R;
    const uint8_t *row[R];
    const float *x[M];
    float acc[R][M];
    if (F == PACKED_NF4) {
        if (threadIdx.x < 16)
            levels[threadIdx.x] = given.of[threadIdx.x];
        __syncthreads();
    }
#pragma unroll
    for (int m = 0; m < M; m++) {
        int64_t slot = job.first + (m < job.n ? m : 0);
        x[m] = c.x + (c.x_row ? c.x_row[slot] : slot) * c.ldx;
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
        int64_t i = row_at(c, n, r);
        row[r] = (const uint8_t *)job.packed + (i < 0 ? 0 : i) * at.bytes;
#pragma unroll
        for (int m = 0; m < M; m++)
            acc[r][m] = 0;
    }
    if (row_at(c, n, 0) >= 0)
        walk<F, M, R>(acc, row, at, warp % S, S, x, (int)c.K, lane, levels);
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int m = 0; m < M; m++) {
            float sum = warp_sum(acc[r][m]);
            if (lane == 0)
                sums[(warp * R + r) * M + m] = sum;
        }
    __syncthreads();
    finish<M, R>(c, job, sums, S, n0);
}

/* Warps that share rows: as many as bring the card to work, by the shape of the weight alone. */
static int shares(enum packed_form form, const struct packed_call *c, int R)
{
    int units = plan_row(form, c->K).units, S = 1;
    while (S < WARPS && S * 2 <= steps_of(form, units) && c->N / R * S < WISHED_WARPS)
        S *= 2;
    return S;
}

template <int M>
static void launch(struct device *dev, enum packed_form form, const struct packed_call *call,
                   const struct few_list *list, int n)
{
    struct packed_call c = *call;
    struct few_list l = *list;
    struct levels levels = packed_levels();
    int S = shares(form, call, rows_of(M));
    int64_t rows = c.gated ? c.N / 2 * 2 : c.N;
    dim3 grid(blocks_for(rows, WARPS / S * rows_of(M)), (unsigned)n);
#define FEW(F) LAUNCH(dev, (few<F, M>), grid, THREADS, 0, c, l, S, levels)
    PACKED_SWITCH(form, FEW)
#undef FEW
}

/* x where 16-byte loads can't read it, or K ends within one: rows side by side with zeros behind. */
static __global__ void straighten(float *to, const struct packed_call c, int64_t first, int64_t n,
                                  int64_t ld)
{
    int64_t i = thread_index(), s = i / ld, k = i % ld;
    if (s < n)
        to[i] = k < c.K ? c.x[(c.x_row ? c.x_row[first + s] : first + s) * c.ldx + k] : 0;
}

static bool is_straight(const struct packed_call *c)
{
    return (uintptr_t)c->x % 16 == 0 && c->ldx % 4 == 0 && c->K % 4 == 0;
}

static void launch_list(struct device *dev, enum packed_form form, const struct packed_call *call,
                        const struct few_list *list, int n, int most)
{
    if (!n)
        return;
    if (most == 1)
        launch<1>(dev, form, call, list, n);
    else if (most == 2)
        launch<2>(dev, form, call, list, n);
    else if (most <= 4)
        launch<4>(dev, form, call, list, n);
    else
        launch<8>(dev, form, call, list, n);
}

void packed_few(struct device *dev, enum packed_form form, const struct packed_call *call,
                const struct packed_job *jobs, int n_jobs)
{
    struct packed_call c = *call;
    struct few_list list;
    int n = 0, most = 0;
    if (!is_straight(call)) {
        int32_t first = jobs[0].first, end = jobs[n_jobs - 1].first + jobs[n_jobs - 1].n;
        int64_t ld = (c.K + 3) / 4 * 4, rows = end - first;
        float *x = (float *)cuda_scratch(dev, (size_t)(rows * ld) * sizeof(float));
        if (!x)
            return;
        LAUNCH(dev, straighten, blocks_for(rows * ld, THREADS), THREADS, 0, x, *call, first, rows,
               ld);
        c.x = x - (int64_t)first * ld;
        c.x_row = NULL;
        c.ldx = ld;
    }
    for (int i = 0; i < n_jobs; i++)
        for (int32_t at = 0; at < jobs[i].n; at += MOST) {
            int32_t rows = jobs[i].n - at < MOST ? jobs[i].n - at : MOST;
            list.job[n++] = {jobs[i].packed, jobs[i].first + at, rows};
            most = rows > most ? rows : most;
            if (n == LIST) {
                launch_list(dev, form, &c, &list, n, most);
                n = most = 0;
            }
        }
    launch_list(dev, form, &c, &list, n, most);
}
