/* What the study of a fleet works on: recorded answers of the train and the test questions side by side, in the questions' order, with
 * embeddings, lengths and costs. Everything that is chosen or fitted looks at train only.
 */
#ifndef MOE2_PIPELINE_STUDY_DATA_H
#define MOE2_PIPELINE_STUDY_DATA_H

#include "base/arena.h"
#include "base/log.h"
#include "io/npy.h"
#include "pipeline/answers.h"
#include "pipeline/step_profile.h"
#include "route/select.h"

enum { STUDY_TRAIN, STUDY_TEST, STUDY_N_SIDES };

/* Questions of one side, and every expert of the outcomes on them. */
struct study_side {
    int64_t n, D;
    const float *x;         /* [n, D] borrowed from a mapped file */
    int8_t *right;          /* [n, N] 1, 0, −1 */
    int8_t *options;        /* [n, N] option or −1 */
    int8_t *truth;          /* [n] the right option */
    int32_t *category;      /* [n] */
    int32_t *output_tokens; /* [n, N]; −1 not known */
    int32_t *prompt_tokens; /* [n] */
    struct npy file;
};

struct study_files {
    const char *train, *test;                       /* questions, JSON lines with id */
    const char *train_embeddings, *test_embeddings; /* .npy in the questions' order */
    const char *outcomes, *predictions, *chars;     /* of all questions; chars may be NULL */
    const struct log_sink *sink;
};

struct study_data {
    struct arena memory;
    struct answers answers;
    struct study_side sides[STUDY_N_SIDES];
};

/* Reads all. d is zeroed before; release it also after errors. Errors: those of the files; MOE2_EFORMAT where rows don't fit together. */
int study_data_read(struct study_data *d, const struct study_files *f, struct err *err);
void study_data_release(struct study_data *d);

/* A fleet: some of the experts, with the costs of each on each question. */
struct study_fleet {
    const char *name; /* borrowed */
    int N;
    int column[SELECT_MAX_EXPERTS]; /* [N] among the answers' experts */
    bool has_costs;
    const char *cost_note; /* where they come from; borrowed */
    struct {
        int8_t *right, *options;         /* [n, N] */
        int32_t *answer;                 /* [n, N] the options, for the selector */
        int64_t *latency_us, *energy_uj; /* [n, N]; NULL without costs */
    } sides[STUDY_N_SIDES];
};

/* The fleet of the experts named (n of them), out of the arena. costs may be NULL; an expert without a curve makes the fleet one without
 * costs. output_tokens ≥ 0 takes the place of recorded lengths. MOE2_ECONFIG for a name that is no expert. */
int study_fleet_make(struct study_fleet *f, struct study_data *d, const char *name,
                     const char *const *experts, int n, const struct profile_set *costs,
                     int output_tokens, struct err *err);

#endif
