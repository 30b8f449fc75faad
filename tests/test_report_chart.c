/* Charts: ranges and ticks, labels pushed apart, quoting, and what gnuplot makes of it (skipped where there is none). */
#include <math.h>
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
#include "report/axis.h"
#include "report/chart.h"

static const char OUT[] = "report_test/charts";

/* ---- axes ---- */

static void a_linear_axis_ends_on_round_ticks(void **state)
{
    (void)state;
    struct axis a;
    char text[AXIS_TEXT_BYTES];
    axis_fit(&a, 2.31, 2.94, 6, false);
    assert_float_equal(a.low, 2.3, 1e-12);
    assert_float_equal(a.high, 3.0, 1e-12);
    assert_int_equal(a.n_ticks, 8);
    assert_string_equal(axis_text(text, &a, 1), "2.4");
    assert_float_equal(axis_place(&a, 2.65), 0.5, 1e-12);
}

static void an_axis_of_one_value_or_none_still_has_a_range(void **state)
{
    (void)state;
    struct axis a;
    axis_fit(&a, 5, 5, 5, false);
    assert_true(a.low < 5 && a.high > 5 && a.n_ticks >= 2);
    axis_fit(&a, 0, 0, 5, false);
    assert_true(a.low < 0 && a.high > 0);
    axis_fit(&a, INFINITY, -INFINITY, 5, false);
    assert_true(a.low == 0 && a.high == 1);
    axis_fit(&a, INFINITY, -INFINITY, 5, true);
    assert_true(a.low > 0 && a.low < a.high && a.n_ticks >= 2);
    axis_fit(&a, NAN, NAN, 5, false);
    assert_true(a.low < a.high);
}

static void a_logarithmic_axis_has_decades_or_their_one_two_five(void **state)
{
    (void)state;
    struct axis a;
    char text[AXIS_TEXT_BYTES];
    axis_fit(&a, 0.03, 40, 5, true);
    assert_float_equal(a.low, 0.01, 1e-12);
    assert_float_equal(a.high, 100, 1e-9);
    assert_int_equal(a.n_ticks, 5);
    assert_string_equal(axis_text(text, &a, 2), "1");
    axis_fit(&a, 0.3, 4, 5, true);
    assert_float_equal(a.low, 0.2, 1e-12);
    assert_float_equal(a.high, 5, 1e-9);
    assert_string_equal(axis_text(text, &a, 0), "0.2");
}

static void labels_are_pushed_apart_as_little_as_possible(void **state)
{
    (void)state;
    double p[] = {0.5, 0.9, 0.5, NAN, 0.1};
    axis_spread(p, 5, 0.2, 0, 1);
    assert_float_equal(p[0], 0.4, 1e-9); /* the two share the move, in their order */
    assert_float_equal(p[2], 0.6, 1e-9);
    assert_float_equal(p[1], 0.9, 1e-9);
    assert_float_equal(p[4], 0.1, 1e-9);
    assert_true(isnan(p[3]));
    double q[] = {1, 1, 1};
    axis_spread(q, 3, 0.1, 0, 1);
    assert_float_equal(q[0], 0.8, 1e-9);
    assert_float_equal(q[2], 1.0, 1e-9);
    double many[20] = {0};
    axis_spread(many, 20, 0.5, 0, 1); /* more than fit: evenly */
    assert_float_equal(many[19], 1, 1e-9);
    assert_float_equal(many[1], 1.0 / 19, 1e-9);
}

static void thinning_keeps_means_and_short_lines(void **state)
{
    (void)state;
    double x[] = {1, 2, 3, 4, 5, 6}, y[] = {1, 3, 5, 7, 2, 4};
    assert_int_equal(chart_thin(x, y, 6, 10), 6);
    assert_int_equal(chart_thin(x, y, 6, 3), 3);
    assert_float_equal(y[0], 2, 0);
    assert_float_equal(y[1], 6, 0);
    assert_float_equal(x[2], 5.5, 0);
}

/* ---- quoting ---- */

static void a_strangers_name_can_do_nothing_in_a_script(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(0, gnuplot_quote(&b, "it's `rm -rf`\n@x \"$d\"\x01", 40, NULL));
    assert_string_equal(b.bytes, "'it''s `rm -rf` @x \"$d\" '");
    buf_clear(&b);
    assert_int_equal(0, gnuplot_quote(&b,
                                      "a\xFF"
                                      "b",
                                      40, NULL));
    assert_string_equal(b.bytes, "'a\xEF\xBF\xBD"
                                 "b'");
    buf_clear(&b);
    char longer[100];
    memset(longer, 'x', 99);
    longer[99] = 0;
    assert_int_equal(0, gnuplot_quote(&b, longer, CHART_MAX_NAME, NULL));
    assert_int_equal(b.n, 2 + CHART_MAX_NAME - 1 + 3);
    assert_int_equal(chart_name_columns(longer), CHART_MAX_NAME);
    buf_release(&b);
}

static void a_figure_above_a_limit_is_refused_by_name(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err err = {0};
    double cells[1] = {0};
    struct chart c = {
        .kind = CHART_HEAT, .cells = cells, .n_cell_rows = 200, .n_cell_columns = 200};
    assert_int_equal(MOE2_ELIMIT,
                     figure_script(&b,
                                   &(struct figure){.title = "Loads", .charts = &c, .n_charts = 1},
                                   "x", &err));
    assert_string_equal(err.msg, "figure \"Loads\" has 40000 cells, wanted 1 to 16384");
    buf_release(&b);
}

/* ---- drawing ---- */

static void need_gnuplot(void)
{
    if (!gnuplot_found("gnuplot")) {
        print_message("skipped: gnuplot is not installed\n");
        skip();
    }
}

static void assert_drawn(const char *name)
{
    struct buf b = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/%s.svg", OUT, name);
    assert_int_equal(0, file_read(&b, path, NULL));
    assert_non_null(strstr(b.bytes, "<svg"));
    assert_non_null(strstr(b.bytes, "</svg>"));
    buf_clear(&b);
    snprintf(path, sizeof path, "%s/%s.png", OUT, name);
    assert_int_equal(0, file_read(&b, path, NULL));
    assert_memory_equal(b.bytes, "\x89PNG", 4);
    buf_release(&b);
}

static void draw(const struct figure *f, const char *name)
{
    struct err err = {0};
    if (figure_draw(f, "gnuplot", OUT, name, &err))
        fail_msg("%s", err.msg);
    assert_drawn(name);
}

static void lines_with_bands_become_an_svg_and_a_png(void **state)
{
    (void)state;
    need_gnuplot();
    enum { N = 24, L = 9 };
    static const char *const names[L] = {"none",      "aux",      "aux_global",
                                         "loss_free", "quantile", "expert_choice",
                                         "random",    "rd_esi",   "rd_esi_integral"};
    static double x[N], y[L][N], low[L][N], high[L][N];
    struct chart_series s[L];
    struct rng r;
    rng_init(&r, 1);
    for (int l = 0; l < L; l++) {
        for (int i = 0; i < N; i++) {
            x[i] = 5 * (i + 1);
            y[l][i] =
                4.1 + 3 * exp(-0.15 * i) + 0.01 * l + (l == 6 ? 0.15 : 0) + 0.01 * rng_normal(&r);
            low[l][i] = y[l][i] - 0.03;
            high[l][i] = y[l][i] + 0.03;
        }
        s[l] = (struct chart_series){.label = names[l],
                                     .x = x,
                                     .y = y[l],
                                     .low = low[l],
                                     .high = high[l],
                                     .n = N,
                                     .color = (enum chart_color)l,
                                     .dashed = l == 2 || l == 8};
    }
    y[3][4] = NAN;
    struct chart_mark m[] = {{4.6, "5-gram"}, {5.2, "xz -9"}};
    struct chart c = {.kind = CHART_LINES,
                      .x_title = "training tokens (thousands)",
                      .y_title = "validation loss (nats a token)",
                      .series = s,
                      .n_series = L,
                      .marks = m,
                      .n_marks = 2};
    draw(&(struct figure){.title = "Validation loss: synthetic", .charts = &c, .n_charts = 1},
         "lines");
}

static void panels_share_a_logarithmic_range(void **state)
{
    (void)state;
    need_gnuplot();
    enum { N = 100, P = 6 };
    static double x[N], y[P][N], raw[P][N];
    struct chart c[P];
    struct chart_series s[P][2];
    struct rng r;
    rng_init(&r, 2);
    for (int p = 0; p < P; p++) {
        for (int i = 0; i < N; i++) {
            x[i] = i;
            y[p][i] = 3 * exp(-0.03 * i * p) + 0.05;
            raw[p][i] = y[p][i] * exp(0.3 * rng_normal(&r));
        }
        s[p][0] = (struct chart_series){
            .x = x, .y = raw[p], .n = N, .color = (enum chart_color)(p + 1), .faint = true};
        s[p][1] = (struct chart_series){
            .label = "mean", .x = x, .y = y[p], .n = N, .color = (enum chart_color)(p + 1)};
        c[p] = (struct chart){.kind = CHART_LINES,
                              .title = "layer",
                              .x_title = p > 2 ? "step" : NULL,
                              .y_title = p % 3 ? NULL : "MaxVio",
                              .log_y = true,
                              .y_low = 0.05,
                              .y_high = 4,
                              .series = s[p],
                              .n_series = 2};
    }
    draw(
        &(struct figure){
            .title = "MaxVio by layer: synthetic", .charts = c, .n_charts = P, .n_columns = 3},
        "panels");
}

static void rows_with_intervals_become_an_svg_and_a_png(void **state)
{
    (void)state;
    need_gnuplot();
    static const double dots[5] = {-0.02, -0.012, -0.01, 0.004, -0.017};
    struct chart_row rows[] = {
        {.label = "aux",
         .note = "−0.0110 ± 0.0113",
         .mean = -0.011,
         .low = -0.0223,
         .high = 0.0003,
         .dots = dots,
         .n_dots = 5,
         .color = CHART_BLUE},
        {.label = "loss_free",
         .note = "+0.0050 ± 0.0021",
         .mean = 0.005,
         .low = 0.003,
         .high = 0.007,
         .color = CHART_GREEN},
        {.label = "expert_choice", .note = "no run", .mean = NAN, .color = CHART_VIOLET},
        {.label = "one seed",
         .note = "+0.0100",
         .mean = 0.01,
         .low = -INFINITY,
         .high = INFINITY,
         .color = CHART_OLIVE},
        {.label = "rd_esi_integral",
         .note = "−0.0060 ± 0.0100",
         .mean = -0.006,
         .low = -0.016,
         .high = 0.004,
         .color = CHART_VERMILLION},
    };
    struct chart_mark m[] = {{0, NULL}};
    struct chart c = {.kind = CHART_INTERVALS,
                      .x_title = "test loss minus that of none (nats a token)",
                      .rows = rows,
                      .n_rows = 5,
                      .marks = m,
                      .n_marks = 1};
    draw(&(struct figure){.title = "Paired differences: synthetic", .charts = &c, .n_charts = 1},
         "intervals");
}

static void heat_maps_become_an_svg_and_a_png(void **state)
{
    (void)state;
    need_gnuplot();
    enum { R = 6, E = 16 };
    static const char *const types[R] = {"word start",  "inside a word",  "number",
                                         "punctuation", "space, newline", "other"};
    static double cells[4][R * E];
    struct chart c[4];
    struct rng r;
    rng_init(&r, 3);
    for (int p = 0; p < 4; p++) {
        for (int i = 0; i < R * E; i++)
            cells[p][i] = exp(0.6 * rng_normal(&r));
        cells[p][7] = NAN;
        c[p] = (struct chart){.kind = CHART_HEAT,
                              .title = p ? "rd_esi, layer 3" : "none, layer 3",
                              .x_title = "expert",
                              .cells = cells[p],
                              .n_cell_rows = R,
                              .n_cell_columns = E,
                              .row_names = types,
                              .value_title = "share (1: fair)",
                              .low = 0,
                              .middle = 1,
                              .high = 4};
    }
    draw(&(struct figure){.title = "Experts by kind of token: synthetic",
                          .charts = c,
                          .n_charts = 4,
                          .n_columns = 2},
         "heat");
    c[0].middle = NAN;
    c[0].low = c[0].high = 0;
    draw(&(struct figure){.title = "One heat map: synthetic", .charts = c, .n_charts = 1},
         "heat_one");
}

static void empty_panels_and_hostile_names_are_drawn_all_the_same(void **state)
{
    (void)state;
    need_gnuplot();
    double x[] = {1, 2, 3}, y[] = {NAN, NAN, NAN}, z[] = {1, 3, 2}, nan[2] = {NAN, NAN};
    const char *evil = "<script>alert('1')</script> `touch pwned` @x";
    struct chart_series s[] = {{.label = evil, .x = x, .y = y, .n = 3},
                               {.label = evil, .x = x, .y = z, .n = 3, .points = true}};
    struct chart_row row = {.label = evil, .note = evil, .mean = NAN};
    struct chart c[] = {
        {.kind = CHART_LINES,
         .title = evil,
         .x_title = evil,
         .y_title = evil,
         .series = s,
         .n_series = 2},
        {.kind = CHART_LINES, .series = s, .n_series = 1, .log_y = true},
        {.kind = CHART_INTERVALS, .rows = &row, .n_rows = 1},
        {.kind = CHART_INTERVALS},
        {.kind = CHART_LINES},
        {.kind = CHART_HEAT,
         .cells = nan,
         .n_cell_rows = 1,
         .n_cell_columns = 2,
         .middle = NAN,
         .value_title = "load"},
    };
    draw(
        &(struct figure){
            .title = evil, .charts = c, .n_charts = 6, .n_columns = 2, .width_px = 1100},
        "evil");
    struct buf b = {0};
    assert_int_equal(0, file_read(&b, "report_test/charts/evil.svg", NULL));
    assert_null(strstr(b.bytes, "<script"));
    assert_non_null(strstr(b.bytes, "&lt;script>alert('1')"));
    assert_false(file_exists("report_test/charts/pwned"));
    buf_release(&b);
}

static void a_missing_gnuplot_is_one_sentence_and_leaves_no_image(void **state)
{
    (void)state;
    struct err err = {0};
    struct chart c = {.kind = CHART_LINES};
    struct figure f = {.charts = &c, .n_charts = 1};
    assert_false(gnuplot_found("no-such-gnuplot"));
    assert_int_equal(MOE2_EIO, figure_draw(&f, "no-such-gnuplot", OUT, "none", &err));
    assert_string_equal(err.msg, "no-such-gnuplot: can't be started: No such file or directory");
    assert_false(file_exists("report_test/charts/none.svg"));
    err = (struct err){0};
    assert_int_equal(MOE2_EIO, figure_draw(&f, "false", OUT, "none", &err));
    assert_string_equal(err.msg, "false: failed");
    err = (struct err){0};
    assert_int_equal(MOE2_EIO, figure_draw(&f, "true", OUT, "none", &err));
    assert_string_equal(err.msg, "report_test/charts/none.svg: gnuplot made no image");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_linear_axis_ends_on_round_ticks),
        cmocka_unit_test(an_axis_of_one_value_or_none_still_has_a_range),
        cmocka_unit_test(a_logarithmic_axis_has_decades_or_their_one_two_five),
        cmocka_unit_test(labels_are_pushed_apart_as_little_as_possible),
        cmocka_unit_test(thinning_keeps_means_and_short_lines),
        cmocka_unit_test(a_strangers_name_can_do_nothing_in_a_script),
        cmocka_unit_test(a_figure_above_a_limit_is_refused_by_name),
        cmocka_unit_test(lines_with_bands_become_an_svg_and_a_png),
        cmocka_unit_test(panels_share_a_logarithmic_range),
        cmocka_unit_test(rows_with_intervals_become_an_svg_and_a_png),
        cmocka_unit_test(heat_maps_become_an_svg_and_a_png),
        cmocka_unit_test(empty_panels_and_hostile_names_are_drawn_all_the_same),
        cmocka_unit_test(a_missing_gnuplot_is_one_sentence_and_leaves_no_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
