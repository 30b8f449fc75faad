/* Header and index of a checkpoint: see safetensors_header.h, the format in safetensors.h.
 *
 * Each check has its own sentence. Everything that the JSON says about bytes is compared with the
 * bytes that are there before a view is made, in arithmetic that can't overflow: sides and offsets
 * are below 2^63, products are checked. */
#include "io/safetensors_header.h"

#include <stdlib.h>
#include <string.h>

#include "io/json_scan.h"
#include "io/name_map.h"

static const struct {
    const char *name;
    int bits;
} TYPES[] = {
    {"BOOL", 8},    {"U8", 8},          {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"F4", 4},      {"F6_E2M3", 6},
    {"F6_E3M2", 6}, {"I16", 16},        {"U16", 16},        {"F16", 16},    {"BF16", 16},
    {"I32", 32},    {"U32", 32},        {"F32", 32},        {"F64", 64},    {"I64", 64},
    {"U64", 64},    {"C64", 64},
};

int safetensors_bits(const char *dtype_name)
{
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        if (strcmp(TYPES[i].name, dtype_name) == 0)
            return TYPES[i].bits;
    return 0;
}

/* What a parse carries along. */
struct parse {
    struct json_scan scan;
    struct arena *names;
    struct buf text; /* the string read last */
};

/* Reads a string into p->text: valid until the next one. */
static int read_text(struct parse *p, const char **out, struct err *err)
{
    buf_clear(&p->text);
    int rc = json_scan_string(&p->scan, &p->text, err);
    *out = p->text.bytes;
    return rc;
}

/* Reads a string that lives as long as the names. */
static int read_name(struct parse *p, const char **out, struct err *err)
{
    const char *s;
    int rc = read_text(p, &s, err);
    if (rc)
        return rc;
    *out = arena_strdup(p->names, s, err);
    return *out ? 0 : MOE2_ELIMIT;
}

/* Makes room for one more element of an array of the given element size. */
static int grow(void **array, int64_t n, int64_t *capacity, size_t element_bytes, struct err *err)
{
    if (n < *capacity)
        return 0;
    int64_t wanted = *capacity ? 2 * *capacity : 64;
    void *grown = realloc(*array, (size_t)wanted * element_bytes);
    if (!grown)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld entries", (long long)wanted);
    *array = grown;
    *capacity = wanted;
    return 0;
}

static int add_pair(struct safetensors_pair **pairs, int64_t *n, int64_t *capacity,
                    struct safetensors_pair pair, struct err *err)
{
    void *array = *pairs;
    int rc = grow(&array, *n, capacity, sizeof pair, err);
    *pairs = array;
    if (!rc)
        (*pairs)[(*n)++] = pair;
    return rc;
}

/* Reads {"key": "value", …}, without a key twice, behind what was there. */
static int read_pairs(struct parse *p, struct safetensors_pair **pairs, int64_t *n,
                      int64_t *capacity, const char *what, struct err *err)
{
    struct name_map seen = {0};
    int64_t n_items = 0, idx;
    bool more = false, is_new = false;
    int rc = json_scan_need(&p->scan, '{', err);
    while (!rc && !(rc = json_scan_more(&p->scan, &more, &n_items, '}', err)) && more) {
        struct safetensors_pair pair = {NULL, NULL};
        if ((rc = read_name(p, &pair.key, err)) || (rc = json_scan_need(&p->scan, ':', err)) ||
            (rc = read_name(p, &pair.value, err)) ||
            (rc = name_map_add(&seen, &idx, &is_new, pair.key, err)))
            break;
        rc = is_new ? add_pair(pairs, n, capacity, pair, err)
                    : err_set(err, MOE2_EFORMAT, "%s has the key \"%s\" twice", what, pair.key);
    }
    name_map_release(&seen);
    return rc;
}

static int read_shape(struct parse *p, struct safetensor *t, struct err *err)
{
    int64_t n_items = 0;
    bool more = false;
    int rc = json_scan_need(&p->scan, '[', err);
    t->n_dims = 0;
    while (!rc && !(rc = json_scan_more(&p->scan, &more, &n_items, ']', err)) && more) {
        if (t->n_dims == SAFETENSORS_MAX_DIMS)
            return err_set(err, MOE2_EFORMAT, "tensor %s has more than %d dimensions", t->name,
                           SAFETENSORS_MAX_DIMS);
        rc = json_scan_count(&p->scan, &t->shape[t->n_dims++], err);
    }
    return rc;
}

static int read_offsets(struct parse *p, int64_t offsets[2], struct err *err)
{
    int rc = json_scan_need(&p->scan, '[', err);
    if (!rc)
        rc = json_scan_count(&p->scan, &offsets[0], err);
    if (!rc)
        rc = json_scan_need(&p->scan, ',', err);
    if (!rc)
        rc = json_scan_count(&p->scan, &offsets[1], err);
    return rc ? rc : json_scan_need(&p->scan, ']', err);
}

static int read_dtype(struct parse *p, struct safetensor *t, struct err *err)
{
    const char *word;
    int rc = read_text(p, &word, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        if (strcmp(TYPES[i].name, word) == 0) {
            t->dtype_name = TYPES[i].name;
            t->dtype = dtype_from_name(word);
            return 0;
        }
    return err_set(err, MOE2_EFORMAT,
                   "tensor %s is of type \"%.40s\", wanted one of the format's types", t->name,
                   word);
}

/* The three fields of an entry, each once; fields that the format may gain are passed over. */
static int read_entry(struct parse *p, struct safetensor *t, int64_t offsets[2], struct err *err)
{
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    bool seen[3] = {false}, more = false;
    int64_t n_items = 0;
    int rc = json_scan_need(&p->scan, '{', err);
    while (!rc && !(rc = json_scan_more(&p->scan, &more, &n_items, '}', err)) && more) {
        const char *key;
        if ((rc = read_text(p, &key, err)) || (rc = json_scan_need(&p->scan, ':', err)))
            break;
        int f = 0;
        while (f < 3 && strcmp(fields[f], key) != 0)
            f++;
        if (f < 3 && seen[f])
            return err_set(err, MOE2_EFORMAT, "tensor %s has %s twice", t->name, fields[f]);
        if (f < 3)
            seen[f] = true;
        rc = f == 0   ? read_dtype(p, t, err)
             : f == 1 ? read_shape(p, t, err)
             : f == 2 ? read_offsets(p, offsets, err)
                      : json_scan_skip(&p->scan, err);
    }
    for (int f = 0; f < 3 && !rc; f++)
        if (!seen[f])
            rc = err_set(err, MOE2_EFORMAT, "tensor %s has no %s", t->name, fields[f]);
    return rc;
}

/* Compares type × shape with the offsets, and these with the data that is there. */
static int check_entry(struct safetensor *t, const int64_t offsets[2], int64_t n_data,
                       struct err *err)
{
    char text[160];
    int64_t n = 1, n_bits;
    bool overflow = false;
    for (int d = 0; d < t->n_dims; d++)
        overflow |= __builtin_mul_overflow(n, t->shape[d], &n);
    if (overflow || __builtin_mul_overflow(n, (int64_t)safetensors_bits(t->dtype_name), &n_bits))
        return err_set(err, MOE2_EFORMAT, "tensor %s of shape %s is larger than any file", t->name,
                       safetensors_shape_text(text, sizeof text, t->shape, t->n_dims));
    if (offsets[0] > offsets[1] || offsets[1] > n_data)
        return err_set(err, MOE2_EFORMAT,
                       "tensor %s lies at bytes %lld to %lld of the data, which has %lld", t->name,
                       (long long)offsets[0], (long long)offsets[1], (long long)n_data);
    if (n_bits % 8 || offsets[1] - offsets[0] != n_bits / 8)
        return err_set(err, MOE2_EFORMAT, "tensor %s is %s %s and has %lld bytes, wanted %lld%s",
                       t->name, t->dtype_name,
                       safetensors_shape_text(text, sizeof text, t->shape, t->n_dims),
                       (long long)(offsets[1] - offsets[0]), (long long)(n_bits / 8),
                       n_bits % 8 ? " and a part of a byte" : "");
    t->n_elements = n;
    t->n_bytes = n_bits / 8;
    return 0;
}

static int read_tensor(struct parse *p, struct safetensors_header *h, struct name_map *seen,
                       const char *name, const uint8_t *data, int64_t n_data, struct err *err)
{
    int64_t offsets[2] = {0, 0}, idx;
    bool is_new = false;
    struct safetensor t = {.name = name, .dtype = -1};
    if (!*name)
        return err_set(err, MOE2_EFORMAT, "a tensor has an empty name");
    void *array = h->tensors;
    int rc = name_map_add(seen, &idx, &is_new, name, err);
    if (!rc && !is_new)
        rc = err_set(err, MOE2_EFORMAT, "tensor %s stands twice in the header", name);
    if (!rc)
        rc = read_entry(p, &t, offsets, err);
    if (!rc)
        rc = check_entry(&t, offsets, n_data, err);
    if (!rc)
        rc = grow(&array, h->n, &h->capacity, sizeof t, err);
    h->tensors = array;
    if (rc)
        return rc;
    t.bytes = data + offsets[0];
    h->tensors[h->n++] = t;
    return 0;
}

static int read_header(struct parse *p, struct safetensors_header *h, const uint8_t *data,
                       int64_t n_data, struct err *err)
{
    struct name_map seen = {0};
    int64_t n_items = 0;
    bool more = false, had_metadata = false;
    int rc = json_scan_need(&p->scan, '{', err);
    while (!rc && !(rc = json_scan_more(&p->scan, &more, &n_items, '}', err)) && more) {
        const char *name;
        if ((rc = read_name(p, &name, err)) || (rc = json_scan_need(&p->scan, ':', err)))
            break;
        if (strcmp(name, "__metadata__") != 0) {
            rc = read_tensor(p, h, &seen, name, data, n_data, err);
            continue;
        }
        if (had_metadata)
            rc = err_set(err, MOE2_EFORMAT, "__metadata__ stands twice in the header");
        else
            rc = read_pairs(p, &h->metadata, &h->n_metadata, &h->metadata_capacity, "__metadata__",
                            err);
        had_metadata = true;
    }
    name_map_release(&seen);
    return rc ? rc : json_scan_need_end(&p->scan, err);
}

static int by_position(const void *a, const void *b)
{
    const struct safetensor *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return (x->n_bytes > y->n_bytes) - (x->n_bytes < y->n_bytes);
}

/* The tensors, sorted, must cover the data without a hole, an overlap or a rest. */
static int check_cover(const struct safetensors_header *h, const uint8_t *data, int64_t n_data,
                       struct err *err)
{
    int64_t at = 0;
    for (int64_t i = 0; i < h->n; i++) {
        const struct safetensor *t = &h->tensors[i];
        int64_t begin = t->bytes - data;
        if (begin < at)
            return err_set(err, MOE2_EFORMAT,
                           "tensor %s begins at byte %lld of the data, inside %s", t->name,
                           (long long)begin, h->tensors[i - 1].name);
        if (begin > at)
            return err_set(err, MOE2_EFORMAT, "bytes %lld to %lld of the data belong to no tensor",
                           (long long)at, (long long)begin);
        at = begin + t->n_bytes;
    }
    if (at != n_data)
        return err_set(err, MOE2_EFORMAT, "bytes %lld to %lld of the data belong to no tensor",
                       (long long)at, (long long)n_data);
    return 0;
}

/* The length in the first eight bytes, compared with the file and the format's limit. */
static int header_length(int64_t *out, const uint8_t *bytes, size_t n_bytes, struct err *err)
{
    uint64_t n = 0;
    if (n_bytes < 8)
        return err_set(err, MOE2_EFORMAT, "the file has %zu bytes, wanted at least 8", n_bytes);
    for (int i = 7; i >= 0; i--)
        n = n << 8 | bytes[i];
    if (n > SAFETENSORS_MAX_HEADER_BYTES)
        return err_set(err, MOE2_ELIMIT, "the header says it has %llu bytes, wanted at most %d",
                       (unsigned long long)n, SAFETENSORS_MAX_HEADER_BYTES);
    if (n > n_bytes - 8)
        return err_set(err, MOE2_EFORMAT,
                       "the header says it has %llu bytes, the file has %zu behind its first 8",
                       (unsigned long long)n, n_bytes - 8);
    if (n == 0 || bytes[8] != '{')
        return err_set(err, MOE2_EFORMAT,
                       "the header does not begin with '{': no safetensors file");
    *out = (int64_t)n;
    return 0;
}

int safetensors_header_parse(struct safetensors_header *out, const char *file, const uint8_t *bytes,
                             size_t n_bytes, struct arena *names, struct err *err)
{
    struct safetensors_header h = {0};
    struct parse p = {.names = names};
    int64_t n_header = 0;
    int rc = header_length(&n_header, bytes, n_bytes, err);
    if (rc)
        goto done;
    const uint8_t *data = bytes + 8 + n_header;
    int64_t n_data = (int64_t)n_bytes - 8 - n_header;
    json_scan_init(&p.scan, bytes + 8, (size_t)n_header);
    rc = read_header(&p, &h, data, n_data, err);
    if (rc)
        goto done;
    if (h.n)
        qsort(h.tensors, (size_t)h.n, sizeof *h.tensors, by_position);
    rc = check_cover(&h, data, n_data, err);
done:
    buf_release(&p.text);
    if (rc) {
        safetensors_header_release(&h);
        err_prefix(err, "%s", file);
        return rc;
    }
    for (int64_t i = 0; i < h.n; i++)
        if (h.tensors[i].n_bytes == 0)
            h.tensors[i].bytes = NULL;
    *out = h;
    return 0;
}

void safetensors_header_release(struct safetensors_header *h)
{
    free(h->tensors);
    free(h->metadata);
    *h = (struct safetensors_header){0};
}

/* A shard's name must be a file of the index's own folder. */
static int check_file_names(const struct safetensors_index *index, struct err *err)
{
    for (int64_t i = 0; i < index->n; i++) {
        const char *name = index->pairs[i].value;
        if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            return err_set(err, MOE2_EFORMAT,
                           "tensor %s lies in \"%.100s\", wanted the name of a file in this folder",
                           index->pairs[i].key, name);
    }
    return 0;
}

static int read_index(struct parse *p, struct safetensors_index *index, struct err *err)
{
    int64_t n_items = 0;
    bool more = false, had_map = false;
    int rc = json_scan_need(&p->scan, '{', err);
    while (!rc && !(rc = json_scan_more(&p->scan, &more, &n_items, '}', err)) && more) {
        const char *key;
        if ((rc = read_text(p, &key, err)) || (rc = json_scan_need(&p->scan, ':', err)))
            break;
        bool is_map = strcmp(key, "weight_map") == 0;
        if (!is_map)
            rc = json_scan_skip(&p->scan, err);
        else if (had_map)
            rc = err_set(err, MOE2_EFORMAT, "weight_map stands twice");
        else
            rc = read_pairs(p, &index->pairs, &index->n, &index->capacity, "weight_map", err);
        had_map = had_map || is_map;
    }
    if (!rc)
        rc = json_scan_need_end(&p->scan, err);
    if (!rc && !had_map)
        rc = err_set(err, MOE2_EFORMAT, "there is no weight_map");
    return rc ? rc : check_file_names(index, err);
}

int safetensors_index_parse(struct safetensors_index *out, const char *file, const uint8_t *bytes,
                            size_t n_bytes, struct arena *names, struct err *err)
{
    struct safetensors_index index = {0};
    struct parse p = {.names = names};
    json_scan_init(&p.scan, bytes, n_bytes);
    int rc = read_index(&p, &index, err);
    buf_release(&p.text);
    if (rc) {
        safetensors_index_release(&index);
        err_prefix(err, "%s", file);
        return rc;
    }
    *out = index;
    return 0;
}

void safetensors_index_release(struct safetensors_index *index)
{
    free(index->pairs);
    *index = (struct safetensors_index){0};
}
