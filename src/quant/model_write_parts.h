/* What the files that write models share. */
#ifndef MOE2_QUANT_MODEL_WRITE_PARTS_H
#define MOE2_QUANT_MODEL_WRITE_PARTS_H

#include <jansson.h>

#include "io/gguf_write.h"
#include "quant/model_write.h"

/* How rows of the target are found in the source. */
enum item_form {
    ITEM_SAME,
    ITEM_HEADS,   /* llama's q and k for GGUF: rows of a head in pairs */
    ITEM_EXPERTS, /* experts of a layer stacked */
    ITEM_K_B,     /* [heads, rank, nope] of kv_b_proj */
    ITEM_V_B,     /* [heads, v, rank] */
};

/* One tensor of the target. */
struct item {
    char name[160];
    enum item_form form;
    const struct source_tensor *t; /* the first, of experts */
    char expert_name[160];         /* of ITEM_EXPERTS, with # for the number */
    int n_dims;
    int64_t shape[4], rows, columns;
    int64_t head_rows;          /* of ITEM_HEADS */
    int64_t heads, nope, v_dim; /* of ITEM_K_B, ITEM_V_B */
    enum weight_type type;      /* never KEEP */
};

struct item_list {
    struct item *v; /* owned */
    int64_t n, capacity;
};

/* A new item, zeroed but for name, tensor and type. */
int item_add(struct item **out, struct item_list *list, const char *name,
             const struct source_tensor *t, struct err *err);

int64_t item_bytes(const struct item *it); /* of every type but NF4 */
const char *item_type_name(const struct item *it);

/* Rows [first, first + n) of the target as float32. A K_B item is read whole heads at a time. */
int item_read(float *out, const struct item *it, const struct source *s, int64_t first, int64_t n,
              struct err *err);

/* Gives the encoded bytes of an item to put, piece by piece, and its error to *error. */
typedef int item_put(void *ctx, const void *bytes, int64_t n, struct err *err);
int item_encode(double *error, const struct item *it, const struct source *s, item_put *put,
                void *ctx, struct err *err);

int report_add(struct write_report *r, const struct item *it, int64_t bytes_to, double error,
               struct err *err);

/* ---- parts ---- */

struct parts {
    char *dir; /* NULL: nothing is kept */
};

/* Opens OUT.parts for this source and type; one of another is emptied. */
int parts_open(struct parts *p, const char *out, const struct source *s,
               const struct model_write_options *o, struct err *err);

/* item_encode by way of a kept part: encoded only if it isn't there. */
int parts_encode(double *error, const struct parts *p, int64_t idx, const struct item *it,
                 const struct source *s, item_put *put, void *ctx, struct err *err);

/* done: the model is whole, the folder goes. */
void parts_close(struct parts *p, bool done);

/* ---- forms ---- */

int write_gguf(const char *out, const struct source *s, const struct model_write_options *o,
               struct err *err);
int write_folder(const char *out, const struct source *s, const struct model_write_options *o,
                 struct err *err);

/* The metadata of a GGUF file out of a config.json; file_type as general.file_type. *arch: which of
 * llama, qwen2, … it is. */
int gguf_put_config(struct gguf_writer *w, const char **arch, json_t *config, const char *name,
                    const char *file, uint32_t file_type, struct err *err);
const char *gguf_arch_of(const json_t *config);

/* The tokenizer's keys, from a GGUF source or a folder's files; a source without one gives none. */
int gguf_put_tokenizer(struct gguf_writer *w, const struct source *s, struct err *err);

#endif
