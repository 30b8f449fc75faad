/* Losses on the router itself: balance by gradient instead of by bias.
 *
 *     balance   a·E·Σ_i f_i·P_i      f_i = n_i / (K·T), the share of the picks (no gradient); P_i the
 *                                    mean over the tokens of s_i (softmax) or s_i / Σ_j s_j (sigmoid)
 *     sequence  the same per sequence (DeepSeek-V3), mean over sequences weighted by their tokens
 *     z         coefficient · mean of logsumexp(logits)²
 *
 * Sources: Switch (arXiv 2101.03961), GShard (2006.16668); DeepSeek-V3 (2412.19437) for the sequence
 * form; 2501.11873 for the global form (f over the whole step so far); ST-MoE (2202.08906) for z.
 */
#ifndef MOE2_ROUTE_AUX_H
#define MOE2_ROUTE_AUX_H

#include <stdint.h>

#include "route/incentive.h"

/* batch: f of this forward. global: f of all forwards of the step so far. hf: transformers'
 * load_balancing_loss_func: the tokens of all layers in one pool, f per slot, so that its minimum
 * is a·K and imbalances of two layers can cancel; for parity only. */
enum aux_form { AUX_AUTO, AUX_BATCH, AUX_GLOBAL, AUX_HF };

/* Which picks f of the sequence form counts. unbiased: the K best of s, as DeepSeek-V3's paper
 * writes it (starting choice); routed: the picks that were really made, as Megatron does. */
enum sequence_f { SEQUENCE_F_AUTO, SEQUENCE_F_UNBIASED, SEQUENCE_F_ROUTED };

extern const struct route_words aux_form_words, sequence_f_words;

/* Coefficients that were not said are NAN; they start at 0, but coef at 0.001 for incentive aux. */
struct aux_config {
    enum aux_form form;
    enum sequence_f sequence_f;
    float coef;          /* a */
    float sequence_coef; /* α of the sequence form */
    float z_coef;
};

/* Values of the losses of one layer and micro-batch, coefficients included. */
struct aux_losses {
    double balance, sequence, z;
};

/* AUX_HF's pool: what the layers of one micro-batch have in common. Zero it before the first. */
struct aux_pool {
    int64_t n_tokens;
    int E;
    double *picks; /* [E] borrowed from the caller, zeroed by him */
    double *p;     /* [E] sum of P over the tokens, likewise */
};

/* The loss of a filled pool: what the balance of all its layers adds up to. */
double aux_pool_loss(const struct aux_pool *pool, float coef);

#endif
