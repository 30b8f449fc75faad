/* Live experts as a source of answers (expert_source.h): asked over HTTP, side by side, through the endpoint of a running fleet.
 *
 *     struct expert_live *l;
 *     expert_live_open(&l, &answers, "http://127.0.0.1:8080", "gating_test.jsonl", &options, err);
 *     struct expert_source source = expert_source_live(l);            question is a row of answers
 *     …
 *     expert_live_write(l, "results/live", err);                      outcomes.csv, predictions.csv, lengths.csv, runs.csv
 *     expert_live_free(l);
 *
 * The experts are those that URL/health names (moe2 fleet up), or the one model of a moe2 serve. A question is asked as moe2 answer asks it,
 * the options given as guided_choice; a server
 * that does not know that is read by the option that its answer is, or with letters by the one that it begins with. What comes back
 * is put into `answers`, so that everything that looks at recorded answers can look at these.
 */
#ifndef MOE2_PIPELINE_EXPERT_LIVE_H
#define MOE2_PIPELINE_EXPERT_LIVE_H

#include "base/log.h"
#include "pipeline/answer_set.h"
#include "pipeline/expert_source.h"

struct expert_live;

struct expert_live_options {
    enum answer_form form; /* letters, or the options' whole texts */
    int64_t limit;         /* questions; 0: all */
    double timeout_s;      /* of one answer; 0: 120 */
    const struct log_sink *sink;
    const volatile int *stop; /* or NULL */
};

/* Reads who is there and what is to be asked, and fills the zeroed `answers` with the questions, nothing answered yet; it is used until
 * expert_live_free, and the caller's to release after it. Errors: MOE2_EIO when nobody listens there; MOE2_EFORMAT for something
 * else than a fleet; those of reading questions. */
int expert_live_open(struct expert_live **out, struct answers *answers, const char *url,
                     const char *questions, const struct expert_live_options *o, struct err *err);
void expert_live_free(struct expert_live *l); /* NULL is fine */

/* ask fails with MOE2_EIO when none of those asked answers. */
struct expert_source expert_source_live(struct expert_live *l);

/* runs.csv has a row an answer: expert, prompt_tokens, output_tokens, latency_s, energy_j, device and where both numbers are from, as
 * moe2 profile --import reads it. latency_s is what the expert took, or its device would have taken, whichever is more. */
int expert_live_write(const struct expert_live *l, const char *dir, struct err *err);

/* Says who failed how often, a line each. */
void expert_live_tell(const struct expert_live *l);

#endif
