/* The decoder, of the DeepSeek-V3 family or of llama and qwen: forward, explicit backward, and the list of tensors that
 * everything else works on.
 *
 *     decoder_open(&dec, &(struct decoder_options){…}, dev, &err);  from a folder, or random
 *     for each micro-batch of a step, after decoder_zero_grad(dec):
 *         decoder_forward(dec, &batch, DECODER_TRAIN, &err);        keeps what the backward needs
 *         decoder_loss(dec, &batch, scale, &out, &err);             head and loss, with gradients
 *         decoder_backward(dec, &batch, scale, &err);               adds into every grad
 *     router_step(…) of each MoE layer, the optimizer, once a step
 *
 * A batch is B sequences laid end to end; attention never crosses from one to the next. One forward
 * at a time; one thread drives it.
 */
#ifndef MOE2_MODEL_DECODER_H
#define MOE2_MODEL_DECODER_H

#include "base/log.h"
#include "kernels/device.h"
#include "kernels/kernels.h"
#include "model/config.h"
#include "route/router.h"

enum param_kind {
    PARAM_EMBED,  /* model.embed_tokens.weight */
    PARAM_HEAD,   /* lm_head.weight */
    PARAM_MATRIX, /* every other product's weight */
    PARAM_ROUTER, /* mlp.gate.weight; computed with in float32 always */
    PARAM_NORM,   /* RMSNorm weights: no weight decay */
    PARAM_BIAS,   /* q, k and v of qwen2: no weight decay */
    PARAM_BUFFER, /* mlp.gate.e_score_correction_bias: no gradient, float32 always */
};

/* One tensor of the checkpoint under its Hugging Face name. Several params may be slices of one
 * allocation (an expert's gate and up). */
struct param {
    const char *name;
    enum param_kind kind;
    int layer, expert; /* −1 where it has none */
    int n_dims;
    int64_t shape[4], n;
    bool follows;   /* begins where the one before ends: one product reads both */
    float *data;    /* device; float32 master. NULL where a checkpoint's bf16 is all there is */
    uint16_t *half; /* device; bf16 for products: a working copy, or the checkpoint's own bytes;
                       NULL when products read float32 */
    float *grad;    /* device; NULL when it is not trained */
    const struct nf4 *nf4; /* instead of data and half: four bits a number, frozen */
};

struct decoder;
struct lora;
struct lora_config;
struct nf4;

/* What frozen weights are held as (model/frozen.h). */
enum base_type { BASE_F32, BASE_BF16, BASE_NF4 };

/* Makes NF4 codes: quant's nf4_encode and nf4_nest, which stand above this room. */
struct nf4_maker {
    void (*encode)(uint8_t *codes, float *absmax, const float *x, int64_t n, int64_t block_size);
    void (*nest)(uint8_t *absmax_codes, float *nested_absmax, float *offset, const float *absmax,
                 int64_t n, const float *map);
};

/* Where the inputs of blocks wait between forward and backward when activations are recomputed. */
enum offload { OFFLOAD_NONE, OFFLOAD_MEMORY, OFFLOAD_DISK };

struct decoder_options {
    const char *dir;                   /* a checkpoint folder to load, or NULL: */
    const struct model_config *config; /* random weights of this configuration (copied) */
    uint64_t seed;
    const struct router_config *router; /* resolved, for every MoE layer; NULL: what dir's
                                           router_state.safetensors says, else the model's own */
    enum dtype compute;                 /* DT_F32 or DT_BF16 products */
    bool train;                         /* allocate gradients */
    const struct lora_config *lora;     /* adapters to begin (model/lora.h); with train the weights
                                           themselves are frozen then, and may be mapped. NULL: */
    const char *adapter;                /* a folder of PEFT's to read them from, or NULL */
    enum base_type base;                /* of the frozen weights of dir when adapters train */
    const struct nf4_maker *maker;      /* for BASE_NF4 */
    bool plan_only;                     /* no weights: for decoder_batch_bytes alone */
    bool checkpoint_activations;        /* keep each block's input only and compute it again in the
                                           backward */
    enum offload offload;   /* needs checkpoint_activations: on the device, in the host's memory, or
                               in a file without a name */
    const char *offload_to; /* the folder of that file */
    const struct log_sink *log;
};

int decoder_open(struct decoder **out, const struct decoder_options *options, struct device *dev,
                 struct err *err);
void decoder_free(struct decoder *dec);

/* The router that a model's own configuration asks for: score, pick, groups, scale, no incentive,
 * its bias frozen. Not resolved: a trainer lays its keys over it, then calls router_config_resolve.
 */
void model_router_config(struct router_config *out, const struct model_config *config);

/* Whether a router picks as many of as many experts as the model's layers have; MOE2_ECONFIG. */
int model_router_fits(const struct router_config *rc, const struct model_config *config,
                      struct err *err);

const struct model_config *decoder_config(const struct decoder *dec);
struct param *decoder_params(struct decoder *dec, int64_t *n); /* owned by dec */

/* What an optimizer moves: with adapters A and B of each (and routers that train whole), otherwise
 * all of decoder_params. Those without grad are not moved. */
struct param *decoder_trained(struct decoder *dec, int64_t *n);
struct lora *decoder_lora(struct decoder *dec); /* NULL: no adapters */

struct router *decoder_router(struct decoder *dec, int64_t layer); /* NULL for a dense layer */
struct device *decoder_device(const struct decoder *dec);

/* Bytes that a batch of T tokens takes beside weights, gradients and the optimizer. */
void decoder_base_bytes(const struct decoder *dec, int64_t *in_memory, int64_t *mapped);
int64_t decoder_panel_n(const struct decoder *dec); /* numbers that an NF4 base widens at a time */
size_t decoder_batch_bytes(struct decoder *dec, int64_t T, int64_t longest);

/* Writes config.json and model safetensors (sharded above 5 GB) in dtype; names as on the hub;
 * adapters merged into the weights. The folder must exist. MOE2_ECONFIG for an adapter on a head
 * that is the embedding too: merged, it would change the embedding. */
int decoder_save(struct decoder *dec, const char *dir, enum dtype dtype, struct err *err);

struct batch {
    const int32_t *ids;     /* host, [T] */
    const int32_t *targets; /* host, [T]; −1: not scored. May be NULL where no loss is asked for */
    const int32_t *offset;  /* host, [B+1] */
    const uint8_t *padding; /* host, [T], 1 for rows that are only padding: routed but not counted;
                               NULL: none */
    int64_t B, T;
    int64_t step;        /* optimizer step, for the router's seeded exploration; 0 at evaluation */
    int64_t first_token; /* number of this batch's first token within the step, likewise */
};

enum decoder_mode {
    DECODER_EVAL,      /* nothing is kept, router state does not move */
    DECODER_TRAIN,     /* keeps activations; picks are counted */
    DECODER_GRAD,      /* keeps activations; picks are not counted, no exploration: parity tests */
    DECODER_LOOKAHEAD, /* DECODER_EVAL, but expert choice and capacity pick as in training */
};

/* Runs the blocks; the final hidden states [T, D] stay inside. MOE2_ENUMERIC names the layer of the
 * first NaN when check is asked by the trainer. */
int decoder_forward(struct decoder *dec, const struct batch *batch, enum decoder_mode mode,
                    struct err *err);

struct loss_result {
    double nll; /* Σ over scored targets, nats */
    int64_t n_targets, n_right;
    float *token_nll; /* host [T] of the caller's, or NULL */
    double aux;       /* Σ of the routers' auxiliary losses of this forward */
};

/* Final norm, head and cross-entropy in chunks of rows, so that [T, V] never exists. scale ≠ 0 also
 * starts the backward: the gradient of scale · nll goes into the head, the final norm and the
 * hidden states. */
int decoder_loss(struct decoder *dec, const struct batch *batch, float scale,
                 struct loss_result *out, struct err *err);

/* The rest of the backward, from decoder_loss's gradient. scale as given to decoder_loss: the
 * routers' performance is in unscaled nats. */
int decoder_backward(struct decoder *dec, const struct batch *batch, float scale, struct err *err);

/* logits of rows first … first+n−1 of the last forward, host [n, V]. */
int decoder_logits(struct decoder *dec, int64_t first, int64_t n, float *logits, struct err *err);

/* Begins a step: the next backward writes the gradients, later ones add to them. Until that
 * backward the gradients are not to be read. */
void decoder_zero_grad(struct decoder *dec);

/* Says where a NaN or infinity is: the first tensor whose weights (gradients: whose gradients) hold
 * one, else the first block whose kept output does. Returns MOE2_ENUMERIC with that sentence in
 * err, or 0 when every number is finite. Slow: for the moment of failure. */
int decoder_find_nonfinite(struct decoder *dec, bool gradients, struct err *err);

/* After the masters changed: makes the bf16 working copies new (nothing in float32). */
void decoder_refresh(struct decoder *dec);

/* Seconds spent in routing (score, bias, pick, sort, un-sort, statistics) and in all since the last
 * call. */
struct decoder_times {
    double routing_s, forward_s, backward_s;
};
struct decoder_times decoder_take_times(struct decoder *dec);

/* The picks of the last forward in an MoE layer, for measures: valid until the next forward. */
const struct route *decoder_picks(struct decoder *dec, int64_t layer);

#endif
