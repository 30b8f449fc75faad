/* The walk of unigram.h: forward, the best way to every end of a character; then back along it. */
#include "text/unigram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double UNK_PENALTY = 10;

/* The best way to cut what ends here. */
struct unigram_end {
    double score;
    size_t begin; /* of its last token */
    int32_t id;   /* of that token; TRIE_NONE: no way leads here yet */
};

static void find_bytes(struct unigram *u)
{
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        int n = snprintf(name, sizeof name, "<0x%02X>", byte);
        u->byte_id[byte] = vocab_find(u->vocab, name, (size_t)n);
    }
}

int unigram_init(struct unigram *u, const struct vocab *vocab, double *scores, int32_t n,
                 int32_t unk_id, bool byte_fallback, struct err *err)
{
    *u = (struct unigram){.vocab = vocab,
                          .scores = scores,
                          .n_scores = n,
                          .unk_id = unk_id,
                          .byte_fallback = byte_fallback};
    size_t n_bytes = 0;
    double least = 0;
    for (int32_t id = 0; id < n; id++) {
        n_bytes += vocab->written[id].n;
        least = id == 0 || scores[id] < least ? scores[id] : least;
    }
    int rc = trie_init(&u->trie, n_bytes, err);
    if (rc)
        return rc;
    for (int32_t id = 0; id < n; id++)
        if (vocab->written[id].n)
            trie_add(&u->trie, 0, vocab->written[id].p, vocab->written[id].n, id);
    u->unk_score = least - UNK_PENALTY;
    find_bytes(u);
    return 0;
}

void unigram_release(struct unigram *u)
{
    trie_release(&u->trie);
    free(u->scores);
    memset(u, 0, sizeof *u);
}

void unigram_scratch_release(struct unigram_scratch *s)
{
    free(s->ends);
    memset(s, 0, sizeof *s);
}

static int reserve(struct unigram_scratch *s, size_t n, struct err *err)
{
    if (s->n_ends >= n)
        return 0;
    size_t n_new = n < 256 ? 256 : n + n / 2;
    struct unigram_end *ends = realloc(s->ends, n_new * sizeof *ends);
    if (!ends)
        return err_set(err, MOE2_ELIMIT, "no memory for a piece of %zu bytes", n);
    s->ends = ends;
    s->n_ends = n_new;
    return 0;
}

static inline void offer(struct unigram_end *end, double score, size_t begin, int32_t id)
{
    if (end->id == TRIE_NONE || score > end->score)
        *end = (struct unigram_end){score, begin, id};
}

static size_t char_length(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

/* All tokens that begin at at; says whether the character there is one of them. */
static bool offer_tokens(struct unigram_end *ends, const struct unigram *u, const uint8_t *piece,
                         size_t at, size_t n, size_t one_char)
{
    bool alone = false;
    int32_t node = 0;
    for (size_t i = at; i < n; i++) {
        node = trie_step(&u->trie, node, piece[i]);
        if (node == TRIE_NONE)
            break;
        int32_t id = u->trie.ids[node];
        if (id == TRIE_NONE)
            continue;
        offer(&ends[i + 1], ends[at].score + u->scores[id], at, id);
        alone |= i + 1 - at == one_char;
    }
    return alone;
}

static int walk(struct unigram_end *ends, const struct unigram *u, const uint8_t *piece, size_t n,
                struct err *err)
{
    for (size_t i = 0; i <= n; i++)
        ends[i].id = TRIE_NONE;
    ends[0].score = 0;
    for (size_t at = 0, one_char; at < n; at += one_char) {
        one_char = char_length(piece[at]);
        one_char = one_char < n - at ? one_char : n - at;
        if (offer_tokens(ends, u, piece, at, n, one_char))
            continue;
        if (u->unk_id < 0)
            return err_set(err, MOE2_EFORMAT,
                           "\"%.*s\" is no token and the model has no unknown token", (int)one_char,
                           (const char *)piece + at);
        offer(&ends[at + one_char], ends[at].score + u->unk_score, at, u->unk_id);
    }
    return 0;
}

/* The ids of a stretch of unknown characters, written to end before out + *from. */
static void put_unknown(int32_t *out, size_t *from, const struct unigram *u, const uint8_t *text,
                        size_t n)
{
    int32_t id = vocab_find(u->vocab, (const char *)text, n);
    bool as_bytes = id < 0 && u->byte_fallback;
    for (size_t i = 0; i < n && as_bytes; i++)
        as_bytes = u->byte_id[text[i]] >= 0;
    if (!as_bytes) {
        out[--*from] = id >= 0 && id < u->n_scores ? id : u->unk_id;
        return;
    }
    for (size_t i = n; i-- > 0;)
        out[--*from] = u->byte_id[text[i]];
}

int unigram_encode(int32_t *out, size_t *n_out, const struct unigram *u, struct unigram_scratch *s,
                   const uint8_t *piece, size_t n, struct err *err)
{
    int rc = reserve(s, n + 1, err);
    if (!rc)
        rc = walk(s->ends, u, piece, n, err);
    if (rc)
        return rc;
    size_t from = n; /* ids are written from the end of out, where the way back begins */
    for (size_t end = n; end > 0;) {
        const struct unigram_end *e = &s->ends[end];
        size_t begin = e->begin;
        if (e->id != u->unk_id) {
            out[--from] = e->id;
            end = begin;
            continue;
        }
        while (begin > 0 && s->ends[begin].id == u->unk_id)
            begin = s->ends[begin].begin;
        put_unknown(out, &from, u, piece + begin, end - begin);
        end = begin;
    }
    *n_out = n - from;
    memmove(out, out + from, *n_out * sizeof *out);
    return 0;
}
