/* Votes: see vote.h. */
#include "route/vote.h"

#include <assert.h>
#include <string.h>

static const char *const NAMES[VOTE_N_KINDS] = {"top1", "vote", "weighted"};

const char *vote_name(enum vote_kind kind)
{
    return NAMES[kind];
}

int vote_find(enum vote_kind *kind, const char *name, const char *flag, struct err *err)
{
    for (int i = 0; i < VOTE_N_KINDS; i++)
        if (strcmp(name, NAMES[i]) == 0) {
            *kind = (enum vote_kind)i;
            return 0;
        }
    return err_set(err, MOE2_ECONFIG, "%s is \"%.40s\", wanted top1, vote or weighted", flag, name);
}

int vote_call(int *called, const float *scores, int N, uint64_t subset, int k)
{
    int n = 0;
    for (int e = 0; e < N; e++) {
        if (!(subset >> e & 1))
            continue;
        int at = n < k ? n++ : k;
        for (; at > 0 && scores[e] > scores[called[at - 1]]; at--)
            if (at < k)
                called[at] = called[at - 1];
        if (at < k)
            called[at] = e;
    }
    return n;
}

bool vote_by_outcome(enum vote_kind kind, const bool *right, const float *score, int n)
{
    double sum[2] = {0, 0};
    int count[2] = {0, 0};
    if (kind == VOTE_TOP1)
        return n > 0 && right[0];
    for (int j = 0; j < n; j++) {
        count[right[j]]++;
        sum[right[j]] += (double)score[j];
    }
    if (kind == VOTE_MAJORITY && count[0] != count[1])
        return count[1] > count[0];
    return sum[1] > sum[0];
}

int vote_by_answer(enum vote_kind kind, const int32_t *answer, const float *score, int n)
{
    int first[VOTE_MAX], count[VOTE_MAX], n_answers = 0, best = 0;
    double sum[VOTE_MAX];
    assert(n <= VOTE_MAX);
    if (kind == VOTE_TOP1)
        return n > 0 && answer[0] >= 0 ? 0 : -1;
    for (int j = 0; j < n; j++) {
        if (answer[j] < 0)
            continue;
        int a = 0;
        while (a < n_answers && answer[first[a]] != answer[j])
            a++;
        if (a == n_answers) {
            first[n_answers] = j;
            count[n_answers] = 0;
            sum[n_answers++] = 0;
        }
        count[a]++;
        sum[a] += (double)score[j];
    }
    for (int a = 1; a < n_answers; a++) {
        bool more = kind == VOTE_MAJORITY && count[a] != count[best];
        if (more ? count[a] > count[best] : sum[a] > sum[best])
            best = a;
    }
    return n_answers ? first[best] : -1;
}
