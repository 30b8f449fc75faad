/* What the matrix of experts and subjects promises, one sentence a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "pipeline/expert_matrix.h"

static char folder[] = "/tmp/moe2-matrix-XXXXXX";

/* Adds a file of that text. */
static int add(struct expert_matrix *m, const char *text, struct err *err)
{
    char path[sizeof folder + 8];
    snprintf(path, sizeof path, "%s/o.csv", folder);
    assert_int_equal(0, file_write(path, text, strlen(text), NULL));
    return expert_matrix_add(m, path, NULL, err);
}

static void files_add_up_by_name_whatever_their_order(void **state)
{
    (void)state;
    struct expert_matrix m = {0};
    struct table *t = NULL;
    struct buf text = {0};
    struct err err = {0};
    assert_int_equal(0, add(&m, "id,category,a,b\n1,x,1,0\n2,y,1,\n3,x,1,1\n", &err));
    assert_int_equal(0, add(&m, "id,category,b,a\n4,y,1,1\n5,x,1,1\n", &err));
    assert_int_equal(0, expert_matrix_table(&t, &m, &err));
    assert_int_equal(0, table_markdown(&text, t, &err));
    assert_non_null(strstr(text.bytes, "| expert | x | y | all (95 %) | questions |"));
    assert_non_null(strstr(text.bytes, "| a | 100 | 100 | 100.0 (56.6–100.0) | 5 |"));
    assert_non_null(strstr(text.bytes, "| b | 67 | 100 | 75.0 (30.1–95.4) | 4 |"));
    buf_release(&text);
    table_free(t);
    expert_matrix_release(&m);
}

static void an_expert_that_was_never_run_has_no_share(void **state)
{
    (void)state;
    struct expert_matrix m = {0};
    struct table *t = NULL;
    struct buf text = {0};
    assert_int_equal(0, add(&m, "id,category,a,b\n1,x,0,\n2,y,,\n", NULL));
    assert_int_equal(0, expert_matrix_table(&t, &m, NULL));
    assert_int_equal(0, table_markdown(&text, t, NULL));
    assert_non_null(strstr(text.bytes, "| a | 0 | – | 0.0 (0.0–79.3) | 1 |"));
    assert_non_null(strstr(text.bytes, "| b | – | – | "));
    buf_release(&text);
    table_free(t);
    expert_matrix_release(&m);
}

static void a_file_without_categories_is_refused(void **state)
{
    (void)state;
    struct expert_matrix m = {0};
    struct err err = {0};
    assert_int_equal(MOE2_EFORMAT, add(&m, "id,a\n1,1\n", &err));
    assert_non_null(strstr(err.msg, "o.csv has no column category"));
    expert_matrix_release(&m);
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
        cmocka_unit_test(files_add_up_by_name_whatever_their_order),
        cmocka_unit_test(an_expert_that_was_never_run_has_no_share),
        cmocka_unit_test(a_file_without_categories_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
