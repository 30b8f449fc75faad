/* How good a gate's scores are: what routing by them would have got right, and whether they are true probabilities.
 *
 * The called expert of a row is the one with the largest score among the allowed ones, equal scores by lower number; not run counts
 * as wrong. Intervals are 95 %: Wilson's for shares, the normal one for the paired difference of two choices.
 */
#ifndef MOE2_EVAL_GATE_MEASURES_H
#define MOE2_EVAL_GATE_MEASURES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/stats.h"
#include "model/gate.h"

enum { GATE_BINS = 10 };

struct gate_measures {
    int64_t rows, cells, missing_cells, called_missing;
    struct stats_share top1; /* routing by the scores */
    struct stats_share
        single; /* one expert for all rows: the best on the rows that the gate was trained on */
    int single_expert;
    struct stats_share hindsight; /* the best one on these very rows */
    int hindsight_expert;
    double random;             /* an allowed expert at random */
    struct stats_share oracle; /* some allowed expert is right */
    struct stats_share gain;   /* top1 − single, row by row */
    double gap_closed; /* (top1 − single) / (oracle − single); NaN when there is no gap */
    double called[GATE_MAX_EXPERTS];   /* share of rows each is called for */
    double accuracy[GATE_MAX_EXPERTS]; /* of each where it was run, NaN: nowhere */
    /* Of probabilities only, over the cells that were run: */
    bool probabilities;
    double brier, log_loss;
    double brier_constant; /* of each expert's accuracy in training, whatever the prompt */
    double brier_expert[GATE_MAX_EXPERTS];
    double ece; /* Σ over bins of |mean score − share right| · share of the cells */
    struct gate_bin {
        int64_t n;
        double score, right; /* means */
    } bins[GATE_BINS];       /* of equal width in the score */
};

/* Measures scores [T, N] against right [T, N] (1, 0, −1 not run). allowed [N] may be NULL: all. training_accuracy [N] tells `single`
 * and brier_constant. Errors: MOE2_ECONFIG when no expert is allowed. */
int gate_measure(struct gate_measures *out, const float *scores, const int8_t *right, int64_t T,
                 int64_t N, const bool *allowed, const float *training_accuracy, bool probabilities,
                 struct err *err);

#endif
