/* Any bytes as a safetensors file, or, when they begin with '{', as the index of a folder. What
 * opens must be readable. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "io/safetensors.h"
#include "io/safetensors_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void read_index(const uint8_t *bytes, size_t n)
{
    struct safetensors_index index = {0};
    struct arena names = {.limit_bytes = 1 << 26};
    struct err err = {0};
    int rc = safetensors_index_parse(&index, "x", bytes, n, &names, &err);
    assert(rc == err.code);
    safetensors_index_release(&index);
    arena_release(&names);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n && bytes[0] == '{') {
        read_index(bytes, n);
        return 0;
    }
    struct safetensors *st = NULL;
    struct err err = {0};
    int rc = safetensors_open_bytes(&st, "x", bytes, n, &err);
    assert(rc == err.code && !rc == !!st);
    for (int64_t i = 0; st && i < safetensors_count(st); i++) {
        const struct safetensor *t = safetensors_at(st, i);
        float x;
        assert(safetensors_find(st, t->name) == t);
        if (t->n_elements)
            safetensors_to_f32(&x, t, t->n_elements - 1, 1, NULL);
    }
    safetensors_close(st);
    return 0;
}
