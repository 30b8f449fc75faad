/* A model opened to score options: device, tokenizer, decoder and scorer in one. */
#ifndef MOE2_PIPELINE_ANSWER_MODEL_H
#define MOE2_PIPELINE_ANSWER_MODEL_H

#include <stdbool.h>

#include "eval/choice.h"

struct answer_model_options {
    const char *dir;       /* what decoder_open takes */
    const char *adapter;   /* a folder of PEFT's on it; NULL: none */
    const char *tokenizer; /* NULL: the folder's own */
    struct device_choice device;
    int n_threads;        /* 0: every core */
    int64_t window;       /* 0: max_position_embeddings, at most 2,048 */
    int64_t batch_tokens; /* 0: 2,048 */
    bool bos;             /* in front of every context */
    bool bf16;
    bool keeps; /* by a session, which reads a context once for all options; not with an adapter */
};

struct answer_model {
    struct device *dev;
    struct decoder *dec; /* or … */
    struct session *session;
    struct tokenizer *tokenizer;
    struct choice *choice;
};

/* Opens into a zeroed m; the caller closes it, also after an error. MOE2_ECONFIG for a window
 * beyond the model's, or a BOS that nobody knows; those of opening. */
int answer_model_open(struct answer_model *m, const struct answer_model_options *o,
                      struct err *err);
void answer_model_close(struct answer_model *m); /* a zeroed one is fine */

#endif
