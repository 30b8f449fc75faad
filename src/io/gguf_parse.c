/* The header of a GGUF file: keys, tensors, and where their data lie. See gguf.h for the format.
 *
 * One cursor walks over the bytes; nothing is read that lies behind their end, and no number of the
 * file makes memory that the file's own length doesn't pay for.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/gguf_parts.h"
#include "tensor/block.h"

struct cursor {
    struct gguf *g;
    size_t at;
    struct err *err;
};

static const struct {
    const char *name;
    size_t bytes;
} types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_TEXT] = {"text", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_type_name(enum gguf_type t)
{
    return types[t].name;
}

size_t gguf_type_bytes(enum gguf_type t)
{
    return types[t].bytes;
}

uint32_t gguf_u32_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint64_t gguf_u64_at(const uint8_t *p)
{
    return gguf_u32_at(p) | (uint64_t)gguf_u32_at(p + 4) << 32;
}

#define PLAIN(number, type, size)                                                                  \
    {                                                                                              \
        number, #type, 1, size, DT_##type, -1                                                      \
    }
#define BLOCKS(number, type, values, size)                                                         \
    {                                                                                              \
        number, #type, values, size, -1, BLOCK_##type                                              \
    }
#define OTHER(number, type, values, size)                                                          \
    {                                                                                              \
        number, #type, values, size, -1, -1                                                        \
    }

static const struct gguf_layout layouts[] = {
    PLAIN(0, F32, 4),
    PLAIN(1, F16, 2),
    BLOCKS(2, Q4_0, 32, 18),
    BLOCKS(3, Q4_1, 32, 20),
    BLOCKS(6, Q5_0, 32, 22),
    BLOCKS(7, Q5_1, 32, 24),
    BLOCKS(8, Q8_0, 32, 34),
    OTHER(9, Q8_1, 32, 36),
    OTHER(10, Q2_K, 256, 84),
    OTHER(11, Q3_K, 256, 110),
    BLOCKS(12, Q4_K, 256, 144),
    BLOCKS(13, Q5_K, 256, 176),
    BLOCKS(14, Q6_K, 256, 210),
    OTHER(15, Q8_K, 256, 292),
    OTHER(16, IQ2_XXS, 256, 66),
    OTHER(17, IQ2_XS, 256, 74),
    OTHER(18, IQ3_XXS, 256, 98),
    OTHER(19, IQ1_S, 256, 50),
    OTHER(20, IQ4_NL, 32, 18),
    OTHER(21, IQ3_S, 256, 110),
    OTHER(22, IQ2_S, 256, 82),
    OTHER(23, IQ4_XS, 256, 136),
    PLAIN(24, I8, 1),
    PLAIN(25, I16, 2),
    PLAIN(26, I32, 4),
    PLAIN(27, I64, 8),
    PLAIN(28, F64, 8),
    OTHER(29, IQ1_M, 256, 56),
    PLAIN(30, BF16, 2),
    OTHER(34, TQ1_0, 256, 54),
    OTHER(35, TQ2_0, 256, 66),
    OTHER(39, MXFP4, 32, 17),
    OTHER(40, NVFP4, 64, 36),
};

const struct gguf_layout *gguf_layout_find(uint32_t number)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (layouts[i].number == number)
            return &layouts[i];
    return NULL;
}

/* n bytes at the cursor, which moves behind them; NULL with an error when the file ends before. */
static const uint8_t *take(struct cursor *c, uint64_t n, const char *what)
{
    if (n > c->g->n_bytes - c->at) {
        err_set(c->err, MOE2_EFORMAT,
                "%s: ends in %s at byte %zu, which takes %" PRIu64 " bytes of the %zu left",
                c->g->path, what, c->at, n, c->g->n_bytes - c->at);
        return NULL;
    }
    const uint8_t *p = c->g->bytes + c->at;
    c->at += (size_t)n;
    return p;
}

static int take_u32(uint32_t *out, struct cursor *c, const char *what)
{
    const uint8_t *p = take(c, 4, what);
    if (!p)
        return MOE2_EFORMAT;
    *out = gguf_u32_at(p);
    return 0;
}

static int take_u64(uint64_t *out, struct cursor *c, const char *what)
{
    const uint8_t *p = take(c, 8, what);
    if (!p)
        return MOE2_EFORMAT;
    *out = gguf_u64_at(p);
    return 0;
}

/* A name as a C string in the arena: 1 to max bytes, no NUL, nothing below a space. */
static int take_name(const char **out, struct cursor *c, size_t max, const char *what)
{
    uint64_t n = 0;
    int rc = take_u64(&n, c, what);
    if (rc)
        return rc;
    if (n < 1 || n > max)
        return err_set(c->err, MOE2_EFORMAT, "%s: %s has %" PRIu64 " bytes, wanted 1 to %zu",
                       c->g->path, what, n, max);
    const uint8_t *p = take(c, n, what);
    if (!p)
        return MOE2_EFORMAT;
    for (uint64_t i = 0; i < n; i++)
        if (p[i] < ' ')
            return err_set(c->err, MOE2_EFORMAT, "%s: %s holds a byte 0x%02x, wanted text",
                           c->g->path, what, p[i]);
    char *s = arena_alloc(&c->g->names, (size_t)n + 1, c->err);
    if (!s)
        return MOE2_ELIMIT;
    memcpy(s, p, (size_t)n);
    s[n] = 0;
    *out = s;
    return 0;
}

static int take_type(enum gguf_type *out, struct cursor *c, const char *key)
{
    uint32_t t = 0;
    int rc = take_u32(&t, c, "a key's type");
    if (!rc && t >= GGUF_TYPE_COUNT)
        return err_set(c->err, MOE2_EFORMAT, "%s: key %s is of type %u, wanted 0 to %d", c->g->path,
                       key, t, GGUF_TYPE_COUNT - 1);
    if (!rc)
        *out = (enum gguf_type)t;
    return rc;
}

static int skip_texts(struct cursor *c, int64_t n, const char *key)
{
    for (int64_t i = 0; i < n; i++) {
        uint64_t length = 0;
        int rc = take_u64(&length, c, key);
        if (rc || !take(c, length, key))
            return MOE2_EFORMAT;
    }
    return 0;
}

static int take_array_head(struct gguf_key *k, struct cursor *c)
{
    uint64_t n = 0;
    int rc = take_type(&k->item_type, c, k->name);
    if (!rc && k->item_type == GGUF_ARRAY)
        return err_set(c->err, MOE2_EFORMAT,
                       "%s: key %s is an array of arrays, wanted one of numbers or texts",
                       c->g->path, k->name);
    if (!rc)
        rc = take_u64(&n, c, k->name);
    if (!rc && n > GGUF_MAX_ITEMS)
        return err_set(c->err, MOE2_ELIMIT, "%s: key %s has %" PRIu64 " items, wanted at most %d",
                       c->g->path, k->name, n, GGUF_MAX_ITEMS);
    k->n = (int64_t)n;
    return rc;
}

/* The value of a text with a NUL behind it. */
static int keep_text(struct gguf_key *k, struct cursor *c)
{
    size_t n = k->n_bytes - 8;
    char *s = arena_alloc(&c->g->names, n + 1, c->err);
    if (!s)
        return MOE2_ELIMIT;
    memcpy(s, k->value + 8, n);
    s[n] = 0;
    k->text = s;
    return 0;
}

static int take_key(struct gguf_key *k, struct cursor *c)
{
    int rc = take_name(&k->name, c, GGUF_MAX_KEY, "a key");
    if (!rc)
        rc = take_type(&k->type, c, k->name);
    k->n = 1;
    k->item_type = k->type;
    if (!rc && k->type == GGUF_ARRAY)
        rc = take_array_head(k, c);
    if (rc)
        return rc;
    size_t begin = c->at, size = gguf_type_bytes(k->item_type);
    k->value = c->g->bytes + begin;
    if (!size)
        rc = skip_texts(c, k->n, k->name);
    else if (!take(c, (uint64_t)k->n * size, k->name))
        rc = MOE2_EFORMAT;
    k->n_bytes = c->at - begin;
    return !rc && k->type == GGUF_TEXT ? keep_text(k, c) : rc;
}

/* Adds a name to a map; one that is there already is an error. */
static int add_name(struct name_map *m, struct cursor *c, const char *name, const char *what)
{
    int64_t idx;
    bool is_new = false;
    int rc = name_map_add(m, &idx, &is_new, name, c->err);
    if (!rc && !is_new)
        return err_set(c->err, MOE2_EFORMAT, "%s: %s %s stands twice", c->g->path, what, name);
    return rc;
}

/* Sides, the slowest first; their product must be countable. */
static int take_shape(struct gguf_tensor *t, struct cursor *c)
{
    uint32_t n_dims = 0;
    int rc = take_u32(&n_dims, c, "a tensor's dimensions");
    if (rc)
        return rc;
    if (n_dims > GGUF_MAX_DIMS)
        return err_set(c->err, MOE2_EFORMAT, "%s: tensor %s has %u dimensions, wanted at most %d",
                       c->g->path, t->name, n_dims, GGUF_MAX_DIMS);
    t->n_dims = (int)n_dims;
    t->n_elements = 1;
    for (int i = t->n_dims - 1; i >= 0; i--) {
        uint64_t side = 0;
        rc = take_u64(&side, c, "a tensor's shape");
        if (rc)
            return rc;
        if (side > INT64_MAX ||
            __builtin_mul_overflow(t->n_elements, (int64_t)side, &t->n_elements) ||
            t->n_elements > INT64_MAX / 16)
            return err_set(c->err, MOE2_EFORMAT, "%s: tensor %s is larger than any file",
                           c->g->path, t->name);
        t->shape[i] = (int64_t)side;
    }
    return 0;
}

static int take_layout(struct gguf_tensor *t, struct cursor *c)
{
    uint32_t number = 0;
    int rc = take_u32(&number, c, "a tensor's type");
    if (rc)
        return rc;
    t->layout = gguf_layout_find(number);
    if (!t->layout)
        return err_set(c->err, MOE2_EFORMAT,
                       "%s: tensor %s is of type %u, which is none that moe2 knows", c->g->path,
                       t->name, number);
    int64_t columns = t->n_dims ? t->shape[t->n_dims - 1] : 1;
    if (columns % t->layout->n_values)
        return err_set(c->err, MOE2_EFORMAT,
                       "%s: tensor %s is %s and has rows of %" PRId64
                       " values, wanted a multiple of %d",
                       c->g->path, t->name, t->layout->name, columns, t->layout->n_values);
    t->n_bytes = t->n_elements / t->layout->n_values * t->layout->n_bytes;
    return 0;
}

/* A tensor's entry; bytes holds its offset until the data's start is known. */
static int take_tensor(struct gguf_tensor *t, uint64_t *offset, struct cursor *c)
{
    int rc = take_name(&t->name, c, GGUF_MAX_NAME, "a tensor's name");
    if (!rc)
        rc = take_shape(t, c);
    if (!rc)
        rc = take_layout(t, c);
    if (!rc)
        rc = take_u64(offset, c, "a tensor's offset");
    if (!rc && *offset % (uint64_t)c->g->alignment)
        return err_set(c->err, MOE2_EFORMAT,
                       "%s: tensor %s begins at byte %" PRIu64
                       " of the data, wanted a multiple of %" PRId64,
                       c->g->path, t->name, *offset, c->g->alignment);
    return rc;
}

static int place(struct gguf_tensor *t, uint64_t offset, size_t start, struct cursor *c)
{
    size_t n_data = c->g->n_bytes > start ? c->g->n_bytes - start : 0;
    if (offset > n_data || (uint64_t)t->n_bytes > n_data - offset)
        return err_set(c->err, MOE2_EFORMAT,
                       "%s: tensor %s of %" PRId64 " bytes begins at byte %" PRIu64
                       " of the data, which has %zu",
                       c->g->path, t->name, t->n_bytes, offset, n_data);
    t->bytes = t->n_bytes ? c->g->bytes + start + offset : NULL;
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct gguf_tensor *x = *(const struct gguf_tensor *const *)a;
    const struct gguf_tensor *y = *(const struct gguf_tensor *const *)b;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int check_overlaps(struct cursor *c)
{
    struct gguf *g = c->g;
    const struct gguf_tensor **sorted = malloc(((size_t)g->n_tensors + 1) * sizeof *sorted);
    int64_t n = 0;
    int rc = 0;
    if (!sorted)
        return err_set(c->err, MOE2_ELIMIT, "%s: no memory for its list of tensors", g->path);
    for (int64_t i = 0; i < g->n_tensors; i++)
        if (g->tensors[i].n_bytes)
            sorted[n++] = &g->tensors[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_place);
    for (int64_t i = 1; i < n && !rc; i++)
        if (sorted[i - 1]->bytes + sorted[i - 1]->n_bytes > sorted[i]->bytes)
            rc = err_set(c->err, MOE2_EFORMAT, "%s: tensor %s begins inside %s", g->path,
                         sorted[i]->name, sorted[i - 1]->name);
    free(sorted);
    return rc;
}

/* A number of things that the file claims to have, each of at least min_bytes of it. */
static int check_claim(uint64_t n, uint64_t limit, size_t min_bytes, const char *what,
                       struct cursor *c)
{
    if (n > limit)
        return err_set(c->err, MOE2_ELIMIT, "%s: has %" PRIu64 " %s, wanted at most %" PRIu64,
                       c->g->path, n, what, limit);
    if (n > (c->g->n_bytes - c->at) / min_bytes)
        return err_set(c->err, MOE2_EFORMAT,
                       "%s: claims %" PRIu64 " %s, more than its %zu bytes can hold", c->g->path, n,
                       what, c->g->n_bytes);
    return 0;
}

static int take_head(uint64_t *n_tensors, uint64_t *n_keys, struct cursor *c)
{
    uint32_t version = 0;
    const uint8_t *magic = take(c, 4, "its head");
    if (!magic)
        return MOE2_EFORMAT;
    if (memcmp(magic, "GGUF", 4) != 0)
        return err_set(c->err, MOE2_EFORMAT, "%s: begins with %02x %02x %02x %02x, wanted \"GGUF\"",
                       c->g->path, magic[0], magic[1], magic[2], magic[3]);
    int rc = take_u32(&version, c, "its head");
    if (!rc && version != 2 && version != 3)
        return err_set(c->err, MOE2_EFORMAT, "%s: is GGUF version %u, wanted 2 or 3", c->g->path,
                       version);
    c->g->version = (int)version;
    if (!rc)
        rc = take_u64(n_tensors, c, "its head");
    if (!rc)
        rc = take_u64(n_keys, c, "its head");
    if (!rc)
        rc = check_claim(*n_keys, GGUF_MAX_KEYS, 14, "keys", c);
    if (!rc)
        rc = check_claim(*n_tensors, GGUF_MAX_TENSORS, 25, "tensors", c);
    return rc;
}

static int take_keys(struct cursor *c, uint64_t n)
{
    struct gguf *g = c->g;
    g->keys = calloc((size_t)n + 1, sizeof *g->keys);
    if (!g->keys)
        return err_set(c->err, MOE2_ELIMIT, "%s: no memory for its keys", g->path);
    int rc = 0;
    for (uint64_t i = 0; i < n && !rc; i++) {
        rc = take_key(&g->keys[i], c);
        if (!rc)
            rc = add_name(&g->by_key, c, g->keys[i].name, "key");
        if (!rc)
            g->n_keys++;
    }
    g->alignment = GGUF_DEFAULT_ALIGNMENT;
    if (rc || !gguf_key(g, "general.alignment"))
        return rc;
    rc = gguf_int(&g->alignment, g, "general.alignment", 1, GGUF_MAX_ALIGNMENT, c->err);
    if (!rc && g->alignment & (g->alignment - 1))
        return err_set(c->err, MOE2_EFORMAT,
                       "%s: general.alignment is %" PRId64 ", wanted a power of two", g->path,
                       g->alignment);
    return rc;
}

static int take_tensors(struct cursor *c, uint64_t n)
{
    struct gguf *g = c->g;
    g->tensors = calloc((size_t)n + 1, sizeof *g->tensors);
    uint64_t *offsets = calloc((size_t)n + 1, sizeof *offsets);
    int rc = g->tensors && offsets
                 ? 0
                 : err_set(c->err, MOE2_ELIMIT, "%s: no memory for its list of tensors", g->path);
    for (uint64_t i = 0; i < n && !rc; i++) {
        rc = take_tensor(&g->tensors[i], &offsets[i], c);
        if (!rc)
            rc = add_name(&g->by_name, c, g->tensors[i].name, "tensor");
        if (!rc)
            g->n_tensors++;
    }
    size_t a = (size_t)g->alignment, start = (c->at + a - 1) / a * a;
    for (uint64_t i = 0; i < n && !rc; i++)
        rc = place(&g->tensors[i], offsets[i], start, c);
    free(offsets);
    return rc ? rc : check_overlaps(c);
}

int gguf_parse(struct gguf *g, struct err *err)
{
    struct cursor c = {.g = g, .err = err};
    uint64_t n_tensors = 0, n_keys = 0;
    int rc = take_head(&n_tensors, &n_keys, &c);
    if (!rc)
        rc = take_keys(&c, n_keys);
    if (!rc)
        rc = take_tensors(&c, n_tensors);
    return rc;
}
