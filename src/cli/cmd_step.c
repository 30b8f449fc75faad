/* moe2 step: a few plain AdamW steps on one sequence, to hold beside another program's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/sequence.h"
#include "model/router_file.h"

static const float beta1 = 0.9f, beta2 = 0.999f, eps = 1e-8f;

/* The two moments of every parameter in one piece: m, then v. */
struct moments {
    float *m, *v;
    int64_t n;
};

static int moments_open(struct moments *mo, struct sequence *s, struct err *err)
{
    int64_t n_params = 0;
    const struct param *p = decoder_params(s->dec, &n_params);
    for (int64_t i = 0; i < n_params; i++)
        mo->n += p[i].grad ? p[i].n : 0;
    size_t n_bytes = (size_t)mo->n * sizeof(float);
    if (!(mo->m = device_alloc(s->dev, n_bytes, err)) ||
        !(mo->v = device_alloc(s->dev, n_bytes, err)))
        return MOE2_ELIMIT;
    s->dev->ops->zero(s->dev, mo->m, n_bytes);
    s->dev->ops->zero(s->dev, mo->v, n_bytes);
    return 0;
}

static void moments_close(struct moments *mo, struct sequence *s)
{
    if (!s->dev)
        return;
    device_free(s->dev, mo->m, (size_t)mo->n * sizeof(float));
    device_free(s->dev, mo->v, (size_t)mo->n * sizeof(float));
}

static void adamw(struct sequence *s, struct moments *mo, double lr, int64_t t)
{
    int64_t n_params = 0, at = 0;
    const struct param *p = decoder_params(s->dec, &n_params);
    struct adamw_args a = {.lr = (float)lr,
                           .beta1 = beta1,
                           .beta2 = beta2,
                           .eps = eps,
                           .grad_scale = 1,
                           .correction1 = (float)(1 - pow(0.9, (double)t)),
                           .correction2 = (float)(1 - pow(0.999, (double)t))};
    for (int64_t i = 0; i < n_params; i++) {
        if (!p[i].grad)
            continue;
        a.p = p[i].data;
        a.m = mo->m + at;
        a.v = mo->v + at;
        a.g = p[i].grad;
        a.n = p[i].n;
        s->dev->k->adamw(s->dev, &a);
        at += p[i].n;
    }
    decoder_refresh(s->dec);
}

/* The new model, and the router's state beside it where the old one had it. */
static int save(struct sequence *s, const char *out, struct err *err)
{
    char *from = path_join(s->model, "router_state.safetensors"),
         *to = path_join(out, "router_state.safetensors");
    int rc = from && to ? dir_make(out, err)
                        : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", out);
    if (!rc)
        rc = decoder_save(s->dec, out, DT_F32, err);
    if (!rc && file_exists(from))
        rc = router_file_save(to, s->dec, err);
    free(from);
    free(to);
    return rc;
}

static int take_steps(struct sequence *s, int64_t steps, double lr, struct err *err)
{
    struct moments mo = {0};
    int rc = moments_open(&mo, s, err);
    for (int64_t t = 1; t <= steps && !rc; t++) {
        double loss = 0;
        rc = sequence_gradient(s, &loss, err);
        if (rc == MOE2_ENUMERIC)
            err_prefix(err, "step %lld", (long long)t);
        if (rc)
            break;
        adamw(s, &mo, lr, t);
        printf("step %lld loss %.9f\n", (long long)t, loss);
    }
    if (!rc)
        rc = decoder_find_nonfinite(s->dec, false, err);
    moments_close(&mo, s);
    return rc;
}

static int run(int argc, char **argv)
{
    struct sequence s = {0};
    const char *out = NULL;
    int64_t steps = 5;
    double lr = 1e-3;
    const struct cli_flag flags[] = {SEQUENCE_FLAGS(&s),
                                     {"--out", FLAG_TEXT, &out, true},
                                     {"--steps", FLAG_INT, &steps, false},
                                     {"--lr", FLAG_REAL, &lr, false}};
    struct err err = {0};
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc && (steps < 0 || steps > 1000000))
        rc = err_set(&err, MOE2_ECONFIG, "--steps is %lld, wanted 0 to 1000000", (long long)steps);
    if (!rc && !(lr >= 0 && lr <= 1e3))
        rc = err_set(&err, MOE2_ECONFIG, "--lr is %g, wanted 0 to 1000", lr);
    if (!rc && s.adapter)
        rc = err_set(&err, MOE2_ECONFIG, "--adapter: step trains all weights, see moe2 finetune");
    if (!rc)
        rc = sequence_open(&s, true, 2, &err);
    if (!rc)
        rc = take_steps(&s, steps, lr, &err);
    if (!rc)
        rc = save(&s, out, &err);
    sequence_close(&s);
    return rc ? cli_fail("step", &err) : 0;
}

const struct command cmd_step = {
    "step",
    "a few plain AdamW steps on one sequence",
    "usage: moe2 step --model DIR --ids 1,2,3 --out DIR [--steps N] [--lr X] [--device NAME] "
    "[--threads N]\n\n"
    "AdamW with betas 0.9 and 0.999, eps 1e-8, no decay, clipping or warm-up, no auxiliary loss, "
    "no update of the router's\n"
    "bias: for comparing with other programs. Prints the loss before each step and writes the "
    "model in float32.\n\n" SEQUENCE_HELP "  --steps N        5 when not given\n"
    "  --lr X           0.001 when not given\n"
    "  --out DIR        the new checkpoint\n\n"
    "example:\n  moe2 step --model out/tiny --ids 5,17,3,8 --steps 5 --lr 1e-3 --out out/tiny-5\n",
    run,
};
