/* Inside the CUDA device: how its kernels are written, launched and reported.
 *
 * Every file k_NAME.cu mirrors cpu/k_NAME.c, which is its definition, and is compiled twice: by nvcc for GPUs, and by the C++ compiler
 * against emulate.h, which runs a block's threads in turn on the CPU, so that every test of a kernel runs everywhere. A kernel is plain
 * CUDA C++ with these habits:
 *
 *     __global__ void scale(float *y, float a, int64_t n) { int64_t i = thread_index(); if (i < n) y[i] *= a; }
 *     LAUNCH(dev, scale, blocks_for(n, 256), 256, 0, y, a, n);
 *
 * Blocks have a multiple of 32 threads. Warp collectives take the mask ALL_LANES, and all 32 lanes reach them: no thread leaves before.
 * Dynamic shared memory is declared by DYNAMIC_SHARED. Sums are in a fixed order, whatever the card: no float atomics, no order of
 * blocks. Everything goes to one stream; nothing waits but copies to the host.
 *
 * Table functions return nothing: the first thing that goes wrong (a launch, memory) is kept in the device and told by its check.
 */
#ifndef MOE2_KERNELS_CUDA_CUDA_H
#define MOE2_KERNELS_CUDA_CUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern "C" {
#include "base/err.h"
#include "kernels/kernels.h"
#include "tensor/dtype.h"
}

#ifdef MOE2_EMULATED
#include "kernels/cuda/emulate.h"
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

enum { ALL_WARP = 32 };
#define ALL_LANES 0xffffffffu

struct blas; /* cuBLASLt, opened at run time (blas.h) */

struct cuda_state {
    struct kernels table;
    void *stream; /* a cudaStream_t */
    struct blas *blas;
    int n_sms;           /* multiprocessors */
    size_t shared_bytes; /* dynamic shared memory that a block may ask for */
    bool hopper;         /* compute capability 9.0, to be used as such (hopper.h) */
    void *encode;        /* the driver's function that describes matrices to such a card */
    void *scratch;
    size_t scratch_bytes;
    int code; /* of the first failure, 0: none */
    char failure[384];
};

static inline struct cuda_state *cuda_of(struct device *dev)
{
    return (struct cuda_state *)dev->state;
}

/* Keeps the first failure: "what" is what was being done. */
void cuda_fail(struct device *dev, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* n_bytes of device memory until the next call of it, 256-byte aligned: one call a table function, which cuts it up itself. NULL after
 * noting that there was no room: the caller returns. */
void *cuda_scratch(struct device *dev, size_t n_bytes);

/* Waits for everything before it, then copies. */
void cuda_read(struct device *dev, void *to_host, const void *from, size_t n_bytes);

/* Looks for an error of the launch just made. */
void cuda_launched(struct device *dev, const char *kernel);

/* Lets a kernel have n_bytes of dynamic shared memory, which matters above 48 KiB; call before LAUNCH. */
void cuda_allow_shared(struct device *dev, const void *kernel, size_t n_bytes);

static inline unsigned blocks_for(int64_t n, int64_t each)
{
    return (unsigned)((n + each - 1) / each);
}

/* Does nothing where the grid is empty. KERNEL may be a template in parentheses. */
#ifdef MOE2_EMULATED
#define LAUNCH(dev, kernel, grid, block, shared, ...)                                              \
    do {                                                                                           \
        (void)(dev);                                                                               \
        emulate_launch(dim3(grid), dim3(block), (size_t)(shared), [=] { (kernel)(__VA_ARGS__); }); \
    } while (0)
#else
#define LAUNCH(dev, kernel, grid, block, shared, ...)                                              \
    do {                                                                                           \
        dim3 grid_ = (grid);                                                                       \
        if (grid_.x && grid_.y && grid_.z) {                                                       \
            (kernel)<<<grid_, (block), (size_t)(shared), (cudaStream_t)cuda_of(dev)->stream>>>(    \
                __VA_ARGS__);                                                                      \
            cuda_launched(dev, #kernel);                                                           \
        }                                                                                          \
    } while (0)
/* T *name: the block's dynamic shared memory, 16-byte aligned. */
#define DYNAMIC_SHARED(T, name)                                                                    \
    extern __shared__ __align__(16) unsigned char dynamic_shared_[];                               \
    T *name = (T *)dynamic_shared_
#endif

/* ---- small device functions ---- */

static __device__ __forceinline__ int64_t thread_index(void)
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

/* Of n things in ascending order, at least one, the last one whose begin(i) is at or before `at`; the first one if there is none. */
template <typename F, typename T>
static __device__ __forceinline__ int last_begun(int n, T at, F begin)
{
    int low = 0;
    for (int high = n; high - low > 1;) {
        int middle = (low + high) / 2;
        if (begin(middle) <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The sum (largest) over a warp, in every lane, in a fixed order. */
static __device__ __forceinline__ float warp_sum(float x)
{
    for (int i = 16; i; i >>= 1)
        x += __shfl_xor_sync(ALL_LANES, x, i);
    return x;
}

static __device__ __forceinline__ float warp_max(float x)
{
    for (int i = 16; i; i >>= 1)
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, i));
    return x;
}

/* The same over a block of up to 1,024 threads; part is shared memory of 32 floats, free again after the call. */
static __device__ __forceinline__ float block_sum(float x, float *part)
{
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, n = (blockDim.x + 31) / 32;
    x = warp_sum(x);
    __syncthreads();
    if (lane == 0)
        part[warp] = x;
    __syncthreads();
    x = warp_sum(lane < n ? part[lane] : 0);
    __syncthreads();
    return x;
}

static __device__ __forceinline__ float block_max(float x, float *part)
{
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, n = (blockDim.x + 31) / 32;
    x = warp_max(x);
    __syncthreads();
    if (lane == 0)
        part[warp] = x;
    __syncthreads();
    x = warp_max(lane < n ? part[lane] : -INFINITY);
    __syncthreads();
    return x;
}

#ifndef MOE2_EMULATED
/* bf16 and f16 as bits; rounding to nearest even. */
static __device__ __forceinline__ float bf16_value(uint16_t h)
{
    return __uint_as_float((unsigned)h << 16);
}

static __device__ __forceinline__ uint16_t bf16_round(float x)
{
    return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

/* Two neighbours in one register, the first in the low half. */
static __device__ __forceinline__ uint32_t bf16_pair(float low, float high)
{
    __nv_bfloat162 p = __floats2bfloat162_rn(low, high);
    return *(uint32_t *)&p;
}

static __device__ __forceinline__ float f16_value(uint16_t h)
{
    return __half2float(__ushort_as_half(h));
}

static __device__ __forceinline__ uint16_t f16_round(float x)
{
    return __half_as_ushort(__float2half_rn(x));
}

/* d [16,8] += a [16,16] · b [16,8] over a warp: bf16 operands, float32 sums (mma.m16n8k16). With g = lane/4 and t = lane%4:
 *   a[0] (g, 2t) a[1] (g+8, 2t) a[2] (g, 2t+8) a[3] (g+8, 2t+8), each with its right neighbour
 *   b[0] (2t, g) b[1] (2t+8, g), each with the one below
 *   d[0] (g, 2t) d[1] (g, 2t+1) d[2] (g+8, 2t) d[3] (g+8, 2t+1) */
static __device__ __forceinline__ void mma_bf16(float d[4], const uint32_t a[4],
                                                const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8×8 matrices of 16-bit numbers from shared memory into the fragments above: lane l gives the address of row l%8 of matrix l/8
 * (16 bytes, 16-byte aligned) and gets of matrix i in r[i] row l/4, columns 2(l%4) and the next; turned: columns and rows swapped. */
static __device__ __forceinline__ void load_matrices(uint32_t r[4], const void *row)
{
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
}

static __device__ __forceinline__ void load_matrices_turned(uint32_t r[4], const void *row)
{
    unsigned at = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
}

/* 16 bytes from global to shared memory, both 16-byte aligned, under way until copies_wait; zeros where it is not there (from is
 * then not read, but must be a valid address). */
static __device__ __forceinline__ void copy_16(void *shared, const void *from, bool there)
{
    unsigned at = (unsigned)__cvta_generic_to_shared(shared);
    int n = there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(n));
}

static __device__ __forceinline__ void copies_commit(void)
{
    asm volatile("cp.async.commit_group;");
}

/* Waits until at most N of this thread's groups are under way. */
template <int N> static __device__ __forceinline__ void copies_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
#endif

/* ---- the kernels, as kernels.h names them ---- */
extern "C" {
void cuda_linear_forward(struct device *dev, const struct linear_args *a);
void cuda_linear_backward_input(struct device *dev, const struct linear_args *a);
void cuda_linear_backward_weight(struct device *dev, const struct linear_args *a);
void cuda_grouped_forward(struct device *dev, const struct grouped_args *a);
void cuda_grouped_backward_input(struct device *dev, const struct grouped_args *a);
void cuda_grouped_backward_weight(struct device *dev, const struct grouped_args *a);
void cuda_rmsnorm_forward(struct device *dev, float *y, float *rstd, const float *x, const float *w,
                          int64_t T, int64_t D, int64_t ldy, int64_t ldx, float eps);
void cuda_rmsnorm_backward(struct device *dev, float *dx, float *dw, const float *dy,
                           const float *x, const float *w, const float *rstd, int64_t T, int64_t D,
                           int64_t ldy, int64_t ldx);
void cuda_rope(struct device *dev, float *x, const int32_t *pos, const float *cos, const float *sin,
               int64_t T, int64_t n_heads, int64_t dr, int64_t ldx, int64_t x_head, int sign);
void cuda_rope_half(struct device *dev, float *x, const int32_t *pos, const float *cos,
                    const float *sin, int64_t T, int64_t n_heads, int64_t dr, int64_t ldx,
                    int64_t x_head, int sign);
void cuda_relu_forward(struct device *dev, float *y, const float *b, int64_t T, int64_t N);
void cuda_relu_backward(struct device *dev, float *dy, float *db, const float *y, int64_t T,
                        int64_t N);
void cuda_bias_forward(struct device *dev, float *y, const float *b, int64_t T, int64_t N,
                       int64_t ldy);
void cuda_bias_backward(struct device *dev, float *db, const float *dy, int64_t T, int64_t N,
                        int64_t ldy);
void cuda_swiglu_forward(struct device *dev, float *h, const float *gu, int64_t T, int64_t F);
void cuda_swiglu_backward(struct device *dev, float *dgu, float *dweight, float *hw,
                          const float *dh, const float *gu, const float *weight, int64_t T,
                          int64_t F);
void cuda_combine(struct device *dev, float *y, const float *x, const float *weight,
                  const int32_t *first, const int32_t *slot, int64_t T, int64_t D);
void cuda_embed_forward(struct device *dev, float *y, const void *table, enum dtype type,
                        const int32_t *ids, int64_t T, int64_t D);
void cuda_embed_backward(struct device *dev, float *dtable, const float *dy, const int32_t *ids,
                         int64_t T, int64_t D, int64_t V);
void cuda_axpy(struct device *dev, float *y, const float *x, float a, int64_t n);
void cuda_fill(struct device *dev, float *y, float value, int64_t n);
void cuda_copy(struct device *dev, float *y, const float *x, int64_t n);
void cuda_copy_rows(struct device *dev, float *to, int64_t ldto, const float *from, int64_t ldfrom,
                    int64_t T, int64_t n);
void cuda_to_bf16(struct device *dev, uint16_t *y, const float *x, int64_t n);
void cuda_dropout(struct device *dev, const struct dropout_args *a);
void cuda_nf4_to_f32(struct device *dev, float *out, const struct nf4 *q, int64_t first, int64_t n);
void cuda_nf4_to_bf16(struct device *dev, uint16_t *out, const struct nf4 *q, int64_t first,
                      int64_t n);
void cuda_nf4_list_to_bf16(struct device *dev, uint16_t *const *out, const struct nf4 *const *q,
                           int64_t n_tensors);
void cuda_row_norm(struct device *dev, float *norm, const float *x, int64_t S, int64_t D);
void cuda_route_pick(struct device *dev, const struct route_args *a);
void cuda_route_lists(struct device *dev, const struct route_lists_args *a);
void cuda_route_backward(struct device *dev, float *dlogits, const float *dweight,
                         const int32_t *position, const struct route_args *a);
void cuda_attention_forward(struct device *dev, const struct attention_args *a);
void cuda_attention_backward(struct device *dev, const struct attention_args *a,
                             const struct attention_grads *g);
size_t cuda_dense_bytes(struct device *dev, const struct dense_weight *w);
void cuda_dense_pack(struct device *dev, const struct dense_weight *w, const float *rows);
void cuda_dense_forward(struct device *dev, const struct dense_args *a);
void cuda_layernorm_forward(struct device *dev, float *y, const float *x, const float *w,
                            const float *b, int64_t T, int64_t D, float eps);
void cuda_encoder_attention(struct device *dev, const struct encoder_attention_args *a);
size_t cuda_packed_bytes(struct device *dev, const struct packed_weight *w);
void cuda_packed_pack(struct device *dev, const struct packed_weight *w, int64_t first, int64_t n,
                      const struct packed_source *rows);
void cuda_packed_forward(struct device *dev, const struct packed_args *a);
void cuda_packed_rows(struct device *dev, float *y, const struct packed_weight *w,
                      const int32_t *ids, int64_t T);
void cuda_cached_attention(struct device *dev, const struct cached_attention_args *a);
void cuda_cross_entropy(struct device *dev, float *nll, uint8_t *right, float *logits,
                        const int32_t *target, int64_t T, int64_t V, int64_t ldl, float scale);
void cuda_adamw(struct device *dev, const struct adamw_args *a);
void cuda_adamw8(struct device *dev, const struct adamw8_args *a);
void cuda_adamw_list(struct device *dev, const struct adamw_args *a, int64_t n_tensors);
void cuda_adamw8_list(struct device *dev, const struct adamw8_args *a, int64_t n_tensors);
double cuda_sum_squares(struct device *dev, const float *x, int64_t n);
void cuda_sum_squares_list(struct device *dev, double *sums, const float *const *x,
                           const int64_t *n, int64_t n_tensors);
int64_t cuda_find_nonfinite(struct device *dev, const float *x, int64_t n);

void cuda_table(struct kernels *k);
}

#endif
