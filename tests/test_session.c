/* Sessions against the decoder: the same logits for every family, whether a prompt comes at once, in pieces or token by token, with
 * absorbed and with plain latent attention; rewinding; what is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "base/rng.h"
#include "model/decoder.h"
#include "model/router_file.h"
#include "model/session.h"

enum { N_IDS = 75 };
static const double limit = 1e-5; /* of the largest logit: float32 sums in another order */

static const char *const models[] = {
    "model_llama",    "model_llama_tied",  "model_qwen2", "model_qwen3",   "model_v3",
    "model_v3_plain", "model_v3_unnormed", "model_v2",    "model_v2_lite", "model_moonlight"};
enum { N_MODELS = sizeof models / sizeof *models };

struct bench {
    struct device *dev, *cpu; /* the session's; the decoder's, which is the oracle */
    struct session *s;
    char path[256];
    int64_t V;
    int32_t ids[N_IDS];
    float *want, *got; /* [N_IDS, V] */
};

static void fail_on(const struct err *err)
{
    fail_msg("%s", err->msg);
}

/* The decoder's logits of some random ids. */
static void decode(struct bench *b)
{
    struct decoder *dec = NULL;
    struct decoder_options o = {.dir = b->path, .compute = DT_F32};
    struct err err = {0};
    int32_t offset[2] = {0, N_IDS};
    struct batch batch = {.ids = b->ids, .offset = offset, .B = 1, .T = N_IDS};
    struct rng r;
    if (decoder_open(&dec, &o, b->cpu, &err))
        fail_on(&err);
    b->V = decoder_config(dec)->vocab_size;
    rng_init(&r, 5);
    for (int i = 0; i < N_IDS; i++)
        b->ids[i] = (int32_t)rng_below(&r, (uint64_t)b->V);
    b->want = malloc((size_t)(N_IDS * b->V) * sizeof *b->want);
    b->got = malloc((size_t)(N_IDS * b->V) * sizeof *b->got);
    assert_non_null(b->want);
    assert_non_null(b->got);
    if (decoder_forward(dec, &batch, DECODER_EVAL, &err) ||
        decoder_logits(dec, 0, N_IDS, b->want, &err))
        fail_on(&err);
    decoder_free(dec);
}

static void open_session_at(struct bench *b, const char *path, const char *device, bool plain)
{
    struct err err = {0};
    snprintf(b->path, sizeof b->path, "%s", path);
    struct session_options o = {.model = b->path, .capacity = N_IDS + 1, .rows = 64};
    o.plain_latent = plain;
    if (device_open(&b->dev, device, 2, &err) || device_open(&b->cpu, "cpu", 2, &err) ||
        session_open(&b->s, &o, b->dev, &err))
        fail_on(&err);
    decode(b);
}

static void open_session(struct bench *b, const char *model, const char *device, bool plain)
{
    char path[sizeof b->path];
    snprintf(path, sizeof path, "%s/fixtures/%s", TEST_DIR, model);
    open_session_at(b, path, device, plain);
}

static void close_session(struct bench *b)
{
    session_free(b->s);
    device_close(b->dev);
    device_close(b->cpu);
    free(b->want);
    free(b->got);
}

static void read_on(struct bench *b, int64_t n)
{
    struct err err = {0};
    int64_t at = session_length(b->s);
    if (session_forward(b->s, b->ids + at, n, b->got + at * b->V, n, &err))
        fail_on(&err);
}

static void check(const struct bench *b, const char *model, const char *how)
{
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < N_IDS * b->V; i++) {
        worst = fmax(worst, fabs((double)b->got[i] - b->want[i]));
        largest = fmax(largest, fabs((double)b->want[i]));
    }
    if (!(worst <= limit * fmax(largest, 1)))
        fail_msg("%s, %s: off by %g of %g", model, how, worst, largest);
}

static void a_prompt_at_once_gives_the_decoders_logits(void **state)
{
    (void)state;
    for (int i = 0; i < N_MODELS; i++) {
        struct bench b = {0};
        open_session(&b, models[i], "cpu", false);
        read_on(&b, N_IDS);
        check(&b, models[i], "at once");
        close_session(&b);
    }
}

static void token_by_token_and_in_pieces_it_gives_the_same(void **state)
{
    (void)state;
    static const int64_t pieces[] = {1, 3, 17, 1, 40, 1, 12};
    for (int i = 0; i < N_MODELS; i++) {
        struct bench b = {0};
        open_session(&b, models[i], "cpu", false);
        for (int t = 0; t < N_IDS; t++)
            read_on(&b, 1);
        check(&b, models[i], "token by token");
        session_rewind(b.s, 0);
        memset(b.got, 0, (size_t)(N_IDS * b.V) * sizeof *b.got);
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++)
            read_on(&b, pieces[p]);
        check(&b, models[i], "in pieces");
        close_session(&b);
    }
}

static void absorbed_latent_attention_is_plain_latent_attention(void **state)
{
    (void)state;
    for (int i = 4; i < N_MODELS; i++) {
        struct bench b = {0};
        open_session(&b, models[i], "cpu", true);
        for (int t = 0; t < N_IDS; t += 5)
            read_on(&b, 5);
        check(&b, models[i], "plain, by fives");
        close_session(&b);
    }
}

static void every_table_of_kernels_gives_the_decoders_logits(void **state)
{
    (void)state;
    static const char *const tables[] = {"cpu:reference", "cpu:avx2", "cpu:avx512vnni"};
    for (int t = 0; t < 3; t++)
        for (int i = 0; i < N_MODELS; i += 2) {
            struct bench b = {0};
            struct device *dev = NULL;
            if (device_open(&dev, tables[t], 1, NULL))
                continue;
            device_close(dev);
            open_session(&b, models[i], tables[t], false);
            read_on(&b, 60);
            for (int k = 60; k < N_IDS; k++)
                read_on(&b, 1);
            check(&b, models[i], tables[t]);
            close_session(&b);
        }
}

/* Memory that the host can't read: everything is sent and fetched. Prompts go by the library's products, tokens by kernels. */
static void a_gpus_kernels_give_the_decoders_logits(void **state)
{
    (void)state;
    static const char *const devices[] = {"cuda:emulated", "cuda"};
    for (int t = 0; t < 2; t++)
        for (int i = 0; i < N_MODELS; i++) {
            struct bench b = {0};
            struct device *dev = NULL;
            if (device_open(&dev, devices[t], 1, NULL))
                continue;
            device_close(dev);
            open_session(&b, models[i], devices[t], i % 2);
            read_on(&b, 50);
            read_on(&b, 20);
            for (int k = 70; k < N_IDS; k++)
                read_on(&b, 1);
            check(&b, models[i], devices[t]);
            close_session(&b);
        }
}

static void a_session_that_was_rewound_reads_on_as_if_nothing_had_been(void **state)
{
    (void)state;
    struct bench b = {0};
    open_session(&b, "model_v3", "cpu", false);
    read_on(&b, 50);
    session_rewind(b.s, 20);
    assert_int_equal(session_length(b.s), 20);
    memset(b.got + 20 * b.V, 0, (size_t)((N_IDS - 20) * b.V) * sizeof *b.got);
    read_on(&b, N_IDS - 20);
    check(&b, "model_v3", "rewound");
    close_session(&b);
}

/* A folder with the weights of model_v3_plain and a router of its own that draws at random. */
static void make_random_routers(const char *dir)
{
    struct device *dev = NULL;
    struct decoder *dec = NULL;
    struct model_config c;
    struct router_config router;
    struct err err = {0};
    char from[256], state[256];
    snprintf(from, sizeof from, "%s/fixtures/model_v3_plain", TEST_DIR);
    snprintf(state, sizeof state, "%s/router_state.safetensors", dir);
    if (model_config_read(&c, from, &err))
        fail_on(&err);
    model_router_config(&router, &c);
    router.pick = PICK_RANDOM;
    router_config_resolve(&router, 100);
    if (device_open(&dev, "cpu", 1, &err) ||
        decoder_open(&dec, &(struct decoder_options){.dir = from, .router = &router}, dev, &err) ||
        decoder_save(dec, dir, DT_F32, &err) || router_file_save(state, dec, &err))
        fail_on(&err);
    decoder_free(dec);
    device_close(dev);
}

static void experts_drawn_at_random_are_those_of_the_tokens_place(void **state)
{
    (void)state;
    char dir[] = "/tmp/moe2_session_XXXXXX";
    struct bench b = {0};
    assert_non_null(mkdtemp(dir));
    make_random_routers(dir);
    open_session_at(&b, dir, "cpu", false);
    read_on(&b, 40);
    for (int t = 40; t < N_IDS; t++)
        read_on(&b, 1);
    check(&b, "random routers", "in pieces");
    close_session(&b);
    assert_int_equal(file_remove_all(dir, NULL), 0);
}

static void routers_of_another_model_are_refused(void **state)
{
    (void)state;
    char dir[] = "/tmp/moe2_session_XXXXXX", path[256];
    struct device *dev = NULL;
    struct session *s = NULL;
    struct buf config = {0};
    struct err err = {0};
    assert_non_null(mkdtemp(dir));
    make_random_routers(dir);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(file_read(&config, path, &err), 0);
    char *k = strstr(config.bytes, "\"num_experts_per_tok\": 2");
    assert_non_null(k);
    memcpy(k, "\"num_experts_per_tok\": 1", strlen("\"num_experts_per_tok\": 1"));
    assert_int_equal(file_write(path, config.bytes, config.n, &err), 0);
    assert_int_equal(device_open(&dev, "cpu", 1, &err), 0);
    assert_int_equal(
        session_open(&s, &(struct session_options){.model = dir, .capacity = 8}, dev, &err),
        MOE2_ECONFIG);
    assert_non_null(strstr(err.msg, "router_state.safetensors: the router is for 2 of 5 experts, "
                                    "the model's layers pick 1 of 5"));
    buf_release(&config);
    device_close(dev);
    assert_int_equal(file_remove_all(dir, NULL), 0);
}

static void what_does_not_fit_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct bench b = {0};
    struct err err = {0};
    int32_t wild = 1 << 20;
    open_session(&b, "model_llama", "cpu", false);
    read_on(&b, N_IDS);
    assert_int_equal(session_forward(b.s, b.ids, 2, NULL, 0, &err), MOE2_ECONFIG);
    assert_non_null(strstr(err.msg, "room for 76"));
    err = (struct err){0};
    assert_int_equal(session_forward(b.s, &wild, 1, NULL, 0, &err), MOE2_ECONFIG);
    assert_non_null(strstr(err.msg, "outside the vocabulary"));
    assert_int_equal(session_length(b.s), N_IDS);
    close_session(&b);
}

static void a_session_too_large_and_a_model_that_is_none_are_refused(void **state)
{
    (void)state;
    struct device *dev = NULL;
    struct session *s = NULL;
    struct err err = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/fixtures/model_llama", TEST_DIR);
    assert_int_equal(device_open(&dev, "cpu", 1, &err), 0);
    struct session_options o = {.model = path, .capacity = INT64_MAX};
    assert_int_equal(session_open(&s, &o, dev, &err), MOE2_ECONFIG);
    o = (struct session_options){.model = "no/such/model"};
    assert_int_not_equal(session_open(&s, &o, dev, &err), 0);
    assert_null(s);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_at_once_gives_the_decoders_logits),
        cmocka_unit_test(token_by_token_and_in_pieces_it_gives_the_same),
        cmocka_unit_test(absorbed_latent_attention_is_plain_latent_attention),
        cmocka_unit_test(every_table_of_kernels_gives_the_decoders_logits),
        cmocka_unit_test(a_gpus_kernels_give_the_decoders_logits),
        cmocka_unit_test(experts_drawn_at_random_are_those_of_the_tokens_place),
        cmocka_unit_test(routers_of_another_model_are_refused),
        cmocka_unit_test(a_session_that_was_rewound_reads_on_as_if_nothing_had_been),
        cmocka_unit_test(what_does_not_fit_is_refused_and_changes_nothing),
        cmocka_unit_test(a_session_too_large_and_a_model_that_is_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
