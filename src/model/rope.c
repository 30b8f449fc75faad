/* Rotary tables: see rope.h.
 *
 * Source: YaRN (Peng et al., arXiv 2309.00071) as in transformers' _compute_yarn_parameters and
 * deepseek-ai/DeepSeek-V3 inference/model.py. With d the rotary width, f_i = theta^(−2i/d), and the
 * pair that makes n turns within the original length at
 *     at(n) = d · ln(original / (n · 2π)) / (2 ln theta)
 * the frequencies below at(beta_fast) stay, those above at(beta_slow) are divided by the factor,
 * and a ramp leads from one to the other. Frequencies and angles are rounded to float32 where
 * transformers rounds them: models were trained with those very angles.
 */
#include "model/rope.h"

#include <math.h>

static double get_mscale(double factor, double mscale)
{
    return factor > 1 ? 0.1 * mscale * log(factor) + 1 : 1;
}

static double turns_at(const struct model_config *c, double turns)
{
    double original = (double)c->rope.original_max_position_embeddings;
    return (double)model_rope_dim(c) * log(original / (turns * 2 * M_PI)) /
           (2 * log(c->rope_theta));
}

/* Llama 3.1: long waves are slowed by the factor, short ones stay, a ramp between (transformers' _compute_llama3_parameters). */
static float llama3(float freq, const struct rope_scaling *r)
{
    double original = (double)r->original_max_position_embeddings, wave = 2 * M_PI / (double)freq;
    if (wave < original / r->high_freq_factor)
        return freq;
    if (wave > original / r->low_freq_factor)
        return freq / (float)r->factor;
    double z = (original / wave - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (float)((1 - z) * (double)freq / r->factor + z * (double)freq);
}

void rope_frequencies(float *out, const struct model_config *c)
{
    int64_t d = model_rope_dim(c);
    double low = 0, high = 0;
    if (c->rope.yarn) {
        low = fmax(floor(turns_at(c, c->rope.beta_fast)), 0);
        high = fmin(ceil(turns_at(c, c->rope.beta_slow)), (double)(d - 1));
        if (low == high)
            high += 0.001;
    }
    for (int64_t i = 0; i < d / 2; i++) {
        float power = (float)pow(c->rope_theta, (double)(2 * i) / (double)d);
        float freq = 1 / power;
        if (c->rope.yarn) {
            double ramp = fmin(fmax(((double)i - low) / (high - low), 0), 1);
            float keep = 1 - (float)ramp;
            freq = 1 / ((float)c->rope.factor * power) * (1 - keep) + freq * keep;
        }
        out[i] = c->rope.llama3 ? llama3(freq, &c->rope) : freq;
    }
}

static double table_factor(const struct model_config *c)
{
    const struct rope_scaling *r = &c->rope;
    if (!r->yarn)
        return 1;
    if (r->attention_factor != 0)
        return r->attention_factor;
    if (r->mscale != 0 && r->mscale_all_dim != 0)
        return get_mscale(r->factor, r->mscale) / get_mscale(r->factor, r->mscale_all_dim);
    return get_mscale(r->factor, 1);
}

void rope_table(float *cos_out, float *sin_out, int64_t first, int64_t n,
                const struct model_config *c)
{
    int64_t half = model_rope_dim(c) / 2;
    float freq[1 << 11];
    double factor = table_factor(c);
    rope_frequencies(freq, c);
    for (int64_t t = 0; t < n; t++)
        for (int64_t i = 0; i < half; i++) {
            float angle = (float)(first + t) * freq[i];
            cos_out[t * half + i] = (float)(factor * cos(angle));
            sin_out[t * half + i] = (float)(factor * sin(angle));
        }
}

float rope_softmax_scale(const struct model_config *c)
{
    int64_t d = model_is_mla(c) ? c->qk_nope_head_dim + c->qk_rope_head_dim : c->head_dim;
    double scale = 1 / sqrt((double)d);
    if (c->rope.yarn && c->rope.mscale_all_dim != 0) {
        double m = get_mscale(c->rope.factor, c->rope.mscale_all_dim);
        scale *= m * m;
    }
    return (float)scale;
}
