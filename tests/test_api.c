/* libmoe2 as a stranger sees it: only include/moe2. A model of tests/fixtures gives the logits that transformers gave, its picks
 * are counted, tokenizers go there and back, and what can't be done is said in a sentence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>

#include <cmocka.h>

#include <moe2/moe2.h>

#include "io/safetensors.h" /* for the golden logits */

#define FIXTURE TEST_DIR "/fixtures/model_v3"

enum { V = 48, T = 24, E = 8, K = 3, DENSE = 0, MOE = 1, N_LAYERS = 3 };

static struct moe2_model *open_model(const struct moe2_options *options)
{
    struct moe2_model *model = NULL;
    struct err err = {0};
    if (moe2_model_open(&model, FIXTURE, options, &err))
        fail_msg("%s", err.msg);
    return model;
}

/* The ids and logits [T, V] that tests/golden/make_golden.py stored. */
static void read_golden(int32_t ids[T], float logits[T * V])
{
    struct safetensors *st = NULL;
    const struct safetensor *t = NULL;
    struct err err = {0};
    if (safetensors_open(&st, FIXTURE "/golden.safetensors", &err) ||
        safetensors_get(&t, st, "logits", &err) || t->n_elements != T * V ||
        safetensors_to_f32(logits, t, 0, T * V, &err))
        fail_msg("%s", err.msg);
    char *at = (char *)safetensors_metadata(st, "ids");
    for (int i = 0; i < T; i++, at += *at == ',')
        ids[i] = (int32_t)strtol(at, &at, 10);
    safetensors_close(st);
}

static void assert_near(const float *got, const float *wanted, double limit)
{
    double largest = 0, worst = 0;
    for (int i = 0; i < T * V; i++) {
        largest = fmax(largest, fabs(wanted[i]));
        double error = fabs((double)got[i] - wanted[i]);
        worst = error > worst || isnan(error) ? error : worst;
    }
    if (!(worst <= limit * largest))
        fail_msg("largest error over largest value is %.3g, wanted at most %.3g", worst / largest,
                 limit);
}

static void a_model_gives_the_logits_of_transformers(void **state)
{
    (void)state;
    static float wanted[T * V], got[T * V];
    int32_t ids[T];
    struct err err = {0};
    struct moe2_model *model = open_model(NULL);
    read_golden(ids, wanted);
    assert_int_equal(V, moe2_model_vocab_size(model));
    assert_int_equal(128, moe2_model_max_positions(model));
    assert_int_equal(N_LAYERS, moe2_model_n_layers(model));
    assert_int_equal(E, moe2_model_n_experts(model));
    assert_int_equal(0, moe2_model_logits(model, got, ids, T, &err));
    assert_near(got, wanted, 1e-5);
    moe2_model_close(model);
}

static void options_choose_kernels_threads_and_precision(void **state)
{
    (void)state;
    static float wanted[T * V], got[T * V];
    int32_t ids[T];
    struct err err = {0};
    read_golden(ids, wanted);
    struct moe2_model *model =
        open_model(&(struct moe2_options){.device = "cpu:reference", .n_threads = 1});
    assert_int_equal(0, moe2_model_logits(model, got, ids, T, &err));
    assert_near(got, wanted, 1e-5);
    moe2_model_close(model);
    /* bf16 has 8 bits: 0.4 % a rounding, a few of them on the way; a token near a tie may go to another expert, so that a
     * single logit says little and only their sum is looked at. */
    model = open_model(&(struct moe2_options){.bf16 = 1});
    assert_int_equal(0, moe2_model_logits(model, got, ids, T, &err));
    double off = 0, all = 0;
    for (int i = 0; i < T * V; i++) {
        off += fabs((double)got[i] - wanted[i]);
        all += fabs(wanted[i]);
    }
    assert_true(off > 0);
    assert_true(off < 0.2 * all);
    moe2_model_close(model);

    model = NULL;
    assert_int_equal(MOE2_ECONFIG, moe2_model_open(&model, FIXTURE,
                                                   &(struct moe2_options){.device = "gpu"}, &err));
    assert_null(model);
    assert_non_null(strstr(err.msg, "\"gpu\""));
}

static void the_picks_of_the_last_logits_are_counted(void **state)
{
    (void)state;
    static float logits[T * V];
    int64_t n_picks[E], n = 0;
    struct err err = {0};
    int32_t ids[T];
    struct moe2_model *model = open_model(NULL);
    read_golden(ids, logits);
    assert_int_equal(MOE2_ECONFIG, moe2_model_expert_counts(model, n_picks, MOE, &err));
    assert_string_equal("no picks to count: no logits were computed before", err.msg);
    for (int n_ids = 1; n_ids <= T; n_ids += T - 1) {
        assert_int_equal(0, moe2_model_logits(model, logits, ids, n_ids, NULL));
        assert_int_equal(0, moe2_model_expert_counts(model, n_picks, MOE, NULL));
        n = 0;
        for (int i = 0; i < E; i++) {
            assert_in_range(n_picks[i], 0, n_ids);
            n += n_picks[i];
        }
        assert_int_equal((int64_t)n_ids * K, n);
    }
    err = (struct err){0};
    assert_int_equal(MOE2_ECONFIG, moe2_model_expert_counts(model, n_picks, DENSE, &err));
    assert_string_equal("layer 0 is dense: it has no experts", err.msg);
    err = (struct err){0};
    assert_int_equal(MOE2_ECONFIG, moe2_model_expert_counts(model, n_picks, N_LAYERS, &err));
    assert_string_equal("layer is 3, wanted 0 to 2", err.msg);
    err = (struct err){0};
    assert_int_equal(MOE2_ECONFIG, moe2_model_expert_counts(model, n_picks, -1, &err));
    assert_string_equal("layer is -1, wanted 0 to 2", err.msg);
    moe2_model_close(model);
}

static void ids_outside_the_vocabulary_and_lengths_are_refused(void **state)
{
    (void)state;
    static float logits[129 * V];
    int32_t ids[129] = {0};
    struct err err = {0};
    struct moe2_model *model = open_model(NULL);
    ids[1] = V;
    assert_int_equal(MOE2_ECONFIG, moe2_model_logits(model, logits, ids, 2, &err));
    assert_string_equal("id 48 at place 1, wanted 0 to 47", err.msg);
    ids[1] = -1;
    err = (struct err){0};
    assert_int_equal(MOE2_ECONFIG, moe2_model_logits(model, logits, ids, 2, &err));
    assert_string_equal("id -1 at place 1, wanted 0 to 47", err.msg);
    ids[1] = 0;
    err = (struct err){0};
    assert_int_equal(MOE2_ECONFIG, moe2_model_logits(model, logits, ids, 129, &err));
    assert_string_equal("129 ids, wanted 1 to 128", err.msg);
    assert_int_equal(MOE2_ECONFIG, moe2_model_logits(model, logits, ids, 0, NULL));
    assert_int_equal(0, moe2_model_logits(model, logits, ids, 128, NULL));
    moe2_model_close(model);
}

static void a_folder_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct moe2_model *model = NULL;
    struct moe2_tokenizer *tok = NULL;
    struct err err = {0};
    assert_int_equal(MOE2_EIO, moe2_model_open(&model, "/nowhere/model", NULL, &err));
    assert_non_null(strstr(err.msg, "/nowhere/model"));
    assert_null(model);
    err = (struct err){0};
    assert_int_equal(MOE2_EIO, moe2_tokenizer_open(&tok, "/nowhere/tokenizer", &err));
    assert_non_null(strstr(err.msg, "/nowhere/tokenizer"));
    assert_null(tok);
    moe2_model_close(NULL);
    moe2_tokenizer_close(NULL);
}

static void goes_there_and_back(const char *path, const char *text, size_t n_bytes)
{
    struct moe2_tokenizer *tok = NULL;
    struct err err = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    char *back = NULL;
    if (moe2_tokenizer_open(&tok, path, &err) ||
        moe2_tokenizer_encode(tok, &ids, &n, text, n_bytes, &err) ||
        moe2_tokenizer_decode(tok, &back, ids, n, &err))
        fail_msg("%s: %s", path, err.msg);
    for (size_t i = 0; i < n; i++)
        assert_in_range(ids[i], 0, moe2_tokenizer_n_vocab(tok) - 1);
    assert_int_equal(n_bytes, strlen(back));
    assert_memory_equal(text, back, n_bytes);
    free(ids);
    free(back);
    moe2_tokenizer_close(tok);
}

static void text_goes_to_ids_and_back(void **state)
{
    (void)state;
    static const char text[] =
        "Perch\xc3\xa9 no? 12.345 \xe2\x82\xac, \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x98\x80\n\tfine";
    goes_there_and_back("bytes", text, sizeof text - 1);
    goes_there_and_back(TEST_DIR "/golden/tokenizer_qwen2.json", text, sizeof text - 1);
    goes_there_and_back(TEST_DIR "/golden/tokenizer_deepseek.json", text, sizeof text - 1);
    goes_there_and_back("bytes", "", 0);
}

static void a_tokenizer_says_what_it_can_not_do(void **state)
{
    (void)state;
    struct moe2_tokenizer *tok = NULL;
    struct err err = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    char *text = NULL;
    assert_int_equal(0, moe2_tokenizer_open(&tok, TEST_DIR "/golden/tokenizer_qwen2.json", &err));
    assert_int_equal(MOE2_EFORMAT, moe2_tokenizer_encode(tok, &ids, &n, "a\xff", 2, &err));
    assert_string_equal("the text is not UTF-8: byte 1 is 0xff", err.msg);
    err = (struct err){0};
    assert_int_equal(MOE2_EFORMAT, moe2_tokenizer_decode(tok, &text, (int32_t[]){0, -1}, 2, &err));
    assert_string_equal("id -1 has no token, wanted 0 to 545", err.msg);
    assert_null(ids);
    assert_null(text);
    moe2_tokenizer_close(tok);
}

static void the_version_is_that_of_the_build(void **state)
{
    (void)state;
    assert_string_equal(MOE2_VERSION, moe2_version());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_model_gives_the_logits_of_transformers),
        cmocka_unit_test(options_choose_kernels_threads_and_precision),
        cmocka_unit_test(the_picks_of_the_last_logits_are_counted),
        cmocka_unit_test(ids_outside_the_vocabulary_and_lengths_are_refused),
        cmocka_unit_test(a_folder_that_is_not_there_is_named),
        cmocka_unit_test(text_goes_to_ids_and_back),
        cmocka_unit_test(a_tokenizer_says_what_it_can_not_do),
        cmocka_unit_test(the_version_is_that_of_the_build),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
