/* What the attention kernels share: sequences cut into tiles, rows of heads, and who computes what.
 *
 * All of them take struct attention_args: an encoder's attention is one whose mask is left away, a prompt over kept keys one of a single
 * sequence with a past. attention_plain computes in float32 and takes any sizes; attention_half multiplies in bf16 on tensor cores
 * and takes heads of up to 192 and 128 numbers.
 */
#ifndef MOE2_KERNELS_CUDA_ATTENTION_H
#define MOE2_KERNELS_CUDA_ATTENTION_H

#include "kernels/cuda/cuda.h"

/* Some of the sequences, by value: what a launch can carry. Sequence i is rows first[i] … first[i+1]−1; its tiles are the blocks
 * tile[i] … tile[i+1]−1 of the launch. */
enum { SEQUENCES = 256 };
struct sequences {
    int n;
    int32_t first[SEQUENCES + 1], tile[SEQUENCES + 1];
};

/* The ones from b on into s, in tiles of that many rows; the next b. */
static inline int64_t sequences_take(struct sequences *s, const struct attention_args *a, int64_t b,
                                     int rows)
{
    s->n = 0;
    s->first[0] = a->offset[b];
    s->tile[0] = 0;
    for (; b < a->B && s->n < SEQUENCES; b++) {
        int i = s->n++;
        s->first[i + 1] = a->offset[b + 1];
        s->tile[i + 1] = s->tile[i] + (s->first[i + 1] - s->first[i] + rows - 1) / rows;
    }
    return b;
}

/* A tile of a sequence: rows row … of the n that begin at first. */
struct tile {
    int64_t first;
    int n, row;
};

static __device__ __forceinline__ struct tile tile_find(const struct sequences &s, int index,
                                                        int rows)
{
    int i = last_begun(s.n, index, [&](int j) { return s.tile[j]; });
    return {s.first[i], s.first[i + 1] - s.first[i], (index - s.tile[i]) * rows};
}

/* Rows of one head: columns below split at p, the others at tail. What lies beyond n rows or width columns reads as zero. */
struct rows {
    const float *p, *tail;
    int64_t ld, ld_tail;
    int n, split, width;
};

static __device__ __forceinline__ float rows_at(const struct rows &x, int row, int col)
{
    if (row >= x.n || col >= x.width)
        return 0;
    return col < x.split ? x.p[row * x.ld + col] : x.tail[row * x.ld_tail + col - x.split];
}

/* The n rows from row first of each array, of head h (of query heads: q and do; of key heads: k and v). */
static __host__ __device__ __forceinline__ struct rows query_rows(const struct attention_args &a,
                                                                  int64_t first, int n, int h)
{
    int d = (int)(a.dn + a.dr);
    return {a.q + first * a.ldq + (int64_t)h * d, NULL, a.ldq, 0, n, d, d};
}

static __host__ __device__ __forceinline__ struct rows
output_rows(const struct attention_args &a, const float *o, int64_t first, int n, int h)
{
    int d = (int)a.dv;
    return {o + first * a.ldo + (int64_t)h * d, NULL, a.ldo, 0, n, d, d};
}

static __host__ __device__ __forceinline__ struct rows key_rows(const struct attention_args &a,
                                                                int64_t first, int n, int h)
{
    return {a.k + first * a.ldk + h * a.k_head,
            a.kr ? a.kr + first * a.ldkr : NULL,
            a.ldk,
            a.ldkr,
            n,
            (int)a.dn,
            (int)(a.dn + a.dr)};
}

static __host__ __device__ __forceinline__ struct rows value_rows(const struct attention_args &a,
                                                                  int64_t first, int n, int h)
{
    int d = (int)a.dv;
    return {a.v + first * a.ldv + h * a.v_head, NULL, a.ldv, 0, n, d, d};
}

/* What the backward kernels need besides the arguments: delta[t,h] = ⟨do, o⟩, and the gradient of kr of each of the n_heads key heads
 * from head on, dkr[t, h − head, i], before they are summed. */
struct backward {
    struct attention_grads g;
    const float *delta;
    float *dkr;
    int64_t first; /* row of dkr[0] */
    int head, n_heads;
};

/* lse NULL: not wanted. */
void attention_plain_forward(struct device *dev, const struct attention_args *a, bool causal);
void attention_plain_backward(struct device *dev, const struct attention_args *a,
                              const struct backward *b);

#endif
