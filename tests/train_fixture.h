/* A byte model small enough to train in a test: two MoE layers of four experts, and a text to train
 * it on. */
#ifndef TRAIN_FIXTURE_H
#define TRAIN_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <cmocka.h>
#include <omp.h>

#include "base/file.h"
#include "base/rng.h"
#include "model/decoder.h"
#include "train/trainer.h"

enum { FIXTURE_VOCAB = 64, FIXTURE_TOKENS = 4000, FIXTURE_SEQUENCE = 12 };

static const char fixture_model[] =
    "{\"model_type\": \"deepseek_v3\", \"vocab_size\": 64, \"hidden_size\": 16, "
    "\"intermediate_size\": 24,"
    " \"moe_intermediate_size\": 8, \"num_hidden_layers\": 3, \"first_k_dense_replace\": 1, "
    "\"moe_layer_freq\": 1,"
    " \"num_attention_heads\": 2, \"num_key_value_heads\": 2, \"q_lora_rank\": null, "
    "\"kv_lora_rank\": 8,"
    " \"qk_nope_head_dim\": 8, \"qk_rope_head_dim\": 4, \"v_head_dim\": 8, \"n_routed_experts\": 4,"
    " \"n_shared_experts\": 1, \"num_experts_per_tok\": 2, \"n_group\": 1, \"topk_group\": 1,"
    " \"routed_scaling_factor\": 1.0, \"norm_topk_prob\": true, \"scoring_func\": \"sigmoid\","
    " \"topk_method\": \"noaux_tc\", \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, "
    "\"rope_scaling\": null,"
    " \"max_position_embeddings\": 64, \"num_nextn_predict_layers\": 0, \"attention_bias\": false,"
    " \"hidden_act\": \"silu\", \"initializer_range\": 0.05, \"tie_word_embeddings\": false, "
    "\"bos_token_id\": 0,"
    " \"eos_token_id\": 1, \"torch_dtype\": \"float32\"}";

static struct model_config fixture_config(void)
{
    struct model_config c;
    struct err err = {0};
    if (model_config_parse(&c, fixture_model, sizeof fixture_model - 1, "fixture", &err))
        fail_msg("%s", err.msg);
    return c;
}

/* A text with something to learn: each id is mostly a function of the one before. */
static int32_t *fixture_ids(int64_t n)
{
    struct rng rng;
    rng_init(&rng, 7);
    int32_t *ids = malloc((size_t)n * sizeof *ids);
    for (int64_t i = 0; i < n; i++)
        ids[i] = i && rng_below(&rng, 4) ? (ids[i - 1] * 5 + 3) % FIXTURE_VOCAB
                                         : (int32_t)rng_below(&rng, FIXTURE_VOCAB);
    return ids;
}

struct fixture {
    struct device *dev;
    struct decoder *dec;
    struct optimizer *opt;
    struct trainer trainer;
    int32_t *ids;
    struct trainer_options options;
};

/* What can be varied. */
struct fixture_setting {
    struct router_config *router; /* unresolved; NULL: no incentive */
    int64_t steps, batch, micro_batch;
    bool checkpoint_activations;
    const char *checkpoints; /* NULL: none */
    const char *from;        /* a checkpoint to go on from, or NULL */
    struct metrics *metrics;
    const volatile int *stop;
};

__attribute__((unused)) static void fixture_open(struct fixture *f, const struct fixture_setting *s)
{
    struct err err = {0};
    struct model_config config = fixture_config();
    struct router_config router;
    model_router_config(&router, &config);
    router.native_bias = NATIVE_BIAS_REPLACE;
    router.seed = 3;
    if (s->router)
        router = *s->router;
    router_config_resolve(&router, s->steps);
    *f = (struct fixture){.ids = fixture_ids(FIXTURE_TOKENS)};
    omp_set_num_threads(1); /* a second core would mostly wait for the first at these sizes */
    assert_int_equal(0, device_open(&f->dev, "cpu", 1, NULL));
    struct decoder_options o = {
        .dir = s->from,
        .config = s->from ? NULL : &config,
        .seed = 5,
        .router = s->from ? NULL : &router,
        .train = true,
        .checkpoint_activations = s->checkpoint_activations,
    };
    if (decoder_open(&f->dec, &o, f->dev, &err))
        fail_msg("%s", err.msg);
    int64_t n = 0;
    struct param *params = decoder_params(f->dec, &n);
    struct optimizer_config oc = {0.9, 0.95, 1e-8, 0.1, 1, false};
    assert_int_equal(0, optimizer_new(&f->opt, params, n, &oc, f->dev, NULL));
    f->options = (struct trainer_options){
        .schedule = {SCHEDULE_COSINE, 0.01, 0.001, s->steps, 2, 0},
        .batch = s->batch,
        .micro_batch = s->micro_batch,
        .eval_every = 4,
        .save_every = 4,
        .log_every = 2,
        .validation = {.ids = f->ids, .n = 200},
        .eval = {.window = FIXTURE_SEQUENCE,
                 .stride = FIXTURE_SEQUENCE,
                 .prefix = 1,
                 .mode = DECODER_EVAL},
        .seed = 11,
        .checkpoints = s->checkpoints,
        .config = "name: fixture\n",
        .metrics = s->metrics,
        .stop = s->stop,
    };
    struct tokens tokens = {.ids = f->ids, .n = FIXTURE_TOKENS};
    assert_int_equal(0, dataset_init(&f->options.data, &tokens, FIXTURE_SEQUENCE, 11, NULL));
    assert_int_equal(0, trainer_init(&f->trainer, &f->options, f->dec, f->opt, NULL));
    if (s->from) {
        assert_int_equal(0, checkpoint_read_optimizer(f->opt, s->from, NULL));
        assert_int_equal(0, checkpoint_read_measures(&f->trainer.measures, s->from, NULL));
        assert_int_equal(0, checkpoint_read_state(&f->trainer.state, NULL, s->from, NULL));
        f->trainer.saved_step = f->trainer.state.step;
    }
}

__attribute__((unused)) static void fixture_close(struct fixture *f)
{
    trainer_release(&f->trainer);
    optimizer_free(f->opt);
    decoder_free(f->dec);
    device_close(f->dev);
    free(f->ids);
}

/* A folder of this test's own, empty; the caller frees the name and removes the folder. */
__attribute__((unused)) static char *fixture_folder(const char *name)
{
    char *path = NULL;
    assert_true(asprintf(&path, "/tmp/moe2-test-%s-%ld", name, (long)getpid()) > 0);
    assert_int_equal(0, file_remove_all(path, NULL));
    assert_int_equal(0, dir_make(path, NULL));
    return path;
}

#endif
