/* The way of one prompt: see forward.h. */
#include "pipeline/forward.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "route/vote.h"

static const char *const NAMES[FORWARD_N] = {"top1", "vote", "weighted", "learned"};

const char *forward_combine_name(enum forward_combine combine)
{
    return NAMES[combine];
}

int forward_combine_find(const char *name)
{
    for (int i = 0; i < FORWARD_N; i++)
        if (strcmp(NAMES[i], name) == 0)
            return i;
    return -1;
}

static int ask_recorded(struct expert_reply *replies, void *ctx, int64_t question,
                        const int *experts, int n, struct err *err)
{
    const struct answers *a = ctx;
    (void)err;
    for (int i = 0; i < n; i++) {
        int64_t at = question * a->n_experts + experts[i];
        int8_t right = a->outcomes[at];
        int8_t option = a->options ? a->options[at] : (int8_t)(right < 0 ? -1 : !right);
        replies[i] = (struct expert_reply){option, right};
    }
    return 0;
}

struct expert_source expert_source_recorded(const struct answers *a)
{
    return (struct expert_source){ask_recorded, (void *)(uintptr_t)a};
}

/* ---- combining ---- */

static void vote(struct forward_walk *w, const float *scores, enum vote_kind kind)
{
    int32_t answer[VOTE_MAX];
    float score[VOTE_MAX];
    for (int i = 0; i < w->n_asked; i++) {
        answer[i] = w->replies[i].option;
        score[i] = scores[w->asked[i]];
        if (answer[i] >= 0)
            w->totals[answer[i]] += kind == VOTE_WEIGHTED ? (double)score[i] : 1;
    }
    int winner = vote_by_answer(kind, answer, score, w->n_asked);
    w->option = (int8_t)(winner < 0 ? -1 : answer[winner]);
}

static void learned(struct forward_walk *w, const struct forward *f, int64_t row)
{
    uint64_t asked = 0;
    double scores[VOTE_MAX_OPTIONS];
    for (int i = 0; i < w->n_asked; i++)
        asked |= UINT64_C(1) << w->asked[i];
    w->option = (int8_t)vote_learned_pick(scores, f->learned, f->view, row, asked);
    for (int o = 0; o < VOTE_MAX_OPTIONS; o++)
        w->totals[o] = isfinite(scores[o]) ? scores[o] : 0;
}

/* Right when those who gave the winning option are right; wrong when nobody answered but somebody was asked. */
static void judge(struct forward_walk *w)
{
    w->right = w->option < 0 ? 0 : -1;
    for (int i = 0; i < w->n_asked; i++)
        if (w->option >= 0 && w->replies[i].option == w->option && w->replies[i].right >= 0)
            w->right = w->replies[i].right;
}

int forward_question(struct forward_walk *walk, const struct forward *f, int64_t question,
                     int64_t row, const float *scores, struct err *err)
{
    *walk = (struct forward_walk){.option = -1, .right = -1};
    walk->n_asked = vote_call(walk->asked, scores, f->N, f->subset, f->k);
    for (int i = 0; i < walk->n_asked; i++)
        if (f->combine == FORWARD_WEIGHTED && !(scores[walk->asked[i]] >= 0))
            return err_set(err, MOE2_ENUMERIC,
                           "question %lld: the score of expert %d is %g, wanted at least 0 for "
                           "weighted votes",
                           (long long)question, walk->asked[i], (double)scores[walk->asked[i]]);
    int rc = f->source.ask(walk->replies, f->source.ctx, question, walk->asked, walk->n_asked, err);
    if (rc)
        return rc;
    if (f->combine == FORWARD_LEARNED)
        learned(walk, f, row);
    else
        vote(walk, scores, f->combine == FORWARD_WEIGHTED ? VOTE_WEIGHTED : VOTE_MAJORITY);
    judge(walk);
    return 0;
}
