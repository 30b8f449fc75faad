/* What a table promises, one sentence a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/table.h"

static struct table *sample(void)
{
    struct table *t = NULL;
    struct table_column columns[] = {
        {"router", TABLE_LEFT}, {"loss", TABLE_RIGHT}, {"note", TABLE_LEFT}};
    assert_int_equal(0, table_new(&t, columns, 3, NULL));
    table_cell(t, "rd_esi");
    table_cell(t, "%.3f ± %.1f", 12.5, 0.1);
    table_cell(t, "è < 1 & \"x|y\"");
    table_cell(t, "无");
    table_cell(t, "7");
    table_end_row(t);
    table_end_row(t);
    return t;
}

static void expect(int (*render)(struct buf *, const struct table *, struct err *),
                   const char *wanted)
{
    struct table *t = sample();
    struct buf b = {0};
    assert_int_equal(2, table_n_rows(t));
    assert_int_equal(0, render(&b, t, NULL));
    assert_string_equal(wanted, b.bytes);
    buf_release(&b);
    table_free(t);
}

static void columns_line_up_whatever_the_script(void **state)
{
    (void)state;
    expect(table_text, "router          loss  note\n"
                       "──────  ────────────  ─────────────\n"
                       "rd_esi  12.500 ± 0.1  è < 1 & \"x|y\"\n"
                       "无                 7\n");
}

static void markdown_escapes_its_bars(void **state)
{
    (void)state;
    expect(table_markdown, "| router | loss | note |\n"
                           "|---|---:|---|\n"
                           "| rd_esi | 12.500 ± 0.1 | è < 1 & \"x\\|y\" |\n"
                           "| 无 | 7 |  |\n");
}

static void html_escapes_its_signs(void **state)
{
    (void)state;
    expect(table_html,
           "<table>\n<thead>\n"
           "<tr><th>router</th><th style=\"text-align:right\">loss</th><th>note</th></tr>\n"
           "</thead>\n<tbody>\n"
           "<tr><td>rd_esi</td><td style=\"text-align:right\">12.500 ± 0.1</td>"
           "<td>è &lt; 1 &amp; &quot;x|y&quot;</td></tr>\n"
           "<tr><td>无</td><td style=\"text-align:right\">7</td><td></td></tr>\n"
           "</tbody>\n</table>\n");
}

static void json_has_an_object_a_row(void **state)
{
    (void)state;
    expect(table_json, "[\n"
                       " {\"router\": \"rd_esi\", \"loss\": \"12.500 ± 0.1\", \"note\": \"è < 1 & "
                       "\\\"x|y\\\"\"},\n"
                       " {\"router\": \"无\", \"loss\": \"7\", \"note\": \"\"}\n"
                       "]\n");
}

static void a_row_begun_but_not_ended_and_no_rows_are_fine(void **state)
{
    (void)state;
    struct table *t = NULL;
    struct table_column columns[] = {{"a", TABLE_RIGHT}, {"bb", TABLE_RIGHT}};
    struct buf b = {0};
    assert_int_equal(0, table_new(&t, columns, 2, NULL));
    assert_int_equal(0, table_text(&b, t, NULL));
    assert_string_equal(b.bytes, "a  bb\n─  ──\n");
    buf_clear(&b);
    table_cell(t, "100");
    assert_int_equal(0, table_text(&b, t, NULL));
    assert_string_equal(b.bytes, "  a  bb\n───  ──\n100\n");
    buf_clear(&b);
    assert_int_equal(0, table_json(&b, t, NULL));
    assert_string_equal(b.bytes, "[\n {\"a\": \"100\", \"bb\": \"\"}\n]\n");
    buf_release(&b);
    table_free(t);
    table_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_line_up_whatever_the_script),
        cmocka_unit_test(markdown_escapes_its_bars),
        cmocka_unit_test(html_escapes_its_signs),
        cmocka_unit_test(json_has_an_object_a_row),
        cmocka_unit_test(a_row_begun_but_not_ended_and_no_rows_are_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
