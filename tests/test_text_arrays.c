/* What tokenizers out of a GGUF file's arrays promise, one sentence a test. */
#include "text/tokenizer_arrays.h"
#include "text/tokenizer_export.h"
#include "text_fixture.h"

enum { N_BYTES = 256, FIRST_BYTE = 3, FIRST_PIECE = FIRST_BYTE + N_BYTES, N_PIECES = 7 };
enum { N = FIRST_PIECE + N_PIECES };

#define SIGN "\xe2\x96\x81"

/* <unk>, <s>, </s>, 256 bytes, and a few pieces, of which "ab" is better than SIGN "a". */
struct pieces {
    char byte_names[N_BYTES][8];
    struct span tokens[N];
    int64_t kinds[N];
    float scores[N];
    struct tokenizer_arrays a;
};

static void make(struct pieces *p)
{
    static const char *const names[N_PIECES] = {SIGN, "a", "b", "ab", SIGN "a", SIGN "ab", "aa"};
    static const float scores[N_PIECES] = {-100, -101, -102, -1, -2, -3, -4};
    static const char *const special[3] = {"<unk>", "<s>", "</s>"};
    memset(p, 0, sizeof *p);
    for (int i = 0; i < N; i++) {
        const char *s = i < FIRST_BYTE    ? special[i]
                        : i < FIRST_PIECE ? p->byte_names[i - FIRST_BYTE]
                                          : names[i - FIRST_PIECE];
        if (i >= FIRST_BYTE && i < FIRST_PIECE)
            snprintf(p->byte_names[i - FIRST_BYTE], 8, "<0x%02X>", i - FIRST_BYTE);
        p->tokens[i] = (struct span){s, (uint32_t)strlen(s)};
        p->kinds[i] = i == 0            ? TOKEN_KIND_UNKNOWN
                      : i < FIRST_BYTE  ? TOKEN_KIND_CONTROL
                      : i < FIRST_PIECE ? TOKEN_KIND_BYTE
                                        : TOKEN_KIND_NORMAL;
        p->scores[i] = i < FIRST_PIECE ? 0 : scores[i - FIRST_PIECE];
    }
    p->a = (struct tokenizer_arrays){.model = "llama",
                                     .tokens = p->tokens,
                                     .kinds = p->kinds,
                                     .scores = p->scores,
                                     .n = N,
                                     .bos_id = 1,
                                     .eos_id = 2,
                                     .unk_id = 0,
                                     .add_bos = -1,
                                     .add_eos = -1,
                                     .add_space_prefix = -1};
}

static void assert_ids(const struct tokenizer *t, const char *text, int flags,
                       const int32_t *wanted, size_t n)
{
    struct ids ids = {0};
    assert_int_equal(0, tokenizer_encode(t, NULL, &ids, text, strlen(text), flags, NULL));
    assert_int_equal(n, ids.n);
    assert_memory_equal(wanted, ids.v, n * sizeof *wanted);
    ids_release(&ids);
}

static void the_pair_whose_token_has_the_best_score_is_merged_first(void **state)
{
    (void)state;
    struct pieces p;
    struct tokenizer *t = NULL;
    make(&p);
    assert_int_equal(0, tokenizer_from_arrays(&t, &p.a, NULL));
    /* sign, a, b: first ab, then sign ab */
    assert_ids(t, "ab", 0, (int32_t[]){FIRST_PIECE + 5}, 1);
    /* sign, a, a, b: ab is the best; then sign a before aa */
    assert_ids(t, "aab", TOKENIZER_SPECIAL, (int32_t[]){1, FIRST_PIECE + 4, FIRST_PIECE + 3}, 3);
    /* é is no token: its two bytes */
    assert_ids(t, "a\xc3\xa9", 0,
               (int32_t[]){FIRST_PIECE + 4, FIRST_BYTE + 0xc3, FIRST_BYTE + 0xa9}, 3);
    tokenizer_free(t);
    p.a.add_space_prefix = 0;
    assert_int_equal(0, tokenizer_from_arrays(&t, &p.a, NULL));
    assert_ids(t, "aaa", 0, (int32_t[]){FIRST_PIECE + 6, FIRST_PIECE + 1}, 2);
    tokenizer_free(t);
}

static void bytes_and_signs_come_back_as_the_text_they_were(void **state)
{
    (void)state;
    struct pieces p;
    struct tokenizer *t = NULL;
    struct ids ids = {0};
    struct buf out = {0};
    static const char text[] = "ab  a\xc3\xa9\n b";
    make(&p);
    assert_int_equal(0, tokenizer_from_arrays(&t, &p.a, NULL));
    assert_int_equal(0, tokenizer_encode(t, NULL, &ids, text, strlen(text), 0, NULL));
    assert_int_equal(0, tokenizer_decode(t, &out, ids.v, ids.n, 0, NULL));
    assert_string_equal(text, out.bytes);
    size_t n = 0;
    assert_true(*tokenizer_token(t, FIRST_BYTE + 10, &n) == '\n' && n == 1);
    assert_true(memcmp(tokenizer_token(t, FIRST_PIECE + 4, &n), " a", 2) == 0 && n == 2);
    ids_release(&ids);
    buf_release(&out);
    tokenizer_free(t);
}

static void the_way_back_gives_arrays_with_the_same_ids(void **state)
{
    (void)state;
    struct pieces p;
    struct tokenizer_arrays back;
    struct arena arena = {0};
    struct buf json = {0}, config = {0};
    struct tokenizer *t = NULL;
    make(&p);
    assert_int_equal(0, tokenizer_arrays_json(&json, &config, &p.a, NULL));
    assert_int_equal(0, tokenizer_to_arrays(&back, &arena, json.bytes, json.n, config.bytes,
                                            config.n, N + 5, NULL));
    assert_string_equal("llama", back.model);
    assert_true(back.n == N + 5 && back.kinds[N + 4] == TOKEN_KIND_UNUSED);
    assert_true(back.bos_id == 1 && back.eos_id == 2 && back.unk_id == 0 && back.add_bos == 1);
    for (int i = 0; i < N; i++)
        assert_true(back.tokens[i].n == p.tokens[i].n && back.kinds[i] == p.kinds[i]);
    assert_int_equal(0, tokenizer_from_arrays(&t, &back, NULL));
    assert_ids(t, "aab", 0, (int32_t[]){FIRST_PIECE + 4, FIRST_PIECE + 3}, 2);
    tokenizer_free(t);
    buf_release(&json);
    buf_release(&config);
    arena_release(&arena);
}

static void what_is_not_understood_is_refused_by_name(void **state)
{
    (void)state;
    struct pieces p;
    struct tokenizer *t = NULL;
    struct err err = {0};
    make(&p);
    p.a.model = "bert";
    assert_int_equal(MOE2_EFORMAT, tokenizer_from_arrays(&t, &p.a, &err));
    assert_string_equal("tokenizer.ggml.model is bert, wanted gpt2 or llama", err.msg);
    err = (struct err){0};
    p.a.model = "gpt2";
    p.a.pre = "tekken";
    assert_int_equal(MOE2_EFORMAT, tokenizer_from_arrays(&t, &p.a, &err));
    assert_non_null(strstr(err.msg, "tokenizer.ggml.pre is tekken, wanted gpt-2, smollm"));
    err = (struct err){0};
    p.a.model = "llama";
    p.a.eos_id = N;
    assert_int_equal(MOE2_EFORMAT, tokenizer_from_arrays(&t, &p.a, &err));
    assert_non_null(strstr(err.msg, "the EOS token is "));
    err = (struct err){0};
    p.a.eos_id = 2;
    p.a.scores = NULL;
    assert_int_equal(MOE2_EFORMAT, tokenizer_from_arrays(&t, &p.a, &err));
    assert_string_equal("tokenizer.ggml.scores is missing", err.msg);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pair_whose_token_has_the_best_score_is_merged_first),
        cmocka_unit_test(bytes_and_signs_come_back_as_the_text_they_were),
        cmocka_unit_test(the_way_back_gives_arrays_with_the_same_ids),
        cmocka_unit_test(what_is_not_understood_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
