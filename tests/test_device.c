/* Opening devices and their memory. */
#include "test_kernels.h"

static void an_unknown_device_is_refused_by_name(void **state)
{
    (void)state;
    struct device *dev = NULL;
    struct err err = {0};
    assert_int_equal(device_open(&dev, "gpu", 0, &err), MOE2_ECONFIG);
    assert_null(dev);
    const char *begin = "device \"gpu\" is unknown, wanted one of cpu, cpu:reference";
    assert_memory_equal(err.msg, begin, strlen(begin));
    err = (struct err){0};
    assert_int_equal(device_open(&dev, "cpu:avx1024", 0, &err), MOE2_ECONFIG);
    begin = "device \"cpu:avx1024\" is unknown, wanted one of cpu, cpu:reference";
    assert_memory_equal(err.msg, begin, strlen(begin));
    assert_non_null(strstr(err.msg, device_cpu_best()));
}

static void a_table_that_the_cpu_lacks_is_refused_and_one_it_has_is_taken(void **state)
{
    (void)state;
    for (int i = 0; i < N_CPU_TABLES; i++) {
        struct device *dev = NULL;
        struct err err = {0};
        if (device_open(&dev, table_names[i], 1, &err) == 0) {
            assert_string_equal(dev->k->name, table_names[i] + 4);
            assert_string_equal(dev->name, "cpu");
            assert_int_equal(dev->n_threads, 1);
        } else {
            char begin[128];
            snprintf(begin, sizeof begin,
                     "device %s: this CPU can't run %s, wanted one of cpu, cpu:reference",
                     table_names[i], table_names[i] + 4);
            assert_int_equal(err.code, MOE2_ECONFIG);
            assert_memory_equal(err.msg, begin, strlen(begin));
        }
        device_close(dev);
    }
}

static void a_number_of_threads_out_of_range_is_refused(void **state)
{
    (void)state;
    struct device *dev = NULL;
    struct err err = {0};
    assert_int_equal(device_open(&dev, "cpu", -1, &err), MOE2_ECONFIG);
    assert_string_equal(err.msg, "device cpu: -1 threads, wanted 0 (all cores) to 256");
    err = (struct err){0};
    assert_int_equal(device_open(&dev, "cpu", 100000, &err), MOE2_ECONFIG);
    assert_string_equal(err.msg, "device cpu: 100000 threads, wanted 0 (all cores) to 256");
    assert_null(dev);
}

static void every_table_is_complete(void **state)
{
    (void)state;
    for (int i = 0; i < N_TABLES; i++) {
        struct device *dev = open_table(i, 1);
        if (!dev)
            continue;
        const void *const *row = (const void *const *)(const void *)dev->k;
        for (size_t r = 0; r < sizeof *dev->k / sizeof *row; r++)
            assert_non_null(row[r]);
        device_close(dev);
    }
}

static void memory_is_aligned_counted_and_refused_in_one_sentence(void **state)
{
    (void)state;
    struct device *dev = open_table(0, 1);
    struct err err = {0};
    void *small = device_alloc(dev, 100, &err), *large = device_alloc(dev, 5 << 20, &err);
    assert_non_null(small);
    assert_non_null(large);
    assert_int_equal((uintptr_t)small % 64, 0);
    assert_int_equal((uintptr_t)large % 64, 0);
    assert_int_equal(dev->used_bytes, 100 + (5 << 20));
    device_free(dev, large, 5 << 20);
    assert_int_equal(dev->used_bytes, 100);
    assert_int_equal(dev->peak_bytes, 100 + (5 << 20));
    assert_null(device_alloc(dev, SIZE_MAX / 2, &err));
    assert_int_equal(err.code, MOE2_ELIMIT);
    assert_string_equal(err.msg, "cpu: no room for 9223372036854775807 more bytes, 100 are in use");
    float to[2] = {1, 2}, from[2] = {3, 4};
    dev->ops->write(dev, small, from, sizeof from);
    dev->ops->read(dev, to, small, sizeof to);
    assert_memory_equal(to, from, sizeof to);
    dev->ops->zero(dev, small, 4);
    dev->ops->read(dev, to, small, sizeof to);
    assert_true(to[0] == 0 && to[1] == 4);
    device_sync(dev);
    device_free(dev, small, 100);
    device_free(dev, NULL, 7);
    device_close(dev);
    device_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_device_is_refused_by_name),
        cmocka_unit_test(a_table_that_the_cpu_lacks_is_refused_and_one_it_has_is_taken),
        cmocka_unit_test(a_number_of_threads_out_of_range_is_refused),
        cmocka_unit_test(every_table_is_complete),
        cmocka_unit_test(memory_is_aligned_counted_and_refused_in_one_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
