/* What reading and writing a config.json share: the families, and the tables of plain keys. */
#ifndef MOE2_MODEL_CONFIG_PARTS_H
#define MOE2_MODEL_CONFIG_PARTS_H

#include <stddef.h>

#include "model/config.h"

struct family {
    const char *model_type, *architecture;
    enum model_family family;
    bool mla;
};

/* The family of that model_type, or NULL. */
const struct family *family_find(const char *model_type);

/* "deepseek_v3, deepseek_v2, …" for messages. */
extern const char family_names[];

/* NEEDED_V3: transformers' DeepseekV3Config has a default of its own there that no sane file relies on. */
enum key_need { NEEDED, NEEDED_V3, OPTIONAL };

/* A key of all families, or of the deepseek family alone. */
enum key_whose { EVERYONE, MLA_ONLY };

struct int_key {
    const char *name;
    size_t field;
    int64_t least, most;
    enum key_need need;
    int64_t otherwise; /* the value when the key is missing, null or not this family's */
    enum key_whose whose;
};

struct real_key {
    const char *name;
    size_t field;
    double least, most, otherwise;
    enum key_whose whose;
};

extern const struct int_key config_int_keys[];
extern const struct real_key config_real_keys[];
extern const int config_n_int_keys, config_n_real_keys;

/* Parameters in all when every MoE layer has (or uses) this many experts. */
double config_count_params(const struct model_config *c, double experts);

#endif
