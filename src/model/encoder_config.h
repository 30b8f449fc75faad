/* What a sentence encoder is: a folder as transformers or sentence-transformers write it, read and checked.
 *
 * Three families. BERT (MiniLM): learned positions from 0. XLM-R and RoBERTa (e5): learned positions from pad_token_id + 1. GTE
 * (gte-multilingual-base, model_type "new"): rotary positions with NTK scaling, a gated feed-forward part, q, k and v in one matrix.
 * All norm behind the residual and use the exact gelu.
 *
 * Files: config.json; and, as sentence-transformers has them, modules.json, sentence_bert_config.json (max_seq_length) and
 * 1_Pooling/config.json. Without modules.json the pooling is the mean, or the first token for GTE. What this program would compute
 * differently from the public implementation is refused by name, never ignored.
 */
#ifndef MOE2_MODEL_ENCODER_CONFIG_H
#define MOE2_MODEL_ENCODER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum encoder_family { ENCODER_BERT, ENCODER_XLM_R, ENCODER_GTE };
enum encoder_pooling { POOLING_MEAN, POOLING_CLS };

enum { ENCODER_MAX_POSITIONS = 32768, ENCODER_MAX_HEAD_DIM = 128, ENCODER_MAX_WIDTH = 8192 };

struct encoder_config {
    enum encoder_family family;
    char model_type[32];
    int64_t vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size;
    int64_t max_position_embeddings, type_vocab_size, pad_token_id;
    double layer_norm_eps;
    double rope_theta, rope_factor; /* GTE; factor 1: no scaling */
    int64_t max_seq_length; /* tokens of a text, special ones included; what is behind is cut */
    enum encoder_pooling pooling;
};

/* Reads dir. weights_dir [n] gets the folder of config.json and the weights, which modules.json may put below dir. Errors: MOE2_EIO,
 * MOE2_EFORMAT and MOE2_ECONFIG naming file, key, value and what is wanted. */
int encoder_config_read(struct encoder_config *out, char *weights_dir, int64_t n, const char *dir,
                        struct err *err);

#endif
