/* What the files of a session share: its sizes, its weights, its buffers. */
#ifndef MOE2_MODEL_SESSION_PARTS_H
#define MOE2_MODEL_SESSION_PARTS_H

#include "kernels/kernels.h"
#include "model/far_route.h"
#include "model/session.h"
#include "model/source.h"
#include "route/router.h"

#define SESSION_LATENT_EPS 1e-6f /* of q_a_layernorm and kv_a_layernorm (transformers) */

struct session_dims {
    int64_t D, V, L, H, Hk;
    int64_t dn, dr, dv, R,
        Rq;                 /* heads: dn + dr numbers in q and k, dv in v; dr = R = 0 without MLA */
    int64_t rope;           /* rotated numbers of a head */
    int64_t I, E, K, F, Fs; /* dense width; experts, picks, their width, the shared ones' */
    int64_t kept;           /* numbers kept a token and layer */
};

/* A product whose rows may be kept in several forms, one below the other. */
struct product {
    struct packed_weight w[3];
    int n;
};

struct session_layer {
    float *in_norm, *post_norm;
    /* grouped-query attention: q, k, v; MLA: q (or q_a) and kv_a */
    struct product qkv;
    float *qkv_bias, *q_norm, *k_norm; /* NULL: none; MLA's q_norm and k_norm are of its latents */
    struct packed_weight q_b, kv_b, o;
    struct packed_weight *k_up, *v_up; /* [H]: W_ukᵀ [R, dn] and W_uv [dv, R] of each head */
    struct packed_weight gate_up, down;
    struct packed_weight router; /* N 0: a dense layer */
    struct packed_weight *expert_up,
        *expert_down;                            /* [E], [E+1] with the shared expert behind them */
    struct packed_weight shared_up, shared_down; /* N 0: none, or one of the experts */
    struct router *picks;
    float *kept; /* [capacity, kept]: k then v, or latent then rotary key */
};

/* What a pass of T rows sends to the device, cut out of b.rows there and of b.host_rows here: ids and positions [T], and for MLA the
 * rows of all heads [H, T], row h·T + t being t·H + h. */
struct session_rows {
    int32_t *ids, *pos, *head_row;
    size_t n_bytes;
};

/* The same of a layer's route, out of b.slots and b.host_slots, for S slots: rows of x [S] and weights [S]; slots by token, first [T+1]
 * and slot [S]. */
struct session_slots {
    int32_t *x_row, *first, *slot;
    float *weight;
    size_t n_bytes;
};

/* Device memory but what is called host; where the device's memory is the host's the two are one. */
struct session_buffers {
    float *x, *y;            /* [T, D] */
    float *rstd;             /* [max(T, H)] */
    float *qkv, *q, *o;      /* [T, …] */
    float *absorbed, *mixed; /* [T, H, R+dr], [T, H, R] */
    float *kv, *lse;         /* [kv_rows, H·(dn+dv)], [T, H]: MLA without absorption */
    int64_t kv_rows;
    float *h;                          /* [T, I], or [T, Fs] */
    float *logits, *slot_h, *slot_out; /* [T, E], [S, F], [S, D] */
    float *head;                       /* [head_rows, V]; NULL where the caller's memory will do */
    float *cos, *sin;                  /* [capacity, rope/2] */
    char *rows, *host_rows;            /* struct session_rows */
    char *slots, *host_slots;          /* struct session_slots */
    float *host_logits;                /* [T, E] */
    struct far_route far;              /* where the device picks, but what lies in slots */
    int32_t *host_offset;              /* [max(E, H) + 2] */
    void *route_memory;                /* host */
    int64_t head_rows;
    struct session_rows now; /* of this pass, device */
};

struct session {
    struct device *dev;
    struct model_config config;
    struct session_dims d;
    enum dtype compute;
    bool plain_latent;
    enum packed_form random_form; /* of weights that are in no file */
    int64_t capacity, rows, length;
    float scale;                      /* of attention's scores */
    struct packed_weight embed, head; /* the same when tied */
    float *norm;
    struct session_layer *layers; /* [L] */
    struct session_buffers b;
    char *weights, *memory, *host; /* host: the host's buffers, malloc's */
    size_t n_weights, n_memory;
    const struct log_sink *log;
};

/* Everything that a checkpoint brings: reads, checks and packs. */
int session_weights_open(struct session *s, struct source *src, struct err *err);

/* The buffers, sized by capacity and rows, and the rotary tables. */
int session_memory_open(struct session *s, struct err *err);

struct session_rows session_rows_at(const struct session *s, char *base, int64_t T);
struct session_slots session_slots_at(const struct session *s, char *base, int64_t T);

/* n bytes to the device; nothing where the two are one. */
void session_send(struct session *s, void *to, const void *host, size_t n_bytes);

/* y [T, ldy] (+)= x [T, ldx] · wᵀ (+ bias). */
void session_product(struct session *s, float *y, int64_t ldy, const float *x, int64_t ldx,
                     const struct packed_weight *w, int64_t T, const float *bias, bool add);
void session_products(struct session *s, float *y, int64_t ldy, const float *x, int64_t ldx,
                      const struct product *p, int64_t T, const float *bias);

/* b.x += attention(norm(b.x)) for T rows behind those that are kept; then the other half of a layer. */
void session_attention(struct session *s, struct session_layer *l, int64_t T);
int session_ffn(struct session *s, struct session_layer *l, int64_t T, struct err *err);

#endif
