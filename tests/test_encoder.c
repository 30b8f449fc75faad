/* Sentence encoders against PyTorch: small random models of each family from tests/fixtures (made by
 * tests/golden/make_encoder_golden.py, in float64 on the stored weights), one sentence a test.
 *
 * Limits, in float32: 3e-6 for a number of an embedding (of length 1), 2e-5 of the largest for a row of the last layer: products and
 * norms of two or three layers, each within the kernels' own limits. In bf16, whose operands have 8 bits: a cosine of 0.999.
 */
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
#include "model/encoder.h"
#include "model/encoder_config.h"

#include "io/safetensors.h"

#define DIR "test_encoder.tmp"
#include "folder_fixture.h"

static const char *const variants[] = {"bert", "bert_cls", "xlmr", "gte"};
static const char *const tables[] = {
    "cpu:reference",  "cpu:avx2",      "cpu:avx512", "cpu:avx512vnni",
    "cpu:avx512bf16", "cuda:emulated", "cuda"};
enum { N_VARIANTS = 4, N_TABLES = 7, MAX_TEXTS = 8, MAX_IDS = 256 };

struct golden {
    struct device *dev;
    struct encoder *enc;
    struct safetensors *st;
    int32_t ids[MAX_IDS], offset[MAX_TEXTS + 1];
    int64_t B, D;
};

/* The ids of the metadata, "1,2;3,4,5". */
static void read_ids(struct golden *g)
{
    const char *s = safetensors_metadata(g->st, "ids");
    int32_t n = 0;
    assert_non_null(s);
    while (*s) {
        char *end;
        g->ids[n++] = (int32_t)strtol(s, &end, 10);
        if (*end != ',')
            g->offset[++g->B] = n;
        s = *end ? end + 1 : end;
        assert_true(n < MAX_IDS && g->B < MAX_TEXTS);
    }
}

static bool open_with(struct golden *g, const char *name, const char *table, enum dtype compute,
                      bool keep_rows)
{
    char path[512];
    struct err err = {0};
    *g = (struct golden){0};
    if (device_open(&g->dev, table, 2, &err))
        return false;
    snprintf(path, sizeof path, "%s/fixtures/encoder_%s", TEST_DIR, name);
    if (encoder_open(&g->enc, path, g->dev, &(struct encoder_options){compute, 0, keep_rows}, NULL,
                     &err))
        fail_msg("%s", err.msg);
    strcat(path, "/golden.safetensors");
    if (safetensors_open(&g->st, path, &err))
        fail_msg("%s", err.msg);
    g->D = encoder_config(g->enc)->hidden_size;
    read_ids(g);
    return true;
}

static bool golden_open(struct golden *g, const char *name, const char *table, enum dtype compute)
{
    return open_with(g, name, table, compute, false);
}

static void golden_close(struct golden *g)
{
    encoder_close(g->enc);
    device_close(g->dev);
    safetensors_close(g->st);
}

static float *expected(const struct golden *g, const char *name, int64_t n)
{
    const struct safetensor *t = NULL;
    float *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    assert_int_equal(0, safetensors_get(&t, g->st, name, NULL));
    assert_int_equal(n, t->n_elements);
    assert_int_equal(0, safetensors_to_f32(x, t, 0, n, NULL));
    return x;
}

static double cosine(const float *a, const float *b, int64_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return ab / sqrt(aa * bb);
}

static void check_close(const char *where, const float *got, const float *want, int64_t n,
                        double limit)
{
    double largest = 1;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)want[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= limit * largest))
            fail_msg("%s: [%lld] is %.9g, wanted %.9g", where, (long long)i, (double)got[i],
                     (double)want[i]);
}

static void every_family_on_every_table_gives_what_pytorch_gives(void **state)
{
    (void)state;
    for (int v = 0; v < N_VARIANTS; v++)
        for (int t = 0; t < N_TABLES; t++) {
            struct golden g;
            char where[128];
            if (!open_with(&g, variants[v], tables[t], DT_F32, true))
                continue;
            int64_t T = g.offset[g.B];
            float *out = malloc((size_t)(g.B * g.D) * sizeof *out);
            float *embedding = expected(&g, "embedding", g.B * g.D),
                  *hidden = expected(&g, "hidden", T * g.D);
            assert_int_equal(0, encoder_forward(out, g.enc, g.ids, g.offset, g.B, NULL));
            snprintf(where, sizeof where, "%s on %s", variants[v], tables[t]);
            float *rows = malloc((size_t)(T * g.D) * sizeof *rows);
            g.dev->ops->read(g.dev, rows, encoder_hidden(g.enc), (size_t)(T * g.D) * sizeof *rows);
            check_close(where, rows, hidden, T * g.D, 2e-5);
            free(rows);
            check_close(where, out, embedding, g.B * g.D, 3e-6);
            for (int64_t b = 0; b < g.B; b++)
                assert_true(cosine(out + b * g.D, embedding + b * g.D, g.D) > 0.999999);
            free(out);
            free(embedding);
            free(hidden);
            golden_close(&g);
        }
}

static void in_bf16_it_stays_close(void **state)
{
    (void)state;
    for (int v = 0; v < N_VARIANTS; v++)
        for (int t = 0; t < N_TABLES; t++) {
            struct golden g;
            if (!golden_open(&g, variants[v], tables[t], DT_BF16))
                continue;
            float *out = malloc((size_t)(g.B * g.D) * sizeof *out),
                  *embedding = expected(&g, "embedding", g.B * g.D);
            assert_int_equal(0, encoder_forward(out, g.enc, g.ids, g.offset, g.B, NULL));
            for (int64_t b = 0; b < g.B; b++)
                if (!(cosine(out + b * g.D, embedding + b * g.D, g.D) > 0.999))
                    fail_msg("%s on %s: text %lld has cosine %g", variants[v], tables[t],
                             (long long)b, cosine(out + b * g.D, embedding + b * g.D, g.D));
            free(out);
            free(embedding);
            golden_close(&g);
        }
}

static void a_text_alone_gives_the_bits_that_it_gives_in_a_batch(void **state)
{
    (void)state;
    for (int v = 0; v < N_VARIANTS; v++) {
        struct golden g;
        assert_true(golden_open(&g, variants[v], "cpu", DT_F32));
        float *all = malloc((size_t)(g.B * g.D) * sizeof *all),
              *one = malloc((size_t)g.D * sizeof *one);
        assert_int_equal(0, encoder_forward(all, g.enc, g.ids, g.offset, g.B, NULL));
        for (int64_t b = 0; b < g.B; b++) {
            int32_t offset[2] = {0, g.offset[b + 1] - g.offset[b]};
            assert_int_equal(0, encoder_forward(one, g.enc, g.ids + g.offset[b], offset, 1, NULL));
            assert_memory_equal(one, all + b * g.D, (size_t)g.D * sizeof *one);
        }
        free(all);
        free(one);
        golden_close(&g);
    }
}

static void what_the_folder_says_is_read(void **state)
{
    (void)state;
    struct golden g;
    assert_true(golden_open(&g, "bert", "cpu", DT_F32));
    assert_int_equal(36, encoder_config(g.enc)->max_seq_length); /* sentence_bert_config.json */
    assert_int_equal(POOLING_MEAN, encoder_config(g.enc)->pooling);
    golden_close(&g);
    assert_true(golden_open(&g, "xlmr", "cpu", DT_F32));
    assert_int_equal(40, encoder_config(g.enc)->max_seq_length); /* 42 positions from 2 on */
    golden_close(&g);
    assert_true(golden_open(&g, "gte", "cpu", DT_F32));
    assert_int_equal(POOLING_CLS, encoder_config(g.enc)->pooling);
    assert_int_equal(64, encoder_config(g.enc)->max_seq_length);
    golden_close(&g);
}

static void an_id_outside_the_vocabulary_is_refused_by_name(void **state)
{
    (void)state;
    struct golden g;
    struct err err = {0};
    float out[64];
    assert_true(golden_open(&g, "bert", "cpu", DT_F32));
    int32_t ids[] = {1, 60}, offset[] = {0, 2};
    assert_int_equal(MOE2_EFORMAT, encoder_forward(out, g.enc, ids, offset, 1, &err));
    assert_string_equal("token id 60, wanted 0 to 59: is the tokenizer of another model?", err.msg);
    golden_close(&g);
}

static void the_first_rows_alone_give_the_bits_that_all_rows_give(void **state)
{
    (void)state;
    static const char *const names[] = {"bert_cls", "gte"};
    for (int v = 0; v < 2; v++) {
        struct golden g, all;
        assert_true(open_with(&g, names[v], "cpu", DT_F32, false));
        assert_true(open_with(&all, names[v], "cpu", DT_F32, true));
        int32_t offset[] = {0, 0, 5, 5, 9, 9}; /* texts without ids between the others */
        float a[5 * 64], b[5 * 64];
        assert_int_equal(0, encoder_forward(a, g.enc, g.ids, offset, 5, NULL));
        assert_int_equal(0, encoder_forward(b, all.enc, g.ids, offset, 5, NULL));
        assert_memory_equal(a, b, (size_t)(5 * g.D) * sizeof *a);
        golden_close(&g);
        golden_close(&all);
    }
}

static void a_text_without_ids_gives_zeros(void **state)
{
    (void)state;
    static const char *const devices[] = {"cpu", "cuda:emulated", "cuda"};
    for (int d = 0; d < 3; d++) {
        struct golden g;
        float out[3 * 64];
        if (!golden_open(&g, "bert_cls", devices[d], DT_F32))
            continue;
        int32_t ids[] = {1, 2}, offset[] = {0, 0, 2, 2};
        assert_int_equal(0, encoder_forward(out, g.enc, ids, offset, 3, NULL));
        double squares[3] = {0};
        assert_true(g.D <= 64);
        for (int i = 0; i < 3 * g.D; i++)
            squares[i / g.D] += (double)out[i] * out[i];
        assert_true(squares[0] == 0 && squares[2] == 0 && fabs(squares[1] - 1) < 1e-6);
        golden_close(&g);
    }
}

/* ---- folders that are broken ---- */

static void copy(const char *from, const char *name)
{
    char source[512], target[512];
    struct buf b = {0};
    snprintf(source, sizeof source, "%s/fixtures/encoder_%s/%s", TEST_DIR, from, name);
    snprintf(target, sizeof target, DIR "/%s", name);
    assert_int_equal(0, file_read(&b, source, NULL));
    assert_int_equal(0, file_write(target, b.bytes, b.n, NULL));
    buf_release(&b);
}

static void refused(const char *wanted)
{
    struct device *dev = NULL;
    struct encoder *enc = NULL;
    struct err err = {0};
    assert_int_equal(0, device_open(&dev, "cpu", 1, NULL));
    assert_int_not_equal(
        0, encoder_open(&enc, DIR, dev, &(struct encoder_options){DT_F32, 0, false}, NULL, &err));
    if (!strstr(err.msg, wanted))
        fail_msg("said \"%s\", wanted \"%s\" in it", err.msg, wanted);
    assert_int_equal(0, dev->used_bytes);
    device_close(dev);
}

static void put(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, DIR "/%s", name);
    assert_int_equal(0, file_write(path, text, strlen(text), NULL));
}

static void broken_folders_are_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *json, *wanted;
    } configs[] = {
        {"{", "config.json"},
        {"[]", "config.json"},
        {"{\"model_type\": \"t5\"}", "model_type is \"t5\", wanted bert"},
        {"{\"model_type\": \"bert\"}", "vocab_size"},
        {"{\"model_type\": \"bert\", \"vocab_size\": 60, \"hidden_size\": 33, "
         "\"num_hidden_layers\": 3, "
         "\"num_attention_heads\": 4, \"intermediate_size\": 44, \"max_position_embeddings\": 40}",
         "hidden_size 33 in 4 heads"},
        {"{\"model_type\": \"bert\", \"vocab_size\": 60, \"hidden_size\": 32, "
         "\"num_hidden_layers\": 3, "
         "\"num_attention_heads\": 4, \"intermediate_size\": 44, \"max_position_embeddings\": 40, "
         "\"hidden_act\": \"relu\"}",
         "hidden_act is \"relu\", wanted \"gelu\""},
        {"{\"model_type\": \"bert\", \"vocab_size\": 61, \"hidden_size\": 32, "
         "\"num_hidden_layers\": 4, "
         "\"num_attention_heads\": 4, \"intermediate_size\": 44, \"max_position_embeddings\": 40}",
         "tensors are missing (encoder.layer.3.attention.self.query.weight"},
        {"{\"model_type\": \"bert\", \"vocab_size\": 61, \"hidden_size\": 32, "
         "\"num_hidden_layers\": 2, "
         "\"num_attention_heads\": 4, \"intermediate_size\": 44, \"max_position_embeddings\": 40}",
         "tensors are unknown (encoder.layer.2."},
        {"{\"model_type\": \"bert\", \"vocab_size\": 61, \"hidden_size\": 32, "
         "\"num_hidden_layers\": 3, "
         "\"num_attention_heads\": 4, \"intermediate_size\": 44, \"max_position_embeddings\": 40}",
         "embeddings.word_embeddings.weight is [60, 32], wanted [61, 32]"},
        {"{\"model_type\": \"new\", \"vocab_size\": 60, \"hidden_size\": 32, "
         "\"num_hidden_layers\": 3, "
         "\"num_attention_heads\": 4, \"intermediate_size\": 44, \"max_position_embeddings\": 40, "
         "\"rope_scaling\": {\"type\": \"yarn\"}}",
         "type is \"yarn\", wanted \"ntk\""},
    };
    copy("bert", "model.safetensors");
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        put("config.json", configs[i].json);
        refused(configs[i].wanted);
    }
    copy("bert", "config.json");
    put("modules.json", "[{\"type\": \"x.models.Transformer\", \"path\": \"\"}, {\"type\": "
                        "\"x.models.Dense\", \"path\": \"2_Dense\"}]");
    refused("a module of type \"x.models.Dense\"");
    put("modules.json", "[{\"type\": \"x.models.Transformer\", \"path\": \"../other\"}]");
    refused("wanted a folder inside");
    put("modules.json", "[{\"type\": \"x.models.Pooling\", \"path\": \"1_Pooling\"}]");
    assert_int_equal(0, dir_make(DIR "/1_Pooling", NULL));
    put("1_Pooling/config.json",
        "{\"pooling_mode_mean_tokens\": true, \"pooling_mode_max_tokens\": true}");
    refused("pooling_mode_max_tokens is true, wanted false");
    put("1_Pooling/config.json",
        "{\"pooling_mode_mean_tokens\": true, \"pooling_mode_cls_token\": true}");
    refused("wanted pooling by the mean or by the first token");
    assert_int_equal(0, file_remove_all(DIR "/modules.json", NULL));
    put("sentence_bert_config.json", "{\"max_seq_length\": 2}");
    refused("max_seq_length is 2, wanted 3 or more");
    assert_int_equal(0, file_remove_all(DIR "/sentence_bert_config.json", NULL));
}

/* transformers writes model_max_length as a whole number beyond 64 bits where it knows of none. */
static void a_length_of_1e30_says_nothing(void **state)
{
    (void)state;
    struct encoder_config c;
    char weights[4096];
    struct err err = {0};
    copy("bert", "config.json");
    copy("bert", "model.safetensors");
    put("tokenizer_config.json", "{\"model_max_length\": 1000000000000000019884624838656}");
    if (encoder_config_read(&c, weights, sizeof weights, DIR, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(c.max_position_embeddings, c.max_seq_length);
    put("tokenizer_config.json", "{\"model_max_length\": 7}");
    assert_int_equal(0, encoder_config_read(&c, weights, sizeof weights, DIR, &err));
    assert_int_equal(7, c.max_seq_length);
    assert_int_equal(0, file_remove_all(DIR "/tokenizer_config.json", NULL));
}

static void a_nan_is_named(void **state)
{
    (void)state;
    struct buf b = {0};
    copy("bert", "config.json");
    assert_int_equal(0, file_read(&b, TEST_DIR "/fixtures/encoder_bert/model.safetensors", NULL));
    uint64_t n_header;
    memcpy(&n_header, b.bytes, sizeof n_header);
    memset(b.bytes + 8 + n_header, 0xff, 4); /* the first number of the first tensor */
    assert_int_equal(0, file_write(DIR "/model.safetensors", b.bytes, b.n, NULL));
    buf_release(&b);
    refused("holds a NaN or an infinity");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_on_every_table_gives_what_pytorch_gives),
        cmocka_unit_test(in_bf16_it_stays_close),
        cmocka_unit_test(a_text_alone_gives_the_bits_that_it_gives_in_a_batch),
        cmocka_unit_test(what_the_folder_says_is_read),
        cmocka_unit_test(an_id_outside_the_vocabulary_is_refused_by_name),
        cmocka_unit_test(the_first_rows_alone_give_the_bits_that_all_rows_give),
        cmocka_unit_test(a_text_without_ids_gives_zeros),
        cmocka_unit_test(broken_folders_are_refused_with_a_reason),
        cmocka_unit_test(a_length_of_1e30_says_nothing),
        cmocka_unit_test(a_nan_is_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
