/* GGUF, written: see gguf_write.h. Keys and the list of tensors grow in two buffers, because their
 * numbers stand before them in the file.
 */
#include "io/gguf_write.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/file.h"
#include "io/name_map.h"

enum { VERSION = 3, MAX_HEADER_BYTES = 1 << 30 };

struct gguf_writer {
    struct file_writer file;
    struct buf keys, tensors;
    uint64_t n_keys, n_tensors;
    int64_t *sizes; /* [n_tensors] bytes, in order */
    size_t capacity;
    uint64_t offset; /* of the next tensor declared */
    int64_t current, current_done;
    struct name_map names;
    struct arena arena;
    struct err err; /* the first error of keys and declarations */
};

int gguf_create(struct gguf_writer **out, const char *path, struct err *err)
{
    struct gguf_writer *w = calloc(1, sizeof *w);
    if (!w)
        return err_set(err, MOE2_ELIMIT, "%s: no memory to write it", path);
    w->keys.max_bytes = w->tensors.max_bytes = MAX_HEADER_BYTES;
    int rc = file_begin(&w->file, path, err);
    if (rc) {
        gguf_abort(w);
        return rc;
    }
    *out = w;
    return 0;
}

/* A little-endian number of n bytes. */
static void number(struct buf *b, uint64_t value, size_t n, struct err *err)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
    buf_append(b, bytes, n, err);
}

static void text(struct buf *b, const char *s, size_t n, struct err *err)
{
    number(b, n, 8, err);
    if (n)
        buf_append(b, s, n, err);
}

static void key(struct gguf_writer *w, const char *name, enum gguf_type type)
{
    text(&w->keys, name, strlen(name), &w->err);
    number(&w->keys, type, 4, &w->err);
    w->n_keys++;
}

static void array(struct gguf_writer *w, const char *name, enum gguf_type item, int64_t n)
{
    key(w, name, GGUF_ARRAY);
    number(&w->keys, item, 4, &w->err);
    number(&w->keys, (uint64_t)n, 8, &w->err);
}

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

void gguf_put_u32(struct gguf_writer *w, const char *name, uint32_t value)
{
    key(w, name, GGUF_U32);
    number(&w->keys, value, 4, &w->err);
}

void gguf_put_f32(struct gguf_writer *w, const char *name, float value)
{
    key(w, name, GGUF_F32);
    number(&w->keys, bits(value), 4, &w->err);
}

void gguf_put_bool(struct gguf_writer *w, const char *name, bool value)
{
    key(w, name, GGUF_BOOL);
    number(&w->keys, value, 1, &w->err);
}

void gguf_put_text(struct gguf_writer *w, const char *name, const char *value)
{
    key(w, name, GGUF_TEXT);
    text(&w->keys, value, strlen(value), &w->err);
}

void gguf_put_texts(struct gguf_writer *w, const char *name, const struct gguf_string *s, int64_t n)
{
    array(w, name, GGUF_TEXT, n);
    for (int64_t i = 0; i < n; i++)
        text(&w->keys, s[i].s, s[i].n, &w->err);
}

void gguf_put_i32s(struct gguf_writer *w, const char *name, const int32_t *x, int64_t n)
{
    array(w, name, GGUF_I32, n);
    for (int64_t i = 0; i < n; i++)
        number(&w->keys, (uint32_t)x[i], 4, &w->err);
}

void gguf_put_f32s(struct gguf_writer *w, const char *name, const float *x, int64_t n)
{
    array(w, name, GGUF_F32, n);
    for (int64_t i = 0; i < n; i++)
        number(&w->keys, bits(x[i]), 4, &w->err);
}

void gguf_put_key(struct gguf_writer *w, const struct gguf_key *k)
{
    if (k->type == GGUF_ARRAY)
        array(w, k->name, k->item_type, k->n);
    else
        key(w, k->name, k->type);
    buf_append(&w->keys, k->value, k->n_bytes, &w->err);
}

/* ---- tensors ---- */

static int64_t padded(int64_t n)
{
    return (n + GGUF_DEFAULT_ALIGNMENT - 1) / GGUF_DEFAULT_ALIGNMENT * GGUF_DEFAULT_ALIGNMENT;
}

/* Remembers the name (a second one is an error) and the size. */
static int remember(struct gguf_writer *w, const char *name, int64_t n_bytes)
{
    int64_t idx = 0;
    bool is_new = false;
    const char *copy = arena_strdup(&w->arena, name, &w->err);
    int rc = copy ? name_map_add(&w->names, &idx, &is_new, copy, &w->err) : MOE2_ELIMIT;
    if (rc)
        return rc;
    if (!is_new)
        return err_set(&w->err, MOE2_EFORMAT, "%s: tensor %s is written twice", w->file.path, name);
    if (w->n_tensors == w->capacity) {
        size_t more = w->capacity ? 2 * w->capacity : 256;
        int64_t *sizes = realloc(w->sizes, more * sizeof *sizes);
        if (!sizes)
            return err_set(&w->err, MOE2_ELIMIT, "%s: no memory for its list of tensors",
                           w->file.path);
        w->sizes = sizes;
        w->capacity = more;
    }
    w->sizes[w->n_tensors++] = n_bytes;
    return 0;
}

void gguf_declare(struct gguf_writer *w, const char *name, uint32_t type, const int64_t *shape,
                  int n_dims)
{
    const struct gguf_layout *layout = gguf_layout_find(type);
    size_t n_name = strlen(name);
    int64_t n = 1;
    assert(n_dims >= 1 && n_dims <= GGUF_MAX_DIMS && layout);
    if (w->err.code)
        return;
    for (int i = 0; i < n_dims; i++)
        n *= shape[i];
    if (n_name < 1 || n_name >= GGUF_MAX_NAME) {
        err_set(&w->err, MOE2_EFORMAT, "%s: tensor name %s has %zu bytes, wanted 1 to %d",
                w->file.path, name, n_name, GGUF_MAX_NAME - 1);
        return;
    }
    if (shape[n_dims - 1] % layout->n_values) {
        err_set(&w->err, MOE2_EFORMAT,
                "%s: tensor %s has rows of %" PRId64 " values, which %s can't hold: its blocks "
                "are of %d",
                w->file.path, name, shape[n_dims - 1], layout->name, layout->n_values);
        return;
    }
    int64_t n_bytes = n / layout->n_values * layout->n_bytes;
    if (remember(w, name, n_bytes))
        return;
    text(&w->tensors, name, n_name, &w->err);
    number(&w->tensors, (uint64_t)n_dims, 4, &w->err);
    for (int i = n_dims - 1; i >= 0; i--)
        number(&w->tensors, (uint64_t)shape[i], 8, &w->err);
    number(&w->tensors, type, 4, &w->err);
    number(&w->tensors, w->offset, 8, &w->err);
    w->offset += (uint64_t)padded(n_bytes);
}

static int put_padding(struct gguf_writer *w, int64_t n, struct err *err)
{
    static const uint8_t zeros[GGUF_DEFAULT_ALIGNMENT];
    int64_t rest = padded(n) - n;
    return rest ? file_put(&w->file, zeros, (size_t)rest, err) : 0;
}

/* Goes over tensors that are complete, padding each. */
static int next_tensor(struct gguf_writer *w, struct err *err)
{
    int rc = 0;
    while (!rc && w->current < (int64_t)w->n_tensors && w->current_done == w->sizes[w->current]) {
        rc = put_padding(w, w->current_done, err);
        w->current++;
        w->current_done = 0;
    }
    return rc;
}

int gguf_begin_data(struct gguf_writer *w, struct err *err)
{
    struct buf head = {0};
    buf_puts(&head, "GGUF", &w->err);
    number(&head, VERSION, 4, &w->err);
    number(&head, w->n_tensors, 8, &w->err);
    number(&head, w->n_keys, 8, &w->err);
    int rc = w->err.code ? err_set(err, w->err.code, "%s", w->err.msg) : 0;
    if (!rc)
        rc = file_put(&w->file, head.bytes, head.n, err);
    if (!rc && w->keys.n)
        rc = file_put(&w->file, w->keys.bytes, w->keys.n, err);
    if (!rc && w->tensors.n)
        rc = file_put(&w->file, w->tensors.bytes, w->tensors.n, err);
    if (!rc)
        rc = put_padding(w, (int64_t)(head.n + w->keys.n + w->tensors.n), err);
    buf_release(&head);
    return rc ? rc : next_tensor(w, err);
}

int gguf_put(struct gguf_writer *w, const void *bytes, int64_t n, struct err *err)
{
    if (!n)
        return 0;
    assert(w->current < (int64_t)w->n_tensors && n <= w->sizes[w->current] - w->current_done);
    int rc = file_put(&w->file, bytes, (size_t)n, err);
    w->current_done += n;
    return rc ? rc : next_tensor(w, err);
}

int gguf_commit(struct gguf_writer *w, struct err *err)
{
    assert(w->current == (int64_t)w->n_tensors);
    int rc = file_commit(&w->file, err);
    gguf_abort(w);
    return rc;
}

void gguf_abort(struct gguf_writer *w)
{
    if (!w)
        return;
    file_abort(&w->file);
    buf_release(&w->keys);
    buf_release(&w->tensors);
    name_map_release(&w->names);
    arena_release(&w->arena);
    free(w->sizes);
    free(w);
}
