/* What the files of the source share: see source.h. */
#ifndef MOE2_MODEL_SOURCE_PARTS_H
#define MOE2_MODEL_SOURCE_PARTS_H

#include "base/arena.h"
#include "base/file.h"
#include "io/gguf.h"
#include "io/name_map.h"
#include "io/safetensors.h"
#include "model/params.h"
#include "model/source.h"

struct source {
    char *path;
    const char *format;
    struct arena arena; /* names, copies of misaligned scales, joined tensors */
    struct source_tensor *tensors;
    int64_t n, capacity;
    struct name_map by_name;
    struct safetensors *st; /* one of these three */
    struct gguf *gguf;
    struct file_map map;
    struct source_random *random;
};

struct source_random {
    struct model_config config;
    struct param_list list;
    uint64_t seed;
};

/* kv_b_proj [H · (nope + v), R] out of k_b [H, R, nope] and v_b [H, v, R]. */
struct source_joined {
    const struct gguf_tensor *k, *v;
    int64_t nope, v_dim, rank;
};

/* A new tensor of that name (copied), zeroed but for it. Pointers to tensors die with the next call. */
int source_add(struct source_tensor **out, struct source *s, const char *name, struct err *err);

/* n_elements of a shape, which must be countable. */
int source_set_shape(struct source_tensor *t, const int64_t *shape, int n_dims, struct err *err);

/* The same bytes at an address fit for float32: themselves, or a copy in the arena. */
const float *source_floats(struct source *s, const uint8_t *bytes, int64_t n, struct err *err);

int source_list_safetensors(struct source *s, struct err *err);
int source_list_gguf(struct source *s, struct err *err);
int source_list_llama2c(struct source *s, struct err *err);

int source_gguf_config(struct buf *out, const struct gguf *g, struct err *err);
int source_llama2c_config(struct buf *out, const struct source *s, struct err *err);

/* Whether the file has the head and the length of a llama2.c model. */
bool source_is_llama2c(const char *path);

void source_read_random(float *out, const struct source_tensor *t, int64_t first, int64_t n);
void source_random_free(struct source_random *r); /* NULL is fine */

int source_read_joined(float *out, const struct source_tensor *t, int64_t first, int64_t n,
                       struct err *err);

#endif
