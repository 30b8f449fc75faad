/* What the hand-written splitters promise, one sentence a test: above all, the pieces of the
 * regular expressions that they replace. */
#include "text_fixture.h"

#include <utf8proc.h>

#include "text/split.h"

static uint8_t *classes;

struct pieces {
    size_t end[2048]; /* of each piece in the text */
    int n;
    size_t total;
};

static int take(void *ctx, const uint8_t *piece, size_t n, struct err *err)
{
    (void)piece;
    (void)err;
    struct pieces *p = ctx;
    p->total += n;
    p->end[p->n++] = p->total;
    return 0;
}

static void by_hand(struct pieces *out, split_next *fast, const uint8_t *text, size_t n)
{
    out->n = 0;
    for (size_t at = 0; at < n;) {
        size_t next = fast(text, at, n, classes);
        assert_true(next > at && next <= n);
        out->end[out->n++] = at = next;
    }
}

/* Characters on whose classes PCRE2's older tables agree with ours: those of Unicode 9 and the ones
 * without a class in either. */
static bool agreed(const uint8_t *text, size_t n)
{
    size_t length;
    for (size_t at = 0; at < n; at += length) {
        uint32_t c = utf8_get(text + at, &length);
        bool assigned = utf8proc_category((int32_t)c) != UTF8PROC_CATEGORY_CN;
        if (assigned != !!(classes[c] & UNICODE_NFC_KNOWN) || (!assigned && classes[c]))
            return false;
    }
    return true;
}

static void same_pieces_as_pcre2(split_next *fast, const char *const *patterns, int n_patterns,
                                 uint64_t seed)
{
    struct pretokenizer p = {.n_stages = n_patterns};
    struct split_scratch scratch = {0};
    struct err err = {0};
    for (int i = 0; i < n_patterns; i++) {
        p.stages[i].behavior = SPLIT_ISOLATED;
        if (split_regex_new(&p.stages[i].regex, patterns[i], strlen(patterns[i]), false, &err))
            fail_msg("%s", err.msg);
    }
    struct rng r;
    rng_init(&r, seed);
    int n_compared = 0;
    for (int i = 0; i < 30000; i++) {
        uint8_t text[256];
        size_t n = random_text(text, &r, 1 + (int)rng_below(&r, 12), 0x110000);
        if (!agreed(text, n))
            continue;
        struct pieces a, b = {0};
        by_hand(&a, fast, text, n);
        assert_int_equal(0, pretokenize(&p, &scratch, text, n, true, classes, take, &b, &err));
        if (a.n != b.n || memcmp(a.end, b.end, (size_t)a.n * sizeof *a.end) != 0)
            fail_msg("seed %d, text %d: \"%.*s\" is cut otherwise", (int)seed, i, (int)n, text);
        n_compared++;
    }
    assert_true(n_compared > 8000);
    pretokenizer_release(&p);
    split_scratch_release(&scratch);
}

static void the_gpt2_splitter_cuts_as_its_expression(void **state)
{
    (void)state;
    same_pieces_as_pcre2(split_gpt2, (const char *[]){SPLIT_GPT2}, 1, 1);
}

static void the_qwen2_splitter_cuts_as_its_expression(void **state)
{
    (void)state;
    same_pieces_as_pcre2(split_qwen2, (const char *[]){SPLIT_QWEN2}, 1, 2);
}

static void the_llama3_splitter_cuts_as_its_expression(void **state)
{
    (void)state;
    same_pieces_as_pcre2(split_llama3, (const char *[]){SPLIT_LLAMA3}, 1, 3);
}

static void the_deepseek_splitter_cuts_as_its_three_expressions(void **state)
{
    (void)state;
    const char *const patterns[] = {SPLIT_DEEPSEEK_NUMBERS, SPLIT_DEEPSEEK_HAN,
                                    SPLIT_DEEPSEEK_REST};
    same_pieces_as_pcre2(split_deepseek, patterns, 3, 4);
}

/* "a|b|c" cut at the bars. */
static void assert_cut(split_next *fast, const char *wanted)
{
    char text[256], got[512];
    size_t n = 0, k = 0;
    for (const char *c = wanted; *c; c++)
        if (*c != '|')
            text[n++] = *c;
    struct pieces p;
    by_hand(&p, fast, (const uint8_t *)text, n);
    for (int i = 0; i < p.n; i++) {
        size_t begin = i ? p.end[i - 1] : 0;
        if (i)
            got[k++] = '|';
        memcpy(got + k, text + begin, p.end[i] - begin);
        k += p.end[i] - begin;
    }
    got[k] = 0;
    assert_string_equal(wanted, got);
}

static void known_texts_are_cut_as_their_models_cut_them(void **state)
{
    (void)state;
    assert_cut(split_gpt2, "I|'m| here|,| he|'|LL| go|  | 123| abc|\n|\n|x");
    assert_cut(split_qwen2, "I|'M| here|,| he|'LL| go|  | |1|2|3| abc|\n\n|x");
    assert_cut(split_qwen2, "(ciao|!?\n\n|  \n|   | fine|.");
    assert_cut(split_llama3, "123|456|7| a");
    assert_cut(split_deepseek, "x| |123|4|(ciao|)| (|a|\xe4\xbd\xa0\xe5\xa5\xbd|b");
    assert_cut(split_digits_each, "ab|1|2|c");
    assert_cut(split_digits_runs, "ab|12|c|3");
}

static void a_long_run_is_cut_in_linear_time(void **state)
{
    (void)state;
    enum { N = 4 << 20 };
    split_next *const all[] = {split_gpt2, split_qwen2, split_llama3, split_deepseek,
                               split_digits_each};
    static const char *const units[] = {
        "a", " ", "\n ", " \n", "1", "!", "'", "\xe3\x82\xa2\xe3\x83\xbb", "\x01", "\xcc\x81"};
    uint8_t *text = malloc(N + 8);
    for (size_t u = 0; u < COUNT_OF(units); u++) {
        size_t n = 0, n_unit = strlen(units[u]);
        for (; n + n_unit <= N; n += n_unit)
            memcpy(text + n, units[u], n_unit);
        for (size_t i = 0; i < COUNT_OF(all); i++)
            for (size_t at = 0; at < n;) {
                size_t next = all[i](text, at, n, classes);
                assert_true(next > at);
                at = next;
            }
    }
    free(text);
}

static void cut_by(const char *pattern, bool literal, enum split_behavior behavior, bool invert,
                   const char *text, const char *wanted)
{
    struct pretokenizer p = {.n_stages = 1, .stages = {{.behavior = behavior, .invert = invert}}};
    struct split_scratch scratch = {0};
    struct pieces got = {0};
    struct err err = {0};
    assert_int_equal(0,
                     split_regex_new(&p.stages[0].regex, pattern, strlen(pattern), literal, &err));
    assert_int_equal(0, pretokenize(&p, &scratch, (const uint8_t *)text, strlen(text), true,
                                    classes, take, &got, &err));
    char lengths[64] = "";
    for (int i = 0; i < got.n; i++)
        snprintf(lengths + strlen(lengths), 8, "%zu ", got.end[i] - (i ? got.end[i - 1] : 0));
    assert_string_equal(wanted, lengths);
    pretokenizer_release(&p);
    split_scratch_release(&scratch);
}

static void every_behaviour_cuts_as_hf_documents_it(void **state)
{
    (void)state;
    const char *text = "the-final--countdown"; /* the example of HF's documentation */
    cut_by("-", true, SPLIT_REMOVED, false, text, "3 5 9 ");
    cut_by("-", true, SPLIT_ISOLATED, false, text, "3 1 5 1 1 9 ");
    cut_by("-", true, SPLIT_MERGED_WITH_PREVIOUS, false, text, "4 6 1 9 ");
    cut_by("-", true, SPLIT_MERGED_WITH_NEXT, false, text, "3 6 1 10 ");
    cut_by("-", true, SPLIT_CONTIGUOUS, false, text, "3 1 5 2 9 ");
    cut_by("[a-z]+", false, SPLIT_REMOVED, true, text, "3 5 9 ");
    cut_by("(?=[A-Z])", false, SPLIT_ISOLATED, false, "unaParolaE", "3 6 1 ");
    cut_by(".", true, SPLIT_ISOLATED, false, "a.b", "1 1 1 ");
    cut_by("\\s+", false, SPLIT_ISOLATED, false, "a\xe1\xa0\x8e b",
           "4 1 1 "); /* U+180E is no white space */
    cut_by("[]\\s]+", false, SPLIT_ISOLATED, false, "a] b", "1 2 1 ");
    cut_by("[[:digit:]\\s]+", false, SPLIT_ISOLATED, false, "a1 b", "1 2 1 ");
}

static void patterns_that_are_wrong_or_foreign_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"(a", "pattern \"(a\": missing closing parenthesis"},
        {"[\\p{L}&&[^a]]",
         "pattern \"[\\p{L}&&[^a]]\" uses && in a class, which is not understood here"},
        {"\\h+", "pattern \"\\h+\" uses \\h, which is not understood here"},
        {"", "a pattern of 0 bytes, wanted 1 to 65536"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct split_regex *r = NULL;
        struct err err = {0};
        assert_int_equal(MOE2_EFORMAT,
                         split_regex_new(&r, cases[i][0], strlen(cases[i][0]), false, &err));
        assert_string_equal(cases[i][1], err.msg);
        assert_null(r);
    }
}

static void a_runaway_pattern_ends_with_an_error(void **state)
{
    (void)state;
    struct pretokenizer p = {.n_stages = 1, .stages = {{.behavior = SPLIT_ISOLATED}}};
    struct split_scratch scratch = {0};
    struct pieces got = {0};
    struct err err = {0};
    char text[64];
    memset(text, 'a', sizeof text);
    text[63] = 'b';
    assert_int_equal(0, split_regex_new(&p.stages[0].regex, "(a+a+)+[cd]", 11, false, &err));
    assert_int_equal(MOE2_ELIMIT, pretokenize(&p, &scratch, (uint8_t *)text, sizeof text, true,
                                              classes, take, &got, &err));
    assert_string_equal("splitting the text by a pattern: match limit exceeded", err.msg);
    pretokenizer_release(&p);
    split_scratch_release(&scratch);
}

static int set_up(void **state)
{
    (void)state;
    return unicode_table_new(&classes, NULL);
}

static int tear_down(void **state)
{
    (void)state;
    free(classes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_gpt2_splitter_cuts_as_its_expression),
        cmocka_unit_test(the_qwen2_splitter_cuts_as_its_expression),
        cmocka_unit_test(the_llama3_splitter_cuts_as_its_expression),
        cmocka_unit_test(the_deepseek_splitter_cuts_as_its_three_expressions),
        cmocka_unit_test(known_texts_are_cut_as_their_models_cut_them),
        cmocka_unit_test(a_long_run_is_cut_in_linear_time),
        cmocka_unit_test(every_behaviour_cuts_as_hf_documents_it),
        cmocka_unit_test(patterns_that_are_wrong_or_foreign_are_refused),
        cmocka_unit_test(a_runaway_pattern_ends_with_an_error),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
