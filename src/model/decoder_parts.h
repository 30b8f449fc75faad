/* What the files of the decoder share: its memory, and the forward and backward of a block's two
 * halves.
 *
 * Memory. Two regions, allocated for the largest batch seen. `base` holds what lives through a
 * step: the residual stream before every block and what the backward needs (struct block_acts, one
 * a layer; one for all when activations are checkpointed or nothing is trained). `scratch` holds
 * what dies within half a block, laid over itself: attention, dense MLP, experts and head use the
 * same bytes.
 *
 * What is kept of a block is what can't be made again cheaply: the results of products. Norms and
 * SwiGLU are computed again.
 */
#ifndef MOE2_MODEL_DECODER_PARTS_H
#define MOE2_MODEL_DECODER_PARTS_H

#include "model/decoder.h"
#include "model/far_route.h"
#include "model/frozen.h"
#include "model/lora.h"
#include "model/mapped.h"
#include "model/params.h"
#include "model/store.h"

#define LATENT_EPS                                                                                 \
    1e-6f /* of q_a_layernorm and kv_a_layernorm, whatever rms_norm_eps is (transformers) */

/* Sizes that are used everywhere. */
struct dims {
    int64_t D, H, Hk, dn, dr, dv, R, Rq, V, L, E, K, F, Fs, I;
    int64_t rope;     /* numbers of a head that are rotated */
    int64_t q_width;  /* H·(dn+dr) */
    int64_t a_width;  /* columns of the first product: (Rq or q_width) + R + dr */
    int64_t a_latent; /* where kv_a begins in them */
    int64_t kv_width; /* H·(dn+dv) */
    int64_t o_width;  /* H·dv */
    int64_t own_q;    /* width of block_acts.q where it is not a's beginning, else 0 */
    /* Grouped-query attention has dn = dv = head_dim, dr = R = kv_width = 0 and a = [q | k | v]. */
};

struct block_acts {
    const float *x;                                /* [T, D] the block's input */
    float *rstd_in, *rstd_q, *rstd_kv, *rstd_post; /* [T]; of heads: [H, T] and [Hk, T] */
    float *a; /* [T, a_width]: q (or q_a), latent, shared rotary key; or q, k, v */
    float *q; /* [T, q_width]: in a without q_lora_rank; with q/k norms [T, own_q]: both, normed */
    int64_t ldq;
    float *kv;           /* [T, kv_width] */
    float *o, *lse;      /* [T, o_width], [T, H] */
    float *mid;          /* [T, D] after attention */
    float *gate_up;      /* [T, 2I] of a dense layer, [T, 2Fs] of shared experts */
    float *slot_gate_up; /* [S, 2F] */
};

/* A route as the kernels want it. */
struct slot_lists {
    int32_t *offset;           /* host [E+1] */
    int32_t *first, *position; /* device [T+1], [S]: the slots of each token */
    int32_t *token;            /* device [S] */
    float *weight;             /* device [S] */
};

struct layer {
    struct layer_params p;
    void **w_gate_up, **w_down; /* [E] device pointers of the products' weights, host array */
    void **g_gate_up, **g_down; /* [E] of their gradients; NULL when not trained */
    struct router *router;      /* NULL: a dense layer */
    struct route route;
    void *route_memory; /* host */
    struct slot_lists lists;
    struct far_route far; /* where the device picks; no memory where the host reads it */
    bool is_far, fetched; /* the last picks were made there; the route has them too */
    float *logits;        /* device [T, E] of the last forward, kept for the z loss */
    float *d_aux; /* device [T, E] gradient of the auxiliary losses; NULL when there are none */
    struct block_acts acts;
};

struct scratch {
    float *y, *dy; /* [T, D] a norm's output and its gradient */
    /* attention */
    float *latent, *q_latent; /* [T, R], [T, Rq] normed */
    float *d_latent, *d_q_latent;
    float *d_o, *d_a, *d_q, *d_kv; /* as o, a, q, kv */
    /* dense MLP or shared experts */
    float *h, *dh;    /* [T, I or Fs] */
    float *d_gate_up; /* [T, 2I or 2Fs] */
    /* experts */
    float *slot_gate_up;     /* [S, 2F], of a forward that keeps nothing */
    float *slot_h, *slot_dh; /* [S, F] */
    float *slot_d_gate_up;   /* [S, 2F] */
    float *slot_out;         /* [S, D]: outputs, or gradients of inputs */
    float *slot_scalar;      /* [S]: norms, or gradients of weights */
    float *d_logits;         /* [T, E] */
    /* head */
    float *head_y, *head_dy, *head_logits, *head_nll, *head_rstd; /* chunks of head_rows rows */
    uint8_t *head_right;
};

struct decoder {
    struct device *dev;
    struct model_config config;
    struct dims d;
    enum dtype compute;
    bool train, checkpointing;
    bool frozen;  /* the weights are only read, whatever trains beside them */
    double *pool; /* [2E] for AUX_HF, from the list's arena; NULL: another form */
    const struct log_sink *log;

    struct param_list list;
    struct model_params mp;
    float *data, *grad; /* [list.n_elements] */
    uint16_t *half;
    struct mapped_weights mapped;      /* instead of data and half, for a decoder that only reads */
    struct frozen_weights frozen_base; /* likewise, for one whose adapters train */
    float *panel; /* device: a piece of an NF4 weight, widened; NULL: none is */
    int64_t panel_n;
    struct lora *lora; /* NULL: no adapters */
    struct layer *layers;
    int n_layers_open; /* for freeing a half-built decoder */

    /* activations */
    int64_t cap_tokens, cap_positions, head_rows;
    int64_t cap_slots, cap_kept_slots; /* of scratch; of what a backward needs */
    char *base, *scratch_bytes;
    size_t base_size, scratch_size;
    struct scratch s;
    struct block_acts shared; /* checkpointing or no training: every block's */
    float **x;                /* [L+1] the residual stream; two alternate when nothing is kept */
    struct store store;       /* of the blocks' inputs, off the device */
    float *dx;                /* [T, D] its gradient */
    int32_t *ids, *pos, *targets; /* device [T] */
    float *cos, *sin;             /* device [cap_positions, dr/2] */
    float softmax_scale;
    int32_t *host_i32;    /* [T+1], for what is made on the host */
    uint8_t *host_valid;  /* [T] */
    int8_t *host_right;   /* [T] */
    struct far_route far; /* what all layers' have in common: bias, valid, report */
    float *host_f32;      /* [S + 2·T·E]; NULL on a device whose memory the host can read */
    void *host_report;    /* of far_route.h, host_alloc's; likewise */
    size_t n_report;
    int64_t *host_seq; /* [B+1] */
    int64_t cap_sequences;

    /* the forward that is under way */
    int64_t T;
    enum decoder_mode mode;
    bool looks_ahead; /* the mode was DECODER_LOOKAHEAD, for the rest DECODER_EVAL */
    bool fresh; /* gradients of products are to be written, not added to: the first backward since
                   decoder_zero_grad */
    const float *hidden; /* [T, D] after the last block */
    int64_t first_row;   /* of the batch, that a product's row 0 is: the head goes by chunks */
    struct decoder_times times;
};

/* Makes room for a batch. MOE2_ELIMIT. */
int decoder_reserve(struct decoder *dec, const struct batch *batch, struct err *err);

/* More slots than T·K (expert choice at evaluation): grows scratch, whose content is lost. */
int decoder_reserve_slots(struct decoder *dec, int64_t n_slots, struct err *err);
void decoder_release_memory(struct decoder *dec);

/* y [M,N] (+)= x [M,K] · wᵀ; dx (+)= dy · w; dw += dyᵀ · x (nothing when p is frozen). w begins at
 * tensor p and may run on over joined neighbours. The router's products are float32 whatever the
 * decoder computes in. */
void product_forward(struct decoder *dec, float *y, int64_t ldy, const float *x, int64_t ldx,
                     const struct param *p, int64_t M, int64_t N, int64_t K, bool accumulate);
void product_backward_input(struct decoder *dec, float *dx, int64_t ldx, const float *dy,
                            int64_t ldy, const struct param *p, int64_t M, int64_t N, int64_t K,
                            bool accumulate);
void product_backward_weight(struct decoder *dec, const struct param *p, const float *dy,
                             int64_t ldy, const float *x, int64_t ldx, int64_t M, int64_t N,
                             int64_t K);

/* The two products of a layer's routed experts over slots sorted by expert: gate and up as one, and
 * down. A slot reads row x_row[s] of x (dy_row[s] of dy), or row s where it is NULL. As above:
 * forward writes y, backward_input dx, backward_weight nothing that is frozen. */
enum expert_product { EXPERTS_UP, EXPERTS_DOWN };
void experts_product_forward(struct decoder *dec, struct layer *layer, enum expert_product which,
                             float *y, const float *x, const int32_t *x_row);
void experts_product_backward_input(struct decoder *dec, struct layer *layer,
                                    enum expert_product which, float *dx, const float *dy,
                                    const int32_t *dy_row);
void experts_product_backward_weight(struct decoder *dec, struct layer *layer,
                                     enum expert_product which, const float *dy,
                                     const int32_t *dy_row, const float *x, const int32_t *x_row);

/* What adapters add to the results of each of these; nothing where p has none. */
void lora_forward(struct decoder *dec, float *y, int64_t ldy, const float *x, int64_t ldx,
                  const struct param *p, int64_t M);
void lora_backward_input(struct decoder *dec, float *dx, int64_t ldx, const float *dy, int64_t ldy,
                         const struct param *p, int64_t M);
void lora_backward_weight(struct decoder *dec, const struct param *p, const float *dy, int64_t ldy,
                          const float *x, int64_t ldx, int64_t M);
void lora_experts_forward(struct decoder *dec, struct layer *layer, enum expert_product which,
                          float *y, const float *x, const int32_t *x_row);
void lora_experts_backward_input(struct decoder *dec, struct layer *layer,
                                 enum expert_product which, float *dx, const float *dy,
                                 const int32_t *dy_row);
void lora_experts_backward_weight(struct decoder *dec, struct layer *layer,
                                  enum expert_product which, const float *dy, const int32_t *dy_row,
                                  const float *x, const int32_t *x_row);

/* y = norm(x) of the attention half into scratch. */
void attention_norm_in(struct decoder *dec, struct layer *layer, struct block_acts *acts);

/* The same as mla_forward and mla_backward, for grouped-query attention. */
void gqa_forward(struct decoder *dec, struct layer *layer, struct block_acts *acts,
                 const struct batch *batch);
void gqa_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts,
                  const struct batch *batch);

/* acts->x → acts->mid. Backward: dec->dx is the gradient of mid, then that of x. */
void mla_forward(struct decoder *dec, struct layer *layer, struct block_acts *acts,
                 const struct batch *batch);
void mla_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts,
                  const struct batch *batch);

/* out = mid + MLP(norm(mid)); out NULL: only what the backward needs is made again. Backward:
 * dec->dx likewise. */
void ffn_forward(struct decoder *dec, struct layer *layer, struct block_acts *acts, float *out);
void ffn_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts);

int moe_forward(struct decoder *dec, struct layer *layer, struct block_acts *acts, float *out,
                const struct batch *batch, struct err *err);
void moe_backward(struct decoder *dec, struct layer *layer, struct block_acts *acts, float scale);

/* The middle of an MLP shared by dense layers and shared experts: h = swiglu(gate_up), and its
 * backward. */
struct mlp {
    const struct param *gate_up, *down;
    int64_t width;
};
void mlp_forward(struct decoder *dec, const struct mlp *m, float *gate_up, const float *y,
                 float *out);
/* dx of the MLP's input is written to dy; d is the gradient of its output. */
void mlp_backward(struct decoder *dec, const struct mlp *m, const float *gate_up, const float *y,
                  const float *d, float *dy);

/* Copies between host and device that cost nothing where the host reads device memory: the pointer
 * itself is taken. */
const float *to_host(struct decoder *dec, const float *device, int64_t n);

/* A layer's route, all of it, wherever its picks were made. */
struct route *whole_route(struct decoder *dec, struct layer *layer);

/* decoder_find_nonfinite after a forward that got through the first n_blocks only. Outside
 * training only the last block's output is still there to be looked at. */
int decoder_blame_nonfinite(struct decoder *dec, bool gradients, int64_t n_blocks, struct err *err);

#endif
