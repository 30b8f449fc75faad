/* What is reported of a run: one table of measures, each a number of metrics.json with a name, a unit and a number of decimals. The
 * page of a run, the table of a comparison and comparison.json go through the same list. */
#ifndef MOE2_REPORT_RUN_MEASURES_H
#define MOE2_REPORT_RUN_MEASURES_H

#include "base/stats.h"
#include "report/run_metrics.h"

enum measure_kind {
    MEASURE_TEST_LOSS,
    MEASURE_BITS_PER_BYTE,
    MEASURE_PPL,
    MEASURE_MAX_VIO_BATCH,
    MEASURE_MAX_VIO_GLOBAL,
    MEASURE_LOAD_CV,
    MEASURE_LOAD_ENTROPY,
    MEASURE_LOAD_GINI,
    MEASURE_DEAD_EXPERTS,
    MEASURE_DROP_RATE,
    MEASURE_TOKENS_PER_S,
    MEASURE_STEP_MS,
    MEASURE_ROUTING_SHARE,
    MEASURE_PEAK_MEMORY,
    MEASURE_LATENCY,
    MEASURE_TOKEN_EXPERT_MI,
    MEASURE_DOMAIN_EXPERT_MI,
    MEASURE_TOP_TENTH_SHARE,
    MEASURE_MATTHEW_LOAD,
    MEASURE_MATTHEW_REPUTATION,
    MEASURE_OVERLAP,
    MEASURE_N,
};

struct measure {
    const char *key;   /* in comparison.json */
    const char *path;  /* in metrics.json, in its unit times 1/scale */
    const char *title; /* with the unit */
    double scale;
    int decimals;
};

extern const struct measure MEASURES[MEASURE_N];

/* The measure of a run in the unit of its title; NaN where the run does not say. */
double measure_of(const struct run_metrics *m, enum measure_kind kind);

enum { MEASURE_TEXT_BYTES = 64 };

/* "4.1234 ± 0.0123"; without an interval (one seed) the mean alone; "–" for NaN. sign: with "+" or a true minus. Returned. */
char *measure_text(char text[MEASURE_TEXT_BYTES], const struct stats_interval *v, int decimals,
                   int sign);

/* One number: "4.1234", "–" for NaN. Returned. */
char *measure_number(char text[MEASURE_TEXT_BYTES], double v, int decimals);

#endif
