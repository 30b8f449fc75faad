/* Reading tokenizer.json: what its two files share. */
#ifndef MOE2_TEXT_TOKENIZER_JSON_H
#define MOE2_TEXT_TOKENIZER_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "text/bert.h"
#include "text/split.h"

/* A boolean field; or_else where it is missing or null. where names the object in messages. */
int json_flag(bool *out, const json_t *object, const char *where, const char *key, bool or_else,
              struct err *err);

/* A string field; or_else where it is missing or no string. Borrowed from the object. */
const char *json_text_or(const json_t *object, const char *key, const char *or_else);

/* The field "type", or "without a type". */
const char *json_type_of(const json_t *object);

/* Fills a zeroed pre-tokenizer, which the caller releases whatever comes out. */
int read_pretokenizer(struct pretokenizer *p, struct char_tables *tables, const json_t *json,
                      struct err *err);

/* Metaspace, of a pre-tokenizer or a decoder, in the older (add_prefix_space) and the newer
 * (prepend_scheme, split) spelling; where names it in messages. */
int read_metaspace_fields(struct split_metaspace *m, const json_t *json, const char *where,
                          struct err *err);

#endif
