/* Tensors of tests/fixtures/format_*.safetensors, for the tests of number formats. */
#ifndef MOE2_TESTS_FORMAT_FIXTURE_H
#define MOE2_TESTS_FORMAT_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/safetensors.h"

static inline struct safetensors *fixture_open(const char *name)
{
    char path[512];
    struct safetensors *st = NULL;
    snprintf(path, sizeof path, TEST_DIR "/fixtures/%s.safetensors", name);
    assert_int_equal(0, safetensors_open(&st, path, NULL));
    return st;
}

static inline const struct safetensor *fixture_find(const struct safetensors *st, const char *name,
                                                    const char *part)
{
    char whole[128];
    snprintf(whole, sizeof whole, "%s%s", name, part);
    const struct safetensor *t = safetensors_find(st, whole);
    assert_non_null(t);
    return t;
}

/* The tensor as float32 (freed by the caller). */
static inline float *fixture_floats(const struct safetensors *st, const char *name, int64_t *n)
{
    const struct safetensor *t = fixture_find(st, name, "");
    float *x = malloc((size_t)t->n_elements * sizeof *x);
    assert_non_null(x);
    assert_int_equal(0, safetensors_to_f32(x, t, 0, t->n_elements, NULL));
    if (n)
        *n = t->n_elements;
    return x;
}

#endif
