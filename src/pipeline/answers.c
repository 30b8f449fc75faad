/* Recorded answers: see answers.h. io/outcomes.h reads the files; here their texts become options and are held against each other. */
#include "pipeline/answers.h"

#include <stdlib.h>
#include <string.h>

#include "route/vote.h"

int answers_option(const char *text)
{
    if (!*text)
        return -1;
    if (text[0] >= 'A' && text[0] <= 'Z' && !text[1])
        return text[0] - 'A';
    if (text[0] >= '0' && text[0] <= '9' &&
        (!text[1] || (text[1] >= '0' && text[1] <= '9' && !text[2]))) {
        int value = text[1] ? 10 * (text[0] - '0') + text[1] - '0' : text[0] - '0';
        return value <= 25 ? value : -2;
    }
    return -2;
}

/* The texts of a table as an array, but number `skip`. */
static int list_texts(const char ***out, struct arena *memory, const struct name_table *t,
                      int64_t skip, struct err *err)
{
    const char **list = arena_alloc(memory, ((size_t)t->n + 1) * sizeof *list, err);
    if (!list)
        return MOE2_ELIMIT;
    for (int64_t i = 0, n = 0; i < t->n; i++)
        if (i != skip)
            list[n++] = name_table_text(t, i);
    *out = list;
    return 0;
}

/* Every text of a table as an option; −1 for the empty one. */
static int list_options(int8_t **out, struct arena *memory, const struct name_table *t,
                        const char *path, struct err *err)
{
    int8_t *options = arena_alloc(memory, (size_t)t->n + 1, err);
    if (!options)
        return MOE2_ELIMIT;
    for (int64_t i = 0; i < t->n; i++) {
        int option = answers_option(name_table_text(t, i));
        if (option < -1)
            return err_set(err, MOE2_EFORMAT,
                           "%s: an answer is \"%.40s\", wanted a letter from A to Z or a number "
                           "to 25",
                           path, name_table_text(t, i));
        options[i] = (int8_t)option;
    }
    *out = options;
    return 0;
}

/* Category and right option of every question; −1 where the file has none. The categories behind the empty text move up by one. */
static int fill_questions(struct answers *a, int64_t no_category, struct err *err)
{
    const struct outcomes *o = &a->read;
    int8_t *option = NULL;
    size_t n = (size_t)a->n;
    int rc = list_options(&option, &a->memory, &o->answers, o->path, err);
    if (rc)
        return rc;
    a->category = arena_alloc(&a->memory, n * sizeof *a->category, err);
    a->right = arena_alloc(&a->memory, n, err);
    if (!a->category || !a->right)
        return MOE2_ELIMIT;
    for (int64_t q = 0; q < a->n; q++) {
        int32_t c = o->category ? o->category[q] : -1;
        a->category[q] = c == no_category ? -1 : no_category >= 0 && c > no_category ? c - 1 : c;
        a->right[q] = o->answer ? option[o->answer[q]] : -1;
    }
    return 0;
}

static int take_outcomes(struct answers *a, struct err *err)
{
    const struct outcomes *o = &a->read;
    a->n = o->n_rows;
    a->n_experts = o->n_experts;
    a->outcomes = o->right;
    if (o->categories.n > ANSWERS_MAX_CATEGORIES)
        return err_set(err, MOE2_ELIMIT, "%s: more than %d categories", o->path,
                       ANSWERS_MAX_CATEGORIES);
    int64_t no_category = name_table_find(&o->categories, "", 0);
    a->n_categories = (int)(o->categories.n - (no_category >= 0));
    int rc = list_texts(&a->names, &a->memory, &o->experts, -1, err);
    if (!rc)
        rc = list_texts(&a->categories, &a->memory, &o->categories, no_category, err);
    if (!rc)
        rc = list_texts(&a->ids, &a->memory, &o->ids, -1, err);
    return rc ? rc : fill_questions(a, no_category, err);
}

/* The option that expert e gave on question q; a right one must be the question's, a wrong one must not. */
static int check_option(const struct answers *a, const char *path, int64_t q, int e, int option,
                        struct err *err)
{
    bool is_right = option >= 0 && option == a->right[q];
    int8_t outcome = a->outcomes[q * a->n_experts + e];
    if (a->right[q] < 0 || outcome < 0 || is_right == (outcome == 1))
        return 0;
    return err_set(err, MOE2_EFORMAT,
                   "%s: question \"%.60s\": the answer of %.60s is %s%c, wanted %s, for the "
                   "outcome is %d",
                   path, a->ids[q], a->names[e], option < 0 ? "none, not " : "",
                   'A' + (option < 0 ? a->right[q] : option),
                   outcome ? "the right option" : "not the right option", outcome);
}

static int take_predictions(struct answers *a, const char *path, const struct predictions *p,
                            struct err *err)
{
    int8_t *option = NULL;
    int rc = list_options(&option, &a->memory, &p->answers, path, err);
    if (rc)
        return rc;
    a->options = arena_alloc(&a->memory, (size_t)(a->n * a->n_experts), err);
    if (!a->options)
        return MOE2_ELIMIT;
    for (int64_t q = 0; q < a->n && !rc; q++)
        for (int e = 0; e < a->n_experts && !rc; e++) {
            int64_t at = q * a->n_experts + e;
            int given = p->cell[at] == OUTCOME_EMPTY ? -1 : option[p->cell[at]];
            a->options[at] = (int8_t)(a->outcomes[at] == OUTCOME_EMPTY ? -1 : given);
            rc = check_option(a, path, q, e, given, err);
        }
    return rc;
}

static int read_predictions(struct answers *a, const char *path, struct err *err)
{
    struct predictions p = {0};
    int rc = predictions_read(&p, path, &a->read, vote_everyone(a->n_experts), err);
    if (!rc)
        rc = take_predictions(a, path, &p, err);
    predictions_release(&p);
    return rc;
}

int answers_read(struct answers *a, const char *outcomes, const char *predictions, struct err *err)
{
    *a = (struct answers){0};
    int rc = outcomes_read(&a->read, outcomes, NULL, err);
    if (!rc)
        rc = take_outcomes(a, err);
    if (!rc && predictions)
        rc = read_predictions(a, predictions, err);
    if (rc)
        answers_release(a);
    return rc;
}

void answers_release(struct answers *a)
{
    outcomes_release(&a->read);
    arena_release(&a->memory);
    *a = (struct answers){0};
}

int64_t answers_row(const struct answers *a, const char *id)
{
    return name_table_find(&a->read.ids, id, strlen(id));
}

int answers_expert(const struct answers *a, const char *name)
{
    for (int i = 0; i < a->n_experts; i++)
        if (strcmp(a->names[i], name) == 0)
            return i;
    return -1;
}
