/* Questions and prompts: see answer_set.h. */
#include "pipeline/answer_set.h"

#include <stdlib.h>
#include <string.h>

#include "io/records.h"
#include "pipeline/qa_forms.h"
#include "pipeline/qa_leak.h"

const char *const answer_form_names[ANSWER_N_FORMS + 1] = {"letter", "text", NULL};

static const char *const letters[CHOICE_MAX_OPTIONS] = {"A", "B", "C", "D", "E", "F", "G", "H", "I",
                                                        "J", "K", "L", "M", "N", "O", "P", "Q", "R",
                                                        "S", "T", "U", "V", "W", "X", "Y", "Z"};

/* ---- reading ---- */

/* The bytes of s behind *at, which moves on. */
static const char *put_text(char *bytes, size_t *at, const char *s)
{
    size_t n = strlen(s) + 1;
    char *to = bytes + *at;
    memcpy(to, s, n);
    *at += n;
    return to;
}

static size_t text_bytes(const struct qa_row *row)
{
    size_t n = strlen(row->id) + strlen(row->subject) + strlen(row->question) + 3;
    n += row->context ? strlen(row->context) + 1 : 0;
    for (int i = 0; i < row->n_choices; i++)
        n += strlen(row->choices[i]) + 1;
    return n;
}

static int add_question(struct answer_set *s, const struct qa_row *row, struct err *err)
{
    if (s->n == s->capacity) {
        int64_t capacity = s->capacity ? 2 * s->capacity : 1024;
        struct answer_question *grown = realloc(s->v, (size_t)capacity * sizeof *grown);
        if (!grown)
            return err_set(err, MOE2_ELIMIT, "no memory for %lld questions", (long long)capacity);
        s->v = grown;
        s->capacity = capacity;
    }
    size_t n_pointers = (size_t)row->n_choices * sizeof(const char *), at = 0;
    const char **choices = arena_alloc(&s->memory, n_pointers + text_bytes(row), err);
    if (!choices)
        return MOE2_ELIMIT;
    char *bytes = (char *)choices + n_pointers;
    struct answer_question *q = &s->v[s->n++];
    *q = (struct answer_question){.choices = choices,
                                  .n_choices = row->n_choices,
                                  .answer = row->answers[0],
                                  .first = s->n_options};
    q->id = put_text(bytes, &at, row->id);
    q->subject = put_text(bytes, &at, row->subject);
    q->question = put_text(bytes, &at, row->question);
    q->context = row->context ? put_text(bytes, &at, row->context) : NULL;
    for (int i = 0; i < row->n_choices; i++)
        choices[i] = put_text(bytes, &at, row->choices[i]);
    s->n_options += row->n_choices;
    return 0;
}

static int add_row(struct answer_set *s, struct text_seen *ids, const struct qa_row *row,
                   const struct records *r, struct err *err)
{
    bool seen = false;
    const char *path = reader_path(records_reader(r));
    long long line = records_line_number(r);
    if (row->kind != QA_CHOICE) {
        s->n_left_out++;
        return 0;
    }
    if (s->n == ANSWER_MAX_QUESTIONS)
        return err_set(err, MOE2_ELIMIT, "%s: more than %d questions", path, ANSWER_MAX_QUESTIONS);
    int rc = text_seen_add(&seen, ids, qa_id_key(row->id), err);
    if (!rc && seen)
        return err_set(err, MOE2_EFORMAT, "%s:%lld: the id \"%.60s\" stands twice", path, line,
                       row->id);
    return rc ? rc : add_question(s, row, err);
}

/* Rows of other forms have no id that outcomes could be matched by. */
static int read_row(struct qa_row *row, const struct records *r, struct err *err)
{
    static const char *const fields[] = {"id", "source", "subject", "kind", "question", "choices"};
    struct qa_context context = {.source = QA_MMLU, .stem = ""};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!records_field(r, fields[i], NULL))
            return err_set(err, MOE2_EFORMAT,
                           "%s:%lld: there is no \"%s\", wanted a line as moe2 data qa writes it",
                           reader_path(records_reader(r)), (long long)records_line_number(r),
                           fields[i]);
    return qa_read_row(row, r, &context, err);
}

int answer_set_read(struct answer_set *s, const char *path, int64_t most,
                    const struct log_sink *sink, const volatile int *stop, struct err *err)
{
    struct records_options form = {.max_record_bytes = QA_MAX_ROW_BYTES};
    struct records *r = NULL;
    struct text_seen *ids = NULL;
    struct qa_row row = {0};
    struct progress progress;
    bool got = false;
    s->memory.limit_bytes = ANSWER_MAX_SET_BYTES;
    int rc = records_open(&r, path, &form, err);
    if (rc)
        return rc;
    rc = text_seen_new(&ids, (int64_t)ANSWER_MAX_QUESTIONS * 32, err);
    progress_begin(&progress, sink, path, (double)reader_file_bytes(records_reader(r)), "B");
    while (!rc && (!most || s->n < most) && !(rc = records_next(r, &got, err)) && got) {
        rc = read_row(&row, r, err);
        if (!rc)
            rc = add_row(s, ids, &row, r, err);
        if (!rc && stop && *stop)
            rc = err_set(err, MOE2_ESTOP, "stopped while the questions were read");
        progress_set(&progress, (double)reader_bytes_consumed(records_reader(r)));
    }
    progress_end(&progress);
    qa_row_release(&row);
    text_seen_free(ids);
    records_close(r);
    if (!rc && s->n == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no question with one right option", path);
    return rc;
}

void answer_set_release(struct answer_set *s)
{
    free(s->v);
    arena_release(&s->memory);
    *s = (struct answer_set){0};
}

/* ---- prompts ---- */

static int put_header(struct buf *out, const struct answer_question *q, struct err *err)
{
    int rc = buf_puts(out, "The following are multiple choice questions (with answers)", err);
    if (!rc && *q->subject) {
        size_t from = out->n;
        rc = buf_printf(out, err, " about %s", q->subject);
        for (size_t i = from; !rc && i < out->n; i++)
            if (out->bytes[i] == '_')
                out->bytes[i] = ' ';
    }
    return rc ? rc : buf_puts(out, ".\n\n", err);
}

/* One question, to its "Answer:". */
static int put_question(struct buf *out, const struct answer_question *q, enum answer_form form,
                        struct err *err)
{
    int rc = q->context ? buf_printf(out, err, "%s\n", q->context) : 0;
    if (!rc)
        rc = buf_printf(out, err, form == ANSWER_LETTER ? "%s\n" : "Question: %s\n", q->question);
    for (int i = 0; form == ANSWER_LETTER && i < q->n_choices && !rc; i++)
        rc = buf_printf(out, err, "%s. %s\n", letters[i], q->choices[i]);
    return rc ? rc : buf_puts(out, "Answer:", err);
}

static const char *answer_text(const struct answer_question *q, int option, enum answer_form form)
{
    return form == ANSWER_LETTER ? letters[option] : q->choices[option];
}

static int put_examples(struct buf *out, const struct answer_question *q,
                        const struct answer_form_options *o, struct err *err)
{
    int n = 0, rc = 0;
    for (int64_t i = 0; o->examples && i < o->examples->n && n < o->n_shots && !rc; i++) {
        const struct answer_question *x = &o->examples->v[i];
        if (strcmp(x->subject, q->subject) != 0)
            continue;
        rc = put_question(out, x, o->form, err);
        if (!rc)
            rc = buf_printf(out, err, " %s\n\n", answer_text(x, x->answer, o->form));
        n++;
    }
    if (!rc && n < o->n_shots)
        rc =
            err_set(err, MOE2_ECONFIG, "there are %d examples of \"%.60s\", wanted %d (--few-shot)",
                    n, q->subject, o->n_shots);
    return rc;
}

/* The options behind each other in p->text; pointers are set when it moves no more. */
static int put_options(struct answer_prompt *p, const struct answer_question *q,
                       enum answer_form form, struct err *err)
{
    int rc = 0;
    size_t at = 0;
    buf_clear(&p->text);
    for (int i = 0; i < q->n_choices && !rc; i++) {
        rc = buf_printf(&p->text, err, " %s", answer_text(q, i, form));
        if (!rc)
            rc = buf_append(&p->text, "", 1, err);
    }
    for (int i = 0; i < q->n_choices && !rc; i++) {
        p->options[i] = p->text.bytes + at;
        p->bare[i] = p->options[i] + 1;
        at += strlen(p->options[i]) + 1;
    }
    return rc;
}

int answer_prompt_make(struct answer_prompt *p, const struct answer_question *q,
                       const struct answer_form_options *o, struct err *err)
{
    buf_clear(&p->context);
    int rc = o->form == ANSWER_LETTER ? put_header(&p->context, q, err) : 0;
    if (!rc)
        rc = put_examples(&p->context, q, o, err);
    if (!rc)
        rc = put_question(&p->context, q, o->form, err);
    return rc ? rc : put_options(p, q, o->form, err);
}

void answer_prompt_release(struct answer_prompt *p)
{
    buf_release(&p->context);
    buf_release(&p->text);
    *p = (struct answer_prompt){0};
}
