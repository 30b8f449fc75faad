/* What BPE of one piece and its training promise, one sentence a test; the plainest possible
 * implementations are the oracles. */
#include "text_fixture.h"

#include <jansson.h>

#include "text/bpe.h"
#include "text/bpe_train.h"

/* ---- encoding ---- */

/* A random list of merges over a small alphabet, of which every result is a token. */
struct toy {
    struct vocab vocab;
    struct bpe bpe;
    struct bpe_merge merges[64];
    int32_t n_merges;
};

static void toy_init(struct toy *t, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed);
    memset(t, 0, sizeof *t);
    assert_int_equal(0, vocab_init(&t->vocab, 256 + 64, 1 << 16, NULL));
    char written[64][128];
    int32_t n = 0, ids[68];
    for (int byte = 0; byte < 256; byte++) {
        char text[4];
        size_t length = utf8_put((uint8_t *)text, byte_to_visible((uint8_t)byte));
        assert_int_equal(0, vocab_add(&t->vocab, byte, text, length, 0, NULL));
    }
    for (int i = 0; i < 4; i++)
        ids[n++] = 'a' + i;
    for (int tries = 0; tries < 200 && t->n_merges < 40; tries++) {
        int32_t left = ids[rng_below(&r, (uint64_t)n)], right = ids[rng_below(&r, (uint64_t)n)];
        struct span a = t->vocab.written[left], b = t->vocab.written[right];
        if (a.n + b.n > 40)
            continue;
        char *name = written[t->n_merges];
        memcpy(name, a.p, a.n);
        memcpy(name + a.n, b.p, b.n);
        bool known = vocab_find(&t->vocab, name, a.n + b.n) >= 0;
        for (int k = 0; k < t->n_merges; k++)
            known |= t->merges[k].left == left && t->merges[k].right == right;
        if (known)
            continue;
        int32_t id = 256 + t->n_merges;
        assert_int_equal(0, vocab_add(&t->vocab, id, name, a.n + b.n, 0, NULL));
        t->merges[t->n_merges++] = (struct bpe_merge){left, right, id};
        ids[n++] = id;
    }
    assert_int_equal(0, bpe_init(&t->bpe, &t->vocab, t->merges, t->n_merges, false, NULL));
}

static void toy_release(struct toy *t)
{
    bpe_release(&t->bpe);
    vocab_release(&t->vocab);
}

/* The rule as it is written: the lowest rank that stands anywhere, at its leftmost place, again and
 * again. */
static size_t plain_bpe(int32_t *ids, const struct toy *t, const uint8_t *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = text[i];
    for (int32_t rank = 0; rank < t->n_merges;) {
        size_t at = 0;
        while (at + 1 < n &&
               !(ids[at] == t->merges[rank].left && ids[at + 1] == t->merges[rank].right))
            at++;
        if (at + 1 >= n) {
            rank++;
            continue;
        }
        ids[at] = t->merges[rank].merged;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
        rank = 0;
    }
    return n;
}

static void short_and_long_pieces_follow_the_rule_as_it_is_written(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 1);
    struct bpe_scratch scratch = {0};
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct toy t;
        toy_init(&t, seed);
        for (int i = 0; i < 120; i++) {
            uint8_t text[400];
            int32_t got[400], wanted[400];
            size_t n = 1 + rng_below(&r, i % 4 ? BPE_SHORT : 400), n_got;
            for (size_t k = 0; k < n; k++)
                text[k] = (uint8_t)('a' + rng_below(&r, i % 5 ? 4 : 1));
            assert_int_equal(0, bpe_encode(got, &n_got, &t.bpe, &scratch, text, n, NULL));
            assert_int_equal(plain_bpe(wanted, &t, text, n), n_got);
            assert_memory_equal(wanted, got, n_got * sizeof *got);
        }
        toy_release(&t);
    }
    bpe_scratch_release(&scratch);
}

/* ---- training ---- */

struct source {
    const char *text;
    size_t n, step, at;
};

static int next_part(void *ctx, const char **text, size_t *n, struct err *err)
{
    (void)err;
    struct source *s = ctx;
    if (s->at == s->n)
        return 0;
    *text = s->text + s->at;
    *n = s->step && s->at + s->step < s->n ? s->step : s->n - s->at;
    s->at += *n;
    return 1;
}

static const char *const specials[] = {"<|bos|>", "<|eos|>"};

static struct bpe_train_config config_of(int32_t vocab_size, const char *pre_tokenizer,
                                         int n_threads)
{
    return (struct bpe_train_config){.vocab_size = vocab_size,
                                     .min_frequency = 2,
                                     .pre_tokenizer = pre_tokenizer,
                                     .specials = specials,
                                     .n_specials = 2,
                                     .bos = specials[0],
                                     .eos = specials[1],
                                     .n_threads = n_threads};
}

static struct buf trained(const char *text, size_t n, const struct bpe_train_config *config,
                          struct bpe_train_stats *stats)
{
    struct buf json = {0}, config_json = {0};
    struct source source = {text, n, 0, 0};
    struct err err = {0};
    if (bpe_train(&json, &config_json, stats, next_part, &source, config, &err))
        fail_msg("%s", err.msg);
    buf_release(&config_json);
    return json;
}

static struct buf golden(const char *name)
{
    char path[512];
    golden_path(path, sizeof path, name);
    return file_of(path);
}

static void training_gives_the_merges_of_hf(void **state)
{
    (void)state;
    static const char *const rows[] = {"gpt2", "qwen2", "deepseek"};
    struct buf corpus = golden("tokenizer_corpus.txt");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char name[64];
        snprintf(name, sizeof name, "tokenizer_%s.json", rows[i]);
        struct bpe_train_config config = config_of(600, rows[i], 1);
        struct buf ours = trained(corpus.bytes, corpus.n, &config, NULL), theirs = golden(name);
        json_t *a = json_loadb(ours.bytes, ours.n, 0, NULL),
               *b = json_loadb(theirs.bytes, theirs.n, 0, NULL);
        const json_t *model = json_object_get(a, "model"), *wanted = json_object_get(b, "model");
        assert_true(json_array_size(json_object_get(wanted, "merges")) > 100);
        assert_true(
            json_equal(json_object_get(wanted, "merges"), json_object_get(model, "merges")));
        assert_true(json_equal(json_object_get(wanted, "vocab"), json_object_get(model, "vocab")));
        assert_true(
            json_equal(json_object_get(b, "added_tokens"), json_object_get(a, "added_tokens")));
        json_decref(a);
        json_decref(b);
        buf_release(&ours);
        buf_release(&theirs);
    }
    buf_release(&corpus);
}

static void what_was_trained_opens_and_gives_the_text_back(void **state)
{
    (void)state;
    struct buf corpus = golden("tokenizer_corpus.txt"), json = {0}, config_json = {0}, back = {0};
    struct source source = {corpus.bytes, corpus.n, 0, 0};
    struct bpe_train_config config = config_of(500, "llama3", 2);
    struct bpe_train_stats stats;
    assert_int_equal(0, bpe_train(&json, &config_json, &stats, next_part, &source, &config, NULL));
    struct tokenizer *t = NULL;
    assert_int_equal(
        0, tokenizer_parse(&t, json.bytes, json.n, config_json.bytes, config_json.n, NULL));
    assert_int_equal(stats.n_tokens, tokenizer_n_vocab(t));
    assert_int_equal(0, tokenizer_bos_id(t));
    assert_int_equal(1, tokenizer_eos_id(t));
    struct ids ids = {0};
    assert_int_equal(
        0, tokenizer_encode(t, NULL, &ids, corpus.bytes, corpus.n, TOKENIZER_SPECIAL, NULL));
    assert_int_equal(0, ids.v[0]);
    assert_true(ids.n < corpus.n * 3 / 4);
    assert_int_equal(0, tokenizer_decode(t, &back, ids.v, ids.n, TOKENIZER_SKIP_SPECIAL, NULL));
    assert_int_equal(corpus.n, back.n);
    assert_memory_equal(corpus.bytes, back.bytes, back.n);
    ids_release(&ids);
    tokenizer_free(t);
    buf_release(&corpus);
    buf_release(&json);
    buf_release(&config_json);
    buf_release(&back);
}

/* Many different words, so that the text makes several tasks. */
static struct buf long_text(void)
{
    struct buf b = {0};
    struct rng r;
    rng_init(&r, 9);
    while (b.n < 1 << 20) {
        char word[16];
        int n = 1 + (int)rng_below(&r, 9);
        for (int i = 0; i < n; i++)
            word[i] = (char)('a' + rng_below(&r, 6) * rng_below(&r, 4));
        buf_append(&b, word, (size_t)n, NULL);
        buf_puts(&b, rng_below(&r, 9) ? " " : ",\n", NULL);
    }
    return b;
}

static void the_same_bytes_come_out_whatever_the_threads(void **state)
{
    (void)state;
    struct buf text = long_text();
    struct bpe_train_config one = config_of(900, "qwen2", 1), three = config_of(900, "qwen2", 3);
    struct bpe_train_stats stats;
    struct buf a = trained(text.bytes, text.n, &one, &stats),
               b = trained(text.bytes, text.n, &three, NULL);
    assert_int_equal(text.n, stats.n_bytes);
    assert_int_equal(900, stats.n_tokens);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.bytes, b.bytes, a.n);
    buf_release(&text);
    buf_release(&a);
    buf_release(&b);
}

enum { SPACE_ID = 500 }; /* the alphabet has the space behind the letters */

/* Counts pairs anew for every merge, over words cut at spaces; ties to the smaller ids. Words are
 * of the letters a to d. */
static int plain_training(struct bpe_merge *merges, int max, const char *text)
{
    static int32_t words[512][64];
    size_t length[512], n_words = 0, n = 0;
    for (const char *p = text;; p++) {
        if (*p && (*p != ' ' || n == 0)) {
            words[n_words][n++] = *p;
            continue;
        }
        length[n_words++] = n;
        n = 0;
        if (!*p)
            break;
        words[n_words][n++] = SPACE_ID;
    }
    for (int m = 0; m < max; m++) {
        int64_t best = 1;
        struct bpe_merge top = {0, 0, 0};
        for (size_t w = 0; w < n_words; w++)
            for (size_t i = 0; i + 1 < length[w]; i++) {
                int64_t count = 0;
                int32_t a = words[w][i], b = words[w][i + 1];
                for (size_t v = 0; v < n_words; v++)
                    for (size_t k = 0; k + 1 < length[v]; k++)
                        count += words[v][k] == a && words[v][k + 1] == b;
                bool smaller = a < top.left || (a == top.left && b < top.right);
                if (count > best || (count == best && best > 1 && smaller)) {
                    best = count;
                    top = (struct bpe_merge){a, b, 1000 + m};
                }
            }
        if (best < 2)
            return m;
        merges[m] = top;
        for (size_t w = 0; w < n_words; w++) {
            size_t k = 0;
            for (size_t i = 0; i < length[w]; i++) {
                bool pair =
                    i + 1 < length[w] && words[w][i] == top.left && words[w][i + 1] == top.right;
                words[w][k++] = pair ? top.merged : words[w][i];
                i += pair;
            }
            length[w] = k;
        }
    }
    return max;
}

static void training_follows_the_algorithm_as_it_is_written(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 2);
    for (int round = 0; round < 30; round++) {
        char text[400];
        size_t n = 0;
        while (n < 300) {
            size_t word = 1 + rng_below(&r, 7);
            for (size_t i = 0; i < word; i++)
                text[n++] = (char)('a' + rng_below(&r, 3));
            text[n++] = ' ';
        }
        text[n - 1] = 0; /* no space at the end, which would be a piece of its own */
        struct bpe_merge wanted[20];
        int n_wanted = plain_training(wanted, 20, text);
        struct bpe_train_config config = config_of(256 + 20, "gpt2", 1);
        config.n_specials = 0;
        config.bos = config.eos = NULL;
        struct buf json = trained(text, n - 1, &config, NULL);
        json_t *root = json_loadb(json.bytes, json.n, 0, NULL);
        const json_t *model = json_object_get(root, "model"),
                     *merges = json_object_get(model, "merges");
        assert_int_equal(n_wanted, json_array_size(merges));
        /* An id of ours stands for one of theirs: bytes by their place in the alphabet, merges by
         * their order. */
        for (int i = 0; i < n_wanted; i++) {
            int32_t ids[2] = {wanted[i].left, wanted[i].right};
            for (size_t side = 0; side < 2; side++) {
                char name[8];
                const char *got =
                    json_string_value(json_array_get(json_array_get(merges, (size_t)i), side));
                if (ids[side] >= 1000) {
                    json_int_t id =
                        json_integer_value(json_object_get(json_object_get(model, "vocab"), got));
                    assert_int_equal(256 + ids[side] - 1000, id);
                } else {
                    uint8_t byte = ids[side] == SPACE_ID ? ' ' : (uint8_t)ids[side];
                    name[utf8_put((uint8_t *)name, byte_to_visible(byte))] = 0;
                    assert_string_equal(name, got);
                }
            }
        }
        json_decref(root);
        buf_release(&json);
    }
}

static int fails(void *ctx, const char **text, size_t *n, struct err *err)
{
    (void)ctx, (void)text, (void)n;
    return err_set(err, MOE2_EIO, "the disk is gone");
}

static void bad_requests_and_bad_text_give_one_sentence_and_nothing_else(void **state)
{
    (void)state;
    static const char *const twice[] = {"<x>", "<x>"}, *const empty[] = {""};
    struct bpe_train_config good = config_of(300, "gpt2", 1);
    struct {
        struct bpe_train_config config;
        const char *text, *message;
    } cases[] = {
        {good, "abc \xff", "the text is not UTF-8: byte 4 is 0xff"},
        {config_of(257, "gpt2", 1), "a",
         "vocabulary size is 257, wanted 258 (specials and bytes) to 1048576"},
        {config_of(300, "bert", 1), "a",
         "pre-tokenizer \"bert\" is unknown, wanted one of: gpt2, qwen2, llama3, deepseek"},
        {config_of(300, "gpt2", 0), "a", "threads are 0, wanted 1 to 256"},
        {good, "a", "special token \"<x>\" stands there twice"},
        {good, "a", "a special token is empty"},
        {good, "a", "BOS \"<s>\" is none of the special tokens"},
        {good, "a", "minimum frequency is 0, wanted at least 1"},
    };
    cases[4].config.specials = twice;
    cases[4].config.bos = cases[4].config.eos = NULL;
    cases[5].config.specials = empty;
    cases[5].config.n_specials = 1;
    cases[5].config.bos = cases[5].config.eos = NULL;
    cases[6].config.bos = "<s>";
    cases[7].config.min_frequency = 0;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf json = {0}, config_json = {0};
        struct source source = {cases[i].text, strlen(cases[i].text), 0, 0};
        struct err err = {0};
        assert_true(
            bpe_train(&json, &config_json, NULL, next_part, &source, &cases[i].config, &err) < 0);
        assert_string_equal(cases[i].message, err.msg);
        assert_int_equal(0, json.n + config_json.n);
        buf_release(&json);
        buf_release(&config_json);
    }
    struct buf json = {0};
    struct err err = {0};
    assert_int_equal(MOE2_EIO, bpe_train(&json, &json, NULL, fails, NULL, &good, &err));
    assert_string_equal("the disk is gone", err.msg);
    buf_release(&json);
}

static void training_stops_when_asked(void **state)
{
    (void)state;
    volatile int stop = 1;
    struct bpe_train_config config = config_of(300, "gpt2", 1);
    config.stop = &stop;
    struct source source = {"a b c", 5, 0, 0};
    struct buf json = {0};
    struct err err = {0};
    assert_int_equal(MOE2_ESTOP, bpe_train(&json, &json, NULL, next_part, &source, &config, &err));
    assert_int_equal(0, json.n);
    buf_release(&json);
}

static void no_text_gives_a_tokenizer_of_bytes(void **state)
{
    (void)state;
    struct bpe_train_config config = config_of(300, "gpt2", 1);
    struct bpe_train_stats stats;
    struct buf json = trained("", 0, &config, &stats);
    assert_int_equal(258, stats.n_tokens);
    struct tokenizer *t = NULL;
    assert_int_equal(0, tokenizer_parse(&t, json.bytes, json.n, NULL, 0, NULL));
    tokenizer_free(t);
    buf_release(&json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_and_long_pieces_follow_the_rule_as_it_is_written),
        cmocka_unit_test(training_gives_the_merges_of_hf),
        cmocka_unit_test(what_was_trained_opens_and_gives_the_text_back),
        cmocka_unit_test(the_same_bytes_come_out_whatever_the_threads),
        cmocka_unit_test(training_follows_the_algorithm_as_it_is_written),
        cmocka_unit_test(bad_requests_and_bad_text_give_one_sentence_and_nothing_else),
        cmocka_unit_test(training_stops_when_asked),
        cmocka_unit_test(no_text_gives_a_tokenizer_of_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
