/* Perplexity: every token once, the same sums as counting one by one, bytes, types of tokens. */
#include <math.h>

#include "eval/perplexity.h"
#include "eval/routing_stats.h"
#include "train_fixture.h"

static void every_target_is_scored_once_for_any_window_and_stride(void **state)
{
    (void)state;
    for (int64_t n = 0; n <= 40; n++)
        for (int64_t window = 1; window <= 9; window++)
            for (int64_t stride = 1; stride <= window; stride++) {
                int seen[64] = {0};
                int64_t n_windows = score_windows(n, window, stride);
                for (int64_t k = 0; k < n_windows; k++) {
                    struct score_window w = score_window_at(k, n, window, stride);
                    assert_true(w.begin >= 0 && w.n_inputs >= 1 && w.n_inputs <= window);
                    assert_true(w.begin + w.n_inputs <= n - 1);
                    assert_true(w.first_target > w.begin);
                    for (int64_t t = w.first_target; t <= w.begin + w.n_inputs; t++)
                        seen[t]++;
                }
                for (int64_t t = 1; t < n; t++)
                    assert_int_equal(seen[t], 1);
            }
}

/* −ln p of each token but the first, each from a forward of its own over the context that its
 * window gives it. */
static double count_one_by_one(struct decoder *dec, const int32_t *ids, int64_t n, int64_t window,
                               int64_t stride)
{
    double nll = 0;
    float logits[FIXTURE_VOCAB];
    for (int64_t t = 1; t < n; t++) {
        int64_t k = t <= window ? 0 : (t - window + stride - 1) / stride, begin = k * stride;
        int32_t offset[2] = {0, (int32_t)(t - begin)};
        struct batch b = {.ids = ids + begin, .offset = offset, .B = 1, .T = t - begin};
        assert_int_equal(0, decoder_forward(dec, &b, DECODER_EVAL, NULL));
        assert_int_equal(0, decoder_logits(dec, t - begin - 1, 1, logits, NULL));
        double sum = 0;
        for (int v = 0; v < FIXTURE_VOCAB; v++)
            sum += exp(logits[v]);
        nll += log(sum) - logits[ids[t]];
    }
    return nll;
}

static void the_sum_is_that_of_counting_one_by_one(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, &(struct fixture_setting){.steps = 30, .batch = 8, .micro_batch = 8});
    for (int i = 0; i < 30; i++)
        assert_int_equal(0, trainer_step(&f.trainer, NULL));
    static const int64_t settings[][2] = {{7, 7}, {7, 3}, {7, 1}, {13, 5}, {64, 64}, {64, 63}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        struct perplexity p;
        struct perplexity_options o = {
            .window = settings[i][0], .stride = settings[i][1], .prefix = -1, .batch_tokens = 30};
        struct tokens tokens = {.ids = f.ids, .n = 50};
        assert_int_equal(0, perplexity_run(&p, f.dec, &tokens, &o, NULL));
        double want = count_one_by_one(f.dec, f.ids, 50, o.window, o.stride);
        assert_int_equal(p.tokens, 49);
        assert_true(fabs(p.nll - want) < 1e-4 * want);
        o.prefix = 1; /* then the first is scored too */
        int32_t with[51] = {1};
        memcpy(with + 1, f.ids, 50 * sizeof *with);
        assert_int_equal(0, perplexity_run(&p, f.dec, &tokens, &o, NULL));
        want = count_one_by_one(f.dec, with, 51, o.window, o.stride);
        assert_int_equal(p.tokens, 50);
        assert_true(fabs(p.nll - want) < 1e-4 * want);
    }
    fixture_close(&f);
}

static void batches_of_windows_change_nothing(void **state)
{
    (void)state;
    struct fixture f;
    struct perplexity one, many;
    fixture_open(&f, &(struct fixture_setting){.steps = 5, .batch = 2, .micro_batch = 2});
    struct tokens tokens = {.ids = f.ids, .n = 301};
    struct perplexity_options o = {.window = 10, .stride = 10, .prefix = -1, .batch_tokens = 1};
    assert_int_equal(0, perplexity_run(&one, f.dec, &tokens, &o, NULL));
    o.batch_tokens = 123;
    assert_int_equal(0, perplexity_run(&many, f.dec, &tokens, &o, NULL));
    assert_int_equal(one.tokens, 300);
    assert_int_equal(many.tokens, 300);
    assert_true(fabs(one.nll - many.nll) < 1e-4 * one.nll);
    fixture_close(&f);
}

static void bytes_are_those_of_the_scored_tokens(void **state)
{
    (void)state;
    struct fixture f;
    struct perplexity p;
    int32_t bytes[FIXTURE_VOCAB];
    int64_t want = 0;
    fixture_open(&f, &(struct fixture_setting){.steps = 5, .batch = 2, .micro_batch = 2});
    for (int32_t i = 0; i < FIXTURE_VOCAB; i++)
        bytes[i] = i % 5;
    for (int64_t i = 1; i < 77; i++)
        want += f.ids[i] % 5;
    struct tokens tokens = {.ids = f.ids, .n = 500};
    struct perplexity_options o = {
        .window = 9, .stride = 4, .prefix = -1, .max_tokens = 77, .token_bytes = bytes};
    assert_int_equal(0, perplexity_run(&p, f.dec, &tokens, &o, NULL));
    assert_int_equal(p.tokens, 76);
    assert_int_equal(p.bytes, want);
    fixture_close(&f);
}

static void an_id_beyond_the_vocabulary_and_an_empty_text_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct perplexity p;
    struct err err = {0};
    fixture_open(&f, &(struct fixture_setting){.steps = 5, .batch = 2, .micro_batch = 2});
    int32_t ids[4] = {1, 2, 64, 3};
    struct perplexity_options o = {.window = 8, .stride = 8, .prefix = 0};
    struct tokens tokens = {.ids = ids, .n = 4};
    assert_int_equal(MOE2_ECONFIG, perplexity_run(&p, f.dec, &tokens, &o, &err));
    assert_string_equal(err.msg,
                        "token 2 of the text is 64, which is not in the model's vocabulary of 64");
    err = (struct err){0};
    tokens.n = 1;
    o.prefix = -1;
    assert_int_equal(MOE2_ECONFIG, perplexity_run(&p, f.dec, &tokens, &o, &err));
    assert_string_equal(err.msg,
                        "the text has 1 tokens and the model no BOS or EOS to put in front, so "
                        "that none can be scored");
    fixture_close(&f);
}

static void a_nan_in_a_weight_is_named_with_its_tensor(void **state)
{
    (void)state;
    struct fixture f;
    struct perplexity p;
    struct err err = {0};
    fixture_open(&f, &(struct fixture_setting){.steps = 5, .batch = 2, .micro_batch = 2});
    int64_t n = 0;
    struct param *params = decoder_params(f.dec, &n);
    for (int64_t i = 0; i < n; i++)
        if (strcmp(params[i].name, "model.norm.weight") == 0)
            params[i].data[0] = NAN;
    struct perplexity_options o = {.window = 8, .stride = 8, .prefix = 0};
    struct tokens tokens = {.ids = f.ids, .n = 40};
    assert_int_equal(MOE2_ENUMERIC, perplexity_run(&p, f.dec, &tokens, &o, &err));
    assert_non_null(strstr(err.msg, "model.norm.weight"));
    fixture_close(&f);
}

static void routing_is_counted_once_a_token(void **state)
{
    (void)state;
    struct fixture f;
    struct routing_stats *s = NULL;
    struct perplexity p;
    struct balance_result r;
    fixture_open(&f, &(struct fixture_setting){.steps = 5, .batch = 2, .micro_batch = 2});
    assert_int_equal(0, routing_stats_new(&s, f.dec, NULL, 2, NULL));
    assert_int_equal(routing_stats_n_layers(s), 2);
    struct perplexity_options o = {
        .window = 10, .stride = 10, .prefix = -1, .seen = routing_stats_seen, .seen_ctx = s};
    for (int domain = 0; domain < 2; domain++) {
        routing_stats_domain(s, domain);
        struct tokens tokens = {.ids = f.ids + 400 * domain, .n = 301};
        assert_int_equal(0, perplexity_run(&p, f.dec, &tokens, &o, NULL));
    }
    struct buf text = {0};
    struct json_writer w;
    struct balance_result results[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(0, routing_stats_result(&results[i], s, i, NULL));
        r = results[i];
        assert_true(r.max_vio_global >= 0 && r.max_vio_global <= 1); /* top 2 of 4 */
        assert_true(r.load_entropy > 0 && r.load_entropy <= 1);
        assert_true(r.token_expert_mi >= 0 && r.domain_expert_mi >= 0);
        assert_true(isnan(r.matthew_load));
    }
    json_writer_init(&w, &text, 0);
    jw_object(&w, NULL);
    routing_stats_print(&w, NULL, s, results);
    jw_end(&w);
    assert_int_equal(0, json_writer_end(&w, NULL));
    json_t *root = NULL;
    assert_int_equal(0, json_read_bytes(&root, "text", text.bytes, text.n, NULL));
    assert_int_equal(json_integer_value(json_object_get(root, "tokens")), 600);
    json_t *layer = json_array_get(json_object_get(root, "layers"), 1);
    assert_int_equal(json_integer_value(json_object_get(layer, "layer")), 2);
    double sum = 0;
    for (size_t e = 0; e < 4; e++)
        sum += json_number_value(json_array_get(json_object_get(layer, "activation_frequency"), e));
    assert_true(fabs(sum - 2) < 1e-9); /* two experts a token */
    for (int i = 0; i < BALANCE_N_FIELDS; i++)
        assert_non_null(json_object_get(root, balance_fields[i].key));
    json_decref(root);
    buf_release(&text);
    routing_stats_free(s);
    fixture_close(&f);
}

static enum token_type type_of(const char *text, bool inside)
{
    return token_type(text, strlen(text), inside);
}

static void tokens_have_the_type_of_their_bytes(void **state)
{
    (void)state;
    assert_int_equal(type_of(" casa", false), TOKEN_WORD_START);
    assert_int_equal(type_of("Casa", false), TOKEN_WORD_START);
    assert_int_equal(type_of("mente", true), TOKEN_WORD_INSIDE);
    assert_int_equal(type_of("\xc3\xa8", true), TOKEN_WORD_INSIDE);
    assert_int_equal(type_of(" \xc3\xa8", true), TOKEN_WORD_START);
    assert_int_equal(type_of(" 1840", true), TOKEN_NUMBER);
    assert_int_equal(type_of(",", true), TOKEN_PUNCTUATION);
    assert_int_equal(type_of(" \xc2\xab", false), TOKEN_PUNCTUATION);
    assert_int_equal(type_of("\xe2\x80\x99", true), TOKEN_PUNCTUATION);
    assert_int_equal(type_of("'anima", true), TOKEN_WORD_START);
    assert_int_equal(type_of("\n\n", false), TOKEN_SPACE);
    assert_int_equal(type_of(" ", true), TOKEN_SPACE);
    assert_int_equal(type_of("\x01", false), TOKEN_OTHER);
    assert_int_equal(type_of("", false), TOKEN_OTHER);
    assert_true(token_ends_in_letter("Il", 2));
    assert_true(token_ends_in_letter("\xc3\xa8", 2));
    assert_false(token_ends_in_letter("Il ", 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_target_is_scored_once_for_any_window_and_stride),
        cmocka_unit_test(the_sum_is_that_of_counting_one_by_one),
        cmocka_unit_test(batches_of_windows_change_nothing),
        cmocka_unit_test(bytes_are_those_of_the_scored_tokens),
        cmocka_unit_test(an_id_beyond_the_vocabulary_and_an_empty_text_are_refused),
        cmocka_unit_test(a_nan_in_a_weight_is_named_with_its_tensor),
        cmocka_unit_test(routing_is_counted_once_a_token),
        cmocka_unit_test(tokens_have_the_type_of_their_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
