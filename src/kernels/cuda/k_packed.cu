/* Packed weights on a GPU: laying them out, reading rows back, and who of k_packed_few.cu and k_packed_many.cu multiplies.
 *
 * Rows come from the host as codes and scales (or floats); they are copied as they are and laid out by the GPU. The order of sums
 * depends on a weight's shape and on how many slots it has, on nothing else.
 */
#include "kernels/cuda/packed.h"

extern "C" {
#include "tensor/nf4.h"
}

enum { THREADS = 256 };

struct levels packed_levels(void)
{
    struct levels l;
    memcpy(l.of, nf4_levels, sizeof l.of);
    return l;
}

size_t cuda_packed_bytes(struct device *dev, const struct packed_weight *w)
{
    (void)dev;
    return (size_t)(w->N * plan_row(w->form, w->K).bytes);
}

/* ---- packing ---- */

/* Host rows in device memory. */
struct rows_there {
    const float *f32;
    const uint8_t *codes;
    const float *scale, *min;
};

template <int F>
static __device__ void put_codes(uint8_t *row, const struct row_plan &at, int u, int lane,
                                 const uint8_t *codes, int64_t K)
{
    uint32_t low = 0, high = 0, bytes[2] = {0, 0};
    for (int j = 0; j < 8; j++) {
        int64_t k = (int64_t)u * UNIT + quad_at(F, lane, j / 4) + j % 4;
        uint32_t code = k < K ? codes[k] : 0;
        low |= (code & 15) << (j % 4 * 8 + j / 4 * 4);
        high |= high_bytes(F) == 2 ? (code >> 4 & 3) << 2 * j : (code >> 4 & 1) << j;
        bytes[j / 4] |= code << j % 4 * 8;
    }
    uint32_t *to = (uint32_t *)(row + code_at(F, at.units, u, lane));
    to[0] = F == PACKED_I8 ? bytes[0] : low;
    if (F == PACKED_I8)
        to[1] = bytes[1];
    uint8_t *above = row + at.high + plane_at(at.units, u, 32, lane, high_bytes(F));
    if (high_bytes(F) == 1)
        *above = (uint8_t)high;
    if (high_bytes(F) == 2)
        *(uint16_t *)above = (uint16_t)high;
}

/* A cell of a plane of scales or mins: the groups of its lanes' quads. */
template <int F>
static __device__ void put_cell(uint8_t *plane, int units, int u, int cell, const float *numbers,
                                int64_t K)
{
    uint8_t *to = plane + plane_at(units, u, cells_of(F), cell, CELL);
    for (int quad = 0; quad < 2; quad++) {
        int64_t k = (int64_t)u * UNIT + quad_at(F, cell * (32 / cells_of(F)), quad);
        float v = k < K ? numbers[k / group_of(F)] : 0;
        if (F != PACKED_NF4)
            ((uint16_t *)to)[quad] = f16_round(v);
        else if (quad == 0)
            *(float *)to = v;
    }
}

/* A warp lays out a unit of a row. */
template <int F>
static __global__ void pack_whole(uint8_t *w, struct rows_there from, int64_t n, int64_t K)
{
    struct row_plan at = plan_row(F, K);
    int64_t unit = thread_index() / 32, i = unit / at.units, groups = K / group_of(F);
    int lane = threadIdx.x % 32, u = (int)(unit % at.units);
    if (i >= n)
        return;
    uint8_t *row = w + i * at.bytes;
    put_codes<F>(row, at, u, lane, from.codes + i * K, K);
    if (lane < cells_of(F))
        put_cell<F>(row + at.scale, at.units, u, lane, from.scale + i * groups, K);
    if (has_min(F) && lane < cells_of(F))
        put_cell<F>(row + at.min, at.units, u, lane, from.min + i * groups, K);
}

template <int F>
static __global__ void pack_floats(uint8_t *w, struct rows_there from, int64_t n, int64_t K)
{
    int64_t bytes = plan_row(F, K).bytes, each = bytes / (code_bytes(F) / 8), i = thread_index(),
            k = i % each;
    if (i >= n * each)
        return;
    float v = k < K ? from.f32[i / each * K + k] : 0;
    if (F == PACKED_F32)
        ((float *)w)[i] = v;
    else
        ((uint16_t *)w)[i] = F == PACKED_F16 ? f16_round(v) : bf16_round(v);
}

/* Room for n numbers of each bytes at the end of what is used. */
static void *cut(char *base, size_t *used, int64_t n, size_t each)
{
    char *at = base + *used;
    *used += ((size_t)n * each + 255) / 256 * 256;
    return at;
}

static bool upload(struct device *dev, struct rows_there *to, const struct packed_weight *w,
                   const struct packed_source *rows, int64_t n)
{
    bool whole = is_whole(w->form);
    int64_t all = n * w->K, groups = whole ? all / group_of(w->form) : 0;
    size_t used = 0;
    char *base = (char *)cuda_scratch(dev, (size_t)(whole ? all + 8 * groups : all * 4) + 1024);
    if (!base)
        return false;
    if (!whole) {
        to->f32 = (float *)base;
        dev->ops->write(dev, base, rows->f32, (size_t)all * sizeof(float));
        return true;
    }
    void *codes = cut(base, &used, all, 1), *scale = cut(base, &used, groups, sizeof(float)),
         *min = cut(base, &used, groups, sizeof(float));
    dev->ops->write(dev, codes, rows->codes, (size_t)all);
    dev->ops->write(dev, scale, rows->scale, (size_t)groups * sizeof(float));
    if (has_min(w->form))
        dev->ops->write(dev, min, rows->min, (size_t)groups * sizeof(float));
    *to = {NULL, (const uint8_t *)codes, (const float *)scale, (const float *)min};
    return true;
}

template <int F>
static void lay_out(struct device *dev, uint8_t *to, struct rows_there from, int64_t n, int64_t K)
{
    struct row_plan at = plan_row(F, K);
    if constexpr (is_whole(F))
        LAUNCH(dev, (pack_whole<F>), blocks_for(n * at.units * 32, THREADS), THREADS, 0, to, from,
               n, K);
    else
        LAUNCH(dev, (pack_floats<F>), blocks_for(n * at.bytes / (code_bytes(F) / 8), THREADS),
               THREADS, 0, to, from, n, K);
}

void cuda_packed_pack(struct device *dev, const struct packed_weight *w, int64_t first, int64_t n,
                      const struct packed_source *rows)
{
    struct rows_there from = {NULL, NULL, NULL, NULL};
    uint8_t *to = (uint8_t *)w->packed + first * plan_row(w->form, w->K).bytes;
    if (n * w->K == 0 || !upload(dev, &from, w, rows, n))
        return;
#define LAY_OUT(F) lay_out<F>(dev, to, from, n, w->K)
    PACKED_SWITCH(w->form, LAY_OUT)
#undef LAY_OUT
}

/* ---- and back ---- */

struct widening {
    void *out;
    const uint8_t *w[PACKED_WIDEN]; /* each of `each` rows of those that are widened */
    const int32_t *ids;             /* of w[0] */
    int64_t ldo, K, first, n, each;
    bool narrow, in_quads; /* in_quads: four numbers can be stored at once */
    struct levels levels;
};

/* Four numbers from at on, of which n are there. */
static __device__ void put_quad(const struct widening &a, int64_t at, const float v[4], int64_t n)
{
    if (a.in_quads && n >= 4 && a.narrow)
        *(uint2 *)((uint16_t *)a.out + at) =
            make_uint2(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]));
    else if (a.in_quads && n >= 4)
        *(float4 *)((float *)a.out + at) = make_float4(v[0], v[1], v[2], v[3]);
    else
        for (int j = 0; j < 4 && j < n; j++)
            if (a.narrow)
                ((uint16_t *)a.out)[at + j] = bf16_round(v[j]);
            else
                ((float *)a.out)[at + j] = v[j];
}

/* Unit u of row t, which is piece i of what was read. */
template <int F>
static __device__ __forceinline__ void widen_unit(const struct widening &a,
                                                  const struct pieces<F> *p, int i, int64_t t,
                                                  int u, int lane, const float *levels)
{
#pragma unroll
    for (int quad = 0; quad < 2; quad++) {
        int64_t k = (int64_t)u * UNIT + quad_at(F, lane, quad);
        float v[4], scale = quad_scale<F>(p, i, quad), min = quad_min<F>(p, i, quad);
        quad_numbers<F>(v, p, i, quad, levels);
        for (int j = 0; j < 4; j++)
            v[j] = fmaf(scale, v[j], min);
        put_quad(a, t * a.ldo + k, v, a.K - k);
    }
}

/* Steps of a row that a warp takes at a time: an integer form's chunks, then its single units; a float form's units. */
FORM_FACT int widening_steps(int form, int units)
{
    return is_whole(form) ? units / CHUNK + units % CHUNK : units;
}

template <int F>
static __device__ __forceinline__ void widen_step(const struct widening &a,
                                                  const struct row_plan &at, int64_t t, int step,
                                                  int lane, const float *levels)
{
    int which = (int)t / (int)a.each;
    const uint8_t *row = a.w[which] + (a.ids ? a.ids[t] : a.first + t - which * a.each) * at.bytes;
    int chunks = is_whole(F) ? at.units / CHUNK : 0;
    struct pieces<F> p;
    if constexpr (!is_whole(F)) {
        load_floats<F>(&p, row, step, 1, (int)a.K, lane);
        widen_unit<F>(a, &p, 0, t, step, lane, levels);
    } else if (step < chunks) {
        load_chunk<F>(&p, row, at, step, lane);
#pragma unroll
        for (int i = 0; i < CHUNK; i++)
            widen_unit<F>(a, &p, i, t, step * CHUNK + i, lane, levels);
    } else {
        int u = chunks * CHUNK + step - chunks;
        load_unit<F>(&p, row, at, u, lane);
        widen_unit<F>(a, &p, 0, t, u, lane, levels);
    }
}

/* Each warp takes every so-many-th step of all rows: blocks stay, as levels are laid out once a block. */
template <int F>
static __global__ void __launch_bounds__(THREADS) widen(const __grid_constant__ struct widening a)
{
    __shared__ float levels[16];
    const struct row_plan at = plan_row(F, a.K);
    int steps = widening_steps(F, at.units), lane = threadIdx.x % 32;
    int64_t first = thread_index() / 32, stride = (int64_t)gridDim.x * (THREADS / 32);
    int64_t t = first / steps, rows = stride / steps;
    int step = (int)(first % steps), more = (int)(stride % steps);
    if (threadIdx.x < 16)
        levels[threadIdx.x] = a.levels.of[threadIdx.x];
    __syncthreads();
    while (t < a.n) {
        widen_step<F>(a, at, t, step, lane, levels);
        t += rows;
        step += more;
        if (step >= steps) {
            step -= steps;
            t++;
        }
    }
}

static void widen_rows(struct device *dev, struct widening *a, void *out, bool narrow, int64_t ldo,
                       const struct packed_weight *w)
{
    a->out = out;
    a->ldo = ldo;
    a->K = w->K;
    a->narrow = narrow;
    a->in_quads = (uintptr_t)out % 16 == 0 && ldo % 4 == 0;
    a->levels = packed_levels();
    int64_t steps = a->n * widening_steps(w->form, plan_row(w->form, w->K).units);
    unsigned blocks = blocks_for(steps * 32, THREADS), most = (unsigned)cuda_of(dev)->n_sms * 8;
    blocks = blocks < most ? blocks : most;
#define WIDEN(F) LAUNCH(dev, (widen<F>), blocks, THREADS, 0, *a)
    PACKED_SWITCH(w->form, WIDEN)
#undef WIDEN
}

void packed_widen(struct device *dev, void *out, bool narrow, int64_t ldo,
                  const struct packed_weight *w, const int32_t *ids, int64_t first, int64_t n)
{
    struct widening a = {};
    a.w[0] = (const uint8_t *)w->packed;
    a.ids = ids;
    a.first = first;
    a.n = n, a.each = max(n, (int64_t)1);
    widen_rows(dev, &a, out, narrow, ldo, w);
}

void packed_widen_all(struct device *dev, void *out, bool narrow, int64_t ldo,
                      const struct packed_weight *w, int n)
{
    struct widening a = {};
    for (int i = 0; i < n; i++)
        a.w[i] = (const uint8_t *)w[i].packed;
    a.n = w->N * n, a.each = w->N;
    widen_rows(dev, &a, out, narrow, ldo, w);
}

void cuda_packed_rows(struct device *dev, float *y, const struct packed_weight *w,
                      const int32_t *ids, int64_t T)
{
    packed_widen(dev, y, false, w->K, w, ids, 0, T);
}

/* ---- products ---- */

/* The end of a run of weights from e on, each of more than a few slots. */
static int64_t crowd_end(const struct packed_args *a, int64_t e)
{
    while (e < a->E && a->offset[e + 1] - a->offset[e] > FEW_ROWS)
        e++;
    return e;
}

/* Weights e … end − 1, each of more than a few slots. */
static void many(struct device *dev, const struct packed_args *a, const struct packed_call *call,
                 int64_t e, int64_t end)
{
    bool together = a->w->compute == DT_BF16 && !a->bias;
    for (int n; e < end; e += n) {
        struct packed_job jobs[PACKED_WIDEN];
        n = (int)min(end - e, together ? (int64_t)PACKED_WIDEN : (int64_t)1);
        for (int i = 0; i < n; i++)
            jobs[i] = {a->w[e + i].packed, a->offset[e + i],
                       a->offset[e + i + 1] - a->offset[e + i]};
        if (n > 1)
            packed_experts(dev, a->w + e, call, jobs, n);
        else
            packed_many(dev, a->w + e, call, jobs);
    }
}

void cuda_packed_forward(struct device *dev, const struct packed_args *a)
{
    enum { JOBS = 128 };
    struct packed_job jobs[JOBS];
    int n_jobs = 0;
    if (a->offset[a->E] == a->offset[0])
        return;
    struct packed_call call = {a->y,    a->x,   a->x_row, a->y_row,    a->bias,      a->w->N,
                               a->w->K, a->ldy, a->ldx,   a->w->gated, a->accumulate};
    for (int64_t e = 0, end; e < a->E; e = end) {
        end = crowd_end(a, e);
        if (end > e) {
            many(dev, a, &call, e, end);
            continue;
        }
        struct packed_job j = {a->w[e].packed, a->offset[e], a->offset[e + 1] - a->offset[e]};
        end = e + 1;
        if (j.n)
            jobs[n_jobs++] = j;
        if (n_jobs == JOBS) {
            packed_few(dev, a->w->form, &call, jobs, n_jobs);
            n_jobs = 0;
        }
    }
    if (n_jobs)
        packed_few(dev, a->w->form, &call, jobs, n_jobs);
}
