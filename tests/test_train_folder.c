/* Folders that are replaced as a whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "train/folder.h"

static char root[64];

static const char *at(const char *name)
{
    static char path[4][160];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", root, name);
    return path[turn];
}

static int begin_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/moe2-test-folder-%ld", (long)getpid());
    return file_remove_all(root, NULL) || dir_make(root, NULL);
}

static int end_root(void **state)
{
    (void)state;
    return file_remove_all(root, NULL);
}

static void put(const char *dir, const char *text)
{
    char *path = path_join(dir, "file");
    assert_int_equal(0, file_write(path, text, strlen(text), NULL));
    free(path);
}

static void expect(const char *dir, const char *text)
{
    struct buf b = {0};
    char *path = path_join(dir, "file");
    assert_int_equal(0, file_read(&b, path, NULL));
    assert_string_equal(b.bytes, text);
    free(path);
    buf_release(&b);
}

static void write_version(const char *dir, const char *text,
                          int (*commit)(const char *, struct err *))
{
    char *temp = NULL;
    assert_int_equal(0, folder_begin(&temp, dir, NULL));
    put(temp, text);
    assert_int_equal(0, commit(dir, NULL));
    free(temp);
}

static void a_folder_is_replaced_and_leaves_no_neighbour(void **state)
{
    (void)state;
    write_version(at("a"), "one", folder_commit);
    expect(at("a"), "one");
    write_version(at("a/"), "two", folder_commit);
    expect(at("a"), "two");
    assert_false(file_exists(at("a.tmp")));
    assert_false(file_exists(at("a.old")));
}

static void a_commit_leaves_a_neighbour_that_it_did_not_make(void **state)
{
    (void)state;
    assert_int_equal(0, dir_make(at("n.old"), NULL));
    put(at("n.old"), "mine");
    write_version(at("n"), "one", folder_commit);
    write_version(at("n"), "two", folder_commit);
    expect(at("n.old"), "mine");
}

static void it_works_by_steps_too_where_nothing_can_be_exchanged(void **state)
{
    (void)state;
    write_version(at("b"), "one", folder_commit_by_steps);
    write_version(at("b"), "two", folder_commit_by_steps);
    expect(at("b"), "two");
    assert_false(file_exists(at("b.tmp")));
    assert_false(file_exists(at("b.old")));
}

static void a_death_between_the_two_renames_is_put_right(void **state)
{
    (void)state;
    write_version(at("c"), "old", folder_commit);
    char *temp = NULL;
    assert_int_equal(0, folder_begin(&temp, at("c"), NULL));
    put(temp, "new");
    free(temp);
    assert_int_equal(0, rename(at("c"), at("c.old"))); /* and here the process died */
    assert_int_equal(0, folder_recover(at("c"), NULL));
    expect(at("c"), "old");
    assert_false(file_exists(at("c.tmp")));
    assert_false(file_exists(at("c.old")));
}

static void a_death_while_writing_leaves_what_was_there(void **state)
{
    (void)state;
    write_version(at("d"), "old", folder_commit);
    char *temp = NULL;
    assert_int_equal(0, folder_begin(&temp, at("d"), NULL));
    put(temp, "half");
    free(temp);
    assert_int_equal(0, folder_recover(at("d"), NULL));
    expect(at("d"), "old");
    assert_false(file_exists(at("d.tmp")));
}

static void recovering_nothing_is_fine(void **state)
{
    (void)state;
    assert_int_equal(0, folder_recover(at("nothing"), NULL));
    assert_false(file_exists(at("nothing")));
}

static void a_copy_shares_its_files_and_outlives_the_original(void **state)
{
    (void)state;
    write_version(at("e"), "shared", folder_commit);
    assert_int_equal(0, folder_begin_like(at("f"), at("e"), NULL));
    assert_int_equal(0, folder_commit(at("f"), NULL));
    struct stat x, y;
    assert_int_equal(0, stat(at("e/file"), &x) || stat(at("f/file"), &y));
    assert_true(x.st_ino == y.st_ino);
    write_version(at("e"), "newer", folder_commit);
    expect(at("f"), "shared");
}

static void a_folder_that_cannot_be_made_is_one_sentence(void **state)
{
    (void)state;
    struct err err = {0};
    char *temp = NULL, want[256];
    put(root, "a file in the way");
    assert_int_equal(MOE2_EIO, folder_begin(&temp, at("file/last"), &err));
    snprintf(want, sizeof want, "%s/file: is not a folder", root);
    assert_true(strstr(err.msg, root) == err.msg);
    assert_null(temp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_is_replaced_and_leaves_no_neighbour),
        cmocka_unit_test(a_commit_leaves_a_neighbour_that_it_did_not_make),
        cmocka_unit_test(it_works_by_steps_too_where_nothing_can_be_exchanged),
        cmocka_unit_test(a_death_between_the_two_renames_is_put_right),
        cmocka_unit_test(a_death_while_writing_leaves_what_was_there),
        cmocka_unit_test(recovering_nothing_is_fine),
        cmocka_unit_test(a_copy_shares_its_files_and_outlives_the_original),
        cmocka_unit_test(a_folder_that_cannot_be_made_is_one_sentence),
    };
    return cmocka_run_group_tests(tests, begin_root, end_root);
}
