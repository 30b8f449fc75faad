/* Training and judging a gate from files: the steps behind moe2 gate train and moe2 gate eval.
 *
 * Train writes into a folder: gating.safetensors (model/gate.h), oof_scores.npy (float32 [rows, experts], what moe2 select takes as
 * --gate-scores), gate.json, and for kinds whose scores are probabilities reliability.{svg,png,gp} when gnuplot is there. Eval reads a
 * gate and other rows, writes their scores and the same report. Columns of scores follow the outcomes file; categories and experts are
 * matched by name.
 */
#ifndef MOE2_PIPELINE_STEP_GATE_H
#define MOE2_PIPELINE_STEP_GATE_H

#include "eval/gate_measures.h"
#include "train/gate_train.h"

struct gate_step {
    const char *embeddings; /* npy [rows, dim] */
    const char *outcomes;   /* csv (io/outcomes.h); eval: NULL scores rows without judging them */
    const char *kind;       /* train */
    const char *gate;       /* eval: folder or file */
    const char *out_dir;    /* eval: NULL writes no report */
    const char *scores;     /* eval: npy to write, or NULL */
    const char *experts;    /* "a,b,c": routing is measured among these only; NULL: all */
    const char *gnuplot;    /* NULL: no figure */
    struct device_choice device;
    int n_threads; /* 0: all cores */
    struct gate_train_options train;
};

struct gate_step gate_step_default(void);

struct gate_step_report {
    const char *kind; /* a literal */
    bool trained;     /* these are out-of-fold scores of training; else scores of other rows */
    bool measured;    /* false: no outcomes were given */
    bool figure;      /* reliability.svg was drawn */
    int64_t rows, dim, n_experts,
        n_outside;  /* n_outside: experts of the gate that the outcomes have not */
    char **experts; /* [n_experts], owned: the outcomes' order */
    struct gate_measures m;
    struct gate_variant variants[GATE_MAX_VARIANTS];
    int n_variants, chosen;
    double weights[GATE_MAX_PARTS]; /* of an ensemble's parts */
    const char *parts[GATE_MAX_PARTS];
    int n_parts;
    double fold_s, fit_s, score_s;
};

/* Errors: those of matrix_open, outcomes_read, gate_train, gate_open; MOE2_EFORMAT when rows, dimensions or experts don't fit together;
 * MOE2_ECONFIG for an expert that is not there. */
int gate_step_train(struct gate_step_report *out, const struct gate_step *step, struct err *err);
int gate_step_eval(struct gate_step_report *out, const struct gate_step *step, struct err *err);
void gate_step_report_release(struct gate_step_report *r); /* a zeroed one is fine */

#endif
