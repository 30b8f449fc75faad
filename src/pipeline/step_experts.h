/* One fine-tuned expert a cluster, and the experts in 4 bits: the steps experts and quantize of the two-level build.
 *
 *     struct expert_spec experts[] = {{"FT0", "models/fleet-large", "data/cluster_0.jsonl"}, …};
 *     struct experts_step step = {.experts = experts, .n = 8, .config = "configs/finetune/expert.yaml", .out_dir = "out/experts", …};
 *     experts_train(&step, err);         out/experts/FT0, …: PEFT's adapters
 *     experts_quantize(report, &step, err);   out/experts/FT0-Q4, …: merged, NF4, of their own
 *
 * Each expert is trained by a process of its own ("moe2 finetune --config …"), a few at once: OUT/runs/NAME is its results folder,
 * OUT/logs/NAME.txt what it said. One that was stopped goes on; one whose data, base or configuration changed begins anew. One that fails stops
 * the others; one that is stopped by hand lets those that run finish. OUT/experts.pid is locked by the process and by those that it started:
 * nobody begins beside the runs of one that was killed.
 */
#ifndef MOE2_PIPELINE_STEP_EXPERTS_H
#define MOE2_PIPELINE_STEP_EXPERTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "pipeline/answer_set.h"

#define QUANTIZED_ENDING "-Q4"

struct expert_spec {
    const char *name;
    const char *base; /* a checkpoint folder */
    const char *data; /* questions, as moe2 data qa writes them */
};

struct experts_step {
    const struct expert_spec *experts; /* [n] */
    int64_t n;
    const char *config;  /* of moe2 finetune, for all */
    const char *out_dir; /* made if it is not there */
    int64_t
        jobs; /* trained at once; 0: as many as cores, one on a GPU. Each has its share of the threads */
    int64_t threads; /* of all; 0: every core */
    struct device_choice
        device; /* NULL or cpu: what the configuration says. The limit is for all at once */
    uint64_t seed;
    const char *program; /* moe2 itself */

    /* for experts_quantize: what they are measured on */
    const char *questions;
    int64_t n_questions; /* 0: all */
    enum answer_form form;

    const struct log_sink *sink; /* or NULL */
    const volatile int *stop;    /* not 0: MOE2_ESTOP when what runs has saved; or NULL */
};

/* Errors: MOE2_EIO with the last words of a run that failed; MOE2_ECONFIG when another process is at it; MOE2_ESTOP. */
int experts_train(const struct experts_step *step, struct err *err);

/* An expert before and after: the base with its adapter, and the 4-bit folder. */
struct quantized_expert {
    int64_t n_questions, n_right[2];
    int64_t n_bytes[2]; /* of the merged weights, and of the folder */
};

/* Merges, writes NF4 (as moe2 quantize does), and asks both the questions. out [n]. Errors: those of merging, writing and asking. */
int experts_quantize(struct quantized_expert *out, const struct experts_step *step,
                     struct err *err);

/* "OUT/NAME", or "OUT/NAME-Q4", the caller's to free; NULL without memory. */
char *expert_folder(const struct experts_step *step, int64_t i, bool quantized);

#endif
