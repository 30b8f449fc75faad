/* What the study promises on a small world of ours: it finds who is good at what, its files are there, and the same input gives the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "io/json_util.h"
#include "io/npy.h"
#include "pipeline/study.h"
#include "pipeline/study_plan.h"

enum { N_TRAIN = 400, N_TEST = 200, E = 4, D = 4 };

static char folder[] = "/tmp/moe2-study-XXXXXX";

static char *in_folder(const char *name)
{
    static char path[32][256];
    static int n;
    char *p = path[n++ % 32];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void put(const char *name, const char *text)
{
    assert_int_equal(0, file_write(in_folder(name), text, strlen(text), NULL));
}

/* Expert 0 is right in category x, 1 in y, on 80 % each; 2 and 3 on 40 % everywhere. Beside it the same world with gaps: there 3 was run on
 * one question in three alone, and is right on all of these. */
static void make_world(void)
{
    struct buf o = {0}, p = {0}, c = {0}, q[2] = {{0}, {0}}, gaps[2] = {{0}, {0}};
    static float x[2][N_TRAIN * D];
    struct rng r;
    rng_init(&r, 11);
    buf_puts(&o, "question_id,category,answer,a,b,c,d\n", NULL);
    buf_puts(&p, "question_id,a,b,c,d\n", NULL);
    buf_puts(&gaps[0], "question_id,category,answer,a,b,c,d\n", NULL);
    buf_puts(&gaps[1], "question_id,a,b,c,d\n", NULL);
    buf_puts(&c, "question_id,a,b,c,d\n", NULL);
    for (int i = 0; i < N_TRAIN + N_TEST; i++) {
        int side = i >= N_TRAIN, row = side ? i - N_TRAIN : i, is_x = (int)rng_below(&r, 2);
        int right = (int)rng_below(&r, 4), said[E];
        for (int e = 0; e < E; e++) {
            double share = e > 1 ? 0.4 : (e == 0) == is_x ? 0.8 : 0.2;
            said[e] = rng_uniform(&r) < share ? right : (right + 1 + (int)rng_below(&r, 3)) % 4;
        }
        for (int k = 0; k < D; k++)
            x[side][row * D + k] = (float)(0.1 * rng_normal(&r) + (k == is_x));
        buf_printf(&o, NULL, "%d,%c,%c,%d,%d,%d,%d\n", i, is_x ? 'x' : 'y', 'A' + right,
                   said[0] == right, said[1] == right, said[2] == right, said[3] == right);
        buf_printf(&p, NULL, "%d,%c,%c,%c,%c\n", i, 'A' + said[0], 'A' + said[1], 'A' + said[2],
                   'A' + said[3]);
        buf_printf(&gaps[0], NULL, "%d,%c,%c,%d,%d,%d,%s\n", i, is_x ? 'x' : 'y', 'A' + right,
                   said[0] == right, said[1] == right, said[2] == right, i % 3 ? "" : "1");
        buf_printf(&gaps[1], NULL, "%d,%c,%c,%c,%.*s\n", i, 'A' + said[0], 'A' + said[1],
                   'A' + said[2], i % 3 == 0, &"ABCD"[right]);
        buf_printf(&c, NULL, "%d,100,120,140,160\n", i);
        buf_printf(&q[side], NULL,
                   "{\"id\":\"%d\",\"question\":\"q %d\",\"choices\":[\"1\",\"2\",\"3\",\"4\"]}\n",
                   i, i);
    }
    put("o.csv", o.bytes);
    put("p.csv", p.bytes);
    put("c.csv", c.bytes);
    put("o_gaps.csv", gaps[0].bytes);
    put("p_gaps.csv", gaps[1].bytes);
    put("train.jsonl", q[0].bytes);
    put("test.jsonl", q[1].bytes);
    assert_int_equal(
        0, npy_write(in_folder("train.npy"), DT_F32, (int64_t[]){N_TRAIN, D}, 2, x[0], NULL));
    assert_int_equal(
        0, npy_write(in_folder("test.npy"), DT_F32, (int64_t[]){N_TEST, D}, 2, x[1], NULL));
    buf_release(&o);
    buf_release(&p);
    buf_release(&c);
    buf_release(&q[0]);
    buf_release(&q[1]);
    buf_release(&gaps[0]);
    buf_release(&gaps[1]);
}

static void make_costs(void)
{
    put("scorecard.csv",
        "model,quant,backend,in_tokens_target,out_tokens_target,ttft_p50_ms,decode_tok_s_p50,"
        "j_per_out_token\nQwen2.5-7B-Instruct,AWQ,engine,500,101,500,20,0.25\n");
    put("models.csv", "model,params_b,active_b\na,7.62,\nb,7.62,\nc,3.81,\nd,15.24,\n");
    put("study.yaml", "small: [a, b, c, d]\n");
    put("fleet.yaml",
        "name: four\ndevices: [d0]\nkinds: [agx-orin]\nexperts: [e0, e1, e2, e3]\n"
        "on: [d0, d0, d0, d0]\n"
        "curves: [Qwen2.5-7B-Instruct/AWQ@agx-orin, Qwen2.5-7B-Instruct/AWQ@agx-orin, "
        "Qwen2.5-7B-Instruct/AWQ@agx-orin, Qwen2.5-7B-Instruct/AWQ@agx-orin]\n"
        "outcomes: [a, b, c, d]\n");
}

static struct study_options options(const char *out)
{
    struct study_options o = study_default();
    o.files.train = in_folder("train.jsonl");
    o.files.test = in_folder("test.jsonl");
    o.files.train_embeddings = in_folder("train.npy");
    o.files.test_embeddings = in_folder("test.npy");
    o.files.outcomes = in_folder("o.csv");
    o.files.predictions = in_folder("p.csv");
    o.files.chars = in_folder("c.csv");
    o.devices = folder;
    o.models = in_folder("models.csv");
    o.fleet = in_folder("fleet.yaml");
    o.fleets = in_folder("study.yaml");
    o.gates = "category,knn";
    o.out_dir = in_folder(out);
    o.gnuplot = "/nowhere/gnuplot";
    o.note = "A small world of ours.";
    return o;
}

static void read_file(struct buf *out, const char *name)
{
    struct err err = {0};
    if (file_read(out, in_folder(name), &err))
        fail_msg("%s", err.msg);
}

static void the_fleet_beats_the_best_single_expert_where_each_knows_its_own(void **state)
{
    (void)state;
    struct study_options o = options("one");
    struct study_summary sum;
    struct err err = {0};
    if (study_run(&sum, &o, &err))
        fail_msg("%s", err.msg);
    if (!strstr(sum.sentence, "The fleet wins"))
        fail_msg("%s", sum.sentence);
    struct buf text = {0};
    read_file(&text, "one/verification.md");
    assert_non_null(strstr(text.bytes, "A small world of ours."));
    assert_non_null(strstr(text.bytes, "| not available |"));
    buf_clear(&text);
    read_file(&text, "one/report.html");
    assert_non_null(strstr(text.bytes, "Table IV"));
    assert_non_null(strstr(text.bytes, "estimated"));
    buf_release(&text);
}

static void a_row_in_which_nothing_fits_says_so_and_limits_hold_on_train(void **state)
{
    (void)state;
    json_t *root = NULL;
    assert_int_equal(
        0, json_read_file(&root, in_folder("one/smo_tables/table4_both.json"), 1 << 24, NULL));
    json_t *rows = json_object_get(root, "rows");
    assert_int_equal(30, json_array_size(rows));
    int fits = 0;
    for (size_t i = 0; i < 30; i++) {
        json_t *row = json_array_get(rows, i);
        bool feasible = json_is_true(json_object_get(row, "feasible"));
        int64_t subsets = json_integer_value(json_object_get(row, "feasible_subsets"));
        assert_int_equal(feasible, subsets > 0);
        if (!feasible)
            continue;
        fits++;
        json_t *chosen = json_object_get(row, "chosen");
        assert_true(json_number_value(json_object_get(chosen, "energy_j_train")) <=
                    json_number_value(json_object_get(row, "energy_limit_j")));
        assert_true(json_number_value(json_object_get(chosen, "latency_s_train")) <=
                    json_number_value(json_object_get(row, "latency_limit_s")));
    }
    assert_true(fits > 0 && fits < 30); /* 1.6 s: nothing within 1 s; 8 J each */
    json_decref(root);
    struct buf text = {0};
    read_file(&text, "one/smo_tables/table4_both.md");
    assert_non_null(strstr(text.bytes, "none fits"));
    buf_release(&text);
}

static void the_same_input_gives_the_same_tables(void **state)
{
    (void)state;
    struct study_options o = options("two");
    struct study_summary sum;
    assert_int_equal(0, study_run(&sum, &o, NULL));
    static const char *const FILES[] = {"accuracy/study.md", "smo_tables/table3_energy.json",
                                        "smo_tables/frontier_fleet1.csv", "verification.md"};
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        struct buf a = {0}, b = {0};
        char one[64], two[64];
        snprintf(one, sizeof one, "one/%s", FILES[i]);
        snprintf(two, sizeof two, "two/%s", FILES[i]);
        read_file(&a, one);
        read_file(&b, two);
        assert_string_equal(a.bytes, b.bytes);
        buf_release(&a);
        buf_release(&b);
    }
}

static void a_gate_does_not_call_whom_it_finds_not_run(void **state)
{
    (void)state;
    struct study_options o = options("gaps");
    struct study_summary sum;
    struct err err = {0};
    struct buf text = {0};
    static const char row[] = "| gate category, k = 1 | the gate's first choice | ";
    o.gates = "category";
    o.files.outcomes = in_folder("o_gaps.csv");
    o.files.predictions = in_folder("p_gaps.csv");
    if (study_run(&sum, &o, &err))
        fail_msg("%s", err.msg);
    read_file(&text, "gaps/accuracy/study.md");
    const char *found = strstr(text.bytes, row);
    assert_non_null(found);
    assert_true(strtod(found + strlen(row), NULL) > 60); /* the one with gaps: 33 */
    buf_release(&text);
}

static void what_does_not_fit_together_is_refused(void **state)
{
    (void)state;
    struct study_options o = options("three");
    struct study_summary sum;
    struct err err = {0};
    o.files.test = o.files.train;
    o.files.test_embeddings = o.files.train_embeddings;
    assert_int_equal(MOE2_EFORMAT, study_run(&sum, &o, &err));
    o = options("three");
    o.files.test_embeddings = o.files.train_embeddings;
    err = (struct err){0};
    assert_int_equal(MOE2_EFORMAT, study_run(&sum, &o, &err));
    assert_non_null(strstr(err.msg, "200 questions"));
    o = options("three");
    o.gates = "oracle";
    err = (struct err){0};
    assert_int_equal(MOE2_ECONFIG, study_run(&sum, &o, &err));
    assert_non_null(strstr(err.msg, "\"oracle\" is no kind of gate"));
    assert_false(file_exists(in_folder("three/report.html")));
}

static void without_memory_a_plan_is_not_said_to_be_worth_nothing(void **state)
{
    (void)state;
    struct study_data data = {.sides = {{.n = INT64_C(1) << 58}, {.n = INT64_C(1) << 58}}};
    struct study_fleet fleet = {.N = 1};
    const struct study_fitted fitted = {.data = &data, .fleet = &fleet};
    const struct study_plan plan = {0, 1, FORWARD_TOP1, 1};
    struct study_worth worth = {.n = {7, 7}};
    struct err err = {0};
    assert_int_equal(MOE2_ELIMIT, study_judge(&worth, &fitted, &plan, SELECT_ROUTED, &err));
    assert_non_null(strstr(err.msg, "no memory for 288230376151711744 answers"));
    assert_true(worth.n[STUDY_TRAIN] == 7 && worth.n[STUDY_TEST] == 7);
}

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    make_world();
    make_costs();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_all(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fleet_beats_the_best_single_expert_where_each_knows_its_own),
        cmocka_unit_test(a_row_in_which_nothing_fits_says_so_and_limits_hold_on_train),
        cmocka_unit_test(the_same_input_gives_the_same_tables),
        cmocka_unit_test(a_gate_does_not_call_whom_it_finds_not_run),
        cmocka_unit_test(what_does_not_fit_together_is_refused),
        cmocka_unit_test(without_memory_a_plan_is_not_said_to_be_worth_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
