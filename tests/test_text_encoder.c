/* What the tokenizers of encoder models promise, one sentence a test. The ids of tests/golden were
 * made by Hugging Face's tokenizers (make_encoder_tokenizer_golden.py). A real model's folder is
 * looked for in $MOE2_MINILM. */
#include "text_fixture.h"

#include <jansson.h>
#include <time.h>

static void assert_ids(const json_t *wanted, const struct ids *got, const char *file, int line,
                       const char *what)
{
    bool same = json_array_size(wanted) == got->n;
    for (size_t i = 0; i < got->n && same; i++)
        same = json_integer_value(json_array_get(wanted, i)) == got->v[i];
    if (!same)
        fail_msg("%s, line %d: other ids (%s)", file, line, what);
}

static void check_case(const struct tokenizer *t, struct tokenizer_scratch *s, const json_t *c,
                       const char *file, int line)
{
    const json_t *text = json_object_get(c, "text"), *decoded = json_object_get(c, "decoded");
    struct ids got = {0};
    struct buf back = {0};
    struct err err = {0};
    const char *bytes = json_string_value(text);
    size_t n = json_string_length(text);
    if (tokenizer_encode(t, s, &got, bytes, n, 0, &err))
        fail_msg("%s, line %d: %s", file, line, err.msg);
    assert_ids(json_object_get(c, "ids"), &got, file, line, "plain");
    assert_int_equal(0, tokenizer_decode(t, &back, got.v, got.n, 0, &err));
    if (back.n != json_string_length(decoded) ||
        (back.n && memcmp(back.bytes, json_string_value(decoded), back.n) != 0))
        fail_msg("%s, line %d: decoded to \"%s\"", file, line, back.bytes);
    got.n = 0;
    assert_int_equal(0, tokenizer_encode(t, s, &got, bytes, n, TOKENIZER_SPECIAL, &err));
    assert_ids(json_object_get(c, "special"), &got, file, line, "special");
    ids_release(&got);
    buf_release(&back);
}

static void check_cases(const struct tokenizer *t, const char *name)
{
    char path[512];
    golden_path(path, sizeof path, name);
    struct buf b = file_of(path);
    struct tokenizer_scratch *s = NULL;
    assert_int_equal(0, tokenizer_scratch_new(&s, t, NULL));
    int line = 0;
    for (char *p = b.bytes, *end; (end = strchr(p, '\n')); p = end + 1) {
        json_t *c = json_loadb(p, (size_t)(end - p), JSON_ALLOW_NUL, NULL);
        assert_non_null(c);
        check_case(t, s, c, name, ++line);
        json_decref(c);
    }
    assert_true(line > 100);
    tokenizer_scratch_free(s);
    buf_release(&b);
}

static void small_tokenizers_of_every_kind_give_the_ids_of_hf(void **state)
{
    (void)state;
    static const char *const names[] = {"bert",  "cased",    "accents", "xlmr",
                                        "first", "fallback", "nfkc"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char file[64], path[512];
        snprintf(file, sizeof file, "encoder_%s.json", names[i]);
        golden_path(path, sizeof path, file);
        struct tokenizer *t = tokenizer_of(path);
        snprintf(file, sizeof file, "encoder_%s_cases.jsonl", names[i]);
        check_cases(t, file);
        tokenizer_free(t);
    }
}

static struct tokenizer *from_vocab_txt(const char *config)
{
    char path[512];
    golden_path(path, sizeof path, "bert_vocab.txt");
    struct buf b = file_of(path);
    struct tokenizer *t = NULL;
    struct err err = {0};
    if (tokenizer_parse_vocab_txt(&t, b.bytes, b.n, config, config ? strlen(config) : 0, &err))
        fail_msg("%s", err.msg);
    buf_release(&b);
    return t;
}

static void a_vocab_txt_alone_gives_the_same_ids(void **state)
{
    (void)state;
    struct tokenizer *t = from_vocab_txt(NULL);
    check_cases(t, "encoder_bert_cases.jsonl");
    tokenizer_free(t);
    t = from_vocab_txt("{\"do_lower_case\": true, \"strip_accents\": null, \"cls_token\": "
                       "{\"content\": \"[CLS]\"}, \"model_max_length\": 512}");
    check_cases(t, "encoder_bert_cases.jsonl");
    tokenizer_free(t);
}

static void the_config_beside_a_vocab_txt_decides_about_case(void **state)
{
    (void)state;
    struct tokenizer *lower = from_vocab_txt(NULL),
                     *cased = from_vocab_txt("{\"do_lower_case\": false}");
    struct ids a = {0}, b = {0};
    assert_int_equal(0, tokenizer_encode(lower, NULL, &a, "CIAO", 4, 0, NULL));
    assert_int_equal(0, tokenizer_encode(cased, NULL, &b, "CIAO", 4, 0, NULL));
    assert_int_equal(tokenizer_id(cased, "[UNK]"), b.v[0]);
    assert_int_not_equal(a.v[0], b.v[0]);
    assert_true(tokenizer_fingerprint(lower) != tokenizer_fingerprint(cased));
    ids_release(&a);
    ids_release(&b);
    tokenizer_free(lower);
    tokenizer_free(cased);
}

static void a_broken_vocab_txt_gives_its_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } files[] = {
        {"", "vocab.txt has no token \"[CLS]\""},
        {"[CLS]\n[UNK]\n", "vocab.txt has no token \"[SEP]\""},
        {"[CLS]\n[SEP]\n", "model.unk_token \"[UNK]\" is not in the vocabulary"},
        {"[CLS]\nb\xff\n", "vocab.txt, line 2 is not UTF-8 text"},
    };
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct tokenizer *t = NULL;
        struct err err = {0};
        assert_int_equal(
            MOE2_EFORMAT,
            tokenizer_parse_vocab_txt(&t, files[i].text, strlen(files[i].text), NULL, 0, &err));
        assert_string_equal(files[i].message, err.msg);
        assert_null(t);
    }
}

static void a_megabyte_of_one_word_is_encoded_soon(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    char *json = NULL, *text = malloc(N);
    assert_true(asprintf(&json,
                         "{\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},\"model\":{\"type\":"
                         "\"WordPiece\",\"max_input_chars_per_word\":%d,\"vocab\":{\"a\":0,\"##a\":"
                         "1,\"##aaa\":2,\"[UNK]\":3}}}",
                         N) > 0);
    memset(text, 'a', N);
    struct tokenizer *t = NULL;
    struct ids ids = {0};
    assert_int_equal(0, tokenizer_parse(&t, json, strlen(json), NULL, 0, NULL));
    clock_t begun = clock();
    assert_int_equal(0, tokenizer_encode(t, NULL, &ids, text, N, 0, NULL));
    assert_true(clock() - begun < 5 * CLOCKS_PER_SEC);
    assert_int_equal(1 + (N - 1) / 3, ids.n);
    ids_release(&ids);
    tokenizer_free(t);
    free(text);
    free(json);
}

static void every_truncation_of_a_file_is_refused(void **state)
{
    (void)state;
    char path[512];
    golden_path(path, sizeof path, "encoder_bert.json");
    struct buf b = file_of(path);
    for (size_t n = 0; n + 1 < b.n; n += n < 3000 ? 7 : 101) {
        struct tokenizer *t = NULL;
        struct err err = {0};
        assert_int_equal(MOE2_EFORMAT, tokenizer_parse(&t, b.bytes, n, NULL, 0, &err));
        assert_non_null(strstr(err.msg, "tokenizer.json, line "));
    }
    buf_release(&b);
}

/* "The café, 你好" as the real MiniLM has it, asked of HF once. */
static void the_real_minilm_gives_the_ids_of_hf(void **state)
{
    (void)state;
    const char *folder = getenv("MOE2_MINILM");
    if (!folder || !file_is_dir(folder)) {
        print_message("skipped: $MOE2_MINILM names no folder of all-MiniLM-L6-v2\n");
        skip();
    }
    struct tokenizer *t = tokenizer_of(folder);
    static const int32_t wanted[] = {101, 7592, 1010, 2088, 999,   7668,  15743, 100,
                                     100, 2123, 1005, 1056, 14477, 20961, 3468,  102};
    const char *text =
        "Hello, World! Caf\xc3\xa9 na\xc3\xafve \xe4\xbd\xa0\xe5\xa5\xbd don't unaffable";
    struct ids ids = {0};
    assert_int_equal(0,
                     tokenizer_encode(t, NULL, &ids, text, strlen(text), TOKENIZER_SPECIAL, NULL));
    assert_int_equal(COUNT_OF(wanted), ids.n);
    assert_memory_equal(wanted, ids.v, sizeof wanted);
    ids_release(&ids);
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_tokenizers_of_every_kind_give_the_ids_of_hf),
        cmocka_unit_test(a_vocab_txt_alone_gives_the_same_ids),
        cmocka_unit_test(the_config_beside_a_vocab_txt_decides_about_case),
        cmocka_unit_test(a_broken_vocab_txt_gives_its_sentence),
        cmocka_unit_test(a_megabyte_of_one_word_is_encoded_soon),
        cmocka_unit_test(every_truncation_of_a_file_is_refused),
        cmocka_unit_test(the_real_minilm_gives_the_ids_of_hf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
