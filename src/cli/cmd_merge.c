/* moe2 merge: a model with the adapters of a folder in its weights, as a checkpoint of its own. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/device_flags.h"
#include "train/adapter_merge.h"

static int read_type(struct adapter_merge *m, const char *word, struct err *err)
{
    if (!word)
        return 0;
    m->has_dtype = true;
    m->dtype = strcmp(word, "bf16") == 0 ? DT_BF16 : DT_F32;
    if (m->dtype == DT_F32 && strcmp(word, "f32") != 0)
        return err_set(err, MOE2_ECONFIG, "--dtype is \"%s\", wanted f32 or bf16", word);
    return 0;
}

static int run(int argc, char **argv)
{
    struct adapter_merge m = {.log = cli_sink()};
    struct device_flags device = {0};
    const char *type = NULL;
    const struct cli_flag flags[] = {{"--model", FLAG_TEXT, &m.model, true},
                                     {"--adapter", FLAG_TEXT, &m.adapter, true},
                                     {"--out", FLAG_TEXT, &m.out, true},
                                     {"--dtype", FLAG_TEXT, &type, false},
                                     DEVICE_FLAGS(&device)};
    struct err err = {0};
    struct device *dev = NULL;
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = read_type(&m, type, &err);
    if (!rc)
        rc = device_flags_open(&dev, &device, 0, &err);
    if (!rc)
        rc = adapter_merge(&m, dev, &err);
    device_close(dev);
    if (rc)
        return cli_fail("merge", &err);
    printf("%s: %s with %s merged into its weights\n", m.out, m.model, m.adapter);
    return 0;
}

const struct command cmd_merge = {
    "merge",
    "put an adapter into a model's weights",
    "usage: moe2 merge --model DIR --adapter DIR --out DIR [--dtype f32|bf16]\n"
    "                  [--device NAME] [--memory-limit S]\n\n"
    "Writes W + scale·B·A for every tensor that carries an adapter, the others as they are, under "
    "Hugging Face's names,\n"
    "with the tokenizer's files and, where they trained, the routers.\n\n"
    "  --model DIR      the checkpoint that the adapter was trained on\n"
    "  --adapter DIR    adapter_config.json and adapter_model.safetensors\n"
    "  --out DIR        a new folder\n"
    "  --dtype T        f32 or bf16; without it the model's own\n" DEVICE_FLAGS_HELP
    "                   B·A is multiplied there and added to W by the host.\n\n"
    "example:\n  moe2 merge --model Qwen2.5-0.5B --adapter results/tuned/adapter --out merged\n",
    run,
};
