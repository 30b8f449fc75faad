/* Rotary tables: cos and sin of every position, with YaRN. */
#ifndef MOE2_MODEL_ROPE_H
#define MOE2_MODEL_ROPE_H

#include "model/config.h"

/* Angle per position of each pair, out [qk_rope_head_dim / 2]. */
void rope_frequencies(float *out, const struct model_config *config);

/* Rows first … first+n−1 of cos and sin [n, qk_rope_head_dim / 2], with YaRN's factor on both. */
void rope_table(float *cos_out, float *sin_out, int64_t first, int64_t n,
                const struct model_config *config);

/* What scores are multiplied by: (nope + rope)^−½, times mscale² where YaRN's mscale_all_dim asks
 * for it. */
float rope_softmax_scale(const struct model_config *config);

#endif
