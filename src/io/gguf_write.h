/* GGUF, written: keys first, then the list of tensors, then their data in that order, streaming.
 *
 *     struct gguf_writer *w;
 *     gguf_create(&w, "model.gguf", err);
 *     gguf_put_text(w, "general.architecture", "llama");
 *     gguf_declare(w, "output_norm.weight", 0, (int64_t[]){64}, 1);
 *     gguf_begin_data(w, err);
 *     gguf_put(w, bytes, n_bytes, err);            any pieces, in order
 *     gguf_commit(w, err);
 *
 * Version 3, alignment 32, as llama.cpp writes it. Nothing appears at the path before the commit.
 * The keys' functions keep the first error, which gguf_begin_data tells.
 */
#ifndef MOE2_IO_GGUF_WRITE_H
#define MOE2_IO_GGUF_WRITE_H

#include "io/gguf.h"

struct gguf_writer;

int gguf_create(struct gguf_writer **out, const char *path, struct err *err);

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t value);
void gguf_put_f32(struct gguf_writer *w, const char *key, float value);
void gguf_put_bool(struct gguf_writer *w, const char *key, bool value);
void gguf_put_text(struct gguf_writer *w, const char *key, const char *value);
void gguf_put_texts(struct gguf_writer *w, const char *key, const struct gguf_string *s, int64_t n);
void gguf_put_i32s(struct gguf_writer *w, const char *key, const int32_t *x, int64_t n);
void gguf_put_f32s(struct gguf_writer *w, const char *key, const float *x, int64_t n);
void gguf_put_key(struct gguf_writer *w, const struct gguf_key *k); /* of an open file, as it is */

/* A tensor of a type of gguf_layout_find, shape row-major. */
void gguf_declare(struct gguf_writer *w, const char *name, uint32_t type, const int64_t *shape,
                  int n_dims);

/* Writes the header. Errors: MOE2_EIO; MOE2_EFORMAT for a name that is empty, too long or given
 * twice, a type that doesn't exist or doesn't divide the rows. */
int gguf_begin_data(struct gguf_writer *w, struct err *err);

/* The next n bytes of the tensors' data; padding between tensors is the writer's. A piece must not
 * reach over the end of a tensor. */
int gguf_put(struct gguf_writer *w, const void *bytes, int64_t n, struct err *err);

/* Checks that all is there, syncs, renames, frees the writer, whatever came out. */
int gguf_commit(struct gguf_writer *w, struct err *err);
void gguf_abort(struct gguf_writer *w); /* NULL is fine */

#endif
