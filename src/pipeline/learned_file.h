/* A learned combination as a JSON file, with the names of what it looks at.
 *
 * Format: {"format": "moe2 learned combination 1", "experts": [names], "gates": [names], "partitions": [{"name", "parts": [names]}],
 *          "theta": [[a row of one number an expert] …], "k": 3, "subset": [names], "trained_on": n, "loss": x}
 * Rows of theta are those of route/vote_learned.h.
 */
#ifndef MOE2_PIPELINE_LEARNED_FILE_H
#define MOE2_PIPELINE_LEARNED_FILE_H

#include "base/arena.h"
#include "base/err.h"
#include "route/vote_learned.h"

enum { LEARNED_MAX_FILE_BYTES = 64 << 20 };

struct learned_file {
    struct arena memory; /* owns all texts and numbers; zero it before use */
    struct vote_shape shape;
    const char **experts;              /* [n_experts] */
    const char *gates[VOTE_MAX_GATES]; /* [n_gates] */
    const char *partitions[VOTE_MAX_PARTITIONS];
    const char **parts[VOTE_MAX_PARTITIONS]; /* [n_parts[p]] each */
    double *theta;
    int k;
    uint64_t subset;
    int64_t trained_on;
    double loss;
};

int learned_file_write(const char *path, const struct learned_file *f, struct err *err);

/* Errors: MOE2_EIO; MOE2_EFORMAT for numbers that don't fit together; MOE2_ELIMIT. f is the caller's to release after success only. */
int learned_file_read(struct learned_file *f, const char *path, struct err *err);
void learned_file_release(struct learned_file *f);

#endif
