/* The two JSON texts of a checkpoint, parsed and checked: the header of a safetensors file and the
 * index of shards. Internal to io: the reader is safetensors.h. */
#ifndef MOE2_IO_SAFETENSORS_HEADER_H
#define MOE2_IO_SAFETENSORS_HEADER_H

#include "base/arena.h"
#include "io/safetensors.h"

/* Bits of an element of a type's name in the format; 0 for an unknown name. */
int safetensors_bits(const char *dtype_name);

struct safetensors_pair {
    const char *key, *value;
};

struct safetensors_header {
    struct safetensor *tensors; /* by position of the data */
    int64_t n, capacity;
    struct safetensors_pair *metadata;
    int64_t n_metadata, metadata_capacity;
};

/* Parses and checks a whole file's bytes; views point into them, names live in names. The header is
 * the caller's, to be released. file stands in messages. */
int safetensors_header_parse(struct safetensors_header *out, const char *file, const uint8_t *bytes,
                             size_t n_bytes, struct arena *names, struct err *err);
void safetensors_header_release(struct safetensors_header *h);

/* tensor → file of the weight_map, as many pairs as it has, in its order. */
struct safetensors_index {
    struct safetensors_pair *pairs;
    int64_t n, capacity;
};

int safetensors_index_parse(struct safetensors_index *out, const char *file, const uint8_t *bytes,
                            size_t n_bytes, struct arena *names, struct err *err);
void safetensors_index_release(struct safetensors_index *index);

#endif
