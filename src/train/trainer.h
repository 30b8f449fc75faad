/* The trainer: steps, evaluations, checkpoints, until the steps are done, somebody says stop or a
 * number is none.
 *
 *     trainer_init(&t, &options, dec, opt, err);   t.state zeroed, or as a checkpoint gave it
 *     rc = trainer_run(&t, err);                   MOE2_ESTOP: after a whole step, all saved
 *     trainer_release(&t);
 *
 * A step reads `batch` windows, cuts them into micro-batches, and adds up the gradient of the mean
 * loss over ALL target tokens of the step, however it is cut. Then, once: clipping, AdamW,
 * router_step of every MoE layer. Everything that follows depends on the state (weights, moments,
 * routers, step, place in the data) alone, which is what makes a resumed run the same run.
 */
#ifndef MOE2_TRAIN_TRAINER_H
#define MOE2_TRAIN_TRAINER_H

#include "eval/perplexity.h"
#include "kernels/nvml.h"
#include "train/checkpoint.h"
#include "train/dataset.h"
#include "train/metrics.h"
#include "train/schedule.h"

struct trainer_options {
    struct schedule schedule; /* its steps are the run's */
    struct dataset data;
    int64_t batch;                             /* sequences a step */
    int64_t micro_batch;                       /* sequences that go through the model at once */
    int64_t eval_every, save_every, log_every; /* steps; eval_every 0: never */
    struct tokens validation;
    const struct packs *validation_packs; /* instead of it: examples; NULL: none */
    struct perplexity_options eval;       /* window, stride, max_tokens, prefix, token_bytes */
    uint64_t seed;
    const char *checkpoints; /* folder of best and last; NULL: nothing is saved */
    const char *config;      /* the run's configuration, kept in each checkpoint */
    const char *tokenizer;   /* what to copy into checkpoints, or NULL */
    const char *base;        /* with adapters: what they were trained on, for their files */
    struct metrics *metrics; /* NULL: none */
    const struct log_sink *log;
    const volatile int *stop; /* NULL: never */
};

struct trainer {
    struct trainer_options o;
    struct decoder *dec;   /* borrowed */
    struct optimizer *opt; /* borrowed */
    struct train_state state;
    struct measures measures; /* owned */
    struct dataset_batch in;  /* one micro-batch */
    double *loads;            /* [layers, E], of the last step: 1 is a fair share */
    struct nvml *meter;       /* of a GPU; NULL: none */
    int64_t saved_step;       /* of checkpoints/last; −1: none by this trainer */
    bool has_warned;          /* of a bias that outweighs the gate */
};

/* Errors: MOE2_ELIMIT, MOE2_ECONFIG. options' pointers are borrowed until trainer_release. */
int trainer_init(struct trainer *t, const struct trainer_options *options, struct decoder *dec,
                 struct optimizer *opt, struct err *err);
void trainer_release(struct trainer *t);

/* One optimizer step. MOE2_ENUMERIC names step, layer and tensor; then nothing has moved and
 * nothing was saved. */
int trainer_step(struct trainer *t, struct err *err);

/* Scores the validation text and, where it is the best so far and somewhere to save, makes
 * checkpoints/best. */
int trainer_evaluate(struct trainer *t, struct err *err);

/* Writes checkpoints/last, unless it is of this step already. */
int trainer_save(struct trainer *t, struct err *err);

/* Everything that is left of the run. */
int trainer_run(struct trainer *t, struct err *err);

#endif
