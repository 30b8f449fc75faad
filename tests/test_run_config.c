/* The configuration of a run: every key checked, named and suggested; what is not said is
 * resolved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "pipeline/run_config.h"

#define LEAST "name: x\ndata:\n  dir: data/italian\ntrain:\n  steps: 100\n"

static int parse(struct run_config *rc, const char *text, const char *const *words, int n,
                 struct err *err)
{
    return run_config_parse(rc, "run.yaml", text, strlen(text), words, n, err);
}

static void refuse(const char *text, const char *message)
{
    struct run_config rc;
    struct err err = {0};
    assert_true(parse(&rc, text, NULL, 0, &err) < 0);
    assert_string_equal(err.msg, message);
}

static struct model_config small(void)
{
    struct model_config m;
    struct err err = {0};
    if (model_config_read(&m, SOURCE_DIR "/configs/model/small.json", &err))
        fail_msg("%s", err.msg);
    return m;
}

static struct run_config resolved(const char *text, const char *const *words, int n)
{
    struct run_config rc;
    struct err err = {0};
    struct model_config m = small();
    if (parse(&rc, text, words, n, &err) || run_config_resolve(&rc, &m, &err))
        fail_msg("%s", err.msg);
    return rc;
}

static void wrong_keys_and_types_are_named_with_line_and_nearest_key(void **state)
{
    (void)state;
    refuse(LEAST "  learning_rate: 1\n",
           "run.yaml:6: train.learning_rate is no key (--help-config lists them)");
    refuse(LEAST "  warmpu: 1\n", "run.yaml:6: train.warmpu is no key, did you mean train.warmup?");
    refuse(LEAST "  lr: fast\n", "run.yaml:6: train.lr is \"fast\", wanted a number from 0 to 100");
    refuse(LEAST "  batch_tokens: 1.5\n",
           "run.yaml:6: train.batch_tokens is \"1.5\", wanted a whole number from 1 to 1073741824");
    refuse(LEAST "router:\n  incentive: rdesi\n",
           "run.yaml:7: router.incentive is \"rdesi\", wanted one of "
           "none, aux, loss_free, quantile, rd_esi, rd_esi_integral");
    refuse("data: {dir: x}\ntrain: {steps: 1}\n", "run.yaml: name is missing, wanted a text");
}

static void keys_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    refuse("name: x\ntrain: {steps: 5}\n",
           "run.yaml: no data is given, wanted one of data.dir, data.text and data.examples");
    refuse("name: x\ndata: {dir: a, text: [b]}\ntrain: {steps: 5}\n",
           "run.yaml: several are given, wanted one of data.dir, data.text and data.examples");
    refuse("name: x\ndata: {dir: a}\n",
           "run.yaml: none of train.tokens, train.steps and train.epochs is given");
    refuse("name: x\ndata: {dir: a}\ntrain: {steps: 5, tokens: 100000}\n",
           "run.yaml: train.tokens is 100000, which is 49 steps, and train.steps is 5, wanted one "
           "of the two "
           "(the other 0)");
    refuse("name: a/b\ndata: {dir: a}\ntrain: {steps: 5}\n",
           "run.yaml: name is \"a/b\", wanted a word without / that does not begin with a dot");
    refuse(
        LEAST "  batch_tokens: 100\n",
        "run.yaml: train.batch_tokens is 100, wanted a multiple of train.sequence, which is 128");
    refuse(LEAST "  betas: [0.9]\n", "run.yaml: train.betas has 1 numbers, wanted 2");
    refuse(LEAST "eval: {stride: 200}\n",
           "run.yaml: eval.stride is 200, wanted at most the window, which is 128");
}

static void an_override_wins_and_passes_the_same_checks(void **state)
{
    (void)state;
    struct run_config rc;
    struct err err = {0};
    const char *words[] = {"train.lr=0.01", "seed=7"};
    assert_int_equal(0, parse(&rc, LEAST, words, 2, NULL));
    assert_true(rc.train.lr == 0.01);
    assert_int_equal(rc.seed, 7);
    run_config_release(&rc);
    words[1] = "sead=7";
    assert_int_equal(MOE2_ECONFIG, parse(&rc, LEAST, words, 2, &err));
    assert_string_equal(err.msg, "sead is no key, did you mean seed?");
}

static void what_is_not_said_is_resolved_from_the_steps_and_the_model(void **state)
{
    (void)state;
    const char *words[] = {"train.steps=0", "train.tokens=100000", "router.incentive=rd_esi"};
    struct run_config rc = resolved(LEAST, words, 3);
    assert_int_equal(rc.train.steps, 49);
    assert_int_equal(rc.train.tokens, 49 * 2048);
    assert_int_equal(rc.train.warmup, 4);
    assert_int_equal(rc.train.eval_every, 10);
    assert_int_equal(rc.train.micro_batch, 16);
    assert_int_equal(rc.eval.window, 128);
    assert_int_equal(rc.eval.stride, 128);
    assert_int_equal(rc.routing.n_experts, 16);
    assert_int_equal(rc.routing.n_picks, 2);
    assert_int_equal(rc.routing.score, SCORE_SIGMOID);
    assert_int_equal(rc.routing.native_bias, NATIVE_BIAS_REPLACE);
    assert_true(rc.router.gamma == 0.5 && rc.router.beta == 0.01);
    assert_true(rc.router.exploration_until == 24);
    assert_true(rc.router.aux_coef == 0);
    run_config_release(&rc);
}

static void
softmax_scores_scale_the_starting_values_by_2_over_e_and_never_what_was_said(void **state)
{
    (void)state;
    const char *words[] = {"router.incentive=rd_esi", "router.score=softmax", "router.beta=0.3"};
    struct run_config rc = resolved(LEAST, words, 3);
    assert_true(rc.router.gamma == 0.0625);
    assert_true(rc.router.beta == 0.3);
    assert_true(rc.routing.incentive.gamma == 0.0625f);
    run_config_release(&rc);
}

static void every_configuration_of_ours_has_its_label(void **state)
{
    (void)state;
    static const char *const settings[][3] = {
        {"none", "router.incentive=none", "seed=1"},
        {"aux", "router.incentive=aux", "seed=1"},
        {"aux_global", "router.incentive=aux", "router.aux_form=global"},
        {"loss_free", "router.incentive=loss_free", "seed=1"},
        {"quantile", "router.incentive=quantile", "seed=1"},
        {"expert_choice", "router.pick=expert_choice", "seed=1"},
        {"random", "router.pick=random", "seed=1"},
        {"rd_esi", "router.incentive=rd_esi", "seed=1"},
        {"rd_esi_integral", "router.incentive=rd_esi_integral", "seed=1"},
        {"rd_esi_integral", "router.incentive=rd_esi", "router.integral=0.01"},
        {"rd_esi_raw", "router.incentive=rd_esi", "router.normalise=false"},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        struct run_config rc = resolved(LEAST, settings[i] + 1, 2);
        assert_string_equal(run_config_label(&rc.routing), settings[i][0]);
        run_config_release(&rc);
    }
}

static void a_resolved_configuration_reads_back_as_itself(void **state)
{
    (void)state;
    static const char *const words[][2] = {
        {"router.incentive=rd_esi", "router.score=softmax"},
        {"router.incentive=rd_esi", "router.normalise=false"},
        {"router.incentive=rd_esi_integral", "train.schedule=wsd"},
        {"router.pick=expert_choice", "train.dtype=bf16"},
        {"router.incentive=aux", "router.aux_form=global"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct run_config a = resolved(LEAST, words[i], 2), b;
        struct buf text = {0}, again = {0};
        struct err err = {0};
        struct model_config m = small();
        assert_int_equal(0, run_config_print(&text, &a, NULL));
        if (run_config_parse(&b, "again", text.bytes, text.n, NULL, 0, &err) ||
            run_config_resolve(&b, &m, &err))
            fail_msg("%s", err.msg);
        assert_null(run_config_difference(&a, &b));
        assert_int_equal(0, run_config_print(&again, &b, NULL));
        assert_string_equal(text.bytes, again.bytes);
        run_config_release(&a);
        run_config_release(&b);
        buf_release(&text);
        buf_release(&again);
    }
}

static void another_run_differs_in_the_key_that_was_changed(void **state)
{
    (void)state;
    const char *lr[] = {"train.lr=0.01"}, *often[] = {"train.log_every=3"};
    struct run_config a = resolved(LEAST, NULL, 0), b = resolved(LEAST, lr, 1),
                      c = resolved(LEAST, often, 1);
    assert_string_equal(run_config_difference(&a, &b)->name, "train.lr");
    assert_null(run_config_difference(&a, &c));
    run_config_release(&a);
    run_config_release(&b);
    run_config_release(&c);
}

static void a_router_that_makes_no_sense_is_refused_with_the_file(void **state)
{
    (void)state;
    struct run_config rc;
    struct err err = {0};
    struct model_config m = small();
    const char *words[] = {"router.pick=expert_choice", "router.incentive=rd_esi"};
    assert_int_equal(0, parse(&rc, LEAST, words, 2, NULL));
    assert_int_equal(MOE2_ECONFIG, run_config_resolve(&rc, &m, &err));
    assert_true(strncmp(err.msg, "run.yaml: ", 10) == 0);
    assert_non_null(strstr(err.msg, "expert_choice"));
    run_config_release(&rc);
    const char *longer[] = {"train.sequence=4096", "train.batch_tokens=4096"};
    err = (struct err){0};
    assert_int_equal(0, parse(&rc, LEAST, longer, 2, NULL));
    assert_int_equal(MOE2_ECONFIG, run_config_resolve(&rc, &m, &err));
    assert_string_equal(
        err.msg, "run.yaml: train.sequence or eval.window is 4096, wanted at most the model's "
                 "max_position_embeddings, which is 2048");
    run_config_release(&rc);
}

static void every_shipped_configuration_reads_and_resolves(void **state)
{
    (void)state;
    char **names = NULL;
    size_t n = 0, n_yaml = 0;
    struct model_config m = small();
    assert_int_equal(0, dir_names(&names, &n, SOURCE_DIR "/configs", NULL));
    for (size_t i = 0; i < n; i++) {
        const char *words[] = {"data.text=x"};
        size_t len = strlen(names[i]);
        if (len < 12 || strcmp(names[i] + len - 12, "_config.yaml") != 0)
            continue;
        char *path = path_join(SOURCE_DIR "/configs", names[i]);
        struct run_config rc;
        struct err err = {0};
        bool is_bytes = strncmp(names[i], "none_bytes", 10) == 0;
        if (run_config_read(&rc, path, words, is_bytes ? 1 : 0, &err) ||
            run_config_resolve(&rc, &m, &err))
            fail_msg("%s", err.msg);
        run_config_release(&rc);
        free(path);
        n_yaml++;
    }
    dir_names_free(names, n);
    assert_true(n_yaml >= 10);
}

static void the_help_has_a_line_for_every_key(void **state)
{
    (void)state;
    struct buf text = {0};
    int n = 0;
    const struct yaml_key *keys = run_config_keys(&n);
    assert_int_equal(0, run_config_help(&text, NULL));
    for (int i = 0; i < n; i++) {
        assert_non_null(strstr(text.bytes, keys[i].name));
        assert_non_null(keys[i].help);
        assert_non_null(strstr(text.bytes, keys[i].help));
    }
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_keys_and_types_are_named_with_line_and_nearest_key),
        cmocka_unit_test(keys_that_contradict_each_other_are_refused),
        cmocka_unit_test(an_override_wins_and_passes_the_same_checks),
        cmocka_unit_test(what_is_not_said_is_resolved_from_the_steps_and_the_model),
        cmocka_unit_test(
            softmax_scores_scale_the_starting_values_by_2_over_e_and_never_what_was_said),
        cmocka_unit_test(every_configuration_of_ours_has_its_label),
        cmocka_unit_test(a_resolved_configuration_reads_back_as_itself),
        cmocka_unit_test(another_run_differs_in_the_key_that_was_changed),
        cmocka_unit_test(a_router_that_makes_no_sense_is_refused_with_the_file),
        cmocka_unit_test(every_shipped_configuration_reads_and_resolves),
        cmocka_unit_test(the_help_has_a_line_for_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
