/* What the tests of whole models share: a small configuration, results that must be 0, a forward with
 * its loss, how far two arrays are from each other.
 */
#ifndef MOE2_TESTS_MODEL_FIXTURE_H
#define MOE2_TESTS_MODEL_FIXTURE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/decoder.h"

static inline void must(int rc, const struct err *err)
{
    if (rc)
        fail_msg("%s", err->msg);
}

/* Three layers, the last two of them mixtures, with weights large enough for every part to matter. */
static inline struct model_config small_config(void)
{
    return (struct model_config){.family = MODEL_DEEPSEEK_V3,
                                 .model_type = "deepseek_v3",
                                 .vocab_size = 40,
                                 .hidden_size = 24,
                                 .intermediate_size = 30,
                                 .moe_intermediate_size = 10,
                                 .num_hidden_layers = 3,
                                 .first_k_dense_replace = 1,
                                 .moe_layer_freq = 1,
                                 .num_attention_heads = 3,
                                 .q_lora_rank = 11,
                                 .kv_lora_rank = 9,
                                 .qk_nope_head_dim = 6,
                                 .qk_rope_head_dim = 4,
                                 .v_head_dim = 7,
                                 .n_routed_experts = 6,
                                 .n_shared_experts = 1,
                                 .num_experts_per_tok = 2,
                                 .n_group = 1,
                                 .topk_group = 1,
                                 .routed_scaling_factor = 1.5,
                                 .norm_topk_prob = true,
                                 .scoring_func = "sigmoid",
                                 .topk_method = "noaux_tc",
                                 .rms_norm_eps = 1e-6,
                                 .rope_theta = 10000,
                                 .initializer_range = 0.3,
                                 .rope_interleave = true,
                                 .max_position_embeddings = 128,
                                 .bos_token_id = -1,
                                 .eos_token_id = -1};
}

/* The summed nats of a batch; with a scale other than 0 its gradient is begun (decoder_loss). */
static inline double forward_loss(struct decoder *dec, const struct batch *batch,
                                  enum decoder_mode mode, float scale)
{
    struct err err = {0};
    struct loss_result loss = {0};
    must(decoder_forward(dec, batch, mode, &err), &err);
    must(decoder_loss(dec, batch, scale, &loss, &err), &err);
    return loss.nll;
}

/* The largest |a[i] - b[i]| beside the largest |b[i]|. */
static inline double difference(const float *a, const float *b, int64_t n)
{
    double worst = 0, most = 0;
    for (int64_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs((double)a[i] - b[i]));
        most = fmax(most, fabs((double)b[i]));
    }
    return worst / most;
}

#endif
