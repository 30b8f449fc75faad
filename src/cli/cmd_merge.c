/* moe2 merge: a model with the adapters of a folder in its weights, as a checkpoint of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "model/decoder.h"
#include "model/router_file.h"
#include "train/checkpoint.h"
#include "train/folder.h"

struct merge {
    const char *model, *adapter, *out, *dtype;
};

static int find_type(enum dtype *type, const struct merge *m, const struct decoder *dec,
                     struct err *err)
{
    *type = decoder_config(dec)->dtype;
    if (m->dtype && strcmp(m->dtype, "bf16") == 0)
        *type = DT_BF16;
    else if (m->dtype && strcmp(m->dtype, "f32") == 0)
        *type = DT_F32;
    else if (m->dtype)
        return err_set(err, MOE2_ECONFIG, "--dtype is \"%s\", wanted f32 or bf16", m->dtype);
    if (*type != DT_F32 && *type != DT_F16)
        *type = DT_BF16;
    return 0;
}

/* The routers that trained with the adapters, or the model's own, go along. */
static int write(struct decoder *dec, const char *temp, enum dtype type, const struct merge *m,
                 struct err *err)
{
    char *a = path_join(m->adapter, "router_state.safetensors"),
         *b = path_join(m->model, "router_state.safetensors"),
         *to = path_join(temp, "router_state.safetensors");
    int rc = a && b && to ? decoder_save(dec, temp, type, err)
                          : err_set(err, MOE2_ELIMIT, "%s: no memory for names", temp);
    if (!rc && (file_exists(a) || file_exists(b)))
        rc = router_file_save(to, dec, err);
    if (!rc)
        rc = checkpoint_copy_tokenizer(temp, m->model, err);
    free(a);
    free(b);
    free(to);
    return rc;
}

static int merge(const struct merge *m, struct device *dev, struct err *err)
{
    struct decoder *dec = NULL;
    char *temp = NULL;
    enum dtype type = DT_F32;
    if (file_exists(m->out))
        return err_set(err, MOE2_ECONFIG, "%s is there already", m->out);
    struct decoder_options o = {.dir = m->model, .adapter = m->adapter, .log = cli_sink()};
    int rc = decoder_open(&dec, &o, dev, err);
    if (!rc)
        rc = find_type(&type, m, dec, err);
    if (!rc)
        rc = folder_begin(&temp, m->out, err);
    if (!rc) {
        rc = write(dec, temp, type, m, err);
        if (!rc)
            rc = folder_commit(m->out, err);
        if (rc)
            folder_abort(m->out);
    }
    free(temp);
    decoder_free(dec);
    return rc;
}

static int run(int argc, char **argv)
{
    struct merge m = {0};
    const struct cli_flag flags[] = {{"--model", FLAG_TEXT, &m.model, true},
                                     {"--adapter", FLAG_TEXT, &m.adapter, true},
                                     {"--out", FLAG_TEXT, &m.out, true},
                                     {"--dtype", FLAG_TEXT, &m.dtype, false}};
    struct err err = {0};
    struct device *dev = NULL;
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = device_open(&dev, "cpu", 0, &err);
    if (!rc)
        rc = merge(&m, dev, &err);
    device_close(dev);
    if (rc)
        return cli_fail("merge", &err);
    printf("%s: %s with %s merged into its weights\n", m.out, m.model, m.adapter);
    return 0;
}

const struct command cmd_merge = {
    "merge",
    "put an adapter into a model's weights",
    "usage: moe2 merge --model DIR --adapter DIR --out DIR [--dtype f32|bf16]\n\n"
    "Writes W + scale·B·A for every tensor that carries an adapter, the others as they are, under "
    "Hugging Face's names,\n"
    "with the tokenizer's files and, where they trained, the routers.\n\n"
    "  --model DIR      the checkpoint that the adapter was trained on\n"
    "  --adapter DIR    adapter_config.json and adapter_model.safetensors\n"
    "  --out DIR        a new folder\n"
    "  --dtype T        f32 or bf16; without it the model's own\n\n"
    "example:\n  moe2 merge --model Qwen2.5-0.5B --adapter results/tuned/adapter --out merged\n",
    run,
};
