/* NF4 weights widened to float32, or on to bf16 for products. It should take no longer than writing the result.
 *
 * A thread takes several groups of neighbours, of as many values as fill 16 bytes of the result, so that a warp writes 512 bytes in a
 * row; a group lies within one block of the format. The sixteen levels are in sixteen banks of shared memory, where any mix of codes is
 * read at once. Where the places of codes and result don't allow that, values go one by one.
 */
#include "kernels/cuda/rows.h"

enum { THREADS = 256, GROUPS = 4 };

struct nf4_view {
    struct nf4 q;
    int block_shift;  /* log2 of the block size */
    int nested_shift; /* of the nested one, or −1: not a power of two */
    float levels[NF4_LEVELS];
};

static int log2_of(int64_t x)
{
    int k = 0;
    while ((int64_t)1 << k < x)
        k++;
    return (int64_t)1 << k == x ? k : -1;
}

static struct nf4_view view_of(const struct nf4 *q)
{
    struct nf4_view v = {*q, log2_of(q->block_size), -1, {0}};
    if (!q->absmax)
        v.nested_shift = log2_of(q->nested_block_size);
    memcpy(v.levels, nf4_levels, sizeof v.levels);
    return v;
}

/* As nf4_absmax: two roundings, no fused one. */
static __device__ __forceinline__ float scale_of(const struct nf4_view *v, int64_t block)
{
    const struct nf4 *q = &v->q;
    if (q->absmax)
        return q->absmax[block];
    int64_t outer = v->nested_shift >= 0 ? block >> v->nested_shift : block / q->nested_block_size;
    return __fadd_rn(__fmul_rn(q->map[q->absmax_codes[block]], q->nested_absmax[outer]),
                     q->nested_offset);
}

/* Every thread of the block, before it reads levels. */
static __device__ __forceinline__ void share_levels(float *levels, const struct nf4_view *v)
{
    if (threadIdx.x < NF4_LEVELS)
        levels[threadIdx.x] = v->levels[threadIdx.x];
    __syncthreads();
}

/* A group: its codes in one word, its values in 16 bytes. */
struct group_f32 {
    enum { SIZE = 4 };
    typedef float number;
    typedef uint16_t word;
    static __device__ __forceinline__ void store(float *out, const float v[SIZE])
    {
        *(float4 *)out = make_float4(v[0], v[1], v[2], v[3]);
    }
    static __device__ __forceinline__ float rounded(float x)
    {
        return x;
    }
};

struct group_bf16 {
    enum { SIZE = 8 };
    typedef uint16_t number;
    typedef uint32_t word;
    static __device__ __forceinline__ void store(uint16_t *out, const float v[SIZE])
    {
        *(uint4 *)out = make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]),
                                   bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7]));
    }
    static __device__ __forceinline__ uint16_t rounded(float x)
    {
        return bf16_round(x);
    }
};

/* A block's share of a tensor's groups. */
template <class G>
static __device__ __forceinline__ void groups_of(typename G::number *out, const struct nf4_view &v,
                                                 const float *levels, int64_t first,
                                                 int64_t n_groups)
{
    int64_t mine = (int64_t)blockIdx.x * (THREADS * GROUPS) + threadIdx.x;
    const typename G::word *words = (const typename G::word *)(v.q.codes + first / 2);
    unsigned word[GROUPS];
    float scale[GROUPS];
#pragma unroll
    for (int i = 0; i < GROUPS; i++) {
        int64_t g = mine + i * THREADS;
        if (g < n_groups) {
            word[i] = words[g];
            scale[i] = scale_of(&v, (first + g * G::SIZE) >> v.block_shift);
        }
    }
#pragma unroll
    for (int i = 0; i < GROUPS; i++) {
        int64_t g = mine + i * THREADS;
        float values[G::SIZE];
        if (g >= n_groups)
            return;
#pragma unroll
        for (int k = 0; k < G::SIZE; k++)
            values[k] = levels[word[i] >> (k / 2 * 8 + (k % 2 ? 0 : 4)) & 15] * scale[i];
        G::store(out + g * G::SIZE, values);
    }
}

template <class G>
static __global__ void decode_groups(typename G::number *out, struct nf4_view v, int64_t first,
                                     int64_t n_groups)
{
    __shared__ float levels[NF4_LEVELS];
    share_levels(levels, &v);
    groups_of<G>(out, v, levels, first, n_groups);
}

/* Whole tensors side by side, blockIdx.y's each. */
enum { LIST = 24 };
struct nf4_list {
    struct nf4_view v[LIST];
    uint16_t *out[LIST];
};

static __global__ void decode_list(const __grid_constant__ struct nf4_list list)
{
    __shared__ float levels[NF4_LEVELS];
    const struct nf4_view &v = list.v[blockIdx.y];
    share_levels(levels, &v);
    groups_of<group_bf16>(list.out[blockIdx.y], v, levels, 0, v.q.n / group_bf16::SIZE);
}

template <class G>
static __global__ void decode_each(typename G::number *out, struct nf4_view v, int64_t first,
                                   int64_t n)
{
    __shared__ float levels[NF4_LEVELS];
    share_levels(levels, &v);
    int64_t i = thread_index(), at = first + i;
    if (i >= n)
        return;
    unsigned byte = v.q.codes[at / 2], code = at % 2 ? byte & 15 : byte >> 4;
    out[i] = G::rounded(levels[code] * scale_of(&v, at >> v.block_shift));
}

template <class G>
static void decode(struct device *dev, typename G::number *out, const struct nf4 *q, int64_t first,
                   int64_t n)
{
    const int64_t size = G::SIZE, each = THREADS * GROUPS;
    struct nf4_view v = view_of(q);
    bool grouped = is_wide(out) && first % size == 0 &&
                   (uintptr_t)(q->codes + first / 2) % sizeof(typename G::word) == 0;
    int64_t n_groups = grouped ? n / size : 0, done = n_groups * size;
    LAUNCH(dev, (decode_groups<G>), blocks_for(n_groups, each), THREADS, 0, out, v, first,
           n_groups);
    LAUNCH(dev, (decode_each<G>), blocks_for(n - done, THREADS), THREADS, 0, out + done, v,
           first + done, n - done);
}

void cuda_nf4_to_f32(struct device *dev, float *out, const struct nf4 *q, int64_t first, int64_t n)
{
    decode<group_f32>(dev, out, q, first, n);
}

void cuda_nf4_to_bf16(struct device *dev, uint16_t *out, const struct nf4 *q, int64_t first,
                      int64_t n)
{
    decode<group_bf16>(dev, out, q, first, n);
}

static bool in_groups(const uint16_t *out, const struct nf4 *q)
{
    return is_wide(out) && q->n % group_bf16::SIZE == 0 &&
           (uintptr_t)q->codes % sizeof(group_bf16::word) == 0;
}

void cuda_nf4_list_to_bf16(struct device *dev, uint16_t *const *out, const struct nf4 *const *q,
                           int64_t n_tensors)
{
    const int64_t each = THREADS * GROUPS * group_bf16::SIZE;
    struct nf4_list list;
    int n_listed = 0;
    int64_t most = 0;
    for (int64_t i = 0; i < n_tensors; i++) {
        if (!in_groups(out[i], q[i])) {
            cuda_nf4_to_bf16(dev, out[i], q[i], 0, q[i]->n);
            continue;
        }
        list.v[n_listed] = view_of(q[i]);
        list.out[n_listed++] = out[i];
        most = q[i]->n > most ? q[i]->n : most;
        if (n_listed < LIST)
            continue;
        LAUNCH(dev, decode_list, dim3(blocks_for(most, each), n_listed), THREADS, 0, list);
        most = n_listed = 0;
    }
    LAUNCH(dev, decode_list, dim3(blocks_for(most, each), n_listed), THREADS, 0, list);
}
