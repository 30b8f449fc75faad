/* Multiple choice by log-likelihood: the scores that transformers gives
 * (tests/golden/make_choice_golden.py), however questions are batched; prompts in their two forms;
 * what must be refused.
 *
 * Limit 2e-5 of the score: float32 sums in another order than float64's, over up to 160 nats.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

#include <cmocka.h>

#include "base/file.h"
#include "eval/choice.h"
#include "io/json_util.h"
#include "io/records.h"
#include "model/lora_file.h"
#include "pipeline/answer_model.h"
#include "pipeline/answer_set.h"

enum { MAX_CASES = 32, MAX_OPTIONS = 8 };

struct golden_case {
    char *context, *options[MAX_OPTIONS];
    int n_options, n_tokens[MAX_OPTIONS], n_context;
    double ll[MAX_OPTIONS];
    int64_t max_length;
    int32_t bos;
};

struct golden {
    struct device *dev;
    struct decoder *dec;
    struct tokenizer *tok;
    struct golden_case cases[MAX_CASES];
    int n;
};

static double number(const struct records *r, const char *name)
{
    const char *text = records_field(r, name, NULL);
    assert_non_null(text);
    return strtod(text, NULL);
}

static json_t *list(const struct records *r, const char *name)
{
    size_t n = 0;
    json_t *out = NULL;
    const char *text = records_field(r, name, &n);
    assert_non_null(text);
    assert_int_equal(0, json_read_bytes(&out, name, text, n, NULL));
    return out;
}

static void read_case(struct golden_case *c, const struct records *r)
{
    json_t *options = list(r, "options"), *ll = list(r, "ll"), *tokens = list(r, "tokens");
    c->context = strdup(records_field(r, "context", NULL));
    c->n_options = (int)json_array_size(options);
    c->n_context = (int)number(r, "n_context");
    c->max_length = (int64_t)number(r, "max_length");
    c->bos = (int32_t)number(r, "bos");
    for (int i = 0; i < c->n_options; i++) {
        c->options[i] = strdup(json_string_value(json_array_get(options, (size_t)i)));
        c->ll[i] = json_real_value(json_array_get(ll, (size_t)i));
        c->n_tokens[i] = (int)json_integer_value(json_array_get(tokens, (size_t)i));
    }
    json_decref(options);
    json_decref(ll);
    json_decref(tokens);
}

static int open_golden(void **state)
{
    struct golden *g = calloc(1, sizeof *g);
    struct records *r = NULL;
    struct err err = {0};
    bool got = false;
    const char *dir = TEST_DIR "/fixtures/choice";
    if (!g || device_open(&g->dev, "cpu", 2, &err) ||
        decoder_open(&g->dec, &(struct decoder_options){.dir = dir, .compute = DT_F32}, g->dev,
                     &err) ||
        tokenizer_open(&g->tok, dir, &err) ||
        records_open(&r, TEST_DIR "/fixtures/choice/choice.jsonl", NULL, &err))
        fail_msg("%s", err.msg);
    while (!records_next(r, &got, &err) && got && g->n < MAX_CASES)
        read_case(&g->cases[g->n++], r);
    records_close(r);
    *state = g;
    return 0;
}

static int close_golden(void **state)
{
    struct golden *g = *state;
    for (int i = 0; i < g->n; i++) {
        free(g->cases[i].context);
        for (int k = 0; k < g->cases[i].n_options; k++)
            free(g->cases[i].options[k]);
    }
    tokenizer_free(g->tok);
    decoder_free(g->dec);
    device_close(g->dev);
    free(g);
    return 0;
}

static struct choice *scorer(struct golden *g, int64_t max_length, int64_t batch_tokens,
                             int32_t bos)
{
    struct choice *c = NULL;
    struct err err = {0};
    struct choice_options o = {
        .max_length = max_length, .batch_tokens = batch_tokens, .prefix = 0, .bos = bos};
    if (choice_new(&c, g->dec, g->tok, &o, &err))
        fail_msg("%s", err.msg);
    return c;
}

static void check_case(const struct golden_case *c, const struct choice_score *scores)
{
    for (int i = 0; i < c->n_options; i++) {
        assert_int_equal(scores[i].n_tokens, c->n_tokens[i]);
        assert_int_equal(scores[i].n_context, c->n_context);
        if (fabs(scores[i].ll - c->ll[i]) > 2e-5 * (1 + fabs(c->ll[i])))
            fail_msg("\"%s\"%s: %.7f, transformers has %.7f", c->context, c->options[i],
                     scores[i].ll, c->ll[i]);
    }
}

static void scores_are_those_of_transformers(void **state)
{
    struct golden *g = *state;
    assert_true(g->n >= 12);
    for (int i = 0; i < g->n; i++) {
        const struct golden_case *x = &g->cases[i];
        struct choice_score scores[MAX_OPTIONS];
        struct choice_ask ask = {x->context, (const char *const *)x->options, x->n_options};
        struct choice *c = scorer(g, x->max_length, 0, x->bos);
        assert_int_equal(0, choice_score(scores, c, &ask, 1, NULL));
        check_case(x, scores);
        choice_free(c);
    }
}

/* The cases that share a setting go through together, in batches of one sequence to all. */
static void batches_of_questions_change_nothing(void **state)
{
    struct golden *g = *state;
    static const int64_t batches[] = {1, 40, 100, 4096};
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
        struct choice *c = scorer(g, 128, batches[b], -1);
        struct choice_ask asks[MAX_CASES];
        struct choice_score scores[MAX_CASES * MAX_OPTIONS], *s = scores;
        int n = 0;
        for (int i = 0; i < g->n; i++)
            if (g->cases[i].max_length == 128 && g->cases[i].bos < 0)
                asks[n++] = (struct choice_ask){g->cases[i].context,
                                                (const char *const *)g->cases[i].options,
                                                g->cases[i].n_options};
        assert_true(n > 5);
        assert_int_equal(0, choice_score(scores, c, asks, n, NULL));
        for (int i = 0; i < g->n; i++)
            if (g->cases[i].max_length == 128 && g->cases[i].bos < 0) {
                check_case(&g->cases[i], s);
                s += g->cases[i].n_options;
            }
        choice_free(c);
    }
}

static void the_best_option_depends_on_what_scores_are_divided_by(void **state)
{
    (void)state;
    const struct choice_score scores[] = {{-4, 1, 1}, {-6, 3, 1}, {-6, 2, 1}, {-4, 1, 1}};
    const char *const texts[] = {"no", "perché", "perche", "né"};
    assert_int_equal(0, choice_best(scores, texts, 4, CHOICE_SUM));   /* the first of equals */
    assert_int_equal(1, choice_best(scores, texts, 4, CHOICE_CHARS)); /* −2, −1, −1, −2 */
    assert_int_equal(1, choice_best(scores, texts, 4, CHOICE_BYTES)); /* −2, −6/7, −1, −4/3 */
    assert_int_equal(2, choice_best(scores + 1, texts + 1, 3, CHOICE_SUM));
    const char *const empty[] = {"", "ab"};
    assert_int_equal(1, choice_best(scores + 2, empty, 2, CHOICE_CHARS)); /* −6 of one, −2 */
}

static void what_can_not_be_scored_is_named(void **state)
{
    struct golden *g = *state;
    struct choice_score scores[32];
    struct err err = {0};
    const char *const long_option[] = {" x", " one two three four five six seven eight nine"};
    const char *const options[] = {" x", ""}, *const many[27] = {" x"};
    struct choice_ask asks[] = {{"Answer:", long_option, 2},
                                {"Answer:", options, 2},
                                {"Answer:", many, 27},
                                {"", long_option, 2}};
    struct choice *c = scorer(g, 8, 0, -1);
    assert_int_equal(MOE2_ELIMIT, choice_score(scores, c, &asks[0], 1, &err));
    assert_non_null(strstr(err.msg, "question 1: an option has "));
    assert_non_null(strstr(err.msg, "wanted at most the 8 that are read at once"));
    err = (struct err){0};
    assert_int_equal(MOE2_EFORMAT, choice_score(scores, c, &asks[1], 1, &err));
    assert_string_equal(err.msg, "question 1: the option \"\" adds no token");
    err = (struct err){0};
    assert_int_equal(MOE2_ELIMIT, choice_score(scores, c, &asks[2], 1, &err));
    assert_string_equal(err.msg, "question 1: there are 27 options, wanted 1 to 26");
    choice_free(c);
    struct choice_options o = {.max_length = 64, .prefix = -1, .bos = -1};
    err = (struct err){0};
    assert_int_equal(0, choice_new(&c, g->dec, g->tok, &o, &err));
    assert_int_equal(MOE2_ECONFIG, choice_score(scores, c, &asks[3], 1, &err));
    assert_string_equal(err.msg, "question 1: the context is empty, and the model has neither BOS "
                                 "nor EOS to put there");
    choice_free(c);
    o.max_length = 0;
    err = (struct err){0};
    assert_int_equal(MOE2_ECONFIG, choice_new(&c, g->dec, g->tok, &o, &err));
    assert_string_equal(err.msg, "0 tokens are read at once, wanted 1 or more");
}

static void a_session_scores_as_the_decoder_does(void **state)
{
    struct golden *g = *state;
    struct session *session = NULL;
    struct err err = {0};
    struct session_options so = {.model = TEST_DIR "/fixtures/choice", .capacity = 256};
    assert_int_equal(0, session_open(&session, &so, g->dev, &err));
    for (int i = 0; i < g->n; i++) {
        const struct golden_case *gc = &g->cases[i];
        struct choice_score scores[MAX_OPTIONS];
        struct choice *c = NULL;
        struct choice_ask ask = {gc->context, (const char *const *)gc->options, gc->n_options};
        struct choice_options o = {.max_length = gc->max_length, .prefix = 0, .bos = gc->bos};
        if (choice_new_kept(&c, session, g->tok, &o, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(0, choice_score(scores, c, &ask, 1, &err));
        check_case(gc, scores);
        choice_free(c);
    }
    session_free(session);
}

static void an_id_beyond_the_vocabulary_is_refused(void **state)
{
    struct golden *g = *state;
    struct decoder *small = NULL;
    struct choice *c = NULL;
    struct choice_score scores[2];
    struct err err = {0};
    const char *const options[] = {" the end of it"};
    struct choice_ask ask = {"Why?", options, 1};
    struct decoder_options o = {.dir = TEST_DIR "/fixtures/model_v3", .compute = DT_F32};
    assert_int_equal(0, decoder_open(&small, &o, g->dev, &err));
    struct choice_options co = {.max_length = 64, .prefix = 0, .bos = -1};
    assert_int_equal(0, choice_new(&c, small, g->tok, &co, &err));
    assert_int_equal(MOE2_ECONFIG, choice_score(scores, c, &ask, 1, &err));
    assert_non_null(strstr(err.msg, "which is not in the model's vocabulary of 48"));
    choice_free(c);
    decoder_free(small);
}

/* ---- adapters ---- */

static double score_with(const char *dir, const char *adapter, struct err *err)
{
    struct answer_model m = {0};
    struct choice_score score = {.ll = NAN};
    const char *const options[] = {" the fish"};
    struct choice_ask ask = {"Which animal swims?", options, 1};
    struct answer_model_options o = {.dir = dir, .adapter = adapter, .n_threads = 1};
    if (!answer_model_open(&m, &o, err))
        choice_score(&score, m.choice, &ask, 1, err);
    answer_model_close(&m);
    return score.ll;
}

static void a_models_adapters_count(void **state)
{
    struct golden *g = *state;
    struct decoder *dec = NULL;
    struct err err = {0};
    const char *dir = TEST_DIR "/fixtures/choice", *const targets[] = {"o_proj"};
    struct lora_config lora = {.targets = targets, .n_targets = 1, .r = 2, .alpha = 4};
    struct decoder_options o = {.dir = dir, .compute = DT_F32, .lora = &lora, .train = true};
    if (decoder_open(&dec, &o, g->dev, &err) || dir_make("choice_adapter", &err))
        fail_msg("%s", err.msg);
    const struct lora *adapters = decoder_lora(dec);
    for (int64_t k = 0; k < adapters->n; k++)
        for (int64_t i = 0; i < adapters->adapters[k].b->n; i++)
            adapters->adapters[k].b->data[i] = i % 2 ? 0.4f : -0.3f;
    assert_int_equal(0, lora_file_write(dec, "choice_adapter", dir, &err));
    decoder_free(dec);
    double without = score_with(dir, NULL, &err), with = score_with(dir, "choice_adapter", &err);
    assert_true(isfinite(without) && isfinite(with));
    assert_true(fabs(with - without) > 1e-3);
    score_with(dir, "nowhere", &err);
    assert_non_null(strstr(err.msg, "nowhere"));
    assert_int_equal(0, file_remove_all("choice_adapter", NULL));
}

/* ---- prompts ---- */

static const char *const two[] = {"four", "five"};

static void prompts_have_the_forms_of_mmlu_and_of_arc(void **state)
{
    (void)state;
    static const char *const yes_no[] = {"yes", "no"};
    struct answer_question shots[] = {
        {.subject = "high_school_birds", .question = "Fly?", .choices = yes_no, .n_choices = 2},
        {.subject = "rivers", .question = "Swim?", .choices = yes_no, .n_choices = 2, .answer = 1},
        {.subject = "high_school_birds",
         .question = "Bark?",
         .choices = yes_no,
         .n_choices = 2,
         .answer = 1}};
    struct answer_question q = {
        .subject = "high_school_birds", .question = "How many?", .choices = two, .n_choices = 2};
    struct answer_set examples = {.v = shots, .n = 3};
    struct answer_form_options o = {.form = ANSWER_LETTER, .examples = &examples, .n_shots = 2};
    struct answer_prompt p = {0};
    struct err err = {0};
    assert_int_equal(0, answer_prompt_make(&p, &q, &o, &err));
    assert_string_equal(
        p.context.bytes,
        "The following are multiple choice questions (with answers) about high school birds.\n\n"
        "Fly?\nA. yes\nB. no\nAnswer: A\n\nBark?\nA. yes\nB. no\nAnswer: B\n\n"
        "How many?\nA. four\nB. five\nAnswer:");
    assert_string_equal(p.options[1], " B");
    assert_string_equal(p.bare[1], "B");
    o.form = ANSWER_TEXT;
    o.n_shots = 1;
    q.context = "A cat walks by.";
    assert_int_equal(0, answer_prompt_make(&p, &q, &o, &err));
    assert_string_equal(p.context.bytes, "Question: Fly?\nAnswer: yes\n\n"
                                         "A cat walks by.\nQuestion: How many?\nAnswer:");
    assert_string_equal(p.options[0], " four");
    assert_string_equal(p.bare[1], "five");
    o.n_shots = 3;
    assert_int_equal(MOE2_ECONFIG, answer_prompt_make(&p, &q, &o, &err));
    assert_string_equal(err.msg,
                        "there are 2 examples of \"high_school_birds\", wanted 3 (--few-shot)");
    answer_prompt_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_of_transformers),
        cmocka_unit_test(batches_of_questions_change_nothing),
        cmocka_unit_test(the_best_option_depends_on_what_scores_are_divided_by),
        cmocka_unit_test(what_can_not_be_scored_is_named),
        cmocka_unit_test(a_session_scores_as_the_decoder_does),
        cmocka_unit_test(an_id_beyond_the_vocabulary_is_refused),
        cmocka_unit_test(a_models_adapters_count),
        cmocka_unit_test(prompts_have_the_forms_of_mmlu_and_of_arc),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
