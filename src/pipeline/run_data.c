/* The text of a run: see run_data.h. */
#include "pipeline/run_data.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "eval/model_tokenizer.h"
#include "io/gguf.h"
#include "model/source.h"

int run_tokenizer_open(struct tokenizer **out, const char *path, struct err *err)
{
    if (strcmp(path, "bytes") == 0)
        return tokenizer_bytes_new(out, err);
    return model_tokenizer_open(out, path, err);
}

static bool has_file(const char *dir, const char *name)
{
    char *path = path_join(dir, name);
    bool found = path && file_exists(path);
    free(path);
    return found;
}

int run_model_tokenizer(struct tokenizer **out, const char *dir, const char *path, struct err *err)
{
    if (path)
        return run_tokenizer_open(out, path, err);
    if (has_file(dir, "tokenizer.json"))
        return tokenizer_open(out, dir, err);
    if (gguf_is(dir))
        return model_tokenizer_open(out, dir, err);
    if (has_file(dir, "train_state.json"))
        return tokenizer_bytes_new(out, err);
    if (!file_is_dir(dir) && !source_is_file(dir))
        return err_set(err, MOE2_EIO, "%s: is no checkpoint folder", dir);
    return err_set(err, MOE2_ECONFIG, "%s has no tokenizer.json; say --tokenizer FOLDER (or bytes)",
                   dir);
}

int32_t run_model_prefix(const struct tokenizer *tok, const struct model_config *c)
{
    int64_t ids[] = {tokenizer_bos_id(tok), tokenizer_eos_id(tok), c->bos_token_id,
                     c->eos_token_id};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        if (ids[i] >= 0 && ids[i] < c->vocab_size)
            return (int32_t)ids[i];
    return -1;
}

static int open_split(struct run_split *s, const char *dir, enum shards_split split,
                      struct err *err)
{
    int rc = shards_open(&s->shards, dir, shards_split_names[split], err);
    if (rc)
        return rc;
    s->tokens = (struct tokens){.shards = s->shards, .n = shards_n_tokens(s->shards)};
    s->text_bytes = shards_n_text_bytes(s->shards);
    return 0;
}

static int open_packed(struct run_data_set *d, const char *dir, struct err *err)
{
    int rc = open_split(&d->train, dir, SHARDS_TRAIN, err);
    if (!rc)
        rc = open_split(&d->validation, dir, SHARDS_VALIDATION, err);
    if (!rc)
        rc = open_split(&d->test, dir, SHARDS_TEST, err);
    if (rc)
        return rc;
    const char *path = shards_tokenizer(d->train.shards);
    rc = run_tokenizer_open(&d->tokenizer, path, err);
    if (rc)
        return rc;
    if (strcmp(path, "bytes") != 0 && !(d->tokenizer_path = strdup(path)))
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
    d->bos_id = shards_bos_id(d->train.shards);
    d->eos_id = shards_eos_id(d->train.shards);
    d->n_vocab = shards_vocab_size(d->train.shards);
    return 0;
}

/* The first line end at or behind `at`, one past its LF. */
static size_t after_line(const struct buf *text, size_t at)
{
    const char *lf = at < text->n ? memchr(text->bytes + at, '\n', text->n - at) : NULL;
    return lf ? (size_t)(lf - text->bytes) + 1 : text->n;
}

static int pack_piece(struct run_split *s, const struct run_data_set *d,
                      struct tokenizer_scratch *scratch, const char *text, size_t n,
                      struct err *err)
{
    if (!n)
        return 0;
    int rc = tokenizer_encode(d->tokenizer, scratch, &s->ids, text, n, TOKENIZER_PLAIN, err);
    if (!rc && d->eos_id >= 0)
        rc = ids_append(&s->ids, &d->eos_id, 1, err);
    s->text_bytes += (int64_t)n;
    return rc;
}

static int pack_file(struct run_data_set *d, struct tokenizer_scratch *scratch, const char *path,
                     struct err *err)
{
    struct buf text = {.max_bytes = RUN_DATA_MAX_TEXT_BYTES};
    int rc = file_read(&text, path, err);
    if (rc)
        goto done;
    size_t a = after_line(&text, text.n / 10 * 9), b = after_line(&text, text.n / 20 * 19);
    if (b < a)
        b = a;
    if ((rc = pack_piece(&d->train, d, scratch, text.bytes, a, err)) ||
        (rc = pack_piece(&d->validation, d, scratch, text.bytes + a, b - a, err)) ||
        (rc = pack_piece(&d->test, d, scratch, text.bytes + b, text.n - b, err)))
        err_prefix(err, "%s", path);
done:
    buf_release(&text);
    return rc;
}

static int open_text(struct run_data_set *d, const struct run_data *data, struct err *err)
{
    struct tokenizer_scratch *scratch = NULL;
    int rc = run_tokenizer_open(&d->tokenizer, data->tokenizer, err);
    if (rc) {
        err_prefix(err, "data.tokenizer");
        return rc;
    }
    if (strcmp(data->tokenizer, "bytes") != 0 && !(d->tokenizer_path = strdup(data->tokenizer)))
        return err_set(err, MOE2_ELIMIT, "no memory for the tokenizer's name");
    d->bos_id = tokenizer_bos_id(d->tokenizer);
    d->eos_id = tokenizer_eos_id(d->tokenizer);
    d->n_vocab = tokenizer_n_vocab(d->tokenizer);
    rc = tokenizer_scratch_new(&scratch, d->tokenizer, err);
    for (int64_t i = 0; i < data->text.n && !rc; i++)
        rc = pack_file(d, scratch, data->text.values[i], err);
    tokenizer_scratch_free(scratch);
    struct run_split *splits[] = {&d->train, &d->validation, &d->test};
    for (int i = 0; i < 3; i++)
        splits[i]->tokens =
            (struct tokens){.ids = splits[i]->ids.v, .n = (int64_t)splits[i]->ids.n};
    return rc;
}

int run_data_open(struct run_data_set *out, const struct run_data *data, struct err *err)
{
    struct run_data_set d = {.bos_id = -1, .eos_id = -1};
    int rc = *data->dir ? open_packed(&d, data->dir, err) : open_text(&d, data, err);
    if (rc)
        run_data_close(&d);
    else
        *out = d;
    return rc;
}

void run_data_close(struct run_data_set *d)
{
    struct run_split *splits[] = {&d->train, &d->validation, &d->test};
    for (int i = 0; i < 3; i++) {
        shards_close(splits[i]->shards);
        ids_release(&splits[i]->ids);
    }
    tokenizer_free(d->tokenizer);
    free(d->tokenizer_path);
    *d = (struct run_data_set){0};
}
