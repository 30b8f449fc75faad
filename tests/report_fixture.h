/* Results folders made up for tests: clearly synthetic numbers in the form that training writes. Shared by the tests of the report and
 * of compare. */
#ifndef MOE2_TESTS_REPORT_FIXTURE_H
#define MOE2_TESTS_REPORT_FIXTURE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"

enum { FIX_LAYERS = 5, FIX_EXPERTS = 16, FIX_TYPES = 6, FIX_STEPS = 60 };

struct fixture {
    const char *router;
    int64_t seed;
    double loss;      /* of the test text */
    double imbalance; /* MaxVio that training ends with */
    int n_steps;      /* 0: FIX_STEPS */
    bool unfinished;  /* no metrics.json */
};

static inline double fix_load(const struct fixture *f, int layer, int e, double t)
{
    double skew = f->imbalance + 2.5 * exp(-6 * t);
    double wave = 0.5 + 0.5 * sin(1.7 * e * (layer + 1) + (double)f->seed);
    return 1 + skew * (pow(wave, 3) - 0.3125) / 0.6875 * (skew > 1.5 ? 1.5 / skew : 1);
}

static inline void fix_list(struct buf *b, const char *key, const struct fixture *f, int layer,
                            double t, int reputation)
{
    buf_printf(b, NULL, "\"%s\":[", key);
    for (int e = 0; e < FIX_EXPERTS; e++)
        buf_printf(b, NULL, "%s%.5g", e ? "," : "",
                   reputation
                       ? 1e-3 * sin(e + layer) * (1 - exp(-4 * t)) + 2e-4 * sin(9 * t + e * e)
                       : fix_load(f, layer, e, t));
    buf_puts(b, "]", NULL);
}

static inline void fix_step(struct buf *b, const struct fixture *f, int step, int n, struct rng *r)
{
    double t = (double)step / n;
    buf_printf(b, NULL,
               "{\"step\":%d,\"tokens\":%d,\"loss\":%.6f,\"lr\":0.003,\"grad_norm\":%.4f,"
               "\"step_s\":%.5f,\"tokens_per_s\":%.1f,\"max_vio_batch\":%.5f,\"load_cv\":%.4f,"
               "\"load_entropy\":%.5f,\"dead_experts\":0,\"drop_rate\":0,\"routing_share\":0.012",
               step, step * 2048, f->loss + 4 * exp(-5 * t) + 0.06 * rng_normal(r), 1 + exp(-t),
               0.41 + 0.004 * rng_normal(r), 5000 + 20 * rng_normal(r),
               (f->imbalance + 2.5 * exp(-6 * t)) * exp(0.2 * rng_normal(r)),
               0.3 * f->imbalance + exp(-5 * t), 1 - 0.02 * f->imbalance);
    if (step % 3 == 0) {
        buf_puts(b, ",\"layers\":[", NULL);
        for (int l = 0; l < FIX_LAYERS; l++) {
            buf_printf(b, NULL, "%s{\"layer\":%d,", l ? "," : "", l + 1);
            fix_list(b, "load", f, l, t, 0);
            if (strncmp(f->router, "rd_esi", 6) == 0) {
                buf_puts(b, ",", NULL);
                fix_list(b, "reputation", f, l, t, 1);
            }
            buf_puts(b, "}", NULL);
        }
        buf_puts(b, "]", NULL);
    }
    buf_puts(b, "}\n", NULL);
}

static inline void fix_lines(struct buf *b, const struct fixture *f, int n)
{
    struct rng r;
    rng_init(&r, (uint64_t)f->seed * 77 + (uint64_t)f->router[0]);
    for (int step = 1; step <= n; step++) {
        fix_step(b, f, step, n, &r);
        if (step % 5 == 0) {
            double loss = f->loss + 0.01 + 4 * exp(-5.0 * step / n) + 0.003 * rng_normal(&r);
            buf_printf(b, NULL,
                       "{\"step\":%d,\"eval\":\"validation\",\"tokens\":9000,\"nll\":%.4f,"
                       "\"loss\":%.6f,\"ppl\":%.4f,\"bits_per_byte\":%.6f}\n",
                       step, 9000 * loss, loss, exp(loss), loss * 0.43);
        }
    }
}

static inline void fix_summary(struct buf *b, const struct fixture *f, const char *name, int n)
{
    buf_printf(
        b, NULL,
        "{\"name\":\"%s\",\"seed\":%lld,\"router\":\"%s\",\"config\":{\"router\":{\"incentive\":\"%"
        "s\","
        "\"alpha\":0.1},\"train\":{\"lr\":0.003}},\"commands\":[\"moe2 train_eval --config "
        "%s.yaml\"],"
        "\"model\":{\"n_params\":5123456,\"n_active_params\":2123456,\"flops_per_token\":4246912},",
        name, (long long)f->seed, f->router, f->router, f->router);
    buf_printf(b, NULL,
               "\"train\":{\"steps\":%d,\"tokens\":%d,\"seconds\":%.2f,\"tokens_per_s\":%.1f,"
               "\"peak_rss_bytes\":%d,\"final_loss\":%.4f},"
               "\"validation\":{\"best\":{\"step\":%d,\"loss\":%.6f,\"bits_per_byte\":%.6f}},"
               "\"test\":{\"tokens\":10000,\"nll\":%.4f,\"loss\":%.6f,\"ppl\":%.5f,\"bits_per_"
               "byte\":%.6f%s},",
               n, n * 2048, n * 0.41, 5000.0, 314572800, f->loss, n, f->loss + 0.01,
               (f->loss + 0.01) * 0.43, f->loss * 10000, f->loss, exp(f->loss), f->loss * 0.43,
               strcmp(f->router, "expert_choice") == 0 ? ",\"look_ahead\":{\"loss\":3.5}" : "");
    buf_printf(b, NULL,
               "\"routing\":{\"max_vio_batch\":%.4f,\"max_vio_global\":%.4f,\"load_cv\":%.4f,"
               "\"load_entropy\":%.4f,"
               "\"load_gini\":0.1,\"dead_experts\":0.2,\"drop_rate\":0,\"routing_share\":0.0123,"
               "\"token_expert_mi\":0.81,\"domain_expert_mi\":null,\"matthew_load\":0.42,\"matthew_"
               "reputation\":%s,"
               "\"top_tenth_share\":0.19,\"layers\":[",
               f->imbalance * 1.3, f->imbalance, 0.3 * f->imbalance, 1 - 0.02 * f->imbalance,
               strncmp(f->router, "rd_esi", 6) == 0 ? "0.37" : "null");
    for (int l = 0; l < FIX_LAYERS; l++) {
        buf_printf(b, NULL, "%s{\"layer\":%d,\"max_vio_global\":%.4f,", l ? "," : "", l + 1,
                   f->imbalance);
        fix_list(b, "activation_frequency", f, l, 1, 0);
        buf_puts(b, "}", NULL);
    }
    buf_puts(b,
             "]},\"token_types\":{\"names\":[\"word start\",\"inside a "
             "word\",\"number\",\"punctuation\","
             "\"space, newline\",\"other\"],\"layers\":[",
             NULL);
    for (int l = 0; l < FIX_LAYERS; l++) {
        buf_puts(b, l ? ",[" : "[", NULL);
        for (int t = 0; t < FIX_TYPES; t++) {
            buf_puts(b, t ? ",[" : "[", NULL);
            for (int e = 0; e < FIX_EXPERTS; e++)
                buf_printf(b, NULL, "%s%.4f", e ? "," : "",
                           0.06 * exp(0.9 * sin(2.3 * e + 1.1 * t * (l + 1))));
            buf_puts(b, "]", NULL);
        }
        buf_puts(b, "]", NULL);
    }
    buf_puts(b,
             "]},\"latency_ms_per_token\":0.71,\"machine\":{\"cpu\":\"synthetic\",\"kernels\":"
             "\"avx2\",\"threads\":2},"
             "\"samples\":{\"prompt\":\"Il comando\",\"before\":\"q\\u00e8x zzv\",\"after\":\"Il "
             "comando <apt> installa i pacchetti\"}}\n",
             NULL);
}

/* Writes a results folder; false when the disk refused. */
static inline bool fix_run(const char *dir, const struct fixture *f)
{
    struct buf lines = {0}, summary = {0};
    char path[1024];
    const char *slash = strrchr(dir, '/');
    int n = f->n_steps ? f->n_steps : FIX_STEPS;
    fix_lines(&lines, f, n);
    fix_summary(&summary, f, slash ? slash + 1 : dir, n);
    bool fine = dir_make(dir, NULL) == 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", dir);
    fine = fine && file_write(path, lines.bytes, lines.n, NULL) == 0;
    snprintf(path, sizeof path, "%s/metrics.json", dir);
    if (!f->unfinished)
        fine = fine && file_write(path, summary.bytes, summary.n, NULL) == 0;
    buf_release(&lines);
    buf_release(&summary);
    return fine;
}

static inline bool fix_text(const char *path, const char *text)
{
    return file_write(path, text, strlen(text), NULL) == 0;
}

#endif
