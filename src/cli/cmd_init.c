/* moe2 init: a random checkpoint of any configuration. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "model/params.h"
#include "quant/model_write.h"

static int write_nf4(const char *out, const struct model_config *config, uint64_t seed,
                     struct err *err)
{
    struct source *s = NULL;
    int rc = source_open_random(&s, config, seed, err);
    if (!rc)
        rc = model_write(out, s,
                         &(struct model_write_options){
                             .type = WEIGHT_NF4, .keep_parts = false, .log = cli_sink()},
                         err);
    source_close(s);
    return rc;
}

static int parse_dtype(enum dtype *out, const char *text, struct err *err)
{
    if (strcmp(text, "f32") == 0)
        *out = DT_F32;
    else if (strcmp(text, "bf16") == 0)
        *out = DT_BF16;
    else
        return err_set(err, MOE2_ECONFIG, "--dtype is \"%s\", wanted f32, bf16 or nf4", text);
    return 0;
}

static int run(int argc, char **argv)
{
    const char *file = NULL, *out = NULL, *dtype_text = NULL;
    int64_t seed = 0;
    const struct cli_flag flags[] = {{"--config", FLAG_TEXT, &file, true},
                                     {"--out", FLAG_TEXT, &out, true},
                                     {"--dtype", FLAG_TEXT, &dtype_text, false},
                                     {"--seed", FLAG_INT, &seed, false}};
    struct err err = {0};
    struct model_config config;
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = model_config_read(&config, file, &err);
    enum dtype dtype = rc ? DT_F32 : config.dtype;
    bool nf4 = dtype_text && strcmp(dtype_text, "nf4") == 0;
    if (!rc && dtype_text && !nf4)
        rc = parse_dtype(&dtype, dtype_text, &err);
    if (!rc)
        rc = nf4 ? write_nf4(out, &config, (uint64_t)seed, &err)
                 : model_init_random(out, &config, dtype, (uint64_t)seed, cli_sink(), &err);
    if (rc)
        return cli_fail("init", &err);
    struct model_size size = model_size(&config);
    printf("%s: %lld parameters, %lld active a token, %s\n", out, (long long)size.n_params,
           (long long)size.n_active_params, nf4 ? "NF4" : dtype_name(dtype));
    return 0;
}

const struct command cmd_init = {
    "init",
    "a random checkpoint of a model configuration",
    "usage: moe2 init --config FILE --out DIR [--dtype f32|bf16|nf4] [--seed N]\n\n"
    "Writes config.json and model.safetensors (shards above 5 GB) that moe2 and transformers open. "
    "Weights are normal with\n"
    "the configuration's initializer_range, norms are one; the numbers depend on the seed and the "
    "tensors' names only. A\n"
    "tensor at a time is in memory, so that any configuration the disk has room for can be "
    "written.\n\n"
    "  --config FILE    a config.json, a checkpoint folder, or one of configs/model/*.json\n"
    "  --out DIR        made if need be; a model in it is replaced\n"
    "  --dtype TYPE     f32, bf16, or nf4 (layers in bitsandbytes' form, their codes drawn evenly, "
    "which is normal; the\n"
    "                   rest bf16); as the configuration says when not given\n"
    "  --seed N         0 when not given\n\n"
    "example:\n  moe2 init --config configs/model/small.json --out out/small --seed 1\n",
    run,
};
