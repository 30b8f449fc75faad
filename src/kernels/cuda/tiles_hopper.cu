/* Products of experts in bf16 on Hopper's tensor cores, sums in float32: see tiles.h and hopper.h.
 *
 * An expert has about as many slots as a tile is wide, so its weight is what takes the time, and every number of it should be read
 * once. So weights stand on the tall side of a tile, 256 rows of them, and slots across, 32 to 192 in steps of 32: an expert's slots
 * are one tile's columns, and the output's tile lies turned. Gradients of weights are tiles of 256 rows and 192 columns.
 *
 *     FORWARD          cᵀ [n, slot]   w[e] rows n, inner k                slots: rows, inner k
 *     BACKWARD_INPUT   cᵀ [k, slot]   w[e] DEEP: rows inner n, lines k    slots: rows, inner n
 *     BACKWARD_WEIGHT  w[e] [n, k]    a DEEP: rows inner slot, lines n    b DEEP: rows inner slot, lines k
 *
 * One thread of the third group of four warps starts the copies, four steps of 64 of the inner sum ahead; the first two groups
 * multiply 128 of the tile's rows each and write them. A block takes tile after tile, and copies of the next tile are under way while
 * one is written. An expert's slots end within a piece: rows of slots beyond it are columns of a tile that nobody writes; of a
 * gradient's inner sum they are read as zeros, since an expert's slots are then a matrix of their own to the copy engine.
 */
#include "kernels/cuda/hopper.h"
#include "kernels/cuda/tiles.h"

enum {
    HEIGHT = 256,
    DEPTH = 64,
    STAGES = 4,
    GROUPS = 2, /* that multiply */
    GROUP = 128,
    THREADS = (GROUPS + 1) * GROUP,
    PIECE = PIECE_COLUMNS * PIECE_ROW_BYTES, /* 64 rows */
    LEFT = HEIGHT * PIECE_ROW_BYTES,         /* bytes of a stage's tall operand */
    STEP = 32,                               /* of widths */
    WIDEST = 192,
    STAGE = LEFT + WIDEST * PIECE_ROW_BYTES,
    SHARED = STAGES * STAGE + PIECE_ALIGN + 2 * STAGES * (int)sizeof(uint64_t),
    GIVEN = 40, /* registers of a thread that copies, and of one that multiplies */
    TAKEN = 232,
    INNER = 16, /* of one product of a group */
    MAPS = 200
};

struct part {
    void *w;
    int32_t slot, slots; /* the expert's */
    int32_t first;       /* tiles before its own */
    int32_t across;      /* tiles side by side */
    int32_t width;       /* columns of each */
};

/* Of one launch, by value: experts with slots only. maps: BACKWARD_WEIGHT a and b of each expert, otherwise weights and last the slots. */
struct hopper {
    tensor_map maps[MAPS];
    struct part parts[MAPS];
    float *c;
    int64_t ldc, ldw;
    int32_t n, n_tiles, inner, rows, columns; /* columns: of a gradient */
    bool accumulate, pairs;
};

/* Where in the ring of stages somebody is. */
struct turn {
    int stage;
    unsigned parity;
};

static __device__ __forceinline__ void next(struct turn *at)
{
    if (++at->stage == STAGES) {
        at->stage = 0;
        at->parity ^= 1;
    }
}

struct ring {
    unsigned char *stages;
    uint64_t *full, *empty;
};

struct tall_tile {
    int part, row, column, width, n_steps;
};

template <enum tiles_direction D>
static __device__ __forceinline__ struct tall_tile tile_at(const struct hopper &t, int i)
{
    int expert = last_begun(t.n, i, [&](int e) { return t.parts[e].first; });
    const struct part &p = t.parts[expert];
    int inner = D == BACKWARD_WEIGHT ? p.slots : t.inner;
    i -= p.first;
    return {expert, i / p.across * HEIGHT, i % p.across * p.width, p.width,
            (inner + DEPTH - 1) / DEPTH};
}

/* ---- copying ---- */

template <enum tiles_direction D>
static __device__ __forceinline__ void fetch(const struct hopper &t, const struct tall_tile &p,
                                             int inner, unsigned char *stage, uint64_t *full)
{
    const tensor_map *left = &t.maps[D == BACKWARD_WEIGHT ? 2 * p.part : p.part],
                     *right = D == BACKWARD_WEIGHT ? left + 1 : &t.maps[MAPS - 1];
    barrier_expect(full, (uint32_t)(LEFT + p.width * PIECE_ROW_BYTES));
#pragma unroll
    for (int i = 0; i < HEIGHT; i += PIECE_COLUMNS) {
        void *to = stage + i * PIECE_ROW_BYTES;
        if (D == FORWARD)
            piece_fetch(to, left, inner, p.row + i, full);
        else
            piece_fetch(to, left, p.row + i, inner, full);
    }
    for (int i = 0; i < p.width; i += D == BACKWARD_WEIGHT ? (int)PIECE_COLUMNS : (int)STEP) {
        void *to = stage + LEFT + i * PIECE_ROW_BYTES;
        if (D == BACKWARD_WEIGHT)
            piece_fetch(to, right, p.column + i, inner, full);
        else
            piece_fetch(to, right, inner, t.parts[p.part].slot + p.column + i, full);
    }
}

template <enum tiles_direction D>
static __device__ __forceinline__ void fetch_all(const struct hopper &t, const struct ring &r)
{
    struct turn at = {0, 0};
    for (int i = (int)blockIdx.x; i < t.n_tiles; i += (int)gridDim.x) {
        struct tall_tile p = tile_at<D>(t, i);
        if (D != BACKWARD_WEIGHT && i + (int)gridDim.x < t.n_tiles)
            tensor_map_prefetch(&t.maps[tile_at<D>(t, i + (int)gridDim.x).part]);
        for (int step = 0; step < p.n_steps; step++) {
            barrier_wait(&r.empty[at.stage], at.parity ^ 1);
            fetch<D>(t, p, step * DEPTH, r.stages + at.stage * STAGE, &r.full[at.stage]);
            next(&at);
        }
    }
}

/* ---- multiplying ---- */

static __device__ __forceinline__ void give_back(const struct ring &r, int stage)
{
    if (threadIdx.x % 32 == 0)
        barrier_arrive(&r.empty[stage]);
}

/* One step of this group's 128 rows: two of 64, N columns. */
template <enum tiles_direction D, int N>
static __device__ __forceinline__ void multiply(float (&sum)[2][N / 2], uint32_t stage)
{
    constexpr bool A_DEEP = D != FORWARD, B_DEEP = D == BACKWARD_WEIGHT;
    constexpr int ALONG = INNER * 2, DOWN = INNER * PIECE_ROW_BYTES;
    int group = __shfl_sync(ALL_LANES, (int)threadIdx.x / GROUP, 0); /* the same for a warp */
    uint64_t a = piece_descriptor(stage + (uint32_t)(group * 2 * PIECE), PIECE),
             b = piece_descriptor(stage + LEFT, PIECE);
#pragma unroll
    for (int k = 0; k < DEPTH / INNER; k++)
#pragma unroll
        for (int i = 0; i < 2; i++)
            group_product<N, A_DEEP, B_DEEP>(
                sum[i], a + (uint64_t)((i * PIECE + k * (A_DEEP ? DOWN : ALONG)) >> 4),
                b + (uint64_t)((k * (B_DEEP ? DOWN : ALONG)) >> 4));
}

template <enum tiles_direction D, int N>
static __device__ __forceinline__ void multiply_all(float (&sum)[2][N / 2], const struct ring &r,
                                                    int n_steps, struct turn *at)
{
    uint32_t stages = shared_address(r.stages);
    int before = 0;
    for (int step = 0; step < n_steps; step++) {
        barrier_wait(&r.full[at->stage], at->parity);
        group_touch(sum[0]);
        group_touch(sum[1]);
        group_fence();
        multiply<D, N>(sum, stages + (uint32_t)(at->stage * STAGE));
        group_commit();
        group_touch(sum[0]);
        group_touch(sum[1]);
        group_wait<1>();
        if (step)
            give_back(r, before);
        before = at->stage;
        next(at);
    }
    group_wait<0>();
    group_touch(sum[0]);
    group_touch(sum[1]);
    give_back(r, before);
}

/* ---- writing ---- */

static __device__ __forceinline__ void put_one(float *c, float x, bool accumulate)
{
    *c = accumulate ? *c + x : x;
}

/* Column after column of a tile is a row of the output: 8 lanes write 8 neighbours. */
template <int N>
static __device__ __forceinline__ void
store_turned(const struct hopper &t, const struct tall_tile &p, const float (&sum)[2][N / 2])
{
    int lane = (int)threadIdx.x % 32, row = p.row + (int)threadIdx.x / GROUP * 2 * PIECE_COLUMNS +
                                            (int)threadIdx.x % GROUP / 32 * 16 + lane / 4;
    int left = t.parts[p.part].slots - p.column - lane % 4 * 2;
    float *c =
        t.c + (int64_t)(t.parts[p.part].slot + p.column + lane % 4 * 2) * t.ldc + (int64_t)row;
#pragma unroll
    for (int j = 0; j < N / 8; j++) {
#pragma unroll
        for (int second = 0; second < 2; second++) {
            if (j * 8 + second >= left)
                continue;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int down = i / 2 * PIECE_COLUMNS + i % 2 * 8;
                if (row + down < t.rows)
                    put_one(c + second * t.ldc + down, sum[i / 2][j * 4 + i % 2 * 2 + second],
                            t.accumulate);
            }
        }
        c += 8 * t.ldc;
    }
}

/* Two neighbours each of TIMES blocks of 8 columns; where the output is added to, all are read before any is written. */
enum { TIMES = 4 };

static __device__ __forceinline__ void put_pairs(float *c, const float *sum, bool accumulate)
{
    float2 was[TIMES] = {};
    if (accumulate)
#pragma unroll
        for (int j = 0; j < TIMES; j++)
            was[j] = *(const float2 *)(c + j * 8);
#pragma unroll
    for (int j = 0; j < TIMES; j++)
        *(float2 *)(c + j * 8) = make_float2(was[j].x + sum[j * 4], was[j].y + sum[j * 4 + 1]);
}

/* The same with `left` columns from c on. */
static __device__ __forceinline__ void put_some(float *c, const float *sum, int left,
                                                bool accumulate)
{
#pragma unroll
    for (int j = 0; j < TIMES; j++)
#pragma unroll
        for (int second = 0; second < 2; second++)
            if (j * 8 + second < left)
                put_one(c + j * 8 + second, sum[j * 4 + second], accumulate);
}

static __device__ __forceinline__ void
store_gradient(const struct hopper &t, const struct tall_tile &p, const float (&sum)[2][WIDEST / 2])
{
    int lane = (int)threadIdx.x % 32, row = p.row + (int)threadIdx.x / GROUP * 2 * PIECE_COLUMNS +
                                            (int)threadIdx.x % GROUP / 32 * 16 + lane / 4;
    int left = t.columns - p.column - lane % 4 * 2;
    float *w = (float *)t.parts[p.part].w + p.column + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int down = row + i / 2 * PIECE_COLUMNS + i % 2 * 8;
        if (down >= t.rows)
            continue;
        float *c = w + (int64_t)down * t.ldw;
#pragma unroll
        for (int j = 0; j < WIDEST / 8; j += TIMES) {
            const float *from = &sum[i / 2][j * 4 + i % 2 * 2];
            if (t.pairs && j * 8 + TIMES * 8 <= left)
                put_pairs(c + j * 8, from, t.accumulate);
            else
                put_some(c + j * 8, from, left - j * 8, t.accumulate);
        }
    }
}

template <enum tiles_direction D, int N>
static __device__ __forceinline__ void make(const struct hopper &t, const struct tall_tile &p,
                                            const struct ring &r, struct turn *at)
{
    float sum[2][N / 2] = {};
    multiply_all<D, N>(sum, r, p.n_steps, at);
    if constexpr (D == BACKWARD_WEIGHT)
        store_gradient(t, p, sum);
    else
        store_turned<N>(t, p, sum);
}

template <enum tiles_direction D>
static __device__ __forceinline__ void make_all(const struct hopper &t, const struct ring &r)
{
    struct turn at = {0, 0};
    for (int i = (int)blockIdx.x; i < t.n_tiles; i += (int)gridDim.x) {
        struct tall_tile p = tile_at<D>(t, i);
        if constexpr (D == BACKWARD_WEIGHT) {
            make<D, WIDEST>(t, p, r, &at);
        } else {
            if (p.width == STEP)
                make<D, STEP>(t, p, r, &at);
            else if (p.width == 2 * STEP)
                make<D, 2 * STEP>(t, p, r, &at);
            else if (p.width == 3 * STEP)
                make<D, 3 * STEP>(t, p, r, &at);
            else if (p.width == 4 * STEP)
                make<D, 4 * STEP>(t, p, r, &at);
            else if (p.width == 5 * STEP)
                make<D, 5 * STEP>(t, p, r, &at);
            else
                make<D, WIDEST>(t, p, r, &at);
        }
    }
}

template <enum tiles_direction D>
static __global__ void __launch_bounds__(THREADS, 1)
    product_hopper(const __grid_constant__ struct hopper t)
{
#if defined MOE2_EMULATED || defined __CUDA_ARCH_FEAT_SM90_ALL
    DYNAMIC_SHARED(unsigned char, shared);
    struct ring r;
    r.stages = shared + (PIECE_ALIGN - shared_address(shared) % PIECE_ALIGN) % PIECE_ALIGN;
    r.full = (uint64_t *)(void *)(r.stages + STAGES * STAGE);
    r.empty = r.full + STAGES;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_init(&r.full[i], 1);
            barrier_init(&r.empty[i], GROUPS * GROUP / 32);
        }
        barriers_ready();
    }
    __syncthreads();
    if (threadIdx.x >= GROUPS * GROUP) {
        registers_give<GIVEN>();
        if (threadIdx.x == GROUPS * GROUP)
            fetch_all<D>(t, r);
    } else {
        registers_take<TAKEN>();
        make_all<D>(t, r);
    }
#endif
}

/* ---- the host's side ---- */

/* Adds expert e of t: its tiles, and how its matrices are found. */
template <enum tiles_direction D>
static bool add(struct device *dev, struct hopper *h, const struct tiles *t, int e)
{
    struct part *p = &h->parts[h->n];
    tensor_map *maps = &h->maps[D == BACKWARD_WEIGHT ? 2 * h->n : h->n];
    *p = {t->w[e], t->offset[e], t->offset[e + 1] - t->offset[e], h->n_tiles, 0, WIDEST};
    h->n++;
    if (D == BACKWARD_WEIGHT) {
        p->across = (h->columns + WIDEST - 1) / WIDEST;
        const uint16_t *a = (const uint16_t *)t->a + p->slot * t->lda,
                       *b = (const uint16_t *)t->b + p->slot * t->ldb;
        if (!tensor_map_make(dev, &maps[0], a, t->side, p->slots, t->lda, DEPTH) ||
            !tensor_map_make(dev, &maps[1], b, t->across, p->slots, t->ldb, DEPTH))
            return false;
    } else {
        int side_by_side = (p->slots + WIDEST - 1) / WIDEST;
        int each = (p->slots + side_by_side - 1) / side_by_side;
        p->width = (each + STEP - 1) / STEP * STEP;
        p->across = (p->slots + p->width - 1) / p->width;
        int64_t rows = D == FORWARD ? t->across : t->inner,
                columns = D == FORWARD ? t->inner : t->across;
        if (!tensor_map_make(dev, maps, t->w[e], columns, rows, t->ldw, PIECE_COLUMNS))
            return false;
    }
    h->n_tiles += p->across * ((h->rows + HEIGHT - 1) / HEIGHT);
    return true;
}

template <enum tiles_direction D> static void launch(struct device *dev, const struct hopper *h)
{
    cuda_allow_shared(dev, (const void *)product_hopper<D>, SHARED);
    unsigned n = (unsigned)min(h->n_tiles, cuda_of(dev)->n_sms);
    LAUNCH(dev, (product_hopper<D>), n, THREADS, SHARED, *h);
}

/* All experts with slots, in launches of about equally many. */
template <enum tiles_direction D> static void product(struct device *dev, const struct tiles *t)
{
    static_assert(sizeof(struct hopper) <= 32764, "more than a kernel can be given");
    struct hopper h;
    const int most = D == BACKWARD_WEIGHT ? MAPS / 2 : MAPS - 1;
    int n = 0;
    for (int e = 0; e < t->n_experts; e++)
        n += t->offset[e] < t->offset[e + 1];
    int launches = (n + most - 1) / most, each = launches ? (n + launches - 1) / launches : 0;
    h.c = t->c, h.ldc = t->ldc, h.ldw = t->ldw;
    h.inner = (int32_t)t->inner;
    h.rows = (int32_t)(D == BACKWARD_WEIGHT ? t->side : t->across);
    h.columns = (int32_t)t->across;
    h.accumulate = t->accumulate, h.pairs = t->pairs;
    h.n = h.n_tiles = 0;
    if (n && D != BACKWARD_WEIGHT &&
        !tensor_map_make(dev, &h.maps[MAPS - 1], t->a, t->inner, t->offset[t->n_experts], t->lda,
                         STEP))
        return;
    for (int e = 0; e < t->n_experts; e++) {
        if (t->offset[e] == t->offset[e + 1])
            continue;
        if (!add<D>(dev, &h, t, e))
            return;
        n--;
        if (h.n == each || n == 0) {
            launch<D>(dev, &h);
            h.n = h.n_tiles = 0;
        }
    }
}

bool tiles_hopper(struct device *dev, enum tiles_direction d, const struct tiles *t)
{
    if (!cuda_of(dev)->hopper)
        return false;
    bool tall = (d == BACKWARD_WEIGHT ? t->side : t->across) > HEIGHT / 2;
    if (!tall || (d == BACKWARD_WEIGHT ? t->across <= WIDEST / 2 : t->inner < 1))
        return false;
    if (d == FORWARD)
        product<FORWARD>(dev, t);
    else if (d == BACKWARD_INPUT)
        product<BACKWARD_INPUT>(dev, t);
    else
        product<BACKWARD_WEIGHT>(dev, t);
    return true;
}
