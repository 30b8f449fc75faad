/* What the study fits on train: gates of several kinds, with scores that no gate fitted on the same question gave, once to all experts of all
 * fleets, since a choice among experts is ignoring the other heads; and to each fleet the learned combination, whose settings are
 * chosen by cross-validation on train.
 */
#ifndef MOE2_PIPELINE_STUDY_FIT_H
#define MOE2_PIPELINE_STUDY_FIT_H

#include "pipeline/study.h"
#include "route/vote_learned.h"
#include "train/vote_fit.h"

enum { STUDY_MAX_GATES = 6, STUDY_FOLDS = 5, STUDY_MAX_SETTINGS = 32 };

struct study_gate {
    const char *kind; /* a literal of model/gate.h */
    bool probabilities;
    float *scores[STUDY_N_SIDES]; /* [n, N] train: out of fold; owned by the data's arena */
    float *logits[STUDY_N_SIDES]; /* log-odds of the same, for the learned weights */
};

/* The gates of a fleet. */
struct study_gates {
    const struct study_fleet *fleet; /* borrowed */
    struct study_gate list[STUDY_MAX_GATES];
    int n;
};

/* Fits a gate of each kind that the options name to the fleet. Errors: those of gate_train; MOE2_ECONFIG for another kind, or too many. */
int study_gates_fit(struct study_gates *g, struct study_data *d, const struct study_fleet *f,
                    const struct study_options *o, struct err *err);

/* The same gates for some of their experts: f is of experts of all's fleet. */
int study_gates_take(struct study_gates *g, const struct study_gates *all, struct study_data *d,
                     const struct study_fleet *f, struct err *err);

/* Which terms a learned combination has, and how strongly they are held back. */
struct study_setting {
    uint32_t gates; /* bit g: gate g of the list */
    double l2, l2_parts;
    int64_t correct; /* out of fold, all asked */
};

struct study_learned {
    struct study_setting settings[STUDY_MAX_SETTINGS], chosen, text_free;
    int n_settings;
    struct vote_shape shape;         /* of the chosen one */
    double *theta;                   /* [rows, N] fitted on all of train, all asked */
    double *theta_fold[STUDY_FOLDS]; /* fitted without that fold */
    uint8_t *fold;                   /* [n of train] */
    struct vote_view view[STUDY_N_SIDES];
    struct vote_view view_text_free[STUDY_N_SIDES];
    double *theta_text_free;
    struct vote_shape shape_text_free;
};

/* Fits all settings over the gates of a fleet, chooses the one with the most right out of fold (first of equals), and the best of those
 * without gates. The gates and their fleet are borrowed for the call; all memory is the data's arena's. Errors: those of vote_fit;
 * MOE2_ELIMIT without memory; MOE2_ESTOP. */
int study_learned_fit(struct study_learned *l, struct study_data *d,
                      const struct study_gates *gates, uint64_t seed, const struct log_sink *sink,
                      const volatile int *stop, struct err *err);

#endif
