/* Embedding a file of rows: see step_embed.h.
 *
 * The rows are read twice: once to count them and to hash their texts, once to embed them. The hash,
 * the embedder's fingerprint and the shape make the key under which OUT.part may be continued.
 */
#include "pipeline/step_embed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/rng.h"
#include "base/words.h"
#include "eval/hashed_features.h"
#include "io/json_util.h"
#include "io/npy.h"

enum {
    PIECE_ROWS = 1024,
    PIECE_BYTES = 16 << 20, /* of text, unless one row alone is longer */
    MAX_NOTE_BYTES = 1 << 16,
};

static const double note_every_s = 2;

struct embed_step embed_step_default(void)
{
    return (struct embed_step){.dim = 768, .seed = 1};
}

/* ---- rows ---- */

static int add_options(struct buf *out, const struct records *rows, const char *key,
                       const char *json, size_t n, struct err *err)
{
    json_t *list = NULL;
    int rc = json_read_line(&list, key, 1, json, n, err);
    if (!rc && !json_is_array(list))
        rc = err_set(err, MOE2_EFORMAT, "%s is no list", key);
    for (size_t i = 0; i < json_array_size(list) && !rc; i++) {
        const json_t *option = json_array_get(list, i);
        if (!json_is_string(option))
            rc = err_set(err, MOE2_EFORMAT, "%s %zu is no text", key, i);
        if (!rc)
            rc = buf_append(out, "\n", 1, err);
        if (!rc)
            rc = buf_append(out, json_string_value(option), json_string_length(option), err);
    }
    json_decref(list);
    if (rc)
        err_prefix(err, "%s: line %lld", reader_path(records_reader(rows)),
                   (long long)records_line_number(rows));
    return rc;
}

int embed_row_text(struct buf *out, const struct records *rows, struct err *err)
{
    static const char *const keys[] = {"choices", "options"};
    size_t n;
    const char *text = records_field(rows, "text", &n);
    if (text)
        return buf_append(out, text, n, err);
    text = records_field(rows, "question", &n);
    if (!text)
        return err_set(err, MOE2_EFORMAT, "%s: line %lld has neither a text nor a question",
                       reader_path(records_reader(rows)), (long long)records_line_number(rows));
    int rc = buf_append(out, text, n, err);
    for (int i = 0; i < 2 && !rc; i++)
        if ((text = records_field(rows, keys[i], &n)))
            return add_options(out, rows, keys[i], text, n, err);
    return rc;
}

/* Calls each with the text of every row of a file. */
static int each_row(const char *path, int (*each)(void *ctx, const char *text, size_t n), void *ctx,
                    const struct embed_step *step, const char *what, struct err *err)
{
    struct records *rows = NULL;
    struct buf text = {0};
    struct progress progress;
    bool got = true;
    int rc = records_open(&rows, path, NULL, err);
    if (rc)
        return rc;
    const struct reader *reader = records_reader(rows);
    progress_begin(&progress, step->sink, what, (double)reader_file_bytes(reader), "B");
    while (!(rc = records_next(rows, &got, err)) && got) {
        buf_clear(&text);
        if ((rc = embed_row_text(&text, rows, err)))
            break;
        if (step->stop && *step->stop && (rc = err_set(err, MOE2_ESTOP, "stopped")))
            break;
        each(ctx, text.bytes ? text.bytes : "", text.n);
        progress_set(&progress, (double)reader_bytes_consumed(reader));
    }
    progress_end(&progress);
    buf_release(&text);
    records_close(rows);
    return rc;
}

static int count_features(void *ctx, const char *text, size_t n)
{
    hashed_features_count(ctx, text, n);
    return 0;
}

struct content {
    int64_t n_rows;
    uint64_t hash;
};

static int hash_content(void *ctx, const char *text, size_t n)
{
    struct content *c = ctx;
    uint64_t h = rng_at(c->hash, n, 0, 0);
    for (; n >= 8; text += 8, n -= 8) {
        uint64_t v;
        memcpy(&v, text, 8);
        h = (h ^ v) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    for (; n; text++, n--)
        h = (h ^ (uint8_t)*text) * 0x100000001b3u;
    c->hash = h;
    c->n_rows++;
    return 0;
}

/* ---- the embedder ---- */

static int open_hashed(struct embedder **out, const struct embed_step *step, struct err *err)
{
    struct hashed_features *h = NULL;
    char *beside = NULL;
    const char *state = step->state;
    size_t n = strlen(step->out);
    if (!state) {
        n -= words_end_in(step->out, ".npy") ? strlen(".npy") : 0;
        if (asprintf(&beside, "%.*s.hashed.safetensors", (int)n, step->out) < 0)
            return err_set(err, MOE2_ELIMIT, "%s: no memory for a name", step->out);
        state = beside;
    }
    int rc = 0;
    if (!step->fit) {
        rc = embedder_open_hashed(out, state, step->n_threads, err);
        goto done;
    }
    rc = hashed_features_new(&h, &(struct hashed_options){step->dim, step->seed}, err);
    if (!rc)
        rc = each_row(step->fit, count_features, h, step, "fitting", err);
    if (!rc && hashed_features_n_texts(h) == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no rows to fit on", step->fit);
    if (!rc) {
        hashed_features_fit(h);
        rc = hashed_features_save(h, state, err);
    }
    if (!rc) {
        rc = embedder_of_hashed(out, h, step->n_threads, err);
        h = NULL;
    }
done:
    hashed_features_free(h);
    free(beside);
    return rc;
}

/* ---- what is done so far ---- */

struct job {
    const struct embed_step *step;
    struct embedder *embedder;
    struct content content;
    int64_t dim, done;
    char key[64];
    char *part, *note; /* OUT.part and OUT.part.json */
    struct buf header;
    struct file_writer file;
    double noted_s;
};

static int write_note(struct job *j, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    int rc = file_flush(&j->file, err);
    json_writer_init(&w, &text, 0);
    jw_object(&w, NULL);
    jw_text(&w, "key", j->key);
    jw_int(&w, "done", j->done);
    jw_end(&w);
    if (!rc)
        rc = json_writer_end(&w, err);
    if (!rc)
        rc = file_write(j->note, text.bytes, text.n, err);
    buf_release(&text);
    j->noted_s = clock_s();
    return rc;
}

/* Rows that an earlier run left; 0 where there is none, or of other rows, or a broken one. */
static int64_t rows_left_behind(const struct job *j)
{
    json_t *note = NULL;
    const char *key = NULL;
    int64_t done = 0;
    if (json_read_file(&note, j->note, MAX_NOTE_BYTES, NULL))
        return 0;
    if (json_need_text(&key, note, j->note, "key", NULL) || strcmp(key, j->key) != 0 ||
        json_need_int(&done, note, j->note, "done", 0, j->content.n_rows, NULL) ||
        file_size(j->part) < (int64_t)j->header.n + done * j->dim * (int64_t)sizeof(float))
        done = 0;
    json_decref(note);
    return done;
}

static int begin(struct job *j, struct err *err)
{
    const int64_t shape[2] = {j->content.n_rows, j->dim};
    int rc = npy_header(&j->header, DT_F32, shape, 2, err);
    snprintf(j->key, sizeof j->key, "%016" PRIx64 "-%016" PRIx64 "-%" PRId64, j->content.hash,
             embedder_fingerprint(j->embedder), j->dim);
    if (!rc && (asprintf(&j->part, "%s.part", j->step->out) < 0 ||
                asprintf(&j->note, "%s.part.json", j->step->out) < 0))
        rc = err_set(err, MOE2_ELIMIT, "%s: no memory for a name", j->step->out);
    if (rc)
        return rc;
    j->done = rows_left_behind(j);
    int64_t keep = (int64_t)j->header.n + j->done * j->dim * (int64_t)sizeof(float);
    rc = file_continue(&j->file, j->step->out, j->part, j->done ? keep : 0, err);
    if (!rc && !j->done)
        rc = file_put(&j->file, j->header.bytes, j->header.n, err);
    return rc ? rc : write_note(j, err);
}

/* ---- pieces ---- */

struct piece {
    struct buf text;
    size_t end[PIECE_ROWS]; /* of each row's text */
    int64_t n;
    float *vectors; /* [PIECE_ROWS, dim] */
};

static int embed_piece(struct job *j, struct piece *p, struct embedder_tally *tally,
                       struct err *err)
{
    struct embedder_text texts[PIECE_ROWS];
    const char *bytes = p->text.bytes ? p->text.bytes : "";
    for (int64_t i = 0; i < p->n; i++) {
        size_t from = i ? p->end[i - 1] : 0;
        texts[i] = (struct embedder_text){bytes + from, p->end[i] - from};
    }
    int rc = embedder_texts(p->vectors, tally, j->embedder, texts, p->n, err);
    if (rc)
        return err_prefix(err, "%s: behind row %lld", j->step->in, (long long)j->done);
    rc = file_put(&j->file, p->vectors, (size_t)(p->n * j->dim) * sizeof *p->vectors, err);
    j->done += p->n;
    p->n = 0;
    buf_clear(&p->text);
    if (!rc && clock_s() - j->noted_s > note_every_s)
        rc = write_note(j, err);
    return rc;
}

static int stopped(struct job *j, struct err *err)
{
    int rc = write_note(j, err);
    return rc ? rc
              : err_set(err, MOE2_ESTOP,
                        "stopped behind %lld of %lld rows: the same command goes on from there",
                        (long long)j->done, (long long)j->content.n_rows);
}

static int embed_rows(struct job *j, struct piece *p, struct records *rows,
                      struct embedder_tally *tally, struct err *err)
{
    struct progress progress;
    const volatile int *stop = j->step->stop;
    int64_t most =
        embedder_piece(j->embedder) < PIECE_ROWS ? embedder_piece(j->embedder) : PIECE_ROWS;
    bool got = true;
    int rc = 0;
    progress_begin(&progress, j->step->sink, "embedding", (double)j->content.n_rows, "texts");
    for (int64_t i = 0, first = j->done; !rc && got;) {
        if ((rc = records_next(rows, &got, err)))
            break;
        if (got && i++ < first)
            continue;
        if (got && !(rc = embed_row_text(&p->text, rows, err)))
            p->end[p->n++] = p->text.n;
        if (!rc && p->n && (!got || p->n == most || p->text.n >= PIECE_BYTES)) {
            rc = embed_piece(j, p, tally, err);
            progress_set(&progress, (double)j->done);
            if (!rc && stop && *stop && got)
                rc = stopped(j, err);
        }
    }
    progress_end(&progress);
    if (!rc && j->done != j->content.n_rows)
        rc = err_set(err, MOE2_EFORMAT, "%s: had %lld rows at first and %lld now", j->step->in,
                     (long long)j->content.n_rows, (long long)j->done);
    return rc;
}

static int embed_all(struct job *j, struct embedder_tally *tally, struct err *err)
{
    struct records *rows = NULL;
    struct piece *p = calloc(1, sizeof *p);
    if (p)
        p->vectors = malloc((size_t)(PIECE_ROWS * j->dim) * sizeof *p->vectors);
    int rc = p && p->vectors ? records_open(&rows, j->step->in, NULL, err)
                             : err_set(err, MOE2_ELIMIT, "no memory for %d vectors", PIECE_ROWS);
    if (!rc)
        rc = embed_rows(j, p, rows, tally, err);
    records_close(rows);
    if (p) {
        free(p->vectors);
        buf_release(&p->text);
    }
    free(p);
    return rc;
}

static int finish(struct job *j, int rc, struct err *err)
{
    if (rc)
        return file_leave(&j->file, err) ? rc : rc;
    rc = file_commit(&j->file, err);
    return rc ? rc : file_remove_all(j->note, err);
}

static int check(const struct embed_step *step, struct err *err)
{
    if (!step->in || !step->out)
        return err_set(err, MOE2_ECONFIG, "wanted a file to read and a file to write");
    if (!step->hashed == !step->model)
        return err_set(err, MOE2_ECONFIG, "wanted either --model DIR or --features hashed");
    if (step->model && (step->fit || step->state))
        return err_set(err, MOE2_ECONFIG, "nothing is fitted for an encoder, wanted no %s",
                       step->fit ? "--fit" : "--state");
    if (step->state && strcmp(step->state, step->out) == 0)
        return err_set(err, MOE2_ECONFIG, "%s is to hold both the vectors and the features",
                       step->out);
    return 0;
}

int embed_step_run(struct embed_report *report, const struct embed_step *step, struct err *err)
{
    struct job j = {.step = step};
    struct embed_report r = {0};
    double begun_s = clock_s();
    int rc = check(step, err);
    if (!rc)
        rc = step->hashed
                 ? open_hashed(&j.embedder, step, err)
                 : embedder_open_encoder(&j.embedder, step->model, &step->device, step->n_threads,
                                         step->bf16, step->batch_tokens, step->sink, err);
    if (!rc)
        rc = each_row(step->in, hash_content, &j.content, step, "reading", err);
    if (rc)
        goto done;
    j.dim = r.dim = embedder_dim(j.embedder);
    r.n_rows = j.content.n_rows;
    r.open_s = clock_s() - begun_s;
    if (!(r.embedder = strdup(embedder_name(j.embedder)))) {
        rc = err_set(err, MOE2_ELIMIT, "no memory for a name");
        goto done;
    }
    rc = begin(&j, err);
    r.n_resumed = j.done;
    begun_s = clock_s();
    if (!rc)
        rc = embed_all(&j, &r.tally, err);
    r.embed_s = clock_s() - begun_s;
    if (j.file.path)
        rc = finish(&j, rc, err);
done:
    if (!rc) {
        *report = r;
        r.embedder = NULL;
    }
    free(r.embedder);
    embedder_free(j.embedder);
    buf_release(&j.header);
    free(j.part);
    free(j.note);
    return rc;
}

void embed_report_release(struct embed_report *report)
{
    free(report->embedder);
    *report = (struct embed_report){0};
}
