/* What doesn't fit between a checkpoint and the list of tensors that a model wants: collected over the whole checkpoint and told in
 * one message. */
#ifndef MOE2_MODEL_MISFITS_H
#define MOE2_MODEL_MISFITS_H

#include <stdbool.h>

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

/* A tensor as a checkpoint has it. */
struct misfit_seen {
    const int64_t *shape;
    int n_dims;
    const char *type; /* for the message */
    bool readable;
};

/* Looks at one tensor that is wanted; seen NULL: there is none. */
void misfits_look(struct misfits *m, const char *name, const int64_t *shape, int n_dims,
                  const struct misfit_seen *seen);

/* The same in an open checkpoint of F32, F16 and BF16. */
void misfits_look_in(struct misfits *m, const struct safetensors *st, const char *name,
                     const int64_t *shape, int n_dims);

/* One that the list doesn't know. */
void misfits_unknown(struct misfits *m, const char *name);

/* 0 if there was none, or MOE2_EFORMAT naming dir and all kinds. */
int misfits_tell(const struct misfits *m, const char *dir, struct err *err);

#endif
