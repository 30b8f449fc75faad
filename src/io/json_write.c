/* Writing JSON: see json_util.h. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/json_scan.h"
#include "io/json_util.h"

/* Bytes that need no escape are appended in runs. */
int json_quote(struct buf *out, const char *s, size_t n, struct err *err)
{
    const uint8_t *p = (const uint8_t *)s;
    int rc = buf_append(out, "\"", 1, err);
    for (size_t i = 0; i < n && !rc;) {
        size_t run = i;
        while (run < n && p[run] >= ' ' && p[run] != '"' && p[run] != '\\' && p[run] != 0x7f)
            run++;
        size_t valid = utf8_valid_bytes(p + i, run - i);
        rc = buf_append(out, p + i, valid, err);
        i += valid;
        if (rc || i == n)
            break;
        if (i < run)
            rc = buf_puts(out, "\xef\xbf\xbd", err);
        else if (p[i] == '"' || p[i] == '\\')
            rc = buf_append(out, (char[]){'\\', (char)p[i]}, 2, err);
        else if (p[i] == '\n')
            rc = buf_puts(out, "\\n", err);
        else
            rc = buf_printf(out, err, "\\u%04x", p[i]);
        i++;
    }
    return rc ? rc : buf_append(out, "\"", 1, err);
}

char *json_f32_text(char text[32], float value)
{
    if (!isfinite(value))
        return memcpy(text, "null", 5);
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, 32, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return text;
}

char *json_real_text(char text[32], double value)
{
    if (!isfinite(value))
        return memcpy(text, "null", 5);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return text;
}

void json_writer_init(struct json_writer *w, struct buf *out, int indent)
{
    *w = (struct json_writer){.out = out, .indent = indent};
}

static void put(struct json_writer *w, const char *s, size_t n)
{
    if (!w->err.code)
        buf_append(w->out, s, n, &w->err);
}

static void new_line(struct json_writer *w)
{
    if (!w->indent)
        return;
    put(w, "\n", 1);
    for (int i = 0; i < w->indent * w->depth; i++)
        put(w, " ", 1);
}

/* Whatever stands before a value: comma, line, key. */
static void begin_value(struct json_writer *w, const char *key)
{
    if (w->depth > 0) {
        int level = w->depth - 1;
        assert(!key == w->is_array[level]);
        if (w->has_items[level])
            put(w, ",", 1);
        w->has_items[level] = true;
        new_line(w);
    } else {
        assert(!key);
    }
    if (!key)
        return;
    if (!w->err.code)
        json_quote(w->out, key, strlen(key), &w->err);
    put(w, ": ", w->indent ? 2 : 1);
}

static void open_level(struct json_writer *w, const char *key, bool is_array)
{
    assert(w->depth < JSON_MAX_DEPTH);
    begin_value(w, key);
    put(w, is_array ? "[" : "{", 1);
    w->is_array[w->depth] = is_array;
    w->has_items[w->depth++] = false;
}

void jw_object(struct json_writer *w, const char *key)
{
    open_level(w, key, false);
}

void jw_array(struct json_writer *w, const char *key)
{
    open_level(w, key, true);
}

void jw_end(struct json_writer *w)
{
    assert(w->depth > 0);
    bool had_items = w->has_items[--w->depth];
    if (had_items)
        new_line(w);
    put(w, w->is_array[w->depth] ? "]" : "}", 1);
}

static void put_word(struct json_writer *w, const char *key, const char *word)
{
    begin_value(w, key);
    put(w, word, strlen(word));
}

void jw_int(struct json_writer *w, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    put_word(w, key, text);
}

void jw_f32(struct json_writer *w, const char *key, float value)
{
    char text[32];
    put_word(w, key, json_f32_text(text, value));
}

void jw_real(struct json_writer *w, const char *key, double value)
{
    char text[32];
    put_word(w, key, json_real_text(text, value));
}

void jw_bool(struct json_writer *w, const char *key, bool value)
{
    put_word(w, key, value ? "true" : "false");
}

void jw_null(struct json_writer *w, const char *key)
{
    put_word(w, key, "null");
}

void jw_text(struct json_writer *w, const char *key, const char *value)
{
    if (!value) {
        jw_null(w, key);
        return;
    }
    begin_value(w, key);
    if (!w->err.code)
        json_quote(w->out, value, strlen(value), &w->err);
}

/* Arrays of numbers stand on one line, whatever the indent. */
static void put_number(struct json_writer *w, int64_t i, const char *text)
{
    if (i)
        put(w, ", ", w->indent ? 2 : 1);
    put(w, text, strlen(text));
}

void jw_f32s(struct json_writer *w, const char *key, const float *values, int64_t n)
{
    char text[32];
    begin_value(w, key);
    put(w, "[", 1);
    for (int64_t i = 0; i < n; i++)
        put_number(w, i, json_f32_text(text, values[i]));
    put(w, "]", 1);
}

void jw_reals(struct json_writer *w, const char *key, const double *values, int64_t n)
{
    char text[32];
    begin_value(w, key);
    put(w, "[", 1);
    for (int64_t i = 0; i < n; i++)
        put_number(w, i, json_real_text(text, values[i]));
    put(w, "]", 1);
}

void jw_ints(struct json_writer *w, const char *key, const int64_t *values, int64_t n)
{
    char text[32];
    begin_value(w, key);
    put(w, "[", 1);
    for (int64_t i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%lld", (long long)values[i]);
        put_number(w, i, text);
    }
    put(w, "]", 1);
}

int json_writer_end(struct json_writer *w, struct err *err)
{
    assert(w->depth == 0);
    if (!w->err.code)
        return 0;
    return err_set(err, w->err.code, "%s", w->err.msg);
}

int json_writer_file(struct json_writer *w, const char *path, struct err *err)
{
    int rc = json_writer_end(w, err);
    if (!rc)
        rc = buf_puts(w->out, "\n", err);
    return rc ? rc : file_write(path, w->out->bytes, w->out->n, err);
}
