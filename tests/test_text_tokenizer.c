/* What a tokenizer promises, one sentence a test. The ids of tests/golden were made by Hugging
 * Face's tokenizers (make_tokenizer_golden.py). */
#include "text_fixture.h"

#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
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
    const json_t *ids = json_object_get(c, "ids"), *special = json_object_get(c, "special");
    const json_t *text = json_object_get(c, "text"), *decoded = json_object_get(c, "decoded");
    struct ids got = {0};
    struct buf back = {0};
    struct err err = {0};
    const char *bytes = json_string_value(text);
    size_t n = json_string_length(text);
    if (tokenizer_encode(t, s, &got, bytes, n, 0, &err))
        fail_msg("%s, line %d: %s", file, line, err.msg);
    assert_ids(ids, &got, file, line, "plain");
    assert_int_equal(0, tokenizer_decode(t, &back, got.v, got.n, 0, &err));
    const json_t *wanted = decoded ? decoded : text;
    if (back.n != json_string_length(wanted) ||
        (back.n && memcmp(back.bytes, json_string_value(wanted), back.n) != 0))
        fail_msg("%s, line %d: decoded to \"%s\"", file, line, back.bytes);
    if (special || tokenizer_id(t, "<|bos|>") >= 0) {
        got.n = 0;
        assert_int_equal(0, tokenizer_encode(t, s, &got, bytes, n, TOKENIZER_SPECIAL, &err));
        assert_ids(special ? special : ids, &got, file, line, "special");
    }
    ids_release(&got);
    buf_release(&back);
}

/* Checks every line of a file of cases; returns the last line, which may be no case, or NULL. */
static json_t *check_cases(const struct tokenizer *t, const char *name)
{
    char path[512];
    golden_path(path, sizeof path, name);
    struct buf b = file_of(path);
    struct tokenizer_scratch *s = NULL;
    assert_int_equal(0, tokenizer_scratch_new(&s, t, NULL));
    json_t *last = NULL;
    int line = 0;
    for (char *p = b.bytes, *end; (end = strchr(p, '\n')); p = end + 1) {
        json_t *c = json_loadb(p, (size_t)(end - p), JSON_ALLOW_NUL, NULL);
        assert_non_null(c);
        line++;
        if (json_object_get(c, "text")) {
            check_case(t, s, c, name, line);
            json_decref(c);
        } else {
            last = c;
        }
    }
    assert_true(line > 100);
    tokenizer_scratch_free(s);
    buf_release(&b);
    return last;
}

static void small_tokenizers_of_every_kind_give_the_ids_of_hf(void **state)
{
    (void)state;
    static const char *const names[] = {"gpt2",     "prefixed", "smollm", "qwen2",
                                        "deepseek", "llama3",   "odd",    "spm"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[512], name[64], cases[64];
        snprintf(name, sizeof name, "tokenizer_%s.json", names[i]);
        snprintf(cases, sizeof cases, "tokenizer_%s_cases.jsonl", names[i]);
        golden_path(path, sizeof path, name);
        struct tokenizer *t = tokenizer_of(path);
        assert_null(check_cases(t, cases));
        tokenizer_free(t);
    }
}

static void check_real(const char *name)
{
    char path[64], cases[64];
    snprintf(path, sizeof path, "tokenizers/%s/tokenizer.json", name);
    snprintf(cases, sizeof cases, "real_%s_cases.jsonl", name);
    char shared[512];
    shared_path(shared, sizeof shared, path);
    struct tokenizer *t = tokenizer_of(shared);
    json_t *last = check_cases(t, cases);
    shared_path(shared, sizeof shared, "promessi_sposi/promessi_sposi.txt");
    struct buf novel = file_of(shared), joined = {0};
    struct ids ids = {0};
    assert_int_equal(0, tokenizer_encode(t, NULL, &ids, novel.bytes, novel.n, 0, NULL));
    assert_int_equal(json_integer_value(json_object_get(last, "novel_tokens")), ids.n);
    uint64_t fnv1a = 0xcbf29ce484222325u;
    for (size_t i = 0; i < ids.n; i++)
        fnv1a = (fnv1a ^ (uint32_t)ids.v[i]) * 0x100000001b3u;
    char digest[17];
    snprintf(digest, sizeof digest, "%016" PRIx64, fnv1a);
    assert_string_equal(json_string_value(json_object_get(last, "fnv1a")), digest);
    assert_int_equal(0, tokenizer_decode(t, &joined, ids.v, ids.n, 0, NULL));
    assert_int_equal(novel.n, joined.n);
    assert_memory_equal(novel.bytes, joined.bytes, novel.n);
    json_decref(last);
    ids_release(&ids);
    buf_release(&novel);
    buf_release(&joined);
    tokenizer_free(t);
}

static void the_real_qwen2_tokenizer_gives_the_ids_of_hf(void **state)
{
    (void)state;
    check_real("qwen2");
}

static void the_real_deepseek_v3_tokenizer_gives_the_ids_of_hf(void **state)
{
    (void)state;
    check_real("deepseek_v3");
}

/* ---- one small tokenizer for the rest ---- */

static struct tokenizer *qwen;

static int open_qwen(void **state)
{
    (void)state;
    char path[512];
    golden_path(path, sizeof path, "tokenizer_qwen2.json");
    qwen = tokenizer_of(path);
    return 0;
}

static int close_qwen(void **state)
{
    (void)state;
    tokenizer_free(qwen);
    return 0;
}

static struct ids encoded(const char *text, size_t n, int flags)
{
    struct ids ids = {0};
    struct err err = {0};
    if (tokenizer_encode(qwen, NULL, &ids, text, n, flags, &err))
        fail_msg("%s", err.msg);
    return ids;
}

static void ids_do_not_depend_on_what_was_encoded_before(void **state)
{
    (void)state;
    struct tokenizer_scratch *used = NULL;
    assert_int_equal(0, tokenizer_scratch_new(&used, qwen, NULL));
    struct rng r;
    rng_init(&r, 11);
    for (int i = 0; i < 3000; i++) {
        uint8_t text[2048];
        size_t n = random_text(text, &r, 1 + (int)rng_below(&r, 60), 0x110000);
        struct ids a = encoded((char *)text, n, 0), b = {0};
        assert_int_equal(0, tokenizer_encode(qwen, used, &b, (char *)text, n, 0, NULL));
        assert_int_equal(a.n, b.n);
        if (a.n)
            assert_memory_equal(a.v, b.v, a.n * sizeof *a.v);
        ids_release(&a);
        ids_release(&b);
    }
    tokenizer_scratch_free(used);
}

static void a_cache_that_overflows_changes_no_id(void **state)
{
    (void)state;
    struct tokenizer_scratch *s = NULL;
    assert_int_equal(0, tokenizer_scratch_new(&s, qwen, NULL));
    enum { N = 400000 };
    struct ids all = {0};
    size_t begin = 0;
    for (int i = 0; i < N;
         i++) { /* every word is new: the table and both pools fill and begin anew */
        char word[48];
        int n = snprintf(word, sizeof word, i % 3 ? " w%xz" : " unaparolalunga%xunaparola",
                         i * 2654435761u);
        assert_int_equal(0, tokenizer_encode(qwen, s, &all, word, (size_t)n, 0, NULL));
        if (i % 5003 == 0) {
            struct ids fresh = encoded(word, (size_t)n, 0);
            assert_int_equal(fresh.n, all.n - begin);
            assert_memory_equal(fresh.v, all.v + begin, fresh.n * sizeof *fresh.v);
            ids_release(&fresh);
        }
        begin = all.n;
    }
    ids_release(&all);
    tokenizer_scratch_free(s);
}

struct job {
    const struct buf *text;
    struct ids ids;
};

static void *encode_job(void *arg)
{
    struct job *j = arg;
    struct tokenizer_scratch *s = NULL;
    if (tokenizer_scratch_new(&s, qwen, NULL) == 0) {
        tokenizer_encode(qwen, s, &j->ids, j->text->bytes, j->text->n, 0, NULL);
        tokenizer_scratch_free(s);
    }
    return NULL;
}

static void threads_with_a_scratch_each_share_a_tokenizer(void **state)
{
    (void)state;
    char path[512];
    golden_path(path, sizeof path, "tokenizer_corpus.txt");
    struct buf text = file_of(path);
    struct job jobs[4] = {{&text, {0}}, {&text, {0}}, {&text, {0}}, {&text, {0}}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(0, pthread_create(&threads[i], NULL, encode_job, &jobs[i]));
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 4; i++) {
        assert_true(jobs[i].ids.n > 500);
        assert_int_equal(jobs[0].ids.n, jobs[i].ids.n);
        assert_memory_equal(jobs[0].ids.v, jobs[i].ids.v, jobs[0].ids.n * sizeof(int32_t));
        if (i)
            ids_release(&jobs[i].ids);
    }
    ids_release(&jobs[0].ids);
    buf_release(&text);
}

static void added_tokens_are_text_when_plain_is_asked_for(void **state)
{
    (void)state;
    struct ids found = encoded("<|bos|>", 7, 0), plain = encoded("<|bos|>", 7, TOKENIZER_PLAIN);
    assert_int_equal(1, found.n);
    assert_int_equal(tokenizer_id(qwen, "<|bos|>"), found.v[0]);
    assert_true(plain.n > 1);
    ids_release(&found);
    ids_release(&plain);
}

static void invalid_utf8_is_refused_with_its_place_and_nothing_is_appended(void **state)
{
    (void)state;
    struct ids ids = {0};
    struct err err = {0};
    int32_t one = 1;
    assert_int_equal(0, ids_append(&ids, &one, 1, NULL));
    assert_int_equal(MOE2_EFORMAT, tokenizer_encode(qwen, NULL, &ids, "abc \xff def", 9, 0, &err));
    assert_string_equal("the text is not UTF-8: byte 4 is 0xff", err.msg);
    assert_int_equal(1, ids.n);
    ids_release(&ids);
}

static void invalid_utf8_is_replaced_on_request(void **state)
{
    (void)state;
    struct ids a = encoded("abc \xff\xe2\x82 def", 11, TOKENIZER_REPLACE);
    struct ids b = encoded("abc \xef\xbf\xbd\xef\xbf\xbd def", 14, 0);
    assert_int_equal(b.n, a.n);
    assert_memory_equal(b.v, a.v, a.n * sizeof *a.v);
    ids_release(&a);
    ids_release(&b);
}

static void a_megabyte_without_a_break_is_encoded_exactly_and_soon(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    char *text = malloc(N);
    memset(text, 'a', N);
    clock_t begun = clock();
    struct ids ids = encoded(text, N, 0);
    assert_true(clock() - begun < 5 * CLOCKS_PER_SEC);
    struct buf back = {0};
    assert_int_equal(0, tokenizer_decode(qwen, &back, ids.v, ids.n, 0, NULL));
    assert_int_equal(N, back.n);
    assert_memory_equal(text, back.bytes, N);
    free(text);
    ids_release(&ids);
    buf_release(&back);
}

/* ---- decoding ---- */

static void puts_and_the_end_give_what_decode_gives(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 5);
    for (int i = 0; i < 5000; i++) {
        int32_t ids[12];
        size_t n = rng_below(&r, 12);
        struct buf whole = {0}, parts = {0};
        struct token_stream s;
        token_stream_init(&s, qwen, 0);
        for (size_t k = 0; k < n; k++)
            ids[k] = (int32_t)rng_below(&r, i % 2 ? 260 : (uint64_t)tokenizer_n_vocab(qwen));
        for (size_t k = 0; k < n; k++)
            assert_int_equal(0, token_stream_put(&s, &parts, ids[k], NULL));
        assert_int_equal(0, token_stream_end(&s, &parts, NULL));
        assert_int_equal(0, tokenizer_decode(qwen, &whole, ids, n, 0, NULL));
        assert_int_equal(whole.n, parts.n);
        if (whole.n)
            assert_memory_equal(whole.bytes, parts.bytes, whole.n);
        buf_release(&whole);
        buf_release(&parts);
    }
}

static void a_stream_never_shows_half_a_character(void **state)
{
    (void)state;
    const char *text = "x\xf0\x9f\x99\x82y\xe6\xbc\xa2\xc3\xa9";
    struct token_stream s;
    token_stream_init(&s, qwen, 0);
    struct buf out = {0};
    for (const char *p = text; *p; p++) {
        uint8_t written[4];
        char name[5] = "";
        size_t n_name = utf8_put(written, byte_to_visible((uint8_t)*p));
        memcpy(name, written, n_name);
        assert_int_equal(0, token_stream_put(&s, &out, tokenizer_id(qwen, name), NULL));
        size_t n_bad, length;
        for (size_t at = 0; at < out.n; at += length) {
            length = utf8_check((uint8_t *)out.bytes + at, out.n - at, &n_bad, NULL);
            assert_true(length > 0);
        }
    }
    assert_int_equal(0, token_stream_end(&s, &out, NULL));
    assert_string_equal(text, out.bytes);
    buf_release(&out);
}

static void special_tokens_can_be_left_out_and_raw_bytes_had(void **state)
{
    (void)state;
    int32_t bos = tokenizer_id(qwen, "<|bos|>"),
            half = tokenizer_id(qwen, "\xc3\x83"); /* Ã stands for byte 0xc3 */
    assert_true(tokenizer_is_special(qwen, bos) && !tokenizer_is_special(qwen, half));
    int32_t ids[] = {bos, half, bos};
    struct buf b = {0};
    assert_int_equal(
        0, tokenizer_decode(qwen, &b, ids, 3, TOKENIZER_SKIP_SPECIAL | TOKENIZER_RAW, NULL));
    assert_string_equal("\xc3", b.bytes);
    buf_clear(&b);
    assert_int_equal(0, tokenizer_decode(qwen, &b, ids, 3, 0, NULL));
    assert_string_equal("<|bos|>\xef\xbf\xbd<|bos|>", b.bytes);
    buf_release(&b);
}

static void an_id_without_a_token_is_refused_and_nothing_is_appended(void **state)
{
    (void)state;
    struct buf b = {0};
    struct err err = {0};
    assert_int_equal(0, buf_puts(&b, "so far", NULL));
    int32_t ids[] = {40, 100000};
    assert_int_equal(MOE2_EFORMAT, tokenizer_decode(qwen, &b, ids, 2, 0, &err));
    char wanted[64];
    snprintf(wanted, sizeof wanted, "id 100000 has no token, wanted 0 to %d",
             tokenizer_n_vocab(qwen) - 1);
    assert_string_equal(wanted, err.msg);
    assert_string_equal("so far", b.bytes);
    size_t n;
    assert_null(tokenizer_token(qwen, -1, &n));
    buf_release(&b);
}

/* ---- bytes, and what a folder holds ---- */

static void the_bytes_tokenizer_needs_no_file_and_takes_anything(void **state)
{
    (void)state;
    struct tokenizer *t = NULL;
    assert_int_equal(0, tokenizer_bytes_new(&t, NULL));
    assert_int_equal(258, tokenizer_n_vocab(t));
    char text[256];
    for (int i = 0; i < 256; i++)
        text[i] = (char)i;
    struct ids ids = {0};
    assert_int_equal(0, tokenizer_encode(t, NULL, &ids, text, 256, TOKENIZER_SPECIAL, NULL));
    assert_int_equal(257, ids.n);
    assert_int_equal(tokenizer_bos_id(t), ids.v[0]);
    for (int i = 0; i < 256; i++)
        assert_int_equal(i, ids.v[i + 1]);
    struct buf b = {0};
    assert_int_equal(
        0, tokenizer_decode(t, &b, ids.v, ids.n, TOKENIZER_SKIP_SPECIAL | TOKENIZER_RAW, NULL));
    assert_int_equal(256, b.n);
    assert_memory_equal(text, b.bytes, 256);
    buf_release(&b);
    ids_release(&ids);
    tokenizer_free(t);
}

static void a_folder_without_a_tokenizer_is_one_sentence(void **state)
{
    (void)state;
    struct tokenizer *t = NULL;
    struct err err = {0};
    assert_int_equal(MOE2_EIO, tokenizer_open(&t, TEST_DIR, &err));
    assert_string_equal(TEST_DIR " holds no tokenizer.json and no vocab.txt", err.msg);
    assert_null(t);
}

static struct tokenizer *with_config(const char *golden, const char *config)
{
    char path[512];
    golden_path(path, sizeof path, golden);
    struct buf json = file_of(path);
    struct tokenizer *t = NULL;
    struct err err = {0};
    if (tokenizer_parse(&t, json.bytes, json.n, config, strlen(config), &err))
        fail_msg("%s", err.msg);
    buf_release(&json);
    return t;
}

static void the_flags_of_the_config_count_where_the_post_processor_adds_nothing(void **state)
{
    (void)state;
    const char *config = "{\"add_bos_token\": true, \"add_eos_token\": true, \"bos_token\": "
                         "{\"content\": \"<|bos|>\"}, "
                         "\"eos_token\": \"<|eos|>\"}";
    struct tokenizer *t = with_config("tokenizer_deepseek.json", config);
    struct ids ids = {0};
    assert_int_equal(0, tokenizer_encode(t, NULL, &ids, "", 0, TOKENIZER_SPECIAL, NULL));
    assert_int_equal(2, ids.n);
    assert_int_equal(tokenizer_bos_id(t), ids.v[0]);
    assert_int_equal(tokenizer_eos_id(t), ids.v[1]);
    ids.n = 0;
    tokenizer_free(t);
    t = with_config("tokenizer_llama3.json", config); /* has a template: BOS only */
    assert_int_equal(0, tokenizer_encode(t, NULL, &ids, "", 0, TOKENIZER_SPECIAL, NULL));
    assert_int_equal(1, ids.n);
    ids_release(&ids);
    tokenizer_free(t);
}

static void bos_and_eos_are_minus_one_where_no_config_names_them(void **state)
{
    (void)state;
    assert_int_equal(-1, tokenizer_bos_id(qwen));
    assert_int_equal(-1, tokenizer_eos_id(qwen));
    struct tokenizer *t =
        with_config("tokenizer_qwen2.json", "{\"bos_token\": null, \"eos_token\": \"no such\"}");
    assert_int_equal(-1, tokenizer_bos_id(t));
    assert_int_equal(-1, tokenizer_eos_id(t));
    tokenizer_free(t);
}

static void fingerprints_tell_tokenizers_apart(void **state)
{
    (void)state;
    struct tokenizer *a = with_config("tokenizer_qwen2.json", "{}"),
                     *b = with_config("tokenizer_gpt2.json", "{}");
    assert_true(tokenizer_fingerprint(a) == tokenizer_fingerprint(qwen));
    assert_true(tokenizer_fingerprint(a) != tokenizer_fingerprint(b));
    tokenizer_free(a);
    tokenizer_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_tokenizers_of_every_kind_give_the_ids_of_hf),
        cmocka_unit_test(the_real_qwen2_tokenizer_gives_the_ids_of_hf),
        cmocka_unit_test(the_real_deepseek_v3_tokenizer_gives_the_ids_of_hf),
        cmocka_unit_test(ids_do_not_depend_on_what_was_encoded_before),
        cmocka_unit_test(a_cache_that_overflows_changes_no_id),
        cmocka_unit_test(threads_with_a_scratch_each_share_a_tokenizer),
        cmocka_unit_test(added_tokens_are_text_when_plain_is_asked_for),
        cmocka_unit_test(invalid_utf8_is_refused_with_its_place_and_nothing_is_appended),
        cmocka_unit_test(invalid_utf8_is_replaced_on_request),
        cmocka_unit_test(a_megabyte_without_a_break_is_encoded_exactly_and_soon),
        cmocka_unit_test(puts_and_the_end_give_what_decode_gives),
        cmocka_unit_test(a_stream_never_shows_half_a_character),
        cmocka_unit_test(special_tokens_can_be_left_out_and_raw_bytes_had),
        cmocka_unit_test(an_id_without_a_token_is_refused_and_nothing_is_appended),
        cmocka_unit_test(the_bytes_tokenizer_needs_no_file_and_takes_anything),
        cmocka_unit_test(a_folder_without_a_tokenizer_is_one_sentence),
        cmocka_unit_test(the_flags_of_the_config_count_where_the_post_processor_adds_nothing),
        cmocka_unit_test(bos_and_eos_are_minus_one_where_no_config_names_them),
        cmocka_unit_test(fingerprints_tell_tokenizers_apart),
    };
    return cmocka_run_group_tests(tests, open_qwen, close_qwen);
}
