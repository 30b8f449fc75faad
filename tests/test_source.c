/* What a source promises: the same tensors whatever file holds them. One sentence a test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "io/gguf_write.h"
#include "io/safetensors.h"
#include "model/source.h"
#include "quant/nf4_encode.h"

#define DIR "test_source.tmp"
#include "folder_fixture.h"

static struct source *opened(const char *path)
{
    struct source *s = NULL;
    struct err err = {0};
    if (source_open(&s, path, &err))
        fail_msg("%s", err.msg);
    return s;
}

/* The whole tensor and every piece of it agree; the result is static. */
static const float *values(const struct source *s, const char *name)
{
    static float all[4096], part[4096];
    const struct source_tensor *t = source_find(s, name);
    assert_non_null(t);
    assert_true(t->n_elements <= 4096);
    assert_int_equal(0, source_read(all, t, 0, t->n_elements, NULL));
    for (int64_t first = 0; first < t->n_elements; first += 5) {
        int64_t n = t->n_elements - first < 23 ? t->n_elements - first : 23;
        assert_int_equal(0, source_read(part, t, first, n, NULL));
        assert_memory_equal(part, all + first, n * 4);
    }
    return all;
}

static void count_up(float *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)i;
}

/* A file of architecture llama with two heads of 4 rows and one key head, width 3. */
static void llamas_queries_and_keys_come_in_the_order_of_hugging_face(void **state)
{
    (void)state;
    struct gguf_writer *w = NULL;
    float x[24];
    count_up(x, 24);
    assert_int_equal(0, gguf_create(&w, DIR "/llama.gguf", NULL));
    gguf_put_text(w, "general.architecture", "llama");
    gguf_put_u32(w, "llama.attention.head_count", 2);
    gguf_put_u32(w, "llama.attention.head_count_kv", 1);
    gguf_declare(w, "blk.0.attn_q.weight", 0, (int64_t[]){8, 3}, 2);
    gguf_declare(w, "blk.0.attn_k.weight", 0, (int64_t[]){4, 3}, 2);
    gguf_declare(w, "blk.0.attn_v.weight", 0, (int64_t[]){4, 3}, 2);
    assert_int_equal(0, gguf_begin_data(w, NULL));
    assert_int_equal(0, gguf_put(w, x, 8 * 12, NULL));
    assert_int_equal(0, gguf_put(w, x, 4 * 12, NULL));
    assert_int_equal(0, gguf_put(w, x, 4 * 12, NULL));
    assert_int_equal(0, gguf_commit(w, NULL));
    struct source *s = opened(DIR "/llama.gguf");
    /* stored rows (head, pair i, half j); wanted (head, half j, i) */
    static const int order[8] = {0, 2, 1, 3, 4, 6, 5, 7};
    float copied[24];
    const float *q = values(s, "model.layers.0.self_attn.q_proj.weight");
    for (int r = 0; r < 8; r++)
        for (int c = 0; c < 3; c++)
            assert_true(q[r * 3 + c] == x[order[r] * 3 + c]);
    source_copy(copied, source_find(s, "model.layers.0.self_attn.q_proj.weight"));
    assert_memory_equal(copied, q, sizeof copied);
    const float *k = values(s, "model.layers.0.self_attn.k_proj.weight");
    for (int r = 0; r < 4; r++)
        assert_true(k[r * 3] == x[order[r] * 3]);
    assert_memory_equal(values(s, "model.layers.0.self_attn.v_proj.weight"), x, 48);
    source_close(s);
}

/* deepseek2: 2 heads, nope 3, v 2, rank 4; 2 experts of 5 × 3. */
static void experts_are_cut_apart_and_kv_b_is_put_together(void **state)
{
    (void)state;
    struct gguf_writer *w = NULL;
    float x[30];
    count_up(x, 30);
    assert_int_equal(0, gguf_create(&w, DIR "/ds.gguf", NULL));
    gguf_put_text(w, "general.architecture", "deepseek2");
    gguf_declare(w, "blk.1.attn_k_b.weight", 0, (int64_t[]){2, 4, 3}, 3);
    gguf_declare(w, "blk.1.attn_v_b.weight", 0, (int64_t[]){2, 2, 4}, 3);
    gguf_declare(w, "blk.1.ffn_up_exps.weight", 0, (int64_t[]){2, 5, 3}, 3);
    assert_int_equal(0, gguf_begin_data(w, NULL));
    assert_int_equal(0, gguf_put(w, x, 24 * 4, NULL));
    assert_int_equal(0, gguf_put(w, x, 16 * 4, NULL));
    assert_int_equal(0, gguf_put(w, x, 30 * 4, NULL));
    assert_int_equal(0, gguf_commit(w, NULL));
    struct source *s = opened(DIR "/ds.gguf");
    assert_int_equal(3, source_count(s));
    const struct source_tensor *kv = source_find(s, "model.layers.1.self_attn.kv_b_proj.weight");
    assert_true(kv && kv->shape[0] == 10 && kv->shape[1] == 4);
    const float *b = values(s, kv->name);
    for (int h = 0; h < 2; h++)
        for (int r = 0; r < 5; r++)
            for (int c = 0; c < 4; c++)
                assert_true(b[(h * 5 + r) * 4 + c] ==
                            (r < 3 ? x[(h * 4 + c) * 3 + r] : x[(h * 2 + r - 3) * 4 + c]));
    assert_memory_equal(values(s, "model.layers.1.mlp.experts.1.up_proj.weight"), x + 15, 60);
    source_close(s);
}

static void put_tensor(struct safetensors_decl *d, const char *name, enum dtype type, int64_t n)
{
    *d = (struct safetensors_decl){.name = name, .dtype = type, .n_dims = 1, .shape = {n}};
}

/* 10 × 13 values in blocks of 64, doubly quantised, beside a plain tensor. */
static void a_folder_of_bitsandbytes_reads_as_the_weights_it_stands_for(void **state)
{
    (void)state;
    enum { N = 130, BLOCKS = 3 };
    float x[N], absmax[BLOCKS], nested[1], offset = 0, map[NF4_MAP_SIZE], wanted[N];
    uint8_t codes[N / 2], absmax_codes[BLOCKS];
    char text[256];
    for (int i = 0; i < N; i++)
        x[i] = (float)(i * 29 % 37 - 18) / 11;
    nf4_encode(codes, absmax, x, N, 64);
    nf4_dynamic_map(map, 1);
    nf4_nest(absmax_codes, nested, &offset, absmax, BLOCKS, map);
    snprintf(text, sizeof text,
             "{\"quant_type\": \"nf4\", \"blocksize\": 64, \"dtype\": \"bfloat16\", \"shape\": "
             "[10, 13], \"nested_blocksize\": 256, \"nested_dtype\": \"float32\", "
             "\"nested_offset\": %.9g}",
             (double)offset);
    struct safetensors_decl d[7];
    const void *data[7] = {codes, absmax_codes, nested, map, nf4_levels, text, x};
    put_tensor(&d[0], "a.weight", DT_U8, N / 2);
    put_tensor(&d[1], "a.weight.absmax", DT_U8, BLOCKS);
    put_tensor(&d[2], "a.weight.nested_absmax", DT_F32, 1);
    put_tensor(&d[3], "a.weight.nested_quant_map", DT_F32, 256);
    put_tensor(&d[4], "a.weight.quant_map", DT_F32, 16);
    put_tensor(&d[5], "a.weight.quant_state.bitsandbytes__nf4", DT_U8, (int64_t)strlen(text));
    put_tensor(&d[6], "b.weight", DT_F32, N);
    struct safetensors_writer *w = NULL;
    assert_int_equal(0, safetensors_create_folder(&w, DIR "/nf4", d, 7, NULL, NULL));
    for (int i = 0; i < 7; i++)
        assert_int_equal(
            0, safetensors_put(w, data[i], d[i].shape[0] * (int64_t)dtype_bytes(d[i].dtype), NULL));
    assert_int_equal(0, safetensors_commit(w, NULL));
    struct source *s = opened(DIR "/nf4");
    assert_int_equal(2, source_count(s));
    const struct source_tensor *t = source_find(s, "a.weight");
    assert_true(t->kind == STORED_NF4 && t->n_dims == 2 && t->shape[0] == 10 && t->shape[1] == 13);
    struct nf4 q = {.n = N,
                    .block_size = 64,
                    .codes = codes,
                    .absmax_codes = absmax_codes,
                    .nested_absmax = nested,
                    .map = map,
                    .nested_block_size = 256,
                    .nested_offset = offset};
    nf4_decode(wanted, &q, 0, N);
    assert_memory_equal(values(s, "a.weight"), wanted, sizeof wanted);
    assert_memory_equal(values(s, "b.weight"), x, sizeof x);
    source_close(s);
}

static void fp8_weights_are_multiplied_by_their_tiles_scales(void **state)
{
    (void)state;
    uint8_t codes[6] = {0x38, 0x40, 0xb8, 0x30, 0x00, 0x3c}; /* 1, 2, −1, 0.5, 0, 1.5 */
    float scale = 0.25F, wanted[6] = {0.25F, 0.5F, -0.25F, 0.125F, 0, 0.375F};
    struct safetensors_decl d[2] = {
        {.name = "a.weight", .dtype = DT_F8_E4M3, .n_dims = 2, .shape = {2, 3}},
        {.name = "a.weight_scale_inv", .dtype = DT_F32, .n_dims = 2, .shape = {1, 1}}};
    struct safetensors_writer *w = NULL;
    assert_int_equal(0, safetensors_create_folder(&w, DIR "/fp8", d, 2, NULL, NULL));
    assert_int_equal(0, safetensors_put(w, codes, sizeof codes, NULL));
    assert_int_equal(0, safetensors_put(w, &scale, sizeof scale, NULL));
    assert_int_equal(0, safetensors_commit(w, NULL));
    struct source *s = opened(DIR "/fp8");
    assert_int_equal(1, source_count(s));
    assert_memory_equal(values(s, "a.weight"), wanted, sizeof wanted);
    source_close(s);
}

/* D 4, F 3, 1 layer, 2 heads, 1 key head, V 5, T 2. */
static void llama2c_files_list_their_tensors_in_the_models_names(void **state)
{
    (void)state;
    enum { D = 4, F = 3, V = 5, KV = 2, T = 2, HD = 2 };
    int32_t head[7] = {D, F, 1, 2, 1, V, T};
    enum { N = V * D + 2 * D + 2 * D * D + 2 * KV * D + 3 * F * D + D + T * HD };
    float x[N];
    struct buf b = {0};
    count_up(x, N);
    assert_int_equal(0, buf_append(&b, head, sizeof head, NULL));
    assert_int_equal(0, buf_append(&b, x, sizeof x, NULL));
    assert_int_equal(0, file_write(DIR "/m.bin", b.bytes, b.n, NULL));
    struct source *s = opened(DIR "/m.bin");
    assert_int_equal(12 - 1, source_count(s));
    assert_true(values(s, "model.embed_tokens.weight")[0] == 0);
    assert_true(values(s, "model.layers.0.self_attn.q_proj.weight")[0] == V * D + D);
    assert_true(values(s, "model.norm.weight")[D - 1] == N - T * HD - 1);
    assert_null(source_find(s, "lm_head.weight"));
    source_close(s);
    b.n--;
    assert_int_equal(0, file_write(DIR "/m.bin", b.bytes, b.n, NULL));
    assert_false(source_is_file(DIR "/m.bin"));
    buf_release(&b);
}

static void what_is_no_model_is_refused_in_one_sentence(void **state)
{
    (void)state;
    struct source *s = NULL;
    struct err err = {0};
    assert_int_equal(0, file_write(DIR "/x.gguf", "GGUX", 4, NULL));
    assert_int_equal(MOE2_EIO, source_open(&s, DIR "/x.gguf", &err));
    assert_string_equal(err.msg,
                        DIR "/x.gguf: is no checkpoint folder, GGUF file or llama2.c model");
    err = (struct err){0};
    assert_int_equal(MOE2_EIO, source_open(&s, DIR "/none", &err));
    assert_non_null(strstr(err.msg, "there is no such file"));
    struct gguf_writer *w = NULL;
    assert_int_equal(0, gguf_create(&w, DIR "/arch.gguf", NULL));
    gguf_put_text(w, "general.architecture", "mamba");
    assert_int_equal(0, gguf_begin_data(w, NULL));
    assert_int_equal(0, gguf_commit(w, NULL));
    s = opened(DIR "/arch.gguf");
    struct model_config c;
    err = (struct err){0};
    assert_int_equal(MOE2_EFORMAT, source_config(&c, s, &err));
    assert_non_null(strstr(err.msg, "general.architecture is \"mamba\", wanted llama"));
    source_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llamas_queries_and_keys_come_in_the_order_of_hugging_face),
        cmocka_unit_test(experts_are_cut_apart_and_kv_b_is_put_together),
        cmocka_unit_test(a_folder_of_bitsandbytes_reads_as_the_weights_it_stands_for),
        cmocka_unit_test(fp8_weights_are_multiplied_by_their_tiles_scales),
        cmocka_unit_test(llama2c_files_list_their_tensors_in_the_models_names),
        cmocka_unit_test(what_is_no_model_is_refused_in_one_sentence),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
