/* Rotary tables: cos and sin of every position, with YaRN or Llama 3's scaling. rope is
 * model_rope_dim(config). */
#ifndef MOE2_MODEL_ROPE_H
#define MOE2_MODEL_ROPE_H

#include "model/config.h"

/* Angle per position of each pair, out [rope / 2]. */
void rope_frequencies(float *out, const struct model_config *config);

/* Rows first … first+n−1 of cos and sin [n, rope / 2], with YaRN's factor on both. */
void rope_table(float *cos_out, float *sin_out, int64_t first, int64_t n,
                const struct model_config *config);

/* What scores are multiplied by: (nope + rope)^−½, or head_dim^−½, times mscale² where YaRN's mscale_all_dim asks
 * for it. */
float rope_softmax_scale(const struct model_config *config);

#endif
