/* AdamW with moments in 8 bits: a block of threads some blocks of 256 numbers, one after the other, so that it pays to bring the two
 * maps to shared memory. Each operation is rounded by itself, as on the CPU, so that codes on the edge between two levels fall alike.
 * Lists of tensors as in k_adamw.cu.
 */
#include "kernels/cuda/rows.h"

enum { RUN = 8, MAP = 256, PADDED = MAP + MAP / ALL_WARP, LIST = 24 };

struct maps {
    float m[MAP], v[MAP];
};

/* Halving reads places that are powers of two apart: each 32 are moved on by one, into another bank. */
static __device__ __forceinline__ int place(int i)
{
    return i + i / ALL_WARP;
}

/* The nearest level of x, the lower one exactly in the middle. */
static __device__ __forceinline__ uint8_t nearest(const float *map, float x)
{
    int low = last_begun(MAP - 1, x, [&](int i) { return map[place(i)]; });
    bool nearer = x - map[place(low)] <= map[place(low + 1)] - x;
    return (uint8_t)(nearer ? low : low + 1);
}

/* beta · level · absmax + (1 − beta) · g [· g] */
static __device__ __forceinline__ float moment(float beta, float level, float absmax, float g)
{
    return __fadd_rn(__fmul_rn(__fmul_rn(beta, level), absmax), g);
}

static __device__ __forceinline__ float updated(float p, float m, float v,
                                                const struct adamw_args *a)
{
    float root = __fadd_rn(__fsqrt_rn(__fdiv_rn(v, a->correction2)), a->eps),
          step = __fdiv_rn(__fdiv_rn(m, a->correction1), root);
    return __fsub_rn(p, __fmul_rn(a->lr, __fadd_rn(step, __fmul_rn(a->weight_decay, p))));
}

/* Block b of the numbers, by the whole block of threads. */
static __device__ __forceinline__ void step(const struct adamw8_args *q, int64_t b,
                                            const float *m_map, const float *v_map, float *part)
{
    const struct adamw_args *a = &q->a;
    int64_t i = b * ADAMW8_BLOCK + threadIdx.x;
    bool there = i < a->n;
    float m = 0, v = 0;
    if (there) {
        float g = __fmul_rn(a->g[i], a->grad_scale), g1 = __fmul_rn(1 - a->beta1, g),
              g2 = __fmul_rn(__fmul_rn(1 - a->beta2, g), g);
        m = moment(a->beta1, m_map[place(q->m[i])], q->m_absmax[b], g1);
        v = moment(a->beta2, v_map[place(q->v[i])], q->v_absmax[b], g2);
        float p = updated(a->p[i], m, v, a);
        a->p[i] = p;
        if (a->p_bf16)
            a->p_bf16[i] = bf16_round(p);
    }
    float m_most = block_max(fabsf(m), part), v_most = block_max(fabsf(v), part);
    if (there) {
        q->m[i] = nearest(m_map, m_most > 0 ? __fdiv_rn(m, m_most) : 0);
        q->v[i] = nearest(v_map, v_most > 0 ? __fdiv_rn(v, v_most) : 0);
    }
    if (threadIdx.x == 0) {
        q->m_absmax[b] = m_most;
        q->v_absmax[b] = v_most;
    }
}

struct adamw8_one {
    float *p;
    const float *g;
    uint16_t *p_bf16;
    uint8_t *m, *v;
    float *m_absmax, *v_absmax;
    int64_t n;
    float weight_decay;
    unsigned first; /* block */
};

struct adamw8_many {
    struct adamw_args all; /* what is the same for all of them */
    struct maps maps;
    struct adamw8_one e[LIST];
    int n;
};

static __device__ __forceinline__ struct adamw8_args args_of(const struct adamw8_one &e,
                                                             const struct adamw_args &all)
{
    struct adamw8_args q;
    q.a = all;
    q.a.p = e.p;
    q.a.g = e.g;
    q.a.p_bf16 = e.p_bf16;
    q.a.n = e.n;
    q.a.weight_decay = e.weight_decay;
    q.m = e.m;
    q.v = e.v;
    q.m_absmax = e.m_absmax;
    q.v_absmax = e.v_absmax;
    return q;
}

static __global__ void adamw8(const __grid_constant__ struct adamw8_many list)
{
    __shared__ float m_map[PADDED], v_map[PADDED], part[ALL_WARP];
    m_map[place((int)threadIdx.x)] = list.maps.m[threadIdx.x];
    v_map[place((int)threadIdx.x)] = list.maps.v[threadIdx.x];
    __syncthreads();
    const struct adamw8_one &e = list.e[entry_of(list.e, list.n)];
    struct adamw8_args q = args_of(e, list.all);
    int64_t n_blocks = (e.n + ADAMW8_BLOCK - 1) / ADAMW8_BLOCK;
    int64_t first = (int64_t)(blockIdx.x - e.first) * RUN;
    for (int64_t b = first; b < min(first + RUN, n_blocks); b++)
        step(&q, b, m_map, v_map, part);
}

static struct adamw8_one entry_at(const struct adamw8_args *q, unsigned first)
{
    return {q->a.p,      q->a.g, q->a.p_bf16,       q->m, q->v, q->m_absmax,
            q->v_absmax, q->a.n, q->a.weight_decay, first};
}

void cuda_adamw8_list(struct device *dev, const struct adamw8_args *a, int64_t n_tensors)
{
    struct adamw8_many list;
    if (n_tensors) {
        list.all = a[0].a;
        memcpy(list.maps.m, a[0].m_map, sizeof list.maps.m);
        memcpy(list.maps.v, a[0].v_map, sizeof list.maps.v);
    }
    for (int64_t i = 0; i < n_tensors;) {
        unsigned blocks = 0;
        for (list.n = 0; list.n < LIST && i < n_tensors; i++) {
            list.e[list.n++] = entry_at(&a[i], blocks);
            blocks += blocks_for(a[i].a.n, RUN * ADAMW8_BLOCK);
        }
        LAUNCH(dev, adamw8, blocks, ADAMW8_BLOCK, 0, list);
    }
}

void cuda_adamw8(struct device *dev, const struct adamw8_args *a)
{
    cuda_adamw8_list(dev, a, 1);
}
