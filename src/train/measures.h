/* Measures that need the whole of training: the Matthew effect of every MoE layer
 * (route/balance.h), kept beside the routers, fed after each step, and part of the checkpoint
 * (measures.safetensors), so that a resumed run reports what a straight one does. */
#ifndef MOE2_TRAIN_MEASURES_H
#define MOE2_TRAIN_MEASURES_H

#include "model/decoder.h"
#include "route/balance.h"

struct measures {
    struct matthew **layers; /* [n_layers], NULL for a dense one; owned */
    int64_t n_layers;
};

int measures_init(struct measures *m, const struct decoder *dec, int64_t planned_steps,
                  struct err *err);
void measures_release(struct measures *m); /* a zeroed one is fine */

int measures_save(const struct measures *m, const char *path, struct err *err);

/* Takes over what measures_save wrote for the same model; MOE2_EFORMAT otherwise. */
int measures_load(struct measures *m, const char *path, struct err *err);

#endif
