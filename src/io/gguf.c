/* An open GGUF file: finding things, and the values of keys. See gguf.h. */
#include "io/gguf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "io/gguf_parts.h"
#include "tensor/block.h"

static int open_parsed(struct gguf **out, struct gguf *g, struct err *err)
{
    int rc = gguf_parse(g, err);
    if (rc) {
        gguf_close(g);
        return rc;
    }
    *out = g;
    return 0;
}

static struct gguf *named(const char *name, struct err *err)
{
    struct gguf *g = calloc(1, sizeof *g);
    if (!g || !(g->path = strdup(name))) {
        free(g);
        err_set(err, MOE2_ELIMIT, "%s: no memory to open it", name);
        return NULL;
    }
    return g;
}

int gguf_open(struct gguf **out, const char *path, struct err *err)
{
    struct gguf *g = named(path, err);
    if (!g)
        return MOE2_ELIMIT;
    int rc = file_map(&g->map, path, err);
    if (rc) {
        gguf_close(g);
        return rc;
    }
    g->bytes = g->map.bytes;
    g->n_bytes = g->map.n_bytes;
    return open_parsed(out, g, err);
}

int gguf_open_bytes(struct gguf **out, const char *name, const void *bytes, size_t n_bytes,
                    struct err *err)
{
    struct gguf *g = named(name, err);
    if (!g)
        return MOE2_ELIMIT;
    g->bytes = bytes;
    g->n_bytes = n_bytes;
    return open_parsed(out, g, err);
}

void gguf_close(struct gguf *g)
{
    if (!g)
        return;
    name_map_release(&g->by_name);
    name_map_release(&g->by_key);
    arena_release(&g->names);
    file_unmap(&g->map);
    free(g->keys);
    free(g->tensors);
    free(g->path);
    free(g);
}

bool gguf_is(const char *path)
{
    char magic[4] = {0};
    FILE *f = file_is_dir(path) ? NULL : fopen(path, "rb");
    if (!f)
        return false;
    size_t n = fread(magic, 1, sizeof magic, f);
    fclose(f);
    return n == sizeof magic && memcmp(magic, "GGUF", sizeof magic) == 0;
}

const char *gguf_path(const struct gguf *g)
{
    return g->path;
}

int gguf_version(const struct gguf *g)
{
    return g->version;
}

int64_t gguf_n_tensors(const struct gguf *g)
{
    return g->n_tensors;
}

const struct gguf_tensor *gguf_at(const struct gguf *g, int64_t i)
{
    assert(i >= 0 && i < g->n_tensors);
    return &g->tensors[i];
}

const struct gguf_tensor *gguf_find(const struct gguf *g, const char *name)
{
    int64_t i = name_map_find(&g->by_name, name);
    return i < 0 ? NULL : &g->tensors[i];
}

int64_t gguf_n_keys(const struct gguf *g)
{
    return g->n_keys;
}

const struct gguf_key *gguf_key_at(const struct gguf *g, int64_t i)
{
    assert(i >= 0 && i < g->n_keys);
    return &g->keys[i];
}

const struct gguf_key *gguf_key(const struct gguf *g, const char *name)
{
    int64_t i = name_map_find(&g->by_key, name);
    return i < 0 ? NULL : &g->keys[i];
}

/* ---- values ---- */

static int need(const struct gguf_key **out, const struct gguf *g, const char *key, struct err *err)
{
    *out = gguf_key(g, key);
    if (*out)
        return 0;
    const char *near = words_nearest(key, g->by_key.names, (size_t)g->by_key.n);
    return err_set(err, MOE2_EFORMAT, "%s: has no key %s%s%s%s", g->path, key,
                   near ? "; did it mean " : "", near ? near : "", near ? "?" : "");
}

static int wrong_type(const struct gguf *g, const struct gguf_key *k, const char *wanted,
                      struct err *err)
{
    bool array = k->type == GGUF_ARRAY;
    return err_set(err, MOE2_EFORMAT, "%s: key %s is %s%s, wanted %s", g->path, k->name,
                   array ? "an array of " : "", gguf_type_name(k->item_type), wanted);
}

static bool is_whole(enum gguf_type t)
{
    return t <= GGUF_I32 || t == GGUF_U64 || t == GGUF_I64;
}

/* A whole number of the file; a u64 above INT64_MAX becomes INT64_MAX. */
static int64_t whole_at(enum gguf_type t, const uint8_t *p)
{
    switch (t) {
    case GGUF_U8:
        return p[0];
    case GGUF_I8:
        return (int8_t)p[0];
    case GGUF_U16:
        return p[0] | p[1] << 8;
    case GGUF_I16:
        return (int16_t)(p[0] | p[1] << 8);
    case GGUF_U32:
        return gguf_u32_at(p);
    case GGUF_I32:
        return (int32_t)gguf_u32_at(p);
    case GGUF_I64:
        return (int64_t)gguf_u64_at(p);
    default: {
        uint64_t u = gguf_u64_at(p);
        return u > INT64_MAX ? INT64_MAX : (int64_t)u;
    }
    }
}

static double real_at(enum gguf_type t, const uint8_t *p)
{
    uint32_t narrow = 0;
    uint64_t wide = 0;
    float f = 0;
    double d = 0;
    if (is_whole(t))
        return (double)whole_at(t, p);
    if (t == GGUF_F32) {
        narrow = gguf_u32_at(p);
        memcpy(&f, &narrow, sizeof f);
        return f;
    }
    wide = gguf_u64_at(p);
    memcpy(&d, &wide, sizeof d);
    return d;
}

int gguf_int(int64_t *out, const struct gguf *g, const char *key, int64_t min, int64_t max,
             struct err *err)
{
    const struct gguf_key *k = NULL;
    int rc = need(&k, g, key, err);
    if (rc)
        return rc;
    if (!is_whole(k->type))
        return wrong_type(g, k, "a whole number", err);
    int64_t value = whole_at(k->type, k->value);
    if (value < min || value > max)
        return err_set(err, MOE2_EFORMAT,
                       "%s: key %s is %" PRId64 ", wanted %" PRId64 " to %" PRId64, g->path, key,
                       value, min, max);
    *out = value;
    return 0;
}

int gguf_real(double *out, const struct gguf *g, const char *key, struct err *err)
{
    const struct gguf_key *k = NULL;
    int rc = need(&k, g, key, err);
    if (rc)
        return rc;
    if (!is_whole(k->type) && k->type != GGUF_F32 && k->type != GGUF_F64)
        return wrong_type(g, k, "a number", err);
    *out = real_at(k->type, k->value);
    return 0;
}

int gguf_bool(bool *out, const struct gguf *g, const char *key, struct err *err)
{
    const struct gguf_key *k = NULL;
    int rc = need(&k, g, key, err);
    if (rc)
        return rc;
    if (k->type != GGUF_BOOL)
        return wrong_type(g, k, "a bool", err);
    *out = k->value[0] != 0;
    return 0;
}

int gguf_text(const char **out, const struct gguf *g, const char *key, struct err *err)
{
    const struct gguf_key *k = NULL;
    int rc = need(&k, g, key, err);
    if (rc)
        return rc;
    if (k->type != GGUF_TEXT)
        return wrong_type(g, k, "a text", err);
    if (memchr(k->value + 8, 0, k->n_bytes - 8))
        return err_set(err, MOE2_EFORMAT, "%s: key %s holds a NUL, wanted text", g->path, key);
    *out = k->text;
    return 0;
}

/* The key's array, checked to be of whole numbers (0), reals (1) or texts (2). */
static int need_array(const struct gguf_key **out, const struct gguf *g, const char *key, int kind,
                      struct err *err)
{
    static const char *const wanted[] = {"an array of whole numbers", "an array of reals",
                                         "an array of texts"};
    int rc = need(out, g, key, err);
    if (rc)
        return rc;
    const struct gguf_key *k = *out;
    bool fits = kind == 0   ? is_whole(k->item_type)
                : kind == 1 ? k->item_type == GGUF_F32 || k->item_type == GGUF_F64
                            : k->item_type == GGUF_TEXT;
    return k->type == GGUF_ARRAY && fits ? 0 : wrong_type(g, k, wanted[kind], err);
}

int gguf_texts(struct gguf_string *out, int64_t *n, const struct gguf *g, const char *key,
               struct err *err)
{
    const struct gguf_key *k = NULL;
    int rc = need_array(&k, g, key, 2, err);
    if (rc)
        return rc;
    const uint8_t *p = k->value;
    for (int64_t i = 0; out && i < k->n; i++) {
        out[i] = (struct gguf_string){.s = (const char *)p + 8, .n = (size_t)gguf_u64_at(p)};
        p += 8 + out[i].n;
    }
    *n = k->n;
    return 0;
}

int gguf_ints(int64_t *out, int64_t *n, const struct gguf *g, const char *key, struct err *err)
{
    const struct gguf_key *k = NULL;
    int rc = need_array(&k, g, key, 0, err);
    if (rc)
        return rc;
    for (int64_t i = 0; out && i < k->n; i++)
        out[i] = whole_at(k->item_type, k->value + (size_t)i * gguf_type_bytes(k->item_type));
    *n = k->n;
    return 0;
}

int gguf_reals(float *out, int64_t *n, const struct gguf *g, const char *key, struct err *err)
{
    const struct gguf_key *k = NULL;
    int rc = need_array(&k, g, key, 1, err);
    if (rc)
        return rc;
    for (int64_t i = 0; out && i < k->n; i++)
        out[i] = (float)real_at(k->item_type, k->value + (size_t)i * gguf_type_bytes(k->item_type));
    *n = k->n;
    return 0;
}

int gguf_to_f32(float *out, const struct gguf_tensor *t, int64_t first, int64_t n, struct err *err)
{
    assert(first >= 0 && n >= 0 && first + n <= t->n_elements);
    if (t->layout->dtype < 0 && t->layout->block < 0)
        return err_set(err, MOE2_EFORMAT, "tensor %s is of type %s, which moe2 can't read", t->name,
                       t->layout->name);
    if (!n)
        return 0;
    if (t->layout->block >= 0)
        block_decode(out, t->bytes, (enum block_type)t->layout->block, first, n);
    else
        dtype_bytes_to_f32(out, t->bytes, (enum dtype)t->layout->dtype, first, n);
    return 0;
}
