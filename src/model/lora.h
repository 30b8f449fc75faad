/* Low-rank adapters on the decoder's products: y = W x + s · B (A drop(x)), W frozen, A and B trained.
 *
 *     struct lora_config lc = {.targets = words, .n_targets = 2, .r = 16, .alpha = 32};
 *     decoder_open(&dec, &(struct decoder_options){.dir = base, .lora = &lc, .train = true}, dev, err);
 *     params = decoder_trained(dec, &n);          A and B of every adapter, and what else trains
 *
 * Any tensor that a product reads may carry one: attention, dense and shared MLPs, every routed
 * expert, the router and the head. Neighbours that one product reads (q and kv_a, gate and up) may
 * each carry their own; their A's lie one behind the other, so that one product makes all of A x.
 * Experts' adapters are grouped products over the routed tokens. B·A is never made.
 *
 * A begins uniform in ±1/√in, B at zero, as PEFT begins them; s is alpha/r, or alpha/√r (rsLoRA).
 * Dropout falls on A's input. Its mask is a function of seed, step, the token's number in the step
 * and the group of joined neighbours, so a recomputed or resumed step has the same mask; neighbours
 * of a group share it, and so do the experts of a layer.
 * Source: Hu et al., arXiv 2106.09685; Kalajdzievski, arXiv 2312.03732; huggingface/peft,
 * tuners/lora.
 */
#ifndef MOE2_MODEL_LORA_H
#define MOE2_MODEL_LORA_H

#include "model/params.h"

enum { LORA_MAX_RANK = 4096 };

/* A pattern and what it sets: PEFT's rank_pattern and alpha_pattern. */
struct lora_rule {
    const char *pattern;
    double value;
};

/* Which tensors get an adapter, of which rank and scale. Texts are borrowed while a decoder is
 * opened. */
struct lora_config {
    /* Each is a module's last words ("q_proj", "mlp.down_proj"), "all-linear" (every product but
     * router and head), or a regular expression for the end of its name. */
    const char *const *targets;
    int64_t n_targets;
    bool whole; /* targets[0] is one regular expression for the whole name */
    const struct lora_rule *ranks, *alphas;
    int64_t n_ranks, n_alphas;
    int64_t r;
    double alpha, dropout;
    bool rslora;
    bool lenient;      /* a pattern may match nothing */
    bool train_router; /* also the routers' own weights, whole */
    uint64_t seed;
};

/* What one tensor gets: r 0 is no adapter. */
struct lora_choice {
    int64_t r;
    double alpha;
};

/* A module's name in PEFT's files and patterns: the tensor's without ".weight"; "lm_head" for an
 * embedding that is the head too; NULL for a tensor that can carry no adapter. text has
 * LORA_MAX_NAME bytes. */
enum { LORA_MAX_NAME = 192 };
const char *lora_module(char text[LORA_MAX_NAME], const struct param *p, bool tied);

/* out[i] for params[i]. MOE2_ECONFIG for a pattern that matches nothing (named, with some of what
 * there is), a bad expression, or a rank out of range. */
int lora_choose(struct lora_choice *out, const struct param *params, int64_t n, bool tied,
                const struct lora_config *config, struct err *err);

/* One adapter. */
struct lora_adapter {
    int64_t base;       /* index of the tensor it adds to */
    int64_t r, in, out; /* A [r, in], B [out, r] */
    int64_t row, col;   /* of the joined product: its first row of y, its first row of all A's */
    float scale;
    double alpha;
    int64_t a_at, b_at; /* their places in the one allocation */
    struct param *a, *b;
};

/* The adapters of tensors that one product reads. */
struct lora_group {
    int64_t first, n; /* of the adapters; n 0: none */
    int64_t R;        /* their ranks together */
};

/* A layer's experts, as grouped products want them: [E] device pointers each. */
struct lora_experts {
    void **a, **ga, **b[2], **gb[2];
    int64_t R; /* the largest of any expert */
};

struct lora {
    struct lora_adapter *adapters;
    int64_t n;
    struct lora_group *group;       /* [tensors], at the first tensor of each product */
    struct lora_experts *up, *down; /* [layers] */
    struct param *params; /* A and B of each adapter, then whole tensors; data and grad bound */
    int64_t n_params, n_elements;
    double dropout;
    bool rslora, train;
    int64_t r; /* what config.json-like files say */
    double alpha;
    uint64_t seed;
    float *data, *grad; /* device */
    int64_t n_grad;

    /* scratch of the products */
    int64_t cap_rows, max_R, max_in;
    float *u, *du, *dropped; /* [rows, max_R] twice, [rows, max_in] */
    const void *du_of;       /* whose gradient du holds */

    /* of the step under way */
    int64_t step, first_token;
    bool drops;

    struct device *dev;
    struct arena arena;
};

/* Adapters for list's tensors as choices say, A random by seed and name, B zero. train also makes
 * gradients, and those of the routers where train_router; plan_only lists tensors and takes no memory
 * for them. config gives dropout, rslora and what is
 * written into files. The params of the list are borrowed until lora_free. */
int lora_new(struct lora **out, struct param_list *list, const struct model_config *model,
             const struct lora_choice *choices, const struct lora_config *config, bool train,
             bool plan_only, struct device *dev, struct err *err);
void lora_free(struct lora *l); /* NULL is fine */

/* w += s · B·A for elements first … first + n − 1 of tensor base, in host memory; nothing without an
 * adapter there. Where the host can't read the device's memory, B·A is multiplied there. */
int lora_merge(float *w, const struct lora *l, int64_t base, int64_t first, int64_t n,
               struct err *err);

/* A batch begins: what dropout's masks depend on; no dropout outside training. */
void lora_begin(struct lora *l, int64_t step, int64_t first_token, bool training);

/* Room for products of n_rows rows. */
int lora_reserve(struct lora *l, int64_t n_rows, struct err *err);
size_t lora_scratch_bytes(const struct lora *l, int64_t n_rows);

#endif
