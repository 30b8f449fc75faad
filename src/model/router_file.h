/* router_state.safetensors: what the routers of a checkpoint were set to and what they have learnt.
 *
 * Tensors are "layers.N.NAME", float32, NAME as router_state gives it; the metadata holds the
 * resolved router_config, a string a field ("incentive": "rd_esi", "gamma": "0.5"), under the names
 * of the configuration keys. DeepSeek-V3's own bias is not in here: it is a tensor of the model. A
 * folder without the file has the router that its config.json describes.
 */
#ifndef MOE2_MODEL_ROUTER_FILE_H
#define MOE2_MODEL_ROUTER_FILE_H

#include <stdbool.h>

#include "base/buf.h"
#include "model/decoder.h"

/* One field of struct router_config, for files and tables. */
enum router_field_type {
    ROUTER_FIELD_WORD,  /* an enum, named by words */
    ROUTER_FIELD_NAME,  /* const char *: the incentive */
    ROUTER_FIELD_INT,   /* int */
    ROUTER_FIELD_INT64, /* int64_t */
    ROUTER_FIELD_REAL,  /* float */
    ROUTER_FIELD_SEED,  /* uint64_t */
};

struct router_field {
    const char *name; /* of the configuration key, without "router." */
    enum router_field_type type;
    size_t offset;
    const struct route_words *words; /* of a WORD; the enum's value 0 is "not said" */
};

/* All fields, in a fixed order. */
const struct router_field *router_fields(int *n);

/* The known incentive of that name as a constant that lives for ever; NULL if there is none. */
const char *router_incentive_name(const char *name);

/* Appends a field's value as text, and reads it back. Errors: MOE2_EFORMAT naming the field and
 * what was seen. */
int router_field_print(struct buf *out, const struct router_field *f,
                       const struct router_config *config, struct err *err);
int router_field_parse(struct router_config *config, const struct router_field *f, const char *text,
                       struct err *err);

/* Writes configuration and state of every MoE layer's router, atomically. */
int router_file_save(const char *path, struct decoder *dec, struct err *err);

/* The configuration that a file was saved with, resolved; to be given to decoder_open. */
int router_file_config(struct router_config *out, const char *path, struct err *err);

/* Takes the state into the routers of dec, which must be of that configuration's kind. MOE2_EFORMAT
 * names file and layer. */
int router_file_load(struct decoder *dec, const char *path, struct err *err);

/* The same into one layer's router. */
int router_file_load_layer(struct router *r, const char *path, int64_t layer, struct err *err);

#endif
