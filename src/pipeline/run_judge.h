/* Judging a trained run: the test text scored, the routers measured, everything summed up in
 * metrics.json. */
#ifndef MOE2_PIPELINE_RUN_JUDGE_H
#define MOE2_PIPELINE_RUN_JUDGE_H

#include "eval/perplexity.h"
#include "pipeline/run_config.h"
#include "pipeline/run_data.h"

/* What is judged; all borrowed for the call. */
struct run_judged {
    const struct run_config *rc; /* resolved */
    struct decoder *dec;
    const struct run_data_set *data;
    const char *folder;             /* results/NAME: metrics.json goes here */
    const char *checkpoint;         /* the folder that dec was opened from */
    const char *last;               /* checkpoints/last, for what training took; may be missing */
    const char *jsonl;              /* metrics.jsonl; may be missing */
    const char *command;            /* or NULL */
    struct perplexity_options eval; /* of the test text */
    const struct log_sink *log;
};

/* Scores, measures, writes metrics.json as a whole. */
int run_judge(const struct run_judged *j, struct err *err);

#endif
