/* One expert's scores: see answer_part.h. A line of its file:
 *
 *     {"id": "70", "context": 812, "tokens": [1, 1, 1, 1], "ll": [-1.25, -2.5, -0.75, -4]}
 */
#include "pipeline/answer_part.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/records.h"
#include "pipeline/answer_model.h"
#include "pipeline/file_hash.h"

enum { BLOCK = 32, MAX_LINE_BYTES = 1 << 16 };
static const double flush_every_s = 2;

static char *part_path(const struct answer_part *p, const char *ending, struct err *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/answers/%s.jsonl%s", p->step->out_dir, p->expert->name, ending) < 0) {
        err_set(err, MOE2_ELIMIT, "no memory for a path");
        return NULL;
    }
    return path;
}

/* ---- what is there already ---- */

static bool same_numbers(const struct records *r, const char *name, int n, json_t **out)
{
    size_t bytes = 0;
    const char *text = records_field(r, name, &bytes);
    *out = NULL;
    if (!text || json_read_bytes(out, name, text, bytes, NULL))
        return false;
    bool good = json_is_array(*out) && json_array_size(*out) == (size_t)n;
    for (int i = 0; i < n && good; i++)
        good = json_is_number(json_array_get(*out, (size_t)i));
    return good;
}

/* Whether the record is the question's line; its scores go into scores. */
static bool take_line(struct choice_score *scores, const struct records *r,
                      const struct answer_question *q)
{
    const char *id = records_field(r, "id", NULL), *context = records_field(r, "context", NULL);
    json_t *tokens = NULL, *ll = NULL;
    bool good = id && context && strcmp(id, q->id) == 0 &&
                same_numbers(r, "tokens", q->n_choices, &tokens) &&
                same_numbers(r, "ll", q->n_choices, &ll);
    for (int i = 0; i < q->n_choices && good; i++)
        scores[i] =
            (struct choice_score){json_number_value(json_array_get(ll, (size_t)i)),
                                  (int32_t)json_integer_value(json_array_get(tokens, (size_t)i)),
                                  (int32_t)strtol(context, NULL, 10)};
    json_decref(tokens);
    json_decref(ll);
    return good;
}

static void take_file(struct answer_part *p, const char *path)
{
    struct records_options form = {.form = RECORDS_JSONL, .max_record_bytes = MAX_LINE_BYTES};
    struct records *r = NULL;
    bool got = false;
    const char *key = NULL;
    if (!file_exists(path) || records_open(&r, path, &form, NULL))
        return;
    if (!records_next(r, &got, NULL) && got)
        key = records_field(r, "key", NULL);
    if (key && strcmp(key, p->key) == 0)
        while (p->n_done < p->questions->n && !records_next(r, &got, NULL) && got) {
            const struct answer_question *q = &p->questions->v[p->n_done];
            if (!take_line(p->scores + q->first, r, q))
                break;
            p->n_done++;
        }
    records_close(r);
}

int answer_part_open(struct answer_part *p, uint64_t asked_a, uint64_t asked_b, struct err *err)
{
    struct file_hash h = {asked_a, asked_b};
    char *whole = part_path(p, "", err), *begun = part_path(p, ".part", err);
    int rc = whole && begun ? file_hash_facts(&h, p->expert->dir, err) : MOE2_ELIMIT;
    if (!rc && p->expert->adapter)
        rc = file_hash_facts(&h, p->expert->adapter, err);
    p->scores = calloc((size_t)p->questions->n_options, sizeof *p->scores);
    if (!rc && !p->scores)
        rc = err_set(err, MOE2_ELIMIT, "no memory for the scores of %s", p->expert->name);
    if (!rc) {
        file_hash_text(p->key, h);
        take_file(p, whole);
        p->complete = p->n_done == p->questions->n;
        if (!p->complete) {
            p->n_done = 0;
            take_file(p, begun);
            p->n_done -= p->n_done % BLOCK; /* the same batches as in one go: the same bits */
        }
        p->n_resumed = p->n_done;
    }
    free(whole);
    free(begun);
    return rc;
}

void answer_part_release(struct answer_part *p)
{
    free(p->scores);
    p->scores = NULL;
}

/* ---- the model ---- */

struct answering {
    struct answer_part *part;
    struct answer_model model;
    struct file_writer file;
    struct buf lines;
    struct answer_prompt prompts[BLOCK];
    double flushed_s;
};

static int open_model(struct answering *a, struct err *err)
{
    const struct answer_step *step = a->part->step;
    struct device_choice device = step->device;
    device.limit_bytes /= (size_t)a->part->n_jobs;
    struct answer_model_options o = {.dir = a->part->expert->dir,
                                     .adapter = a->part->expert->adapter,
                                     .tokenizer = step->tokenizer,
                                     .device = device,
                                     .n_threads = a->part->n_threads,
                                     .window = step->window,
                                     .batch_tokens = step->batch_tokens,
                                     .bos = step->bos,
                                     .bf16 = step->bf16,
                                     .keeps = step->form == ANSWER_TEXT};
    return answer_model_open(&a->model, &o, err);
}

/* ---- its file ---- */

static int put_key(struct answering *a, struct err *err)
{
    const struct answer_part *p = a->part;
    struct json_writer w;
    json_writer_init(&w, &a->lines, 0);
    jw_object(&w, NULL);
    jw_text(&w, "key", p->key);
    jw_text(&w, "expert", p->expert->name);
    jw_text(&w, "dir", p->expert->dir);
    if (p->expert->adapter)
        jw_text(&w, "adapter", p->expert->adapter);
    jw_text(&w, "form", answer_form_names[p->step->form]);
    jw_int(&w, "few_shot", p->step->n_shots);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_append(&a->lines, "\n", 1, err);
}

static int put_line(struct buf *out, const struct answer_question *q,
                    const struct choice_score *scores, struct err *err)
{
    double ll[CHOICE_MAX_OPTIONS];
    int64_t tokens[CHOICE_MAX_OPTIONS];
    struct json_writer w;
    for (int i = 0; i < q->n_choices; i++)
        ll[i] = scores[i].ll, tokens[i] = scores[i].n_tokens;
    json_writer_init(&w, out, 0);
    jw_object(&w, NULL);
    jw_text(&w, "id", q->id);
    jw_int(&w, "context", scores[0].n_context);
    jw_ints(&w, "tokens", tokens, q->n_choices);
    jw_reals(&w, "ll", ll, q->n_choices);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_append(out, "\n", 1, err);
}

/* Begins the file anew with what was taken over: the same lines that lay there, whatever ended
 * them. */
static int begin_file(struct answering *a, struct err *err)
{
    struct answer_part *p = a->part;
    char *whole = part_path(p, "", err), *begun = part_path(p, ".part", err);
    int rc = whole && begun ? put_key(a, err) : MOE2_ELIMIT;
    for (int64_t i = 0; i < p->n_done && !rc; i++)
        rc = put_line(&a->lines, &p->questions->v[i], p->scores + p->questions->v[i].first, err);
    if (!rc)
        rc = file_write(begun, a->lines.bytes, a->lines.n, err);
    if (!rc)
        rc = file_continue(&a->file, whole, begun, (int64_t)a->lines.n, err);
    free(whole);
    free(begun);
    return rc;
}

static int ask_block(struct answering *a, int64_t n, struct err *err)
{
    struct answer_part *p = a->part;
    const struct answer_question *q = &p->questions->v[p->n_done];
    struct choice_ask asks[BLOCK];
    struct choice_score *scores = p->scores + q->first;
    int rc = 0;
    for (int64_t i = 0; i < n && !rc; i++) {
        rc = answer_prompt_make(&a->prompts[i], &q[i], p->form, err);
        asks[i] =
            (struct choice_ask){a->prompts[i].context.bytes, a->prompts[i].options, q[i].n_choices};
    }
    if (!rc)
        rc = choice_score(scores, a->model.choice, asks, n, err);
    if (rc)
        return err_prefix(err, "%s: behind question %" PRId64, p->expert->name, p->n_done);
    buf_clear(&a->lines);
    for (int64_t i = 0; i < n && !rc; i++)
        rc = put_line(&a->lines, &q[i], p->scores + q[i].first, err);
    if (!rc)
        rc = file_put(&a->file, a->lines.bytes, a->lines.n, err);
    if (!rc && clock_s() - a->flushed_s > flush_every_s) {
        rc = file_flush(&a->file, err);
        a->flushed_s = clock_s();
    }
    if (!rc) {
        p->n_done += n;
        atomic_fetch_add(p->n_all_done, n);
    }
    return rc;
}

static int ask_all(struct answering *a, struct err *err)
{
    struct answer_part *p = a->part;
    const volatile int *stop = p->step->stop;
    int rc = begin_file(a, err);
    while (!rc && p->n_done < p->questions->n) {
        int64_t left = p->questions->n - p->n_done;
        if (stop && *stop)
            rc = err_set(err, MOE2_ESTOP, "stopped");
        else
            rc = ask_block(a, left < BLOCK ? left : BLOCK, err);
    }
    if (!rc)
        return file_commit(&a->file, err);
    if (a->file.f)
        file_leave(&a->file, NULL);
    return rc;
}

void answer_part_run(struct answer_part *p)
{
    struct answering a = {.part = p};
    double begun_s = clock_s();
    if (p->complete)
        return;
    p->rc = open_model(&a, &p->err);
    if (!p->rc)
        p->rc = ask_all(&a, &p->err);
    p->seconds = clock_s() - begun_s;
    for (int i = 0; i < BLOCK; i++)
        answer_prompt_release(&a.prompts[i]);
    buf_release(&a.lines);
    answer_model_close(&a.model);
}
