/* Weights that are only read while adapters train: float32, bf16, or NF4 with double quantisation.
 *
 * NF4 takes the matrices of products (attention, MLPs, experts); embedding, head, norms and routers
 * stay in 16 or 32 bits. Where a checkpoint has a tensor in the type that is wanted, it is used
 * where it lies, mapped; the others are read piece by piece, so that opening never takes more than
 * the result and a few MiB a thread. An NF4 weight is widened for each product, a bounded panel at a time.
 */
#ifndef MOE2_MODEL_FROZEN_H
#define MOE2_MODEL_FROZEN_H

#include "model/params.h"
#include "tensor/nf4.h"

struct source;

struct frozen_weights {
    void *file;  /* what stays mapped; NULL: nothing */
    char *bytes; /* device: everything that is not mapped */
    size_t n_bytes;
    struct nf4 *nf4; /* [tensors]; n 0: not quantised */
    float map[NF4_MAP_SIZE];
    float *device_map; /* device: the same */
    int64_t n_mapped;  /* bytes */
};

/* What a tensor is held as. */
enum base_type frozen_type(const struct param *p, enum base_type base);

/* Bytes of a tensor of n numbers in that type. */
int64_t frozen_bytes(int64_t n, enum base_type type);

/* Reads o->dir (NULL: random weights by o->seed) into that form and binds every param of the list: data, half or nf4; with plan_only
 * nothing is read, and only n_bytes and n_mapped are of use. Errors: as param_list_load. */
int frozen_open(struct frozen_weights *out, struct param_list *list,
                const struct decoder_options *o, const struct model_config *config,
                struct device *dev, struct err *err);
void frozen_close(struct frozen_weights *f, struct device *dev); /* a zeroed one is fine */

#endif
