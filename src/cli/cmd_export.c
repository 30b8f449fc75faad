/* moe2 export: a checkpoint of ours as a plain DeepSeek-V3 folder, for every runtime that knows
 * those. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/device_flags.h"
#include "model/decoder.h"
#include "train/checkpoint.h"
#include "train/folder.h"

/* Puts the very vector that evaluation adds to the scores into the place of the model's own bias,
 * which saving then writes. */
static int fold(struct decoder *dec, struct err *err)
{
    const struct model_config *c = decoder_config(dec);
    float *bias = malloc(((size_t)c->n_routed_experts + 1) * sizeof *bias);
    int rc = bias ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a bias");
    for (int64_t l = 0; l < c->num_hidden_layers && !rc; l++) {
        struct router *router = decoder_router(dec, l);
        if (router)
            rc = router_export_bias(router, bias, err);
        if (router && !rc)
            rc = router_set_native_bias(router, bias, err);
    }
    free(bias);
    return rc;
}

static int export(const char *from, const char *to, const char *dtype, struct device *dev,
                  struct err *err)
{
    struct decoder *dec = NULL;
    char *temp = NULL;
    enum dtype type = DT_F32;
    if (dtype && strcmp(dtype, "bf16") == 0)
        type = DT_BF16;
    else if (dtype && strcmp(dtype, "f32") != 0)
        return err_set(err, MOE2_ECONFIG, "--dtype is \"%s\", wanted f32 or bf16", dtype);
    if (file_exists(to))
        return err_set(err, MOE2_ECONFIG, "%s is there already", to);
    int rc =
        decoder_open(&dec, &(struct decoder_options){.dir = from, .log = cli_sink()}, dev, err);
    if (!rc)
        rc = fold(dec, err);
    if (rc)
        err_prefix(err, "%s can't be exported", from);
    if (!rc)
        rc = folder_begin(&temp, to, err);
    if (!rc) {
        rc = decoder_save(dec, temp, type, err);
        if (!rc)
            rc = checkpoint_copy_tokenizer(temp, from, err);
        if (!rc)
            rc = folder_commit(to, err);
        if (rc)
            folder_abort(to);
    }
    free(temp);
    decoder_free(dec);
    return rc;
}

static int run(int argc, char **argv)
{
    const char *from = NULL, *to = NULL, *dtype = NULL;
    struct device_flags device = {0};
    const struct cli_flag flags[] = {
        {"--checkpoint", FLAG_TEXT, &from, true},
        {"--out", FLAG_TEXT, &to, true},
        {"--dtype", FLAG_TEXT, &dtype, false},
        DEVICE_FLAGS(&device),
    };
    struct err err = {0};
    struct device *dev = NULL;
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = device_flags_open(&dev, &device, 0, &err);
    if (!rc)
        rc = export(from, to, dtype, dev, &err);
    device_close(dev);
    if (!rc)
        printf("%s\n", to);
    return rc ? cli_fail("export", &err) : 0;
}

const struct command cmd_export = {
    "export",
    "a checkpoint as a plain DeepSeek-V3 folder that other programs run",
    "usage: moe2 export --checkpoint DIR --out DIR [--dtype f32|bf16]\n"
    "                   [--device NAME] [--memory-limit S]\n\n"
    "Writes config.json, model.safetensors and the tokenizer's files. What evaluation adds to the "
    "scores, of the model's own bias and of the\n"
    "router's state, is written into e_score_correction_bias. Where such a folder can't say what "
    "the router does (softmax scores in a V3\n"
    "model, combine: selection, the raw variant, random, expert_choice) the export is refused with "
    "that reason.\n\n"
    "  --checkpoint DIR a checkpoint folder, such as results/NAME/checkpoints/best\n"
    "  --out DIR        must not be there yet\n"
    "  --dtype TYPE     of the weights: f32 (as without it) or bf16\n" DEVICE_FLAGS_HELP
    "                   Nothing is computed: this is where the weights pass through.\n\n"
    "example:\n  moe2 export --checkpoint results/rd_esi/checkpoints/best --out exported\n",
    run,
};
