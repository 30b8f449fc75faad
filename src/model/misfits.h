/* What doesn't fit between a checkpoint and the list of tensors that a model wants: collected over the whole checkpoint and told in
 * one message. */
#ifndef MOE2_MODEL_MISFITS_H
#define MOE2_MODEL_MISFITS_H

#include "io/safetensors.h"

/* The first few of a kind of trouble, and how many there are. */
struct misfit {
    int64_t n;
    char named[300];
};

/* Begins zeroed. */
struct misfits {
    struct misfit missing, unknown, shape, type;
};

/* Looks at one tensor that is wanted. */
void misfits_look(struct misfits *m, const struct safetensors *st, const char *name,
                  const int64_t *shape, int n_dims);

/* One that the list doesn't know. */
void misfits_unknown(struct misfits *m, const char *name);

/* 0 if there was none, or MOE2_EFORMAT naming dir and all kinds. */
int misfits_tell(const struct misfits *m, const char *dir, struct err *err);

#endif
