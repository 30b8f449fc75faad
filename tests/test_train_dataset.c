/* The training order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "train/dataset.h"

static struct dataset make(int64_t n, int64_t sequence, uint64_t seed)
{
    static int32_t ids[100000];
    struct dataset d;
    for (int32_t i = 0; i < 100000; i++)
        ids[i] = i;
    assert_int_equal(0,
                     dataset_init(&d, &(struct tokens){.ids = ids, .n = n}, sequence, seed, NULL));
    return d;
}

static void every_window_is_seen_once_an_epoch_whatever_their_number(void **state)
{
    (void)state;
    static const int64_t sizes[] = {2, 3, 4, 5, 16, 17, 64, 100, 1000, 4097};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        struct dataset d = make(sizes[k] * 10 + 1, 10, 42);
        assert_int_equal(d.n_windows, sizes[k]);
        for (int64_t epoch = 0; epoch < 3; epoch++) {
            char *seen = calloc((size_t)sizes[k], 1);
            for (int64_t i = 0; i < sizes[k]; i++) {
                int64_t w = dataset_window(&d, epoch * sizes[k] + i);
                assert_true(w >= 0 && w < sizes[k]);
                assert_false(seen[w]);
                seen[w] = 1;
            }
            free(seen);
        }
    }
}

static void one_window_is_always_itself(void **state)
{
    (void)state;
    struct dataset d = make(15, 10, 1);
    assert_int_equal(d.n_windows, 1);
    assert_int_equal(dataset_window(&d, 0), 0);
    assert_int_equal(dataset_window(&d, 5), 0);
}

/* How many of the first n samples two orders have in the same place. */
static int64_t agreement(const struct dataset *a, int64_t from_a, const struct dataset *b,
                         int64_t from_b, int64_t n)
{
    int64_t same = 0;
    for (int64_t i = 0; i < n; i++)
        same += dataset_window(a, from_a + i) == dataset_window(b, from_b + i);
    return same;
}

static void the_order_depends_on_seed_and_epoch_and_is_no_plain_count(void **state)
{
    (void)state;
    struct dataset a = make(10001, 10, 1), b = make(10001, 10, 2);
    assert_true(agreement(&a, 0, &a, 0, 1000) == 1000);
    assert_true(agreement(&a, 0, &b, 0, 1000) < 20);
    assert_true(agreement(&a, 0, &a, 1000, 1000) < 20);
    int64_t in_place = 0;
    for (int64_t i = 0; i < 1000; i++)
        in_place += dataset_window(&a, i) == i;
    assert_true(in_place < 20);
}

static void targets_are_the_ids_one_place_on(void **state)
{
    (void)state;
    struct dataset d = make(1001, 10, 9);
    int32_t ids[30], targets[30], scratch[11], offset[4];
    struct dataset_batch b = {.ids = ids, .targets = targets, .offset = offset, .scratch = scratch};
    assert_int_equal(0, dataset_read(&b, &d, 7, 3, NULL));
    assert_int_equal(b.T, 30);
    assert_int_equal(b.B, 3);
    assert_int_equal(offset[2], 20);
    for (int s = 0; s < 3; s++)
        for (int i = 0; i < 10; i++) {
            int64_t at = dataset_window(&d, 7 + s) * 10 + i;
            assert_int_equal(ids[s * 10 + i], at);
            assert_int_equal(targets[s * 10 + i], at + 1);
        }
}

static void a_text_too_short_for_one_sequence_is_refused(void **state)
{
    (void)state;
    struct dataset d;
    struct err err = {0};
    int32_t ids[10] = {0};
    assert_int_equal(MOE2_ECONFIG,
                     dataset_init(&d, &(struct tokens){.ids = ids, .n = 10}, 10, 1, &err));
    assert_string_equal(err.msg,
                        "the training text has 10 tokens, wanted at least 11 for one sequence");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_window_is_seen_once_an_epoch_whatever_their_number),
        cmocka_unit_test(one_window_is_always_itself),
        cmocka_unit_test(the_order_depends_on_seed_and_epoch_and_is_no_plain_count),
        cmocka_unit_test(targets_are_the_ids_one_place_on),
        cmocka_unit_test(a_text_too_short_for_one_sequence_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
