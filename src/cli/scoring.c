/* What perplexity and route share: see scoring.h. */
#include "cli/scoring.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "pipeline/run_data.h"

static int find_window(struct scoring *s, struct err *err)
{
    int64_t longest = decoder_config(s->dec)->max_position_embeddings;
    int64_t window = s->window;
    if (window == SCORING_UNSAID)
        window = longest && longest < SCORING_WINDOW ? longest : SCORING_WINDOW;
    if (window < 1 || (longest && window > longest))
        return err_set(err, MOE2_ECONFIG,
                       "--window is %" PRId64
                       ", wanted 1 to the model's max_position_embeddings, which is %" PRId64,
                       window, longest);
    int64_t stride = s->stride != SCORING_UNSAID ? s->stride : window;
    if (stride < 1 || stride > window)
        return err_set(err, MOE2_ECONFIG,
                       "--stride is %" PRId64 ", wanted 1 to the window, which is %" PRId64, stride,
                       window);
    s->options.window = window;
    s->options.stride = stride;
    return 0;
}

int scoring_open(struct scoring *s, struct err *err)
{
    int rc = device_flags_open(&s->dev, &s->device, (int)s->threads, err);
    if (!rc)
        rc = run_model_tokenizer(&s->tokenizer, s->model, s->tokenizer_path, err);
    if (!rc)
        rc = decoder_open(&s->dec,
                          &(struct decoder_options){.dir = s->model,
                                                    .adapter = s->adapter,
                                                    .compute = s->bf16 ? DT_BF16 : DT_F32,
                                                    .log = cli_sink()},
                          s->dev, err);
    if (!rc)
        rc = find_window(s, err);
    if (rc)
        return rc;
    s->options.prefix = run_model_prefix(s->tokenizer, decoder_config(s->dec));
    s->options.mode = DECODER_EVAL;
    s->options.log = cli_sink();
    s->options.stop = cli_stop_flag();
    return 0;
}

void scoring_close(struct scoring *s)
{
    decoder_free(s->dec);
    tokenizer_free(s->tokenizer);
    device_close(s->dev);
    *s = (struct scoring){0};
}

int scoring_read(struct ids *ids, int64_t *n_bytes, const struct scoring *s, const char *path,
                 struct err *err)
{
    struct file_map text = {0};
    int rc = file_map(&text, path, err);
    if (rc)
        return rc;
    rc = tokenizer_encode(s->tokenizer, NULL, ids, (const char *)text.bytes, text.n_bytes, 0, err);
    if (rc)
        err_prefix(err, "%s", path);
    *n_bytes = (int64_t)text.n_bytes;
    file_unmap(&text);
    return rc;
}
