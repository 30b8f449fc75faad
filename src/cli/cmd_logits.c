/* moe2 logits: what a model says after each token of a sequence, as a NumPy array. */
#include <stdlib.h>

#include "cli/cli.h"
#include "cli/sequence.h"
#include "io/npy.h"

enum { ROWS = 64 };

/* Row by row into the file, so that a large vocabulary's logits never lie in memory at once. */
static int write_logits(struct sequence *s, const char *out, struct err *err)
{
    int64_t T = s->batch.T, V = decoder_config(s->dec)->vocab_size;
    struct npy_writer w;
    float *rows = malloc((size_t)(ROWS * V) * sizeof *rows);
    if (!rows)
        return err_set(err, MOE2_ELIMIT, "no memory for %d rows of logits", ROWS);
    int rc = npy_begin(&w, out, DT_F32, (int64_t[]){T, V}, 2, err);
    if (rc)
        goto done;
    for (int64_t t = 0; t < T && !rc; t += ROWS) {
        int64_t n = T - t < ROWS ? T - t : ROWS;
        rc = decoder_logits(s->dec, t, n, rows, err);
        if (!rc)
            rc = npy_put(&w, rows, n * V * (int64_t)sizeof *rows, err);
    }
    if (rc)
        npy_abort(&w);
    else
        rc = npy_commit(&w, err);
done:
    free(rows);
    return rc;
}

static int run(int argc, char **argv)
{
    struct sequence s = {0};
    const char *out = NULL;
    const struct cli_flag flags[] = {SEQUENCE_FLAGS(&s), {"--out", FLAG_TEXT, &out, true}};
    struct err err = {0};
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = sequence_open(&s, false, 1, &err);
    if (!rc)
        rc = decoder_forward(s.dec, &s.batch, DECODER_EVAL, &err);
    if (!rc)
        rc = write_logits(&s, out, &err);
    sequence_close(&s);
    return rc ? cli_fail("logits", &err) : 0;
}

const struct command cmd_logits = {
    "logits",
    "what a model says after each token of a sequence",
    "usage: moe2 logits --model DIR --ids 1,2,3 --out FILE.npy [--device NAME] [--threads N]\n\n"
    "Writes the logits, float32 [tokens, vocabulary].\n\n" SEQUENCE_HELP
    "  --out FILE       a NumPy array\n\n"
    "example:\n  moe2 logits --model out/tiny --ids 5,17,3 --out x.npy\n",
    run,
};
