/* A results folder as numbers: metrics.jsonl (a line a step) and metrics.json (the summary).
 *
 *     struct run_metrics m;
 *     run_metrics_read(&m, "results/a", err);
 *     m.steps.column[RUN_LOSS][i]                      NaN where a line does not say
 *     run_number(&m, "test.bits_per_byte")             NaN where the summary does not say
 *     run_metrics_release(&m);
 *
 * metrics.jsonl: a line with "eval" is an evaluation, any other a training step. A run that was killed and resumed may have steps
 * twice: a line takes the place of all earlier ones that are not before it. A last line without its newline was being written when the
 * run died and is left out. metrics.json is missing as long as a run is not finished.
 */
#ifndef MOE2_REPORT_RUN_METRICS_H
#define MOE2_REPORT_RUN_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

enum { RUN_MAX_LAYERS = 256, RUN_MAX_EXPERTS = 1024, RUN_MAX_STEPS = 20000000 };

enum run_column {
    RUN_STEP,
    RUN_TOKENS, /* scored so far */
    RUN_LOSS,   /* nats a token */
    RUN_LR,
    RUN_GRAD_NORM,
    RUN_STEP_S,
    RUN_TOKENS_PER_S,
    RUN_MAX_VIO,
    RUN_LOAD_CV,
    RUN_LOAD_ENTROPY,
    RUN_LOAD_GINI,
    RUN_DEAD_EXPERTS,
    RUN_DROP_RATE,
    RUN_AUX_LOSS,
    RUN_BIAS_RATIO,
    RUN_ROUTING_SHARE,
    RUN_N_COLUMNS,
};

struct run_steps {
    int64_t n;
    double *column[RUN_N_COLUMNS]; /* [n] each; owned */
};

struct run_evals {
    int64_t n;
    double *step, *tokens, *loss, *bits_per_byte; /* [n]; tokens: trained on until then */
};

/* What every expert of every layer did at some steps. */
struct run_layers {
    int64_t n; /* such steps */
    int n_layers, n_experts;
    int *layer;            /* [n_layers] index in the model */
    double *step, *tokens; /* [n] */
    double *load;          /* [n][n_layers][n_experts], 1 is a fair share */
    double *reputation;    /* the same, NULL if there is none */
};

struct run_metrics {
    char *dir;
    bool finished;             /* metrics.json is there */
    json_t *summary;           /* an empty object when it is not; owned */
    const char *name, *router; /* from the summary, or the folder's name and "?" */
    int64_t seed;
    struct run_steps steps;
    struct run_evals evals;
    struct run_layers layers;
};

/* Reads a results folder. Errors: MOE2_EIO when neither file is there; MOE2_EFORMAT, with file and line, for what can't be read;
 * MOE2_ELIMIT above a limit. */
int run_metrics_read(struct run_metrics *out, const char *dir, struct err *err);
void run_metrics_release(struct run_metrics *m); /* a zeroed one is fine */

/* The number at a path of keys ("routing.load_cv"), NaN when there is none. */
double json_number_at(const json_t *o, const char *path);
double run_number(const struct run_metrics *m, const char *path);

/* The value at a path of keys, the text there; NULL when there is none. Borrowed. */
const json_t *json_value_at(const json_t *o, const char *path);
const char *json_text_at(const json_t *o, const char *path);

#endif
