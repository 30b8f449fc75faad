/* A model's weights and configuration, whatever file holds them: see source.h. Each format lists its
 * tensors (source_safetensors.c, source_gguf.c, source_llama2c.c); finding and reading are here.
 */
#include "model/source.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/source_parts.h"

int source_add(struct source_tensor **out, struct source *s, const char *name, struct err *err)
{
    if (s->n == s->capacity) {
        int64_t more = s->capacity ? 2 * s->capacity : 256;
        struct source_tensor *tensors = realloc(s->tensors, (size_t)more * sizeof *tensors);
        if (!tensors)
            return err_set(err, MOE2_ELIMIT, "%s: no memory for its list of tensors", s->path);
        s->tensors = tensors;
        s->capacity = more;
    }
    int64_t idx;
    bool is_new = false;
    char *copy = arena_strdup(&s->arena, name, err);
    int rc = copy ? name_map_add(&s->by_name, &idx, &is_new, copy, err) : MOE2_ELIMIT;
    if (rc)
        return rc;
    if (!is_new)
        return err_set(err, MOE2_EFORMAT, "%s: two tensors of the file are %s", s->path, name);
    *out = &s->tensors[s->n++];
    **out = (struct source_tensor){.name = copy, .file = s->path};
    return 0;
}

int source_set_shape(struct source_tensor *t, const int64_t *shape, int n_dims, struct err *err)
{
    if (n_dims > SOURCE_MAX_DIMS)
        return err_set(err, MOE2_EFORMAT, "%s: tensor %s has %d dimensions, wanted at most %d",
                       t->file, t->name, n_dims, SOURCE_MAX_DIMS);
    t->n_dims = n_dims;
    t->n_elements = 1;
    for (int i = 0; i < n_dims; i++) {
        t->shape[i] = shape[i];
        if (shape[i] < 0 || __builtin_mul_overflow(t->n_elements, shape[i], &t->n_elements))
            return err_set(err, MOE2_EFORMAT, "%s: tensor %s is larger than any file", t->file,
                           t->name);
    }
    return 0;
}

const float *source_floats(struct source *s, const uint8_t *bytes, int64_t n, struct err *err)
{
    if ((uintptr_t)bytes % sizeof(float) == 0)
        return (const float *)(const void *)bytes;
    float *copy = arena_alloc(&s->arena, (size_t)n * sizeof *copy, err);
    if (copy)
        memcpy(copy, bytes, (size_t)n * sizeof *copy);
    return copy;
}

bool source_is_file(const char *path)
{
    return gguf_is(path) || source_is_llama2c(path);
}

static int open_file(struct source *s, struct err *err)
{
    int rc;
    if (gguf_is(s->path)) {
        s->format = "gguf";
        rc = gguf_open(&s->gguf, s->path, err);
        return rc ? rc : source_list_gguf(s, err);
    }
    if (source_is_llama2c(s->path)) {
        s->format = "llama2.c";
        rc = file_map(&s->map, s->path, err);
        return rc ? rc : source_list_llama2c(s, err);
    }
    if (!file_is_dir(s->path))
        return err_set(err, MOE2_EIO, "%s: is no checkpoint folder, GGUF file or llama2.c model%s",
                       s->path, file_exists(s->path) ? "" : ": there is no such file");
    s->format = "safetensors";
    rc = safetensors_open(&s->st, s->path, err);
    return rc ? rc : source_list_safetensors(s, err);
}

int source_open(struct source **out, const char *path, struct err *err)
{
    struct source *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path))) {
        free(s);
        return err_set(err, MOE2_ELIMIT, "%s: no memory to open it", path);
    }
    int rc = open_file(s, err);
    if (rc) {
        source_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void source_close(struct source *s)
{
    if (!s)
        return;
    safetensors_close(s->st);
    gguf_close(s->gguf);
    file_unmap(&s->map);
    source_random_free(s->random);
    name_map_release(&s->by_name);
    arena_release(&s->arena);
    free(s->tensors);
    free(s->path);
    free(s);
}

const char *source_path(const struct source *s)
{
    return s->path;
}

const char *source_format(const struct source *s)
{
    return s->format;
}

const struct gguf *source_gguf(const struct source *s)
{
    return s->gguf;
}

int source_config_text(struct buf *out, const struct source *s, struct err *err)
{
    if (s->gguf)
        return source_gguf_config(out, s->gguf, err);
    if (s->random)
        return model_config_print(out, &s->random->config, err);
    if (!s->st)
        return source_llama2c_config(out, s, err);
    char *path = path_join(s->path, "config.json");
    int rc = path ? file_read(out, path, err)
                  : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", s->path);
    free(path);
    return rc;
}

int source_config(struct model_config *out, const struct source *s, struct err *err)
{
    if (s->st)
        return model_config_read(out, s->path, err);
    struct buf text = {0};
    int rc = source_config_text(&text, s, err);
    if (!rc)
        rc = model_config_parse(out, text.bytes, text.n, s->path, err);
    buf_release(&text);
    return rc;
}

int source_file_config(struct model_config *out, const char *path, struct err *err)
{
    struct source *s = NULL;
    int rc = source_open(&s, path, err);
    if (!rc)
        rc = source_config(out, s, err);
    source_close(s);
    return rc;
}

int64_t source_count(const struct source *s)
{
    return s->n;
}

const struct source_tensor *source_at(const struct source *s, int64_t i)
{
    assert(i >= 0 && i < s->n);
    return &s->tensors[i];
}

const struct source_tensor *source_find(const struct source *s, const char *name)
{
    int64_t i = name_map_find(&s->by_name, name);
    return i < 0 ? NULL : &s->tensors[i];
}

int64_t source_total_bytes(const struct source *s)
{
    int64_t n = 0;
    for (int64_t i = 0; i < s->n; i++)
        n += s->tensors[i].n_bytes;
    return n;
}

/* ---- reading ---- */

/* Elements of a PLAIN or BLOCKS tensor in the order in which they are stored. */
static void read_stored(float *out, const struct source_tensor *t, int64_t first, int64_t n)
{
    if (t->kind == STORED_BLOCKS)
        block_decode(out, t->bytes, t->block, first, n);
    else
        dtype_bytes_to_f32(out, t->bytes, t->dtype, first, n);
}

/* The same in Hugging Face's order, row by row. */
static void read_permuted(float *out, const struct source_tensor *t, int64_t first, int64_t n)
{
    int64_t columns = t->n_dims > 1 ? t->n_elements / t->shape[0] : 1;
    while (n > 0) {
        int64_t row = first / columns, at = first % columns;
        int64_t m = columns - at < n ? columns - at : n;
        read_stored(out, t, source_stored_row(t, row) * columns + at, m);
        out += m, first += m, n -= m;
    }
}

void source_let_go(const struct source_tensor *t)
{
    const uint8_t *bytes = t->bytes;
    int64_t n_bytes = t->n_bytes;
    if (t->kind == STORED_NF4 || t->kind == STORED_FP8) { /* scales lie elsewhere, and are small */
        bytes = t->kind == STORED_NF4 ? t->nf4.codes : t->fp8.codes;
        n_bytes = t->kind == STORED_NF4 ? (t->n_elements + 1) / 2 : t->n_elements;
    }
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)bytes / page * page;
    if (bytes && n_bytes)
        madvise((void *)from, (uintptr_t)bytes + (uintptr_t)n_bytes - from, MADV_DONTNEED);
}

int source_read(float *out, const struct source_tensor *t, int64_t first, int64_t n,
                struct err *err)
{
    assert(first >= 0 && n >= 0 && n <= t->n_elements - first);
    if (!n)
        return 0;
    switch (t->kind) {
    case STORED_NF4:
        nf4_decode(out, &t->nf4, first, n);
        return 0;
    case STORED_FP8:
        fp8_decode(out, &t->fp8, first, n);
        return 0;
    case STORED_JOINED:
        return source_read_joined(out, t, first, n, err);
    case STORED_RANDOM:
        source_read_random(out, t, first, n);
        return 0;
    case STORED_PLAIN:
    case STORED_BLOCKS:
        break;
    }
    if (!t->bytes)
        return err_set(err, MOE2_EFORMAT, "%s: tensor %s is of type %s, which moe2 can't read",
                       t->file, t->name, t->stored);
    if (t->head_rows)
        read_permuted(out, t, first, n);
    else
        read_stored(out, t, first, n);
    return 0;
}

void source_copy(void *out, const struct source_tensor *t)
{
    if (!t->head_rows) {
        memcpy(out, t->bytes, (size_t)t->n_bytes);
        return;
    }
    for (int64_t r = 0; r < t->shape[0]; r++)
        memcpy((char *)out + r * t->row_bytes, source_row(t, r), (size_t)t->row_bytes);
}

bool source_is_narrow(const char *path)
{
    struct source *src = NULL;
    const struct source_tensor *t = NULL;
    if (source_open(&src, path, NULL) == 0)
        t = source_find(src, "model.layers.0.self_attn.o_proj.weight");
    bool narrow = t && !(t->kind == STORED_PLAIN && t->dtype == DT_F32);
    source_close(src);
    return narrow;
}
