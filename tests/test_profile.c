/* What the step "profile" promises: fits, points, what is left out, fleets, scaled curves, lengths, and what it refuses. The published
 * tables here are small ones of ours in the published form, with invented numbers. */
#include <math.h>
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
#include "pipeline/fleet_config.h"
#include "pipeline/step_profile.h"

static char folder[] = "/tmp/moe2-profile-XXXXXX";

static const char *put(const char *name, const char *text)
{
    static char path[8][256];
    static int n;
    char *p = path[n++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    assert_int_equal(0, file_write(p, text, strlen(text), NULL));
    return p;
}

static void near(double wanted, double seen)
{
    if (!(fabs(wanted - seen) <= 1e-9 * (1 + fabs(wanted))))
        fail_msg("%.12g, wanted %.12g", seen, wanted);
}

static void refuse(const char *path, const char *why)
{
    struct profile_set s = {0};
    struct err err = {0};
    assert_int_not_equal(0, profile_import(&s, path, &err));
    if (!strstr(err.msg, why))
        fail_msg("\"%s\", wanted \"%s\"", err.msg, why);
    profile_set_release(&s);
}

static void measurements_become_points_with_their_spread_and_a_fit(void **state)
{
    (void)state;
    const char *path = put("runs.csv", "expert,prompt_tokens,output_tokens,latency_ms,energy_j\n"
                                       "a,100,10,1200,3\na,100,10,1400,5\na,500,10,1700,4\n"
                                       "a,100,50,2500,20\nb,1,1,1,\n");
    struct profile_set s = {0};
    assert_int_equal(0, profile_import(&s, path, NULL));
    assert_int_equal(2, s.latency.n);
    assert_int_equal(1, s.energy.n); /* b was not metered */
    const struct curve *a = curves_find(&s.latency, "a");
    assert_int_equal(3, a->n_points);
    near(1.3, a->points[0].value);
    near(sqrt(0.02), a->points[0].spread);
    assert_int_equal(2, a->points[0].runs);
    assert_true(isnan(a->points[1].spread));
    near(0.001, a->fit.prefill);
    near(0.03, a->fit.decode);
    near(0.9, a->fit.t0);
    assert_true(a->rms < 1e-9);
    assert_int_equal(CURVE_MEASURED, a->source);
    profile_set_release(&s);
}

static void a_point_is_the_median_of_its_runs_and_notes_are_those_of_the_first(void **state)
{
    (void)state;
    const char *path =
        put("noisy.csv", "expert,prompt_tokens,output_tokens,latency_s,latency_note,energy_j,"
                         "energy_source,energy_note\n"
                         "a,100,10,1,here,2,estimated,\"by watts, 2\"\n"
                         "a,100,10,1.5,there,3,estimated,x\na,100,10,90,,180,estimated,\n");
    struct profile_set s = {0};
    assert_int_equal(0, profile_import(&s, path, NULL));
    near(1.5, s.latency.list[0].points[0].value);
    assert_string_equal("here", s.latency.list[0].note);
    near(3, s.energy.list[0].points[0].value);
    assert_string_equal("by watts, 2", s.energy.list[0].note);
    assert_int_equal(CURVE_ESTIMATED, s.energy.list[0].source);
    profile_set_release(&s);
}

static void bad_measurements_are_refused_with_file_line_and_field(void **state)
{
    (void)state;
    const char *head = "expert,prompt_tokens,output_tokens,latency_s\n";
    char text[200];
    refuse(put("none.csv", head), "has no row");
    snprintf(text, sizeof text, "%sa,1,1,fast\n", head);
    refuse(put("word.csv", text), "word.csv:2: latency_s is \"fast\", wanted a number");
    snprintf(text, sizeof text, "%sa,1,-4,1\n", head);
    refuse(put("minus.csv", text), "output_tokens is \"-4\"");
    snprintf(text, sizeof text, "%sa,1,4,nan\n", head);
    refuse(put("nan.csv", text), "latency_s is \"nan\"");
    snprintf(text, sizeof text, "%s,1,4,1\n", head);
    refuse(put("nobody.csv", text), "expert is empty");
    refuse(put("short.csv", "expert,prompt_tokens\na,1\n"), "there is no field \"output_tokens\"");
    refuse("/nowhere/at/all.csv", "/nowhere/at/all.csv");
}

static void published(void)
{
    put("scorecard.csv",
        "model,quant,backend,in_tokens_target,out_tokens_target,ttft_p50_ms,decode_tok_s_p50,"
        "j_per_out_token\n"
        "Qwen2.5-1.5B-Instruct,AWQ,engine,500,101,10,100,0.25\n"
        "Qwen2.5-3B-Instruct,AWQ,engine,500,101,200,50,0.5\n"
        "Qwen2.5-7B-Instruct,AWQ,engine,500,101,500,20,1.25\n");
    put("detail.csv", "model,metric,min,p50,p95,p99,max,n\n"
                      "Qwen2.5-7B-AWQ,ttft_ms,490,500,520,521,522,30\n"
                      "Qwen2.5-7B-AWQ,e2e_latency_ms,4500,5500,6500,6500,6500,30\n"
                      "Qwen2.5-7B-AWQ,prefill_tok_s,900,1000,1100,1100,1100,30\n"
                      "Qwen2.5-7B-AWQ,output_tokens,81,101,121,121,121,30\n"
                      "Qwen2.5-7B-AWQ,energy_per_request_j,,125,,,,30\n"
                      "Qwen2.5-7B-AWQ,energy_per_output_token_j,,1.25,,,,30\n");
    put("table.csv", "section,system,dev,tok_s,peak_w\n"
                     "Llama 3.2:3b,PC (Nvidia RTX 4090),GPU,250,300\n"
                     "DeepSeek R1 14b,PC (Nvidia RTX 4090),GPU,100,400\n"
                     "DeepSeek R1 14b,Pi (Nvidia RTX 4090<sup>1</sup>),GPU,1,1\n"
                     "gpt-oss 20b,PC (Nvidia RTX 4090),GPU,250,500\n"
                     "Llama 3.2:3b,Other (Nvidia 4090),GPU,2,N/A\n");
}

static void published_tables_become_curves_and_a_cached_prompt_is_left_out(void **state)
{
    (void)state;
    published();
    struct profile_set s = {0};
    struct err err = {0};
    if (profile_import(&s, folder, &err))
        fail_msg("%s", err.msg);
    assert_null(curves_find(&s.latency, "Qwen2.5-1.5B-Instruct/AWQ@agx-orin"));
    assert_non_null(strstr(s.notes.bytes, "Qwen2.5-1.5B-Instruct/AWQ left out"));
    const struct curve *l = curves_find(&s.latency, PROFILE_BASE_CURVE);
    const struct curve *e = curves_find(&s.energy, PROFILE_BASE_CURVE);
    assert_int_equal(CURVE_PUBLISHED, l->source);
    assert_int_equal(4, l->n_points);
    near(500, l->points[0].prompt_tokens);
    near(0.05, l->fit.decode);                    /* 20 tokens/s */
    near(0.45, l->fit.t0 + 500 * l->fit.prefill); /* 0.5 s with the first token */
    assert_true(l->fit.t0 == 0);                  /* not to be told apart */
    near(1.25, e->fit.decode);
    near(100, e->points[0].output_tokens);
    const struct curve *three = curves_find(&s.latency, "Qwen2.5-3B-Instruct/AWQ@agx-orin");
    assert_int_equal(2, three->n_points); /* no requests of it are published */
    near(0.02, three->fit.decode);
    profile_set_release(&s);
}

static void a_line_over_the_parameters_gives_the_estimated_device(void **state)
{
    (void)state;
    published();
    struct profile_set s = {0};
    assert_int_equal(0, profile_import(&s, folder, NULL));
    const char *name = "Qwen2.5-7B-Instruct/4bit@rtx-4090-like";
    const struct curve *l = curves_find(&s.latency, name), *e = curves_find(&s.energy, name);
    double part = (7.62 - 3.21) / (14.77 - 3.21), seconds = 0.004 + part * 0.006;
    assert_int_equal(CURVE_ESTIMATED, l->source);
    assert_int_equal(0, l->n_points);
    near(seconds, l->fit.decode);
    near((300 + part * 100) * seconds, e->fit.decode);
    near(0.45 / 500 * seconds / 0.05, l->fit.prefill);
    profile_set_release(&s);
}

static void models_get_the_base_curve_by_the_parameters_they_read(void **state)
{
    (void)state;
    published();
    const char *models =
        put("models.csv", "model,params_b,active_b\nhalf,3.81,\nmixture,76.2,15.24\nsecret,,\n");
    struct profile_set from = {0}, s = {0};
    assert_int_equal(0, profile_import(&from, folder, NULL));
    assert_int_equal(0, profile_scale(&s, &from, PROFILE_BASE_CURVE, 7.62, models, NULL));
    assert_int_equal(2, s.latency.n);
    near(0.025, curves_find(&s.latency, "half")->fit.decode);
    near(2.5, curves_find(&s.energy, "mixture")->fit.decode);
    assert_int_equal(CURVE_ESTIMATED, curves_find(&s.latency, "half")->source);
    assert_non_null(strstr(s.notes.bytes, "secret has no costs"));
    struct err err = {0};
    assert_int_equal(MOE2_ECONFIG, profile_scale(&s, &from, "x", 7, models, &err));
    assert_non_null(strstr(err.msg, "there is no curve \"x\""));
    profile_set_release(&from);
    profile_set_release(&s);
}

static const char FLEET[] = "name: two\ndevices: [d0, d1]\nkinds: [agx-orin, rtx-4090-like]\n"
                            "experts: [e0, e1]\non: [d1, d0]\n"
                            "curves: [Qwen2.5-7B-Instruct/4bit@rtx-4090-like, "
                            "Qwen2.5-7B-Instruct/AWQ@agx-orin]\n";

static void a_fleet_gives_each_expert_its_device_and_curve(void **state)
{
    (void)state;
    published();
    char text[600];
    snprintf(text, sizeof text, "%soutcomes: [model-a, model-b]\n", FLEET);
    const char *fleet = put("fleet.yaml", text);
    struct profile_set s = {0}, again = {0};
    struct profile_step step = {
        .import = folder, .fleet = fleet, .out_dir = folder, .gnuplot = "/nowhere/gnuplot"};
    struct err err = {0};
    if (profile_run(&s, &step, &err))
        fail_msg("%s", err.msg);
    char path[300];
    snprintf(path, sizeof path, "%s/latency/latency.json", folder);
    if (curves_read(&again.latency, path, &err))
        fail_msg("%s", err.msg);
    const struct curve *b = curves_find(&again.latency, "model-b");
    assert_string_equal("d0", b->device);
    assert_string_equal("e1", b->stands_for);
    assert_string_equal(PROFILE_BASE_CURVE, b->curve);
    assert_int_equal(4, b->n_points);
    near(0.05, b->fit.decode);
    assert_int_equal(CURVE_ESTIMATED, curves_find(&again.latency, "model-a")->source);
    profile_set_release(&s);
    profile_set_release(&again);
}

static void a_fleet_that_does_not_fit_together_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *why;
    } CASES[] = {
        {"on: [d1, d0]", "on: [d1]", "on has 1 entries, wanted 2"},
        {"on: [d1, d0]", "on: [d1, d7]", "is on \"d7\", no device"},
        {"[d0, d1]", "[d0, d0]", "devices names \"d0\" twice"},
        {"[e0, e1]", "[]", "0 experts, wanted 1 to 64"},
        {"kinds:", "kind:", "kind"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        char text[600];
        const char *at = strstr(FLEET, CASES[i].from);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - FLEET), FLEET, CASES[i].to,
                 at + strlen(CASES[i].from));
        struct fleet_config f;
        struct err err = {0};
        assert_int_equal(MOE2_ECONFIG, fleet_config_read(&f, put("bad.yaml", text), &err));
        if (!strstr(err.msg, CASES[i].why))
            fail_msg("\"%s\", wanted \"%s\"", err.msg, CASES[i].why);
    }
}

static void the_fleets_of_the_project_are_read(void **state)
{
    (void)state;
    struct fleet_config f;
    struct err err = {0};
    if (fleet_config_read(&f, SOURCE_DIR "/configs/fleet/testbed.yaml", &err))
        fail_msg("%s", err.msg);
    assert_int_equal(9, f.devices.n);
    assert_int_equal(8, f.experts.n);
    assert_string_equal("Qwen2.5-3B-FT7", fleet_column(&f, 7));
    fleet_config_release(&f);
    assert_int_equal(0, fleet_config_read(&f, SOURCE_DIR "/configs/fleet/demo.yaml", NULL));
    assert_string_equal("Yi-6b-Chat", fleet_column(&f, 7));
    fleet_config_release(&f);
}

static void characters_become_a_quarter_as_many_tokens_rounded_up(void **state)
{
    (void)state;
    const char *chars = put("chars.csv", "question_id,category,answer,\"a,b\",c\n"
                                         "q1,x,A,0,1\nq2,x,B,4,\nq3,x,B,5,400\n");
    char out[300];
    snprintf(out, sizeof out, "%s/lengths.csv", folder);
    assert_int_equal(0, profile_lengths(out, chars, NULL, NULL));
    struct buf text = {0};
    assert_int_equal(0, file_read(&text, out, NULL));
    assert_string_equal("question_id,\"a,b\",c\nq1,0,1\nq2,1,\nq3,2,100\n", text.bytes);
    buf_release(&text);
    struct err err = {0};
    unlink(out);
    assert_int_equal(MOE2_EFORMAT,
                     profile_lengths(out, put("bad.csv", "question_id,a\n1,2.5\n"), NULL, &err));
    assert_non_null(strstr(err.msg, "bad.csv:2: a has \"2.5\" characters"));
    assert_false(file_exists(out));
}

static void a_cost_file_that_is_off_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } CASES[] = {
        {"[]", "is no object"},
        {"{\"a\": 1}", "\"a\": is no object"},
        {"{\"a\": {\"unit\": \"s\"}}", "fit"},
        {"{\"a\": {\"unit\": \"h\", \"fit\": {\"t0\":0,\"prefill\":0,\"decode\":0}}}", "unit is"},
        {"{\"a\": {\"source\": \"x\", \"fit\": {\"t0\":0,\"prefill\":0,\"decode\":0}}}",
         "source is"},
        {"{\"a\": {\"fit\": {\"t0\":-1,\"prefill\":0,\"decode\":0}}}", "t0"},
        {"{\"a\": {\"fit\": {\"t0\":0,\"prefill\":0,\"decode\":\"1\"}}}", "decode"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct curves c;
        struct err err = {0};
        assert_int_equal(MOE2_EFORMAT, curves_read(&c, put("costs.json", CASES[i].text), &err));
        if (!strstr(err.msg, CASES[i].why))
            fail_msg("\"%s\", wanted \"%s\"", err.msg, CASES[i].why);
        curves_release(&c);
    }
}

/* The figures of the issue: 7B on the AGX Orin takes 1.2 s and 39 J for 32 tokens, 4.1 s and 157 J for 128. */
static void the_shared_tables_give_the_known_costs(void **state)
{
    (void)state;
    const char *data = getenv("MOE2_DATA");
    char dir[600];
    snprintf(dir, sizeof dir, "%s/devices", data ? data : SOURCE_DIR "/../shared/data");
    if (!file_is_dir(dir)) {
        print_message("skipped: %s is not there\n", dir);
        skip();
    }
    struct profile_set s = {0};
    assert_int_equal(0, profile_import(&s, dir, NULL));
    const struct curve_fit *l = &curves_find(&s.latency, PROFILE_BASE_CURVE)->fit;
    const struct curve_fit *e = &curves_find(&s.energy, PROFILE_BASE_CURVE)->fit;
    assert_true(fabs(curve_value(l, 464, 32) - 1.2) < 0.05);
    assert_true(fabs(curve_value(l, 464, 128) - 4.1) < 0.05);
    assert_true(fabs(curve_value(e, 464, 32) - 39) < 0.5);
    assert_true(fabs(curve_value(e, 464, 128) - 157) < 0.5);
    profile_set_release(&s);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_all(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(measurements_become_points_with_their_spread_and_a_fit),
        cmocka_unit_test(a_point_is_the_median_of_its_runs_and_notes_are_those_of_the_first),
        cmocka_unit_test(bad_measurements_are_refused_with_file_line_and_field),
        cmocka_unit_test(published_tables_become_curves_and_a_cached_prompt_is_left_out),
        cmocka_unit_test(a_line_over_the_parameters_gives_the_estimated_device),
        cmocka_unit_test(models_get_the_base_curve_by_the_parameters_they_read),
        cmocka_unit_test(a_fleet_gives_each_expert_its_device_and_curve),
        cmocka_unit_test(a_fleet_that_does_not_fit_together_is_refused),
        cmocka_unit_test(the_fleets_of_the_project_are_read),
        cmocka_unit_test(characters_become_a_quarter_as_many_tokens_rounded_up),
        cmocka_unit_test(a_cost_file_that_is_off_is_refused),
        cmocka_unit_test(the_shared_tables_give_the_known_costs),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
