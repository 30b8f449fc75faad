/* Weights used where a checkpoint has them: for a decoder that only reads, on a device whose memory
 * is the host's.
 *
 * A checkpoint whose products' weights are all bf16, or all float32, stays open, and products read
 * the mapped file: opening it takes no memory for them, and the system may drop their pages and
 * read them again, so that a model larger than the memory runs. Copied are norms, routers and
 * biases (float32), rows that a file permutes, and neighbours that one product must read as one matrix but the file keeps
 * apart.
 */
#ifndef MOE2_MODEL_MAPPED_H
#define MOE2_MODEL_MAPPED_H

#include "model/params.h"

struct source;

struct mapped_weights {
    struct source *source; /* NULL: nothing is mapped */
    char *copied;          /* device */
    size_t n_copied;       /* bytes */
};

/* Checks o->dir against the list and binds every param, or leaves everything as it was, out->source
 * NULL, where the weights must be widened: other or mixed types, float32 for a decoder that
 * computes in bf16, a device of its own memory. Errors: as param_list_load. */
int mapped_weights_open(struct mapped_weights *out, struct param_list *list,
                        const struct decoder_options *o, const struct model_config *config,
                        struct device *dev, struct err *err);

/* Unmaps and frees; a zeroed one is fine. */
void mapped_weights_close(struct mapped_weights *m, struct device *dev);

#endif
