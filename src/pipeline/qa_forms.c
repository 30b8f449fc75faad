/* The table of published forms: see qa_forms.h.
 *
 * A form's reader fills what it finds; what every row must have is checked once behind all of them.
 * Letters and numbers are both taken as answers wherever a set uses either.
 */
#include "pipeline/qa_forms.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/rng.h"
#include "io/json_util.h"
#include "pipeline/text_dedup.h"

const char *const qa_source_names[QA_N_SOURCES] = {"mmlu", "mmlu_pro", "arc", "sciq", "agieval"};

enum { ANY_SOURCE = -1 };

struct form {
    int source;            /* or ANY_SOURCE */
    const char *fields[6]; /* that a record must have, for this form to be its */
    int (*read)(struct qa_row *row, const struct records *r, const struct qa_context *c,
                struct err *err);
};

/* ---- pieces ---- */

static int set_text(const char **out, struct qa_row *row, const char *text, size_t n,
                    struct err *err)
{
    *out = qa_row_text(row, text, n, err);
    return *out ? 0 : MOE2_ELIMIT;
}

/* A field that must be there. */
static int need(const char **out, struct qa_row *row, const struct records *r, const char *name,
                struct err *err)
{
    const char *text = NULL;
    size_t n = 0;
    text = records_field(r, name, &n);
    if (!text)
        return err_set(err, MOE2_EFORMAT, "there is no \"%s\"", name);
    return set_text(out, row, text, n, err);
}

/* One that may be missing, null or empty: NULL then. */
static int option(const char **out, struct qa_row *row, const struct records *r, const char *name,
                  struct err *err)
{
    size_t n = 0;
    const char *text = records_field(r, name, &n);
    int rc = text ? set_text(out, row, text, n, err) : 0;
    if (!rc && text && !**out)
        *out = NULL;
    return rc;
}

static int parse(json_t **out, const struct records *r, const char *name, struct err *err)
{
    size_t n = 0;
    const char *text = records_field(r, name, &n);
    if (!text)
        return err_set(err, MOE2_EFORMAT, "there is no \"%s\"", name);
    return json_read_line(out, name, 1, text, n, err);
}

static int add_choice(struct qa_row *row, const json_t *v, struct err *err)
{
    if (!json_is_string(v))
        return err_set(err, MOE2_EFORMAT, "an option is no text");
    return qa_row_choice(row, json_string_value(v), json_string_length(v), err);
}

static int add_choices(struct qa_row *row, const json_t *list, struct err *err)
{
    int rc = json_is_array(list) ? 0 : err_set(err, MOE2_EFORMAT, "the options are no list");
    for (size_t i = 0; i < json_array_size(list) && !rc; i++)
        rc = add_choice(row, json_array_get(list, i), err);
    return rc;
}

static int choices_field(struct qa_row *row, const struct records *r, const char *name,
                         struct err *err)
{
    json_t *list = NULL;
    int rc = parse(&list, r, name, err);
    if (!rc)
        rc = add_choices(row, list, err);
    json_decref(list);
    return rc;
}

/* "C" or "2": an option as a letter, or as a number from 0. */
static int answer_word(struct qa_row *row, const char *word, struct err *err)
{
    char c = word[0];
    char *end = NULL;
    if (c && !word[1] && ((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
        return qa_row_answer(row, (c & ~32) - 'A', err);
    long value = strtol(word, &end, 10);
    if (c < '0' || c > '9' || *end || value > QA_MAX_CHOICES)
        return err_set(err, MOE2_EFORMAT,
                       "the answer is \"%.20s\", wanted a letter or a number from 0", word);
    return qa_row_answer(row, value, err);
}

static int answer_field(struct qa_row *row, const struct records *r, const char *name,
                        struct err *err)
{
    const char *word = NULL;
    int rc = need(&word, row, r, name, err);
    return rc ? rc : answer_word(row, word, err);
}

/* ---- mmlu ---- */

static int read_mmlu_csv(struct qa_row *row, const struct records *r, const struct qa_context *c,
                         struct err *err)
{
    static const char *const letters[] = {"A", "B", "C", "D"};
    (void)c;
    int rc = need(&row->question, row, r, "question", err);
    for (int i = 0; i < 4 && !rc; i++) {
        size_t n = 0;
        const char *text = records_field(r, letters[i], &n);
        rc = text ? qa_row_choice(row, text, n, err)
                  : err_set(err, MOE2_EFORMAT, "option %s is null", letters[i]);
    }
    return rc ? rc : answer_field(row, r, "answer", err);
}

static int read_mmlu_hub(struct qa_row *row, const struct records *r, const struct qa_context *c,
                         struct err *err)
{
    (void)c;
    int rc = need(&row->question, row, r, "question", err);
    if (!rc)
        rc = option(&row->subject, row, r, "subject", err);
    if (!rc)
        rc = choices_field(row, r, "choices", err);
    return rc ? rc : answer_field(row, r, "answer", err);
}

/* ---- mmlu_pro ---- */

static int read_mmlu_pro(struct qa_row *row, const struct records *r, const struct qa_context *c,
                         struct err *err)
{
    const char *index = NULL;
    (void)c;
    int rc = need(&row->question, row, r, "question", err);
    if (!rc)
        rc = option(&row->id, row, r, "question_id", err);
    if (!rc)
        rc = option(&row->subject, row, r, "category", err);
    if (!rc)
        rc = option(&row->src, row, r, "src", err);
    if (!rc)
        rc = choices_field(row, r, "options", err);
    if (!rc)
        rc = answer_field(row, r, "answer", err);
    if (!rc)
        rc = option(&index, row, r, "answer_index", err);
    if (!rc && index && atol(index) != row->answers[0])
        rc = err_set(err, MOE2_EFORMAT, "answer_index is %.20s, but answer is option %d", index,
                     row->answers[0]);
    return rc;
}

/* ---- arc ---- */

/* The option whose label is the key: A to E, or 1 to 5. */
static int answer_by_label(struct qa_row *row, const json_t *labels, const char *key,
                           struct err *err)
{
    for (size_t i = 0; i < json_array_size(labels); i++) {
        const char *label = json_string_value(json_array_get(labels, i));
        if (label && strcmp(label, key) == 0)
            return qa_row_answer(row, (int64_t)i, err);
    }
    return err_set(err, MOE2_EFORMAT, "answerKey is \"%.20s\", no option has that label", key);
}

/* [{text, label}, …] as two lists. */
static int split_labelled(struct qa_row *row, json_t *labels, const json_t *choices,
                          struct err *err)
{
    int rc = json_is_array(choices) ? 0 : err_set(err, MOE2_EFORMAT, "the options are no list");
    for (size_t i = 0; i < json_array_size(choices) && !rc; i++) {
        const json_t *o = json_array_get(choices, i);
        rc = add_choice(row, json_object_get(o, "text"), err);
        json_t *label = json_object_get(o, "label");
        if (!rc && (!label || json_array_append(labels, label)))
            rc = err_set(err, MOE2_EFORMAT, "option %zu has no label", i);
    }
    return rc;
}

static int read_arc_nested(struct qa_row *row, const json_t *question, json_t *labels,
                           struct err *err)
{
    const json_t *stem = json_object_get(question, "stem");
    if (!json_is_string(stem))
        return err_set(err, MOE2_EFORMAT, "the question has no stem");
    int rc = set_text(&row->question, row, json_string_value(stem), json_string_length(stem), err);
    const json_t *para = json_object_get(question, "para");
    if (!rc && json_is_string(para))
        rc = set_text(&row->context, row, json_string_value(para), json_string_length(para), err);
    return rc ? rc : split_labelled(row, labels, json_object_get(question, "choices"), err);
}

static int read_arc_flat(struct qa_row *row, const struct records *r, json_t **labels,
                         struct err *err)
{
    json_t *choices = NULL;
    int rc = need(&row->question, row, r, "question", err);
    if (!rc)
        rc = parse(&choices, r, "choices", err);
    if (!rc && json_is_array(choices)) {
        rc = split_labelled(row, *labels, choices, err);
    } else if (!rc) {
        rc = add_choices(row, json_object_get(choices, "text"), err);
        json_decref(*labels);
        *labels = json_incref(json_object_get(choices, "label"));
        if (!rc && json_array_size(*labels) != (size_t)row->n_choices)
            rc = err_set(err, MOE2_EFORMAT, "there are %zu labels for %d options",
                         json_array_size(*labels), row->n_choices);
    }
    json_decref(choices);
    return rc;
}

static int read_arc(struct qa_row *row, const struct records *r, const struct qa_context *c,
                    struct err *err)
{
    const char *text = records_field(r, "question", NULL), *key = NULL;
    json_t *question = NULL, *labels = json_array();
    (void)c;
    int rc = option(&row->id, row, r, "id", err);
    if (!rc)
        rc = need(&key, row, r, "answerKey", err);
    if (!rc && !records_field(r, "choices", NULL) && text[0] == '{') {
        rc = parse(&question, r, "question", err);
        if (!rc)
            rc = read_arc_nested(row, question, labels, err);
    } else if (!rc) {
        rc = read_arc_flat(row, r, &labels, err);
    }
    if (!rc)
        rc = answer_by_label(row, labels, key, err);
    json_decref(question);
    json_decref(labels);
    return rc;
}

/* Where the label of option i, a letter or a number, begins in the text; NULL: nowhere. */
static const char *find_label(const char *text, char first, int i)
{
    char label[4] = {'(', (char)(first + i), ')', 0};
    return strstr(text, label);
}

/* "Which …? (A) one (B) two": the question and its options in one field. */
static int read_arc_csv(struct qa_row *row, const struct records *r, const struct qa_context *c,
                        struct err *err)
{
    const char *all = NULL, *key = NULL;
    (void)c;
    int rc = need(&all, row, r, "question", err);
    if (!rc)
        rc = need(&key, row, r, "AnswerKey", err);
    if (!rc)
        rc = option(&row->id, row, r, "questionID", err);
    if (rc)
        return rc;
    char first = find_label(all, 'A', 0) ? 'A' : '1';
    const char *at = find_label(all, first, 0);
    if (!at)
        return err_set(err, MOE2_EFORMAT, "the question has no options \"(A) … (B) …\"");
    rc = set_text(&row->question, row, all, (size_t)(at - all), err);
    for (int i = 0; at && !rc; i++) {
        const char *next = i + 1 < QA_MAX_CHOICES ? find_label(at, first, i + 1) : NULL;
        rc = qa_row_choice(row, at + 3, next ? (size_t)(next - at - 3) : strlen(at + 3), err);
        at = next;
    }
    if (!rc && key[0] && key[1])
        rc = err_set(err, MOE2_EFORMAT, "AnswerKey is \"%.20s\", wanted one label", key);
    return rc ? rc : qa_row_answer(row, key[0] - first, err);
}

/* ---- sciq ---- */

/* The set names the right option apart: it goes to a place that only the question and the seed say. */
static int read_sciq(struct qa_row *row, const struct records *r, const struct qa_context *c,
                     struct err *err)
{
    static const char *const wrong[] = {"distractor1", "distractor2", "distractor3"};
    int rc = need(&row->question, row, r, "question", err);
    if (!rc)
        rc = option(&row->context, row, r, "support", err);
    if (rc)
        return rc;
    struct text_hash h = text_hash(row->question, strlen(row->question));
    int right = (int)(rng_at(c->seed, h.a, h.b, 0) % 4);
    for (int i = 0, next = 0; i < 4 && !rc; i++) {
        const char *name = i == right ? "correct_answer" : wrong[next++], *text = NULL;
        rc = need(&text, row, r, name, err);
        if (!rc)
            rc = qa_row_choice(row, text, strlen(text), err);
    }
    return rc ? rc : qa_row_answer(row, right, err);
}

/* ---- agieval ---- */

/* "C"; "ACD" and "A C" name several. */
static int letters(struct qa_row *row, const char *text, struct err *err)
{
    int rc = 0;
    for (const char *p = text; *p && !rc; p++)
        if (*p != ' ' && *p != ',')
            rc = answer_word(row, (char[]){*p, 0}, err);
    row->kind = row->n_answers > 1 ? QA_SEVERAL : QA_CHOICE;
    return rc;
}

/* AGIEval has a full stop among its letters once. */
static bool is_punctuation(const char *word)
{
    return *word &&
           !strpbrk(word, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
}

static int listed_answers(struct qa_row *row, const json_t *list, struct err *err)
{
    char word[24];
    int rc = 0;
    row->kind = QA_SEVERAL;
    row->listed = true;
    for (size_t i = 0; i < json_array_size(list) && !rc; i++) {
        const json_t *v = json_array_get(list, i);
        if (json_is_integer(v))
            snprintf(word, sizeof word, "%lld", (long long)json_integer_value(v));
        else
            snprintf(word, sizeof word, "%s", json_is_string(v) ? json_string_value(v) : "");
        if (!is_punctuation(word))
            rc = answer_word(row, word, err);
    }
    return rc;
}

static int read_agieval(struct qa_row *row, const struct records *r, const struct qa_context *c,
                        struct err *err)
{
    (void)c;
    int rc = need(&row->question, row, r, "question", err);
    if (!rc)
        rc = option(&row->context, row, r, "passage", err);
    if (rc)
        return rc;
    if (!records_field(r, "options", NULL)) {
        row->kind = QA_CLOZE;
        return need(&row->answer_text, row, r, "answer", err);
    }
    rc = choices_field(row, r, "options", err);
    qa_row_strip_labels(row);
    const char *label = NULL;
    if (!rc)
        rc = need(&label, row, r, "label", err);
    if (rc || label[0] != '[')
        return rc ? rc : letters(row, label, err);
    json_t *list = NULL;
    rc = parse(&list, r, "label", err);
    if (!rc)
        rc = listed_answers(row, list, err);
    json_decref(list);
    return rc;
}

/* ---- any set ---- */

/* Harnesses put "Question: " before and "\nAnswer:" behind. */
static int read_harness(struct qa_row *row, const struct records *r, const struct qa_context *c,
                        struct err *err)
{
    static const char before[] = "Question:", behind[] = "Answer:";
    const char *query = NULL;
    json_t *gold = NULL;
    (void)c;
    int rc = need(&query, row, r, "query", err);
    if (rc)
        return rc;
    if (strncmp(query, before, strlen(before)) == 0)
        query += strlen(before);
    size_t n = strlen(query), n_behind = strlen(behind);
    if (n > n_behind && strcmp(query + n - n_behind, behind) == 0)
        n -= n_behind;
    rc = set_text(&row->question, row, query, n, err);
    if (!rc)
        rc = choices_field(row, r, "choices", err);
    if (!rc)
        rc = parse(&gold, r, "gold", err);
    qa_row_strip_labels(row);
    if (!rc && json_is_array(gold) && json_array_size(gold) != 1)
        rc = listed_answers(row, gold, err);
    else if (!rc)
        rc =
            json_is_integer(json_is_array(gold) ? json_array_get(gold, 0) : gold)
                ? qa_row_answer(
                      row, json_integer_value(json_is_array(gold) ? json_array_get(gold, 0) : gold),
                      err)
                : err_set(err, MOE2_EFORMAT, "gold is no whole number");
    json_decref(gold);
    return rc;
}

static int own_kind(struct qa_row *row, const char *kind, struct err *err)
{
    for (int i = 0; i < QA_N_KINDS; i++)
        if (strcmp(kind, qa_kind_names[i]) == 0) {
            row->kind = (enum qa_kind)i;
            return 0;
        }
    return err_set(err, MOE2_EFORMAT, "kind is \"%.20s\", wanted choice, several or cloze", kind);
}

/* A line of qa_row_json. */
static int read_own(struct qa_row *row, const struct records *r, const struct qa_context *c,
                    struct err *err)
{
    const char *kind = NULL;
    json_t *answers = NULL;
    (void)c;
    int rc = need(&row->id, row, r, "id", err);
    if (!rc)
        rc = need(&row->source, row, r, "source", err);
    if (!rc)
        rc = need(&row->subject, row, r, "subject", err);
    if (!rc)
        rc = need(&row->question, row, r, "question", err);
    if (!rc)
        rc = need(&kind, row, r, "kind", err);
    if (!rc)
        rc = own_kind(row, kind, err);
    if (!rc)
        rc = choices_field(row, r, "choices", err);
    if (!rc)
        rc = option(&row->context, row, r, "context", err);
    if (!rc)
        rc = option(&row->src, row, r, "src", err);
    if (!rc)
        rc = option(&row->answer_text, row, r, "answer_text", err);
    if (!rc && row->kind == QA_CHOICE)
        rc = answer_field(row, r, "answer", err);
    if (!rc && row->kind == QA_SEVERAL)
        rc = parse(&answers, r, "answers", err);
    if (!rc && row->kind == QA_SEVERAL)
        rc = listed_answers(row, answers, err);
    json_decref(answers);
    return rc;
}

/* ---- the table ---- */

/* In the order of trying; of a set's own forms the first whose fields are all there. A field that is
 * null counts as missing. */
static const struct form FORMS[] = {
    {ANY_SOURCE, {"id", "source", "subject", "kind", "question", "choices"}, read_own},
    {QA_MMLU, {"question", "A", "B", "C", "D", "answer"}, read_mmlu_csv},
    {QA_MMLU, {"question", "choices", "answer"}, read_mmlu_hub},
    {QA_MMLU_PRO, {"question", "options", "answer"}, read_mmlu_pro},
    {QA_ARC, {"question", "answerKey"}, read_arc},
    {QA_ARC, {"question", "AnswerKey"}, read_arc_csv},
    {QA_SCIQ, {"question", "correct_answer", "distractor1"}, read_sciq},
    {QA_AGIEVAL, {"question", "options", "label"}, read_agieval},
    {QA_AGIEVAL, {"question", "answer"}, read_agieval},
    {ANY_SOURCE, {"query", "choices", "gold"}, read_harness},
};

static bool fits(const struct form *f, const struct records *r)
{
    for (size_t i = 0; i < sizeof f->fields / sizeof *f->fields && f->fields[i]; i++)
        if (!records_field(r, f->fields[i], NULL))
            return false;
    return true;
}

static const struct form *form_of(const struct records *r, enum qa_source source)
{
    for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++)
        if ((FORMS[i].source == ANY_SOURCE || FORMS[i].source == (int)source) && fits(&FORMS[i], r))
            return &FORMS[i];
    return NULL;
}

static int no_form(enum qa_source source, struct err *err)
{
    char wanted[256] = "";
    size_t n = 0;
    for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++) {
        if (FORMS[i].source != (int)source || n >= sizeof wanted)
            continue;
        n += (size_t)snprintf(wanted + n, sizeof wanted - n, "%s{", n ? " or " : "");
        for (int k = 0; k < 6 && FORMS[i].fields[k] && n < sizeof wanted; k++)
            n += (size_t)snprintf(wanted + n, sizeof wanted - n, "%s%s", k ? ", " : "",
                                  FORMS[i].fields[k]);
        if (n < sizeof wanted)
            n += (size_t)snprintf(wanted + n, sizeof wanted - n, "}");
    }
    return err_set(err, MOE2_EFORMAT, "is in no form of %s that is known, wanted %s",
                   qa_source_names[source], wanted);
}

int qa_read_row(struct qa_row *row, const struct records *r, const struct qa_context *context,
                struct err *err)
{
    qa_row_reset(row);
    const struct form *form = form_of(r, context->source);
    int rc = form ? form->read(row, r, context, err) : no_form(context->source, err);
    if (!rc && !row->source)
        row->source = qa_source_names[context->source];
    if (!rc && !row->subject)
        rc = set_text(&row->subject, row, context->stem, strlen(context->stem), err);
    if (!rc)
        rc = qa_row_check(row, err);
    return rc ? err_prefix(err, "%s:%lld", reader_path(records_reader(r)),
                           (long long)records_line_number(r))
              : 0;
}
