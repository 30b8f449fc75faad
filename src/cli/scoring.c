/* What perplexity and route share: see scoring.h. */
#include "cli/scoring.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "pipeline/run_data.h"

static bool has_file(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    bool found = path && file_exists(path);
    free(path);
    return found;
}

/* Checkpoints of runs on bytes have no tokenizer to copy: for those, bytes. */
static int open_tokenizer(struct scoring *s, struct err *err)
{
    if (s->tokenizer_path)
        return run_tokenizer_open(&s->tokenizer, s->tokenizer_path, err);
    if (has_file(s->model, "tokenizer.json"))
        return tokenizer_open(&s->tokenizer, s->model, err);
    if (has_file(s->model, "train_state.json"))
        return tokenizer_bytes_new(&s->tokenizer, err);
    if (!file_is_dir(s->model))
        return err_set(err, MOE2_EIO, "%s: is no checkpoint folder", s->model);
    return err_set(err, MOE2_ECONFIG, "%s has no tokenizer.json; say --tokenizer FOLDER (or bytes)",
                   s->model);
}

static int32_t find_prefix(const struct scoring *s)
{
    const struct model_config *c = decoder_config(s->dec);
    int64_t ids[] = {tokenizer_bos_id(s->tokenizer), tokenizer_eos_id(s->tokenizer),
                     c->bos_token_id, c->eos_token_id};
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        if (ids[i] >= 0 && ids[i] < c->vocab_size)
            return (int32_t)ids[i];
    return -1;
}

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
    int rc = device_open(&s->dev, s->device ? s->device : "cpu", (int)s->threads, err);
    if (!rc)
        rc = open_tokenizer(s, err);
    if (!rc)
        rc = decoder_open(&s->dec,
                          &(struct decoder_options){.dir = s->model,
                                                    .compute = s->bf16 ? DT_BF16 : DT_F32,
                                                    .log = cli_sink()},
                          s->dev, err);
    if (!rc)
        rc = find_window(s, err);
    if (rc)
        return rc;
    s->options.prefix = find_prefix(s);
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
