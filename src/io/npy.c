/* npy files: see npy.h. The header is a Python dictionary literal; NumPy writes exactly three keys,
 * so a scanner of a page reads every file that NumPy makes and refuses the rest. */
#include "io/npy.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *descr;
    enum dtype dtype;
} TYPES[] = {
    {"<f4", DT_F32}, {"<f8", DT_F64}, {"<f2", DT_F16}, {"<i4", DT_I32},
    {"<i8", DT_I64}, {"<i2", DT_I16}, {"|i1", DT_I8},  {"<u4", DT_U32},
    {"<u8", DT_U64}, {"<u2", DT_U16}, {"|u1", DT_U8},  {"|b1", DT_BOOL},
};

enum { N_TYPES = sizeof TYPES / sizeof *TYPES };

/* ---- reading ---- */

struct literal {
    const char *p, *end;
};

static void pass_space(struct literal *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n'))
        s->p++;
}

static bool take(struct literal *s, char c)
{
    pass_space(s);
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

/* 'word' into text. */
static bool take_string(struct literal *s, char text[24])
{
    if (!take(s, '\''))
        return false;
    size_t n = 0;
    while (s->p < s->end && *s->p != '\'' && n < 23)
        text[n++] = *s->p++;
    text[n] = 0;
    return take(s, '\'');
}

static bool take_word(struct literal *s, const char *word)
{
    size_t n = strlen(word);
    pass_space(s);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return false;
    s->p += n;
    return true;
}

static bool take_int(struct literal *s, int64_t *out)
{
    int64_t v = 0;
    pass_space(s);
    const char *from = s->p;
    for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++)
        if (__builtin_mul_overflow(v, (int64_t)10, &v) ||
            __builtin_add_overflow(v, (int64_t)(*s->p - '0'), &v))
            return false;
    *out = v;
    return s->p > from;
}

/* "(3, 4)", "(3,)" or "()". */
static int take_shape(struct npy *a, struct literal *s, struct err *err)
{
    a->n_dims = 0;
    bool ok = take(s, '(');
    while (ok && !take(s, ')')) {
        if (a->n_dims == NPY_MAX_DIMS)
            return err_set(err, MOE2_EFORMAT, "has more than %d dimensions", NPY_MAX_DIMS);
        ok = take_int(s, &a->shape[a->n_dims++]);
        if (ok && !take(s, ',')) {
            ok = take(s, ')');
            break;
        }
    }
    return ok ? 0 : err_set(err, MOE2_EFORMAT, "its header has no shape of the form (3, 4)");
}

static int take_descr(struct npy *a, struct literal *s, struct err *err)
{
    char text[24];
    if (!take_string(s, text))
        return err_set(err, MOE2_EFORMAT,
                       "has a structured or unnamed type, wanted one number each");
    for (int i = 0; i < N_TYPES; i++)
        if (strcmp(TYPES[i].descr, text) == 0) {
            a->dtype = TYPES[i].dtype;
            return 0;
        }
    return err_set(err, MOE2_EFORMAT, "is of type '%s', wanted little-endian numbers such as '<f4'",
                   text);
}

static int take_order(struct npy *a, struct literal *s, struct err *err)
{
    a->fortran_order = take_word(s, "True");
    if (a->fortran_order || take_word(s, "False"))
        return 0;
    return err_set(err, MOE2_EFORMAT, "its fortran_order is neither True nor False");
}

/* The dictionary, its three keys each once in any order. */
static int take_header(struct npy *a, struct literal *s, struct err *err)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    bool seen[3] = {false};
    char key[24];
    int rc = 0;
    if (!take(s, '{'))
        return err_set(err, MOE2_EFORMAT, "its header does not begin with '{'");
    while (!rc && !take(s, '}')) {
        int k = 0;
        if (!take_string(s, key) || !take(s, ':'))
            return err_set(err, MOE2_EFORMAT, "its header is cut off or no dictionary");
        while (k < 3 && strcmp(keys[k], key) != 0)
            k++;
        if (k == 3 || seen[k])
            return err_set(err, MOE2_EFORMAT, "its header has the key '%s' %s", key,
                           k == 3 ? "too much" : "twice");
        seen[k] = true;
        rc = k == 0   ? take_descr(a, s, err)
             : k == 1 ? take_order(a, s, err)
                      : take_shape(a, s, err);
        if (!rc && !take(s, ',')) {
            if (!take(s, '}'))
                return err_set(err, MOE2_EFORMAT, "its header is cut off or no dictionary");
            break;
        }
    }
    for (int k = 0; k < 3 && !rc; k++)
        if (!seen[k])
            rc = err_set(err, MOE2_EFORMAT, "its header has no %s", keys[k]);
    return rc;
}

static int check_size(struct npy *a, size_t n_data, struct err *err)
{
    int64_t n = 1, n_bytes;
    bool overflow = false;
    for (int d = 0; d < a->n_dims; d++)
        overflow |= __builtin_mul_overflow(n, a->shape[d], &n);
    overflow |= __builtin_mul_overflow(n, (int64_t)dtype_bytes(a->dtype), &n_bytes);
    if (overflow)
        return err_set(err, MOE2_EFORMAT, "has a shape larger than any file");
    if ((uint64_t)n_bytes != n_data)
        return err_set(err, MOE2_EFORMAT, "has %zu bytes of data, wanted %lld by its shape", n_data,
                       (long long)n_bytes);
    a->n_elements = n;
    return 0;
}

/* Fills a from the bytes of a->map. */
static int parse(struct npy *a, struct err *err)
{
    const uint8_t *b = a->map.bytes;
    size_t n = a->map.n_bytes;
    if (n < 10 || memcmp(b, "\x93NUMPY", 6) != 0)
        return err_set(err, MOE2_EFORMAT, "is no npy file");
    if ((b[6] != 1 && b[6] != 2) || b[7] != 0)
        return err_set(err, MOE2_EFORMAT, "is of npy version %d.%d, wanted 1.0 or 2.0", b[6], b[7]);
    size_t begin = b[6] == 1 ? 10 : 12;
    if (n < begin)
        return err_set(err, MOE2_EFORMAT, "is cut off in its first %zu bytes", begin);
    size_t n_header = (size_t)b[8] | (size_t)b[9] << 8;
    if (begin == 12)
        n_header |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
    if (n_header > NPY_MAX_HEADER_BYTES)
        return err_set(err, MOE2_ELIMIT, "says its header has %zu bytes, wanted at most %d",
                       n_header, NPY_MAX_HEADER_BYTES);
    if (n_header > n - begin)
        return err_set(err, MOE2_EFORMAT, "is cut off inside its header");
    struct literal s = {(const char *)b + begin, (const char *)b + begin + n_header};
    int rc = take_header(a, &s, err);
    if (!rc)
        rc = check_size(a, n - begin - n_header, err);
    if (rc)
        return rc;
    a->data = a->n_elements ? b + begin + n_header : NULL;
    if ((uintptr_t)a->data % dtype_bytes(a->dtype))
        return err_set(err, MOE2_EFORMAT, "its data begin at byte %zu, wanted a multiple of %zu",
                       begin + n_header, dtype_bytes(a->dtype));
    return 0;
}

static int open_array(struct npy *out, const char *path, bool any_order, struct err *err)
{
    struct npy a = {0};
    int rc = file_map(&a.map, path, err);
    if (rc)
        return rc;
    rc = parse(&a, err);
    if (!rc && a.fortran_order && !any_order)
        rc = err_set(err, MOE2_EFORMAT, "is in Fortran order, wanted C order");
    if (rc) {
        err_prefix(err, "%s", path);
        npy_close(&a);
        return rc;
    }
    *out = a;
    return 0;
}

int npy_open(struct npy *out, const char *path, struct err *err)
{
    return open_array(out, path, false, err);
}

int npy_open_any_order(struct npy *out, const char *path, struct err *err)
{
    return open_array(out, path, true, err);
}

void npy_close(struct npy *a)
{
    file_unmap(&a->map);
    *a = (struct npy){0};
}

/* ---- writing ---- */

/* NumPy's name of a type, or NULL. */
static const char *descr_of(enum dtype dtype)
{
    for (int i = 0; i < N_TYPES; i++)
        if (TYPES[i].dtype == dtype)
            return TYPES[i].descr;
    return NULL;
}

int npy_header(struct buf *out, enum dtype dtype, const int64_t *shape, int n_dims, struct err *err)
{
    struct buf b = {0};
    const char *descr = descr_of(dtype);
    if (!descr)
        return err_set(err, MOE2_EFORMAT, "%s has no name in npy files", dtype_name(dtype));
    int rc = buf_printf(&b, err, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int d = 0; d < n_dims && !rc; d++)
        rc = buf_printf(&b, err, "%lld%s", (long long)shape[d],
                        n_dims == 1 || d + 1 < n_dims ? ", " : "");
    if (!rc)
        rc = buf_puts(&b, "), }", err);
    while (!rc && (10 + b.n + 1) % 64)
        rc = buf_append(&b, " ", 1, err);
    if (!rc)
        rc = buf_append(&b, "\n", 1, err);
    if (!rc)
        rc = buf_append(out, "\x93NUMPY\x01", 8, err);
    if (!rc)
        rc = buf_append(out, (uint8_t[]){(uint8_t)b.n, (uint8_t)(b.n >> 8)}, 2, err);
    if (!rc)
        rc = buf_append(out, b.bytes, b.n, err);
    buf_release(&b);
    return rc;
}

int npy_begin(struct npy_writer *w, const char *path, enum dtype dtype, const int64_t *shape,
              int n_dims, struct err *err)
{
    int64_t n_bytes = (int64_t)dtype_bytes(dtype);
    bool overflow = false;
    struct buf header = {0};
    *w = (struct npy_writer){0};
    assert(n_dims >= 0 && n_dims <= NPY_MAX_DIMS);
    for (int d = 0; d < n_dims; d++) {
        assert(shape[d] >= 0);
        overflow |= __builtin_mul_overflow(n_bytes, shape[d], &n_bytes);
    }
    if (overflow)
        return err_set(err, MOE2_EFORMAT, "%s: has a shape larger than any file", path);
    int rc = npy_header(&header, dtype, shape, n_dims, err);
    if (rc)
        err_prefix(err, "%s", path);
    if (!rc)
        rc = file_begin(&w->file, path, err);
    if (!rc)
        rc = file_put(&w->file, header.bytes, header.n, err);
    buf_release(&header);
    if (rc)
        npy_abort(w);
    w->n_bytes_left = n_bytes;
    return rc;
}

int npy_put(struct npy_writer *w, const void *data, int64_t n_bytes, struct err *err)
{
    assert(n_bytes >= 0 && n_bytes <= w->n_bytes_left);
    int rc = file_put(&w->file, data, (size_t)n_bytes, err);
    if (!rc)
        w->n_bytes_left -= n_bytes;
    return rc;
}

int npy_commit(struct npy_writer *w, struct err *err)
{
    if (w->n_bytes_left) {
        int rc = err_set(err, MOE2_EFORMAT, "%s: %lld bytes of the array were not written",
                         w->file.path, (long long)w->n_bytes_left);
        npy_abort(w);
        return rc;
    }
    return file_commit(&w->file, err);
}

void npy_abort(struct npy_writer *w)
{
    file_abort(&w->file);
    w->n_bytes_left = 0;
}

int npy_write(const char *path, enum dtype dtype, const int64_t *shape, int n_dims,
              const void *data, struct err *err)
{
    struct npy_writer w;
    int rc = npy_begin(&w, path, dtype, shape, n_dims, err);
    if (rc)
        return rc;
    rc = npy_put(&w, data, w.n_bytes_left, err);
    if (!rc)
        return npy_commit(&w, err);
    npy_abort(&w);
    return rc;
}
