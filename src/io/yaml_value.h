/* One value of a configuration: what a row of the table allows, and how a text becomes the row's
 * type. Internal to io: users see yaml.h. */
#ifndef MOE2_IO_YAML_VALUE_H
#define MOE2_IO_YAML_VALUE_H

#include "base/arena.h"
#include "io/yaml.h"

/* A scalar as it stood there. */
struct yaml_item {
    const char *text; /* NUL-ended UTF-8 */
    bool quoted;      /* then it is text, whatever it looks like */
};

bool yaml_is_list(enum yaml_key_type type);

/* Bytes of the destination. */
size_t yaml_field_bytes(enum yaml_key_type type);

/* "a number from 0 to 1", "one of f32, bf16" into text; returned. */
const char *yaml_wanted(char *text, size_t n_text, const struct yaml_key *key);

/* Checks n items and writes them into the row's field of values; texts and lists are copied into
 * arena. is_list says how the items stood. MOE2_ECONFIG: "train.lr is "abc", wanted a number from 0
 * to 1". */
int yaml_store(void *values, const struct yaml_key *key, const struct yaml_item *items, int64_t n,
               bool is_list, struct arena *arena, struct err *err);

#endif
