/* Products of experts in bf16 on tensor cores, sums in float32: see tiles.h.
 *
 * A block's 8 warps make a tile of 128 rows and 256 or 64 columns, 32 of the inner sum at a time. Operands are on their way from memory
 * three steps ahead (copy_16), and from shared memory half a step ahead of the units. A piece of an operand lies in shared memory
 * as in memory: [line][inner], or DEEP: [inner][line]; its 16-byte parts are swapped about so that the 8 rows that load_matrices
 * reads at once fall on all banks. Rows of 16 are dealt to the warps in turn, and what lies beyond an expert's slots or the output's
 * columns costs no products.
 */
#include "kernels/cuda/tiles.h"

enum {
    HEIGHT = 128,
    WIDE = 256,
    NARROW = 64,
    DEPTH = 32,
    STAGES = 4,
    THREADS = 256,
    WARPS = THREADS / 32,
    PART = 8,         /* numbers in 16 bytes */
    WARP_COLUMNS = 64 /* of a tile, a warp's */
};

/* Where part `part` of row `row` of a piece of LINES lines lies, in numbers. */
template <int LINES, bool DEEP> static __device__ __forceinline__ int place(int row, int part)
{
    if (DEEP)
        return row * LINES + (part ^ (row & 7)) * PART;
    return row * DEPTH + (part ^ (row >> 1 & 3)) * PART;
}

/* A thread's share of bringing an operand's pieces, step after step: TIMES parts, ROWS rows of the piece apart. */
template <int LINES, bool DEEP> struct source {
    enum {
        PARTS = (DEEP ? LINES : (int)DEPTH) / PART,
        ROWS = THREADS / PARTS,
        TIMES = LINES * DEPTH / PART / THREADS,
        NEXT = ROWS * (DEEP ? LINES : (int)DEPTH)
    };
    const uint16_t *at; /* its first part of the coming step */
    int64_t next_row, next_step;
    int to;
    int left;       /* of the inner sum, counted from `at` on */
    unsigned lines; /* bit i: the operand has the line of part i */
};

/* The operand begins at `from`, with n_lines lines and n_inner of the inner sum. */
template <int LINES, bool DEEP>
static __device__ __forceinline__ void source_of(struct source<LINES, DEEP> *s,
                                                 const uint16_t *from, int64_t ld, int64_t n_lines,
                                                 int64_t n_inner)
{
    typedef struct source<LINES, DEEP> source;
    int row = (int)threadIdx.x / source::PARTS, part = (int)threadIdx.x % source::PARTS;
    s->at = from + row * ld + part * PART;
    s->next_row = source::ROWS * ld;
    s->next_step = (DEEP ? ld : 1) * DEPTH;
    s->to = place<LINES, DEEP>(row, part);
    s->left = (int)n_inner - (DEEP ? row : part * PART);
    s->lines = 0;
    for (int i = 0; i < source::TIMES; i++)
        s->lines |= (unsigned)((DEEP ? part * PART : row + i * source::ROWS) < n_lines) << i;
}

/* Starts the copies of the coming step. */
template <int LINES, bool DEEP>
static __device__ __forceinline__ void fetch(uint16_t *piece, struct source<LINES, DEEP> *s)
{
    typedef struct source<LINES, DEEP> source;
#pragma unroll
    for (int i = 0; i < source::TIMES; i++) {
        bool there = (s->lines >> i & 1) && s->left > (DEEP ? i * source::ROWS : 0);
        copy_16(piece + s->to + i * source::NEXT, s->at + i * s->next_row, there);
    }
    s->at += s->next_step;
    s->left -= DEPTH;
}

/* What a warp holds of one half step: N rows of 16 and 64 columns. */
template <int N> struct fragments {
    uint32_t a[N][4], b[WARP_COLUMNS / 16][4];
};

/* A warp's place in the tile: it has the rows of 16 first, first + down, … and 64 columns. */
struct share {
    int first, column, n; /* n: how many of its rows of 16 have anything to do */
    int a[4],
        b[4]; /* where this lane's rows of the fragments lie: of each half, or DEEP of each fragment */
};

/* Row l%8 of matrix l/8 of lane l, in the order of mma_bf16's a and of two neighbouring b. */
template <int N, int WIDTH, int DOWN, bool A_DEEP, bool B_DEEP>
static __device__ __forceinline__ void find_rows(struct share *s)
{
    int lane = (int)threadIdx.x % 32, i = lane / 8, j = lane % 8;
    for (int k = 0; k < (A_DEEP ? N : 2); k++)
        s->a[k] = A_DEEP ? place<HEIGHT, true>(j + i / 2 * 8, (s->first + k * DOWN) * 2 + i % 2)
                         : place<HEIGHT, false>(s->first * 16 + j + i % 2 * 8, k * 2 + i / 2);
    for (int k = 0; k < (B_DEEP ? WARP_COLUMNS / 16 : 2); k++)
        s->b[k] = B_DEEP ? place<WIDTH, true>(j + i % 2 * 8, s->column / PART + k * 2 + i / 2)
                         : place<WIDTH, false>(s->column + j + i / 2 * 8, k * 2 + i % 2);
}

template <int N, int WIDTH, int DOWN, bool A_DEEP, bool B_DEEP>
static __device__ __forceinline__ void load(struct fragments<N> *f, const uint16_t *a,
                                            const uint16_t *b, const struct share &s, int half)
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (A_DEEP)
            load_matrices_turned(f->a[i], a + s.a[i] + half * 16 * HEIGHT);
        else
            load_matrices(f->a[i], a + s.a[half] + i * DOWN * 16 * DEPTH);
    }
#pragma unroll
    for (int j = 0; j < WARP_COLUMNS / 16; j++) {
        if (B_DEEP)
            load_matrices_turned(f->b[j], b + s.b[j] + half * 16 * WIDTH);
        else
            load_matrices(f->b[j], b + s.b[half] + j * 16 * DEPTH);
    }
}

template <int N>
static __device__ __forceinline__ void multiply(float sum[N][WARP_COLUMNS / 8][4],
                                                const struct fragments<N> &f, int n)
{
#pragma unroll
    for (int i = 0; i < N; i++) {
        if (i >= n)
            break;
#pragma unroll
        for (int j = 0; j < WARP_COLUMNS / 8; j++)
            mma_bf16(sum[i][j], f.a[i], f.b[j / 2] + j % 2 * 2);
    }
}

/* Two neighbours of the output. */
static __device__ __forceinline__ void put(float *c, float x, float y, bool second, bool pairs,
                                           bool accumulate)
{
    if (pairs && second) {
        float2 *to = (float2 *)c, was = make_float2(0, 0);
        if (accumulate)
            was = *to;
        *to = make_float2(was.x + x, was.y + y);
        return;
    }
    c[0] = accumulate ? c[0] + x : x;
    if (second)
        c[1] = accumulate ? c[1] + y : y;
}

template <int N, int DOWN>
static __device__ __forceinline__ void store(const struct tiles &t, const struct tile &p,
                                             const struct share &s,
                                             float sum[N][WARP_COLUMNS / 8][4])
{
    int lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < N; i++)
#pragma unroll
        for (int below = 0; below < 2; below++) {
            int64_t row = p.row + (s.first + i * DOWN) * 16 + below * 8 + lane / 4;
            if (row >= p.side)
                continue;
#pragma unroll
            for (int j = 0; j < WARP_COLUMNS / 8; j++) {
                int64_t column = p.column + s.column + j * 8 + lane % 4 * 2;
                if (column < t.across)
                    put(p.c + row * p.ldc + column, sum[i][j][2 * below], sum[i][j][2 * below + 1],
                        column + 1 < t.across, t.pairs, t.accumulate);
            }
        }
}

template <int N, int WIDTH, int DOWN>
static __device__ __forceinline__ struct share share_of(const struct tile &p, int64_t across)
{
    int warp = (int)threadIdx.x / 32;
    struct share s;
    s.first = warp % DOWN;
    s.column = warp / DOWN * WARP_COLUMNS;
    s.n = 0;
    int64_t left = (p.side - p.row + 15) / 16 - s.first;
    if (left > 0 && p.column + s.column < across)
        s.n = (int)min((left + DOWN - 1) / DOWN, (int64_t)N);
    return s;
}

template <enum tiles_direction D, int WIDTH>
static __global__ void __launch_bounds__(THREADS, WIDTH == WIDE ? 1 : 2)
    product_bf16(const __grid_constant__ struct tiles t)
{
    enum {
        DOWN = WARPS * WARP_COLUMNS / WIDTH, /* warps one below the other */
        N = HEIGHT / 16 / DOWN,
        A_SIZE = HEIGHT * DEPTH,
        SIZE = A_SIZE + WIDTH * DEPTH
    };
    constexpr bool A_DEEP = D == BACKWARD_WEIGHT, B_DEEP = D != FORWARD;
    DYNAMIC_SHARED(uint16_t, stages);
    struct tile p = tile_of<D, uint16_t, uint16_t>(t, HEIGHT, WIDTH);
    struct source<HEIGHT, A_DEEP> a;
    struct source<WIDTH, B_DEEP> b;
    source_of(&a, (const uint16_t *)p.a + p.row * (A_DEEP ? 1 : t.lda), t.lda, p.side - p.row,
              p.inner);
    source_of(&b, (const uint16_t *)p.b + p.column * (B_DEEP ? 1 : p.ldb), p.ldb,
              t.across - p.column, p.inner);
    struct share s = share_of<N, WIDTH, DOWN>(p, t.across);
    find_rows<N, WIDTH, DOWN, A_DEEP, B_DEEP>(&s);
    int n_steps = (int)((p.inner + DEPTH - 1) / DEPTH);
    float sum[N][WARP_COLUMNS / 8][4] = {};
    struct fragments<N> now, next;
    auto start = [&](int step) {
        uint16_t *to = stages + step % STAGES * SIZE;
        if (step < n_steps) {
            fetch(to, &a);
            fetch(to + A_SIZE, &b);
        }
        copies_commit();
    };
    auto read = [&](struct fragments<N> *f, int step, int half) {
        const uint16_t *from = stages + step % STAGES * SIZE;
        if (step < n_steps)
            load<N, WIDTH, DOWN, A_DEEP, B_DEEP>(f, from, from + A_SIZE, s, half);
    };
#pragma unroll
    for (int step = 0; step < STAGES - 1; step++)
        start(step);
    copies_wait<STAGES - 2>();
    __syncthreads();
    read(&now, 0, 0);
    for (int step = 0; step < n_steps; step++) {
        read(&next, step, 1);
        multiply<N>(sum, now, s.n);
        start(step + STAGES - 1); /* where the step before was read */
        copies_wait<STAGES - 2>();
        __syncthreads();
        read(&now, step + 1, 0);
        multiply<N>(sum, next, s.n);
    }
    store<N, DOWN>(t, p, s, sum);
}

template <enum tiles_direction D, int WIDTH> static void launch(struct device *dev, struct tiles *t)
{
    size_t shared = (size_t)STAGES * (HEIGHT + WIDTH) * DEPTH * sizeof(uint16_t);
    unsigned n = (unsigned)tiles_count<D>(t, HEIGHT, WIDTH);
    cuda_allow_shared(dev, (const void *)product_bf16<D, WIDTH>, shared);
    LAUNCH(dev, (product_bf16<D, WIDTH>), n, THREADS, shared, *t);
}

template <enum tiles_direction D> static void by_width(struct device *dev, struct tiles *t)
{
    if (t->across > 2 * NARROW)
        launch<D, WIDE>(dev, t);
    else
        launch<D, NARROW>(dev, t);
}

void tiles_bf16(struct device *dev, enum tiles_direction d, struct tiles *t)
{
    if (tiles_hopper(dev, d, t))
        return;
    if (d == FORWARD)
        by_width<FORWARD>(dev, t);
    else if (d == BACKWARD_INPUT)
        by_width<BACKWARD_INPUT>(dev, t);
    else
        by_width<BACKWARD_WEIGHT>(dev, t);
}
