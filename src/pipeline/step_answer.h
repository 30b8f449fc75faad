/* Experts answer multiple-choice questions by log-likelihood: the step behind moe2 answer.
 *
 *     struct answer_step step = answer_step_default();
 *     step.questions = "data/gating_train.jsonl"; step.out_dir = "results/accuracy";
 *     step.experts = (struct answer_expert[]){{"a", "experts/a"}, {"b", "experts/b"}};
 *     step.n_experts = 2;
 *     struct answer_report report = {0};
 *     answer_run(&report, &step, err);
 *     answer_report_release(&report);
 *
 * OUT gets outcomes.csv (question_id, category, answer, prompt_tokens of the first expert, then 1
 * or 0 an expert), predictions.csv (the letters), lengths.csv (tokens of the answered option) as
 * io/outcomes.h reads them, and answers.json, the last. Every option's score lies in
 * OUT/answers/NAME.jsonl, a line a question behind a first line with the key of what was asked;
 * while an expert is at work it is NAME.jsonl.part. A run that was stopped or killed is continued
 * there; a finished expert with the same key is not asked again. Two runs at once in one OUT are
 * refused (OUT/answer.pid).
 */
#ifndef MOE2_PIPELINE_STEP_ANSWER_H
#define MOE2_PIPELINE_STEP_ANSWER_H

#include <stdbool.h>

#include "base/log.h"
#include "eval/choice.h"
#include "io/json_util.h"
#include "io/outcomes.h"
#include "pipeline/answer_set.h"

enum { ANSWER_MAX_NAME = 96, ANSWER_MAX_BATCH_TOKENS = 1 << 20, ANSWER_MAX_JOBS = 256 };

struct answer_expert {
    const char *name;    /* its column; no slash, none of outcomes.csv's own columns */
    const char *dir;     /* what decoder_open takes */
    const char *adapter; /* a folder of PEFT's on it; NULL: none */
};

struct answer_step {
    const char *questions, *out_dir;
    const char *examples;        /* few-shot examples; NULL: none */
    const char *tokenizer;       /* for all; NULL: each folder's own */
    struct device_choice device; /* its limit is that of all experts at work together */
    const struct answer_expert *experts;
    int n_experts; /* 1 … OUTCOMES_MAX_EXPERTS */
    enum answer_form form;
    enum choice_norm norm; /* that the answers are chosen by */
    int64_t n_shots;
    int64_t limit;        /* questions; 0: all */
    int64_t window;       /* 0: max_position_embeddings, at most 2,048 */
    int64_t batch_tokens; /* 0: 2,048 */
    int64_t jobs;         /* experts at a time; 0: as many as cores, and one on a GPU */
    int64_t threads;      /* of all; 0: every core */
    bool bos;             /* BOS in front of every prompt */
    bool bf16;
    const struct log_sink *sink; /* or NULL */
    const volatile int *stop;    /* not 0: MOE2_ESTOP behind the questions at hand; or NULL */
};

struct answer_step answer_step_default(void);

struct answer_expert_report {
    int64_t n_right[CHOICE_N_NORMS];
    int64_t n_resumed; /* questions answered by an earlier run */
    double seconds;
};

struct answer_report {
    int64_t n, n_left_out;
    int n_experts;
    struct answer_expert_report *experts; /* [n_experts], owned */
    struct name_table subjects;
    int64_t *n_subject;       /* [subjects.n] questions */
    int64_t *n_subject_right; /* [n_experts, subjects.n] by the chosen norm */
};

/* The report is zeroed before; release it also after an error. Errors: MOE2_ECONFIG for names,
 * sizes and examples that make no sense; those of reading, of opening a model, named after the
 * expert; MOE2_ESTOP with what was done kept. */
int answer_run(struct answer_report *report, const struct answer_step *step, struct err *err);
void answer_report_release(struct answer_report *report);

/* The report as members of the open object. */
void answer_json(struct json_writer *w, const struct answer_report *r,
                 const struct answer_step *step);

#endif
