/* JSON with good errors: objects read through jansson, documents written into a struct buf.
 *
 *     json_t *root;
 *     json_read_file(&root, "config.json", 1 << 20, err);
 *     json_need_int(&hidden, root, "config.json", "hidden_size", 1, 1 << 20, err);
 *     json_opt_real(&theta, 10000.0, root, "config.json", "rope_theta", 0, INFINITY, err);
 *     json_decref(root);
 *
 *     struct json_writer w;
 *     json_writer_init(&w, &buf, 2);
 *     jw_object(&w, NULL);
 *     jw_int(&w, "tokens", 512);
 *     jw_f32(&w, "loss", 2.5f);                       NaN and infinity become null
 *     jw_end(&w);
 *     json_writer_end(&w, err);                       the first thing that went wrong, if any
 */
#ifndef MOE2_IO_JSON_UTIL_H
#define MOE2_IO_JSON_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

enum { JSON_MAX_DEPTH = 64 };

/* ---- reading ---- */

/* Parses a file of at most max_bytes, or n bytes named `name` in messages. A key twice in one
 * object is refused, as is anything behind the value. *out is the caller's (json_decref). Errors:
 * MOE2_EIO, MOE2_ELIMIT, MOE2_EFORMAT with line and column. */
int json_read_file(json_t **out, const char *path, size_t max_bytes, struct err *err);
int json_read_bytes(json_t **out, const char *name, const void *bytes, size_t n, struct err *err);

/* A file in which whole numbers may be beyond 64 bits: they are real ones in *out. */
int json_read_file_as_reals(json_t **out, const char *path, size_t max_bytes, struct err *err);

/* json_read_bytes of a piece of a file that begins in line `line`, counted from 1. */
int json_read_line(json_t **out, const char *name, int64_t line, const void *bytes, size_t n,
                   struct err *err);

/* The value of a key of the object o, which must be there and have that type and range (both ends
 * included). file stands in the message: "config.json: hidden_size is \"abc\", wanted a whole
 * number from 1 to 1048576". A real may be written as a whole number. Strings and objects are
 * borrowed from o. Errors: MOE2_EFORMAT, also when o is no object. */
int json_need_int(int64_t *out, const json_t *o, const char *file, const char *key, int64_t min,
                  int64_t max, struct err *err);
int json_need_real(double *out, const json_t *o, const char *file, const char *key, double min,
                   double max, struct err *err);
int json_need_bool(bool *out, const json_t *o, const char *file, const char *key, struct err *err);
int json_need_text(const char **out, const json_t *o, const char *file, const char *key,
                   struct err *err);
int json_need_object(const json_t **out, const json_t *o, const char *file, const char *key,
                     struct err *err);
int json_need_array(const json_t **out, const json_t *o, const char *file, const char *key,
                    struct err *err);

/* The same, but a missing key or null gives the fallback (NULL for objects and arrays). */
int json_opt_int(int64_t *out, int64_t fallback, const json_t *o, const char *file, const char *key,
                 int64_t min, int64_t max, struct err *err);
int json_opt_real(double *out, double fallback, const json_t *o, const char *file, const char *key,
                  double min, double max, struct err *err);
int json_opt_bool(bool *out, bool fallback, const json_t *o, const char *file, const char *key,
                  struct err *err);
int json_opt_text(const char **out, const char *fallback, const json_t *o, const char *file,
                  const char *key, struct err *err);
int json_opt_object(const json_t **out, const json_t *o, const char *file, const char *key,
                    struct err *err);
int json_opt_array(const json_t **out, const json_t *o, const char *file, const char *key,
                   struct err *err);

/* ---- writing ---- */

struct json_writer {
    struct buf *out; /* borrowed */
    int indent;      /* spaces a level; 0: all on one line */
    int depth;
    bool is_array[JSON_MAX_DEPTH], has_items[JSON_MAX_DEPTH];
    struct err err; /* the first error; everything after it does nothing */
};

void json_writer_init(struct json_writer *w, struct buf *out, int indent);

/* key is NULL inside arrays and for the outermost value, and only there. */
void jw_object(struct json_writer *w, const char *key);
void jw_array(struct json_writer *w, const char *key);
void jw_end(struct json_writer *w); /* of the innermost object or array */
void jw_int(struct json_writer *w, const char *key, int64_t value);
void jw_f32(struct json_writer *w, const char *key,
            float value); /* shortest text that reads back to the same float32 */
void jw_real(struct json_writer *w, const char *key, double value); /* the same for a double */
void jw_bool(struct json_writer *w, const char *key, bool value);
void jw_text(struct json_writer *w, const char *key,
             const char *value); /* NULL: null. Bytes that are not UTF-8 become U+FFFD */
void jw_null(struct json_writer *w, const char *key);
void jw_f32s(struct json_writer *w, const char *key, const float *values,
             int64_t n); /* arrays, on one line */
void jw_reals(struct json_writer *w, const char *key, const double *values, int64_t n);
void jw_ints(struct json_writer *w, const char *key, const int64_t *values, int64_t n);

/* Ends the document: asserts that everything was closed, returns the first error. */
int json_writer_end(struct json_writer *w, struct err *err);

/* Ends the document with a newline and writes it to path, as a whole or not at all (file_write); the
 * buffer stays the caller's. Errors: those of json_writer_end and file_write. */
int json_writer_file(struct json_writer *w, const char *path, struct err *err);

/* Appends s as a JSON string, with its quotes. */
int json_quote(struct buf *out, const char *s, size_t n, struct err *err);

/* Shortest decimal that reads back to the same number; "null" for NaN and infinity. text has 32
 * bytes; returned. */
char *json_f32_text(char text[32], float value);
char *json_real_text(char text[32], double value);

#endif
