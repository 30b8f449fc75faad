/* What hashed features promise, one sentence a test. */
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
#include "eval/hashed_features.h"

#define DIR "test_hashed_features.tmp"
#include "folder_fixture.h"

enum { DIM = 256 };

static const char *const corpus[] = {
    "La tassa sul valore aggiunto è un'imposta indiretta.",
    "L'imposta sul reddito è diretta e progressiva.",
    "Il nucleo dell'atomo è fatto di protoni e neutroni.",
    "Gli elettroni girano intorno al nucleo dell'atomo.",
    "Una sonata per pianoforte ha tre o quattro movimenti.",
};
enum { N_TEXTS = sizeof corpus / sizeof *corpus };

static struct hashed_features *fitted(uint64_t seed)
{
    struct hashed_features *h = NULL;
    assert_int_equal(0, hashed_features_new(&h, &(struct hashed_options){DIM, seed}, NULL));
    for (int i = 0; i < N_TEXTS; i++)
        hashed_features_count(h, corpus[i], strlen(corpus[i]));
    hashed_features_fit(h);
    return h;
}

static double dot(const float *a, const float *b)
{
    double sum = 0;
    for (int i = 0; i < DIM; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static void vectors_have_length_one_and_like_texts_lie_close(void **state)
{
    (void)state;
    struct hashed_features *h = fitted(1);
    struct hashed_scratch *s = NULL;
    float v[N_TEXTS][DIM];
    assert_int_equal(0, hashed_scratch_new(&s, NULL));
    for (int i = 0; i < N_TEXTS; i++) {
        hashed_features_embed(v[i], h, s, corpus[i], strlen(corpus[i]));
        assert_true(fabs(dot(v[i], v[i]) - 1) < 1e-6);
    }
    assert_true(dot(v[0], v[1]) > dot(v[0], v[2]) && dot(v[2], v[3]) > dot(v[2], v[4]));
    hashed_scratch_free(s);
    hashed_features_free(h);
}

static void a_text_gives_the_same_bits_whatever_came_before_it(void **state)
{
    (void)state;
    struct hashed_features *h = fitted(1);
    struct hashed_scratch *s = NULL;
    float a[DIM], b[DIM], other[DIM];
    assert_int_equal(0, hashed_scratch_new(&s, NULL));
    hashed_features_embed(a, h, s, corpus[0], strlen(corpus[0]));
    hashed_features_embed(other, h, s, corpus[3], strlen(corpus[3]));
    hashed_features_embed(b, h, s, corpus[0], strlen(corpus[0]));
    assert_memory_equal(a, b, sizeof a);
    hashed_features_embed(b, h, s, "la TASSA sul Valore aggiunto È un'imposta  indiretta.",
                          strlen("la TASSA sul Valore aggiunto È un'imposta  indiretta."));
    assert_memory_equal(a, b, sizeof a);
    hashed_scratch_free(s);
    hashed_features_free(h);
}

static void texts_without_features_and_broken_bytes_are_taken(void **state)
{
    (void)state;
    struct hashed_features *h = fitted(1);
    struct hashed_scratch *s = NULL;
    float v[DIM];
    assert_int_equal(0, hashed_scratch_new(&s, NULL));
    hashed_features_embed(v, h, s, "", 0);
    assert_true(dot(v, v) == 0);
    hashed_features_embed(v, h, s, " \n\t", 3);
    assert_true(dot(v, v) == 0);
    hashed_features_embed(v, h, s, "a\xff\xc3 b\xf0\x9f", 7);
    assert_true(fabs(dot(v, v) - 1) < 1e-6);
    size_t n = 5 << 20; /* more characters than are looked at, one word of them */
    char *long_text = malloc(n);
    assert_non_null(long_text);
    memset(long_text, 'x', n);
    hashed_features_embed(v, h, s, long_text, n);
    assert_true(fabs(dot(v, v) - 1) < 1e-6);
    free(long_text);
    hashed_scratch_free(s);
    hashed_features_free(h);
}

static void a_file_gives_the_same_features_back(void **state)
{
    (void)state;
    struct hashed_features *h = fitted(18446744073709551615u), *back = NULL, *other = fitted(2);
    struct hashed_scratch *s = NULL;
    float a[DIM], b[DIM];
    assert_int_equal(0, hashed_features_save(h, DIR "/h.safetensors", NULL));
    assert_int_equal(0, hashed_features_open(&back, DIR "/h.safetensors", NULL));
    assert_true(hashed_features_dim(back) == DIM && hashed_features_n_texts(back) == N_TEXTS);
    assert_true(hashed_features_fingerprint(back) == hashed_features_fingerprint(h));
    assert_true(hashed_features_fingerprint(other) != hashed_features_fingerprint(h));
    assert_int_equal(0, hashed_scratch_new(&s, NULL));
    hashed_features_embed(a, h, s, corpus[0], strlen(corpus[0]));
    hashed_features_embed(b, back, s, corpus[0], strlen(corpus[0]));
    assert_memory_equal(a, b, sizeof a);
    hashed_scratch_free(s);
    hashed_features_free(h);
    hashed_features_free(back);
    hashed_features_free(other);
}

static void broken_files_are_refused(void **state)
{
    (void)state;
    struct hashed_features *h = fitted(1);
    struct buf b = {0};
    assert_int_equal(0, hashed_features_save(h, DIR "/h.safetensors", NULL));
    assert_int_equal(0, file_read(&b, DIR "/h.safetensors", NULL));
    hashed_features_free(h);
    for (size_t n = 0; n < b.n; n += n < 600 ? 1 : 100003) {
        struct err err = {0};
        assert_int_equal(0, file_write(DIR "/cut.safetensors", b.bytes, n, NULL));
        assert_int_not_equal(0, hashed_features_open(&h, DIR "/cut.safetensors", &err));
        assert_non_null(strstr(err.msg, "cut.safetensors"));
    }
    memset(b.bytes + b.n - 4, 0xff, 4); /* a NaN */
    assert_int_equal(0, file_write(DIR "/cut.safetensors", b.bytes, b.n, NULL));
    struct err err = {0};
    assert_int_equal(MOE2_EFORMAT, hashed_features_open(&h, DIR "/cut.safetensors", &err));
    assert_non_null(strstr(err.msg, "wanted 0 to 1e6"));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_have_length_one_and_like_texts_lie_close),
        cmocka_unit_test(a_text_gives_the_same_bits_whatever_came_before_it),
        cmocka_unit_test(texts_without_features_and_broken_bytes_are_taken),
        cmocka_unit_test(a_file_gives_the_same_features_back),
        cmocka_unit_test(broken_files_are_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
