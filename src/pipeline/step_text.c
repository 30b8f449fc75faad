/* Packing a corpus: see step_text.h. */
#include "pipeline/step_text.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "eval/model_tokenizer.h"
#include "pipeline/text_pack.h"
#include "text/bpe_train.h"
#include "train/folder.h"

/* As DeepSeek's tokenizers name them; ids 0 and 1, as its configurations have them. */
static const char *const SPECIALS[] = {"<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"};

struct text_step text_step_default(void)
{
    return (struct text_step){
        .tokenizer = "bytes",
        .pre_tokenizer = "qwen2",
        .tokenizer_bytes = (int64_t)1 << 30,
        .shard_tokens = (int64_t)1 << 27,
        .stream = {.source = {.field = "text"},
                   .clean = {.min_chars = 200, .max_chars = 1000000, .min_language_share = 0.5},
                   .validation = 0.05,
                   .test = 0.05,
                   .dedup_bytes = (int64_t)512 << 20,
                   .n_threads = 1},
    };
}

static int check(const struct text_step *p, struct err *err)
{
    const struct text_stream_options *o = &p->stream;
    if (p->n_inputs < 1)
        return err_set(err, MOE2_ECONFIG, "there is no text to read");
    if (!(o->validation >= 0 && o->test >= 0 && o->validation + o->test < 1))
        return err_set(err, MOE2_ECONFIG,
                       "validation %g and test %g leave nothing to train on, wanted a sum below 1",
                       o->validation, o->test);
    if (o->clean.min_chars < 1 || o->clean.max_chars < o->clean.min_chars)
        return err_set(
            err, MOE2_ECONFIG,
            "documents of %lld to %lld characters make no sense, wanted 1 or more, in order",
            (long long)o->clean.min_chars, (long long)o->clean.max_chars);
    if (!(o->clean.min_language_share >= 0 && o->clean.min_language_share <= 1))
        return err_set(err, MOE2_ECONFIG, "the least share of the language is %g, wanted 0 to 1",
                       o->clean.min_language_share);
    if (o->n_threads < 1 || o->n_threads > TEXT_MAX_THREADS)
        return err_set(err, MOE2_ECONFIG, "%d threads are asked for, wanted 1 to %d", o->n_threads,
                       TEXT_MAX_THREADS);
    if (p->shard_tokens < 1)
        return err_set(err, MOE2_ECONFIG, "shards of %lld tokens make no sense, wanted 1 or more",
                       (long long)p->shard_tokens);
    return 0;
}

/* ---- the folder ---- */

static int check_out(const struct text_step *p, struct err *err)
{
    if (!file_exists(p->out_dir))
        return 0;
    char **names = NULL;
    size_t n = 0;
    int rc = dir_names(&names, &n, p->out_dir, err);
    if (rc)
        return rc;
    bool is_packed = false;
    for (size_t i = 0; i < n; i++)
        is_packed = is_packed || strcmp(names[i], "manifest.json") == 0;
    dir_names_free(names, n);
    if (n > 0 && !is_packed)
        return err_set(err, MOE2_ECONFIG,
                       "%s: is there and holds other things than packed text, wanted a new folder",
                       p->out_dir);
    if (n > 0 && !p->replace)
        return err_set(err, MOE2_ECONFIG, "%s: is there already, wanted a new folder or --force",
                       p->out_dir);
    return 0;
}

/* ---- training a tokenizer ---- */

struct train_text {
    struct text_stream *stream;
    const struct text_item *items;
    size_t n, i;
    int64_t bytes_left, n_bytes;
    struct progress progress;
    bool more;
};

/* bpe_train's callback: the documents of the train split, one after the other. */
static int next_train_text(void *ctx, const char **text, size_t *n_bytes, struct err *err)
{
    struct train_text *t = ctx;
    while (t->bytes_left > 0) {
        for (; t->i < t->n; t->i++) {
            const struct text_item *item = &t->items[t->i];
            if (item->split != SHARDS_TRAIN)
                continue;
            *text = item->text;
            *n_bytes = item->n_bytes;
            t->bytes_left -= (int64_t)item->n_bytes;
            t->n_bytes += (int64_t)item->n_bytes;
            t->i++;
            return 1;
        }
        t->i = 0;
        int rc = text_stream_next(&t->items, &t->n, &t->more, t->stream, err);
        if (rc)
            return rc;
        progress_set(&t->progress, (double)text_stream_done_bytes(t->stream));
        if (!t->more)
            break;
    }
    return 0;
}

static int write_tokenizer(const char *dir, const struct buf *json, const struct buf *config,
                           struct err *err)
{
    char *path = path_join(dir, "tokenizer.json"),
         *config_path = path_join(dir, "tokenizer_config.json");
    int rc =
        path && config_path ? dir_make(dir, err) : err_set(err, MOE2_ELIMIT, "%s: no memory", dir);
    if (!rc)
        rc = file_write(path, json->bytes, json->n, err);
    if (!rc)
        rc = file_write(config_path, config->bytes, config->n, err);
    free(path);
    free(config_path);
    return rc;
}

/* Trains on the train split and writes the result into the folder dir. */
static int train_tokenizer(struct text_report *report, const struct text_step *p, const char *dir,
                           struct err *err)
{
    double begun_s = clock_s();
    struct buf json = {0}, config_json = {0};
    struct train_text t = {.bytes_left = p->tokenizer_bytes};
    struct bpe_train_config c = {.vocab_size = (int32_t)p->vocab_size,
                                 .min_frequency = 2,
                                 .pre_tokenizer = p->pre_tokenizer,
                                 .specials = SPECIALS,
                                 .n_specials = 2,
                                 .bos = SPECIALS[0],
                                 .eos = SPECIALS[1],
                                 .n_threads = p->stream.n_threads,
                                 .stop = p->stream.stop};
    if (p->vocab_size > BPE_TRAIN_MAX_VOCAB)
        return err_set(err, MOE2_ECONFIG, "a vocabulary of %lld is asked for, wanted at most %d",
                       (long long)p->vocab_size, BPE_TRAIN_MAX_VOCAB);
    int rc = text_stream_open(&t.stream, p->inputs, p->n_inputs, &p->stream, err);
    if (rc)
        return rc;
    progress_begin(&t.progress, p->sink, "tokenizer", (double)text_stream_total_bytes(t.stream),
                   "B");
    rc = bpe_train(&json, &config_json, NULL, next_train_text, &t, &c, err);
    progress_end(&t.progress);
    if (!rc && t.n_bytes == 0)
        rc =
            err_set(err, MOE2_ECONFIG, "the train split is empty: no text to train a tokenizer on");
    if (!rc)
        rc = write_tokenizer(dir, &json, &config_json, err);
    if (!rc) {
        report->n_bytes_for_tokenizer = t.n_bytes;
        report->train_tokenizer_s = clock_s() - begun_s;
    }
    text_stream_close(t.stream);
    buf_release(&json);
    buf_release(&config_json);
    return rc;
}

/* ---- all of it ---- */

static int copy_file(const char *from_dir, const char *to_dir, const char *name, bool required,
                     struct err *err)
{
    struct buf b = {0};
    char *from = path_join(from_dir, name), *to = path_join(to_dir, name);
    int rc = from && to ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", name);
    if (!rc && (required || file_exists(from))) {
        rc = file_read(&b, from, err);
        if (!rc)
            rc = file_write(to, b.bytes, b.n, err);
    }
    free(from);
    free(to);
    buf_release(&b);
    return rc;
}

static int copy_tokenizer(const char *from, const char *dir, struct err *err)
{
    if (!file_is_dir(from))
        return err_set(err, MOE2_ECONFIG,
                       "tokenizer \"%s\" is no folder, wanted one with tokenizer.json, or bytes",
                       from);
    int rc = dir_make(dir, err);
    if (!rc)
        rc = copy_file(from, dir, "tokenizer.json", true, err);
    return rc ? rc : copy_file(from, dir, "tokenizer_config.json", false, err);
}

static int make_tokenizer(struct tokenizer **out, struct text_report *report,
                          const struct text_step *p, const char *temp, struct err *err)
{
    if (p->vocab_size == 0 && strcmp(p->tokenizer, "bytes") == 0)
        return tokenizer_bytes_new(out, err);
    char *dir = path_join(temp, "tokenizer");
    int rc = dir ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", temp);
    if (!rc)
        rc = p->vocab_size > 0 ? train_tokenizer(report, p, dir, err)
                               : copy_tokenizer(p->tokenizer, dir, err);
    if (!rc)
        rc = model_tokenizer_open(out, dir, err);
    free(dir);
    return rc;
}

int text_step_run(struct text_report *report, const struct text_step *step, struct err *err)
{
    struct text_report r = {0};
    struct tokenizer *tokenizer = NULL;
    char *temp = NULL;
    int rc = check(step, err);
    if (!rc)
        rc = check_out(step, err);
    if (!rc)
        rc = folder_begin(&temp, step->out_dir, err);
    if (rc)
        return rc;
    rc = make_tokenizer(&tokenizer, &r, step, temp, err);
    if (!rc)
        rc = text_pack(&r, step, tokenizer, temp, err);
    if (!rc)
        rc = folder_commit(step->out_dir, err);
    if (rc)
        folder_abort(step->out_dir);
    else
        *report = r;
    tokenizer_free(tokenizer);
    free(temp);
    return rc;
}
