/* moe2 grad: the gradient of the mean next-token loss of one sequence, under the checkpoint's
 * names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/sequence.h"
#include "io/safetensors.h"

static int put_all(struct safetensors_writer *w, struct sequence *s, const struct param *params,
                   int64_t n, struct err *err)
{
    int rc = 0;
    for (int64_t i = 0; i < n && !rc; i++) {
        if (!params[i].grad)
            continue;
        size_t n_bytes = (size_t)params[i].n * sizeof(float);
        float *host = malloc(n_bytes);
        if (!host)
            return err_set(err, MOE2_ELIMIT, "no memory for the gradient of %s", params[i].name);
        s->dev->ops->read(s->dev, host, params[i].grad, n_bytes);
        rc = safetensors_put(w, host, (int64_t)n_bytes, err);
        free(host);
    }
    return rc;
}

static int write_gradients(struct sequence *s, const char *out, double loss, struct err *err)
{
    int64_t n = 0, m = 0;
    const struct param *params = decoder_trained(s->dec, &n);
    struct safetensors_decl *decls = calloc((size_t)n, sizeof *decls);
    if (!decls)
        return err_set(err, MOE2_ELIMIT, "no memory for the names of %lld tensors", (long long)n);
    for (int64_t i = 0; i < n; i++)
        if (params[i].grad) {
            decls[m] = (struct safetensors_decl){
                .name = params[i].name, .dtype = DT_F32, .n_dims = params[i].n_dims};
            memcpy(decls[m++].shape, params[i].shape, sizeof params[i].shape);
        }
    char text[32];
    snprintf(text, sizeof text, "%.9f", loss);
    const char *metadata[] = {"loss", text, NULL};
    struct safetensors_writer *w = NULL;
    int rc = safetensors_create(&w, out, decls, m,
                                &(struct safetensors_options){.metadata = metadata}, err);
    if (!rc)
        rc = put_all(w, s, params, n, err);
    if (rc)
        safetensors_abort(w);
    else
        rc = safetensors_commit(w, err);
    free(decls);
    return rc;
}

static int run(int argc, char **argv)
{
    struct sequence s = {0};
    const char *out = NULL;
    const struct cli_flag flags[] = {SEQUENCE_FLAGS(&s), {"--out", FLAG_TEXT, &out, true}};
    struct err err = {0};
    double loss = 0;
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = sequence_open(&s, true, 2, &err);
    if (!rc)
        rc = sequence_gradient(&s, &loss, &err);
    if (!rc)
        rc = write_gradients(&s, out, loss, &err);
    sequence_close(&s);
    if (rc)
        return cli_fail("grad", &err);
    printf("loss %.9f\n", loss);
    return 0;
}

const struct command cmd_grad = {
    "grad",
    "loss of a sequence and its gradient for every tensor",
    "usage: moe2 grad --model DIR --ids 1,2,3 --out FILE.safetensors [--device NAME] [--threads "
    "N]\n\n"
    "Writes the gradient of the mean next-token loss over the tokens but the first, float32, under "
    "the checkpoint's\n"
    "names (with --adapter: of the adapters, the model being frozen); the loss stands as a decimal "
    "under \"loss\" in the file's\n"
    "metadata. Cross-entropy only, whatever the router's training adds.\n\n" SEQUENCE_HELP
    "  --out FILE       a safetensors file\n\n"
    "example:\n  moe2 grad --model out/tiny --ids 5,17,3,8 --out g.safetensors\n",
    run,
};
