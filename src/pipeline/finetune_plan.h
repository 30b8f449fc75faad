/* What fine-tuning will do, before it does it: one table of what is quantised, what carries an
 * adapter and what trains, with bytes, and the memory that the run will reach.
 */
#ifndef MOE2_PIPELINE_FINETUNE_PLAN_H
#define MOE2_PIPELINE_FINETUNE_PLAN_H

#include "base/buf.h"
#include "model/decoder.h"
#include "model/lora.h"
#include "pipeline/run_config.h"

/* The adapters that a configuration asks for; texts and lists are its own, rules the caller's
 * (finetune_lora_release). MOE2_ECONFIG for a rule that is no "PATTERN=NUMBER". */
struct finetune_lora {
    struct lora_config config;
    struct lora_rule *rules; /* ranks, then alphas */
    char *text;              /* their patterns */
};
int finetune_lora_make(struct finetune_lora *out, const struct run_config *rc, struct err *err);
void finetune_lora_release(struct finetune_lora *l);

struct finetune_memory {
    int64_t so_far;  /* the process as it is: program, tokenizer, data */
    int64_t weights; /* of the base, in memory */
    int64_t mapped;  /* of the base, in a file that stays mapped: the system may drop them */
    int64_t adapters, gradients, optimizer, batch;
    int64_t peak;      /* all together */
    int64_t available; /* what there is, so_far included */
};

/* Plans with a decoder that was opened plan_only. */
int finetune_plan(struct buf *table, struct finetune_memory *m, struct decoder *dec,
                  const struct run_config *rc, struct err *err);

/* MOE2_ELIMIT with advice where the plan does not fit. */
int finetune_fits(const struct finetune_memory *m, const struct run_config *rc, struct err *err);

#endif
