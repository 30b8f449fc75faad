/* The ONE list of kernels: what a device can compute, as function pointers with shapes and definitions.
 *
 * Every kernel has a plain reference in cpu/k_NAME.c, which is its definition; faster tables must agree with it within the limits
 * that tests/test_kernels.c states. Activations and gradients are float32, row-major. Backward kernels ADD into their outputs unless
 * marked "writes". Each row pitch (ld…) counts elements. All pointers are device memory unless marked host.
 *
 * Dimensions: B sequences, T tokens (rows), D model width, H heads, V vocabulary, E experts, K experts a token, F inner width,
 * R latent rank; M, N, K the sides of a product (K is its inner side there); S slots = (token, expert) pairs, sorted by expert.
 *
 * Products in "bf16" round both operands to bf16 and add up in float32. On a device without bf16 units (device.bf16_units false)
 * they multiply in float32, reading bf16 weights as they are stored: never less exact than asked.
 */
#ifndef MOE2_KERNELS_KERNELS_H
#define MOE2_KERNELS_KERNELS_H

#include "kernels/device.h"
#include "tensor/dtype.h"
#include "tensor/nf4.h"

/* y[M,N] = x[M,K] · w[N,K]ᵀ, and its two gradients. One struct serves the three directions:
 *   forward          y  (+)= x · wᵀ
 *   backward_input   x  (+)= y · w         (x is dx, y is dy)
 *   backward_weight  w  (+)= yᵀ · x        (w is dw, float32 always; y is dy)
 * accumulate says whether the output is added to or written. */
struct linear_args {
    float *y;
    float *x;
    void *w;
    int64_t M, N, K;
    int64_t ldy, ldx, ldw;
    enum dtype w_type;  /* DT_F32 or DT_BF16 */
    enum dtype compute; /* DT_F32 or DT_BF16 */
    bool accumulate;
};

/* The same for experts: slots offset[e] … offset[e+1]−1 belong to expert e, whose weight is w[e] [N,K]. With x_row (or y_row) a slot s
 * reads row x_row[s] of x (y_row[s] of y) instead of row s: a gather without a copy. Outputs are never indexed (a token's experts
 * would collide): y of forward, x of backward_input have one row a slot. No slot is dropped, an expert without slots costs nothing
 * and, in backward_weight, is left untouched. */
struct grouped_args {
    float *y;
    float *x;
    void *const *w;               /* host array of E device pointers */
    const int32_t *offset;        /* host, [E+1] */
    const int32_t *x_row, *y_row; /* device, [S] or NULL */
    int64_t E, N, K;
    int64_t ldy, ldx, ldw;
    enum dtype w_type, compute;
    bool accumulate;
};

/* Causal attention over B sequences; sequence b is rows offset[b] … offset[b+1]−1 of every array, position 0 first.
 * q [T, H, dn+dr]; k: per head dn numbers, head h of row t at k + t·ldk + (h/(H/Hk))·k_head, then dr numbers shared by all heads at
 * kr + t·ldkr (MLA; dr 0 and kr NULL: ordinary and grouped-query attention); v: dv numbers at v + t·ldv + (h/(H/Hk))·v_head.
 *   p[t,u] = softmax_u≤t(scale · (q_t · [k_u, kr_u]))      o[t,h] = Σ_u p[t,u] · v_u       o [T, H, dv] with pitch ldo
 *   lse[t,h] = log Σ_u exp(scale · q·k), kept for the backward [T,H]
 * Never builds a T×T matrix, never computes what the mask throws away (beyond the diagonal tiles). */
struct attention_args {
    float *o, *lse;
    const float *q, *k, *kr, *v;
    int64_t ldo, ldq, ldk, ldkr, ldv, k_head, v_head;
    const int32_t *offset; /* host, [B+1] */
    int64_t
        past; /* forward of one sequence only: its keys and values begin that many positions before its first query */
    int64_t B, H, Hk, dn, dr, dv;
    float scale;
    enum dtype compute;
};

/* With the forward's args: given do (pitch as o) WRITES dq (as q), dk and dv (as k and v; every row and head of theirs), dkr (as kr). */
struct attention_grads {
    const float *d_o;
    float *dq, *dk, *dkr, *dv;
};

/* A weight [N,K] laid out once for products that never change it (encoders): dense_bytes says how much memory that takes, dense_pack
 * fills it, dense_forward multiplies with it. gated: rows 0 … N/2−1 are "up", the others "gate" of a gated unit. */
struct dense_weight {
    void *packed; /* zeroed memory of dense_bytes */
    int64_t N, K;
    enum dtype compute; /* DT_F32, or DT_BF16: both operands rounded, sums in float32 */
    bool gated;
};

enum dense_act { DENSE_PLAIN, DENSE_GELU };

/* y[M,N] = act(x[M,K] · wᵀ + bias) + add, act the identity or gelu(z) = z · Φ(z) with the exact normal distribution Φ.
 * Gated: y[M,N/2] = (x·upᵀ + bias) · gelu(x·gateᵀ + bias') + add. bias [N] or NULL, add as y or NULL; neither x nor add overlaps y. */
struct dense_args {
    float *y;
    const float *x;
    const struct dense_weight *w;
    const float *bias, *add;
    int64_t M, ldy, ldx, ldadd;
    enum dense_act act; /* of a gated one it is not looked at */
};

/* Attention without a mask over B sequences of any lengths; sequence b is rows offset[b] … offset[b+1]−1. Head h of row t is d numbers at
 * + t·ld + h·d of q, k, v and o.   p[t,u] = softmax_u(scale · q_t·k_u), u over the whole sequence;   o[t] = Σ_u p[t,u] · v[u] */
struct encoder_attention_args {
    float *o;
    const float *q, *k, *v;
    int64_t ldo, ldqkv;
    const int32_t *offset; /* host, [B+1] */
    int64_t B, H, d;
    float scale;
};

/* How a packed weight keeps its numbers. The integer forms hold w[n,k] = scale·(code − zero) + min, with a scale (and a min, where the
 * form has one; else 0) for each run of `group` numbers of a row; scales and mins are kept in float16, NF4's in float32. */
enum packed_form {
    PACKED_F32,
    PACKED_F16,
    PACKED_BF16,
    PACKED_I4,     /* zero 8, groups of 32 */
    PACKED_I4_MIN, /* zero 0, groups of 32, min */
    PACKED_I5,     /* zero 16, groups of 32 */
    PACKED_I5_MIN, /* zero 0, groups of 32, min */
    PACKED_I6,     /* zero 32, groups of 16 */
    PACKED_I8,     /* zero 128, groups of 32 */
    PACKED_NF4,    /* scale · the code's number (tensor/nf4.h), groups of 64 */
    PACKED_FORMS
};

/* A weight [N,K] laid out once for the widest unit that the device has, to be read by rows x by the thousand or one at a time
 * (generation). K is a multiple of the form's group and of 32 in the integer forms, anything in the others. gated: rows 0 … N/2−1 are the
 * "gate", the others the "up" of a SwiGLU. compute DT_BF16 lets many rows be multiplied in bf16; a CPU looks at it in the float
 * forms only. There integer forms round x to 8 bits with a scale for each 32 neighbours, |error| ≤ max|x|/254, except in the reference. */
struct packed_weight {
    void *packed; /* zeroed memory of packed_bytes */
    int64_t N, K;
    enum packed_form form;
    enum dtype compute;
    bool gated;
};

/* Rows of a weight before packing, host memory: float32 [n,K], or codes [n,K] with scale and min [n, K/group]. */
struct packed_source {
    const float *f32;
    const uint8_t *codes;
    const float *scale, *min;
};

/* y (+)= x · wᵀ + bias, gated: y[M,N/2] (+)= silu(x·gateᵀ) · (x·upᵀ), for E weights of one shape and form: slots offset[e] …
 * offset[e+1]−1 belong to w[e]; slot s reads row x_row[s] (s if NULL) and writes row y_row[s] (s if NULL; no row twice). A weight
 * without slots is not read. bias [N] needs E = 1 and no gate. */
struct packed_args {
    float *y;
    const float *x;
    const struct packed_weight *w; /* host, [E] */
    const int32_t *offset;         /* host, [E+1] */
    const int32_t *x_row, *y_row;  /* [S] or NULL */
    const float *bias;             /* [N] or NULL */
    int64_t E, ldy, ldx;
    bool accumulate;
};

/* Attention of T new rows, the last of n positions, over keys and values kept from before: row t sees the positions 0 … n − T + t.
 * q [T, H, d] and o [T, H, dv] have pitches ldq and ldo; key u of head h at k + u·ldk + (h/(H/Hk))·d, value u at
 * v + u·ldv + (h/(H/Hk))·v_head. The latent attention of MLA is this with Hk = 1, d = R + dr, dv = R and v = k. */
struct cached_attention_args {
    float *o;
    const float *q, *k, *v;
    int64_t ldo, ldq, ldk, ldv, v_head;
    int64_t T, n, H, Hk, d, dv;
    float scale;
    enum dtype compute; /* of the products of many rows */
};

struct adamw_args {
    float *p, *m, *v;
    const float *g;
    uint16_t *p_bf16; /* NULL, or the working copy that gets the rounded new p */
    int64_t n;
    float lr, beta1, beta2, eps, weight_decay;
    float grad_scale;               /* g is multiplied by it first (clipping) */
    float correction1, correction2; /* 1 − beta1^t, 1 − beta2^t */
};

/* The same with moments in 8 bits, as bitsandbytes keeps them: of each block of 256 numbers one absmax, and each number the nearest
 * of 256 levels times it (m: the signed dynamic map, v: the unsigned one). a.m and a.v are not looked at. */
enum { ADAMW8_BLOCK = 256 };
struct adamw8_args {
    struct adamw_args a;
    uint8_t *m, *v;             /* [n] */
    float *m_absmax, *v_absmax; /* [ceil(n / 256)] */
    const float *m_map, *v_map; /* [256] ascending, host */
};

/* y[t,d] (+)= scale · x[t,d], or 0 with probability drop. The mask depends on seed, on the row's key = first_key + (key_row ? key_row[t] : t)
 * and on d alone. drop 0 only scales; y may be x. */
struct dropout_args {
    float *y;
    const float *x;
    int64_t T, D, ldy, ldx;
    const int32_t *key_row; /* device, [T] or NULL */
    int64_t first_key;
    uint64_t seed;
    float drop, scale;
    bool accumulate;
};

/* Routing of T tokens by rule alone: what route/route_rows.h defines, in its bits on every device. A row that valid says is padding picks
 * nobody, −1 everywhere, one with a logit that is no finite number −2 everywhere; both have scores and weights 0. */
enum { ROUTE_FAR_EXPERTS = 8192 }; /* E at most; of the rest the router's own limits hold */
struct route_args {
    float *scores;        /* [T,E] sigmoid (softmax) of the logits */
    int32_t *idx;         /* [T,K] the best first */
    float *weight;        /* [T,K] */
    double *moments;      /* [ceil(T/64), 2] Σ s and Σ s² of 64 rows each, or NULL */
    const float *logits;  /* [T,E] */
    const float *bias;    /* [E] added for selection only */
    const uint8_t *valid; /* [T] 0: padding; or NULL: none is */
    int64_t T, E, K;
    int64_t n_group, topk_group; /* 1 and 1: the K best of all */
    bool softmax;
    bool group_max; /* a group scores its largest, else the sum of its two largest */
    bool normed;    /* weights sum up to factor */
    float factor;
};

/* Slots from picks: sorted by expert, then by token. S = T·K at most, the more T with a shared expert: number E, which every token
 * picks with weight 1, slot n + t of token t behind the n others. */
struct route_lists_args {
    int32_t *
        offset; /* [E+2], shared [E+3]: slots of expert e are offset[e] … offset[e+1]−1; last how many rows hold −2 */
    int32_t *token;        /* [S] */
    float *slot_weight;    /* [S] */
    int32_t *position;     /* [T,K] the slot of each pick, −1 where there is none */
    int32_t *first, *slot; /* [T+1], [S] as combine wants them, the slots of a token rising */
    const int32_t *idx;    /* [T,K] */
    const float *weight;   /* [T,K] */
    int64_t T, E, K;
    bool shared;
};

struct kernels {
    const char *name;

    /* ---- products ---- */
    void (*linear_forward)(struct device *dev, const struct linear_args *a);
    void (*linear_backward_input)(struct device *dev, const struct linear_args *a);
    void (*linear_backward_weight)(struct device *dev, const struct linear_args *a);
    void (*grouped_forward)(struct device *dev, const struct grouped_args *a);
    void (*grouped_backward_input)(struct device *dev, const struct grouped_args *a);
    void (*grouped_backward_weight)(struct device *dev, const struct grouped_args *a);

    /* ---- norms and element by element ---- */
    /* y[t,d] = x[t,d] · rstd[t] · w[d], rstd[t] = 1/sqrt(mean_d x² + eps). Row pitches ldy, ldx (a slice of a wider row may be normed). */
    void (*rmsnorm_forward)(struct device *dev, float *y, float *rstd, const float *x,
                            const float *w, int64_t T, int64_t D, int64_t ldy, int64_t ldx,
                            float eps);
    /* dx += …, dw[D] += … (dw NULL: frozen); dx has the pitch of x, dy that of y. */
    void (*rmsnorm_backward)(struct device *dev, float *dx, float *dw, const float *dy,
                             const float *x, const float *w, const float *rstd, int64_t T,
                             int64_t D, int64_t ldy, int64_t ldx);
    /* Interleaved rotary embedding in place on n_heads heads of dr numbers: head h of row t at x + t·ldx + h·x_head; pair (x_2i, x_2i+1)
     * times (cos + j·sin)[pos[t], i], tables [P, dr/2]. sign −1 rotates back (the backward). */
    void (*rope)(struct device *dev, float *x, const int32_t *pos, const float *cos,
                 const float *sin, int64_t T, int64_t n_heads, int64_t dr, int64_t ldx,
                 int64_t x_head, int sign);
    /* The same with pairs (x_i, x_i+dr/2), the two halves of a head: llama's and qwen's. */
    void (*rope_half)(struct device *dev, float *x, const int32_t *pos, const float *cos,
                      const float *sin, int64_t T, int64_t n_heads, int64_t dr, int64_t ldx,
                      int64_t x_head, int sign);
    /* y[t,n] += b[n], row pitch ldy;   db[n] += Σ_t dy[t,n]. */
    void (*bias_forward)(struct device *dev, float *y, const float *b, int64_t T, int64_t N,
                         int64_t ldy);
    void (*bias_backward)(struct device *dev, float *db, const float *dy, int64_t T, int64_t N,
                          int64_t ldy);
    /* gu [T, 2F]: gate then up. h[t,f] = silu(gate) · up. */
    void (*swiglu_forward)(struct device *dev, float *h, const float *gu, int64_t T, int64_t F);
    /* WRITES dgu [T, 2F] from dh [T,F]; may be in place over nothing else. With weight [T] (experts; dh is then the gradient before
     * weighting): dh·weight is what flows on, dweight[t] = ⟨dh, h⟩ is WRITTEN, and hw [T,F] = weight·h is WRITTEN for the weight
     * gradient of the down projection. weight NULL: hw (if not NULL) is h, dweight is not touched. */
    void (*swiglu_backward)(struct device *dev, float *dgu, float *dweight, float *hw,
                            const float *dh, const float *gu, const float *weight, int64_t T,
                            int64_t F);
    /* y[t] += Σ_j weight[s]·x[s], s = slot[first[t]] … slot[first[t+1]−1], in that order. first [T+1], slot [S], weight [S] or NULL (1). */
    void (*combine)(struct device *dev, float *y, const float *x, const float *weight,
                    const int32_t *first, const int32_t *slot, int64_t T, int64_t D);
    /* y[t] = table[ids[t]]; table [V,D] float32 or bf16. */
    void (*embed_forward)(struct device *dev, float *y, const void *table, enum dtype type,
                          const int32_t *ids, int64_t T, int64_t D);
    /* dtable[ids[t]] += dy[t], in the order of t. */
    void (*embed_backward)(struct device *dev, float *dtable, const float *dy, const int32_t *ids,
                           int64_t T, int64_t D, int64_t V);
    /* y += a·x; y = value; y = x (n elements); bf16 rounding. */
    void (*axpy)(struct device *dev, float *y, const float *x, float a, int64_t n);
    void (*fill)(struct device *dev, float *y, float value, int64_t n);
    void (*copy)(struct device *dev, float *y, const float *x, int64_t n);
    void (*to_bf16)(struct device *dev, uint16_t *y, const float *x, int64_t n);
    void (*dropout)(struct device *dev, const struct dropout_args *a);
    /* n columns of T rows: to[t·ldto + j] = from[t·ldfrom + j]. */
    void (*copy_rows)(struct device *dev, float *to, int64_t ldto, const float *from,
                      int64_t ldfrom, int64_t T, int64_t n);
    /* Values first … first + n − 1 of q, whose arrays are device memory, to out [n]. */
    void (*nf4_to_f32)(struct device *dev, float *out, const struct nf4 *q, int64_t first,
                       int64_t n);
    /* The same, each rounded to bf16. */
    void (*nf4_to_bf16)(struct device *dev, uint16_t *out, const struct nf4 *q, int64_t first,
                        int64_t n);
    /* The same for whole tensors, host arrays [n_tensors]: experts' weights are many and small. */
    void (*nf4_list_to_bf16)(struct device *dev, uint16_t *const *out, const struct nf4 *const *q,
                             int64_t n_tensors);
    /* norm[s] = ‖x[s]‖₂ over D (RD-ESI's performance: norm). */
    void (*row_norm)(struct device *dev, float *norm, const float *x, int64_t S, int64_t D);

    /* ---- routing ---- */
    void (*route_pick)(struct device *dev, const struct route_args *a);
    void (*route_lists)(struct device *dev, const struct route_lists_args *a);
    /* What came through the weights: with the forward's scores, idx, weight and position, dweight [S], adds into dlogits [T,E]. */
    void (*route_backward)(struct device *dev, float *dlogits, const float *dweight,
                           const int32_t *position, const struct route_args *a);

    /* ---- a gate's layer ---- */
    /* y[t,n] = max(y[t,n] + b[n], 0), rows without gaps. */
    void (*relu_forward)(struct device *dev, float *y, const float *b, int64_t T, int64_t N);
    /* dy becomes 0 where y is 0, and db[n] is WRITTEN: Σ_t dy[t,n] of what is left. */
    void (*relu_backward)(struct device *dev, float *dy, float *db, const float *y, int64_t T,
                          int64_t N);

    /* ---- attention ---- */
    void (*attention_forward)(struct device *dev, const struct attention_args *a);
    void (*attention_backward)(struct device *dev, const struct attention_args *a,
                               const struct attention_grads *g);

    /* ---- encoders (forward only) ---- */
    size_t (*dense_bytes)(struct device *dev, const struct dense_weight *w);
    /* rows [N,K] is host memory. */
    void (*dense_pack)(struct device *dev, const struct dense_weight *w, const float *rows);
    void (*dense_forward)(struct device *dev, const struct dense_args *a);
    /* y[t,d] = (x[t,d] − mean_d x[t]) · rstd[t] · w[d] + b[d], rstd[t] = 1/sqrt(mean_d (x − mean)² + eps); y may be x. */
    void (*layernorm_forward)(struct device *dev, float *y, const float *x, const float *w,
                              const float *b, int64_t T, int64_t D, float eps);
    void (*encoder_attention)(struct device *dev, const struct encoder_attention_args *a);

    /* ---- generation (forward only) ---- */
    size_t (*packed_bytes)(struct device *dev, const struct packed_weight *w);
    /* Rows first … first+n−1; first is a multiple of 16, n too unless the weight ends there. */
    void (*packed_pack)(struct device *dev, const struct packed_weight *w, int64_t first, int64_t n,
                        const struct packed_source *rows);
    void (*packed_forward)(struct device *dev, const struct packed_args *a);
    /* y[t] = row ids[t] of w, which is not gated; y [T,K]. */
    void (*packed_rows)(struct device *dev, float *y, const struct packed_weight *w,
                        const int32_t *ids, int64_t T);
    void (*cached_attention)(struct device *dev, const struct cached_attention_args *a);

    /* ---- loss ---- */
    /* Rows of logits [T,V] (pitch ldl) become their gradient in place: nll[t] = logsumexp − logit[target]; right[t] = 1 if the target is the first
     * largest logit; logits[t,v] = scale · (softmax_v − 1[v = target]). A target of −1 gives nll 0, right 0 and a row of zeros.
     * scale 0 leaves the logits as they are (evaluation). right may be NULL. */
    void (*cross_entropy)(struct device *dev, float *nll, uint8_t *right, float *logits,
                          const int32_t *target, int64_t T, int64_t V, int64_t ldl, float scale);

    /* ---- optimizer ---- */
    void (*adamw)(struct device *dev, const struct adamw_args *a);
    void (*adamw8)(struct device *dev, const struct adamw8_args *a);
    /* The same for many tensors, host arrays [n_tensors], with the bits of one after the other; arrays, n and weight_decay are each one's,
     * the rest is the same in all. */
    void (*adamw_list)(struct device *dev, const struct adamw_args *a, int64_t n_tensors);
    void (*adamw8_list)(struct device *dev, const struct adamw8_args *a, int64_t n_tensors);
    /* Σ x², in double and in a fixed order whatever the threads (host result). */
    double (*sum_squares)(struct device *dev, const float *x, int64_t n);
    /* The same of each of many tensors, into sums; all arrays host [n_tensors]. */
    void (*sum_squares_list)(struct device *dev, double *sums, const float *const *x,
                             const int64_t *n, int64_t n_tensors);
    /* Index of the first NaN or infinity, −1 if none (host result). */
    int64_t (*find_nonfinite)(struct device *dev, const float *x, int64_t n);
};

#endif
