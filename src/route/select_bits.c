/* Prompts as bits, 64 a word: see select_search.h. One subset is then worth |S|² passes over n/64 words. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "route/select_search.h"

int select_tile_init(struct select_tile *t, int N, struct err *err)
{
    *t = (struct select_tile){
        .score = aligned_alloc(64, (size_t)N * SELECT_STRIDE * sizeof *t->score),
        .right = aligned_alloc(64, (size_t)N * SELECT_STRIDE),
    };
    return t->score && t->right ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a tile of prompts");
}

void select_tile_release(struct select_tile *t)
{
    free(t->score);
    free(t->right);
}

/* Whether expert i, called alone on prompt q, makes it right. */
static inline uint8_t right_alone(const struct select_problem *p, int64_t q, int i)
{
    int64_t at = q * p->N + i;
    if (p->right[at] != 1)
        return 0;
    if (p->objective == SELECT_COVERAGE || p->combine == VOTE_TOP1)
        return 1;
    return p->answer ? p->answer[at] >= 0 : p->combine != VOTE_WEIGHTED || p->score[at] > 0;
}

/* Sixteen prompts at a time: the rows lie in the cache, the columns are written in one piece. */
static void turn_scores(struct select_tile *t, const struct select_problem *p, int64_t first)
{
    int N = p->N;
    for (int64_t from = 0; from < t->n; from += 16) {
        int64_t n = t->n - from < 16 ? t->n - from : 16;
        const float *score = p->score + (first + from) * N;
        for (int i = 0; i < N; i++) {
            float *to = t->score + i * SELECT_STRIDE + from;
            for (int64_t q = 0; q < n; q++)
                to[q] = score[q * N + i];
        }
    }
}

static void turn_right(struct select_tile *t, const struct select_state *s, int64_t first)
{
    const struct select_problem *p = s->p;
    bool plain = p->objective == SELECT_COVERAGE || p->combine == VOTE_TOP1;
    for (int i = 0; i < p->N; i++) {
        uint8_t *to = t->right + i * SELECT_STRIDE;
        for (int64_t q = 0; q < t->n && plain; q++)
            to[q] = (uint8_t)(s->right[first + q] >> i & 1);
        for (int64_t q = 0; q < t->n && !plain; q++)
            to[q] = right_alone(p, first + q, i);
    }
}

void select_tile_load(struct select_tile *t, const struct select_state *s, int64_t first)
{
    t->n = s->p->n - first < SELECT_TILE ? s->p->n - first : SELECT_TILE;
    turn_right(t, s, first);
    if (s->p->score)
        turn_scores(t, s->p, first);
    for (int64_t q = 0; q < t->n && s->can; q++)
        for (uint64_t m = s->all & ~s->can[first + q]; m; m &= m - 1) {
            int i = __builtin_ctzll(m);
            t->right[i * SELECT_STRIDE + q] = 0;
            t->score[i * SELECT_STRIDE + q] = -INFINITY;
        }
}

static void fill_right(struct select_bits *b, const struct select_tile *t, int64_t first)
{
    for (int i = 0; i < b->N; i++) {
        uint64_t *row = b->right + i * b->n_words;
        const uint8_t *right = t->right + i * SELECT_STRIDE;
        for (int64_t q = 0; q < t->n; q++)
            row[(first + q) / 64] |= (uint64_t)right[q] << (first + q) % 64;
    }
}

static void fill_above(struct select_bits *b, const struct select_tile *t, int64_t first)
{
    for (int i = 0; i < b->N; i++)
        for (int j = 0; j < b->N; j++)
            if (i != j)
                b->ops->above_bits(b->above + (i * b->N + j) * b->n_words + first / 64,
                                   t->score + i * SELECT_STRIDE, t->score + j * SELECT_STRIDE,
                                   j < i, t->n);
}

int select_bits_init(struct select_bits *b, const struct select_state *s,
                     const struct select_ops *ops, struct err *err)
{
    struct select_tile t = {0};
    int64_t N = s->p->N, words = (s->p->n + 63) / 64;
    bool coverage = s->p->objective == SELECT_COVERAGE;
    *b = (struct select_bits){.ops = ops, .N = (int)N, .n_words = words};
    if (words * N * (coverage ? 1 : N + 1) * 8 > SELECT_MAX_BITS_BYTES)
        return 0;
    int rc = select_tile_init(&t, (int)N, err);
    b->right = calloc((size_t)(N * words), sizeof *b->right);
    b->above = coverage ? NULL : calloc((size_t)(N * N * words), sizeof *b->above);
    b->scratch = malloc((size_t)words * sizeof *b->scratch);
    if (!rc && (!b->right || !b->scratch || (!coverage && !b->above)))
        rc = err_set(err, MOE2_ELIMIT, "no memory for %lld prompts", (long long)s->p->n);
    for (int64_t first = 0; first < s->p->n && !rc; first += SELECT_TILE) {
        select_tile_load(&t, s, first);
        fill_right(b, &t, first);
        if (b->above)
            fill_above(b, &t, first);
    }
    select_tile_release(&t);
    return rc;
}

void select_bits_release(struct select_bits *b)
{
    free(b->right);
    free(b->above);
    free(b->scratch);
    *b = (struct select_bits){0};
}

int64_t select_bits_correct(struct select_bits *b, uint64_t members)
{
    int64_t correct = 0;
    size_t bytes = (size_t)b->n_words * sizeof(uint64_t);
    memset(b->scratch, 0, bytes);
    for (uint64_t m = members; m; m &= m - 1) {
        int i = __builtin_ctzll(m);
        const uint64_t *right = b->right + i * b->n_words;
        if (!b->above) {
            b->ops->or_into(b->scratch, right, b->n_words);
            continue;
        }
        memset(b->scratch, 0, bytes);
        for (uint64_t o = members & ~(1ull << i); o; o &= o - 1)
            b->ops->or_into(b->scratch, b->above + (i * b->N + __builtin_ctzll(o)) * b->n_words,
                            b->n_words);
        correct += b->ops->count_without(right, b->scratch, b->n_words);
    }
    return b->above ? correct : b->ops->count(b->scratch, b->n_words);
}
