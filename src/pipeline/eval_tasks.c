/* Italian tasks: see eval_tasks.h. */
#include "pipeline/eval_tasks.h"

#include <stdlib.h>
#include <string.h>

#include "io/json_util.h"
#include "io/records.h"

/* ---- XCOPA ---- */

enum { XCOPA_MAX_LINE_BYTES = 1 << 16 };

struct xcopa_row {
    struct buf context, options[2]; /* the options with their blank */
    int label;
};

/* " " and the sentence with a small first letter, where that is a letter of ASCII or of Latin-1
 * ("È" too). */
static int put_sentence(struct buf *out, const char *text, struct err *err)
{
    buf_clear(out);
    int rc = buf_printf(out, err, " %s", text);
    if (rc)
        return rc;
    unsigned char *p = (unsigned char *)out->bytes + 1;
    if (p[0] >= 'A' && p[0] <= 'Z')
        p[0] = (unsigned char)(p[0] + 32);
    else if (p[0] == 0xc3 && p[1] >= 0x80 && p[1] <= 0x9e && p[1] != 0x97)
        p[1] = (unsigned char)(p[1] + 32);
    return 0;
}

static int bad_row(const struct records *r, const char *field, const char *seen, const char *wanted,
                   struct err *err)
{
    return err_set(err, MOE2_EFORMAT, "%s:%lld: %s is \"%.40s\", wanted %s",
                   reader_path(records_reader(r)), (long long)records_line_number(r), field, seen,
                   wanted);
}

static int read_xcopa(struct xcopa_row *row, const struct records *r, struct err *err)
{
    const char *premise = NULL, *text[2] = {NULL}, *question = NULL, *label = NULL;
    int rc = records_need(&premise, NULL, r, "premise", err);
    if (!rc)
        rc = records_need(&text[0], NULL, r, "choice1", err);
    if (!rc)
        rc = records_need(&text[1], NULL, r, "choice2", err);
    if (!rc)
        rc = records_need(&question, NULL, r, "question", err);
    if (!rc)
        rc = records_need(&label, NULL, r, "label", err);
    if (rc)
        return rc;
    bool cause = strcmp(question, "cause") == 0;
    if (!cause && strcmp(question, "effect") != 0)
        return bad_row(r, "question", question, "cause or effect", err);
    if (strcmp(label, "0") != 0 && strcmp(label, "1") != 0)
        return bad_row(r, "label", label, "0 or 1", err);
    row->label = label[0] - '0';
    size_t n = strlen(premise);
    while (n && (premise[n - 1] == ' ' || premise[n - 1] == '\n'))
        n--;
    while (n && ((unsigned char)premise[--n] & 0xc0) == 0x80) /* without its last character */
        continue;
    buf_clear(&row->context);
    rc = buf_printf(&row->context, err, "%.*s %s", (int)n, premise, cause ? "perché" : "quindi");
    for (int i = 0; i < 2 && !rc; i++)
        rc = put_sentence(&row->options[i], text[i], err);
    return rc;
}

static int score_xcopa(struct xcopa_report *out, const struct xcopa_row *row, struct choice *choice,
                       struct err *err)
{
    const char *options[2] = {row->options[0].bytes, row->options[1].bytes};
    const char *bare[2] = {options[0] + 1, options[1] + 1};
    struct choice_ask ask = {row->context.bytes, options, 2};
    struct choice_score scores[2];
    int rc = choice_score(scores, choice, &ask, 1, err);
    if (rc)
        return rc;
    out->n++;
    out->n_right += choice_best(scores, bare, 2, CHOICE_SUM) == row->label;
    out->n_right_norm += choice_best(scores, bare, 2, CHOICE_CHARS) == row->label;
    return 0;
}

int eval_xcopa(struct xcopa_report *out, struct choice *choice, const char *path, int64_t limit,
               const struct log_sink *sink, const volatile int *stop, struct err *err)
{
    struct records_options form = {.max_record_bytes = XCOPA_MAX_LINE_BYTES};
    struct xcopa_report report = {0};
    struct xcopa_row row = {0};
    struct records *r = NULL;
    struct progress progress;
    bool got = false;
    if (!limit || limit > EVAL_MAX_XCOPA_ROWS)
        limit = EVAL_MAX_XCOPA_ROWS;
    int rc = records_open(&r, path, &form, err);
    if (rc)
        return rc;
    progress_begin(&progress, sink, path, (double)reader_file_bytes(records_reader(r)), "B");
    while (!rc && report.n < limit && !(rc = records_next(r, &got, err)) && got) {
        rc = read_xcopa(&row, r, err);
        if (!rc)
            rc = score_xcopa(&report, &row, choice, err);
        if (!rc && stop && *stop)
            rc = err_set(err, MOE2_ESTOP, "stopped behind %lld rows", (long long)report.n);
        progress_set(&progress, (double)reader_bytes_consumed(records_reader(r)));
    }
    progress_end(&progress);
    records_close(r);
    buf_release(&row.context);
    buf_release(&row.options[0]);
    buf_release(&row.options[1]);
    if (!rc && report.n == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no rows", path);
    if (!rc)
        *out = report;
    return rc;
}

/* ---- SQuAD ---- */

enum { MAX_RIGHT = 64 };

/* A whole file, unpacked, as JSON. */
static int read_json(json_t **out, const char *path, struct err *err)
{
    struct buf text = {.max_bytes = EVAL_MAX_SQUAD_BYTES};
    struct reader *r = NULL;
    size_t n = 1;
    char piece[1 << 14];
    int rc = reader_open(&r, path, err);
    while (!rc && n) {
        rc = reader_read(r, piece, &n, sizeof piece, err);
        if (!rc && buf_append(&text, piece, n, err))
            rc = err_prefix(err, "%s", path);
    }
    reader_close(r);
    if (!rc)
        rc = json_read_bytes(out, path, text.bytes ? text.bytes : "", text.n, err);
    buf_release(&text);
    return rc;
}

static int score_question(struct squad_report *out, const json_t *q, const json_t *answers,
                          const char *path, struct err *err)
{
    const char *id = NULL, *right[MAX_RIGHT];
    const json_t *list = NULL;
    int rc = json_need_text(&id, q, path, "id", err), n = 0;
    if (!rc)
        rc = json_need_array(&list, q, path, "answers", err);
    for (size_t i = 0; !rc && i < json_array_size(list) && n < MAX_RIGHT; i++)
        rc = json_need_text(&right[n++], json_array_get(list, i), path, "text", err);
    if (rc)
        return rc;
    const json_t *answer = json_object_get(answers, id);
    out->n++;
    out->n_missing += !answer;
    if (answer && !json_is_string(answer))
        return err_set(err, MOE2_EFORMAT, "the answer to \"%.60s\" is no text", id);
    for (int k = 0; k < SQUAD_N_RULES && answer && !rc; k++) {
        struct squad_score s = {0};
        rc = squad_score(&s, json_string_value(answer), right, n, (enum squad_rules)k, err);
        out->exact[k] += s.exact;
        out->f1[k] += s.f1;
    }
    return rc;
}

static int score_article(struct squad_report *out, const json_t *article, const json_t *answers,
                         const char *path, struct err *err)
{
    const json_t *paragraphs = NULL, *list = NULL;
    int rc = json_need_array(&paragraphs, article, path, "paragraphs", err);
    for (size_t p = 0; !rc && p < json_array_size(paragraphs); p++) {
        rc = json_need_array(&list, json_array_get(paragraphs, p), path, "qas", err);
        for (size_t i = 0; !rc && i < json_array_size(list); i++)
            rc = score_question(out, json_array_get(list, i), answers, path, err);
    }
    return rc;
}

int eval_squad(struct squad_report *out, const char *path, const char *predictions, struct err *err)
{
    struct squad_report r = {0};
    json_t *set = NULL, *answers = NULL;
    const json_t *data = NULL;
    int rc = read_json(&set, path, err);
    if (!rc)
        rc = json_need_array(&data, set, path, "data", err);
    if (!rc)
        rc = read_json(&answers, predictions, err);
    if (!rc && !json_is_object(answers))
        rc = err_set(err, MOE2_EFORMAT, "%s: is no JSON object, wanted {id: answer}", predictions);
    for (size_t i = 0; !rc && i < json_array_size(data); i++)
        rc = score_article(&r, json_array_get(data, i), answers, path, err);
    if (!rc && r.n == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no questions", path);
    if (!rc) {
        r.n_unknown = (int64_t)json_object_size(answers) - (r.n - r.n_missing);
        for (int k = 0; k < SQUAD_N_RULES; k++)
            r.exact[k] *= 100.0 / (double)r.n, r.f1[k] *= 100.0 / (double)r.n;
        *out = r;
    }
    json_decref(set);
    json_decref(answers);
    return rc;
}
