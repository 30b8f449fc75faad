/* The step runner on three small steps of our own: what is done is not done again, what changed is, what was interrupted goes on;
 * and the configuration, the hash of files, the synthetic data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "pipeline/file_hash.h"
#include "pipeline/pipeline_steps.h"
#include "pipeline/synthetic.h"

static char dir[64];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "steps-test-%d", (int)getpid());
    file_remove_all(dir, NULL);
    return dir_make(dir, NULL);
}

static int teardown(void **state)
{
    (void)state;
    return file_remove_all(dir, NULL);
}

static const char *in_dir(const char *name)
{
    static char paths[8][128];
    static int next;
    char *path = paths[next = (next + 1) % 8];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static void put(const char *name, const char *text)
{
    assert_int_equal(0, file_write(in_dir(name), text, strlen(text), NULL));
}

/* ---- three steps: a copies in.txt, b doubles a, c doubles b ---- */

struct toy {
    const char *config; /* of b */
    int n_runs[3];
    int fails; /* the number of a step that fails; −1: none */
    volatile int stop;
    int stop_after; /* −1: never */
};

static int declare(struct step_needs *needs, const char *in, const char *out, const char *config,
                   struct err *err)
{
    int rc = step_input(needs, arena_strdup(needs->arena, in_dir(in), err), err);
    if (!rc)
        rc = step_output(needs, arena_strdup(needs->arena, in_dir(out), err), err);
    return rc ? rc : buf_puts(&needs->config, config, err);
}

static int declare_a(struct step_needs *needs, void *ctx, struct err *err)
{
    (void)ctx;
    return declare(needs, "in.txt", "a.txt", "", err);
}

static int declare_b(struct step_needs *needs, void *ctx, struct err *err)
{
    return declare(needs, "a.txt", "b.txt", ((struct toy *)ctx)->config, err);
}

static int declare_c(struct step_needs *needs, void *ctx, struct err *err)
{
    (void)ctx;
    return declare(needs, "b.txt", "c.txt", "", err);
}

static int work(struct toy *t, int number, const char *in, const char *out, struct buf *said,
                struct err *err)
{
    struct buf text = {0};
    t->n_runs[number]++;
    if (t->fails == number)
        return err_set(err, MOE2_EFORMAT, "no luck");
    if (t->stop_after == number)
        t->stop = 1;
    int rc = file_read(&text, in_dir(in), err);
    for (size_t i = text.n; i > 0 && number > 0 && !rc; i--)
        rc = buf_append(&text, "x", 1, err);
    if (!rc)
        rc = file_write(in_dir(out), text.bytes, text.n, err);
    if (!rc)
        rc = buf_printf(said, err, "%zu bytes", text.n);
    buf_release(&text);
    return rc;
}

static int run_a(struct buf *said, void *ctx, struct err *err)
{
    return work(ctx, 0, "in.txt", "a.txt", said, err);
}

static int run_b(struct buf *said, void *ctx, struct err *err)
{
    return work(ctx, 1, "a.txt", "b.txt", said, err);
}

static int run_c(struct buf *said, void *ctx, struct err *err)
{
    return work(ctx, 2, "b.txt", "c.txt", said, err);
}

static const struct step toys[] = {
    {"first", "copies", NULL, declare_a, run_a},
    {"second", "doubles", NULL, declare_b, run_b},
    {"never", "does not exist", "no hands", NULL, NULL},
    {"third", "doubles again", NULL, declare_c, run_c},
};

static struct steps_options toy_options(struct toy *t)
{
    static char manifest[128];
    snprintf(manifest, sizeof manifest, "%s/pipeline.json", dir);
    return (struct steps_options){
        .steps = toys, .n_steps = 4, .ctx = t, .manifest = manifest, .stop = &t->stop};
}

static void expect_runs(struct toy *t, int a, int b, int c)
{
    assert_int_equal(a, t->n_runs[0]);
    assert_int_equal(b, t->n_runs[1]);
    assert_int_equal(c, t->n_runs[2]);
    memset(t->n_runs, 0, sizeof t->n_runs);
}

static int run_toys(struct toy *t, const char *from, const char *to, const char *force,
                    struct err *err)
{
    struct steps_report r;
    struct steps_options o = toy_options(t);
    o.from = from;
    o.to = to;
    o.force = force;
    int rc = steps_run(&r, &o, err);
    steps_report_release(&r);
    return rc;
}

static struct toy fresh(void)
{
    file_remove_all(in_dir("pipeline.json"), NULL);
    put("in.txt", "hello");
    return (struct toy){.config = "k=1", .fails = -1, .stop_after = -1};
}

static void what_is_done_is_not_done_again(void **state)
{
    (void)state;
    struct toy t = fresh();
    assert_int_equal(0, run_toys(&t, NULL, NULL, NULL, NULL));
    expect_runs(&t, 1, 1, 1);
    assert_int_equal(20, file_size(in_dir("c.txt")));
    assert_int_equal(0, run_toys(&t, NULL, NULL, NULL, NULL));
    expect_runs(&t, 0, 0, 0);
}

static void what_changed_is_done_again_and_only_that(void **state)
{
    (void)state;
    struct toy t = fresh();
    assert_int_equal(0, run_toys(&t, NULL, NULL, NULL, NULL));
    expect_runs(&t, 1, 1, 1);
    put("in.txt", "HELLO");
    assert_int_equal(0, run_toys(&t, NULL, NULL, NULL, NULL));
    expect_runs(&t, 1, 1, 1);
    t.config = "k=2"; /* b runs, makes the same bytes, and c has nothing to do */
    assert_int_equal(0, run_toys(&t, NULL, NULL, NULL, NULL));
    expect_runs(&t, 0, 1, 0);
    put("b.txt", "somebody else's");
    assert_int_equal(0, run_toys(&t, NULL, NULL, NULL, NULL));
    expect_runs(&t, 0, 1, 0);
    unlink(in_dir("c.txt"));
    assert_int_equal(0, run_toys(&t, NULL, NULL, NULL, NULL));
    expect_runs(&t, 0, 0, 1);
    assert_int_equal(0, run_toys(&t, NULL, NULL, "second", NULL));
    expect_runs(&t, 0, 1, 0);
}

static void an_interrupted_row_of_steps_goes_on(void **state)
{
    (void)state;
    struct toy t = fresh();
    struct err err = {0};
    t.stop_after = 0;
    assert_int_equal(MOE2_ESTOP, run_toys(&t, NULL, NULL, NULL, &err));
    assert_string_equal("stopped before step second; what was done is kept", err.msg);
    expect_runs(&t, 1, 0, 0);
    t.stop = 0;
    t.fails = 2;
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_EFORMAT, run_toys(&t, NULL, NULL, NULL, &err));
    assert_string_equal("step third: no luck", err.msg);
    expect_runs(&t, 0, 1, 1);
    t.fails = -1;
    assert_int_equal(0, run_toys(&t, NULL, NULL, NULL, NULL));
    expect_runs(&t, 0, 0, 1);
}

static void from_and_to_bound_the_row(void **state)
{
    (void)state;
    struct toy t = fresh();
    struct err err = {0};
    unlink(in_dir("a.txt"));
    unlink(in_dir("b.txt"));
    assert_int_equal(MOE2_EIO, run_toys(&t, "second", NULL, NULL, &err));
    assert_non_null(strstr(err.msg, "step second: needs "));
    assert_non_null(strstr(err.msg, "a.txt, which is not there"));
    expect_runs(&t, 0, 0, 0);
    assert_int_equal(0, run_toys(&t, NULL, "second", NULL, NULL));
    expect_runs(&t, 1, 1, 0);
    assert_int_equal(0, run_toys(&t, "third", "third", NULL, NULL));
    expect_runs(&t, 0, 0, 1);
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_ECONFIG, run_toys(&t, "third", "first", NULL, &err));
    assert_string_equal("--from third comes behind --to first", err.msg);
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_ECONFIG, run_toys(&t, NULL, NULL, "secnd", &err));
    assert_string_equal("--force is \"secnd\", no step of that name, did you mean second?",
                        err.msg);
}

static void status_looks_and_does_nothing(void **state)
{
    (void)state;
    struct toy t = fresh();
    struct steps_report r;
    struct steps_options o = toy_options(&t);
    assert_int_equal(0, run_toys(&t, NULL, NULL, NULL, NULL));
    put("in.txt", "new");
    o.status = true;
    assert_int_equal(0, steps_run(&r, &o, NULL));
    assert_int_equal(STEP_TODO, r.results[0].state);
    assert_string_equal("its inputs or its configuration changed", r.results[0].reason);
    assert_string_equal("5 bytes", r.results[0].said);
    assert_int_equal(STEP_WAITS, r.results[1].state);
    assert_int_equal(STEP_LEFT_OUT, r.results[2].state);
    assert_string_equal("no hands", r.results[2].reason);
    assert_int_equal(STEP_WAITS, r.results[3].state);
    steps_report_release(&r);
    expect_runs(&t, 1, 1, 1);
}

static void a_broken_manifest_is_named(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{",
        "[]",
        "{\"format\": \"x\", \"steps\": {}}",
        "{\"format\": \"moe2 pipeline\"}",
        "{\"format\": \"moe2 pipeline\", \"steps\": {\"first\": {\"outputs\": []}}}",
        "{\"format\": \"moe2 pipeline\", \"steps\": {\"first\": {\"outputs\": [], \"key\": "
        "\"12\"}}}"};
    struct toy t = fresh();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct err err = {0};
        put("pipeline.json", texts[i]);
        assert_int_equal(MOE2_EFORMAT, run_toys(&t, NULL, NULL, NULL, &err));
        assert_non_null(strstr(err.msg, "pipeline.json"));
    }
    expect_runs(&t, 0, 0, 0);
}

/* ---- the rest ---- */

static void a_hash_sees_every_byte_and_name(void **state)
{
    (void)state;
    struct file_hash seen[4];
    for (int i = 0; i < 4; i++) {
        char name[16];
        assert_int_equal(0, dir_make(in_dir("tree"), NULL));
        file_remove_all(in_dir("tree"), NULL);
        assert_int_equal(0, dir_make(in_dir("tree/sub"), NULL));
        snprintf(name, sizeof name, "tree/%s", i == 1 ? "y" : "x");
        put(name, i == 2 ? "abcdefgi" : "abcdefgh");
        put("tree/sub/z", i == 3 ? "" : "\0");
        seen[i] = FILE_HASH_BEGIN;
        int64_t n = 0;
        assert_int_equal(0, file_hash_path(&seen[i], &n, in_dir("tree"), NULL));
        assert_int_equal(8, n);
    }
    assert_true(seen[0].a != seen[1].a && seen[0].a != seen[2].a && seen[1].a != seen[2].a);
    assert_true(seen[0].a == seen[3].a && seen[0].b == seen[3].b);
    struct file_hash one = FILE_HASH_BEGIN, two = FILE_HASH_BEGIN;
    file_hash_add(&one, "ab", 2);
    file_hash_add(&one, "c", 1);
    file_hash_add(&two, "a", 1);
    file_hash_add(&two, "bc", 2);
    assert_true(one.a != two.a);
    assert_int_equal(MOE2_EIO, file_hash_path(&one, NULL, in_dir("nowhere"), NULL));
}

static void the_configuration_of_the_repository_is_the_defaults(void **state)
{
    (void)state;
    struct pipeline_config file, defaults;
    struct buf a = {0}, b = {0};
    assert_int_equal(0,
                     pipeline_config_read(&file, SOURCE_DIR "/configs/moe2.yaml", NULL, 0, NULL));
    assert_int_equal(0, pipeline_config_read(&defaults, NULL, NULL, 0, NULL));
    assert_int_equal(0, pipeline_config_values(&a, &file, "", NULL));
    assert_int_equal(0, pipeline_config_values(&b, &defaults, "", NULL));
    assert_string_equal(b.bytes, a.bytes);
    buf_release(&a);
    buf_release(&b);
    pipeline_config_release(&file);
    pipeline_config_release(&defaults);
}

static void a_mistyped_key_is_named(void **state)
{
    (void)state;
    struct pipeline_config c;
    struct err err = {0};
    const char *words[] = {"cluster.kk=3"};
    assert_int_equal(MOE2_ECONFIG, pipeline_config_read(&c, NULL, words, 1, &err));
    assert_non_null(strstr(err.msg, "cluster.k"));
}

static void synthetic_data_is_the_same_twice_and_says_so(void **state)
{
    (void)state;
    static const char *const names[] = {"questions.jsonl", "outcomes.csv", "predictions.csv"};
    struct file_hash h[3];
    for (int pass = 0; pass < 3; pass++) {
        const char *to = in_dir(pass == 0 ? "s0" : pass == 1 ? "s1" : "s2");
        assert_int_equal(0, synthetic_make(to, 300, pass == 2 ? 8 : 7, NULL));
        h[pass] = FILE_HASH_BEGIN;
        for (int i = 0; i < 3; i++) {
            char name[64];
            snprintf(name, sizeof name, "s%d/%s", pass, names[i]);
            assert_int_equal(0, file_hash_path(&h[pass], NULL, in_dir(name), NULL));
        }
    }
    assert_true(h[0].a == h[1].a && h[0].b == h[1].b);
    assert_true(h[0].a != h[2].a);
    struct buf text = {0};
    assert_int_equal(0, file_read(&text, in_dir("s0/synthetic.json"), NULL));
    assert_non_null(strstr(text.bytes, "SYNTHETIC"));
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_done_is_not_done_again),
        cmocka_unit_test(what_changed_is_done_again_and_only_that),
        cmocka_unit_test(an_interrupted_row_of_steps_goes_on),
        cmocka_unit_test(from_and_to_bound_the_row),
        cmocka_unit_test(status_looks_and_does_nothing),
        cmocka_unit_test(a_broken_manifest_is_named),
        cmocka_unit_test(a_hash_sees_every_byte_and_name),
        cmocka_unit_test(the_configuration_of_the_repository_is_the_defaults),
        cmocka_unit_test(a_mistyped_key_is_named),
        cmocka_unit_test(synthetic_data_is_the_same_twice_and_says_so),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
