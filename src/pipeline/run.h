/* A run: one configuration trained, evaluated, or both, into results/NAME/.
 *
 *     logs.txt            every line that was said
 *     config.yaml         the configuration, resolved
 *     metrics.jsonl       a line a step and an evaluation
 *     metrics.json        the summary: one valid document, written last
 *     checkpoints/best    lowest validation loss
 *     checkpoints/last    where to go on
 *     figures/            for the report
 *     run.pid             the process that trains it, which has it locked
 *
 *     adapter/            of a run with base.path: PEFT's layout, from the best checkpoint
 *
 * A run whose checkpoints/last is there goes on from it by itself if its configuration is the same,
 * and is refused, with the key that differs, if it is not; RUN_RESTART begins anew. A folder is
 * trained in by one process at a time; evaluating changes nothing that a trainer needs.
 */
#ifndef MOE2_PIPELINE_RUN_H
#define MOE2_PIPELINE_RUN_H

#include "base/log.h"
#include "pipeline/run_config.h"

enum run_mode { RUN_TRAIN, RUN_EVALUATE, RUN_TRAIN_EVAL };

enum run_resume {
    RUN_RESUME,      /* go on where there is something to go on from */
    RUN_RESUME_MUST, /* the same, and an error where there is not */
    RUN_RESTART,     /* what is there of this name is removed */
};

struct run_options {
    enum run_mode mode;
    enum run_resume resume;
    const char *checkpoint; /* RUN_EVALUATE: the folder; NULL: checkpoints/best */
    bool dry_run;           /* plan a fine-tuning run, and no more */
    struct buf *plan;       /* what it plans is appended; NULL: said to the log */
    const char *command;    /* the words that were typed, for metrics.json; NULL: none */
    const struct log_sink *log;
    const volatile int *stop; /* NULL: never */
};

/* Runs it; rc is resolved by it. Errors: MOE2_ESTOP when stop was set: the step was finished and
 * everything saved; MOE2_ENUMERIC with step, layer and tensor; MOE2_ECONFIG (also where another
 * process trains in the folder), MOE2_EIO, MOE2_EFORMAT, MOE2_ELIMIT. */
int run_do(struct run_config *rc, const struct run_options *options, struct err *err);

/* The same with the ordinary options. */
int run_train(struct run_config *rc, enum run_mode mode, const struct log_sink *log,
              const volatile int *stop, struct err *err);

/* results_dir/name, the caller's to free; NULL without memory. */
char *run_folder(const struct run_config *rc);

#endif
