/* Overlap: how much the experts that two checkpoints of a model choose for the same tokens have in
 * common, layer by layer. */
#ifndef MOE2_EVAL_OVERLAP_H
#define MOE2_EVAL_OVERLAP_H

#include "eval/perplexity.h"

struct overlap {
    struct decoder *other; /* owned if opened, else borrowed */
    bool owns;
    double *mean; /* [n_layers], MoE layers: |A ∩ B| / max(|A|, |B|), mean over the tokens so far */
    double *sums;
    int64_t n_layers, n_tokens;
};

/* Opens the other checkpoint, which must have the same layers and vocabulary as dec. */
int overlap_open(struct overlap *o, struct decoder *dec, const char *dir, struct err *err);

/* The same against a model that is open already, borrowed until overlap_close. */
int overlap_begin(struct overlap *o, struct decoder *dec, struct decoder *other, const char *name,
                  struct err *err);

void overlap_close(struct overlap *o); /* a zeroed one is fine */

/* Runs a text through both, window by window, and takes it into the means. */
int overlap_run(struct overlap *o, struct decoder *dec, const struct tokens *tokens,
                const struct perplexity_options *options, struct err *err);

#endif
