/* safetensors: the tensors of a Hugging Face checkpoint, mapped from disk as they are, and written
 * so that nothing is half there.
 *
 *     struct safetensors *st;
 *     safetensors_open(&st, "DeepSeek-V2-Lite", err);        a folder, or one file
 *     const struct safetensor *t;
 *     safetensors_get(&t, st, "model.norm.weight", err);
 *     safetensors_to_f32(out, t, 0, t->n_elements, err);
 *     safetensors_close(st);
 *
 * Format (huggingface/safetensors, safetensors/src/tensor.rs): u64 little-endian N; N bytes of JSON
 * that begin with '{' and may end in spaces; then the data. The JSON maps a name to {dtype, shape,
 * data_offsets [begin, end)}, offsets counted from the data's start; `__metadata__` maps strings to
 * strings. No key twice, no hole, no overlap, nothing left over, size = product of shape × type.
 * Shards are named by model.safetensors.index.json: {"metadata": {"total_size": n}, "weight_map":
 * {tensor: file}}.
 */
#ifndef MOE2_IO_SAFETENSORS_H
#define MOE2_IO_SAFETENSORS_H

#include <stdint.h>

#include "base/err.h"
#include "tensor/dtype.h"

enum {
    SAFETENSORS_MAX_DIMS = 8,
    SAFETENSORS_MAX_HEADER_BYTES = 100000000,
    SAFETENSORS_MAX_INDEX_BYTES = 200000000,
    SAFETENSORS_MAX_SHARDS = 10000,
};

/* A tensor of an open checkpoint. All pointers are borrowed until safetensors_close. */
struct safetensor {
    const char *name;
    const char *dtype_name; /* the file's word, "BF16" */
    int dtype; /* enum dtype; −1: a type that moe2 does not compute with (F8_E5M2, F4, C64, …) */
    int n_dims; /* 0 for a scalar */
    int64_t shape[SAFETENSORS_MAX_DIMS];
    int64_t n_elements; /* product of shape; 0 when a side is 0 */
    /* Row-major, little-endian, of ANY alignment: read them through safetensors_to_f32 or memcpy.
     * NULL when n_bytes is 0. */
    const uint8_t *bytes;
    int64_t n_bytes;
    int shard_idx;
};

struct safetensors;

/* Maps and checks a checkpoint. path is a folder with model.safetensors or
 * model.safetensors.index.json (the first wins), or one file of any name. Every header is read and
 * checked; no data is touched. The result is the caller's. Errors: MOE2_EIO when a file is missing
 * or unreadable; MOE2_EFORMAT naming the file, the tensor, what was seen and what was wanted;
 * MOE2_ELIMIT for a header above the format's limit. Reading an open checkpoint is safe from any
 * number of threads. */
int safetensors_open(struct safetensors **out, const char *path, struct err *err);

/* The same over the bytes of one file in memory, borrowed until safetensors_close; name stands in
 * messages. */
int safetensors_open_bytes(struct safetensors **out, const char *name, const void *bytes,
                           size_t n_bytes, struct err *err);

/* Unmaps everything: all views die. NULL is fine. */
void safetensors_close(struct safetensors *st);

int64_t safetensors_count(const struct safetensors *st);

/* Tensor i, 0 ≤ i < count, in file order: by shard name, then by position of the data. */
const struct safetensor *safetensors_at(const struct safetensors *st, int64_t i);

/* The tensor of that name, or NULL. */
const struct safetensor *safetensors_find(const struct safetensors *st, const char *name);

/* The same for a tensor that must be there: MOE2_EFORMAT otherwise, with the nearest name that
 * exists. */
int safetensors_get(const struct safetensor **out, const struct safetensors *st, const char *name,
                    struct err *err);

/* The value of a key of `__metadata__` (of the first shard that has it), or NULL. */
const char *safetensors_metadata(const struct safetensors *st, const char *key);

/* What was opened, as the caller said it; and the path of the file that holds a shard's tensors. */
const char *safetensors_path(const struct safetensors *st);
const char *safetensors_shard_path(const struct safetensors *st, int shard_idx);
int safetensors_n_shards(const struct safetensors *st);

/* Bytes of all tensors together. */
int64_t safetensors_total_bytes(const struct safetensors *st);

/* Elements [first, first + n) of t widened to out [n], whatever their alignment. MOE2_EFORMAT for a
 * type that moe2 can't read; MOE2_EIO never (the map is there). Asserts that the range lies
 * inside. */
int safetensors_to_f32(float *out, const struct safetensor *t, int64_t first, int64_t n,
                       struct err *err);

/* Says that the bytes of t won't be read soon: the system may take back the memory that a mapped file
 * fills. They can still be read. */
void safetensors_rest(const struct safetensors *st, const struct safetensor *t);

/* "[2, 3]" into text, cut at n_text bytes; returns text. For messages. */
const char *safetensors_shape_text(char *text, size_t n_text, const int64_t *shape, int n_dims);

/* ---- writing ---- */

/* A tensor to be written; name and shape are copied. */
struct safetensors_decl {
    const char *name;
    enum dtype dtype;
    int n_dims;
    int64_t shape[SAFETENSORS_MAX_DIMS];
};

struct safetensors_options {
    int64_t max_shard_bytes; /* 0: 5 GB. Used by safetensors_create_folder only */
    /* key, value, key, value, …, NULL; "format": "pt" is always added. NULL: nothing more. */
    const char *const *metadata;
};

struct safetensors_writer;

/* Begins one file with n tensors in the given order. Nothing appears at path before
 * safetensors_commit. options may be NULL. Errors: MOE2_EIO; MOE2_EFORMAT for a name given twice,
 * empty or not UTF-8, or a shape whose size overflows. */
int safetensors_create(struct safetensors_writer **out, const char *path,
                       const struct safetensors_decl *decls, int64_t n,
                       const struct safetensors_options *options, struct err *err);

/* The same into a folder, made if need be: model.safetensors when all fits one shard, otherwise
 * model-00001-of-000NN.safetensors, … and the index. Checkpoint files of an earlier, other sharding
 * are removed at commit. */
int safetensors_create_folder(struct safetensors_writer **out, const char *dir,
                              const struct safetensors_decl *decls, int64_t n,
                              const struct safetensors_options *options, struct err *err);

/* All bytes of the next tensor in declared order (safetensors_put), of any tensor (…_put_at), or a
 * piece of tensor idx beginning at byte offset (…_put_piece). n_bytes must be exactly the tensor's,
 * or stay inside it. One writer is one thread's. */
int safetensors_put(struct safetensors_writer *w, const void *bytes, int64_t n_bytes,
                    struct err *err);
int safetensors_put_at(struct safetensors_writer *w, int64_t idx, const void *bytes,
                       int64_t n_bytes, struct err *err);
int safetensors_put_piece(struct safetensors_writer *w, int64_t idx, int64_t offset,
                          const void *bytes, int64_t n_bytes, struct err *err);

/* n float32 values rounded to the type of the next tensor (F32, F16 or BF16), which must have n
 * elements. */
int safetensors_put_f32(struct safetensors_writer *w, const float *values, int64_t n,
                        struct err *err);

/* Checks that every byte was written once, syncs and renames into place; frees the writer, whatever
 * came out. On failure no file of the checkpoint is replaced (in a folder: the files renamed before
 * the failing one stay, the index is written last). */
int safetensors_commit(struct safetensors_writer *w, struct err *err);

/* Removes what was written so far and frees the writer. NULL is fine. */
void safetensors_abort(struct safetensors_writer *w);

#endif
