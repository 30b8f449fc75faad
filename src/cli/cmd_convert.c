/* moe2 convert: a model in another form. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "quant/model_write.h"

static int parse_type(enum weight_type *out, const char *text, struct err *err)
{
    int type = text ? weight_type_from_name(text) : WEIGHT_KEEP;
    if (type < 0 || type == WEIGHT_NF4)
        return err_set(err, MOE2_ECONFIG, "--type is \"%s\", wanted f32, f16, bf16, q8_0 or q4_0",
                       text);
    *out = (enum weight_type)type;
    return 0;
}

static int run(int argc, char **argv)
{
    const char *in = NULL, *out = NULL, *type = NULL;
    const struct cli_flag flags[] = {{"--in", FLAG_TEXT, &in, true},
                                     {"--out", FLAG_TEXT, &out, true},
                                     {"--type", FLAG_TEXT, &type, false}};
    struct err err = {0};
    struct source *s = NULL;
    struct write_report report = {0};
    struct model_write_options o = {.log = cli_sink(), .report = &report};
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = parse_type(&o.type, type, &err);
    if (!rc)
        rc = source_open(&s, in, &err);
    if (!rc)
        rc = model_write(out, s, &o, &err);
    int64_t bytes = 0;
    for (int64_t i = 0; i < report.n; i++)
        bytes += report.v[i].bytes_to;
    if (!rc)
        printf("%s: %lld tensors, %.1f MB\n", out, (long long)report.n, (double)bytes / 1e6);
    source_close(s);
    free(report.v);
    return rc ? cli_fail("convert", &err) : 0;
}

const struct command cmd_convert = {
    "convert",
    "a model in another form: GGUF file or safetensors folder",
    "usage: moe2 convert --in MODEL --out X [--type f32|f16|bf16|q8_0|q4_0]\n\n"
    "Writes a GGUF file where X ends in .gguf, otherwise a safetensors folder, with the model's "
    "configuration, tokenizer\n"
    "and chat template. A piece of a tensor is in memory at a time; nothing is there before all of "
    "it is.\n\n"
    "  --in MODEL   a checkpoint folder (also FP8 and bitsandbytes' NF4), a .gguf file, or "
    "llama2.c's .bin\n"
    "  --out X      a name ending in .gguf, or a folder, which is made if need be\n"
    "  --type TYPE  q8_0 and q4_0 only in GGUF. Without it every weight keeps its type, and what "
    "is "
    "quantised becomes f16\n\n"
    "example:\n"
    "  moe2 convert --in SmolLM2-135M-Instruct.Q4_1.gguf --out models/smollm2 --type bf16\n"
    "  moe2 convert --in models/smollm2 --out smollm2.gguf --type q8_0\n",
    run,
};
