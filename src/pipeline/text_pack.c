/* Packing: see text_pack.h. A batch of documents is tokenized by all threads, each into a list of its
 * own, and then written by one thread in order. */
#include "pipeline/text_pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* Where the ids of a document lie. */
struct packed {
    int worker;
    size_t first, n;
    int rc;
};

struct worker {
    struct tokenizer_scratch *scratch;
    struct ids ids;
    struct err err;
};

struct packer {
    const struct text_step *step;
    const struct tokenizer *tokenizer;
    int32_t eos_id;
    struct text_stream *stream;
    struct shards_writer *writers[SHARDS_N_SPLITS];
    struct file_writer texts[SHARDS_N_SPLITS]; /* none for train */
    bool text_begun[SHARDS_N_SPLITS];
    struct worker *workers;
    struct packed *packed; /* [TEXT_BATCH_DOCUMENTS] */
    const struct text_item *items;
    struct shards_manifest manifest;
};

/* ---- life ---- */

static int open_text(struct packer *p, const char *dir, int split, struct err *err)
{
    char name[32];
    snprintf(name, sizeof name, "%s.txt", shards_split_names[split]);
    char *path = path_join(dir, name);
    int rc = path ? file_begin(&p->texts[split], path, err)
                  : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", name);
    free(path);
    return rc;
}

static int open_packer(struct packer *p, const char *dir, struct err *err)
{
    const struct text_step *step = p->step;
    int n_threads = step->stream.n_threads;
    int32_t n_vocab = tokenizer_n_vocab(p->tokenizer);
    p->eos_id = tokenizer_eos_id(p->tokenizer);
    if (p->eos_id < 0)
        return err_set(err, MOE2_EFORMAT,
                       "tokenizer %s names no token for the end of a document, wanted eos_token in "
                       "tokenizer_config.json",
                       step->tokenizer);
    p->manifest.id_bytes = n_vocab <= 65536 ? 2 : 4;
    p->workers = calloc((size_t)n_threads, sizeof *p->workers);
    p->packed = calloc(TEXT_BATCH_DOCUMENTS, sizeof *p->packed);
    if (!p->workers || !p->packed)
        return err_set(err, MOE2_ELIMIT, "no memory to pack text");
    int rc = 0;
    for (int i = 0; i < n_threads && !rc; i++)
        rc = tokenizer_scratch_new(&p->workers[i].scratch, p->tokenizer, err);
    for (int split = 0; split < SHARDS_N_SPLITS && !rc; split++) {
        rc = shards_writer_new(&p->writers[split], dir, (enum shards_split)split,
                               p->manifest.id_bytes, step->shard_tokens, err);
        if (!rc && split != SHARDS_TRAIN)
            rc = open_text(p, dir, split, err);
    }
    return rc ? rc : text_stream_open(&p->stream, step->inputs, step->n_inputs, &step->stream, err);
}

static void release_packer(struct packer *p)
{
    for (int split = 0; split < SHARDS_N_SPLITS; split++) {
        shards_writer_abort(p->writers[split]);
        file_abort(&p->texts[split]);
    }
    for (int i = 0; i < p->step->stream.n_threads && p->workers; i++) {
        tokenizer_scratch_free(p->workers[i].scratch);
        ids_release(&p->workers[i].ids);
    }
    free(p->workers);
    free(p->packed);
    text_stream_close(p->stream);
    shards_manifest_release(&p->manifest);
}

/* ---- documents ---- */

static void encode_one(void *ctx, int thread_idx, size_t i)
{
    struct packer *p = ctx;
    struct worker *w = &p->workers[thread_idx];
    const struct text_item *item = &p->items[i];
    struct packed *k = &p->packed[i];
    *k = (struct packed){.worker = thread_idx, .first = w->ids.n};
    k->rc = tokenizer_encode(p->tokenizer, w->scratch, &w->ids, item->text, item->n_bytes,
                             TOKENIZER_PLAIN, &w->err);
    if (!k->rc)
        k->rc = ids_append(&w->ids, &p->eos_id, 1, &w->err);
    k->n = w->ids.n - k->first;
}

static int write_one(struct packer *p, size_t i, struct err *err)
{
    const struct text_item *item = &p->items[i];
    const struct packed *k = &p->packed[i];
    struct worker *w = &p->workers[k->worker];
    if (k->rc)
        return err_set(err, k->rc, "%s", w->err.msg);
    int rc = shards_writer_put(p->writers[item->split], w->ids.v + k->first, (int64_t)k->n,
                               (int64_t)item->n_bytes, err);
    if (rc || item->split == SHARDS_TRAIN)
        return rc;
    struct file_writer *text = &p->texts[item->split];
    if (p->text_begun[item->split])
        rc = file_put(text, "\n\n", 2, err);
    p->text_begun[item->split] = true;
    return rc ? rc : file_put(text, item->text, item->n_bytes, err);
}

static int pack_all(struct packer *p, struct err *err)
{
    struct progress progress;
    progress_begin(&progress, p->step->sink, "packing", (double)text_stream_total_bytes(p->stream),
                   "B");
    int rc = 0;
    bool more = true;
    while (!rc) {
        size_t n = 0;
        rc = text_stream_next(&p->items, &n, &more, p->stream, err);
        if (rc || !more)
            break;
        for (int i = 0; i < p->step->stream.n_threads; i++)
            p->workers[i].ids.n = 0;
        text_parallel(p->step->stream.n_threads, n, encode_one, p);
        for (size_t i = 0; i < n && !rc; i++)
            rc = write_one(p, i, err);
        progress_set(&progress, (double)text_stream_done_bytes(p->stream));
    }
    if (!rc)
        progress_set(&progress, (double)text_stream_total_bytes(p->stream));
    progress_end(&progress);
    return rc;
}

/* ---- the manifest ---- */

static void add_tally(struct text_tally *sum, const struct text_tally *t)
{
    for (int v = 0; v < TEXT_N_VERDICTS; v++)
        sum->n_documents[v] += t->n_documents[v];
    sum->n_bytes_read += t->n_bytes_read;
    sum->n_bytes_kept += t->n_bytes_kept;
}

static json_t *source_json(const struct text_input *in, const struct text_tally *t)
{
    json_t *o = json_object();
    if (in->package)
        json_object_set_new(o, "package", json_string(in->package));
    else
        json_object_set_new(o, "path", json_string(in->path ? in->path : "grammar"));
    if (in->version)
        json_object_set_new(o, "version", json_string(in->version));
    json_object_set_new(o, "documents", json_integer(t->n_documents[TEXT_KEPT]));
    json_object_set_new(o, "bytes", json_integer(t->n_bytes_kept));
    return o;
}

static json_t *options_json(const struct text_step *step)
{
    const struct text_stream_options *o = &step->stream;
    const struct text_clean_options *c = &o->clean;
    json_t *j = json_object();
    json_object_set_new(j, "form", json_string(text_form_names[o->source.form]));
    json_object_set_new(j, "plain", json_string(text_unit_names[o->source.unit]));
    json_object_set_new(j, "field", json_string(o->source.field));
    json_object_set_new(j, "min_chars", json_integer(c->min_chars));
    json_object_set_new(j, "max_chars", json_integer(c->max_chars));
    json_object_set_new(j, "language", c->language ? json_string(c->language) : json_null());
    json_object_set_new(j, "min_language_share", json_real(c->min_language_share));
    json_object_set_new(j, "keep_lines", json_boolean(c->keep_lines));
    json_object_set_new(j, "keep_duplicates", json_boolean(o->keep_duplicates));
    json_object_set_new(j, "unique_lines", json_boolean(o->unique_lines));
    json_object_set_new(j, "dedup_bytes", json_integer(o->dedup_bytes));
    json_object_set_new(j, "validation", json_real(o->validation));
    json_object_set_new(j, "test", json_real(o->test));
    json_object_set_new(j, "shard_tokens", json_integer(step->shard_tokens));
    if (step->vocab_size > 0) {
        json_object_set_new(j, "train_vocab_size", json_integer(step->vocab_size));
        json_object_set_new(j, "pre_tokenizer", json_string(step->pre_tokenizer));
        json_object_set_new(j, "tokenizer_bytes", json_integer(step->tokenizer_bytes));
    }
    return j;
}

static json_t *more_json(const struct packer *p, const struct text_report *r)
{
    json_t *j = json_object(), *sources = json_array(), *dropped = json_object();
    for (int i = 0; i < p->step->n_inputs; i++)
        json_array_append_new(sources,
                              source_json(&p->step->inputs[i], text_stream_tally(p->stream, i)));
    for (int v = TEXT_KEPT + 1; v < TEXT_N_VERDICTS; v++)
        json_object_set_new(dropped, text_verdict_names[v], json_integer(r->total.n_documents[v]));
    json_object_set_new(dropped, "broken", json_integer(r->n_broken));
    json_object_set_new(j, "options", options_json(p->step));
    json_object_set_new(j, "sources", sources);
    json_object_set_new(j, "kept", json_integer(r->total.n_documents[TEXT_KEPT]));
    json_object_set_new(j, "dropped", dropped);
    json_object_set_new(
        j, "dropped_lines",
        json_pack("{s:I, s:I, s:I, s:I}", "boilerplate", (json_int_t)r->lines.n_boilerplate, "menu",
                  (json_int_t)r->lines.n_menu, "foreign", (json_int_t)r->lines.n_foreign,
                  "repeated", (json_int_t)r->lines.n_repeated));
    if (r->dedup_full)
        json_object_set_new(j, "dedup_full", json_true());
    return j;
}

static void fill_report(struct text_report *r, const struct packer *p)
{
    for (int i = 0; i < p->step->n_inputs; i++)
        add_tally(&r->total, text_stream_tally(p->stream, i));
    r->lines = text_stream_lines(p->stream);
    r->n_files = text_stream_n_files(p->stream);
    r->n_broken = text_stream_n_broken(p->stream);
    if (r->n_broken)
        err_set(&r->first_broken, MOE2_EFORMAT, "%s", text_stream_first_broken(p->stream));
    r->n_bytes_on_disk = text_stream_total_bytes(p->stream);
    r->vocab_size = tokenizer_n_vocab(p->tokenizer);
    r->dedup_full = text_stream_dedup_is_full(p->stream);
    for (int split = 0; split < SHARDS_N_SPLITS; split++) {
        const struct shards_part *part = &p->manifest.splits[split];
        r->splits[split].n_tokens = part->n_tokens;
        r->splits[split].n_documents = part->n_documents;
        r->splits[split].n_text_bytes = part->n_text_bytes;
        r->splits[split].n_shards = part->n_files;
    }
}

static int finish(struct text_report *r, struct packer *p, const char *dir, struct err *err)
{
    struct shards_manifest *m = &p->manifest;
    int rc = 0;
    for (int split = 0; split < SHARDS_N_SPLITS && !rc; split++) {
        rc = shards_writer_commit(&m->splits[split], p->writers[split], err);
        p->writers[split] = NULL;
        if (!rc && split != SHARDS_TRAIN)
            rc = file_commit(&p->texts[split], err);
    }
    if (rc)
        return rc;
    fill_report(r, p);
    if (r->splits[SHARDS_TRAIN].n_documents == 0)
        return err_set(
            err, MOE2_ECONFIG,
            "nothing is left to train on: of %lld documents read, %lld were too short, %lld "
            "too long, %lld no text, %lld in the wrong language, %lld duplicates",
            (long long)(r->total.n_documents[0] + r->total.n_documents[1] +
                        r->total.n_documents[2] + r->total.n_documents[3] +
                        r->total.n_documents[4] + r->total.n_documents[5]),
            (long long)r->total.n_documents[TEXT_TOO_SHORT],
            (long long)r->total.n_documents[TEXT_TOO_LONG],
            (long long)r->total.n_documents[TEXT_NOT_TEXT],
            (long long)r->total.n_documents[TEXT_WRONG_LANGUAGE],
            (long long)r->total.n_documents[TEXT_DUPLICATE]);
    bool bytes = p->step->vocab_size == 0 && strcmp(p->step->tokenizer, "bytes") == 0;
    snprintf(m->tokenizer, sizeof m->tokenizer, "%s", bytes ? "bytes" : "tokenizer");
    m->fingerprint = tokenizer_fingerprint(p->tokenizer);
    m->vocab_size = tokenizer_n_vocab(p->tokenizer);
    m->eos_id = p->eos_id;
    m->bos_id = tokenizer_bos_id(p->tokenizer);
    m->seed = (int64_t)p->step->stream.seed;
    m->more = more_json(p, r);
    return shards_manifest_write(dir, m, err);
}

int text_pack(struct text_report *report, const struct text_step *step, const struct tokenizer *t,
              const char *dir, struct err *err)
{
    struct packer p = {.step = step, .tokenizer = t};
    struct text_report r = *report;
    double begun_s = clock_s();
    int rc = open_packer(&p, dir, err);
    if (!rc)
        rc = pack_all(&p, err);
    if (!rc)
        rc = finish(&r, &p, dir, err);
    r.pack_s = clock_s() - begun_s;
    release_packer(&p);
    if (!rc)
        *report = r;
    return rc;
}
