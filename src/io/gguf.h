/* GGUF: llama.cpp's one-file models, mapped and checked.
 *
 *     struct gguf *g;
 *     gguf_open(&g, "SmolLM2-135M-Instruct.Q4_K_M.gguf", err);
 *     const char *arch;
 *     gguf_text(&arch, g, "general.architecture", err);
 *     const struct gguf_tensor *t = gguf_find(g, "blk.0.attn_q.weight");
 *     gguf_to_f32(out, t, 0, t->n_elements, err);
 *     gguf_close(g);
 *
 * Format (ggml-org/ggml, docs/gguf.md), all little-endian: "GGUF", u32 version 2 or 3, u64 tensors,
 * u64 keys; each key: text, u32 type, value; each tensor: text name, u32 dimensions, u64 sides (the
 * fastest first), u32 type, u64 offset from the data's start; padding to general.alignment (32); the
 * data. A text is u64 length and bytes; an array u32 type of its items, u64 length, the items.
 * Here shapes are row-major, the slowest side first, as in safetensors: [rows, columns].
 */
#ifndef MOE2_IO_GGUF_H
#define MOE2_IO_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tensor/dtype.h"

enum {
    GGUF_MAX_DIMS = 4,
    GGUF_MAX_NAME = 64, /* bytes of a tensor's name */
    GGUF_MAX_KEY = 65535,
    GGUF_MAX_KEYS = 65536,
    GGUF_MAX_TENSORS = 1 << 20,
    GGUF_MAX_ITEMS = 1 << 26, /* of one array */
    GGUF_MAX_ALIGNMENT = 1 << 20,
    GGUF_DEFAULT_ALIGNMENT = 32,
};

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_TEXT,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

const char *gguf_type_name(enum gguf_type t); /* "u32", "text", … */

/* A text of the file: any bytes, no NUL behind them. */
struct gguf_string {
    const char *s;
    size_t n;
};

/* A key and its value; everything borrowed until gguf_close. */
struct gguf_key {
    const char *name;
    enum gguf_type type;
    enum gguf_type item_type; /* of an array */
    int64_t n;                /* items of an array; otherwise 1 */
    const uint8_t *value;     /* in the file, behind the type (and length) */
    size_t n_bytes;
    const char *text; /* of a GGUF_TEXT: a copy with a NUL behind it; otherwise NULL */
};

/* How ggml's tensor types are laid out: {number, name, values and bytes a block}. One of dtype and
 * block (enum block_type) is what moe2 reads it as; both −1: it can't. */
struct gguf_layout {
    uint32_t number;
    const char *name;
    int n_values, n_bytes;
    int dtype, block;
};

/* NULL: a number that no table of ours has. */
const struct gguf_layout *gguf_layout_find(uint32_t number);

/* A tensor of an open file, borrowed until gguf_close. */
struct gguf_tensor {
    const char *name;
    const struct gguf_layout *layout;
    int n_dims;
    int64_t shape[GGUF_MAX_DIMS];
    int64_t n_elements;
    const uint8_t *bytes; /* NULL when n_bytes is 0 */
    int64_t n_bytes;
};

struct gguf;

/* Maps and checks a file: every length lies inside it, no key or tensor twice, no two tensors over
 * each other; no data is touched. Errors: MOE2_EIO; MOE2_EFORMAT with the file, the thing, the value
 * seen and the value wanted; MOE2_ELIMIT. An open file may be read from any number of threads. */
int gguf_open(struct gguf **out, const char *path, struct err *err);

/* The same over bytes in memory, borrowed until gguf_close; name stands in messages. */
int gguf_open_bytes(struct gguf **out, const char *name, const void *bytes, size_t n_bytes,
                    struct err *err);
void gguf_close(struct gguf *g); /* NULL is fine */

/* Whether a file begins as a GGUF file does. */
bool gguf_is(const char *path);

const char *gguf_path(const struct gguf *g);
int gguf_version(const struct gguf *g);

int64_t gguf_n_tensors(const struct gguf *g);
const struct gguf_tensor *gguf_at(const struct gguf *g, int64_t i);          /* in file order */
const struct gguf_tensor *gguf_find(const struct gguf *g, const char *name); /* or NULL */

int64_t gguf_n_keys(const struct gguf *g);
const struct gguf_key *gguf_key_at(const struct gguf *g, int64_t i);
const struct gguf_key *gguf_key(const struct gguf *g, const char *name); /* or NULL */

/* The value of a key that must be there, a number of any whole type from min to max; any number; a
 * bool; a text (without a NUL inside; borrowed). MOE2_EFORMAT with the key, what was seen, what was
 * wanted. */
int gguf_int(int64_t *out, const struct gguf *g, const char *key, int64_t min, int64_t max,
             struct err *err);
int gguf_real(double *out, const struct gguf *g, const char *key, struct err *err);
int gguf_bool(bool *out, const struct gguf *g, const char *key, struct err *err);
int gguf_text(const char **out, const struct gguf *g, const char *key, struct err *err);

/* The same for an array of exactly that item type (numbers: any whole type for ints, F32 or F64 for
 * reals): its length, and its items into out [n], which the caller makes after asking the length
 * with out NULL. */
int gguf_texts(struct gguf_string *out, int64_t *n, const struct gguf *g, const char *key,
               struct err *err);
int gguf_ints(int64_t *out, int64_t *n, const struct gguf *g, const char *key, struct err *err);
int gguf_reals(float *out, int64_t *n, const struct gguf *g, const char *key, struct err *err);

/* Elements [first, first + n) of t as float32; MOE2_EFORMAT for a type that moe2 can't read. Asserts
 * that the range lies inside. */
int gguf_to_f32(float *out, const struct gguf_tensor *t, int64_t first, int64_t n, struct err *err);

#endif
