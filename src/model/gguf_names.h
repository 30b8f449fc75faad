/* Names of tensors in GGUF files and in Hugging Face's checkpoints: one table, read both ways. Source:
 * llama.cpp, gguf-py/gguf/constants.py and tensor_mapping.py. */
#ifndef MOE2_MODEL_GGUF_NAMES_H
#define MOE2_MODEL_GGUF_NAMES_H

#include <stdint.h>

enum { GGUF_NAMES_MAX = 160 };

/* What lies between the two beside the name. */
enum gguf_form {
    GGUF_FORM_SAME,
    GGUF_FORM_Q,       /* of architecture llama: rows of each head in pairs */
    GGUF_FORM_K,       /* the same with the heads of keys */
    GGUF_FORM_EXPERTS, /* all experts of a layer stacked; %d in the name is the expert's number */
    GGUF_FORM_K_B,     /* a part of kv_b_proj */
    GGUF_FORM_V_B,
};

struct gguf_name {
    const char *gguf, *hf; /* behind "blk.N." and "model.layers.N.", or whole */
    enum gguf_form form;
};

/* The row of a file's name, and its layer (−1: none) in *layer; NULL: one that is not in the table. */
const struct gguf_name *gguf_name_find(const char *gguf, int64_t *layer);

/* The row of a checkpoint's name; expert −1 where the name has none. */
const struct gguf_name *gguf_name_of_hf(const char *hf, int64_t *layer, int64_t *expert);

/* The whole name on either side. */
void gguf_name_hf(char out[GGUF_NAMES_MAX], const struct gguf_name *n, int64_t layer,
                  int64_t expert);
void gguf_name_gguf(char out[GGUF_NAMES_MAX], const struct gguf_name *n, int64_t layer);

#endif
