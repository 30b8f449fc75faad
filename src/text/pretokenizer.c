/* The stages of a pre-tokenizer, one within the other: see split.h. What a stage cuts is, for the
 * next one, a text of its own. */
#include <string.h>

#include "text/split.h"
#include "text/unicode.h"

/* One walk: what all stages share. */
struct walk {
    const struct pretokenizer *p;
    struct split_scratch *scratch;
    const uint8_t *classes;
    split_take *take;
    void *ctx;
    const uint8_t *first; /* where a piece must begin to be the first one; NULL: there is none */
};

/* Cut pieces on their way to the next stage, of which a behaviour may join two neighbours. */
struct joiner {
    const struct walk *w;
    const struct split_stage *stage;
    int next_stage;
    const uint8_t *text;
    size_t begin, end; /* the piece held back, if held */
    bool held, held_match, last_match;
};

static int run_stage(const struct walk *w, int stage_idx, const uint8_t *text, size_t n,
                     struct err *err);

/* ByteLevel: the space in front, then its own expression. */
static int byte_level(const struct walk *w, const uint8_t *text, size_t n, struct err *err)
{
    if (w->p->add_prefix_space && text[0] != ' ') {
        struct buf *b = &w->scratch->prefixed;
        buf_clear(b);
        int rc = buf_append(b, " ", 1, err);
        if (!rc)
            rc = buf_append(b, text, n, err);
        if (rc)
            return rc;
        text = (const uint8_t *)b->bytes;
        n++;
    }
    if (!w->p->use_regex)
        return w->take(w->ctx, text, n, err);
    int rc = 0;
    for (size_t at = 0, next; at < n && !rc; at = next) {
        next = split_gpt2(text, at, n, w->classes);
        rc = w->take(w->ctx, text + at, next - at, err);
    }
    return rc;
}

/* Text with its spaces as signs, and one in front where it belongs, in scratch. */
static int put_signs(const struct walk *w, const uint8_t *text, size_t n, struct err *err)
{
    const struct split_metaspace *m = &w->p->metaspace;
    struct buf *b = &w->scratch->prefixed;
    buf_clear(b);
    bool front = m->prepend == SPLIT_PREPEND_ALWAYS ||
                 (m->prepend == SPLIT_PREPEND_FIRST && text == w->first);
    bool there = text[0] == ' ' || (n >= m->n_sign && memcmp(text, m->sign, m->n_sign) == 0);
    int rc = front && !there ? buf_append(b, m->sign, m->n_sign, err) : 0;
    for (size_t at = 0; at < n && !rc;) {
        const uint8_t *space = memchr(text + at, ' ', n - at);
        size_t next = space ? (size_t)(space - text) : n;
        rc = buf_append(b, text + at, next - at, err);
        if (!rc && space)
            rc = buf_append(b, m->sign, m->n_sign, err);
        at = next + (space != NULL);
    }
    return rc;
}

/* The next sign from at on, or end. */
static size_t next_sign(const struct split_metaspace *m, const uint8_t *text, size_t at, size_t end)
{
    const uint8_t *found = at < end ? memmem(text + at, end - at, m->sign, m->n_sign) : NULL;
    return found ? (size_t)(found - text) : end;
}

static int metaspace(const struct walk *w, const uint8_t *text, size_t n, struct err *err)
{
    const struct split_metaspace *m = &w->p->metaspace;
    int rc = put_signs(w, text, n, err);
    if (rc)
        return rc;
    const uint8_t *signs = (const uint8_t *)w->scratch->prefixed.bytes;
    size_t end = w->scratch->prefixed.n;
    if (!m->cut)
        return w->take(w->ctx, signs, end, err);
    for (size_t at = 0, next; at < end && !rc; at = next) {
        next = next_sign(m, signs, at, end);
        next = next == at ? next_sign(m, signs, at + m->n_sign, end) : next;
        rc = w->take(w->ctx, signs + at, next - at, err);
    }
    return rc;
}

static int run_last(const struct walk *w, const uint8_t *text, size_t n, struct err *err)
{
    return w->p->last == SPLIT_LAST_METASPACE ? metaspace(w, text, n, err)
                                              : byte_level(w, text, n, err);
}

static int joiner_flush(struct joiner *j, struct err *err)
{
    bool empty = !j->held || j->begin == j->end;
    j->held = false;
    return empty ? 0 : run_stage(j->w, j->next_stage, j->text + j->begin, j->end - j->begin, err);
}

/* Whether the held piece takes the next one in, which is a match or what lies between two. */
static bool joins(const struct joiner *j, bool is_match)
{
    switch (j->stage->behavior) {
    case SPLIT_MERGED_WITH_PREVIOUS:
        return j->held && is_match && !j->last_match;
    case SPLIT_MERGED_WITH_NEXT:
        return j->held && j->held_match && !is_match;
    case SPLIT_CONTIGUOUS:
        return j->held && is_match == j->last_match;
    default:
        return false;
    }
}

static int joiner_put(struct joiner *j, size_t begin, size_t end, bool is_match, struct err *err)
{
    is_match ^= j->stage->invert;
    if (j->stage->behavior == SPLIT_REMOVED && is_match)
        return 0;
    bool join = joins(j, is_match);
    j->last_match = is_match;
    if (join) {
        j->end = end;
        j->held_match = false;
        return 0;
    }
    int rc = joiner_flush(j, err);
    j->begin = begin;
    j->end = end;
    j->held = true;
    j->held_match = is_match;
    return rc;
}

static int run_regex(const struct walk *w, int stage_idx, const uint8_t *text, size_t n,
                     struct err *err)
{
    const struct split_stage *stage = &w->p->stages[stage_idx];
    struct joiner j = {.w = w, .stage = stage, .next_stage = stage_idx + 1, .text = text};
    struct split_search search = {0};
    size_t done = 0, begin, end;
    int rc = 0, found;
    while ((found = split_regex_next(&begin, &end, &search, stage->regex, w->scratch, text, n,
                                     err)) > 0) {
        if (done < begin)
            rc = joiner_put(&j, done, begin, false, err);
        if (!rc)
            rc = joiner_put(&j, begin, end, true, err);
        if (rc)
            return rc;
        done = end;
    }
    if (found < 0)
        return found;
    if (done < n)
        rc = joiner_put(&j, done, n, false, err);
    return rc ? rc : joiner_flush(&j, err);
}

static int run_stage(const struct walk *w, int stage_idx, const uint8_t *text, size_t n,
                     struct err *err)
{
    if (stage_idx == w->p->n_stages)
        return run_last(w, text, n, err);
    const struct split_stage *stage = &w->p->stages[stage_idx];
    if (!stage->fast)
        return run_regex(w, stage_idx, text, n, err);
    const uint8_t *classes = stage->classes ? stage->classes : w->classes;
    int rc = 0;
    for (size_t at = 0, next, length; at < n && !rc; at = next) {
        next = stage->fast(text, at, n, classes);
        if (!(stage->drops && classes[utf8_get(text + at, &length)] & stage->drops))
            rc = run_stage(w, stage_idx + 1, text + at, next - at, err);
    }
    return rc;
}

int pretokenize(const struct pretokenizer *p, struct split_scratch *s, const uint8_t *text,
                size_t n, bool first, const uint8_t *classes, split_take *take, void *ctx,
                struct err *err)
{
    struct walk w = {p, s, classes, take, ctx, first ? text : NULL};
    return n ? run_stage(&w, 0, text, n, err) : 0;
}

split_next *pretokenizer_fast(const struct pretokenizer *p)
{
    if (p->last == SPLIT_LAST_METASPACE || p->add_prefix_space || p->n_stages + p->use_regex > 1)
        return NULL;
    return p->use_regex ? split_gpt2 : p->n_stages ? p->stages[0].fast : split_none;
}

void pretokenizer_release(struct pretokenizer *p)
{
    for (int i = 0; i < p->n_stages; i++)
        split_regex_free(p->stages[i].regex);
    memset(p, 0, sizeof *p);
}
