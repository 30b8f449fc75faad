/* What is reported of a run: see run_measures.h. */
#include "report/run_measures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

const struct measure MEASURES[MEASURE_N] = {
    [MEASURE_TEST_LOSS] = {"test_loss", "test.loss", "test loss, nats a token", 1, 4},
    [MEASURE_BITS_PER_BYTE] = {"bits_per_byte", "test.bits_per_byte", "bits per byte", 1, 4},
    [MEASURE_PPL] = {"ppl", "test.ppl", "perplexity", 1, 2},
    [MEASURE_MAX_VIO_BATCH] = {"max_vio_batch", "routing.max_vio_batch", "MaxVio, batch", 1, 3},
    [MEASURE_MAX_VIO_GLOBAL] = {"max_vio_global", "routing.max_vio_global", "MaxVio, global", 1, 3},
    [MEASURE_LOAD_CV] = {"load_cv", "routing.load_cv", "CV of load", 1, 3},
    [MEASURE_LOAD_ENTROPY] = {"load_entropy", "routing.load_entropy", "entropy of load", 1, 4},
    [MEASURE_LOAD_GINI] = {"load_gini", "routing.load_gini", "Gini of load", 1, 3},
    [MEASURE_DEAD_EXPERTS] = {"dead_experts", "routing.dead_experts", "dead experts a layer", 1, 2},
    [MEASURE_DROP_RATE] = {"drop_rate", "routing.drop_rate", "dropped picks, %", 100, 2},
    [MEASURE_TOKENS_PER_S] = {"tokens_per_s", "train.tokens_per_s", "tokens/s", 1, 0},
    [MEASURE_STEP_MS] = {"step_ms", NULL, "step, ms (median)", 1000, 1},
    [MEASURE_ROUTING_SHARE] = {"routing_share", "routing.routing_share", "routing, % of step", 100,
                               2},
    [MEASURE_PEAK_MEMORY] = {"peak_memory_mib", "train.peak_rss_bytes", "peak memory, MiB",
                             1.0 / (1 << 20), 0},
    [MEASURE_LATENCY] = {"latency_ms_per_token", "latency_ms_per_token", "latency, ms a token", 1,
                         2},
    [MEASURE_TOKEN_EXPERT_MI] = {"token_expert_mi", "routing.token_expert_mi",
                                 "information token–expert, nats", 1, 4},
    [MEASURE_DOMAIN_EXPERT_MI] = {"domain_expert_mi", "routing.domain_expert_mi",
                                  "information domain–expert, nats", 1, 4},
    [MEASURE_TOP_TENTH_SHARE] = {"top_tenth_share", "routing.top_tenth_share",
                                 "picks of the busiest tenth, %", 100, 1},
    [MEASURE_MATTHEW_LOAD] = {"matthew_load", "routing.matthew_load",
                              "load early–late, rank correlation", 1, 3},
    [MEASURE_MATTHEW_REPUTATION] = {"matthew_reputation", "routing.matthew_reputation",
                                    "reputation early–late, rank correlation", 1, 3},
    [MEASURE_OVERLAP] = {"overlap", "routing.overlap", "overlap with the earlier checkpoint, %",
                         100, 1},
};

/* The mean of a column over all training steps: for runs whose summary does not hold it. */
static double column_mean(const struct run_metrics *m, enum run_column column)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < m->steps.n; i++)
        if (isfinite(m->steps.column[column][i])) {
            sum += m->steps.column[column][i];
            n++;
        }
    return n ? sum / (double)n : NAN;
}

/* The middle of a column: for times, which other programs on the machine disturb. */
static double column_median(const struct run_metrics *m, enum run_column column)
{
    double *sorted = m->steps.n ? malloc(sizeof *sorted * (size_t)m->steps.n) : NULL;
    int64_t n = 0;
    for (int64_t i = 0; sorted && i < m->steps.n; i++)
        if (isfinite(m->steps.column[column][i]))
            sorted[n++] = m->steps.column[column][i];
    double median = sorted ? stats_median(sorted, n) : NAN;
    free(sorted);
    return median;
}

double measure_of(const struct run_metrics *m, enum measure_kind kind)
{
    const struct measure *k = &MEASURES[kind];
    double v = k->path ? run_number(m, k->path) : NAN;
    if (kind == MEASURE_STEP_MS) {
        v = column_median(m, RUN_STEP_S);
        if (isnan(v))
            v = run_number(m, "train.seconds") / run_number(m, "train.steps");
    } else if (isnan(v) && kind == MEASURE_ROUTING_SHARE) {
        v = column_mean(m, RUN_ROUTING_SHARE);
    } else if (isnan(v) && kind == MEASURE_DROP_RATE) {
        v = column_mean(m, RUN_DROP_RATE);
    }
    return v * k->scale;
}

/* The sign of v as it will be seen: none when it rounds to 0. */
static const char *sign_of(double v, int decimals, int plus)
{
    if (fabs(v) < 0.5 * pow(10, -decimals))
        return "";
    return v < 0 ? "−" : plus ? "+" : "";
}

char *measure_number(char text[MEASURE_TEXT_BYTES], double v, int decimals)
{
    if (isnan(v))
        snprintf(text, MEASURE_TEXT_BYTES, "–");
    else
        snprintf(text, MEASURE_TEXT_BYTES, "%s%.*f", sign_of(v, decimals, 0), decimals, fabs(v));
    return text;
}

char *measure_text(char text[MEASURE_TEXT_BYTES], const struct stats_interval *v, int decimals,
                   int sign)
{
    const char *lead = sign_of(v->mean, decimals, sign);
    if (isnan(v->mean))
        snprintf(text, MEASURE_TEXT_BYTES, "–");
    else if (!isfinite(v->half_width))
        snprintf(text, MEASURE_TEXT_BYTES, "%s%.*f", lead, decimals, fabs(v->mean));
    else
        snprintf(text, MEASURE_TEXT_BYTES, "%s%.*f ± %.*f", lead, decimals, fabs(v->mean), decimals,
                 v->half_width);
    return text;
}
