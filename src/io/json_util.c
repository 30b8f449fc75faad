/* Reading JSON objects with good errors: see json_util.h. Writing is json_write.c. */
#include "io/json_util.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

static int read_line(json_t **out, const char *name, int64_t line, const void *bytes, size_t n,
                     size_t flags, struct err *err)
{
    json_error_t e;
    json_t *root =
        json_loadb(n ? bytes : "", n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | flags, &e);
    if (!root)
        return err_set(err, MOE2_EFORMAT, "%s:%lld:%d: is no JSON: %s", name,
                       (long long)(line + e.line - 1), e.column, e.text);
    *out = root;
    return 0;
}

int json_read_line(json_t **out, const char *name, int64_t line, const void *bytes, size_t n,
                   struct err *err)
{
    return read_line(out, name, line, bytes, n, 0, err);
}

int json_read_bytes(json_t **out, const char *name, const void *bytes, size_t n, struct err *err)
{
    return read_line(out, name, 1, bytes, n, 0, err);
}

static int read_whole(json_t **out, const char *path, size_t max_bytes, size_t flags,
                      struct err *err)
{
    struct buf b = {.max_bytes = max_bytes + (1 << 16)};
    int64_t size = file_size(path);
    if (size > 0 && (uint64_t)size > max_bytes)
        return err_set(err, MOE2_ELIMIT, "%s: has %lld bytes, wanted at most %zu", path,
                       (long long)size, max_bytes);
    int rc = file_read(&b, path, err);
    if (!rc)
        rc = read_line(out, path, 1, b.bytes, b.n, flags, err);
    buf_release(&b);
    return rc;
}

int json_read_file(json_t **out, const char *path, size_t max_bytes, struct err *err)
{
    return read_whole(out, path, max_bytes, 0, err);
}

int json_read_file_as_reals(json_t **out, const char *path, size_t max_bytes, struct err *err)
{
    return read_whole(out, path, max_bytes, JSON_DECODE_INT_AS_REAL, err);
}

/* What a value is, for a message: its own text when short, otherwise its kind. */
static void seen_text(char *text, size_t n_text, const json_t *v)
{
    size_t n = json_dumpb(v, text, n_text - 1, JSON_ENCODE_ANY | JSON_COMPACT);
    if (json_is_object(v))
        snprintf(text, n_text, "an object");
    else if (json_is_array(v))
        snprintf(text, n_text, "an array of %zu", json_array_size(v));
    else if (n > 0 && n < n_text)
        text[n] = 0;
    else
        snprintf(text, n_text, "a long text");
}

/* The value of key in o: *out is NULL when there is none, or null. MOE2_EFORMAT when o is no
 * object. */
static int find(const json_t **out, const json_t *o, const char *file, const char *key,
                struct err *err)
{
    if (!json_is_object(o))
        return err_set(err, MOE2_EFORMAT, "%s: is no object, wanted one with the key %s", file,
                       key);
    const json_t *v = json_object_get(o, key);
    *out = json_is_null(v) ? NULL : v;
    return 0;
}

/* "file: key is SEEN, wanted …", or "is missing". */
static int unwanted(const json_t *v, const char *file, const char *key, const char *wanted,
                    struct err *err)
{
    char text[80];
    if (!v)
        return err_set(err, MOE2_EFORMAT, "%s: %s is missing, wanted %s", file, key, wanted);
    seen_text(text, sizeof text, v);
    return err_set(err, MOE2_EFORMAT, "%s: %s is %s, wanted %s", file, key, text, wanted);
}

static int read_int(int64_t *out, const json_t *v, const char *file, const char *key, int64_t min,
                    int64_t max, struct err *err)
{
    char wanted[96];
    if (json_is_integer(v) && json_integer_value(v) >= min && json_integer_value(v) <= max) {
        *out = json_integer_value(v);
        return 0;
    }
    if (min == INT64_MIN && max == INT64_MAX)
        snprintf(wanted, sizeof wanted, "a whole number");
    else if (max == INT64_MAX)
        snprintf(wanted, sizeof wanted, "a whole number of at least %lld", (long long)min);
    else
        snprintf(wanted, sizeof wanted, "a whole number from %lld to %lld", (long long)min,
                 (long long)max);
    return unwanted(v, file, key, wanted, err);
}

static int read_real(double *out, const json_t *v, const char *file, const char *key, double min,
                     double max, struct err *err)
{
    char wanted[96];
    double x = json_number_value(v);
    if (json_is_number(v) && x >= min && x <= max && isfinite(x)) {
        *out = x;
        return 0;
    }
    if (isinf(min) && isinf(max))
        snprintf(wanted, sizeof wanted, "a number");
    else if (isinf(max))
        snprintf(wanted, sizeof wanted, "a number of at least %g", min);
    else if (isinf(min))
        snprintf(wanted, sizeof wanted, "a number of at most %g", max);
    else
        snprintf(wanted, sizeof wanted, "a number from %g to %g", min, max);
    return unwanted(v, file, key, wanted, err);
}

static int read_bool(bool *out, const json_t *v, const char *file, const char *key, struct err *err)
{
    if (!json_is_boolean(v))
        return unwanted(v, file, key, "true or false", err);
    *out = json_is_true(v);
    return 0;
}

static int read_text(const char **out, const json_t *v, const char *file, const char *key,
                     struct err *err)
{
    if (!json_is_string(v))
        return unwanted(v, file, key, "a string", err);
    *out = json_string_value(v);
    return 0;
}

static int read_tree(const json_t **out, const json_t *v, const char *file, const char *key,
                     json_type type, struct err *err)
{
    if (!v || json_typeof(v) != type)
        return unwanted(v, file, key, type == JSON_OBJECT ? "an object" : "an array", err);
    *out = v;
    return 0;
}

int json_need_int(int64_t *out, const json_t *o, const char *file, const char *key, int64_t min,
                  int64_t max, struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    return rc ? rc : read_int(out, v, file, key, min, max, err);
}

int json_need_real(double *out, const json_t *o, const char *file, const char *key, double min,
                   double max, struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    return rc ? rc : read_real(out, v, file, key, min, max, err);
}

int json_need_bool(bool *out, const json_t *o, const char *file, const char *key, struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    return rc ? rc : read_bool(out, v, file, key, err);
}

int json_need_text(const char **out, const json_t *o, const char *file, const char *key,
                   struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    return rc ? rc : read_text(out, v, file, key, err);
}

int json_need_object(const json_t **out, const json_t *o, const char *file, const char *key,
                     struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    return rc ? rc : read_tree(out, v, file, key, JSON_OBJECT, err);
}

int json_need_array(const json_t **out, const json_t *o, const char *file, const char *key,
                    struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    return rc ? rc : read_tree(out, v, file, key, JSON_ARRAY, err);
}

int json_opt_int(int64_t *out, int64_t fallback, const json_t *o, const char *file, const char *key,
                 int64_t min, int64_t max, struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    if (rc || v)
        return rc ? rc : read_int(out, v, file, key, min, max, err);
    *out = fallback;
    return 0;
}

int json_opt_real(double *out, double fallback, const json_t *o, const char *file, const char *key,
                  double min, double max, struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    if (rc || v)
        return rc ? rc : read_real(out, v, file, key, min, max, err);
    *out = fallback;
    return 0;
}

int json_opt_bool(bool *out, bool fallback, const json_t *o, const char *file, const char *key,
                  struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    if (rc || v)
        return rc ? rc : read_bool(out, v, file, key, err);
    *out = fallback;
    return 0;
}

int json_opt_text(const char **out, const char *fallback, const json_t *o, const char *file,
                  const char *key, struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    if (rc || v)
        return rc ? rc : read_text(out, v, file, key, err);
    *out = fallback;
    return 0;
}

int json_opt_object(const json_t **out, const json_t *o, const char *file, const char *key,
                    struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    if (rc || v)
        return rc ? rc : read_tree(out, v, file, key, JSON_OBJECT, err);
    *out = NULL;
    return 0;
}

int json_opt_array(const json_t **out, const json_t *o, const char *file, const char *key,
                   struct err *err)
{
    const json_t *v = NULL;
    int rc = find(&v, o, file, key, err);
    if (rc || v)
        return rc ? rc : read_tree(out, v, file, key, JSON_ARRAY, err);
    *out = NULL;
    return 0;
}
