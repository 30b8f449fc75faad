/* One sequence through one model: see sequence.h. */
#include "cli/sequence.h"

#include <stdlib.h>

#include "cli/cli.h"

static int make_batch(struct sequence *s, int64_t least_ids, struct err *err)
{
    int64_t n = 0;
    int rc = cli_ids(&s->ids, &n, s->ids_text, err);
    if (rc)
        return rc;
    if (n < least_ids)
        return err_set(
            err, MOE2_ECONFIG,
            "--ids has %lld id, wanted at least %lld: every id but the first is a target",
            (long long)n, (long long)least_ids);
    s->targets = malloc((size_t)n * sizeof *s->targets);
    if (!s->targets)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld ids", (long long)n);
    for (int64_t t = 0; t < n; t++)
        s->targets[t] = t + 1 < n ? s->ids[t + 1] : -1;
    s->offset[1] = (int32_t)n;
    s->batch =
        (struct batch){.ids = s->ids, .targets = s->targets, .offset = s->offset, .B = 1, .T = n};
    return 0;
}

int sequence_open(struct sequence *s, bool train, int64_t least_ids, struct err *err)
{
    if (s->threads < 0 || s->threads > 1024)
        return err_set(err, MOE2_ECONFIG, "--threads is %lld, wanted 0 to 1024",
                       (long long)s->threads);
    int rc = make_batch(s, least_ids, err);
    if (!rc)
        rc = device_flags_open(&s->dev, &s->device, (int)s->threads, err);
    struct decoder_options o = {.dir = s->model,
                                .adapter = s->adapter,
                                .compute = DT_F32,
                                .train = train,
                                .log = cli_sink()};
    return rc ? rc : decoder_open(&s->dec, &o, s->dev, err);
}

void sequence_close(struct sequence *s)
{
    decoder_free(s->dec);
    device_close(s->dev);
    free(s->ids);
    free(s->targets);
}

int sequence_gradient(struct sequence *s, double *loss, struct err *err)
{
    struct loss_result result = {0};
    float scale = 1 / (float)(s->batch.T - 1);
    decoder_zero_grad(s->dec);
    int rc = decoder_forward(s->dec, &s->batch, DECODER_GRAD, err);
    if (!rc)
        rc = decoder_loss(s->dec, &s->batch, scale, &result, err);
    if (!rc)
        rc = decoder_backward(s->dec, &s->batch, scale, err);
    if (!rc)
        *loss = result.nll / (double)result.n_targets;
    return rc;
}
