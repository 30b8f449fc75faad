/* The selector's three tables as files: what was not counted is left empty. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "pipeline/smo_tables.h"

#define DIR "test_smo_tables.tmp"

/* Two rows of table II: three subsets fit, and nobody counted. */
static struct smo_report report_of_two_rows(void)
{
    struct smo_report r = {.n_experts = 2, .n_subsets = 1};
    r.rows[SMO_LATENCY] = calloc(2, sizeof *r.rows[0]);
    assert_non_null(r.rows[SMO_LATENCY]);
    r.n_rows[SMO_LATENCY] = 2;
    for (int i = 0; i < 2; i++) {
        struct smo_row *row = &r.rows[SMO_LATENCY][i];
        *row = (struct smo_row){.latency_limit_s = 1 + i,
                                .energy_limit_j = INFINITY,
                                .n_feasible = i ? -1 : 3,
                                .random = NAN};
        row->train = (struct smo_trial){.there = true,
                                        .subset = "ant",
                                        .n = 4,
                                        .n_right = 2,
                                        .n_oracle = 2,
                                        .accuracy = 0.5,
                                        .latency_s = 1,
                                        .energy_j = 2};
        row->test = row->train;
    }
    return r;
}

static void expect(const char *name, const char *text)
{
    struct buf b = {0};
    assert_int_equal(0, file_read(&b, name, NULL));
    if (!strstr(b.bytes, text))
        fail_msg("%s lacks \"%s\":\n%s", name, text, b.bytes);
    assert_null(strstr(b.bytes, "-1"));
    buf_release(&b);
}

static void what_was_not_counted_is_an_empty_cell_and_null(void **state)
{
    (void)state;
    struct smo_report r = report_of_two_rows();
    struct smo_options o = {.k = 1, .combine = "top1", .output_tokens = 8, .out_dir = DIR};
    assert_int_equal(0, smo_tables_write(&r, &o, NULL));
    expect(DIR "/table2_latency.csv", ",1,1,2,2,3,0,ant\n");
    expect(DIR "/table2_latency.csv", ",1,1,2,2,,0,ant\n");
    expect(DIR "/table2_latency.json", "\"feasible_subsets\": 3,");
    expect(DIR "/table2_latency.json", "\"feasible_subsets\": null,");
    expect(DIR "/table2_latency.md", "over the 2 budgets of the three tables.\n");
    smo_report_release(&r);
}

static int clear(void **state)
{
    (void)state;
    return file_remove_all(DIR, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_not_counted_is_an_empty_cell_and_null),
    };
    return cmocka_run_group_tests(tests, clear, clear);
}
