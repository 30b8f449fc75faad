/* YAML configurations under one table of keys: the table checks a file, fills the defaults,
 * documents itself and knows what a mistyped key meant.
 *
 *     static const struct yaml_key KEYS[] = {
 *         {"train.lr", YAML_KEY_REAL, offsetof(struct config, lr), "1e-3", 0, 1, .help = "…"},
 *         {"train.steps", YAML_KEY_INT, offsetof(struct config, steps), "200", 1, 1e9, .help = "…"},
 *         {"train.dtype", YAML_KEY_CHOICE, offsetof(struct config, dtype), "f32", .choices = DTYPES,
 *          .help = "…"},
 *         {"data.path", YAML_KEY_TEXT, offsetof(struct config, path), NULL, .help = "…"},    NULL: needed
 *     };
 *     struct yaml_source source = {.path = "run.yaml", .overrides = words, .n_overrides = n};
 *     struct yaml_config *c;
 *     yaml_read(&c, &config, KEYS, COUNT_OF(KEYS), &source, err);
 *     if (yaml_given(c, "train.lr")) …
 *     yaml_config_free(c);                             the texts and lists in config die with it
 *
 * The subset of YAML: mappings of mappings, scalars and lists of scalars. Anchors, aliases, tags,
 * several documents and null are refused. "train: {lr: 1}" and "train.lr: 1" mean the same. Every
 * error begins with file:line and names the key, what was seen and what was wanted.
 */
#ifndef MOE2_IO_YAML_H
#define MOE2_IO_YAML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    YAML_MAX_FILE_BYTES = 1 << 20,
    YAML_MAX_DEPTH = 8,
    YAML_MAX_LIST = 4096,
    YAML_MAX_KEYS = 1024, /* rows of a table */
    YAML_MAX_NAME = 128,  /* bytes of a dotted key */
};

/* What a key holds, and the type of its destination. */
enum yaml_key_type {
    YAML_KEY_INT,       /* int64_t */
    YAML_KEY_REAL,      /* double; never NaN or infinite */
    YAML_KEY_BOOL,      /* bool; true or false */
    YAML_KEY_TEXT,      /* const char *, owned by the struct yaml_config */
    YAML_KEY_CHOICE,    /* int, an index into choices */
    YAML_KEY_INT_LIST,  /* struct yaml_ints */
    YAML_KEY_REAL_LIST, /* struct yaml_reals */
    YAML_KEY_TEXT_LIST, /* struct yaml_texts */
};

struct yaml_ints {
    const int64_t *values; /* owned by the struct yaml_config, as in the other two */
    int64_t n;
};

struct yaml_reals {
    const double *values;
    int64_t n;
};

struct yaml_texts {
    const char *const *values;
    int64_t n;
};

/* One row of the table. */
struct yaml_key {
    const char *name; /* "train.lr": the sections and the key, with dots */
    enum yaml_key_type type;
    size_t offset; /* of the destination in the caller's struct */
    /* The default as one would write it behind "key=": "0.9", "[1, 2]", "true", ""; NULL: must be
     * given. */
    const char *initial;
    /* Of a number, or of each number of a list, both included; INFINITY allowed; both 0: any. */
    double min, max;
    const char *const *choices; /* YAML_KEY_CHOICE: the words, NULL-ended */
    const char *help;           /* one line */
};

/* Where the values come from. Overrides win over the file, the file over the defaults. */
struct yaml_source {
    const char *path; /* NULL: no file */
    const char *text; /* instead of a file: n_text bytes, path (may be NULL) only names them */
    size_t n_text;
    /* "key=value", a list as "key=1,2,3" or "key=[1, 2, 3]"; the last of equals wins. */
    const char *const *overrides;
    int n_overrides;
};

struct yaml_config;

/* Reads a source into values, the caller's struct, whose fields the rows describe; keys is borrowed
 * until yaml_config_free. values and *out are written only on success. Errors: MOE2_EIO;
 * MOE2_ECONFIG for an unknown key (with the nearest), a key twice, a wrong type, a value out of
 * range, a missing key; MOE2_EFORMAT for text that is no YAML of the subset; MOE2_ELIMIT above a
 * limit. */
int yaml_read(struct yaml_config **out, void *values, const struct yaml_key *keys, int n_keys,
              const struct yaml_source *source, struct err *err);

/* Frees the texts and lists that yaml_read and yaml_set put into values. NULL is fine. */
void yaml_config_free(struct yaml_config *c);

/* One more "key=value" over values that yaml_read filled, through the same checks: for tuning. */
int yaml_set(struct yaml_config *c, void *values, const char *override, struct err *err);

/* Whether the file or an override gave the key (of the table: asserted); otherwise it holds its
 * default. */
bool yaml_given(const struct yaml_config *c, const char *key);

/* Appends values as YAML text that yaml_read reads back to the same values, in the table's
 * order. */
int yaml_dump(struct buf *out, const void *values, const struct yaml_key *keys, int n_keys,
              struct err *err);

/* Appends the one value of a row as it would stand behind "key=". */
int yaml_dump_value(struct buf *out, const void *values, const struct yaml_key *key,
                    struct err *err);

/* Appends the table for people: key, type and range, default, help, a section after the other. */
int yaml_help(struct buf *out, const struct yaml_key *keys, int n_keys, struct err *err);

#endif
