/* Synthetic questions and answers: see synthetic.h.
 *
 * Expert e is right on question q of topic t with probability 1/(1 + exp(d_q − a_e − s_et)): strength a_e, a skill s_et for the
 * topic, and the question's difficulty d_q. Wrong answers prefer one tempting option, so that votes are no mere counting.
 */
#include "pipeline/synthetic.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"
#include "io/curves.h"
#include "io/json_util.h"

enum {
    N_CATEGORIES = 8,
    TOPICS_EACH = 4,
    N_TOPICS = 32,
    N_OPTIONS = 4,
    WORDS_A_TOPIC = 24,
    N_COMMON = 60
};

static const char *const categories[N_CATEGORIES] = {"tides",   "engines", "grammar", "orchards",
                                                     "markets", "optics",  "bridges", "dialects"};

const char *synthetic_expert(int i)
{
    static const char *const names[SYNTHETIC_EXPERTS] = {
        "synthetic-0", "synthetic-1", "synthetic-2", "synthetic-3",
        "synthetic-4", "synthetic-5", "synthetic-6", "synthetic-7"};
    return names[i];
}

/* ---- words ---- */

/* Word number i of a topic (−1: common to all): three or four syllables. */
static int put_word(struct buf *out, int topic, int i, struct err *err)
{
    static const char *const syllables[] = {"ba", "ce", "di", "fo", "gu", "la", "me",  "ni",
                                            "po", "ru", "sa", "te", "vi", "zo", "bru", "cla"};
    uint64_t x = rng_at(0x517, (uint64_t)(topic + 1), (uint64_t)i, 1);
    int rc = 0;
    for (int k = 0; k < 3 + (int)(x & 1) && !rc; k++)
        rc = buf_puts(out, syllables[x >> (4 * k + 1) & 15], err);
    return rc;
}

static int put_text(struct buf *out, struct rng *rng, int topic, int n_words, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < n_words && !rc; i++) {
        bool common = rng_uniform(rng) < 0.45;
        rc = i ? buf_append(out, " ", 1, err) : 0;
        if (!rc)
            rc = put_word(out, common ? -1 : topic,
                          (int)rng_below(rng, common ? N_COMMON : WORDS_A_TOPIC), err);
    }
    return rc;
}

struct item {
    struct buf question, options[N_OPTIONS];
    int topic, answer, tempting;
    double difficulty;
};

static int make_item(struct item *x, struct rng *rng, int64_t number, struct err *err)
{
    x->topic = (int)rng_below(rng, N_TOPICS);
    x->answer = (int)rng_below(rng, N_OPTIONS);
    x->tempting = (x->answer + 1 + (int)rng_below(rng, N_OPTIONS - 1)) % N_OPTIONS;
    x->difficulty = 0.9 * rng_normal(rng);
    buf_clear(&x->question);
    int rc = put_text(&x->question, rng, x->topic, 9 + (int)rng_below(rng, 8), err);
    if (!rc)
        rc = buf_printf(&x->question, err, " (made up, number %lld)?", (long long)number);
    for (int i = 0; i < N_OPTIONS && !rc; i++) {
        buf_clear(&x->options[i]);
        rc = put_text(&x->options[i], rng, x->topic, 2 + (int)rng_below(rng, 3), err);
    }
    return rc;
}

static void item_release(struct item *x)
{
    buf_release(&x->question);
    for (int i = 0; i < N_OPTIONS; i++)
        buf_release(&x->options[i]);
}

/* ---- experts ---- */

static double strength(int e)
{
    return 0.9 - 0.22 * e;
}

static double skill(int e, int topic)
{
    uint64_t x = rng_at(0xE47, (uint64_t)e, (uint64_t)topic, 2);
    return 3.0 * rng_to_uniform(x) - 1.5;
}

/* The option that expert e answers. */
static int answer_of(const struct item *x, int e, struct rng *rng)
{
    double p = 1 / (1 + exp(x->difficulty - strength(e) - skill(e, x->topic)));
    if (rng_uniform(rng) < p)
        return x->answer;
    if (rng_uniform(rng) < 0.5)
        return x->tempting;
    return (x->answer + 1 + (int)rng_below(rng, N_OPTIONS - 1)) % N_OPTIONS;
}

/* ---- files ---- */

static void write_options(struct json_writer *w, const char *key, const struct item *x)
{
    jw_array(w, key);
    for (int i = 0; i < N_OPTIONS; i++)
        jw_text(w, NULL, x->options[i].bytes);
    jw_end(w);
}

static int put_question(struct buf *out, const struct item *x, int64_t id, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 0);
    jw_object(&w, NULL);
    jw_int(&w, "question_id", id);
    jw_text(&w, "question", x->question.bytes);
    write_options(&w, "options", x);
    jw_text(&w, "answer", (char[]){(char)('A' + x->answer), 0});
    jw_text(&w, "category", categories[x->topic / TOPICS_EACH]);
    jw_text(&w, "src", "synthetic");
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_append(out, "\n", 1, err);
}

static int put_corpus_row(struct buf *out, const struct item *x, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 0);
    jw_object(&w, NULL);
    jw_text(&w, "query", x->question.bytes);
    write_options(&w, "choices", x);
    jw_int(&w, "gold", x->answer);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_append(out, "\n", 1, err);
}

enum { QUESTIONS, CORPUS, OUTCOMES, PREDICTIONS, CHARS, N_TEXTS };
static const char *const names[N_TEXTS] = {"questions.jsonl", "corpus.jsonl", "outcomes.csv",
                                           "predictions.csv", "chars.csv"};

static int put_header(struct buf *out, bool with_answer, struct err *err)
{
    int rc = buf_puts(out, with_answer ? "question_id,category,answer" : "question_id", err);
    for (int e = 0; e < SYNTHETIC_EXPERTS && !rc; e++)
        rc = buf_printf(out, err, ",%s", synthetic_expert(e));
    return rc ? rc : buf_puts(out, "\n", err);
}

/* One row of each of the three files of answers. */
static int put_answers(struct buf *texts, const struct item *x, int64_t id, struct rng *rng,
                       struct err *err)
{
    const char *category = categories[x->topic / TOPICS_EACH];
    int rc = 0;
    for (int f = OUTCOMES; f < N_TEXTS && !rc; f++)
        rc = f == PREDICTIONS ? buf_printf(&texts[f], err, "%lld", (long long)id)
                              : buf_printf(&texts[f], err, "%lld,%s,%c", (long long)id, category,
                                           'A' + x->answer);
    for (int e = 0; e < SYNTHETIC_EXPERTS && !rc; e++) {
        int option = answer_of(x, e, rng);
        int chars = 60 + (int)rng_below(rng, 140);
        rc = buf_printf(&texts[OUTCOMES], err, ",%d", option == x->answer);
        if (!rc)
            rc = buf_printf(&texts[PREDICTIONS], err, ",%c", 'A' + option);
        if (!rc)
            rc = buf_printf(&texts[CHARS], err, ",%d", chars);
    }
    for (int f = OUTCOMES; f < N_TEXTS && !rc; f++)
        rc = buf_puts(&texts[f], "\n", err);
    return rc;
}

static int make_texts(struct buf *texts, int64_t n_rows, uint64_t seed, struct err *err)
{
    struct item x = {0};
    struct rng rng;
    rng_init(&rng, rng_at(seed, 0x5E7, 0, 0));
    int rc = put_header(&texts[OUTCOMES], true, err);
    if (!rc)
        rc = put_header(&texts[PREDICTIONS], false, err);
    if (!rc)
        rc = put_header(&texts[CHARS], true, err);
    for (int64_t i = 0; i < n_rows && !rc; i++) {
        rc = make_item(&x, &rng, i + 1, err);
        if (!rc)
            rc = put_question(&texts[QUESTIONS], &x, i + 1, err);
        if (!rc)
            rc = put_answers(texts, &x, i + 1, &rng, err);
    }
    for (int64_t i = 0; i < SYNTHETIC_CORPUS_ROWS && !rc; i++) {
        rc = make_item(&x, &rng, n_rows + i + 1, err);
        if (!rc)
            rc = put_corpus_row(&texts[CORPUS], &x, err);
    }
    item_release(&x);
    return rc;
}

static int write_named(const char *dir, const char *name, const struct buf *text, struct err *err)
{
    char *path = path_join(dir, name);
    int rc = path ? file_write(path, text->bytes, text->n, err)
                  : err_set(err, MOE2_ELIMIT, "no memory for a path");
    free(path);
    return rc;
}

static int make_note(struct buf *out, int64_t n_rows, uint64_t seed, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 1);
    jw_object(&w, NULL);
    jw_text(&w, "format", "moe2 synthetic questions");
    jw_int(&w, "version", 1);
    jw_text(&w, "note", SYNTHETIC_NOTE);
    jw_int(&w, "rows", n_rows);
    jw_int(&w, "seed", (int64_t)seed);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

/* Whether all files are there and the note is this one. */
static bool is_there(const char *dir, const struct buf *note)
{
    struct buf seen = {.max_bytes = 1 << 16};
    bool same = true;
    for (int f = 0; f < N_TEXTS && same; f++) {
        char *path = path_join(dir, names[f]);
        same = path && file_exists(path);
        free(path);
    }
    char *path = path_join(dir, "synthetic.json");
    same = same && path && file_exists(path) && file_read(&seen, path, NULL) == 0 &&
           seen.n == note->n && memcmp(seen.bytes, note->bytes, seen.n) == 0;
    free(path);
    buf_release(&seen);
    return same;
}

int synthetic_make(const char *dir, int64_t n_rows, uint64_t seed, struct err *err)
{
    struct buf texts[N_TEXTS] = {{0}}, note = {0};
    int rc = make_note(&note, n_rows, seed, err);
    if (!rc && is_there(dir, &note)) {
        buf_release(&note);
        return 0;
    }
    if (!rc)
        rc = dir_make(dir, err);
    if (!rc)
        rc = make_texts(texts, n_rows, seed, err);
    for (int f = 0; f < N_TEXTS && !rc; f++)
        rc = write_named(dir, names[f], &texts[f], err);
    if (!rc)
        rc = write_named(dir, "synthetic.json", &note, err);
    for (int f = 0; f < N_TEXTS; f++)
        buf_release(&texts[f]);
    buf_release(&note);
    return rc;
}

/* ---- costs ---- */

static int add_curve(struct curves *set, const char *expert, int64_t e, bool energy,
                     struct err *err)
{
    static const struct curve_fit fast[2] = {{0.02, 0.00005, 0.011}, {2, 0.01, 0.45}};
    static const struct curve_fit slow[2] = {{0.05, 0.0004, 0.022}, {0.5, 0.004, 0.26}};
    struct curve *c = NULL;
    int rc = curves_add(&c, set, expert, err);
    if (rc)
        return rc;
    c->device = e < 3 ? "synthetic fast device" : "synthetic slow device";
    c->unit = energy ? "J" : "s";
    c->source = CURVE_ESTIMATED;
    c->note = SYNTHETIC_CURVES_NOTE;
    c->fit = e < 3 ? fast[energy] : slow[energy];
    c->rms = c->largest = NAN;
    return 0;
}

int synthetic_curves(const char *latency_path, const char *energy_path,
                     const struct yaml_texts *experts, struct err *err)
{
    struct curves latency = {0}, energy = {0};
    int rc = 0;
    for (int64_t e = 0; e < experts->n && !rc; e++) {
        rc = add_curve(&latency, experts->values[e], e, false, err);
        if (!rc)
            rc = add_curve(&energy, experts->values[e], e, true, err);
    }
    if (!rc)
        rc = curves_write(latency_path, &latency, err);
    if (!rc)
        rc = curves_write(energy_path, &energy, err);
    curves_release(&latency);
    curves_release(&energy);
    return rc;
}
