/* What only Hopper GPUs (compute capability 9.0) have, as tiles_hopper.cu uses it: bulk copies of pieces of a matrix into shared
 * memory, barriers that count their bytes, and products that four warps start together and wait for later.
 *
 * A piece is rows of 64 bf16, 128 bytes each, in shared memory at a multiple of 1,024 bytes. Its 16-byte parts are swizzled: the part
 * at address A lies at A ^ (A / 128 % 8) · 16, for the copies as for the products. Definitions are those of NVIDIA's PTX ISA 8
 * ("Asynchronous Warpgroup Level Matrix Instructions", "Tensors: Swizzling Modes"); where it leaves the descriptor's two strides of
 * a DEEP operand open, the comments on canonical layouts in CUTLASS (cute/atom/mma_traits_sm90_gmma.hpp) say them.
 *
 * Emulated (emulate_hopper.cpp) copies arrive and products are computed as late as they may, so that a missing wait shows.
 */
#ifndef MOE2_KERNELS_CUDA_HOPPER_H
#define MOE2_KERNELS_CUDA_HOPPER_H

#include "kernels/cuda/cuda.h"

/* How the copy engine finds pieces [box_rows, 64] of a row-major bf16 matrix [rows, columns]; reads zeros beyond it. */
#ifdef MOE2_EMULATED
typedef struct tensor_map {
    const uint16_t *base;
    int64_t columns, rows, pitch;
    int box_rows;
} tensor_map;
#else
#include <cuda.h>
typedef CUtensorMap tensor_map;
#endif

enum { PIECE_COLUMNS = 64, PIECE_ROW_BYTES = 128, PIECE_ALIGN = 1024 };

/* Rows begin at multiples of 16 bytes. false after noting what failed. */
bool tensor_map_make(struct device *dev, tensor_map *m, const void *base, int64_t columns,
                     int64_t rows, int64_t pitch, int box_rows);

/* Finds the driver's function for it, which a card needs to be used as a Hopper one. */
bool tensor_maps_open(struct cuda_state *s);

#ifdef MOE2_EMULATED

uint32_t shared_address(const void *p);
void barrier_init(uint64_t *b, int arrivals);
void barriers_ready(void);
void barrier_arrive(uint64_t *b);
void barrier_expect(uint64_t *b, uint32_t n_bytes);
void barrier_wait(uint64_t *b, unsigned parity);
void piece_fetch(void *to, const tensor_map *m, int32_t column, int32_t row, uint64_t *b);
void emulate_group_product(float *d, int n, uint64_t a, uint64_t b, bool a_deep, bool b_deep);
void emulate_group_wait(int n);

static inline void tensor_map_prefetch(const tensor_map *m)
{
    (void)m;
}

template <int N> static inline void registers_give(void)
{
}

template <int N> static inline void registers_take(void)
{
}

template <int N> static inline void group_touch(float (&d)[N])
{
    (void)d;
}

static inline void group_fence(void)
{
}

void group_commit(void);

template <int N> static inline void group_wait(void)
{
    emulate_group_wait(N);
}

template <int N, bool A_DEEP, bool B_DEEP>
static inline void group_product(float (&d)[N / 2], uint64_t a, uint64_t b)
{
    emulate_group_product(d, N, a, b, A_DEEP, B_DEEP);
}

#else

static __device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* ---- barriers: a phase ends when all arrivals and all expected bytes have come ---- */

static __device__ __forceinline__ void barrier_init(uint64_t *b, int arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals)
                 : "memory");
}

/* After the inits, by the thread that made them, before the block's next __syncthreads. */
static __device__ __forceinline__ void barriers_ready(void)
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

static __device__ __forceinline__ void barrier_arrive(uint64_t *b)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}

/* An arrival that says how many bytes of copies the phase has. */
static __device__ __forceinline__ void barrier_expect(uint64_t *b, uint32_t n_bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)),
                 "r"(n_bytes)
                 : "memory");
}

/* Until the phase of that parity is over; phases have parities 0, 1, 0, … and before the first, 1 counts as over. */
static __device__ __forceinline__ void barrier_wait(uint64_t *b, unsigned parity)
{
    uint32_t over;
    do {
        asm volatile("{\n"
                     ".reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n"
                     "}"
                     : "=r"(over)
                     : "r"(shared_address(b)), "r"(parity)
                     : "memory");
    } while (!over);
}

/* Starts the copy of the piece whose first element is (row, column), to be counted by b. */
static __device__ __forceinline__ void piece_fetch(void *to, const tensor_map *m, int32_t column,
                                                   int32_t row, uint64_t *b)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(shared_address(to)),
                 "l"(m), "r"(column), "r"(row), "r"(shared_address(b))
                 : "memory");
}

/* Brings m itself nearer, for copies to come. */
static __device__ __forceinline__ void tensor_map_prefetch(const tensor_map *m)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(m) : "memory");
}

/* ---- registers, moved between the four warps that copy and those that multiply ---- */

template <int N> static __device__ __forceinline__ void registers_give(void)
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N> static __device__ __forceinline__ void registers_take(void)
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

/* ---- products of a group of four warps ---- */

/* Keeps the compiler from moving uses of d across this place. */
template <int N> static __device__ __forceinline__ void group_touch(float (&d)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++)
        asm volatile("" : "+f"(d[i])::"memory");
}

/* Before the first product of several, after anything else that touched their registers. */
static __device__ __forceinline__ void group_fence(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

static __device__ __forceinline__ void group_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Until at most N commits are under way. */
template <int N> static __device__ __forceinline__ void group_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

#define OUT_8(d, i)                                                                                \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]),    \
        "+f"(d[i + 6]), "+f"(d[i + 7])
#define OUT_16(d, i) OUT_8(d, i), OUT_8(d, i + 8)
#define OUT_32(d, i) OUT_16(d, i), OUT_16(d, i + 16)
#define OUT_48(d, i) OUT_32(d, i), OUT_16(d, i + 32)
#define OUT_64(d, i) OUT_32(d, i), OUT_32(d, i + 32)
#define OUT_80(d, i) OUT_64(d, i), OUT_16(d, i + 64)
#define OUT_96(d, i) OUT_64(d, i), OUT_32(d, i + 64)
#define IN_16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define IN_32 IN_16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define IN_48 IN_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define IN_64 IN_48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define IN_80 IN_64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define IN_96 IN_80 ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
/* HALF: n/2, how many registers; what follows are the numbers of the asm's other operands. */
#define GROUP_PRODUCT(n, HALF, A, B, TURN_A, TURN_B)                                               \
    asm volatile("{\n"                                                                             \
                 ".reg .pred p;\n"                                                                 \
                 "setp.ne.b32 p, 1, 0;\n"                                                          \
                 "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" IN_##HALF            \
                 "}, " A ", " B ", p, 1, 1, " TURN_A ", " TURN_B ";\n"                             \
                 "}"                                                                               \
                 : OUT_##HALF(d, 0)                                                                \
                 : "l"(a), "l"(b), "n"((int)A_DEEP), "n"((int)B_DEEP))

/* d [64, N] += a [64, 16] · b [16, N], N a multiple of 32 up to 192; a and b are piece_descriptor's. Warp w of the group
 * has rows 16w … 16w+15 of d; with g = lane/4 and t = lane%4: d[4j] (g, 8j+2t), d[4j+1] its right neighbour, d[4j+2] and
 * d[4j+3] those of row g+8. d may not be touched until group_wait. */
template <int N, bool A_DEEP, bool B_DEEP>
static __device__ __forceinline__ void group_product(float (&d)[N / 2], uint64_t a, uint64_t b)
{
    static_assert(N % 32 == 0 && N >= 32 && N <= 192, "a width that was not written out");
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
    if constexpr (N == 32)
        GROUP_PRODUCT(32, 16, "%16", "%17", "%18", "%19");
    else if constexpr (N == 64)
        GROUP_PRODUCT(64, 32, "%32", "%33", "%34", "%35");
    else if constexpr (N == 96)
        GROUP_PRODUCT(96, 48, "%48", "%49", "%50", "%51");
    else if constexpr (N == 128)
        GROUP_PRODUCT(128, 64, "%64", "%65", "%66", "%67");
    else if constexpr (N == 160)
        GROUP_PRODUCT(160, 80, "%80", "%81", "%82", "%83");
    else
        GROUP_PRODUCT(192, 96, "%96", "%97", "%98", "%99");
#endif
}

#endif

/* How a product finds an operand at a shared address: [line][inner], 64 of the inner sum a row, or DEEP: [inner][line], pieces of
 * 64 lines, each the next 64 of the inner sum. Groups of 8 rows follow one another; pieces are piece_bytes apart. Bits: address / 16,
 * from 16 on the stride of pieces / 16, from 32 on that of groups / 16, from 62 on 1, swizzled over 128 bytes. */
static __device__ __forceinline__ uint64_t piece_descriptor(uint32_t address, uint32_t piece_bytes)
{
    uint32_t low = (address & 0x3ffff) >> 4 | piece_bytes >> 4 << 16,
             high = (8 * PIECE_ROW_BYTES) >> 4 | 1u << 30;
    return (uint64_t)high << 32 | low;
}

#endif
