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

/* Starts a thread's copies of a piece from step `depth` on; n_lines and n_depth are what the operand has, counted from `from`. */
template <int LINES, bool DEEP>
static __device__ __forceinline__ void fetch(uint16_t *piece, const uint16_t *from, int64_t ld,
                                             int64_t n_lines, int64_t depth, int64_t n_depth)
{
    enum { PARTS = (DEEP ? LINES : DEPTH) / PART, ROWS = THREADS / PARTS };
    int row = (int)threadIdx.x / PARTS, part = (int)threadIdx.x % PARTS;
#pragma unroll
    for (int i = 0; i < LINES * DEPTH / PART / THREADS; i++, row += ROWS) {
        int64_t line = DEEP ? part * PART : row, d = depth + (DEEP ? row : part * PART);
        bool there = line < n_lines && d < n_depth;
        const uint16_t *at = from + (DEEP ? d * ld + line : line * ld + d);
        copy_16(piece + place<LINES, DEEP>(row, part), there ? at : from, there);
    }
}

/* The fragment of 16 lines from `line` on, of half `half` of the step's inner sum: rows of mma_bf16's a. */
template <int LINES, bool DEEP>
static __device__ __forceinline__ void load_a(uint32_t r[4], const uint16_t *piece, int line,
                                              int half)
{
    int lane = (int)threadIdx.x % 32, i = lane / 8, j = lane % 8;
    if (DEEP)
        load_matrices_turned(
            r, piece + place<LINES, DEEP>(half * 16 + j + i / 2 * 8, line / PART + i % 2));
    else
        load_matrices(r, piece + place<LINES, DEEP>(line + j + i % 2 * 8, half * 2 + i / 2));
}

/* Those of 16 lines as columns: b of two neighbouring mma_bf16, r[0..1] and r[2..3]. */
template <int LINES, bool DEEP>
static __device__ __forceinline__ void load_b(uint32_t r[4], const uint16_t *piece, int line,
                                              int half)
{
    int lane = (int)threadIdx.x % 32, i = lane / 8, j = lane % 8;
    if (DEEP)
        load_matrices_turned(
            r, piece + place<LINES, DEEP>(half * 16 + j + i % 2 * 8, line / PART + i / 2));
    else
        load_matrices(r, piece + place<LINES, DEEP>(line + j + i / 2 * 8, half * 2 + i % 2));
}

/* What a warp holds of one half step: N rows of 16 and 64 columns. */
template <int N> struct fragments {
    uint32_t a[N][4], b[WARP_COLUMNS / 16][4];
};

/* A warp's place in the tile: it has the rows of 16 first, first + step, … */
struct share {
    int first, step, column, n; /* n: how many of its rows of 16 have anything to do */
};

template <int N, int WIDTH, bool A_DEEP, bool B_DEEP>
static __device__ __forceinline__ void load(struct fragments<N> *f, const uint16_t *a,
                                            const uint16_t *b, const struct share &s, int half)
{
#pragma unroll
    for (int i = 0; i < N; i++)
        load_a<HEIGHT, A_DEEP>(f->a[i], a, (s.first + i * s.step) * 16, half);
#pragma unroll
    for (int j = 0; j < WARP_COLUMNS / 16; j++)
        load_b<WIDTH, B_DEEP>(f->b[j], b, s.column + j * 16, half);
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

template <int N>
static __device__ __forceinline__ void store(const struct tiles &t, const struct tile &p,
                                             const struct share &s,
                                             float sum[N][WARP_COLUMNS / 8][4])
{
    int lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < N; i++)
#pragma unroll
        for (int below = 0; below < 2; below++) {
            int64_t row = p.row + (s.first + i * s.step) * 16 + below * 8 + lane / 4;
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

/* N: how many rows of 16 a warp has, 8 warps a row of the tile's 8 / N · WIDTH / 64. */
template <int N, int WIDTH>
static __device__ __forceinline__ struct share share_of(const struct tile &p, int64_t across)
{
    enum { ACROSS = WIDTH / WARP_COLUMNS, DOWN = WARPS / ACROSS };
    int warp = (int)threadIdx.x / 32;
    struct share s = {warp / ACROSS, DOWN, warp % ACROSS * WARP_COLUMNS, 0};
    int64_t left = (p.side - p.row + 15) / 16 - s.first;
    if (left > 0 && p.column + s.column < across)
        s.n = (int)min((left + DOWN - 1) / DOWN, (int64_t)N);
    return s;
}

template <enum tiles_direction D, int WIDTH>
static __global__ void __launch_bounds__(THREADS, WIDTH == WIDE ? 1 : 2)
    product_bf16(const __grid_constant__ struct tiles t)
{
    enum { N = WIDTH == WIDE ? 4 : 1, A_SIZE = HEIGHT * DEPTH, SIZE = A_SIZE + WIDTH * DEPTH };
    constexpr bool A_DEEP = D == BACKWARD_WEIGHT, B_DEEP = D != FORWARD;
    DYNAMIC_SHARED(uint16_t, stages);
    struct tile p = tile_of<D, uint16_t, uint16_t>(t, HEIGHT, WIDTH);
    const uint16_t *a = (const uint16_t *)p.a + p.row * (A_DEEP ? 1 : t.lda),
                   *b = (const uint16_t *)p.b + p.column * (B_DEEP ? 1 : p.ldb);
    struct share s = share_of<N, WIDTH>(p, t.across);
    int n_steps = (int)((p.inner + DEPTH - 1) / DEPTH);
    float sum[N][WARP_COLUMNS / 8][4] = {};
    struct fragments<N> now, next;
    auto start = [&](int step) {
        uint16_t *to = stages + step % STAGES * SIZE;
        if (step < n_steps) {
            int64_t depth = (int64_t)step * DEPTH;
            fetch<HEIGHT, A_DEEP>(to, a, t.lda, p.side - p.row, depth, p.inner);
            fetch<WIDTH, B_DEEP>(to + A_SIZE, b, p.ldb, t.across - p.column, depth, p.inner);
        }
        copies_commit();
    };
    auto read = [&](struct fragments<N> *f, int step, int half) {
        const uint16_t *from = stages + step % STAGES * SIZE;
        if (step < n_steps)
            load<N, WIDTH, A_DEEP, B_DEEP>(f, from, from + A_SIZE, s, half);
    };
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
    store<N>(t, p, s, sum);
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
    if (d == FORWARD)
        by_width<FORWARD>(dev, t);
    else if (d == BACKWARD_INPUT)
        by_width<BACKWARD_INPUT>(dev, t);
    else
        by_width<BACKWARD_WEIGHT>(dev, t);
}
