/* moe2 compare, with this program in the place of moe2: called with a mode it plays a run, writing a results folder of made-up numbers that depend
 * on the settings it was given. What real runs do is in test_compare.sh. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/process.h"
#include "io/json_util.h"
#include "pipeline/compare.h"
#include "pipeline/run_config.h"
#include "report/run_metrics.h"
#include "report_fixture.h"

static char self[4096];
static const char BASE[] = "report_test/compare";

/* ---- the run that is played ---- */

static void note_call(const struct run_config *rc)
{
    char path[512];
    dir_make(rc->results_dir, NULL);
    snprintf(path, sizeof path, "%s/../calls.txt", rc->results_dir);
    FILE *f = fopen(path, "ae");
    if (f) {
        fprintf(f, "%s\n", rc->name);
        fclose(f);
    }
}

/* The nearer aux_coef is to 0.01 the better; seeds shift everything alike; β helps a little. */
static double played_loss(const struct run_config *rc)
{
    double loss = 4 + 0.02 * (double)rc->seed;
    if (strcmp(rc->routing.incentive.name, "aux") == 0)
        loss += 0.1 * fabs(log10(rc->router.aux_coef) + 2);
    if (strcmp(rc->routing.incentive.name, "rd_esi") == 0)
        loss -= rc->router.beta;
    return loss;
}

static int play_config(struct run_config *rc, const char *mode, struct err *err)
{
    struct model_config model;
    struct buf config = {0};
    char path[512];
    int code = model_config_read(&model, rc->model.config, err);
    if (!code)
        code = run_config_resolve(rc, &model, err);
    if (code)
        return code;
    note_call(rc);
    if (strcmp(run_config_label(&rc->routing), "loss_free") == 0 && rc->seed == 2)
        return err_set(err, MOE2_ENUMERIC, "step 3: loss is NaN in layer 2");
    if (rc->train.clip == 7)
        nanosleep(&(struct timespec){1, 0}, NULL);
    snprintf(path, sizeof path, "%s/%s", rc->results_dir, rc->name);
    const struct fixture f = {run_config_label(&rc->routing), rc->seed, played_loss(rc), 0.5, 10,
                              strcmp(mode, "train") == 0};
    if (!fix_run(path, &f))
        return err_set(err, MOE2_EIO, "%s can't be written", path);
    snprintf(path, sizeof path, "%s/%s/config.yaml", rc->results_dir, rc->name);
    code = run_config_print(&config, rc, err);
    if (!code)
        code = file_write(path, config.bytes, config.n, err);
    buf_release(&config);
    return code;
}

static int play(int argc, char **argv)
{
    struct run_config rc = {0};
    struct err err = {0};
    if (argc < 5 || strcmp(argv[2], "--config") != 0 || strcmp(argv[4], "--set") != 0)
        return 2;
    int n = argc - 5 - (argv[argc - 1][0] == '-'); /* --no-report */
    int code = run_config_read(&rc, argv[3], (const char *const *)argv + 5, n, &err);
    if (!code)
        code = play_config(&rc, argv[1], &err);
    if (code)
        fprintf(stderr, "%s\n", err.msg);
    run_config_release(&rc);
    return code ? 1 : 0;
}

/* ---- helpers ---- */

static void write_config(const char *file, const char *name, const char *router, const char *train)
{
    char path[256], text[1024];
    snprintf(path, sizeof path, "%s/%s", BASE, file);
    snprintf(text, sizeof text,
             "name: %s\nseed: 1\ndata: {text: [book.txt]}\nmodel: {config: "
             "%s/configs/model/tiny.json, vocab_size: 258}\nrouter: {%s}\n"
             "train: {steps: 10, batch_tokens: 512, sequence: 64%s}\n",
             name, SOURCE_DIR, router, train);
    assert_int_equal(0, dir_make(BASE, NULL));
    assert_true(fix_text(path, text));
}

static void write_configs(void)
{
    write_config("none.yaml", "a_none", "incentive: none", "");
    write_config("aux.yaml", "an_aux", "incentive: aux", "");
    write_config("rd_esi.yaml", "an_rd_esi", "incentive: rd_esi", "");
    write_config("loss_free.yaml", "a_loss_free", "incentive: loss_free", "");
}

static char *out_dir(const char *name)
{
    static char dir[128];
    snprintf(dir, sizeof dir, "%s/%s", BASE, name);
    assert_int_equal(0, file_remove_all(dir, NULL));
    return dir;
}

static const char NONE[] = "report_test/compare/none.yaml", AUX[] = "report_test/compare/aux.yaml",
                  RD_ESI[] = "report_test/compare/rd_esi.yaml",
                  LOSS_FREE[] = "report_test/compare/loss_free.yaml";

static struct compare_options options(const char *const *configs, int n, const char *dir)
{
    return (struct compare_options){.configs = configs,
                                    .n_configs = n,
                                    .dir = dir,
                                    .n_seeds = 2,
                                    .jobs = 2,
                                    .program = self,
                                    .gnuplot = "no-such-gnuplot"};
}

static void must(const struct compare_options *o)
{
    struct err err = {0};
    struct buf table = {0};
    if (compare_run(&table, o, &err))
        fail_msg("%s", err.msg);
    assert_non_null(strstr(table.bytes, "test loss"));
    buf_release(&table);
}

static void refused(const struct compare_options *o, int code, const char *message)
{
    struct err err = {0};
    assert_int_equal(code, compare_run(NULL, o, &err));
    assert_string_equal(err.msg, message);
}

/* How often a run was started, all runs for NULL. */
static int calls(const char *dir, const char *name)
{
    char path[256];
    struct buf b = {0};
    int n = 0;
    snprintf(path, sizeof path, "%s/calls.txt", dir);
    if (file_read(&b, path, NULL) == 0)
        for (char *s = strtok(b.bytes, "\n"); s; s = strtok(NULL, "\n"))
            n += !name || strcmp(s, name) == 0;
    buf_release(&b);
    return n;
}

static json_t *read_plan(const char *dir)
{
    char path[256];
    json_t *plan = NULL;
    snprintf(path, sizeof path, "%s/compare.json", dir);
    assert_int_equal(0, json_read_file(&plan, path, 1 << 20, NULL));
    return plan;
}

static bool file_holds(const char *dir, const char *name, const char *what)
{
    char path[512];
    struct buf b = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(0, file_read(&b, path, NULL));
    bool found = b.bytes && strstr(b.bytes, what);
    buf_release(&b);
    return found;
}

/* ---- tests ---- */

static void every_router_is_trained_under_every_seed(void **state)
{
    (void)state;
    const char *configs[] = {RD_ESI, NONE, AUX};
    char *dir = out_dir("all");
    struct compare_options o = options(configs, 3, dir);
    must(&o);
    assert_int_equal(calls(dir, NULL), 6);
    json_t *plan = read_plan(dir);
    assert_string_equal(json_text_at(plan, "baseline"), "none");
    const json_t *routers =
        json_object_get(plan, "routers"); /* none first, RD-ESI last, whatever the order given */
    assert_string_equal(json_text_at(json_array_get(routers, 0), "label"), "none");
    assert_string_equal(json_text_at(json_array_get(routers, 2), "label"), "rd_esi");
    assert_int_equal(json_array_size(json_object_get(plan, "commands")), 6);
    json_decref(plan);
    /* aux − none is 0.1 in both seeds, rd_esi − none −0.01: the seeds differ by nothing, so both differ */
    assert_true(file_holds(dir, "table.txt",
                           "Against none, rd_esi (−0.0100 ± 0.0000) has a lower test loss; aux "
                           "(+0.1000 ± 0.0000) has a higher one"));
}

static void what_is_finished_is_not_repeated(void **state)
{
    (void)state;
    const char *configs[] = {NONE, AUX};
    char *dir = out_dir("again");
    struct compare_options o = options(configs, 2, dir);
    must(&o);
    must(&o);
    assert_int_equal(calls(dir, NULL), 4);
    assert_int_equal(0,
                     file_remove_all("report_test/compare/again/runs/aux-s2/metrics.json", NULL));
    must(&o);
    assert_int_equal(calls(dir, NULL), 5);
    assert_int_equal(calls(dir, "aux-s2"), 2);
    o.n_seeds = 3; /* more seeds: only these are new */
    must(&o);
    assert_int_equal(calls(dir, NULL), 7);
}

static void a_folder_of_other_runs_is_refused_by_key(void **state)
{
    (void)state;
    const char *configs[] = {NONE, AUX}, *overrides[] = {"train.lr=0.001"};
    char *dir = out_dir("other");
    struct compare_options o = options(configs, 2, dir);
    must(&o);
    o.overrides = overrides;
    o.n_overrides = 1;
    refused(&o, MOE2_ECONFIG,
            "report_test/compare/other/runs/none-s1 was begun with train.lr = 0.003, now it is "
            "0.001; give another --out");
}

static void configurations_that_differ_in_more_than_routers_are_refused_by_key(void **state)
{
    (void)state;
    write_config("longer.yaml", "longer", "incentive: aux", ", lr: 0.001");
    const char *configs[] = {NONE, "report_test/compare/longer.yaml"};
    struct compare_options o = options(configs, 2, out_dir("mix"));
    refused(&o, MOE2_ECONFIG,
            "report_test/compare/none.yaml and report_test/compare/longer.yaml differ in train.lr "
            "(0.003 and 0.001), wanted configurations that differ in "
            "router keys alone");
    assert_false(file_exists(o.dir));
    assert_int_equal(MOE2_ECONFIG, compare_check(&o, NULL));
}

static void two_of_one_kind_are_told_apart_by_their_names(void **state)
{
    (void)state;
    write_config("stronger.yaml", "strong_aux", "incentive: aux, aux_coef: 0.01", "");
    write_config("twin.yaml", "strong_aux", "incentive: aux, aux_coef: 0.02", "");
    const char *configs[] = {NONE, AUX, "report_test/compare/stronger.yaml",
                             "report_test/compare/twin.yaml"};
    char *dir = out_dir("kinds");
    struct compare_options o = options(configs, 3, dir);
    must(&o);
    assert_true(file_exists("report_test/compare/kinds/runs/strong_aux-s1/metrics.json"));
    assert_true(file_exists("report_test/compare/kinds/runs/an_aux-s1/metrics.json"));
    o.n_configs = 4;
    refused(&o, MOE2_ECONFIG,
            "report_test/compare/stronger.yaml and report_test/compare/twin.yaml have the same "
            "router and the same name \"strong_aux\"");
}

static void a_run_that_fails_is_named_and_the_others_go_on(void **state)
{
    (void)state;
    const char *configs[] = {NONE, LOSS_FREE};
    char *dir = out_dir("fails");
    struct compare_options o = options(configs, 2, dir);
    refused(&o, MOE2_EIO,
            "1 of 4 runs failed; the first: loss_free-s2: step 3: loss is NaN in layer 2");
    assert_true(file_exists("report_test/compare/fails/runs/none-s2/metrics.json"));
    assert_true(file_holds(dir, "report.html", "3 of 4 runs are finished"));
}

static void a_program_that_is_not_there_is_one_sentence(void **state)
{
    (void)state;
    const char *configs[] = {NONE, AUX};
    struct compare_options o = options(configs, 2, out_dir("nothing"));
    o.program = "no-such-moe2";
    refused(&o, MOE2_EIO, "no-such-moe2: can't be started: No such file or directory");
}

static void tuning_gives_each_router_as_many_runs_and_keeps_the_best(void **state)
{
    (void)state;
    const char *configs[] = {NONE, AUX, RD_ESI};
    char *dir = out_dir("tuned");
    struct compare_options o = options(configs, 3, dir);
    o.tune_runs = 5;
    must(&o);
    json_t *plan = read_plan(dir);
    const json_t *tuned = json_value_at(plan, "tuning.routers");
    assert_int_equal(json_array_size(tuned), 2); /* none has no coefficient */
    const json_t *aux = json_array_get(tuned, 0), *rd_esi = json_array_get(tuned, 1);
    assert_int_equal(json_array_size(json_object_get(aux, "trials")), 5);
    assert_int_equal(json_array_size(json_object_get(rd_esi, "trials")), 5);
    /* 0.0001, 0.000316, 0.001, 0.00316, 0.01: the last is where the played loss is lowest */
    assert_float_equal(json_number_at(aux, "best"), 4, 0);
    const json_t *settings =
        json_object_get(json_array_get(json_object_get(plan, "routers"), 1), "settings");
    assert_string_equal(json_string_value(json_array_get(settings, 0)), "router.aux_coef=0.01");
    assert_true(file_holds(dir, "runs/aux-s2/config.yaml", "aux_coef: 0.01"));
    assert_true(file_holds(dir, "tune/aux-t0/config.yaml", "seed: 0"));
    /* the first trial of RD-ESI is its start values */
    assert_int_equal(json_array_size(json_object_get(
                         json_array_get(json_object_get(rd_esi, "trials"), 0), "settings")),
                     0);
    json_decref(plan);
    assert_true(file_holds(dir, "report.html", "Every trial of the tuning."));
}

static void ablation_and_sweep_are_made_of_one_change_a_run(void **state)
{
    (void)state;
    const char *configs[] = {NONE, RD_ESI};
    char *dir = out_dir("studied");
    struct compare_options o = options(configs, 2, dir);
    o.ablate = o.sweep = true;
    must(&o);
    json_t *plan = read_plan(dir);
    const json_t *variants = json_value_at(plan, "ablation.variants"),
                 *swept = json_value_at(plan, "sweep.parameters");
    assert_int_equal(json_array_size(variants), 7); /* β, γ, C, decay, integral, norm, accuracy */
    assert_int_equal(json_array_size(swept), 6);
    for (size_t i = 0; i < json_array_size(swept); i++) {
        const json_t *s = json_array_get(swept, i);
        const json_t *values = json_object_get(s, "values"), *runs = json_object_get(s, "runs");
        int reused = 0;
        assert_true(json_array_size(values) >= 5);
        for (size_t k = 0; k < json_array_size(runs); k++)
            reused += strcmp(json_string_value(json_array_get(runs, k)), "runs/rd_esi-s1") == 0;
        assert_int_equal(reused, 1); /* the start value is the comparison's own run */
    }
    /* 2 routers and 7 variants under 2 seeds, 6 parameters with 4 new values */
    assert_int_equal(calls(dir, NULL), 4 + 14 + 24);
    assert_true(file_holds(dir, "ablate/rd_esi-beta0-s2/config.yaml", "beta: 0"));
    /* without β the played loss is higher by 0.01 */
    assert_true(file_holds(dir, "table.txt", "β = 0: no reputation"));
    assert_true(file_holds(dir, "table.txt", "+0.0100 ± 0.0000  yes"));
    json_decref(plan);
    const char *without[] = {NONE, AUX};
    o = options(without, 2, out_dir("nothing"));
    o.ablate = true;
    refused(&o, MOE2_ECONFIG,
            "--ablate wants a configuration with the incentive rd_esi among those compared");
}

static void a_comparison_that_is_stopped_goes_on(void **state)
{
    (void)state;
    const char *configs[] = {NONE, AUX}, *slow[] = {"train.clip=7"};
    char *dir = out_dir("stopped");
    struct compare_options o = options(configs, 2, dir);
    volatile int stop = 1;
    o.overrides = slow;
    o.n_overrides = 1;
    o.stop = &stop;
    struct err err = {0};
    assert_int_equal(MOE2_ESTOP, compare_run(NULL, &o, &err));
    assert_non_null(strstr(err.msg, "of 4 runs finished; the same command goes on"));
    o.overrides = NULL;
    o.n_overrides = 0;
    stop = 0;
    assert_int_equal(0, file_remove_all(dir, NULL));
    must(&o);
}

static void a_folder_that_is_being_worked_on_is_refused_and_status_says_so(void **state)
{
    (void)state;
    const char *configs[] = {NONE, AUX};
    char *dir = out_dir("taken"), text[256];
    struct compare_options o = options(configs, 2, dir);
    struct buf status = {0};
    must(&o);
    assert_int_equal(0, compare_status(&status, dir, NULL));
    assert_non_null(strstr(status.bytes, "report_test/compare/taken: no process is at work\n"));
    assert_non_null(strstr(status.bytes, "aux                      2 of 2 finished\n"));
    int fd = open("report_test/compare/taken/compare.pid", O_RDWR);
    assert_true(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
    buf_clear(&status);
    assert_int_equal(0, compare_status(&status, dir, NULL));
    snprintf(text, sizeof text, "process %ld is at work", (long)getpid());
    assert_non_null(strstr(status.bytes, text));
    snprintf(text, sizeof text, "%s is being worked on by process %ld", dir, (long)getpid());
    refused(&o, MOE2_ECONFIG, text);
    close(fd);
    buf_release(&status);
}

static void options_out_of_range_are_named(void **state)
{
    (void)state;
    const char *configs[] = {NONE, "report_test/compare/nowhere.yaml"};
    struct compare_options o = options(configs, 1, out_dir("never"));
    o.n_seeds = 0;
    refused(&o, MOE2_ECONFIG, "--seeds is 0, wanted 1 to 64");
    o.n_seeds = 1;
    o.jobs = 0;
    refused(&o, MOE2_ECONFIG, "--jobs is 0, wanted 1 to 64");
    o.jobs = 1;
    o.tune_runs = 1;
    refused(&o, MOE2_ECONFIG, "--tune is 1, wanted 2 to 256 runs a router");
    o.tune_runs = 0;
    o.n_configs = 2;
    assert_int_equal(MOE2_EIO, compare_check(&o, NULL));
    const char *empty[] = {"report_test/compare/empty"};
    assert_int_equal(0, dir_make(empty[0], NULL));
    o.configs = empty;
    o.n_configs = 1;
    refused(&o, MOE2_ECONFIG,
            "report_test/compare/empty: holds no configuration (*.yaml) that can be compared");
}

static void each_setting_of_a_full_list_reaches_the_run(void **state)
{
    (void)state;
    enum { OWN = 4, ROOM = 64 - OWN }; /* a run's own: threads, seed, name, results_dir */
    const char *configs[] = {NONE, AUX}, *overrides[ROOM + 1];
    for (int i = 0; i <= ROOM; i++)
        overrides[i] = "train.lr=0.002";
    struct compare_options o = options(configs, 2, out_dir("full"));
    o.n_seeds = 1;
    o.overrides = overrides;
    o.n_overrides = ROOM;
    must(&o);
    assert_true(file_holds(o.dir, "runs/aux-s1/config.yaml", "lr: 0.002"));
    must(&o);
    assert_int_equal(calls(o.dir, NULL), 2); /* and they are known again */
    o.n_overrides = ROOM + 1;
    refused(&o, MOE2_ELIMIT, "more than 64 settings");
}

static void runs_at_once_share_the_cores(void **state)
{
    (void)state;
    const char *configs[] = {NONE, AUX};
    char *dir = out_dir("shared"), word[64];
    struct compare_options o = options(configs, 2, dir);
    must(&o);
    snprintf(word, sizeof word, "train.threads=%d", process_share(0, 2));
    assert_true(file_holds(dir, "compare.json", word));
    o = options(configs, 2, out_dir("alone"));
    o.jobs = 1;
    must(&o);
    assert_false(file_holds(o.dir, "compare.json", "train.threads"));
}

int main(int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "train_eval") == 0 || strcmp(argv[1], "train") == 0))
        return play(argc, argv);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return 1;
    write_configs();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_router_is_trained_under_every_seed),
        cmocka_unit_test(what_is_finished_is_not_repeated),
        cmocka_unit_test(a_folder_of_other_runs_is_refused_by_key),
        cmocka_unit_test(configurations_that_differ_in_more_than_routers_are_refused_by_key),
        cmocka_unit_test(two_of_one_kind_are_told_apart_by_their_names),
        cmocka_unit_test(a_run_that_fails_is_named_and_the_others_go_on),
        cmocka_unit_test(a_program_that_is_not_there_is_one_sentence),
        cmocka_unit_test(tuning_gives_each_router_as_many_runs_and_keeps_the_best),
        cmocka_unit_test(ablation_and_sweep_are_made_of_one_change_a_run),
        cmocka_unit_test(a_comparison_that_is_stopped_goes_on),
        cmocka_unit_test(a_folder_that_is_being_worked_on_is_refused_and_status_says_so),
        cmocka_unit_test(options_out_of_range_are_named),
        cmocka_unit_test(each_setting_of_a_full_list_reaches_the_run),
        cmocka_unit_test(runs_at_once_share_the_cores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
