/* The trainer: accumulation, one router update a step, resuming with the same bits, NaN,
 * stopping. */
#include <math.h>

#include "train_fixture.h"

static struct router_config rd_esi(const char *exploration)
{
    struct model_config c = fixture_config();
    struct router_config r;
    model_router_config(&r, &c);
    r.native_bias = NATIVE_BIAS_REPLACE;
    r.seed = 3;
    r.incentive.name = "rd_esi";
    int v = 0;
    assert_int_equal(0, route_word_parse(&v, &explore_words, exploration, NULL));
    r.incentive.exploration = (enum explore_kind)v;
    return r;
}

static void steps(struct fixture *f, int64_t n)
{
    struct err err = {0};
    for (int64_t i = 0; i < n; i++)
        if (trainer_step(&f->trainer, &err))
            fail_msg("%s", err.msg);
}

/* The largest difference between the weights of two models, and between their gradients. */
static double distance(struct fixture *a, struct fixture *b, bool gradients)
{
    int64_t n = 0, m = 0;
    struct param *p = decoder_params(a->dec, &n), *q = decoder_params(b->dec, &m);
    double most = 0;
    assert_int_equal(n, m);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < p[i].n && (!gradients || p[i].grad); k++) {
            double d =
                gradients ? fabs(p[i].grad[k] - q[i].grad[k]) : fabs(p[i].data[k] - q[i].data[k]);
            most = d > most ? d : most;
        }
    return most;
}

static void expect_same_bits(struct fixture *a, struct fixture *b)
{
    int64_t n = 0, m = 0;
    struct param *p = decoder_params(a->dec, &n), *q = decoder_params(b->dec, &m);
    assert_int_equal(n, m);
    for (int64_t i = 0; i < n; i++)
        if (p[i].kind != PARAM_BUFFER) /* the live one is the router's */
            assert_memory_equal(p[i].data, q[i].data, (size_t)p[i].n * sizeof(float));
    for (int64_t l = 0; l < decoder_config(a->dec)->num_hidden_layers; l++) {
        if (!decoder_router(a->dec, l))
            continue;
        assert_memory_equal(router_native_bias(decoder_router(a->dec, l)),
                            router_native_bias(decoder_router(b->dec, l)), 4 * sizeof(float));
        struct route_state_item x[ROUTE_STATE_MAX], y[ROUTE_STATE_MAX];
        int n_items = router_state(decoder_router(a->dec, l), x);
        assert_int_equal(n_items, router_state(decoder_router(b->dec, l), y));
        for (int i = 0; i < n_items; i++)
            assert_memory_equal(x[i].values, y[i].values, (size_t)x[i].n * sizeof(float));
        struct route_state_item z[ROUTE_STATE_MAX], w[ROUTE_STATE_MAX];
        n_items = matthew_state(a->trainer.measures.layers[l], z);
        matthew_state(b->trainer.measures.layers[l], w);
        for (int i = 0; i < n_items; i++)
            assert_memory_equal(z[i].values, w[i].values, (size_t)z[i].n * sizeof(float));
    }
}

static void the_loss_falls(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, &(struct fixture_setting){.steps = 40, .batch = 8, .micro_batch = 8});
    steps(&f, 1);
    double first = f.trainer.state.loss;
    steps(&f, 39);
    assert_true(fabs(first - log(FIXTURE_VOCAB)) < 0.2);
    assert_true(f.trainer.state.loss < first - 0.8);
    assert_int_equal(f.trainer.state.tokens, 40 * 8 * FIXTURE_SEQUENCE);
    assert_int_equal(f.trainer.state.samples, 40 * 8);
    fixture_close(&f);
}

static void four_micro_batches_are_one_batch_of_four(void **state)
{
    (void)state;
    struct fixture whole, cut, uneven;
    fixture_open(&whole, &(struct fixture_setting){.steps = 10, .batch = 4, .micro_batch = 4});
    fixture_open(&cut, &(struct fixture_setting){.steps = 10, .batch = 4, .micro_batch = 1});
    fixture_open(&uneven, &(struct fixture_setting){.steps = 10, .batch = 4, .micro_batch = 3});
    steps(&whole, 1);
    steps(&cut, 1);
    steps(&uneven, 1);
    assert_true(fabs(whole.trainer.state.loss - cut.trainer.state.loss) < 1e-6);
    assert_true(distance(&whole, &cut, true) < 1e-6);
    assert_true(distance(&whole, &uneven, true) < 1e-6);
    for (int64_t l = 1; l < 3; l++) /* the loads that the step saw, exactly */
        for (int e = 0; e < 4; e++) {
            assert_true(whole.trainer.loads[l * 4 + e] == cut.trainer.loads[l * 4 + e]);
            assert_true(whole.trainer.loads[l * 4 + e] == uneven.trainer.loads[l * 4 + e]);
        }
    fixture_close(&whole);
    fixture_close(&cut);
    fixture_close(&uneven);
}

/* t, the router's own count of optimizer steps. */
static float router_steps(struct fixture *f)
{
    const float *t = incentive_state_find(router_incentive(decoder_router(f->dec, 1)), "t");
    assert_non_null(t);
    return *t;
}

static void routers_move_once_a_step_with_accumulation_recomputation_and_evaluations(void **state)
{
    (void)state;
    struct router_config r = rd_esi("ucb");
    struct fixture plain, hard;
    fixture_open(
        &plain, &(struct fixture_setting){.router = &r, .steps = 10, .batch = 4, .micro_batch = 4});
    fixture_open(&hard, &(struct fixture_setting){.router = &r,
                                                  .steps = 10,
                                                  .batch = 4,
                                                  .micro_batch = 1,
                                                  .checkpoint_activations = true});
    for (int i = 1; i <= 5; i++) {
        steps(&plain, 1);
        steps(&hard, 1);
        assert_int_equal(0, trainer_evaluate(&hard.trainer, NULL));
        assert_true(router_steps(&plain) == (float)i);
        assert_true(router_steps(&hard) == (float)i);
    }
    const float *N = incentive_state_find(router_incentive(decoder_router(plain.dec, 1)), "N");
    const float *M = incentive_state_find(router_incentive(decoder_router(hard.dec, 1)), "N");
    double sum = 0, other = 0;
    for (int e = 0; e < 4; e++) {
        sum += N[e];
        other += M[e];
    }
    assert_true(fabs(sum - other) < 1e-3); /* the same number of picks was counted */
    fixture_close(&plain);
    fixture_close(&hard);
}

static void an_evaluation_moves_nothing(void **state)
{
    (void)state;
    struct router_config r = rd_esi("noise");
    struct fixture a, b;
    fixture_open(
        &a, &(struct fixture_setting){.router = &r, .steps = 10, .batch = 4, .micro_batch = 2});
    fixture_open(
        &b, &(struct fixture_setting){.router = &r, .steps = 10, .batch = 4, .micro_batch = 2});
    for (int i = 0; i < 4; i++) {
        steps(&a, 1);
        steps(&b, 1);
        assert_int_equal(0, trainer_evaluate(&b.trainer, NULL));
    }
    expect_same_bits(&a, &b);
    fixture_close(&a);
    fixture_close(&b);
}

/* n steps straight, and the same with a death after every second step: weights, moments, routers,
 * measures, place in the data. */
static void resumed_equals_straight(const struct router_config *router, int64_t micro_batch,
                                    bool recompute)
{
    char *folder = fixture_folder("resume"), *last = path_join(folder, "last");
    struct router_config r = *router;
    struct fixture_setting s = {.router = &r,
                                .steps = 8,
                                .batch = 4,
                                .micro_batch = micro_batch,
                                .checkpoint_activations = recompute,
                                .checkpoints = folder};
    struct fixture straight, part;
    s.checkpoints = NULL;
    fixture_open(&straight, &s);
    steps(&straight, 8);
    s.checkpoints = folder;
    for (int i = 0; i < 4; i++) {
        fixture_open(&part, &s);
        assert_int_equal(part.trainer.state.step, 2 * i);
        steps(&part, 2);
        assert_int_equal(0, trainer_save(&part.trainer, NULL));
        if (i < 3)
            fixture_close(&part);
        s.from = last;
    }
    expect_same_bits(&straight, &part);
    assert_true(straight.trainer.state.loss == part.trainer.state.loss);
    assert_int_equal(straight.trainer.state.samples, part.trainer.state.samples);
    fixture_close(&straight);
    fixture_close(&part);
    assert_int_equal(0, file_remove_all(folder, NULL));
    free(last);
    free(folder);
}

static void a_resumed_run_has_the_bits_of_one_that_never_stopped(void **state)
{
    (void)state;
    struct router_config r = rd_esi("ucb");
    resumed_equals_straight(&r, 2, false);
    r = rd_esi("noise");
    resumed_equals_straight(&r, 4, true);
    r = rd_esi("epsilon");
    r.incentive.integral = 0.01f;
    resumed_equals_straight(&r, 1, false);
}

static void that_holds_for_the_other_routers_too(void **state)
{
    (void)state;
    static const char *const names[] = {"none", "aux", "loss_free", "quantile"};
    struct router_config r;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        r = rd_esi("ucb");
        r.incentive.exploration = EXPLORE_AUTO;
        r.incentive.name = names[i];
        resumed_equals_straight(&r, 2, false);
    }
    r = rd_esi("ucb");
    r.incentive.exploration = EXPLORE_AUTO;
    r.incentive.name = "none";
    r.pick = PICK_RANDOM;
    resumed_equals_straight(&r, 2, false);
    r.pick = PICK_EXPERT_CHOICE;
    r.score = SCORE_SOFTMAX;
    resumed_equals_straight(&r, 2, false);
    r = rd_esi("ucb");
    r.native_bias = NATIVE_BIAS_KEEP;
    resumed_equals_straight(&r, 2, true);
    r = rd_esi("ucb");
    r.combine = COMBINE_SELECTION;
    r.incentive.exploration = EXPLORE_AUTO;
    r.incentive.normalise = 0;
    resumed_equals_straight(&r, 2, false);
}

static void a_nan_in_a_weight_stops_with_step_and_tensor_and_leaves_the_checkpoint(void **state)
{
    (void)state;
    char *folder = fixture_folder("nan"), *last = path_join(folder, "last");
    struct fixture f, g;
    struct err err = {0};
    fixture_open(&f, &(struct fixture_setting){
                         .steps = 10, .batch = 2, .micro_batch = 2, .checkpoints = folder});
    steps(&f, 2);
    assert_int_equal(0, trainer_save(&f.trainer, NULL));
    int64_t n = 0;
    struct param *params = decoder_params(f.dec, &n);
    for (int64_t i = 0; i < n; i++)
        if (strcmp(params[i].name, "model.layers.1.mlp.shared_experts.down_proj.weight") == 0)
            params[i].data[3] = NAN;
    assert_int_equal(MOE2_ENUMERIC, trainer_run(&f.trainer, &err));
    assert_non_null(strstr(err.msg, "step 3"));
    assert_non_null(strstr(err.msg, "layer"));
    assert_int_equal(f.trainer.state.step, 2);
    err = (struct err){0};
    f.trainer.saved_step = -1; /* somebody stops the run now */
    assert_int_equal(MOE2_ENUMERIC, trainer_save(&f.trainer, &err));
    assert_string_equal(
        "step 2: the checkpoint is not written: model.layers.1.mlp.shared_experts.down_proj.weight "
        "holds a NaN or infinity (element 3)",
        err.msg);
    fixture_open(
        &g, &(struct fixture_setting){.steps = 10, .batch = 2, .micro_batch = 2, .from = last});
    assert_int_equal(g.trainer.state.step, 2);
    steps(&g, 1);
    fixture_close(&f);
    fixture_close(&g);
    assert_int_equal(0, file_remove_all(folder, NULL));
    free(last);
    free(folder);
}

static void a_step_that_broke_off_does_not_count_twice(void **state)
{
    (void)state;
    struct router_config r = rd_esi("ucb");
    struct fixture f, g;
    fixture_open(
        &f, &(struct fixture_setting){.router = &r, .steps = 10, .batch = 2, .micro_batch = 1});
    fixture_open(
        &g, &(struct fixture_setting){.router = &r, .steps = 10, .batch = 2, .micro_batch = 1});
    int64_t n = 0;
    struct param *params = decoder_params(f.dec, &n);
    float *head = NULL;
    for (int64_t i = 0; i < n; i++)
        if (params[i].kind == PARAM_HEAD)
            head = params[i].data;
    float kept = head[0];
    head[0] = NAN;
    assert_int_equal(MOE2_ENUMERIC, trainer_step(&f.trainer, NULL));
    head[0] = kept;
    steps(&f, 1);
    steps(&g, 1);
    expect_same_bits(&f, &g);
    fixture_close(&f);
    fixture_close(&g);
}

static void a_stop_finishes_the_step_saves_and_goes_on_from_there(void **state)
{
    (void)state;
    char *folder = fixture_folder("stop"), *last = path_join(folder, "last");
    volatile int stop = 0;
    struct err err = {0};
    struct fixture f;
    fixture_open(
        &f, &(struct fixture_setting){
                .steps = 10, .batch = 2, .micro_batch = 2, .checkpoints = folder, .stop = &stop});
    steps(&f, 3);
    stop = 1;
    assert_int_equal(MOE2_ESTOP, trainer_run(&f.trainer, &err));
    assert_string_equal(err.msg, "stopped after step 3 of 10");
    struct train_state saved;
    assert_int_equal(0, checkpoint_read_state(&saved, NULL, last, NULL));
    assert_int_equal(saved.step, 3);
    assert_int_equal(saved.samples, 6);
    fixture_close(&f);
    assert_int_equal(0, file_remove_all(folder, NULL));
    free(last);
    free(folder);
}

static void the_best_checkpoint_is_the_one_of_the_lowest_validation_loss(void **state)
{
    (void)state;
    char *folder = fixture_folder("best"), *best = path_join(folder, "best");
    struct fixture f;
    fixture_open(&f, &(struct fixture_setting){
                         .steps = 12, .batch = 4, .micro_batch = 4, .checkpoints = folder});
    assert_int_equal(0, trainer_run(&f.trainer, NULL));
    struct train_state saved;
    assert_int_equal(0, checkpoint_read_state(&saved, NULL, best, NULL));
    assert_int_equal(saved.step, f.trainer.state.best.step);
    assert_true(saved.best.loss == f.trainer.state.best.loss);
    f.trainer.state.best.loss = -1; /* nothing can be better */
    assert_int_equal(0, trainer_evaluate(&f.trainer, NULL));
    struct train_state after;
    assert_int_equal(0, checkpoint_read_state(&after, NULL, best, NULL));
    assert_int_equal(after.step, saved.step);
    fixture_close(&f);
    assert_int_equal(0, file_remove_all(folder, NULL));
    free(best);
    free(folder);
}

static void a_kill_between_last_and_best_is_mended(void **state)
{
    (void)state;
    char *folder = fixture_folder("mend"), *best = path_join(folder, "best"),
         *last = path_join(folder, "last");
    struct fixture f;
    struct train_state saved;
    fixture_open(&f, &(struct fixture_setting){
                         .steps = 4, .batch = 2, .micro_batch = 2, .checkpoints = folder});
    steps(&f, 2);
    assert_int_equal(0, trainer_evaluate(&f.trainer, NULL));
    assert_int_equal(0, checkpoint_mend_best(best, last, NULL)); /* as it is */
    steps(&f, 1);
    f.trainer.state.best.step = 3;
    assert_int_equal(0, trainer_save(&f.trainer, NULL)); /* … and dead */
    assert_int_equal(0, checkpoint_read_state(&saved, NULL, best, NULL));
    assert_int_equal(saved.step, 2);
    assert_int_equal(0, checkpoint_mend_best(best, last, NULL));
    assert_int_equal(0, checkpoint_read_state(&saved, NULL, best, NULL));
    assert_int_equal(saved.step, 3);
    assert_int_equal(0, file_remove_all(best, NULL));
    assert_int_equal(0, checkpoint_mend_best(best, last, NULL));
    assert_int_equal(0, checkpoint_read_state(&saved, NULL, best, NULL));
    assert_int_equal(saved.step, 3);
    fixture_close(&f);
    assert_int_equal(0, file_remove_all(folder, NULL));
    free(best);
    free(last);
    free(folder);
}

struct seen {
    int64_t n_steps, n_evals, last_step, n_layers;
};

static int see_line(void *ctx, const json_t *line, struct err *err)
{
    struct seen *s = ctx;
    if (json_object_get(line, "eval"))
        s->n_evals++;
    else
        s->n_steps++;
    if (json_object_get(line, "layers"))
        s->n_layers += (int64_t)json_array_size(json_object_get(line, "layers"));
    return json_need_int(&s->last_step, line, "metrics", "step", 1, 100, err);
}

static void metrics_have_a_line_a_step_and_are_cut_back_to_the_checkpoint(void **state)
{
    (void)state;
    char *folder = fixture_folder("metrics"), *path = path_join(folder, "metrics.jsonl");
    struct metrics m = {0};
    struct fixture f;
    struct seen s = {0};
    assert_int_equal(0, metrics_open(&m, path, 0, NULL));
    fixture_open(
        &f, &(struct fixture_setting){.steps = 6, .batch = 2, .micro_batch = 2, .metrics = &m});
    assert_int_equal(0, trainer_run(&f.trainer, NULL));
    metrics_close(&m);
    fixture_close(&f);
    assert_int_equal(0, metrics_read(path, see_line, &s, NULL));
    assert_int_equal(s.n_steps, 6);
    assert_int_equal(s.n_evals, 2);      /* steps 4 and 6 */
    assert_int_equal(s.n_layers, 4 * 2); /* steps 1, 2, 4 and 6 say what each layer did */
    FILE *file = fopen(path, "a");
    fputs("{\"step\": 7, \"lo", file); /* a death in the middle of a line */
    fclose(file);
    assert_int_equal(0, metrics_open(&m, path, 4, NULL));
    metrics_close(&m);
    s = (struct seen){0};
    assert_int_equal(0, metrics_read(path, see_line, &s, NULL));
    assert_int_equal(s.n_steps, 4);
    assert_int_equal(s.n_evals, 1);
    assert_int_equal(s.last_step, 4);
    assert_int_equal(0, file_remove_all(folder, NULL));
    free(path);
    free(folder);
}

static void a_full_disk_is_one_sentence_and_the_old_checkpoint_stays(void **state)
{
    (void)state;
    struct metrics m = {0};
    struct err err = {0};
    struct fixture f;
    if (access("/dev/full", W_OK)) {
        print_message("skipped: there is no /dev/full\n");
        skip();
    }
    m.f = fopen("/dev/full", "a");
    m.path = strdup("metrics.jsonl");
    fixture_open(
        &f, &(struct fixture_setting){.steps = 6, .batch = 2, .micro_batch = 2, .metrics = &m});
    assert_int_equal(MOE2_EIO, trainer_step(&f.trainer, &err));
    assert_string_equal(err.msg, "metrics.jsonl: can't be written: No space left on device");
    metrics_close(&m);
    fixture_close(&f);
}

static void a_checkpoint_that_cannot_be_written_is_one_sentence(void **state)
{
    (void)state;
    char *folder = fixture_folder("unwritable"), *file = path_join(folder, "checkpoints");
    struct err err = {0};
    struct fixture f;
    assert_int_equal(0, file_write(file, "in the way", 10, NULL));
    fixture_open(&f, &(struct fixture_setting){
                         .steps = 6, .batch = 2, .micro_batch = 2, .checkpoints = file});
    steps(&f, 1);
    assert_int_equal(MOE2_EIO, trainer_save(&f.trainer, &err));
    assert_true(strncmp(err.msg, "the checkpoint could not be written: ", 37) == 0);
    assert_non_null(strstr(err.msg, file));
    fixture_close(&f);
    assert_int_equal(0, file_remove_all(folder, NULL));
    free(file);
    free(folder);
}

static void a_broken_train_state_is_named(void **state)
{
    (void)state;
    char *folder = fixture_folder("state"), *path = path_join(folder, "train_state.json");
    static const char *const texts[][2] = {
        {"{\"format\": \"soup\"}", "format is \"soup\", wanted \"moe2 train state\""},
        {"{\"format\": \"moe2 train state\", \"version\": 1, \"step\": -4}", "step"},
        {"{\"format\": \"moe2 train state\"", "train_state.json"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct err err = {0};
        struct train_state s;
        assert_int_equal(0, file_write(path, texts[i][0], strlen(texts[i][0]), NULL));
        assert_true(checkpoint_read_state(&s, NULL, folder, &err) < 0);
        assert_non_null(strstr(err.msg, texts[i][1]));
    }
    assert_int_equal(0, file_remove_all(folder, NULL));
    free(path);
    free(folder);
}

/* A device that is lost after so many checks: what a GPU that falls off its bus looks like from here. */
static int checks_left;

static int lose(struct device *dev, struct err *err)
{
    (void)dev;
    return checks_left-- > 0 ? 0 : err_set(err, MOE2_EIO, "cuda: the GPU is lost");
}

static void a_device_lost_mid_run_leaves_the_last_checkpoint(void **state)
{
    (void)state;
    char *dir = fixture_folder("lost"), *last = path_join(dir, "last");
    for (int at = 0; at < 12; at++) { /* whichever check it is after step 4, while saving too */
        struct fixture f, again;
        struct err err = {0};
        struct fixture_setting s = {.steps = 8, .batch = 2, .micro_batch = 2, .checkpoints = dir};
        fixture_open(&f, &s);
        f.options.eval_every = 0;
        f.trainer.o.eval_every = 0;
        steps(&f, 4);
        assert_int_equal(0, trainer_save(&f.trainer, &err));
        struct device_ops ops = *f.dev->ops;
        ops.check = lose;
        f.dev->ops = &ops;
        checks_left = at;
        assert_int_equal(MOE2_EIO, trainer_run(&f.trainer, &err));
        assert_non_null(strstr(err.msg, "the GPU is lost"));
        s.from = last;
        fixture_open(&again, &s);
        assert_int_equal(again.trainer.state.step, 4);
        steps(&again, 1);
        fixture_close(&again);
        fixture_close(&f);
        assert_int_equal(0, file_remove_all(last, NULL));
    }
    assert_int_equal(0, file_remove_all(dir, NULL));
    free(dir);
    free(last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_falls),
        cmocka_unit_test(four_micro_batches_are_one_batch_of_four),
        cmocka_unit_test(routers_move_once_a_step_with_accumulation_recomputation_and_evaluations),
        cmocka_unit_test(an_evaluation_moves_nothing),
        cmocka_unit_test(a_resumed_run_has_the_bits_of_one_that_never_stopped),
        cmocka_unit_test(that_holds_for_the_other_routers_too),
        cmocka_unit_test(a_nan_in_a_weight_stops_with_step_and_tensor_and_leaves_the_checkpoint),
        cmocka_unit_test(a_step_that_broke_off_does_not_count_twice),
        cmocka_unit_test(a_stop_finishes_the_step_saves_and_goes_on_from_there),
        cmocka_unit_test(the_best_checkpoint_is_the_one_of_the_lowest_validation_loss),
        cmocka_unit_test(a_kill_between_last_and_best_is_mended),
        cmocka_unit_test(metrics_have_a_line_a_step_and_are_cut_back_to_the_checkpoint),
        cmocka_unit_test(a_full_disk_is_one_sentence_and_the_old_checkpoint_stays),
        cmocka_unit_test(a_checkpoint_that_cannot_be_written_is_one_sentence),
        cmocka_unit_test(a_broken_train_state_is_named),
        cmocka_unit_test(a_device_lost_mid_run_leaves_the_last_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
