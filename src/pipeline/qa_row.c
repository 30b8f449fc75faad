/* Questions: see qa_row.h. */
#include "pipeline/qa_row.h"

#include <string.h>

#include "io/json_util.h"

const char *const qa_kind_names[QA_N_KINDS] = {"choice", "several", "cloze"};

void qa_row_reset(struct qa_row *row)
{
    struct arena text = row->text;
    arena_reset(&text);
    *row = (struct qa_row){.text = text};
}

void qa_row_release(struct qa_row *row)
{
    arena_release(&row->text);
    *row = (struct qa_row){0};
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

const char *qa_row_text(struct qa_row *row, const char *text, size_t n, struct err *err)
{
    while (n && is_space(*text))
        text++, n--;
    while (n && is_space(text[n - 1]))
        n--;
    char *copy = arena_alloc(&row->text, n + 1, err);
    if (!copy)
        return NULL;
    memcpy(copy, text, n);
    copy[n] = 0;
    return copy;
}

int qa_row_choice(struct qa_row *row, const char *text, size_t n, struct err *err)
{
    if (row->n_choices == QA_MAX_CHOICES)
        return err_set(err, MOE2_ELIMIT, "more than %d options", QA_MAX_CHOICES);
    const char *copy = qa_row_text(row, text, n, err);
    if (!copy)
        return MOE2_ELIMIT;
    row->choices[row->n_choices++] = copy;
    return 0;
}

int qa_row_answer(struct qa_row *row, int64_t answer, struct err *err)
{
    if (answer < 0 || answer >= row->n_choices)
        return err_set(err, MOE2_EFORMAT, "the answer is option %lld of %d, counted from 0",
                       (long long)answer, row->n_choices);
    for (int i = 0; i < row->n_answers; i++)
        if (row->answers[i] == answer)
            return err_set(err, MOE2_EFORMAT, "option %lld is named as right twice",
                           (long long)answer);
    row->answers[row->n_answers++] = (int)answer;
    return 0;
}

/* ---- labels ---- */

/* The bytes of a label of that letter at the start: "(A)", "A.", "A．", "A、", "A:"; 0: none. */
static size_t label_bytes(const char *s, char letter)
{
    static const char *const behind[] = {".", "．", "、", ":", "：", ")"};
    if (s[0] == '(' && s[1] == letter && s[2] == ')')
        return 3;
    if (s[0] != letter)
        return 0;
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++)
        if (strncmp(s + 1, behind[i], strlen(behind[i])) == 0)
            return 1 + strlen(behind[i]);
    return 0;
}

void qa_row_strip_labels(struct qa_row *row)
{
    for (int i = 0; i < row->n_choices; i++)
        if (!label_bytes(row->choices[i], (char)('A' + i)))
            return;
    for (int i = 0; i < row->n_choices; i++) {
        const char *s = row->choices[i] + label_bytes(row->choices[i], (char)('A' + i));
        while (is_space(*s))
            s++;
        row->choices[i] = s;
    }
}

/* ---- checking, writing ---- */

int qa_row_check(const struct qa_row *row, struct err *err)
{
    if (!row->question || !*row->question)
        return err_set(err, MOE2_EFORMAT, "the question is empty");
    if (row->kind == QA_CLOZE) {
        if (row->n_choices || !row->answer_text || !*row->answer_text)
            return err_set(err, MOE2_EFORMAT, "there are neither options nor an answer in words");
        return 0;
    }
    if (row->n_choices < 1) /* MMLU-Pro has five questions with one option */
        return err_set(err, MOE2_EFORMAT, "there is no option, wanted 1 to %d", QA_MAX_CHOICES);
    if (row->kind == QA_CHOICE && row->n_answers != 1)
        return err_set(err, MOE2_EFORMAT, "there are %d right options, wanted one", row->n_answers);
    return 0;
}

static void write_answers(struct json_writer *w, const struct qa_row *row)
{
    int64_t answers[QA_MAX_CHOICES];
    for (int i = 0; i < row->n_answers; i++)
        answers[i] = row->answers[i];
    if (row->kind == QA_CHOICE)
        jw_int(w, "answer", answers[0]);
    else
        jw_null(w, "answer");
    if (row->kind == QA_SEVERAL)
        jw_ints(w, "answers", answers, row->n_answers);
    if (row->answer_text)
        jw_text(w, "answer_text", row->answer_text);
}

int qa_row_json(struct buf *out, const struct qa_row *row, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 0);
    jw_object(&w, NULL);
    jw_text(&w, "id", row->id);
    jw_text(&w, "source", row->source);
    jw_text(&w, "subject", row->subject);
    jw_text(&w, "kind", qa_kind_names[row->kind]);
    jw_text(&w, "question", row->question);
    jw_array(&w, "choices");
    for (int i = 0; i < row->n_choices; i++)
        jw_text(&w, NULL, row->choices[i]);
    jw_end(&w);
    write_answers(&w, row);
    if (row->context)
        jw_text(&w, "context", row->context);
    if (row->src)
        jw_text(&w, "src", row->src);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_append(out, "\n", 1, err);
}
