/* Any bytes as a GGUF file. What opens must be readable: every key, and the last value of every tensor. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "io/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void read_texts(const struct gguf *g, const struct gguf_key *k)
{
    int64_t n = 0;
    if (gguf_texts(NULL, &n, g, k->name, NULL) || n > 1 << 20)
        return;
    struct gguf_string *s = malloc(((size_t)n + 1) * sizeof *s);
    volatile char last = 0;
    assert(s && gguf_texts(s, &n, g, k->name, NULL) == 0);
    for (int64_t i = 0; i < n; i++)
        if (s[i].n)
            last = s[i].s[s[i].n - 1];
    (void)last;
    free(s);
}

static void read_key(const struct gguf *g, const struct gguf_key *k)
{
    int64_t i = 0, n = 0, ints[8];
    double d = 0;
    bool b = false;
    const char *text = NULL;
    float reals[8];
    assert(gguf_key(g, k->name) == k);
    gguf_int(&i, g, k->name, INT64_MIN, INT64_MAX, NULL);
    gguf_real(&d, g, k->name, NULL);
    gguf_bool(&b, g, k->name, NULL);
    gguf_text(&text, g, k->name, NULL);
    if (!gguf_ints(NULL, &n, g, k->name, NULL) && n <= 8)
        gguf_ints(ints, &n, g, k->name, NULL);
    if (!gguf_reals(NULL, &n, g, k->name, NULL) && n <= 8)
        gguf_reals(reals, &n, g, k->name, NULL);
    read_texts(g, k);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct gguf *g = NULL;
    struct err err = {0};
    int rc = gguf_open_bytes(&g, "x", bytes, n, &err);
    assert(rc == err.code && !rc == !!g);
    for (int64_t i = 0; g && i < gguf_n_keys(g); i++)
        read_key(g, gguf_key_at(g, i));
    for (int64_t i = 0; g && i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_at(g, i);
        float x;
        assert(gguf_find(g, t->name) == t);
        if (t->n_elements)
            gguf_to_f32(&x, t, t->n_elements - 1, 1, NULL);
    }
    gguf_close(g);
    return 0;
}
