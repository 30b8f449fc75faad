/* An open checkpoint: see safetensors.h. One list of tensors over all shards, a hash of their names
 * beside it. */
#include "io/safetensors.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "base/words.h"
#include "io/name_map.h"
#include "io/safetensors_header.h"

struct shard {
    char *path;
    struct file_map map; /* empty when the bytes are the caller's */
};

struct safetensors {
    char *path;
    struct arena names;
    struct shard *shards;
    int n_shards;
    struct safetensor *tensors;
    int64_t n, total_bytes;
    struct name_map by_name; /* number i is tensors[i] */
    struct safetensors_pair *metadata;
    int64_t n_metadata;
};

static int no_memory(const char *path, struct err *err)
{
    return err_set(err, MOE2_ELIMIT, "%s: no memory for its list of tensors", path);
}

/* Moves the tensors and metadata of one shard's header behind those that are there. */
static int take_header(struct safetensors *st, const struct safetensors_header *h, int shard_idx,
                       struct err *err)
{
    size_t n = (size_t)(st->n + h->n), n_pairs = (size_t)(st->n_metadata + h->n_metadata);
    struct safetensor *tensors = realloc(st->tensors, (n + 1) * sizeof *tensors);
    if (tensors)
        st->tensors = tensors;
    struct safetensors_pair *metadata = realloc(st->metadata, (n_pairs + 1) * sizeof *metadata);
    if (metadata)
        st->metadata = metadata;
    if (!tensors || !metadata)
        return no_memory(st->path, err);
    for (int64_t i = 0; i < h->n_metadata; i++)
        st->metadata[st->n_metadata++] = h->metadata[i];
    for (int64_t i = 0; i < h->n; i++) {
        int64_t idx;
        bool is_new = false;
        int rc = name_map_add(&st->by_name, &idx, &is_new, h->tensors[i].name, err);
        if (rc)
            return rc;
        if (!is_new)
            return err_set(err, MOE2_EFORMAT, "%s: tensor %s is in this file and in %s",
                           st->shards[shard_idx].path, h->tensors[i].name,
                           st->shards[st->tensors[idx].shard_idx].path);
        st->tensors[st->n] = h->tensors[i];
        st->tensors[st->n++].shard_idx = shard_idx;
        st->total_bytes += h->tensors[i].n_bytes;
    }
    return 0;
}

/* Checks the bytes of the shard that is last in the list and takes its tensors. */
static int add_bytes(struct safetensors *st, const uint8_t *bytes, size_t n_bytes, struct err *err)
{
    struct safetensors_header h = {0};
    int idx = st->n_shards - 1;
    int rc = safetensors_header_parse(&h, st->shards[idx].path, bytes, n_bytes, &st->names, err);
    if (!rc)
        rc = take_header(st, &h, idx, err);
    safetensors_header_release(&h);
    return rc;
}

static int add_file(struct safetensors *st, const char *path, struct err *err)
{
    struct shard *s = &st->shards[st->n_shards];
    s->path = strdup(path);
    if (!s->path)
        return no_memory(path, err);
    st->n_shards++;
    int rc = file_map(&s->map, path, err);
    return rc ? rc : add_bytes(st, s->map.bytes, s->map.n_bytes, err);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The distinct files of an index, sorted. */
static int list_files(struct name_map *files, const struct safetensors_index *index,
                      const char *path, struct err *err)
{
    int64_t idx;
    bool is_new;
    for (int64_t i = 0; i < index->n; i++) {
        int rc = name_map_add(files, &idx, &is_new, index->pairs[i].value, err);
        if (rc)
            return rc;
        if (files->n > SAFETENSORS_MAX_SHARDS)
            return err_set(err, MOE2_ELIMIT, "%s: names more than %d files", path,
                           SAFETENSORS_MAX_SHARDS);
    }
    if (files->n)
        qsort(files->names, (size_t)files->n, sizeof *files->names, by_text);
    return 0;
}

/* Every tensor of the index must be in the file that the index says. */
static int check_index(const struct safetensors *st, const struct safetensors_index *index,
                       const char *path, struct err *err)
{
    for (int64_t i = 0; i < index->n; i++) {
        const struct safetensors_pair *p = &index->pairs[i];
        const struct safetensor *t = safetensors_find(st, p->key);
        if (!t)
            return err_set(err, MOE2_EFORMAT, "%s: puts tensor %s into %s, which does not have it",
                           path, p->key, p->value);
        const char *in = strrchr(st->shards[t->shard_idx].path, '/') + 1;
        if (strcmp(in, p->value) != 0)
            return err_set(err, MOE2_EFORMAT, "%s: puts tensor %s into %s, it is in %s", path,
                           p->key, p->value, in);
    }
    return 0;
}

/* Opens dir's shards by the index at index_path. */
static int open_shards(struct safetensors *st, const char *dir, const char *index_path,
                       struct err *err)
{
    struct file_map map = {0};
    struct safetensors_index index = {0};
    struct name_map files = {0};
    int rc = file_map(&map, index_path, err);
    if (!rc && map.n_bytes > SAFETENSORS_MAX_INDEX_BYTES)
        rc = err_set(err, MOE2_ELIMIT, "%s: has %zu bytes, wanted at most %d", index_path,
                     map.n_bytes, SAFETENSORS_MAX_INDEX_BYTES);
    if (!rc)
        rc = safetensors_index_parse(&index, index_path, map.bytes, map.n_bytes, &st->names, err);
    if (!rc)
        rc = list_files(&files, &index, index_path, err);
    if (rc)
        goto done;
    st->shards = calloc((size_t)files.n + 1, sizeof *st->shards);
    if (!st->shards)
        rc = no_memory(dir, err);
    for (int64_t i = 0; i < files.n && !rc; i++) {
        char *path = path_join(dir, files.names[i]);
        rc = path ? add_file(st, path, err) : no_memory(dir, err);
        free(path);
    }
    if (!rc)
        rc = check_index(st, &index, index_path, err);
done:
    name_map_release(&files);
    safetensors_index_release(&index);
    file_unmap(&map);
    return rc;
}

static int open_one(struct safetensors *st, const char *path, struct err *err)
{
    st->shards = calloc(1, sizeof *st->shards);
    return st->shards ? add_file(st, path, err) : no_memory(path, err);
}

static int open_folder(struct safetensors *st, const char *dir, struct err *err)
{
    char *single = path_join(dir, "model.safetensors");
    char *index = path_join(dir, "model.safetensors.index.json");
    int rc;
    if (!single || !index)
        rc = no_memory(dir, err);
    else if (file_exists(single))
        rc = open_one(st, single, err);
    else if (file_exists(index))
        rc = open_shards(st, dir, index, err);
    else
        rc = err_set(err, MOE2_EIO,
                     "%s: has neither model.safetensors nor model.safetensors.index.json", dir);
    free(single);
    free(index);
    return rc;
}

static struct safetensors *empty(const char *path, struct err *err)
{
    struct safetensors *st = calloc(1, sizeof *st);
    if (st)
        st->path = strdup(path);
    if (st && st->path)
        return st;
    free(st);
    no_memory(path, err);
    return NULL;
}

int safetensors_open(struct safetensors **out, const char *path, struct err *err)
{
    struct safetensors *st = empty(path, err);
    if (!st)
        return MOE2_ELIMIT;
    int rc = file_is_dir(path) ? open_folder(st, path, err) : open_one(st, path, err);
    if (rc)
        safetensors_close(st);
    else
        *out = st;
    return rc;
}

int safetensors_open_bytes(struct safetensors **out, const char *name, const void *bytes,
                           size_t n_bytes, struct err *err)
{
    struct safetensors *st = empty(name, err);
    if (!st)
        return MOE2_ELIMIT;
    int rc = 0;
    st->shards = calloc(1, sizeof *st->shards);
    if (st->shards)
        st->shards[0].path = strdup(name);
    if (!st->shards || !st->shards[0].path)
        rc = no_memory(name, err);
    st->n_shards = rc ? 0 : 1;
    if (!rc)
        rc = add_bytes(st, bytes, n_bytes, err);
    if (rc)
        safetensors_close(st);
    else
        *out = st;
    return rc;
}

void safetensors_close(struct safetensors *st)
{
    if (!st)
        return;
    for (int i = 0; i < st->n_shards; i++) {
        file_unmap(&st->shards[i].map);
        free(st->shards[i].path);
    }
    free(st->shards);
    free(st->tensors);
    free(st->metadata);
    name_map_release(&st->by_name);
    arena_release(&st->names);
    free(st->path);
    free(st);
}

int64_t safetensors_count(const struct safetensors *st)
{
    return st->n;
}

const struct safetensor *safetensors_at(const struct safetensors *st, int64_t i)
{
    assert(i >= 0 && i < st->n);
    return &st->tensors[i];
}

const struct safetensor *safetensors_find(const struct safetensors *st, const char *name)
{
    int64_t idx = name_map_find(&st->by_name, name);
    return idx < 0 ? NULL : &st->tensors[idx];
}

int safetensors_get(const struct safetensor **out, const struct safetensors *st, const char *name,
                    struct err *err)
{
    const struct safetensor *t = safetensors_find(st, name);
    if (t) {
        *out = t;
        return 0;
    }
    const char *nearest = words_nearest(name, st->by_name.names, (size_t)st->n);
    return err_set(err, MOE2_EFORMAT, "%s: there is no tensor %s%s%s", st->path, name,
                   nearest ? ", the nearest is " : "", nearest ? nearest : "");
}

const char *safetensors_metadata(const struct safetensors *st, const char *key)
{
    for (int64_t i = 0; i < st->n_metadata; i++)
        if (strcmp(st->metadata[i].key, key) == 0)
            return st->metadata[i].value;
    return NULL;
}

const char *safetensors_path(const struct safetensors *st)
{
    return st->path;
}

const char *safetensors_shard_path(const struct safetensors *st, int shard_idx)
{
    assert(shard_idx >= 0 && shard_idx < st->n_shards);
    return st->shards[shard_idx].path;
}

int safetensors_n_shards(const struct safetensors *st)
{
    return st->n_shards;
}

int64_t safetensors_total_bytes(const struct safetensors *st)
{
    return st->total_bytes;
}

int safetensors_to_f32(float *out, const struct safetensor *t, int64_t first, int64_t n,
                       struct err *err)
{
    assert(first >= 0 && n >= 0 && n <= t->n_elements - first);
    if (t->dtype < 0)
        return err_set(err, MOE2_EFORMAT, "tensor %s is %s, which moe2 does not compute with",
                       t->name, t->dtype_name);
    if (n)
        dtype_bytes_to_f32(out, t->bytes, (enum dtype)t->dtype, first, n);
    return 0;
}

const char *safetensors_shape_text(char *text, size_t n_text, const int64_t *shape, int n_dims)
{
    size_t n = 0;
    for (int d = 0; d < n_dims && n < n_text; d++)
        n += (size_t)snprintf(text + n, n_text - n, "%s%lld", d ? ", " : "[", (long long)shape[d]);
    if (n < n_text)
        snprintf(text + n, n_text - n, n_dims ? "]" : "[]");
    return text;
}

void safetensors_rest(const struct safetensors *st, const struct safetensor *t)
{
    const struct shard *s = &st->shards[t->shard_idx];
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)t->bytes / page * page;
    if (s->map.bytes && t->n_bytes)
        madvise((void *)from, (uintptr_t)t->bytes + (uintptr_t)t->n_bytes - from, MADV_DONTNEED);
}
