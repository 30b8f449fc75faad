/* The three tables of the selector: which experts are in service under latency limits, under energy limits, under both; chosen on one
 * side of the gating set and tried on the other.
 *
 * A row's subset is chosen by moe2 select (select_run) on the train side with out-of-fold gate scores: exact, with its proof. Its accuracy is then
 * measured on the test side, which nothing was fitted to or chosen on, with Wilson's 95 % interval; latency and energy on both sides, for on test
 * they may exceed the limit that held on train. Beside it, also on test: the best single expert and all experts, each chosen under the same
 * limits on train; and the share of questions that some member of the subset has right.
 */
#ifndef MOE2_PIPELINE_SMO_TABLES_H
#define MOE2_PIPELINE_SMO_TABLES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/stats.h"
#include "base/table.h"
#include "route/select.h"

enum smo_table { SMO_LATENCY, SMO_ENERGY, SMO_BOTH, SMO_N_TABLES };
enum { SMO_MAX_LIMITS = 256, SMO_SUBSET_BYTES = 8192 };

/* File names without endings: table2_latency, table3_energy, table4_both. */
extern const char *const smo_table_names[SMO_N_TABLES];

struct smo_side {
    const char *outcomes, *scores;                /* CSV, npy */
    const char *predictions;                      /* or NULL: votes by outcome */
    const char *latency, *energy, *output_tokens; /* NULL: the options' */
};

struct smo_options {
    struct smo_side train, test;
    const char *latency, *energy;
    const double *latency_s, *energy_j; /* limits */
    int64_t n_latency, n_energy;
    enum select_cost cost;
    int64_t k;
    const char *combine;
    int64_t output_tokens;
    const char *note;   /* stands over every table; or NULL */
    const char *prefix; /* of the files' names, "live_"; NULL: none */
    const char *out_dir;
    const struct log_sink *sink;
    const volatile int *stop;
};

/* A subset tried on a side. */
struct smo_trial {
    bool there;                    /* false: nothing fits, and the rest is not set */
    char subset[SMO_SUBSET_BYTES]; /* names with ", " between */
    int64_t n, n_right, n_oracle;
    double accuracy, latency_s, energy_j;
};

struct smo_row {
    double latency_limit_s, energy_limit_j; /* INFINITY: none */
    int64_t n_feasible;                     /* subsets that fit on train; −1: not counted */
    bool optimal;                           /* proven */
    double random; /* mean accuracy of the feasible single experts, on train; NaN: none */
    struct smo_trial train, test, single_test;
};

struct smo_report {
    struct smo_row *rows[SMO_N_TABLES]; /* owned */
    int64_t n_rows[SMO_N_TABLES];
    struct smo_trial all_test;
    int64_t n_experts, n_subsets; /* n_subsets: different ones that were chosen */
    const char *note;
};

/* Makes OUT/table2_latency.{csv,json,md} and the two others, each replaced as a whole. Errors: those of select_run. r is zeroed before; release it
 * also after errors. */
int smo_tables_run(struct smo_report *r, const struct smo_options *o, struct err *err);
void smo_report_release(struct smo_report *r);

/* Appends how many different subsets were chosen and, where they are fewer than three, why: how few choices the limits leave. */
int smo_counts(struct buf *out, const struct smo_report *r, struct err *err);

/* One table for people. The caller's. */
int smo_table_new(struct table **out, const struct smo_report *r, enum smo_table table,
                  struct err *err);

/* smo_tables_write.c */
int smo_tables_write(const struct smo_report *r, const struct smo_options *o, struct err *err);

#endif
