/* Writing packed text: see shards.h. A shard is a temporary neighbour until it is complete; its
 * header is written last, over the zeros that hold its place. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/shards.h"
#include "io/shards_format.h"

struct shards_writer {
    char *dir;
    enum shards_split split;
    int id_bytes;
    int64_t max_tokens;
    struct shards_part part; /* the closed shards */
    int64_t files_capacity;
    bool is_open;
    struct file_writer file;
    struct shards_file open; /* counts of the open shard */
    uint64_t *starts;        /* [open.n_documents] */
    int64_t starts_capacity;
    uint16_t narrow[4096]; /* ids on their way out */
};

int shards_writer_new(struct shards_writer **out, const char *dir, enum shards_split split,
                      int id_bytes, int64_t max_tokens, struct err *err)
{
    assert((id_bytes == 2 || id_bytes == 4) && max_tokens > 0);
    struct shards_writer *w = calloc(1, sizeof *w);
    char *copy = strdup(dir);
    if (!w || !copy) {
        free(w);
        free(copy);
        return err_set(err, MOE2_ELIMIT, "%s: no memory to write shards", dir);
    }
    w->dir = copy;
    w->split = split;
    w->id_bytes = id_bytes;
    w->max_tokens = max_tokens;
    *out = w;
    return 0;
}

static int open_shard(struct shards_writer *w, struct err *err)
{
    if (w->part.n_files == SHARDS_MAX_FILES)
        return err_set(err, MOE2_ELIMIT,
                       "%s: %s would have more than %d shards, wanted longer ones", w->dir,
                       shards_split_names[w->split], SHARDS_MAX_FILES);
    memset(&w->open, 0, sizeof w->open);
    snprintf(w->open.name, sizeof w->open.name, "%s-%05lld.bin", shards_split_names[w->split],
             (long long)w->part.n_files);
    char *path = path_join(w->dir, w->open.name);
    if (!path)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its name", w->open.name);
    int rc = file_begin(&w->file, path, err);
    free(path);
    if (rc)
        return rc;
    w->is_open = true;
    static const char zeros[SHARDS_HEADER_BYTES];
    return file_put(&w->file, zeros, sizeof zeros, err);
}

static int grow(void **list, int64_t *capacity, int64_t n, size_t item, struct err *err)
{
    if (n < *capacity)
        return 0;
    int64_t larger = *capacity ? 2 * *capacity : 64;
    void *grown = realloc(*list, (size_t)larger * item);
    if (!grown)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld entries of a shard",
                       (long long)larger);
    *list = grown;
    *capacity = larger;
    return 0;
}

static int put_header(struct shards_writer *w, struct err *err)
{
    uint8_t header[SHARDS_HEADER_BYTES] = SHARDS_MAGIC;
    uint32_t words[2] = {SHARDS_VERSION, (uint32_t)w->id_bytes};
    uint64_t counts[3] = {(uint64_t)w->open.n_tokens, (uint64_t)w->open.n_documents,
                          (uint64_t)w->open.n_text_bytes};
    memcpy(header + 8, words, sizeof words);
    memcpy(header + 16, counts, sizeof counts);
    if (fseek(w->file.f, 0, SEEK_SET))
        return err_set(err, MOE2_EIO, "%s: can't be written: %s", w->file.path, strerror(errno));
    return file_put(&w->file, header, sizeof header, err);
}

static int close_shard(struct shards_writer *w, struct err *err)
{
    static const char zeros[8];
    size_t padding = (size_t)(-(w->open.n_tokens * w->id_bytes) & 7);
    void *files = w->part.files;
    int rc = grow(&files, &w->files_capacity, w->part.n_files, sizeof *w->part.files, err);
    w->part.files = files;
    if (!rc)
        rc = file_put(&w->file, zeros, padding, err);
    if (!rc)
        rc = file_put(&w->file, w->starts, sizeof *w->starts * (size_t)w->open.n_documents, err);
    if (!rc)
        rc = put_header(w, err);
    if (rc)
        return rc;
    w->is_open = false;
    rc = file_commit(&w->file, err);
    if (rc)
        return rc;
    w->part.files[w->part.n_files++] = w->open;
    w->part.n_tokens += w->open.n_tokens;
    w->part.n_documents += w->open.n_documents;
    w->part.n_text_bytes += w->open.n_text_bytes;
    return 0;
}

static int put_ids(struct shards_writer *w, const int32_t *ids, int64_t n, struct err *err)
{
    if (w->id_bytes == 4)
        return file_put(&w->file, ids, 4 * (size_t)n, err);
    int rc = 0;
    const int64_t step = sizeof w->narrow / sizeof *w->narrow;
    for (int64_t i = 0; i < n && !rc; i += step) {
        int64_t count = n - i < step ? n - i : step;
        for (int64_t j = 0; j < count; j++) {
            assert(ids[i + j] >= 0 && ids[i + j] <= UINT16_MAX);
            w->narrow[j] = (uint16_t)ids[i + j];
        }
        rc = file_put(&w->file, w->narrow, 2 * (size_t)count, err);
    }
    return rc;
}

int shards_writer_put(struct shards_writer *w, const int32_t *ids, int64_t n, int64_t n_text_bytes,
                      struct err *err)
{
    assert(n >= 1 && n_text_bytes >= 0);
    int rc = 0;
    if (w->is_open && w->open.n_tokens + n > w->max_tokens)
        rc = close_shard(w, err);
    if (!rc && !w->is_open)
        rc = open_shard(w, err);
    void *starts = w->starts;
    if (!rc)
        rc = grow(&starts, &w->starts_capacity, w->open.n_documents, sizeof *w->starts, err);
    w->starts = starts;
    if (!rc)
        rc = put_ids(w, ids, n, err);
    if (rc)
        return rc;
    w->starts[w->open.n_documents++] = (uint64_t)w->open.n_tokens;
    w->open.n_tokens += n;
    w->open.n_text_bytes += n_text_bytes;
    return 0;
}

int shards_writer_commit(struct shards_part *out, struct shards_writer *w, struct err *err)
{
    int rc = w->is_open ? close_shard(w, err) : 0;
    if (!rc) {
        *out = w->part;
        w->part = (struct shards_part){0};
    }
    shards_writer_abort(w);
    return rc;
}

void shards_writer_abort(struct shards_writer *w)
{
    if (!w)
        return;
    file_abort(&w->file);
    free(w->part.files);
    free(w->starts);
    free(w->dir);
    free(w);
}
