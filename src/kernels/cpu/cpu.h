/* Inside the CPU device: its scratch memory, its features and the functions that its tables are made of.
 *
 * The tables form a ladder: reference, avx2, avx512, avx512vnni, avx512bf16. A step starts as a copy of the one below and table_NAME replaces the
 * rows that it does faster, so that every table is complete. Nothing here allocates while a kernel runs: scratch memory is address
 * space reserved when the device is opened, whose pages come into being at the first touch and are used again by every later call.
 */
#ifndef MOE2_KERNELS_CPU_CPU_H
#define MOE2_KERNELS_CPU_CPU_H

#include "kernels/kernels.h"

enum {
    CPU_SCRATCH_THREAD = 64 << 20, /* bytes a thread */
    CPU_MAX_THREADS = 256,
};
#define CPU_SCRATCH_SHARED ((size_t)1 << 30) /* bytes that all threads of a kernel share */

struct gemm_ops;
struct packed_ops;

/* What attention asks of an instruction set besides products. A panel has 2 vectors of columns, each a query; row u is key u of n.
 * Column i sees the keys u ≤ lead + i; what it does not see becomes 0. */
struct attention_rows {
    /* Scores s [n, panel] become exp(scale·s − max'), where max'[i] (over ln 2) is the larger of max[i] and the column's, and takes its
     * place; sum[i] is brought to the new maximum and grows by the column's. shrink[i] = exp(max − max'). */
    void (*softmax_columns)(float *s, int64_t n, int64_t lead, float scale, float *max, float *sum,
                            float *shrink);
    void (*shrink_columns)(float *y, int64_t n, const float *a); /* y[u][i] *= a[i] */
    /* p = exp(scale·p − lse), lse over ln 2; ds = p·scale·(ds − delta); rows are pitch apart */
    void (*grad_columns)(float *p, float *ds, int64_t pitch, int64_t n, int64_t lead, float scale,
                         const float *lse, const float *delta);
    void (*scale_row)(float *y, const float *x, int64_t n, float a); /* y = a·x */
    float (*dot)(const float *a, const float *b, int64_t n);
};

/* What the kernels of encoders ask of an instruction set besides products. */
struct encoder_rows {
    /* m rows of n sums in c (pitch ldc) become rows of y: act(c + bias) + add; bias and add may be NULL. */
    void (*finish)(float *y, int64_t ldy, const float *c, int64_t ldc, const float *bias,
                   const float *add, int64_t ldadd, int m, int n, enum dense_act act);
    /* The same of gated sums: in each row of c n of "up" and, half behind them, n of "gate". */
    void (*finish_gated)(float *y, int64_t ldy, const float *c, int64_t ldc, int64_t half,
                         const float *bias_up, const float *bias_gate, const float *add,
                         int64_t ldadd, int m, int n);
    /* s[i] = exp(scale·s[i] − max'), max' the larger of *max and every scale·s[i], which becomes *max; *sum is brought to it and grows
     * by the row's. Returns exp(max − max'), the factor for what was summed up under the old one. */
    float (*softmax)(float *s, int64_t n, float scale, float *max, float *sum);
    void (*scale)(float *y, const float *x, int64_t n, float a); /* y = a·x */
};

struct cpu_state {
    struct kernels table;
    const struct gemm_ops *gemm_f32,
        *gemm_bf16; /* what multiplies for each compute type; NULL in the reference */
    const struct packed_ops *packed, *packed_bf16; /* bf16: NULL without units for it */
    struct attention_rows attention;
    struct encoder_rows encoder;
    uint8_t *scratch; /* shared first, then each thread's; one mapping */
    size_t scratch_bytes;
};

static inline void *cpu_shared(const struct device *dev)
{
    return ((struct cpu_state *)dev->state)->scratch;
}

static inline void *cpu_scratch(const struct device *dev, int thread)
{
    return ((struct cpu_state *)dev->state)->scratch + CPU_SCRATCH_SHARED +
           (size_t)thread * CPU_SCRATCH_THREAD;
}

void table_reference(struct cpu_state *s);
void table_avx2(struct cpu_state *s);
void table_avx512(struct cpu_state *s);
void table_avx512vnni(struct cpu_state *s);
void table_avx512bf16(struct cpu_state *s);

/* Rows of more than one table; each sets what it has. */
void rows_avx2(struct cpu_state *s);
void rows_avx512(struct cpu_state *s);
void attention_forward(struct device *dev, const struct attention_args *a);
void attention_backward(struct device *dev, const struct attention_args *a,
                        const struct attention_grads *g);

void encoder_rows_avx2(struct cpu_state *s);
void encoder_rows_avx512(struct cpu_state *s);
size_t dense_bytes(struct device *dev, const struct dense_weight *w);
void dense_pack(struct device *dev, const struct dense_weight *w, const float *rows);
void dense_forward(struct device *dev, const struct dense_args *a);
void cached_attention_avx2(struct device *dev, const struct cached_attention_args *a);
void cached_attention_avx512(struct device *dev, const struct cached_attention_args *a);
void encoder_attention(struct device *dev, const struct encoder_attention_args *a);

/* The plain references; their files define what each kernel computes. */
void ref_linear_forward(struct device *dev, const struct linear_args *a);
void ref_linear_backward_input(struct device *dev, const struct linear_args *a);
void ref_linear_backward_weight(struct device *dev, const struct linear_args *a);
void ref_grouped_forward(struct device *dev, const struct grouped_args *a);
void ref_grouped_backward_input(struct device *dev, const struct grouped_args *a);
void ref_grouped_backward_weight(struct device *dev, const struct grouped_args *a);
void ref_rmsnorm_forward(struct device *dev, float *y, float *rstd, const float *x, const float *w,
                         int64_t T, int64_t D, int64_t ldy, int64_t ldx, float eps);
void ref_rmsnorm_backward(struct device *dev, float *dx, float *dw, const float *dy, const float *x,
                          const float *w, const float *rstd, int64_t T, int64_t D, int64_t ldy,
                          int64_t ldx);
void ref_rope(struct device *dev, float *x, const int32_t *pos, const float *cos, const float *sin,
              int64_t T, int64_t n_heads, int64_t dr, int64_t ldx, int64_t x_head, int sign);
void ref_rope_half(struct device *dev, float *x, const int32_t *pos, const float *cos,
                   const float *sin, int64_t T, int64_t n_heads, int64_t dr, int64_t ldx,
                   int64_t x_head, int sign);
void ref_relu_forward(struct device *dev, float *y, const float *b, int64_t T, int64_t N);
void ref_relu_backward(struct device *dev, float *dy, float *db, const float *y, int64_t T,
                       int64_t N);
void ref_bias_forward(struct device *dev, float *y, const float *b, int64_t T, int64_t N,
                      int64_t ldy);
void ref_bias_backward(struct device *dev, float *db, const float *dy, int64_t T, int64_t N,
                       int64_t ldy);
void ref_swiglu_forward(struct device *dev, float *h, const float *gu, int64_t T, int64_t F);
void ref_swiglu_backward(struct device *dev, float *dgu, float *dweight, float *hw, const float *dh,
                         const float *gu, const float *weight, int64_t T, int64_t F);
void ref_combine(struct device *dev, float *y, const float *x, const float *weight,
                 const int32_t *first, const int32_t *slot, int64_t T, int64_t D);
void ref_embed_forward(struct device *dev, float *y, const void *table, enum dtype type,
                       const int32_t *ids, int64_t T, int64_t D);
void ref_embed_backward(struct device *dev, float *dtable, const float *dy, const int32_t *ids,
                        int64_t T, int64_t D, int64_t V);
void ref_axpy(struct device *dev, float *y, const float *x, float a, int64_t n);
void ref_fill(struct device *dev, float *y, float value, int64_t n);
void ref_copy(struct device *dev, float *y, const float *x, int64_t n);
void ref_copy_rows(struct device *dev, float *to, int64_t ldto, const float *from, int64_t ldfrom,
                   int64_t T, int64_t n);
void ref_to_bf16(struct device *dev, uint16_t *y, const float *x, int64_t n);
void ref_dropout(struct device *dev, const struct dropout_args *a);
void ref_nf4_to_f32(struct device *dev, float *out, const struct nf4 *q, int64_t first, int64_t n);
void ref_nf4_to_bf16(struct device *dev, uint16_t *out, const struct nf4 *q, int64_t first,
                     int64_t n);
void ref_nf4_list_to_bf16(struct device *dev, uint16_t *const *out, const struct nf4 *const *q,
                          int64_t n_tensors);
void nf4_to_f32_avx512(struct device *dev, float *out, const struct nf4 *q, int64_t first,
                       int64_t n);
void ref_adamw8(struct device *dev, const struct adamw8_args *a);
void ref_row_norm(struct device *dev, float *norm, const float *x, int64_t S, int64_t D);
void ref_route_pick(struct device *dev, const struct route_args *a);
void ref_route_lists(struct device *dev, const struct route_lists_args *a);
void ref_route_backward(struct device *dev, float *dlogits, const float *dweight,
                        const int32_t *position, const struct route_args *a);
void ref_attention_forward(struct device *dev, const struct attention_args *a);
void ref_attention_backward(struct device *dev, const struct attention_args *a,
                            const struct attention_grads *g);
size_t ref_dense_bytes(struct device *dev, const struct dense_weight *w);
void ref_dense_pack(struct device *dev, const struct dense_weight *w, const float *rows);
void ref_dense_forward(struct device *dev, const struct dense_args *a);
void ref_layernorm_forward(struct device *dev, float *y, const float *x, const float *w,
                           const float *b, int64_t T, int64_t D, float eps);
void ref_encoder_attention(struct device *dev, const struct encoder_attention_args *a);
size_t ref_packed_bytes(struct device *dev, const struct packed_weight *w);
void ref_packed_pack(struct device *dev, const struct packed_weight *w, int64_t first, int64_t n,
                     const struct packed_source *rows);
void ref_packed_forward(struct device *dev, const struct packed_args *a);
void ref_packed_rows(struct device *dev, float *y, const struct packed_weight *w,
                     const int32_t *ids, int64_t T);
void ref_cached_attention(struct device *dev, const struct cached_attention_args *a);
void ref_cross_entropy(struct device *dev, float *nll, uint8_t *right, float *logits,
                       const int32_t *target, int64_t T, int64_t V, int64_t ldl, float scale);
void ref_adamw(struct device *dev, const struct adamw_args *a);
void ref_adamw_list(struct device *dev, const struct adamw_args *a, int64_t n_tensors);
void ref_adamw8_list(struct device *dev, const struct adamw8_args *a, int64_t n_tensors);
void ref_sum_squares_list(struct device *dev, double *sums, const float *const *x, const int64_t *n,
                          int64_t n_tensors);
double ref_sum_squares(struct device *dev, const float *x, int64_t n);
int64_t ref_find_nonfinite(struct device *dev, const float *x, int64_t n);

#endif
