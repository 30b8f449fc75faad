/* BERT's normal form and words: see bert.h. One pass over the text, a character at a time; ASCII
 * takes a short way. Canonical ordering touches only runs of characters that have a combining class
 * and are no marks, which are rare: they are held back until the run ends. */
#include "text/bert.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "text/unicode.h"

enum { MAX_DECOMPOSED = 8 }; /* code points of one, all levels of decomposition taken; 4 happen */

int char_tables_init(struct char_tables *t, struct err *err)
{
    return unicode_table_new(&t->classes, err);
}

int char_tables_bert(struct char_tables *t, struct err *err)
{
    return t->bert ? 0 : unicode_runs_new(&t->bert, bert_runs, n_bert_runs, err);
}

void char_tables_release(struct char_tables *t)
{
    free(t->classes);
    free(t->bert);
    *t = (struct char_tables){0};
}

/* The last row that begins at or below code_point, or NULL. */
static const struct bert_lower *lower_row(uint32_t code_point)
{
    int low = 0, high = n_bert_lower;
    while (low < high) {
        int middle = (low + high) / 2;
        if (bert_lower[middle].first <= code_point)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &bert_lower[low - 1] : NULL;
}

size_t bert_put_lower(uint8_t *out, uint32_t c)
{
    if (c == 0x130) { /* İ: i and a dot above, the only one that becomes two */
        memcpy(out, "i\xcc\x87", 3);
        return 3;
    }
    const struct bert_lower *row = lower_row(c);
    if (row && c <= row->last && (c - row->first) % (uint32_t)row->step == 0)
        c += (uint32_t)row->delta;
    return utf8_put(out, c);
}

/* ---- normal form ---- */

struct writer {
    struct buf *out;
    const struct bert_rules *rules;
    const uint8_t *table;
    struct buf held; /* uint32_t code points that may still change places */
};

static int put(struct writer *w, uint32_t c, struct err *err)
{
    int rc = buf_reserve(w->out, 4, err);
    if (rc)
        return rc;
    uint8_t *p = (uint8_t *)w->out->bytes + w->out->n;
    bool lower = w->rules->lowercase && w->table[c] & BERT_UPPER;
    w->out->n += lower ? bert_put_lower(p, c) : utf8_put(p, c);
    return 0;
}

static unsigned combining_class(uint32_t c)
{
    return (unsigned)utf8proc_get_property((utf8proc_int32_t)c)->combining_class & 255;
}

/* Writes what was held back, by combining class, equal ones in the order they came. */
static int flush_held(struct writer *w, struct err *err)
{
    size_t n = w->held.n / sizeof(uint32_t);
    const uint32_t *held = (const uint32_t *)(const void *)w->held.bytes;
    bool present[256] = {false};
    for (size_t i = 0; i < n; i++)
        present[combining_class(held[i])] = true;
    int rc = 0;
    for (unsigned class = 0; class < 256 && !rc; class ++)
        for (size_t i = 0; i < n && present[class] && !rc; i++)
            if (combining_class(held[i]) == class)
                rc = put(w, held[i], err);
    buf_clear(&w->held);
    return rc;
}

/* A decomposed character: marks go, the few others that move are held back. */
static int put_stripped(struct writer *w, uint32_t c, struct err *err)
{
    uint8_t class = w->table[c];
    if (class & BERT_MARK) /* those between two that move do not keep them apart */
        return combining_class(c) || !w->held.n ? 0 : flush_held(w, err);
    if (class & BERT_MOVES)
        return buf_append(&w->held, &c, sizeof c, err);
    int rc = w->held.n ? flush_held(w, err) : 0;
    return rc ? rc : put(w, c, err);
}

static int put_decomposed(struct writer *w, uint32_t c, struct err *err)
{
    if (!w->rules->strip_accents)
        return put(w, c, err);
    if (!(w->table[c] & BERT_DECOMPOSES))
        return put_stripped(w, c, err);
    utf8proc_int32_t parts[MAX_DECOMPOSED];
    int last_class = 0, rc = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, MAX_DECOMPOSED,
                                                 UTF8PROC_DECOMPOSE, &last_class);
    if (n < 0 || n > MAX_DECOMPOSED)
        return put_stripped(w, c, err);
    for (utf8proc_ssize_t i = 0; i < n && !rc; i++)
        rc = put_stripped(w, (uint32_t)parts[i], err);
    return rc;
}

static int put_character(struct writer *w, uint32_t c, struct err *err)
{
    uint8_t class = w->table[c];
    if (w->rules->clean && class & BERT_REMOVED)
        return 0;
    if (w->rules->clean && class & BERT_SPACE)
        c = ' ';
    if (!(w->rules->chinese && class & BERT_CHINESE))
        return put_decomposed(w, c, err);
    int rc = put_decomposed(w, ' ', err);
    if (!rc)
        rc = put_decomposed(w, c, err);
    return rc ? rc : put_decomposed(w, ' ', err);
}

/* The run of ASCII that begins at text, as it is written; the room is reserved. Stops before
 * anything else. */
static size_t put_ascii(struct writer *w, const uint8_t *text, size_t n)
{
    const struct bert_rules *rules = w->rules;
    char *p = w->out->bytes + w->out->n;
    size_t i = 0;
    for (; i < n && text[i] < 0x80; i++) {
        uint8_t c = text[i];
        if (c < ' ' || c == 0x7f) {
            if (rules->clean && w->table[c] & BERT_REMOVED)
                continue;
            c = rules->clean && w->table[c] & BERT_SPACE ? ' ' : c;
        }
        *p++ = (char)(rules->lowercase && c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    w->out->n = (size_t)(p - w->out->bytes);
    return i;
}

int bert_normalize(struct buf *out, const uint8_t *text, size_t n, const struct bert_rules *rules,
                   const uint8_t *table, struct err *err)
{
    struct writer w = {.out = out, .rules = rules, .table = table};
    int rc = buf_reserve(out, n, err);
    for (size_t at = 0, length; at < n && !rc; at += length) {
        if (text[at] < 0x80 && !w.held.n) {
            rc = buf_reserve(out, n - at, err);
            length = rc ? 0 : put_ascii(&w, text + at, n - at);
            continue;
        }
        rc = put_character(&w, utf8_get(text + at, &length), err);
    }
    if (!rc)
        rc = flush_held(&w, err);
    buf_release(&w.held);
    return rc;
}

/* ---- words ---- */

size_t split_bert(const uint8_t *text, size_t at, size_t end, const uint8_t *classes)
{
    size_t length;
    uint8_t kind = classes[utf8_get(text + at, &length)] & (BERT_SPACE | BERT_PUNCT);
    at += length;
    if (kind & BERT_PUNCT)
        return at;
    while (at < end && (classes[utf8_get(text + at, &length)] & (BERT_SPACE | BERT_PUNCT)) == kind)
        at += length;
    return at;
}
