/* manifest.json of packed text: see shards.h.
 *
 *     {"format": "moe2 packed text", "version": 1, "tokenizer": "bytes" or "tokenizer",
 *      "tokenizer_fingerprint": "0x…", "vocab_size", "eos_id", "bos_id" (null: none), "id_bytes",
 *      "seed", …further keys…, "splits": {"train": {"tokens", "documents", "text_bytes",
 *      "shards": [{"file", "tokens", "documents", "text_bytes"}]}, …}}
 *
 * A shard's name must be the one that its place in the list gives it, so that a manifest can't
 * point out of its folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/json_util.h"
#include "io/shards.h"
#include "io/shards_format.h"

static const int64_t MAX_COUNT = (int64_t)1 << 56;

/* ---- reading ---- */

static int read_shard(struct shards_file *f, const json_t *o, const char *name, int split,
                      int64_t i, struct err *err)
{
    const char *file = NULL;
    int rc = json_need_text(&file, o, name, "file", err);
    if (rc)
        return rc;
    snprintf(f->name, sizeof f->name, "%s-%05lld.bin", shards_split_names[split], (long long)i);
    if (strcmp(f->name, file) != 0)
        return err_set(err, MOE2_EFORMAT, "%s: shard %lld of %s is \"%.40s\", wanted \"%s\"", name,
                       (long long)i, shards_split_names[split], file, f->name);
    rc = json_need_int(&f->n_tokens, o, name, "tokens", 0, MAX_COUNT, err);
    if (!rc)
        rc = json_need_int(&f->n_documents, o, name, "documents", 0, MAX_COUNT, err);
    if (!rc)
        rc = json_need_int(&f->n_text_bytes, o, name, "text_bytes", 0, MAX_COUNT, err);
    return rc;
}

/* A sum that is written must be the sum. */
static int check_sum(const json_t *o, const char *name, int split, const char *key, int64_t sum,
                     struct err *err)
{
    int64_t seen = 0;
    int rc = json_need_int(&seen, o, name, key, 0, MAX_COUNT, err);
    if (!rc && seen != sum)
        rc = err_set(err, MOE2_EFORMAT, "%s: %s has %lld %s, but its shards have %lld", name,
                     shards_split_names[split], (long long)seen, key, (long long)sum);
    return rc;
}

static int read_part(struct shards_part *p, const json_t *splits, const char *name, int split,
                     struct err *err)
{
    const json_t *o = NULL, *list = NULL;
    int rc = json_need_object(&o, splits, name, shards_split_names[split], err);
    if (!rc)
        rc = json_need_array(&list, o, name, "shards", err);
    if (rc)
        return rc;
    size_t n = json_array_size(list);
    if (n > SHARDS_MAX_FILES)
        return err_set(err, MOE2_ELIMIT, "%s: %s has %zu shards, wanted at most %d", name,
                       shards_split_names[split], n, SHARDS_MAX_FILES);
    p->files = calloc(n + 1, sizeof *p->files);
    if (!p->files)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for %zu shards", name, n);
    for (size_t i = 0; i < n; i++) {
        struct shards_file *f = &p->files[i];
        rc = read_shard(f, json_array_get(list, i), name, split, (int64_t)i, err);
        if (rc)
            return rc;
        p->n_files++;
        p->n_tokens += f->n_tokens;
        p->n_documents += f->n_documents;
        p->n_text_bytes += f->n_text_bytes;
        if (p->n_tokens > MAX_COUNT || p->n_documents > MAX_COUNT || p->n_text_bytes > MAX_COUNT)
            return err_set(err, MOE2_EFORMAT, "%s: the shards of %s claim too much", name,
                           shards_split_names[split]);
    }
    rc = check_sum(o, name, split, "tokens", p->n_tokens, err);
    if (!rc)
        rc = check_sum(o, name, split, "documents", p->n_documents, err);
    return rc ? rc : check_sum(o, name, split, "text_bytes", p->n_text_bytes, err);
}

static int read_tokenizer(struct shards_manifest *m, const json_t *root, const char *name,
                          struct err *err)
{
    const char *tokenizer = NULL, *fingerprint = NULL;
    int64_t vocab_size = 0, eos_id = 0, bos_id = 0, id_bytes = 0;
    int rc = json_need_text(&tokenizer, root, name, "tokenizer", err);
    if (rc)
        return rc;
    if (strcmp(tokenizer, "bytes") != 0 && strcmp(tokenizer, "tokenizer") != 0)
        return err_set(err, MOE2_EFORMAT,
                       "%s: tokenizer is \"%.40s\", wanted \"bytes\" or \"tokenizer\"", name,
                       tokenizer);
    snprintf(m->tokenizer, sizeof m->tokenizer, "%s", tokenizer);
    rc = json_opt_text(&fingerprint, "0", root, name, "tokenizer_fingerprint", err);
    if (!rc)
        rc = json_need_int(&vocab_size, root, name, "vocab_size", 1, SHARDS_MAX_VOCAB, err);
    if (!rc)
        rc = json_need_int(&eos_id, root, name, "eos_id", 0, vocab_size - 1, err);
    if (!rc)
        rc = json_opt_int(&bos_id, -1, root, name, "bos_id", 0, vocab_size - 1, err);
    if (!rc)
        rc = json_need_int(&id_bytes, root, name, "id_bytes", 2, 4, err);
    if (rc)
        return rc;
    if (id_bytes == 3)
        return err_set(err, MOE2_EFORMAT, "%s: id_bytes is 3, wanted 2 or 4", name);
    m->fingerprint = strtoull(fingerprint, NULL, 16);
    m->vocab_size = (int32_t)vocab_size;
    m->eos_id = (int32_t)eos_id;
    m->bos_id = (int32_t)bos_id;
    m->id_bytes = (int)id_bytes;
    return 0;
}

static const char *const OWN_KEYS[] = {
    "format",   "version", "tokenizer", "tokenizer_fingerprint", "vocab_size", "eos_id", "bos_id",
    "id_bytes", "seed",    "splits"};

static int keep_more(struct shards_manifest *m, const json_t *root, const char *name,
                     struct err *err)
{
    m->more = json_copy((json_t *)(uintptr_t)root);
    if (!m->more)
        return err_set(err, MOE2_ELIMIT, "%s: no memory to read it", name);
    for (size_t i = 0; i < sizeof OWN_KEYS / sizeof *OWN_KEYS; i++)
        json_object_del(m->more, OWN_KEYS[i]);
    return 0;
}

static int read_root(struct shards_manifest *m, const json_t *root, const char *name,
                     struct err *err)
{
    const char *format = NULL;
    int64_t version = 0;
    int rc = json_need_text(&format, root, name, "format", err);
    if (rc)
        return rc;
    if (strcmp(format, SHARDS_MANIFEST_FORMAT) != 0)
        return err_set(err, MOE2_EFORMAT, "%s: format is \"%.40s\", wanted \"%s\"", name, format,
                       SHARDS_MANIFEST_FORMAT);
    rc = json_need_int(&version, root, name, "version", SHARDS_VERSION, SHARDS_VERSION, err);
    if (!rc)
        rc = json_opt_int(&m->seed, 0, root, name, "seed", INT64_MIN, INT64_MAX, err);
    if (!rc)
        rc = read_tokenizer(m, root, name, err);
    const json_t *splits = NULL;
    if (!rc)
        rc = json_need_object(&splits, root, name, "splits", err);
    for (int split = 0; split < SHARDS_N_SPLITS && !rc; split++)
        rc = read_part(&m->splits[split], splits, name, split, err);
    return rc ? rc : keep_more(m, root, name, err);
}

static int from_json(struct shards_manifest *out, json_t *root, const char *name, struct err *err)
{
    struct shards_manifest m = {0};
    int rc = read_root(&m, root, name, err);
    json_decref(root);
    if (rc)
        shards_manifest_release(&m);
    else
        *out = m;
    return rc;
}

int shards_manifest_parse(struct shards_manifest *out, const char *name, const void *bytes,
                          size_t n, struct err *err)
{
    json_t *root = NULL;
    int rc = json_read_bytes(&root, name, bytes, n, err);
    return rc ? rc : from_json(out, root, name, err);
}

int shards_manifest_read(struct shards_manifest *out, const char *dir, struct err *err)
{
    char *path = path_join(dir, "manifest.json");
    if (!path)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
    json_t *root = NULL;
    int rc = 0;
    if (!file_exists(path))
        rc = err_set(err, MOE2_EIO, "%s: is not there; %s is no folder that moe2 data text made",
                     path, dir);
    if (!rc)
        rc = json_read_file(&root, path, SHARDS_MAX_MANIFEST_BYTES, err);
    if (!rc)
        rc = from_json(out, root, path, err);
    free(path);
    return rc;
}

void shards_manifest_release(struct shards_manifest *m)
{
    for (int split = 0; split < SHARDS_N_SPLITS; split++)
        free(m->splits[split].files);
    json_decref(m->more);
    memset(m, 0, sizeof *m);
}

/* ---- writing ---- */

static json_t *counts_json(int64_t n_tokens, int64_t n_documents, int64_t n_text_bytes)
{
    return json_pack("{s:I, s:I, s:I}", "tokens", (json_int_t)n_tokens, "documents",
                     (json_int_t)n_documents, "text_bytes", (json_int_t)n_text_bytes);
}

static json_t *part_json(const struct shards_part *p)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < p->n_files; i++) {
        const struct shards_file *f = &p->files[i];
        json_t *o = json_pack("{s:s}", "file", f->name);
        json_object_update_new(o, counts_json(f->n_tokens, f->n_documents, f->n_text_bytes));
        json_array_append_new(list, o);
    }
    json_t *part = counts_json(p->n_tokens, p->n_documents, p->n_text_bytes);
    json_object_set_new(part, "shards", list);
    return part;
}

static json_t *manifest_json(const struct shards_manifest *m)
{
    char fingerprint[32];
    snprintf(fingerprint, sizeof fingerprint, "0x%016llx", (unsigned long long)m->fingerprint);
    json_t *root =
        json_pack("{s:s, s:i, s:s, s:s, s:i, s:i}", "format", SHARDS_MANIFEST_FORMAT, "version",
                  SHARDS_VERSION, "tokenizer", m->tokenizer, "tokenizer_fingerprint", fingerprint,
                  "vocab_size", m->vocab_size, "eos_id", m->eos_id);
    json_object_set_new(root, "bos_id", m->bos_id < 0 ? json_null() : json_integer(m->bos_id));
    json_object_set_new(root, "id_bytes", json_integer(m->id_bytes));
    json_object_set_new(root, "seed", json_integer(m->seed));
    if (m->more)
        json_object_update(root, m->more);
    json_t *splits = json_object();
    for (int split = 0; split < SHARDS_N_SPLITS; split++)
        json_object_set_new(splits, shards_split_names[split], part_json(&m->splits[split]));
    json_object_set_new(root, "splits", splits);
    return root;
}

int shards_manifest_write(const char *dir, const struct shards_manifest *m, struct err *err)
{
    json_t *root = manifest_json(m);
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(15)) : NULL;
    char *path = path_join(dir, "manifest.json");
    int rc = text && path ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for its manifest", dir);
    struct file_writer w = {0};
    if (!rc)
        rc = file_begin(&w, path, err);
    if (!rc)
        rc = file_put(&w, text, strlen(text), err);
    if (!rc)
        rc = file_put(&w, "\n", 1, err);
    if (rc)
        file_abort(&w);
    else
        rc = file_commit(&w, err);
    free(path);
    free(text);
    json_decref(root);
    return rc;
}
