/* CUDA's language on a CPU, for tests: every thread of a block is a fiber, blocks run one after the other.
 *
 * A fiber runs until it waits at a barrier or a warp collective, or ends; the next one then goes on, forwards in one round and backwards
 * in the next, so that code which leans on an order among threads does not pass. Threads that wait for one another for ever end the
 * program with a sentence. Dynamic shared memory is filled with NaN before each block. It computes what a GPU computes, rounding of
 * fast functions apart; it says nothing about speed, and little about races between blocks.
 */
#ifndef MOE2_KERNELS_CUDA_EMULATE_H
#define MOE2_KERNELS_CUDA_EMULATE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <functional>

#include "tensor/dtype.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __constant__ static const
#define __restrict__ __restrict
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)
#define __grid_constant__

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

struct emulated {
    dim3 thread, block, block_dim, grid_dim;
    unsigned char *shared;
};
extern struct emulated emulated;
#define threadIdx (emulated.thread)
#define blockIdx (emulated.block)
#define blockDim (emulated.block_dim)
#define gridDim (emulated.grid_dim)
#define DYNAMIC_SHARED(T, name) T *name = (T *)(void *)emulated.shared

void emulate_launch(dim3 grid, dim3 block, size_t shared, const std::function<void(void)> &body);
void __syncthreads(void);
void __syncwarp(unsigned mask = 0xffffffffu);

/* For waits of other kinds: lets the others go on; says that something happened which somebody may wait for. */
void emulate_yield(void);
void emulate_moved(void);

/* What each lane of this thread's warp gave, in all of them: [32] rows of n_bytes ≤ 64, until the next collective. */
const unsigned char *emulate_exchange(const void *mine, size_t n_bytes);
enum { EMULATED_ROW = 64 };

static inline int emulate_lane(void)
{
    unsigned t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    return (int)(t % 32);
}

template <typename T> static inline T emulate_take(const unsigned char *rows, int lane)
{
    T x;
    memcpy(&x, rows + (lane & 31) * EMULATED_ROW, sizeof x);
    return x;
}

template <typename T> static inline T __shfl_sync(unsigned, T x, int lane)
{
    return emulate_take<T>(emulate_exchange(&x, sizeof x), lane);
}

template <typename T> static inline T __shfl_xor_sync(unsigned, T x, int mask)
{
    int lane = emulate_lane();
    return emulate_take<T>(emulate_exchange(&x, sizeof x), lane ^ mask);
}

template <typename T> static inline T __shfl_down_sync(unsigned, T x, unsigned by)
{
    int lane = emulate_lane(), from = lane + (int)by < 32 ? lane + (int)by : lane;
    return emulate_take<T>(emulate_exchange(&x, sizeof x), from);
}

template <typename T> static inline T __shfl_up_sync(unsigned, T x, unsigned by)
{
    int lane = emulate_lane(), from = lane >= (int)by ? lane - (int)by : lane;
    return emulate_take<T>(emulate_exchange(&x, sizeof x), from);
}

static inline unsigned __ballot_sync(unsigned, int yes)
{
    const unsigned char *rows = emulate_exchange(&yes, sizeof yes);
    unsigned all = 0;
    for (int i = 0; i < 32; i++)
        all |= (unsigned)(emulate_take<int>(rows, i) != 0) << i;
    return all;
}

static inline int __any_sync(unsigned mask, int yes)
{
    return __ballot_sync(mask, yes) != 0;
}

static inline unsigned __reduce_max_sync(unsigned, unsigned x)
{
    const unsigned char *rows = emulate_exchange(&x, sizeof x);
    for (int i = 0; i < 32; i++)
        x = std::max(x, emulate_take<unsigned>(rows, i));
    return x;
}

static inline unsigned __reduce_min_sync(unsigned, unsigned x)
{
    const unsigned char *rows = emulate_exchange(&x, sizeof x);
    for (int i = 0; i < 32; i++)
        x = std::min(x, emulate_take<unsigned>(rows, i));
    return x;
}

static inline int __all_sync(unsigned mask, int yes)
{
    return __ballot_sync(mask, yes) == 0xffffffffu;
}

/* ---- types and intrinsics ---- */

struct __align__(8) float2
{
    float x, y;
};
struct __align__(16) float4
{
    float x, y, z, w;
};
struct __align__(8) uint2
{
    unsigned x, y;
};
struct __align__(16) uint4
{
    unsigned x, y, z, w;
};
struct __align__(8) int2
{
    int x, y;
};
struct __align__(16) int4
{
    int x, y, z, w;
};

static inline float2 make_float2(float x, float y)
{
    return {x, y};
}

static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

static inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}

static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}

static inline int4 make_int4(int x, int y, int z, int w)
{
    return {x, y, z, w};
}

#define __expf expf
#define __logf logf
#define __powf powf

using std::max;
using std::min;

template <typename T> static inline T __ldg(const T *p)
{
    return *p;
}

static inline float __fdividef(float a, float b)
{
    return a / b;
}

static inline float rsqrtf(float x)
{
    return 1 / sqrtf(x);
}

static inline float __fmul_rn(float a, float b)
{
    volatile float c = a * b;
    return c;
}

static inline float __fadd_rn(float a, float b)
{
    volatile float c = a + b;
    return c;
}

static inline float __fsub_rn(float a, float b)
{
    volatile float c = a - b;
    return c;
}

static inline float __fdiv_rn(float a, float b)
{
    return a / b;
}

static inline float __fsqrt_rn(float a)
{
    return sqrtf(a);
}

static inline float __fmaf_rn(float a, float b, float c)
{
    return fmaf(a, b, c);
}

static inline unsigned __float_as_uint(float x)
{
    unsigned u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float __uint_as_float(unsigned u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline int __float_as_int(float x)
{
    return (int)__float_as_uint(x);
}

static inline float __int_as_float(int i)
{
    return __uint_as_float((unsigned)i);
}

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

static inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}

static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}

static inline int __dp4a(int a, int b, int c)
{
    for (int i = 0; i < 32; i += 8)
        c += (int)(int8_t)(a >> i) * (int)(int8_t)(b >> i);
    return c;
}

template <typename T> static inline T atomicAdd(T *p, T x)
{
    T old = *p;
    *p = old + x;
    return old;
}

template <typename T> static inline T atomicMax(T *p, T x)
{
    T old = *p;
    *p = x > old ? x : old;
    return old;
}

template <typename T> static inline T atomicMin(T *p, T x)
{
    T old = *p;
    *p = x < old ? x : old;
    return old;
}

static inline void __threadfence(void)
{
}

/* ---- what cuda.h writes in PTX ---- */

static inline float bf16_value(uint16_t h)
{
    return bf16_to_f32(h);
}

static inline uint16_t bf16_round(float x)
{
    return f32_to_bf16(x);
}

static inline uint32_t bf16_pair(float low, float high)
{
    return bf16_round(low) | (uint32_t)bf16_round(high) << 16;
}

static inline float f16_value(uint16_t h)
{
    return f16_to_f32(h);
}

static inline uint16_t f16_round(float x)
{
    return f32_to_f16(x);
}

void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2]);
void load_matrices(uint32_t r[4], const void *row);
void load_matrices_turned(uint32_t r[4], const void *row);

static inline void copy_16(void *shared, const void *from, bool there)
{
    if (there)
        memcpy(shared, from, 16);
    else
        memset(shared, 0, 16);
}

static inline void copies_commit(void)
{
}

template <int N> static inline void copies_wait(void)
{
}

#endif
