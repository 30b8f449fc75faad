/* A language model of the DeepSeek-V3 family, opened from a Hugging Face checkpoint folder as it is.
 *
 *     struct moe2_model *model = NULL;
 *     struct err err = {0};
 *     if (moe2_model_open(&model, "checkpoint/", NULL, &err))
 *         …err.msg…
 *     float *logits = malloc(n * moe2_model_vocab_size(model) * sizeof *logits);
 *     moe2_model_logits(model, logits, ids, n, &err);
 *     moe2_model_close(model);
 *
 * A model that was trained with a router of moe2's is run with that router, in the state it was saved in. One thread at a time may
 * use a model; its kernels bring their own threads.
 */
#ifndef MOE2_MODEL_H
#define MOE2_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include <moe2/err.h>

#ifdef __cplusplus
extern "C" {
#endif

struct moe2_model;

/* Where and how to compute. A zeroed struct, or NULL, is the CPU with its best kernels, all cores and float32 products. */
struct moe2_options {
    const char *device; /* "cpu", "cpu:avx2", …; NULL: "cpu" */
    int n_threads;      /* 0: every core that this process may use */
    int bf16;           /* 1: products in bf16 where the device has units for it */
};

/* Opens folder dir: config.json, model safetensors in one file or shards (F32, F16, BF16), router_state.safetensors if there is one.
 * To be closed with moe2_model_close. Errors name the file and the tensor or key: MOE2_EIO, MOE2_EFORMAT, MOE2_ECONFIG,
 * MOE2_ELIMIT, MOE2_ENUMERIC for a weight that is no finite number. */
int moe2_model_open(struct moe2_model **out, const char *dir, const struct moe2_options *options,
                    struct err *err);
void moe2_model_close(struct moe2_model *model); /* NULL is fine */

int64_t moe2_model_vocab_size(const struct moe2_model *model);
int64_t moe2_model_max_positions(const struct moe2_model *model);
int moe2_model_n_layers(const struct moe2_model *model);
int moe2_model_n_experts(
    const struct moe2_model *model); /* routed experts of an MoE layer; 0: a dense model */

/* logits [n, vocab_size] for ids [n], one causal sequence from position 0. MOE2_ECONFIG for an id outside the vocabulary or more ids
 * than positions. */
int moe2_model_logits(struct moe2_model *model, float *logits, const int32_t *ids, int64_t n,
                      struct err *err);

/* How often each expert of a layer was picked by the last moe2_model_logits: n_picks [n_experts]. MOE2_ECONFIG for a dense layer, one
 * that is not there, or before any logits. */
int moe2_model_expert_counts(const struct moe2_model *model, int64_t *n_picks, int layer,
                             struct err *err);

/* The version of the library, "0.1.0". */
const char *moe2_version(void);

#ifdef __cplusplus
}
#endif
#endif
