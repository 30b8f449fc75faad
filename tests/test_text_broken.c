/* Broken tokenizer files and the one sentence that each must give. */
#include "text_fixture.h"

#include "text/unigram.h"

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define MODEL                                                                                      \
    "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"
#define PRE "\"pre_tokenizer\":" BYTE_LEVEL
#define ADDED(id, content) "\"added_tokens\":[{\"id\":" #id ",\"content\":\"" content "\"}]"

struct broken {
    const char *json, *message;
};

static const struct broken files[] = {
    {"", "tokenizer.json, line 1: '[' or '{' expected near end of file"},
    {"{\"model\":\n{\"type\":\"BPE\"", "tokenizer.json, line 2: '}' expected near end of file"},
    {"[]", "tokenizer.json is no JSON object"},
    {"{\"a\":\"\xff\"}", "tokenizer.json, line 1: unable to decode byte 0xff near '\"'"},
    {"{" PRE "}", "model is missing"},
    {"{" PRE ",\"model\":{\"type\":\"Other\",\"vocab\":[]}}",
     "model is Other, wanted BPE, WordPiece or Unigram"},
    {"{" PRE ",\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}",
     "model.vocab is missing or empty"},
    {"{" PRE ",\"model\":{\"vocab\":[1],\"merges\":[]}}", "model.vocab is missing or empty"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0}}}", "model.merges is missing or no list"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":\"0\"},\"merges\":[]}}",
     "the id of \"a\" is not a whole number"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}",
     "the id of \"a\" is -1, wanted 0 to 1048575"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":4000000000},\"merges\":[]}}",
     "the id of \"a\" is 4000000000, wanted 0 to 1048575"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}",
     "\"a\" and \"b\" have the same id, 0"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}",
     "merge 0 is not \"a b\" or [\"a\", \"b\"]"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a a\"]}}",
     "merge 0 is not \"a b\" or [\"a\", \"b\"]"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\",1]]}}",
     "merge 0 is not \"a b\" or [\"a\", \"b\"]"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\",\"c\"]]}}",
     "merge 0: \"c\" is not in the vocabulary"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b\"]}}",
     "merge 0: \"ab\" is not in the vocabulary"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"dropout\":0.1}}",
     "model.dropout is 0.1, wanted none"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"end_of_word_suffix\":\"</w>\"}}",
     "model.end_of_word_suffix is \"</w>\", wanted none"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"byte_fallback\":true}}",
     "model.byte_fallback is true and the vocabulary lacks bytes of its own"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"byte_fallback\":3}}",
     "model: byte_fallback is neither true nor false"},
    {"{" PRE ",\"model\":{\"vocab\":{\"a\":0},\"merges\":[],\"unk_token\":\"<unk>\"}}",
     "model.unk_token \"<unk>\" is not in the vocabulary"},
    {"{" MODEL "}", "pre_tokenizer has no ByteLevel: only byte-level BPE and BPE with "
                    "byte_fallback are understood"},
    {"{\"pre_tokenizer\":{\"type\":\"Metaspace\"}," MODEL "}",
     "pre_tokenizer: Metaspace has replacement \"\", wanted one character"},
    {"{\"pre_tokenizer\":{}," MODEL "}",
     "pre_tokenizer is without a type, wanted ByteLevel, Metaspace, Split, Digits, "
     "BertPreTokenizer, WhitespaceSplit or a Sequence of them"},
    {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" BYTE_LEVEL
     ",{\"type\":\"Digits\"}]}," MODEL "}",
     "pre_tokenizer: Digits comes after ByteLevel, which must be last"},
    {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
     "{\"Regex\":\"(a\"},"
     "\"behavior\":\"Isolated\"}," BYTE_LEVEL "]}," MODEL "}",
     "pre_tokenizer: pattern \"(a\": missing closing parenthesis"},
    {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
     "{\"Regex\":\"a\"},"
     "\"behavior\":\"Cut\"}," BYTE_LEVEL "]}," MODEL "}",
     "pre_tokenizer: Split has behavior \"Cut\", wanted Isolated, Removed, MergedWithPrevious, "
     "MergedWithNext or "
     "Contiguous"},
    {"{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
     "\"behavior\":\"Isolated\"}," BYTE_LEVEL "]}," MODEL "}",
     "pre_tokenizer: Split has no pattern, wanted {\"Regex\": …} or {\"String\": …}"},
    {"{\"normalizer\":{\"type\":\"Upper\"}," PRE "," MODEL "}",
     "normalizer is Upper, wanted none, Precompiled, Replace, Strip, Prepend, NFC, NFKC, "
     "BertNormalizer, "
     "Lowercase or a Sequence of them"},
    {"{\"normalizer\":{\"type\":\"Strip\"},\"pre_tokenizer\":{\"type\":\"Metaspace\","
     "\"replacement\":\"_\",\"prepend_scheme\":\"first\"},\"model\":{\"type\":\"Unigram\"}}",
     "pre_tokenizer: Metaspace has prepend_scheme \"first\" behind normalizer Strip, wanted always "
     "or "
     "never there"},
    {"{\"decoder\":{\"type\":\"CTC\"}," PRE "," MODEL "}",
     "decoder is CTC, wanted none, ByteLevel, WordPiece or Metaspace"},
    {"{\"added_tokens\":{}," PRE "," MODEL "}", "added_tokens is no list"},
    {"{\"added_tokens\":[{\"id\":3}]," PRE "," MODEL "}", "added_tokens[0] has no content"},
    {"{\"added_tokens\":[{\"content\":\"<x>\"}]," PRE "," MODEL "}",
     "the id of \"<x>\" is not a whole number"},
    {"{" ADDED(7, "<x>") "," PRE "," MODEL "}", "added token \"<x>\" has id 7, but its place is 3"},
    {"{" ADDED(1, "a") "," PRE "," MODEL "}", "added token \"a\" has id 1, but its place is 0"},
    {"{\"added_tokens\":[{\"id\":3,\"content\":\"x\"},{\"id\":4,\"content\":\"x\"}]," PRE "," MODEL
     "}",
     "added token \"x\" stands there twice"},
    {"{\"added_tokens\":[{\"id\":3,\"content\":\"x\",\"lstrip\":1}]," PRE "," MODEL "}",
     "added token \"x\": lstrip is neither true nor false"},
    {"{\"post_processor\":{\"type\":\"Other\"}," PRE "," MODEL "}",
     "post_processor is Other, wanted ByteLevel, TemplateProcessing, RobertaProcessing, "
     "BertProcessing or a Sequence of "
     "them"},
    {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}," PRE "," MODEL "}",
     "post_processor: the template has the text 0 times, wanted once"},
    {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\"}"
     "}]}," PRE "," MODEL "}",
     "post_processor: single[0] is neither Sequence A nor a SpecialToken"},
    {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
     "\"<s>\"}},"
     "{\"Sequence\":{\"id\":\"A\"}}]}," PRE "," MODEL "}",
     "post_processor: special token \"<s>\" has no ids"},
    {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
     "\"<s>\"}},"
     "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"<s>\":{\"ids\":[9]}}}," PRE "," MODEL
     "}",
     "post_processor adds id 9, which has no token"},
    {"{\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"a\"]}," PRE "," MODEL "}",
     "post_processor: cls or sep is not [token, id]"},
};

static void every_broken_file_gives_its_sentence(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        struct tokenizer *t = NULL;
        struct err err = {0};
        int rc = tokenizer_parse(&t, files[i].json, strlen(files[i].json), NULL, 0, &err);
        if (rc == 0 || strcmp(err.msg, files[i].message) != 0)
            fail_msg("%s\n  gave:   %s\n  wanted: %s", files[i].json, err.msg, files[i].message);
        assert_null(t);
    }
}

static void an_added_token_of_five_thousand_letters_is_refused(void **state)
{
    (void)state;
    char letters[5001], json[6000];
    memset(letters, 'x', 5000);
    letters[5000] = 0;
    snprintf(json, sizeof json,
             "{\"added_tokens\":[{\"id\":3,\"content\":\"%s\"}]," PRE "," MODEL "}", letters);
    struct tokenizer *t = NULL;
    struct err err = {0};
    assert_int_equal(MOE2_ELIMIT, tokenizer_parse(&t, json, strlen(json), NULL, 0, &err));
    assert_string_equal("added token \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\" has 5000 bytes, "
                        "wanted at most 4096",
                        err.msg);
    assert_null(t);
}

static void the_smallest_file_that_is_whole_is_read(void **state)
{
    (void)state;
    static const char json[] = "{" PRE "," MODEL "}";
    struct tokenizer *t = NULL;
    struct ids ids = {0};
    assert_int_equal(0, tokenizer_parse(&t, json, strlen(json), NULL, 0, NULL));
    assert_int_equal(0, tokenizer_encode(t, NULL, &ids, "abcab", 5, 0,
                                         NULL)); /* c is no token and vanishes, as in HF */
    assert_int_equal(2, ids.n);
    assert_int_equal(2, ids.v[0]);
    assert_int_equal(2, ids.v[1]);
    ids_release(&ids);
    tokenizer_free(t);
}

/* A table that replaces "a" by what stands at a place of "è": 28 characters of base64. */
#define UNIGRAM(map)                                                                               \
    "{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"" map                    \
    "\"},\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\"},"                        \
    "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,"                                                \
    "\"vocab\":[[\"<unk>\",0],[\"_\",-1],[\"b\",-2],[\"\xc3\xa8\",-3]]}}"

static void a_replacement_from_within_a_character_is_none(void **state)
{
    (void)state;
    static const char *const maps[] = {UNIGRAM("DAAAAACAAQBhDQAAAAAAgMOoAA=="),
                                       UNIGRAM("DAAAAACAAQBhDQAAAQAAgMOoAA==")};
    static const int32_t wanted[2][3] = {{1, 3, 2}, {1, 2}};
    for (size_t i = 0; i < 2; i++) {
        struct tokenizer *t = NULL;
        struct ids ids = {0};
        assert_int_equal(0, tokenizer_parse(&t, maps[i], strlen(maps[i]), NULL, 0, NULL));
        assert_int_equal(0, tokenizer_encode(t, NULL, &ids, "ab", 2, 0, NULL));
        assert_int_equal(3 - i, ids.n);
        assert_memory_equal(wanted[i], ids.v, ids.n * sizeof *ids.v);
        ids_release(&ids);
        tokenizer_free(t);
    }
}

static void a_piece_that_ends_within_a_character_is_cut_to_its_end(void **state)
{
    (void)state;
    struct vocab vocab = {0};
    struct unigram u;
    struct unigram_scratch s = {0};
    double *scores = malloc(2 * sizeof *scores);
    int32_t ids[3];
    size_t n = 0;
    assert_non_null(scores);
    scores[0] = 0, scores[1] = -1;
    assert_int_equal(0, vocab_init(&vocab, 2, 16, NULL));
    assert_int_equal(0, vocab_add(&vocab, 0, "<unk>", 5, 0, NULL));
    assert_int_equal(0, vocab_add(&vocab, 1, "a", 1, 0, NULL));
    assert_int_equal(0, unigram_init(&u, &vocab, scores, 2, 0, false, NULL));
    assert_int_equal(0, unigram_encode(ids, &n, &u, &s, (const uint8_t *)"a\xf0\x9f", 3, NULL));
    assert_int_equal(2, n);
    assert_int_equal(1, ids[0]);
    assert_int_equal(0, ids[1]);
    unigram_scratch_release(&s);
    unigram_release(&u);
    vocab_release(&vocab);
}

static void a_broken_config_gives_its_sentence(void **state)
{
    (void)state;
    static const char json[] = "{" PRE "," MODEL "}";
    static const struct broken configs[] = {
        {"{", "tokenizer_config.json, line 1: string or '}' expected near end of file"},
        {"3", "tokenizer_config.json, line 1: '[' or '{' expected near '3'"},
        {"{\"add_bos_token\": \"yes\"}",
         "tokenizer_config.json: add_bos_token is neither true nor false"},
        {"{\"add_eos_token\": true}", "tokenizer_config.json: add_eos_token is true, but eos_token "
                                      "is no token of the vocabulary"},
    };
    for (size_t i = 0; i < COUNT_OF(configs); i++) {
        struct tokenizer *t = NULL;
        struct err err = {0};
        assert_int_equal(MOE2_EFORMAT, tokenizer_parse(&t, json, strlen(json), configs[i].json,
                                                       strlen(configs[i].json), &err));
        assert_string_equal(configs[i].message, err.msg);
        assert_null(t);
    }
}

static void every_truncation_of_a_real_file_is_refused(void **state)
{
    (void)state;
    char path[512];
    golden_path(path, sizeof path, "tokenizer_odd.json");
    struct buf b = file_of(path);
    for (size_t n = 0; n + 1 < b.n;
         n += n < 3000 ? 7 : 101) { /* the last byte is the closing brace */
        struct tokenizer *t = NULL;
        struct err err = {0};
        assert_int_equal(MOE2_EFORMAT, tokenizer_parse(&t, b.bytes, n, NULL, 0, &err));
        assert_non_null(strstr(err.msg, "tokenizer.json, line "));
    }
    buf_release(&b);
}

/* Any byte of the file may be another: it is refused or read, and what was read encodes. */
static void a_file_with_a_changed_byte_never_does_harm(void **state)
{
    (void)state;
    char path[512];
    golden_path(path, sizeof path, "tokenizer_odd.json");
    struct buf b = file_of(path);
    struct rng r;
    rng_init(&r, 3);
    int n_read = 0;
    for (int i = 0; i < 1500; i++) {
        size_t at = rng_below(&r, i % 3 ? 3000 : b.n);
        char old = b.bytes[at];
        b.bytes[at] = (char)(32 + rng_below(&r, 95));
        struct tokenizer *t = NULL;
        struct err err = {0};
        if (tokenizer_parse(&t, b.bytes, b.n, NULL, 0, &err) == 0) {
            struct ids ids = {0};
            const char *text = "[L] parola  [R] Una frase, 123 e poi.";
            assert_int_equal(
                0, tokenizer_encode(t, NULL, &ids, text, strlen(text), TOKENIZER_SPECIAL, &err));
            ids_release(&ids);
            tokenizer_free(t);
            n_read++;
        } else {
            assert_true(strlen(err.msg) > 10);
        }
        b.bytes[at] = old;
    }
    assert_true(n_read > 100);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_broken_file_gives_its_sentence),
        cmocka_unit_test(an_added_token_of_five_thousand_letters_is_refused),
        cmocka_unit_test(the_smallest_file_that_is_whole_is_read),
        cmocka_unit_test(a_replacement_from_within_a_character_is_none),
        cmocka_unit_test(a_piece_that_ends_within_a_character_is_cut_to_its_end),
        cmocka_unit_test(a_broken_config_gives_its_sentence),
        cmocka_unit_test(every_truncation_of_a_real_file_is_refused),
        cmocka_unit_test(a_file_with_a_changed_byte_never_does_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
