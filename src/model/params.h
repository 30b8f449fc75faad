/* The list of tensors: one list, made from a configuration alone, drives the memory plan, loading,
 * checking, saving, random weights and the optimizer.
 *
 * The order of the list is the order in memory. Some neighbours are joined without a gap, so that
 * one product reads them as one matrix: q (or q_a) and kv_a; q, k and v; an MLP's gate and up; and with them
 * each expert's [2F, D]. Everything else begins on 64 bytes.
 */
#ifndef MOE2_MODEL_PARAMS_H
#define MOE2_MODEL_PARAMS_H

#include "base/arena.h"
#include "model/decoder.h"

struct param_list {
    struct param *params; /* data, half and grad NULL until somebody binds them */
    int64_t *offset;      /* [n] place of each, in elements of the one allocation */
    int64_t n, n_elements;
    struct arena arena;
};

/* Makes the list of a checked configuration. It belongs to the caller, to be freed with
 * param_list_release (a zeroed one is fine). MOE2_ELIMIT without memory. */
int param_list_make(struct param_list *out, const struct model_config *config, struct err *err);
void param_list_release(struct param_list *list);

/* One layer's tensors, as pointers into the list; NULL where the layer has none. */
struct layer_params {
    struct param *in_norm, *q, *q_a, *kv_a, *q_norm, *q_b, *kv_norm, *kv_b, *o, *post_norm;
    struct param *q_bias,
        *k_norm;                  /* grouped-query attention: q, behind it k and v; so the biases */
    struct param *gate_up, *down; /* of a dense layer; gate_up is gate, up lies behind it */
    struct param *router, *bias;
    struct param *shared_gate_up, *shared_down;
    struct param *expert_gate_up; /* expert e: [2e] is its gate, [2e + 1] its up */
    struct param *expert_down;    /* expert e: [e] */
};

struct model_params {
    struct param *embed, *norm, *head; /* head is embed when the two are tied */
    struct layer_params *layers;       /* [num_hidden_layers], from the list's arena */
};

/* Finds every tensor's role. */
int model_params_find(struct model_params *out, struct param_list *list,
                      const struct model_config *config, struct err *err);

/* Numbers first … first+n−1 of a tensor's random start: N(0, initializer_range) for weights, 1 for
 * norms, 0 for biases. They depend on seed and name only. */
void param_random(float *out, const struct param *p, int64_t first, int64_t n,
                  const struct model_config *config, uint64_t seed);

/* A checkpoint of random weights (model.safetensors or shards, and config.json) in dir, tensor by
 * tensor; the folder is made. Errors: MOE2_ELIMIT when the disk has no room (nothing is begun),
 * MOE2_EIO. */
int model_init_random(const char *dir, const struct model_config *config, enum dtype dtype,
                      uint64_t seed, const struct log_sink *log, struct err *err);

/* Bytes of a checkpoint in dtype (the bias is always float32). */
int64_t param_list_bytes(const struct param_list *list, enum dtype dtype);

/* Reads every tensor of the list from a checkpoint, whatever source_open understands, into params' data, which must be bound to
 * one zeroed allocation by the list's offsets. Unknown and missing tensors and wrong shapes are
 * named in one message (MOE2_EFORMAT); a NaN or infinity is MOE2_ENUMERIC with the tensor's name.
 */
int param_list_load(struct param_list *list, const char *dir, const struct model_config *config,
                    struct device *dev, const struct log_sink *log, struct err *err);

/* Opens a checkpoint and checks it against the list as param_list_load does; nothing is read. */
struct source;
int param_list_check(struct source **out, const struct param_list *list, const char *path,
                     const struct model_config *config, struct err *err);

/* MOE2_ENUMERIC: names the file and the tensor that hold a NaN or an infinity at that element. */
int param_blame(const struct source *s, const struct param *p, int64_t element, struct err *err);

/* Begins a checkpoint of the list's tensors in dtype; put them in the list's order. */
struct safetensors_writer;
int param_list_create(struct safetensors_writer **out, const struct param_list *list,
                      const char *dir, enum dtype dtype, struct err *err);

/* dir/config.json with that dtype. */
int model_config_write(const struct model_config *config, enum dtype dtype, const char *dir,
                       struct err *err);

#endif
