/* Reports: results folders read, pages written, statistics against numbers worked out by hand. All runs here are synthetic. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "report/chart.h"
#include "report/comparison.h"
#include "report/html.h"
#include "report/report.h"
#include "report_fixture.h"

static const char OUT[] = "report_test/report";
static const struct report_options OPTIONS = {0};

static char *read_all(const char *path)
{
    struct buf b = {0};
    assert_int_equal(0, file_read(&b, path, NULL));
    return b.bytes;
}

static void fresh(const char *dir)
{
    assert_int_equal(0, file_remove_all(dir, NULL));
    assert_int_equal(0, dir_make(dir, NULL));
}

static void need_gnuplot(void)
{
    if (!gnuplot_found("gnuplot")) {
        print_message("skipped: gnuplot is not installed\n");
        skip();
    }
}

/* No address that a browser would follow: neither scheme nor //host nor a source that is not inside the page. */
static void assert_self_contained(const char *html)
{
    static const char *const bad[] = {"http:",   "https:", "src=",    "url(",      "@import",
                                      "<script", "<link",  "<iframe", "href=\"//", "href='//"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (strstr(html, bad[i]))
            fail_msg("the page holds %s: %.80s", bad[i], strstr(html, bad[i]));
    for (const char *s = html; (s = strstr(s, "href=")); s++)
        assert_int_equal(s[6], '#');
}

/* ---- reading ---- */

static void a_results_folder_becomes_numbers(void **state)
{
    (void)state;
    struct run_metrics m;
    struct err err = {0};
    assert_true(
        fix_run("report_test/report/a", &(struct fixture){"rd_esi", 3, 4.0, 0.4, 0, false}));
    if (run_metrics_read(&m, "report_test/report/a", &err))
        fail_msg("%s", err.msg);
    assert_true(m.finished);
    assert_string_equal(m.router, "rd_esi");
    assert_int_equal(m.seed, 3);
    assert_int_equal(m.steps.n, FIX_STEPS);
    assert_float_equal(m.steps.column[RUN_TOKENS][59], 60 * 2048, 0);
    assert_true(isnan(m.steps.column[RUN_AUX_LOSS][0]));
    assert_int_equal(m.evals.n, 12);
    assert_float_equal(m.evals.tokens[0], 5 * 2048, 0);
    assert_int_equal(m.layers.n, 20);
    assert_int_equal(m.layers.n_layers, FIX_LAYERS);
    assert_int_equal(m.layers.layer[0], 1);
    assert_non_null(m.layers.reputation);
    assert_float_equal(run_number(&m, "test.loss"), 4.0, 1e-9);
    assert_true(isnan(run_number(&m, "test.nothing")));
    assert_true(isnan(run_number(&m, "router")));
    assert_float_equal(measure_of(&m, MEASURE_ROUTING_SHARE), 1.23, 1e-9);
    assert_float_equal(measure_of(&m, MEASURE_PEAK_MEMORY), 300, 1e-9);
    run_metrics_release(&m);
}

static void steps_told_twice_after_a_resume_count_once_and_a_torn_line_not_at_all(void **state)
{
    (void)state;
    struct run_metrics m;
    fresh("report_test/report/resumed");
    assert_true(fix_text("report_test/report/resumed/metrics.jsonl",
                         "{\"step\":1,\"tokens\":10,\"loss\":5}\n{\"step\":2,\"tokens\":20,"
                         "\"loss\":4}\n{\"step\":2,\"eval\":\"validation\",\"loss\":4.1}\n"
                         "{\"step\":3,\"tokens\":30,\"loss\":3}\n"
                         "{\"step\":2,\"tokens\":20,\"loss\":4.5}\n{\"step\":2,\"eval\":"
                         "\"validation\",\"loss\":4.6}\n{\"step\":3,\"tokens\":30,\"loss\":3.5}\n"
                         "{\"step\":4,\"tok"));
    assert_int_equal(0, run_metrics_read(&m, "report_test/report/resumed", NULL));
    assert_false(m.finished);
    assert_string_equal(m.name, "resumed");
    assert_int_equal(m.steps.n, 3);
    assert_float_equal(m.steps.column[RUN_LOSS][1], 4.5, 0);
    assert_float_equal(m.steps.column[RUN_LOSS][2], 3.5, 0);
    assert_int_equal(m.evals.n, 1);
    assert_float_equal(m.evals.loss[0], 4.6, 1e-9);
    assert_float_equal(m.evals.tokens[0], 20, 0);
    run_metrics_release(&m);
}

static void a_broken_file_is_named_with_its_line(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text, *message;
    } cases[] = {
        {"metrics.json", "{\"name\": ", "report_test/report/broken/metrics.json:"},
        {"metrics.json", "[1]", "report_test/report/broken/metrics.json: is no JSON object"},
        {"metrics.json", "", "report_test/report/broken/metrics.json:"},
        {"metrics.jsonl", "{\"step\":1}\n{\"step\":\n",
         "report_test/report/broken/metrics.jsonl:2"},
        {"metrics.jsonl", "{\"loss\":1}\n",
         "report_test/report/broken/metrics.jsonl:1: has no \"step\""},
        {"metrics.jsonl", "7\n", "report_test/report/broken/metrics.jsonl:1: has no \"step\""},
        {"metrics.jsonl", "{\"step\":1,\"layers\":[{\"load\":[]}]}\n",
         "report_test/report/broken/metrics.jsonl:1: layers are 1 of 0 experts, wanted 1 to "
         "256 of 1 to 1024"},
        {"metrics.jsonl",
         "{\"step\":1,\"layers\":[{\"load\":[1,1]}]}\n{\"step\":2,\"layers\":[{\"load\":[1]}]}\n",
         "report_test/report/broken/metrics.jsonl:2: layers differ from the 1 of 2 experts "
         "before"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        char path[256];
        fresh("report_test/report/broken");
        snprintf(path, sizeof path, "report_test/report/broken/%s", cases[i].file);
        assert_true(fix_text(path, cases[i].text));
        assert_int_not_equal(0, report_run("report_test/report/broken", &OPTIONS, &err));
        if (strncmp(err.msg, cases[i].message, strlen(cases[i].message)) != 0)
            fail_msg("case %zu says: %s", i, err.msg);
        assert_false(file_exists("report_test/report/broken/report.html"));
    }
    struct err err = {0};
    fresh("report_test/report/broken");
    assert_int_equal(MOE2_EIO, report_run("report_test/report/broken", &OPTIONS, &err));
    assert_string_equal(err.msg,
                        "report_test/report/broken: holds neither metrics.json nor metrics.jsonl");
}

static void every_cut_of_a_summary_is_an_error_and_never_a_crash(void **state)
{
    (void)state;
    struct buf b = {0};
    fix_summary(&b, &(struct fixture){"none", 1, 4.0, 1.0, 0, false}, "cut", 60);
    fresh("report_test/report/cut");
    for (size_t n = 0; n + 2 < b.n; n += 37) {
        struct run_metrics m;
        struct err err = {0};
        assert_int_equal(0, file_write("report_test/report/cut/metrics.json", b.bytes, n, NULL));
        assert_int_not_equal(0, run_metrics_read(&m, "report_test/report/cut", &err));
        assert_non_null(strstr(err.msg, "metrics.json"));
    }
    buf_release(&b);
}

/* ---- pages ---- */

static void a_page_escapes_what_strangers_wrote(void **state)
{
    (void)state;
    struct buf b = {0};
    struct html h;
    html_begin(&h, &b, NULL);
    html_section(&h, "<b>&");
    html_paragraph(&h, "%s", "<script>alert(\"x\")</script> \xFF\x01'");
    html_details(&h, "</summary><i>", "</pre><img src=x>");
    html_figure(&h, "report_test/report/no.svg", "caption <u>");
    assert_int_equal(0, html_end(&h, "</title><script>"));
    assert_null(strstr(b.bytes, "<script"));
    assert_null(strstr(b.bytes, "<img"));
    assert_null(strstr(b.bytes, "<u>"));
    assert_non_null(
        strstr(b.bytes, "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; \xEF\xBF\xBD&#39;"));
    assert_non_null(strstr(b.bytes, "<b>Figure 1</b> was not drawn. caption &lt;u&gt;"));
    assert_non_null(strstr(b.bytes, "<a href=\"#s1\">&lt;b&gt;&amp;</a>"));
    buf_release(&b);
}

static void an_svg_inside_a_page_takes_the_pages_colours_and_no_address(void **state)
{
    (void)state;
    static const char svg[] =
        "<?xml version=\"1.0\"?>\n<svg \n width=\"76\" height=\"41\"\n viewBox=\"0 0 76 41\"\n "
        "xmlns=\"http://www.w3.org/2000/svg\"\n>\n"
        "<title>Gnuplot</title><rect x=\"0\" y=\"0\" width=\"76\" height=\"41\" "
        "fill=\"#ffffff\"/><g id='gpDot' fill=\"rgb(51,51,51)\" "
        "stroke='rgb( 51,  51,  51)' font-family=\"sans-serif\"/><use xlink:href='#gpDot' "
        "color='rgb(  0, 114, 178)'/></svg>\n";
    struct buf b = {0};
    struct err err = {0};
    assert_int_equal(0, svg_inline(&b, svg, "f1-", "a \"b\"", &err));
    assert_string_equal(
        b.bytes, "<svg viewBox=\"0 0 76 41\" role=\"img\" aria-label=\"a &quot;b&quot;\">\n<g "
                 "id='f1-gpDot' fill=\"var(--ink)\" "
                 "stroke='var(--ink)'/><use href='#f1-gpDot' color='var(--c1)'/></svg>\n");
    assert_int_equal(MOE2_EFORMAT, svg_inline(&b, "<svg viewBox=\"0 0 1 1\">", "f", "", &err));
    buf_release(&b);
}

static void the_report_of_a_run_is_one_file_without_a_network(void **state)
{
    (void)state;
    need_gnuplot();
    struct err err = {0};
    assert_true(
        fix_run("report_test/report/run", &(struct fixture){"rd_esi", 1, 4.1234, 0.5, 0, false}));
    if (report_run("report_test/report/run", &OPTIONS, &err))
        fail_msg("%s", err.msg);
    char *html = read_all("report_test/report/run/report.html");
    assert_self_contained(html);
    assert_non_null(strstr(html, "Router rd_esi, seed 1: 4.1234 nats a token"));
    assert_non_null(strstr(html, "Il comando &lt;apt&gt; installa"));
    static const char *const figures[] = {"loss",         "bits_per_byte", "max_vio",    "loads",
                                          "load_by_rank", "reputation",    "token_types"};
    int n_svgs = 0;
    for (const char *s = html; (s = strstr(s, "<svg ")); s++)
        n_svgs++;
    assert_int_equal(n_svgs, sizeof figures / sizeof *figures);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        char path[256];
        snprintf(path, sizeof path, "report_test/report/run/figures/%s.png", figures[i]);
        assert_true(file_size(path) > 5000);
    }
    free(html);
}

static void a_run_that_goes_on_still_has_a_report(void **state)
{
    (void)state;
    assert_true(
        fix_run("report_test/report/going", &(struct fixture){"none", 1, 4.0, 2.0, 30, true}));
    assert_int_equal(0, report_run("report_test/report/going", &OPTIONS, NULL));
    char *html = read_all("report_test/report/going/report.html");
    assert_non_null(strstr(html, "This run is not finished: 30 steps, 61,440 tokens so far."));
    free(html);
}

static int warnings;

static void count_warnings(void *ctx, enum log_level level, const char *text)
{
    snprintf(ctx, 256, "%s", text);
    warnings += level == LOG_WARN;
}

static void without_gnuplot_there_is_one_warning_and_a_page(void **state)
{
    (void)state;
    char said[256] = "";
    const struct log_sink sink = {count_warnings, NULL, said};
    const struct report_options options = {"no-such-gnuplot", &sink};
    fresh("report_test/report/plain");
    assert_true(
        fix_run("report_test/report/plain", &(struct fixture){"rd_esi", 1, 4.0, 0.5, 0, false}));
    warnings = 0;
    assert_int_equal(0, report_run("report_test/report/plain", &options, NULL));
    assert_int_equal(warnings, 1);
    assert_string_equal(said, "no-such-gnuplot was not found: the report goes on without figures");
    char *html = read_all("report_test/report/plain/report.html");
    assert_null(strstr(html, "<svg"));
    assert_non_null(strstr(html, "gnuplot was not found, so this page has no figures."));
    free(html);
}

/* ---- comparisons ---- */

static const double NONE[5] = {4.10, 4.12, 4.08, 4.11, 4.09};
static const double AUX[5] = {4.09, 4.10, 4.07, 4.09,
                              4.08}; /* minus none: −.01 −.02 −.01 −.02 −.01 */
static const double RD_ESI[5] = {4.11, 4.10, 4.09, 4.10,
                                 4.10}; /* minus none: +.01 −.02 +.01 −.01 +.01 */

static void make_runs(const char *dir, const char *router, const double *losses, double imbalance,
                      int n)
{
    for (int i = 0; i < n; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/runs/%s-s%d", dir, router, i + 1);
        assert_true(
            fix_run(path, &(struct fixture){router, i + 1, losses[i], imbalance, 0, false}));
    }
}

static void put_router(struct buf *b, const char *label, int n)
{
    buf_printf(b, NULL, "%s{\"label\":\"%s\",\"config\":\"%s.yaml\",\"settings\":[],\"runs\":[",
               b->bytes[b->n - 1] == '[' ? "" : ",", label, label);
    for (int i = 0; i < n; i++)
        buf_printf(b, NULL, "%s\"runs/%s-s%d\"", i ? "," : "", label, i + 1);
    buf_puts(b, "]}", NULL);
}

static void make_plan(const char *dir, const char *const *labels, int n, int n_seeds,
                      const char *more)
{
    struct buf b = {0};
    char path[256];
    buf_puts(&b,
             "{\"format\":\"moe2-comparison\",\"version\":1,\"command\":\"moe2 compare --seeds "
             "5\",\"baseline\":\"none\",\"seeds\":[",
             NULL);
    for (int i = 0; i < n_seeds; i++)
        buf_printf(&b, NULL, "%s%d", i ? "," : "", i + 1);
    buf_puts(&b, "],\"routers\":[", NULL);
    for (int i = 0; i < n; i++)
        put_router(&b, labels[i], n_seeds);
    buf_printf(&b, NULL, "]%s}", more);
    snprintf(path, sizeof path, "%s/compare.json", dir);
    assert_true(fix_text(path, b.bytes));
    buf_release(&b);
}

static void intervals_are_those_worked_out_by_hand(void **state)
{
    (void)state;
    struct comparison c;
    struct err err = {0};
    const char dir[] = "report_test/report/three";
    fresh(dir);
    make_runs(dir, "none", NONE, 2.0, 5);
    make_runs(dir, "aux", AUX, 0.4, 5);
    make_runs(dir, "rd_esi", RD_ESI, 0.5, 5);
    make_plan(dir, (const char *[]){"none", "aux", "rd_esi"}, 3, 5, "");
    if (comparison_read(&c, dir, NULL, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(c.baseline, 0);
    /* none: mean 4.10, deviation sqrt(0.001/4), t(0.975, 4) = 2.776445: 2.776445·0.0158114/sqrt(5) = 0.0196325 */
    assert_float_equal(c.routers[0].value[MEASURE_TEST_LOSS].mean, 4.10, 1e-9);
    assert_float_equal(c.routers[0].value[MEASURE_TEST_LOSS].half_width, 0.0196325, 1e-6);
    /* aux − none: mean −0.014, deviation sqrt(0.00012/4) = 0.00547723: 2.776445·0.00547723/sqrt(5) = 0.0068009 */
    assert_float_equal(c.routers[1].loss_difference.mean, -0.014, 1e-9);
    assert_float_equal(c.routers[1].loss_difference.half_width, 0.0068009, 1e-6);
    assert_true(comparison_differs(&c.routers[1].loss_difference));
    /* rd_esi − none: mean 0, sum of squares 0.0008, deviation sqrt(0.0002) = 0.0141421: half width 0.0175598 */
    assert_float_equal(c.routers[2].loss_difference.mean, 0, 1e-9);
    assert_float_equal(c.routers[2].loss_difference.half_width, 0.0175598, 1e-6);
    assert_false(comparison_differs(&c.routers[2].loss_difference));
    struct buf b = {0};
    assert_int_equal(0, comparison_finding(&b, &c, NULL));
    assert_string_equal(b.bytes, "Against none, aux (−0.0140 ± 0.0068) has a lower test loss; the "
                                 "others do not differ by more than the seeds do (nats a "
                                 "token, 5 seeds, paired 95 % intervals). rd_esi can't be told "
                                 "from none in test loss (0.0000 ± 0.0176 nats a token), and "
                                 "its loads are more even (MaxVio 0.50 against 2.00).");
    buf_release(&b);
    comparison_release(&c);
}

static void when_nothing_differs_the_report_says_so(void **state)
{
    (void)state;
    struct comparison c;
    const char dir[] = "report_test/report/same";
    fresh(dir);
    make_runs(dir, "none", NONE, 2.0, 5);
    make_runs(dir, "rd_esi", RD_ESI, 2.0, 5);
    make_plan(dir, (const char *[]){"none", "rd_esi"}, 2, 5, "");
    struct buf b = {0};
    assert_int_equal(0, comparison_read(&c, dir, NULL, NULL));
    assert_int_equal(0, comparison_finding(&b, &c, NULL));
    assert_string_equal(b.bytes, "No router differs from none in test loss by more than the seeds "
                                 "do (5 seeds, paired 95 % intervals). rd_esi can't be told "
                                 "from none in test loss (0.0000 ± 0.0176 nats a token).");
    comparison_release(&c);
    make_plan(dir, (const char *[]){"none", "rd_esi"}, 2, 2, "");
    buf_clear(&b);
    assert_int_equal(0, comparison_read(&c, dir, NULL, NULL));
    assert_int_equal(0, comparison_finding(&b, &c, NULL));
    assert_non_null(
        strstr(b.bytes, " Two seeds are few: their intervals rest on one degree of freedom."));
    comparison_release(&c);
    make_plan(dir, (const char *[]){"none", "rd_esi"}, 2, 1, "");
    buf_clear(&b);
    assert_int_equal(0, comparison_read(&c, dir, NULL, NULL));
    assert_int_equal(0, comparison_finding(&b, &c, NULL));
    assert_string_equal(b.bytes, "One seed can't tell the routers from none: a seed alone changes "
                                 "the loss, and how much is not known from one.");
    comparison_release(&c);
    buf_release(&b);
}

static void a_missing_and_a_broken_run_are_left_out_and_pairs_stay_pairs(void **state)
{
    (void)state;
    struct comparison c;
    char said[256] = "";
    const struct log_sink sink = {count_warnings, NULL, said};
    const char dir[] = "report_test/report/holes";
    fresh(dir);
    make_runs(dir, "none", NONE, 2.0, 5);
    make_runs(dir, "aux", AUX, 0.4, 5);
    make_plan(dir, (const char *[]){"none", "aux"}, 2, 5, "");
    assert_int_equal(0, file_remove_all("report_test/report/holes/runs/none-s2", NULL));
    assert_true(
        fix_text("report_test/report/holes/runs/aux-s4/metrics.json", "{\"test\": nonsense}"));
    warnings = 0;
    assert_int_equal(0, comparison_read(&c, dir, &sink, NULL));
    assert_int_equal(warnings, 1);
    assert_non_null(
        strstr(said, "a run is left out: report_test/report/holes/runs/aux-s4/metrics.json:"));
    assert_int_equal(c.routers[0].n_finished, 4);
    assert_int_equal(c.routers[1].n_finished, 4);
    /* seeds 1, 3 and 5 are pairs: −.01 each */
    assert_int_equal(c.routers[1].loss_difference.n, 3);
    assert_float_equal(c.routers[1].loss_difference.mean, -0.01, 1e-9);
    assert_non_null(strstr(c.broken.bytes, "aux-s4"));
    comparison_release(&c);
    assert_int_equal(
        0, report_compare(NULL, dir, &(struct report_options){"no-such-gnuplot", NULL}, NULL));
    char *html = read_all("report_test/report/holes/report.html");
    assert_non_null(
        strstr(html, "8 of 10 runs are finished; this page shows what is there so far."));
    assert_non_null(strstr(html, "Runs that could not be read"));
    free(html);
}

static void a_plan_that_is_none_is_refused_in_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{}", "report_test/report/plan/compare.json: is no moe2-comparison of version 1"},
        {"{\"format\":\"moe2-comparison\",\"version\":1}",
         "report_test/report/plan/compare.json: seeds is no list of 1 to 64 numbers"},
        {"{\"format\":\"moe2-comparison\",\"version\":1,\"seeds\":[\"a\"]}",
         "report_test/report/plan/compare.json: a seed is no whole number"},
        {"{\"format\":\"moe2-comparison\",\"version\":1,\"seeds\":[1]}",
         "report_test/report/plan/compare.json: routers holds 0 entries, wanted 1 to 40"},
        {"{\"format\":\"moe2-comparison\",\"version\":1,\"seeds\":[1],\"routers\":[{\"label\":"
         "\"a\",\"runs\":[1]}]}",
         "report_test/report/plan/compare.json: a run is no text"},
        {"{\"format\":\"moe2-comparison\",\"version\":1,\"seeds\":[1],\"routers\":[7]}",
         "report_test/report/plan/compare.json: an entry has no label or too many runs"},
        {"{\"format\":\"moe2-comparison\",\"version\":1,\"seeds\":[1],\"routers\":[{\"label\":"
         "\"a\",\"runs\":[]}],\"ablation\":{\"of\":\"b\",\"seeds\":[1],"
         "\"variants\":[{\"label\":\"v\",\"runs\":[]}]}}",
         "report_test/report/plan/compare.json: the ablated router is none of its routers"},
        {"{\"format\":\"moe2-comparison\",\"version\":1,\"seeds\":[1],\"routers\":[{\"label\":"
         "\"a\",\"runs\":[]}],\"sweep\":{\"parameters\":[{\"key\":\"beta\","
         "\"values\":[1,2],\"runs\":[\"x\"]}]}}",
         "report_test/report/plan/compare.json: a parameter of the sweep has not one run a value"},
    };
    fresh("report_test/report/plan");
    assert_false(report_is_comparison("report_test/report/plan"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        assert_true(fix_text("report_test/report/plan/compare.json", cases[i].text));
        assert_int_equal(MOE2_EFORMAT,
                         report_compare(NULL, "report_test/report/plan", &OPTIONS, &err));
        assert_string_equal(err.msg, cases[i].message);
    }
    assert_true(report_is_comparison("report_test/report/plan"));
}

static void make_full(const char *dir)
{
    static const char *const labels[] = {"none",      "aux",      "aux_global",
                                         "loss_free", "quantile", "expert_choice",
                                         "random",    "rd_esi",   "rd_esi_integral"};
    static const char *const variants[] = {"beta0", "gamma0", "C0", "nodecay", "norm"};
    static const char *const names[] = {"β = 0: no reputation", "γ = 0: no load",
                                        "C = 0: no exploration", "no decay", "performance: norm"};
    static const char *const keys[] = {"alpha", "beta",       "gamma",
                                       "C",     "decay_rate", "load_ema_alpha"};
    static const double initial[] = {0.1, 0.01, 0.5, 0.01, 0.99, 0.1};
    struct buf more = {0};
    fresh(dir);
    for (int i = 0; i < 9; i++) {
        double losses[5];
        for (int s = 0; s < 5; s++)
            losses[s] =
                NONE[s] + 0.006 * sin(3.0 * i + s) + (i == 6 ? 0.08 : 0) - (i == 1 ? 0.02 : 0);
        make_runs(dir, labels[i], losses, i == 0 || i == 6 ? 2.2 - 0.2 * i : 0.15 + 0.1 * i, 5);
    }
    buf_puts(&more,
             ",\"references\":[{\"label\":\"5-gram\",\"bits_per_byte\":2.05,\"note\":\"Kneser-"
             "Ney\"},{\"label\":\"xz -9\",\"bits_per_byte\":2.31}]",
             NULL);
    buf_puts(
        &more,
        ",\"tuning\":{\"runs\":2,\"method\":\"A grid of powers of "
        "three.\",\"seed\":1,\"routers\":[{\"label\":\"aux\",\"best\":1,\"trials\":[{\"settings\":"
        "[\"router.aux_coef=0.001\"],\"loss\":4.2},{\"settings\":[\"router.aux_coef=0.003\"],"
        "\"loss\":4.1}]}]}",
        NULL);
    buf_puts(&more, ",\"ablation\":{\"of\":\"rd_esi\",\"seeds\":[1,2,3],\"variants\":[", NULL);
    for (int v = 0; v < 5; v++) {
        buf_printf(&more, NULL, "%s{\"label\":\"%s\",\"settings\":[],\"runs\":[", v ? "," : "",
                   names[v]);
        for (int s = 0; s < 3; s++) {
            char path[256];
            snprintf(path, sizeof path, "%s/ablate/%s-s%d", dir, variants[v], s + 1);
            assert_true(
                fix_run(path, &(struct fixture){"rd_esi", s + 1, NONE[s] + 0.01 * sin(v + 2.0 * s),
                                                v == 1 ? 2.0 : 0.5, 0, false}));
            buf_printf(&more, NULL, "%s\"ablate/%s-s%d\"", s ? "," : "", variants[v], s + 1);
        }
        buf_puts(&more, "]}", NULL);
    }
    buf_puts(&more, "]},\"sweep\":{\"of\":\"rd_esi\",\"seed\":1,\"parameters\":[", NULL);
    for (int k = 0; k < 6; k++) {
        buf_printf(&more, NULL, "%s{\"key\":\"%s\",\"default\":%g,\"values\":[", k ? "," : "",
                   keys[k], initial[k]);
        for (int v = 0; v < 5; v++)
            buf_printf(&more, NULL, "%s%g", v ? "," : "",
                       k == 4 ? 0.9 + 0.025 * v : initial[k] * pow(3, v - 2));
        buf_puts(&more, "],\"runs\":[", NULL);
        for (int v = 0; v < 5; v++) {
            char path[256];
            snprintf(path, sizeof path, "%s/sweep/%s-%d", dir, keys[k], v);
            assert_true(fix_run(path, &(struct fixture){"rd_esi", 1, 4.1 + 0.01 * sin(k + 2.0 * v),
                                                        0.3 * (1 + k % 3 * 0.5 * v), 0, false}));
            buf_printf(&more, NULL, "%s\"sweep/%s-%d\"", v ? "," : "", keys[k], v);
        }
        buf_puts(&more, "]}", NULL);
    }
    buf_puts(&more, "]}", NULL);
    make_plan(dir, labels, 9, 5, more.bytes);
    buf_release(&more);
}

static void the_report_of_a_comparison_has_all_its_sections_in_one_file(void **state)
{
    (void)state;
    need_gnuplot();
    static const char *const sections[] = {
        "Result", "Loss",   "Balance",  "Specialisation", "Reputation",       "The Matthew effect",
        "Cost",   "Tuning", "Ablation", "Sensitivity",    "A sample of text", "How it was made"};
    struct buf text = {0};
    struct err err = {0};
    make_full("report_test/report/full");
    if (report_compare(&text, "report_test/report/full", &OPTIONS, &err))
        fail_msg("%s", err.msg);
    char *html = read_all("report_test/report/full/report.html");
    assert_self_contained(html);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        char head[64];
        snprintf(head, sizeof head, "\">%s</h2>", sections[i]);
        if (!strstr(html, head))
            fail_msg("the page has no section %s", sections[i]);
    }
    assert_null(strstr(html, "was not drawn"));
    assert_non_null(strstr(html, "xz -9"));
    assert_non_null(strstr(
        html, "Looking ahead in the text as in training, expert_choice reaches 3.5000 ± 0.0000"));
    char *table = read_all("report_test/report/full/table.txt"),
         *json = read_all("report_test/report/full/comparison.json");
    assert_string_equal(table, text.bytes);
    assert_non_null(strstr(json, "\"loss_difference\""));
    assert_true(file_exists("report_test/report/full/comparison.md"));
    free(html);
    free(table);
    free(json);
    buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_results_folder_becomes_numbers),
        cmocka_unit_test(steps_told_twice_after_a_resume_count_once_and_a_torn_line_not_at_all),
        cmocka_unit_test(a_broken_file_is_named_with_its_line),
        cmocka_unit_test(every_cut_of_a_summary_is_an_error_and_never_a_crash),
        cmocka_unit_test(a_page_escapes_what_strangers_wrote),
        cmocka_unit_test(an_svg_inside_a_page_takes_the_pages_colours_and_no_address),
        cmocka_unit_test(the_report_of_a_run_is_one_file_without_a_network),
        cmocka_unit_test(a_run_that_goes_on_still_has_a_report),
        cmocka_unit_test(without_gnuplot_there_is_one_warning_and_a_page),
        cmocka_unit_test(intervals_are_those_worked_out_by_hand),
        cmocka_unit_test(when_nothing_differs_the_report_says_so),
        cmocka_unit_test(a_missing_and_a_broken_run_are_left_out_and_pairs_stay_pairs),
        cmocka_unit_test(a_plan_that_is_none_is_refused_in_a_sentence),
        cmocka_unit_test(the_report_of_a_comparison_has_all_its_sections_in_one_file),
    };
    dir_make(OUT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
