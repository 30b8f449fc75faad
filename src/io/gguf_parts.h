/* What the files of the GGUF reader share: an open file's insides, and a cursor that can't leave the
 * bytes. */
#ifndef MOE2_IO_GGUF_PARTS_H
#define MOE2_IO_GGUF_PARTS_H

#include "base/arena.h"
#include "base/file.h"
#include "io/gguf.h"
#include "io/name_map.h"

struct gguf {
    char *path;
    struct file_map map; /* empty when the bytes are the caller's */
    const uint8_t *bytes;
    size_t n_bytes;
    int version;
    int64_t alignment;
    struct arena names;
    struct gguf_key *keys;
    int64_t n_keys;
    struct gguf_tensor *tensors;
    int64_t n_tensors;
    struct name_map by_name, by_key;
};

/* Bytes of an item of that type; 0 for texts and arrays, whose length stands in the file. */
size_t gguf_type_bytes(enum gguf_type t);

uint64_t gguf_u64_at(const uint8_t *p);
uint32_t gguf_u32_at(const uint8_t *p);

/* Reads the header of g->bytes into the rest of *g. */
int gguf_parse(struct gguf *g, struct err *err);

#endif
