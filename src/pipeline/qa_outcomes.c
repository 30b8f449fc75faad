/* Recorded answers of chosen questions: see qa_outcomes.h. The rows that stay are kept as text until all
 * were seen, because the two files may have different orders. */
#include "pipeline/qa_outcomes.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/words.h"
#include "io/csv_write.h"
#include "io/name_map.h"
#include "io/records.h"
#include "pipeline/step_embed.h"

enum { CHARS_A_TOKEN = 4 };

struct place {
    size_t at, n; /* of the row's text; n 0: not seen */
    int32_t prompt_tokens;
};

struct work {
    const struct qa_outcomes *cut;
    struct arena arena; /* ids */
    struct name_map ids;
    struct place *places; /* [ids.n] */
    int64_t capacity;
    struct buf text; /* of a question */
    struct buf rows;
    int columns[RECORDS_MAX_FIELDS]; /* of IN, in the order of OUT */
    int n_columns;
    int64_t n_left_out;
};

/* ---- questions ---- */

static int64_t n_characters(const struct buf *text)
{
    int64_t n = 0;
    for (size_t i = 0; i < text->n; i++)
        n += (text->bytes[i] & 0xc0) != 0x80;
    return n;
}

/* The place of the question that was added last. */
static int add_place(struct work *w, const struct records *r, struct err *err)
{
    if (w->ids.n > w->capacity) {
        int64_t capacity = w->capacity ? 2 * w->capacity : 1024;
        struct place *grown = realloc(w->places, (size_t)capacity * sizeof *grown);
        if (!grown)
            return err_set(err, MOE2_ELIMIT, "no memory for %lld questions", (long long)capacity);
        w->places = grown;
        w->capacity = capacity;
    }
    struct place *p = &w->places[w->ids.n - 1];
    *p = (struct place){0};
    buf_clear(&w->text);
    int rc = w->cut->prompt_tokens ? embed_row_text(&w->text, r, err) : 0;
    p->prompt_tokens = (int32_t)((n_characters(&w->text) + CHARS_A_TOKEN - 1) / CHARS_A_TOKEN);
    return rc;
}

static int add_id(struct work *w, const struct records *r, struct err *err)
{
    int64_t idx;
    bool is_new = false;
    const char *id = records_field(r, "id", NULL);
    int rc = id ? 0 : records_need(&id, NULL, r, "question_id", err);
    if (rc)
        return rc;
    if (w->ids.n == QA_OUTCOMES_MAX_QUESTIONS)
        return err_set(err, MOE2_ELIMIT, "%s: more than %d questions", w->cut->questions,
                       QA_OUTCOMES_MAX_QUESTIONS);
    const char *copy = arena_strdup(&w->arena, id, err);
    rc = copy ? name_map_add(&w->ids, &idx, &is_new, copy, err) : MOE2_ELIMIT;
    if (!rc && !is_new)
        rc = err_set(err, MOE2_EFORMAT, "%s:%lld: the id \"%.60s\" stands twice", w->cut->questions,
                     (long long)records_line_number(r), id);
    return rc ? rc : add_place(w, r, err);
}

static int read_ids(struct work *w, struct err *err)
{
    struct records *r = NULL;
    bool got = false;
    int rc = records_open(&r, w->cut->questions, NULL, err);
    while (!rc && !(rc = records_next(r, &got, err)) && got)
        rc = add_id(w, r, err);
    records_close(r);
    if (!rc && w->ids.n == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no question", w->cut->questions);
    return rc;
}

/* ---- columns ---- */

static bool is_common(const char *name)
{
    static const char *const names[] = {"category", "answer", "prompt_tokens", "output_tokens"};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static int find_column(int *out, const struct records *r, const char *name, struct err *err)
{
    const char *names[RECORDS_MAX_FIELDS];
    int n = records_n_columns(r);
    for (*out = 1; *out < n; ++*out)
        if (strcmp(records_column(r, *out), name) == 0)
            return 0;
    for (int i = 0; i < n; i++)
        names[i] = records_column(r, i);
    const char *nearest = words_nearest(name, names, (size_t)n);
    return err_set(err, MOE2_ECONFIG, "%s: has no expert \"%.60s\"%s%s",
                   reader_path(records_reader(r)), name, nearest ? ", the nearest is " : "",
                   nearest ? nearest : "");
}

static int choose_columns(struct work *w, const struct records *r, struct err *err)
{
    const struct yaml_texts *experts = &w->cut->experts;
    const char *first = records_column(r, 0);
    if (strcmp(first, "question_id") != 0 && strcmp(first, "id") != 0)
        return err_set(err, MOE2_EFORMAT, "%s: the first column is \"%.40s\", wanted question_id",
                       w->cut->in, first);
    if (experts->n > RECORDS_MAX_FIELDS - 8)
        return err_set(err, MOE2_ELIMIT, "%lld experts, wanted at most %d", (long long)experts->n,
                       RECORDS_MAX_FIELDS - 8);
    w->columns[w->n_columns++] = 0;
    for (int i = 1; i < records_n_columns(r); i++)
        if (w->cut->prompt_tokens && strcmp(records_column(r, i), "prompt_tokens") == 0)
            continue;
        else if (!experts->n || is_common(records_column(r, i)))
            w->columns[w->n_columns++] = i;
    int rc = 0;
    for (int64_t i = 0; i < experts->n && !rc; i++)
        rc = find_column(&w->columns[w->n_columns++], r, experts->values[i], err);
    return rc;
}

/* ---- rows ---- */

static int keep_row(struct work *w, const struct records *r, struct err *err)
{
    size_t n = 0;
    const char *id = records_cell(r, 0, &n);
    int64_t idx = name_map_find(&w->ids, id);
    if (idx < 0) {
        w->n_left_out++;
        return 0;
    }
    struct place *p = &w->places[idx];
    if (p->n)
        return err_set(err, MOE2_EFORMAT, "%s:%lld: the id \"%.60s\" stands twice", w->cut->in,
                       (long long)records_line_number(r), id);
    int rc = 0;
    p->at = w->rows.n;
    for (int i = 0; i < w->n_columns && !rc; i++) {
        const char *text = records_cell(r, w->columns[i], &n);
        rc = csv_cell(&w->rows, text, n, i == 0, err);
    }
    if (!rc && w->cut->prompt_tokens)
        rc = buf_printf(&w->rows, err, ",%d", (int)p->prompt_tokens);
    if (!rc)
        rc = buf_append(&w->rows, "\n", 1, err);
    p->n = w->rows.n - p->at;
    return rc;
}

static int read_rows(struct work *w, struct buf *header, struct err *err)
{
    struct records_options form = {.form = RECORDS_CSV, .max_record_bytes = 1 << 20};
    struct records *r = NULL;
    struct progress progress;
    bool got = false;
    int rc = records_open(&r, w->cut->in, &form, err);
    if (!rc)
        rc = choose_columns(w, r, err);
    for (int i = 0; i < w->n_columns && !rc; i++) {
        const char *name = records_column(r, w->columns[i]);
        rc = csv_cell(header, name, strlen(name), i == 0, err);
    }
    if (!rc && w->cut->prompt_tokens)
        rc = buf_puts(header, ",prompt_tokens", err);
    if (!rc)
        rc = buf_append(header, "\n", 1, err);
    if (rc) {
        records_close(r);
        return rc;
    }
    progress_begin(&progress, w->cut->sink, w->cut->in,
                   (double)reader_file_bytes(records_reader(r)), "B");
    while (!rc && !(rc = records_next(r, &got, err)) && got) {
        rc = keep_row(w, r, err);
        progress_set(&progress, (double)reader_bytes_consumed(records_reader(r)));
    }
    progress_end(&progress);
    records_close(r);
    return rc;
}

static int check_all(const struct work *w, struct err *err)
{
    int64_t n_missing = 0, first = -1;
    for (int64_t i = 0; i < w->ids.n; i++)
        if (!w->places[i].n) {
            first = first < 0 ? i : first;
            n_missing++;
        }
    if (!n_missing)
        return 0;
    return err_set(err, MOE2_EFORMAT,
                   "%s: %lld of the %lld questions of %s have no row, the first is \"%.60s\"",
                   w->cut->in, (long long)n_missing, (long long)w->ids.n, w->cut->questions,
                   w->ids.names[first]);
}

static int write_all(const struct work *w, const struct buf *header, struct err *err)
{
    struct file_writer f = {0};
    int rc = file_begin(&f, w->cut->out, err);
    if (!rc)
        rc = file_put(&f, header->bytes, header->n, err);
    for (int64_t i = 0; i < w->ids.n && !rc; i++)
        rc = file_put(&f, w->rows.bytes + w->places[i].at, w->places[i].n, err);
    if (!rc)
        rc = file_commit(&f, err);
    file_abort(&f);
    return rc;
}

int qa_outcomes_cut(struct qa_outcomes_report *report, const struct qa_outcomes *cut,
                    struct err *err)
{
    struct work w = {.cut = cut, .rows.max_bytes = QA_OUTCOMES_MAX_BYTES};
    struct buf header = {0};
    int rc = read_ids(&w, err);
    if (!rc)
        rc = read_rows(&w, &header, err);
    if (!rc)
        rc = check_all(&w, err);
    if (!rc)
        rc = write_all(&w, &header, err);
    if (!rc)
        *report =
            (struct qa_outcomes_report){w.ids.n, w.n_columns + cut->prompt_tokens, w.n_left_out};
    free(w.places);
    name_map_release(&w.ids);
    arena_release(&w.arena);
    buf_release(&w.rows);
    buf_release(&w.text);
    buf_release(&header);
    return rc;
}
