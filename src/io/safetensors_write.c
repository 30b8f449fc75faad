/* Writing checkpoints: see safetensors.h.
 *
 * The plan of every byte is made first: which shard, at which offset. Data lies by element size,
 * largest first, as the public writer lays it, so that every tensor is aligned to its type. Shards
 * are written to temporary neighbours with pwrite and renamed at commit. */
#include "io/safetensors.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "io/json_scan.h"
#include "io/json_util.h"
#include "io/name_map.h"

static const int64_t DEFAULT_SHARD_BYTES = 5000000000;

struct out_file {
    char *name, *path, *temp_path;
    int fd;              /* −1 before the first byte and after the last */
    int64_t n_data;      /* planned bytes of data */
    int64_t n_data_left; /* not yet written */
    int64_t data_begin;  /* where the data begins in the file */
};

struct out_tensor {
    const char *name;
    enum dtype dtype;
    int n_dims;
    int64_t shape[SAFETENSORS_MAX_DIMS], n_elements, n_bytes;
    int shard_idx;
    int64_t offset;    /* in the shard's data */
    int64_t n_written; /* pieces come in order, so a fill level says all */
};

struct safetensors_writer {
    char *path; /* what the caller said: a file or a folder */
    bool is_folder;
    struct arena arena;
    struct out_tensor *tensors;
    int64_t n, next;
    struct out_file *files;
    int n_files;
    struct safetensors_options options;
};

static int no_memory(const char *path, struct err *err)
{
    return err_set(err, MOE2_ELIMIT, "%s: no memory to write it", path);
}

/* ---- the plan ---- */

/* Copies and checks the declarations. */
static int take_decls(struct safetensors_writer *w, const struct safetensors_decl *decls,
                      struct err *err)
{
    struct name_map seen = {0};
    int rc = 0;
    for (int64_t i = 0; i < w->n && !rc; i++) {
        const struct safetensors_decl *d = &decls[i];
        struct out_tensor *t = &w->tensors[i];
        int64_t idx;
        bool is_new = false, overflow = false;
        assert(d->n_dims >= 0 && d->n_dims <= SAFETENSORS_MAX_DIMS);
        *t = (struct out_tensor){.dtype = d->dtype, .n_dims = d->n_dims, .n_elements = 1};
        for (int k = 0; k < d->n_dims; k++) {
            assert(d->shape[k] >= 0);
            t->shape[k] = d->shape[k];
            overflow |= __builtin_mul_overflow(t->n_elements, d->shape[k], &t->n_elements);
        }
        overflow |=
            __builtin_mul_overflow(t->n_elements, (int64_t)dtype_bytes(d->dtype), &t->n_bytes);
        size_t n_name = strlen(d->name);
        if (!n_name || utf8_valid_bytes((const uint8_t *)d->name, n_name) < n_name ||
            strcmp(d->name, "__metadata__") == 0)
            rc = err_set(err, MOE2_EFORMAT, "%s: \"%s\" is no name for a tensor", w->path, d->name);
        else if (overflow || t->n_bytes > INT64_MAX / 4)
            rc = err_set(err, MOE2_EFORMAT, "%s: tensor %s is larger than any file", w->path,
                         d->name);
        else if (!(t->name = arena_strdup(&w->arena, d->name, err)))
            rc = MOE2_ELIMIT;
        else if (!(rc = name_map_add(&seen, &idx, &is_new, t->name, err)) && !is_new)
            rc = err_set(err, MOE2_EFORMAT, "%s: tensor %s is declared twice", w->path, d->name);
    }
    name_map_release(&seen);
    return rc;
}

/* Fills shards in declared order; a tensor above the limit gets a shard of its own. */
static int plan_shards(struct safetensors_writer *w, struct err *err)
{
    int64_t limit = w->options.max_shard_bytes, filled = 0;
    w->n_files = 1;
    for (int64_t i = 0; i < w->n; i++) {
        int64_t n = w->tensors[i].n_bytes;
        if (w->is_folder && filled > 0 && (n > limit || filled > limit - n)) {
            w->n_files++;
            filled = 0;
        }
        if (w->n_files > SAFETENSORS_MAX_SHARDS)
            return err_set(err, MOE2_ELIMIT, "%s: shards of %lld bytes would be more than %d",
                           w->path, (long long)limit, SAFETENSORS_MAX_SHARDS);
        filled += n;
        w->tensors[i].shard_idx = w->n_files - 1;
    }
    return 0;
}

/* Offsets inside each shard: element size 8, 4, 2, 1. */
static void plan_offsets(struct safetensors_writer *w)
{
    for (size_t size = 8; size; size /= 2)
        for (int64_t i = 0; i < w->n; i++) {
            struct out_tensor *t = &w->tensors[i];
            struct out_file *f = &w->files[t->shard_idx];
            if (dtype_bytes(t->dtype) == size) {
                t->offset = f->n_data;
                f->n_data += t->n_bytes;
            }
        }
    for (int s = 0; s < w->n_files; s++)
        w->files[s].n_data_left = w->files[s].n_data;
}

static int name_files(struct safetensors_writer *w, struct err *err)
{
    for (int s = 0; s < w->n_files; s++)
        w->files[s].fd = -1;
    for (int s = 0; s < w->n_files; s++) {
        struct out_file *f = &w->files[s];
        if (!w->is_folder)
            f->path = strdup(w->path);
        else if (w->n_files == 1)
            f->name = strdup("model.safetensors");
        else if (asprintf(&f->name, "model-%05d-of-%05d.safetensors", s + 1, w->n_files) < 0)
            f->name = NULL;
        if (f->name)
            f->path = path_join(w->path, f->name);
        if (!f->path || asprintf(&f->temp_path, "%s.tmp-%ld", f->path, (long)getpid()) < 0) {
            f->temp_path = NULL;
            return no_memory(w->path, err);
        }
    }
    return 0;
}

/* ---- the bytes ---- */

static int write_at(const struct out_file *f, const void *bytes, int64_t n, int64_t at,
                    struct err *err)
{
    const char *from = bytes;
    while (n > 0) {
        size_t step = n < 1 << 30 ? (size_t)n : (size_t)1 << 30;
        ssize_t done = pwrite(f->fd, from, step, (off_t)at);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return err_set(err, MOE2_EIO, "%s: can't be written: %s", f->path,
                           strerror(done < 0 ? errno : ENOSPC));
        from += done;
        n -= done;
        at += done;
    }
    return 0;
}

/* Asks for the whole file's space, so that a full disk is told before the work and not after it. */
static int reserve_disk(const struct out_file *f, struct err *err)
{
    if (fallocate(f->fd, 0, 0, (off_t)(f->data_begin + f->n_data)) == 0)
        return 0;
    if (errno != ENOSPC && errno != EFBIG && errno != EDQUOT)
        return 0; /* a file system that can't reserve */
    return err_set(err, MOE2_EIO, "%s: can't be written: %s (%lld bytes wanted)", f->path,
                   strerror(errno), (long long)(f->data_begin + f->n_data));
}

static void header_metadata(struct json_writer *j, const char *const *metadata)
{
    jw_object(j, "__metadata__");
    jw_text(j, "format", "pt");
    for (; metadata && metadata[0]; metadata += 2)
        if (strcmp(metadata[0], "format") != 0)
            jw_text(j, metadata[0], metadata[1]);
    jw_end(j);
}

static int header_json(struct buf *out, const struct safetensors_writer *w, int shard_idx,
                       struct err *err)
{
    struct json_writer j;
    json_writer_init(&j, out, 0);
    jw_object(&j, NULL);
    header_metadata(&j, w->options.metadata);
    for (int64_t i = 0; i < w->n; i++) {
        const struct out_tensor *t = &w->tensors[i];
        if (t->shard_idx != shard_idx)
            continue;
        jw_object(&j, t->name);
        jw_text(&j, "dtype", dtype_name(t->dtype));
        jw_ints(&j, "shape", t->shape, t->n_dims);
        jw_ints(&j, "data_offsets", (int64_t[]){t->offset, t->offset + t->n_bytes}, 2);
        jw_end(&j);
    }
    jw_end(&j);
    return json_writer_end(&j, err);
}

/* Opens a shard's temporary file and writes its header. */
static int begin_file(struct safetensors_writer *w, int shard_idx, struct err *err)
{
    struct out_file *f = &w->files[shard_idx];
    struct buf b = {.max_bytes = SAFETENSORS_MAX_HEADER_BYTES};
    uint8_t length[8];
    int rc = header_json(&b, w, shard_idx, err);
    while (!rc && b.n % 8)
        rc = buf_append(&b, " ", 1, err);
    if (rc) {
        err_prefix(err, "%s: its header", f->path);
        goto done;
    }
    f->fd = open(f->temp_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->fd < 0) {
        rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", f->path, strerror(errno));
        goto done;
    }
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)b.n >> (8 * i));
    f->data_begin = 8 + (int64_t)b.n;
    rc = reserve_disk(f, err);
    if (!rc)
        rc = write_at(f, length, 8, 0, err);
    if (!rc)
        rc = write_at(f, b.bytes, (int64_t)b.n, 8, err);
done:
    buf_release(&b);
    return rc;
}

/* Syncs and closes a shard that has all its bytes, so that a large checkpoint keeps few files
 * open. */
static int end_file(struct out_file *f, struct err *err)
{
    int failed = fsync(f->fd) ? errno : 0;
    if (close(f->fd) && !failed)
        failed = errno;
    f->fd = -1;
    if (failed)
        return err_set(err, MOE2_EIO, "%s: can't be written: %s", f->path, strerror(failed));
    return 0;
}

static bool is_complete(const struct out_file *f)
{
    return f->data_begin > 0 && f->n_data_left == 0;
}

/* ---- the interface ---- */

static int copy_options(struct safetensors_writer *w, const struct safetensors_options *options,
                        struct err *err)
{
    int64_t n = 0;
    if (options)
        w->options = *options;
    if (!w->options.max_shard_bytes)
        w->options.max_shard_bytes = DEFAULT_SHARD_BYTES;
    if (!w->options.metadata)
        return 0;
    while (w->options.metadata[n])
        n++;
    assert(n % 2 == 0);
    const char **copy = arena_calloc(&w->arena, (size_t)(n + 1) * sizeof *copy, err);
    for (int64_t i = 0; copy && i < n; i++)
        if (!(copy[i] = arena_strdup(&w->arena, w->options.metadata[i], err)))
            return MOE2_ELIMIT;
    w->options.metadata = copy;
    return copy ? 0 : MOE2_ELIMIT;
}

static int create(struct safetensors_writer **out, const char *path, bool is_folder,
                  const struct safetensors_decl *decls, int64_t n,
                  const struct safetensors_options *options, struct err *err)
{
    struct safetensors_writer *w = calloc(1, sizeof *w);
    if (!w)
        return no_memory(path, err);
    int rc = 0;
    w->n = n;
    w->is_folder = is_folder;
    w->path = strdup(path);
    w->tensors = calloc((size_t)n + 1, sizeof *w->tensors);
    if (!w->path || !w->tensors)
        rc = no_memory(path, err);
    if (!rc)
        rc = copy_options(w, options, err);
    if (!rc)
        rc = take_decls(w, decls, err);
    if (!rc)
        rc = plan_shards(w, err);
    if (rc)
        goto done;
    w->files = calloc((size_t)w->n_files, sizeof *w->files);
    if (!w->files) {
        w->n_files = 0;
        rc = no_memory(path, err);
        goto done;
    }
    rc = name_files(w, err);
    if (rc)
        goto done;
    plan_offsets(w);
    if (is_folder)
        rc = dir_make(path, err);
    if (!rc)
        rc = begin_file(w, 0,
                        err); /* so that a folder that can't be written is told before the work */
done:
    if (rc)
        safetensors_abort(w);
    else
        *out = w;
    return rc;
}

int safetensors_create(struct safetensors_writer **out, const char *path,
                       const struct safetensors_decl *decls, int64_t n,
                       const struct safetensors_options *options, struct err *err)
{
    int rc = file_may_replace(path, err);
    return rc ? rc : create(out, path, false, decls, n, options, err);
}

int safetensors_create_folder(struct safetensors_writer **out, const char *dir,
                              const struct safetensors_decl *decls, int64_t n,
                              const struct safetensors_options *options, struct err *err)
{
    return create(out, dir, true, decls, n, options, err);
}

int safetensors_put_piece(struct safetensors_writer *w, int64_t idx, int64_t offset,
                          const void *bytes, int64_t n_bytes, struct err *err)
{
    assert(idx >= 0 && idx < w->n && n_bytes >= 0);
    struct out_tensor *t = &w->tensors[idx];
    struct out_file *f = &w->files[t->shard_idx];
    assert(offset == t->n_written && n_bytes <= t->n_bytes - offset);
    int rc = 0;
    if (f->data_begin == 0)
        rc = begin_file(w, t->shard_idx, err);
    if (!rc)
        rc = write_at(f, bytes, n_bytes, f->data_begin + t->offset + offset, err);
    if (rc)
        return rc;
    t->n_written += n_bytes;
    f->n_data_left -= n_bytes;
    return n_bytes && is_complete(f) ? end_file(f, err) : 0;
}

int safetensors_put_at(struct safetensors_writer *w, int64_t idx, const void *bytes,
                       int64_t n_bytes, struct err *err)
{
    assert(n_bytes == w->tensors[idx].n_bytes);
    return safetensors_put_piece(w, idx, 0, bytes, n_bytes, err);
}

int safetensors_put(struct safetensors_writer *w, const void *bytes, int64_t n_bytes,
                    struct err *err)
{
    int rc = safetensors_put_at(w, w->next, bytes, n_bytes, err);
    if (!rc)
        w->next++;
    return rc;
}

int safetensors_put_f32(struct safetensors_writer *w, const float *values, int64_t n,
                        struct err *err)
{
    enum { PIECE = 16384 };
    float piece[PIECE];
    struct out_tensor *t = &w->tensors[w->next];
    assert(n == t->n_elements);
    int rc = 0;
    if (t->dtype == DT_F32)
        return safetensors_put(w, values, n * 4, err);
    for (int64_t i = 0; i < n && !rc; i += PIECE) {
        int64_t m = n - i < PIECE ? n - i : PIECE, size = (int64_t)dtype_bytes(t->dtype);
        dtype_from_f32(piece, values + i, t->dtype, m);
        rc = safetensors_put_piece(w, w->next, i * size, piece, m * size, err);
    }
    if (!rc)
        w->next++;
    return rc;
}

/* ---- commit ---- */

static int write_index(const struct safetensors_writer *w, const char *path, struct err *err)
{
    struct buf b = {0};
    struct json_writer j;
    int64_t total = 0;
    for (int64_t i = 0; i < w->n; i++)
        total += w->tensors[i].n_bytes;
    json_writer_init(&j, &b, 2);
    jw_object(&j, NULL);
    jw_object(&j, "metadata");
    jw_int(&j, "total_size", total);
    jw_end(&j);
    jw_object(&j, "weight_map");
    for (int64_t i = 0; i < w->n; i++)
        jw_text(&j, w->tensors[i].name, w->files[w->tensors[i].shard_idx].name);
    jw_end(&j);
    jw_end(&j);
    int rc = json_writer_file(&j, path, err);
    buf_release(&b);
    return rc;
}

/* Whether name is a file that belongs to some sharding of a checkpoint, and not to this one. */
static bool is_stale(const struct safetensors_writer *w, const char *name)
{
    int k, of, n = 0;
    if (strcmp(name, "model.safetensors.index.json") == 0)
        return w->n_files == 1;
    if (strcmp(name, "model.safetensors") == 0)
        return w->n_files > 1;
    if (sscanf(name, "model-%5d-of-%5d.safetensors%n", &k, &of, &n) != 2 || n == 0 || name[n])
        return false;
    return w->n_files == 1 || of != w->n_files;
}

static int remove_stale(const struct safetensors_writer *w, struct err *err)
{
    char **names = NULL;
    size_t n = 0;
    int rc = dir_names(&names, &n, w->path, err);
    for (size_t i = 0; i < n && !rc; i++) {
        if (!is_stale(w, names[i]))
            continue;
        char *path = path_join(w->path, names[i]);
        if (!path)
            rc = no_memory(w->path, err);
        else if (unlink(path))
            rc = err_set(err, MOE2_EIO, "%s: can't be removed: %s", path, strerror(errno));
        free(path);
    }
    dir_names_free(names, n);
    return rc;
}

/* Every byte there, every file on disk. */
static int finish_files(struct safetensors_writer *w, struct err *err)
{
    for (int64_t i = 0; i < w->n; i++)
        if (w->tensors[i].n_written != w->tensors[i].n_bytes)
            return err_set(err, MOE2_EFORMAT, "%s: tensor %s has %lld of its %lld bytes", w->path,
                           w->tensors[i].name, (long long)w->tensors[i].n_written,
                           (long long)w->tensors[i].n_bytes);
    for (int s = 0; s < w->n_files; s++) {
        int rc = w->files[s].data_begin ? 0 : begin_file(w, s, err);
        if (!rc && w->files[s].fd >= 0)
            rc = end_file(&w->files[s], err);
        if (rc)
            return rc;
    }
    return 0;
}

/* Puts the files in place. The old index goes first, so that at no moment an index names shards of
 * two checkpoints. */
static int rename_files(struct safetensors_writer *w, struct err *err)
{
    char *index = w->is_folder ? path_join(w->path, "model.safetensors.index.json") : NULL;
    int rc = w->is_folder && !index ? no_memory(w->path, err) : 0;
    if (!rc && w->n_files > 1 && unlink(index) && errno != ENOENT)
        rc = err_set(err, MOE2_EIO, "%s: can't be replaced: %s", index, strerror(errno));
    for (int s = 0; s < w->n_files && !rc; s++) {
        struct out_file *f = &w->files[s];
        if (rename(f->temp_path, f->path))
            rc = err_set(err, MOE2_EIO, "%s: can't be put in place: %s", f->path, strerror(errno));
        else
            f->data_begin = 0; /* nothing is left to remove */
    }
    if (!rc && w->n_files > 1)
        rc = write_index(w, index, err);
    free(index);
    return !rc && w->is_folder ? remove_stale(w, err) : rc;
}

int safetensors_commit(struct safetensors_writer *w, struct err *err)
{
    int rc = finish_files(w, err);
    if (!rc)
        rc = rename_files(w, err);
    safetensors_abort(w);
    return rc;
}

void safetensors_abort(struct safetensors_writer *w)
{
    if (!w)
        return;
    for (int s = 0; s < w->n_files; s++) {
        struct out_file *f = &w->files[s];
        if (f->fd >= 0)
            close(f->fd);
        if (f->data_begin > 0)
            unlink(f->temp_path);
        free(f->name);
        free(f->path);
        free(f->temp_path);
    }
    free(w->files);
    free(w->tensors);
    free(w->path);
    arena_release(&w->arena);
    free(w);
}
