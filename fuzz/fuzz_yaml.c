/* Any text as a configuration; behind a first NUL stands an override. What is read must survive
 * being dumped and read again. */
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "io/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

struct values {
    int64_t i;
    double r;
    bool b;
    const char *t;
    int c;
    struct yaml_ints is;
    struct yaml_reals rs;
    struct yaml_texts ts;
};

static const char *const CHOICES[] = {"f32", "bf16", NULL};

static const struct yaml_key KEYS[] = {
    {"i", YAML_KEY_INT, offsetof(struct values, i), "1", -10, 1e9, .help = "…"},
    {"s.r", YAML_KEY_REAL, offsetof(struct values, r), "1", .help = "…"},
    {"s.b", YAML_KEY_BOOL, offsetof(struct values, b), "true", .help = "…"},
    {"s.t", YAML_KEY_TEXT, offsetof(struct values, t), "x", .help = "…"},
    {"s.u.c", YAML_KEY_CHOICE, offsetof(struct values, c), "f32", .choices = CHOICES, .help = "…"},
    {"l.is", YAML_KEY_INT_LIST, offsetof(struct values, is), "1,2", .help = "…"},
    {"l.rs", YAML_KEY_REAL_LIST, offsetof(struct values, rs), "[]", 0, INFINITY, .help = "…"},
    {"l.ts", YAML_KEY_TEXT_LIST, offsetof(struct values, ts), "[a, b]", .help = "…"},
};

enum { N_KEYS = sizeof KEYS / sizeof *KEYS };

static void read_again(const struct values *v)
{
    struct buf first = {0}, second = {0};
    struct values again;
    struct yaml_config *c = NULL;
    struct err err = {0};
    assert(!yaml_dump(&first, v, KEYS, N_KEYS, NULL));
    struct yaml_source s = {.text = first.bytes, .n_text = first.n};
    int rc = yaml_read(&c, &again, KEYS, N_KEYS, &s, &err);
    assert(!rc || first.n > YAML_MAX_FILE_BYTES);
    if (!rc) {
        assert(!yaml_dump(&second, &again, KEYS, N_KEYS, NULL));
        assert(first.n == second.n && memcmp(first.bytes, second.bytes, first.n) == 0);
    }
    yaml_config_free(c);
    buf_release(&first);
    buf_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct values v;
    struct yaml_config *c = NULL;
    struct err err = {0};
    char *copy = malloc(n + 1);
    if (n)
        memcpy(copy, bytes, n);
    copy[n] = 0;
    size_t n_text = strlen(copy);
    const char *override = n_text < n ? copy + n_text + 1 : NULL;
    struct yaml_source s = {
        .text = copy, .n_text = n_text, .overrides = &override, .n_overrides = override != NULL};
    int rc = yaml_read(&c, &v, KEYS, N_KEYS, &s, &err);
    assert(rc == err.code && !rc == !!c);
    if (!rc)
        read_again(&v);
    yaml_config_free(c);
    free(copy);
    return 0;
}
