/* Counting words, sources and subjects by cluster: see cluster_names.h. */
#include "pipeline/cluster_names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/arena.h"
#include "io/name_map.h"
#include "text/unicode.h"

enum {
    LEAST = 3, /* characters of a word */
    MOST = 32,
    MIN_ROWS = 2, /* a word of one row is typical of nothing */
};

/* Terms and how many rows of each cluster hold them. */
struct counts {
    struct name_map map;
    int32_t *n;    /* [capacity, k] */
    int64_t *seen; /* [capacity] the last row that held it */
    int64_t capacity, most;
};

struct cluster_names {
    int64_t k, n_rows;
    int64_t *rows; /* [k] */
    struct counts words, sources, subjects;
    struct arena text;
    struct cluster_about *about; /* [k] */
};

int cluster_names_new(struct cluster_names **out, int64_t k, struct err *err)
{
    struct cluster_names *c = calloc(1, sizeof *c);
    if (c) {
        c->k = k;
        c->rows = calloc((size_t)k, sizeof *c->rows);
        c->about = calloc((size_t)k, sizeof *c->about);
        c->words.most = c->sources.most = c->subjects.most =
            CLUSTER_MAX_COUNTS / k < CLUSTER_MAX_WORDS ? CLUSTER_MAX_COUNTS / k : CLUSTER_MAX_WORDS;
    }
    if (!c || !c->rows || !c->about) {
        cluster_names_free(c);
        return err_set(err, MOE2_ELIMIT, "no memory for the words of %lld clusters", (long long)k);
    }
    *out = c;
    return 0;
}

static void counts_release(struct counts *t)
{
    name_map_release(&t->map);
    free(t->n);
    free(t->seen);
}

void cluster_names_free(struct cluster_names *c)
{
    if (!c)
        return;
    counts_release(&c->words);
    counts_release(&c->sources);
    counts_release(&c->subjects);
    arena_release(&c->text);
    free(c->rows);
    free(c->about);
    free(c);
}

/* ---- counting ---- */

static int grow(struct counts *t, int64_t k, struct err *err)
{
    int64_t more = t->capacity ? 2 * t->capacity : 64;
    int32_t *n = realloc(t->n, (size_t)(more * k) * sizeof *n);
    if (n)
        t->n = n;
    int64_t *seen = n ? realloc(t->seen, (size_t)more * sizeof *seen) : NULL;
    if (!seen)
        return err_set(err, MOE2_ELIMIT, "no memory for the words of the clusters");
    t->seen = seen;
    t->capacity = more;
    return 0;
}

static int count(struct cluster_names *c, struct counts *t, const char *term, int64_t label,
                 struct err *err)
{
    int64_t idx = name_map_find(&t->map, term);
    if (idx < 0 && t->map.n >= t->most)
        return 0;
    if (idx < 0) {
        bool is_new;
        char *own = arena_strdup(&c->text, term, err);
        int rc = own ? name_map_add(&t->map, &idx, &is_new, own, err) : MOE2_ELIMIT;
        if (!rc && idx >= t->capacity)
            rc = grow(t, c->k, err);
        if (rc)
            return rc;
        memset(t->n + idx * c->k, 0, (size_t)c->k * sizeof *t->n);
        t->seen[idx] = 0;
    }
    if (t->seen[idx] != c->n_rows) {
        t->seen[idx] = c->n_rows;
        t->n[idx * c->k + label]++;
    }
    return 0;
}

static int count_words(struct cluster_names *c, const char *text, int64_t label, struct err *err)
{
    uint8_t word[4 * MOST + 4];
    size_t n_word = 0, n_chars = 0;
    bool letter = false;
    int rc = 0;
    for (const uint8_t *p = (const uint8_t *)text; !rc;) {
        size_t n = 1;
        uint32_t u = *p ? utf8_get(p, &n) : 0;
        if (u && u != '_' && unicode_is_word(u)) {
            letter |= !unicode_is_numeric(u);
            if (n_chars++ < MOST)
                n_word += utf8_put(word + n_word, (uint32_t)utf8proc_tolower((int32_t)u));
        } else {
            word[n_word] = 0;
            if (n_chars >= LEAST && n_chars <= MOST && letter)
                rc = count(c, &c->words, (const char *)word, label, err);
            n_word = n_chars = 0;
            letter = false;
        }
        if (!u)
            break;
        p += n;
    }
    return rc;
}

static int count_text(struct cluster_names *c, const json_t *row, const char *key, int64_t label,
                      struct err *err)
{
    const json_t *v = json_object_get(row, key), *item;
    size_t i;
    int rc = json_is_string(v) ? count_words(c, json_string_value(v), label, err) : 0;
    if (json_is_array(v))
        json_array_foreach(v, i, item) if (!rc && json_is_string(item)) rc =
            count_words(c, json_string_value(item), label, err);
    return rc;
}

static int count_field(struct cluster_names *c, struct counts *t, const json_t *row,
                       const char *key, const char *other, int64_t label, struct err *err)
{
    const json_t *v = json_object_get(row, key);
    if (!json_is_string(v))
        v = json_object_get(row, other);
    return json_is_string(v) ? count(c, t, json_string_value(v), label, err) : 0;
}

int cluster_names_add(struct cluster_names *c, const json_t *row, int64_t label, struct err *err)
{
    static const char *const texts[] = {"text", "question", "choices", "options"};
    int rc = 0;
    c->n_rows++;
    c->rows[label]++;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && !rc; i++)
        rc = count_text(c, row, texts[i], label, err);
    if (!rc)
        rc = count_field(c, &c->sources, row, "source", "src", label, err);
    if (!rc)
        rc = count_field(c, &c->subjects, row, "subject", "category", label, err);
    return rc;
}

/* ---- what stands out ---- */

/* The terms of a cluster with the largest p·ln(p/q), or the most rows (by_rows). Returns how many. */
static int top(struct cluster_term *out, int most, const struct cluster_names *c,
               const struct counts *t, const int64_t *all, int64_t cluster, bool by_rows)
{
    double score[CLUSTER_WORDS];
    int n = 0;
    for (int64_t w = 0; w < t->map.n; w++) {
        int64_t rows = t->n[w * c->k + cluster];
        if (rows < (by_rows ? 1 : MIN_ROWS))
            continue;
        double p = (double)rows / (double)c->rows[cluster];
        double v = by_rows ? (double)rows : p * log(p * (double)c->n_rows / (double)all[w]);
        int at = n;
        while (at > 0 && v > score[at - 1])
            at--;
        if (at >= most || v <= 0)
            continue;
        n += n < most;
        for (int i = n - 1; i > at; i--) {
            score[i] = score[i - 1];
            out[i] = out[i - 1];
        }
        score[at] = v;
        out[at] = (struct cluster_term){t->map.names[w], rows};
    }
    return n;
}

static void make_name(struct cluster_about *a)
{
    size_t n = 0;
    a->name[0] = 0;
    for (int i = 0; i < a->n_words && i < 3; i++)
        n += (size_t)snprintf(a->name + n, 40, "%s%.36s", i ? ", " : "", a->words[i].text);
    const char *where = a->n_subjects  ? a->subjects[0].text
                        : a->n_sources ? a->sources[0].text
                                       : "";
    if (*where)
        snprintf(a->name + n, sizeof a->name - n, n ? " (%.32s)" : "%.32s", where);
}

/* [map.n] rows that hold each term; the caller's. */
static int64_t *totals(const struct counts *t, int64_t k)
{
    int64_t *all = calloc((size_t)t->map.n + 1, sizeof *all);
    for (int64_t i = 0; all && i < t->map.n * k; i++)
        all[i / k] += t->n[i];
    return all;
}

int cluster_names_finish(struct cluster_names *c, struct err *err)
{
    int64_t *words = totals(&c->words, c->k);
    if (!words)
        return err_set(err, MOE2_ELIMIT, "no memory for the words of the clusters");
    for (int64_t j = 0; j < c->k; j++) {
        struct cluster_about *a = &c->about[j];
        a->n_words = top(a->words, CLUSTER_WORDS, c, &c->words, words, j, false);
        a->n_sources = top(a->sources, CLUSTER_SOURCES, c, &c->sources, NULL, j, true);
        a->n_subjects = top(a->subjects, CLUSTER_SOURCES, c, &c->subjects, NULL, j, true);
        make_name(a);
    }
    free(words);
    return 0;
}

const struct cluster_about *cluster_names_of(const struct cluster_names *c, int64_t cluster)
{
    return &c->about[cluster];
}
