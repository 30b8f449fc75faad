/* Adapters in PEFT's layout: adapter_config.json and adapter_model.safetensors.
 *
 * Tensors are "base_model.model." + module + ".lora_A.weight" [r, in] and ".lora_B.weight"
 * [out, r], one pair a routed expert ("…mlp.experts.7.gate_proj"); a router that trained whole is
 * "base_model.model." + its own name. peft 0.21 keeps experts fused in memory and reads per-expert
 * pairs only under conditions (docs/finetuning.md); the meaning of a file is W + s·B·A always.
 * Fused expert adapters (target_parameters: A [E·r, in], B [out, r·E], the expert fastest in B) are
 * read too.
 * Source: huggingface/peft, docs/source/developer_guides/checkpoint.md.
 */
#ifndef MOE2_MODEL_LORA_FILE_H
#define MOE2_MODEL_LORA_FILE_H

#include "model/lora.h"

enum { LORA_MAX_CONFIG_BYTES = 1 << 22 };

/* The adapters of o->adapter for list's tensors; o->train makes gradients, and o->lora, when given,
 * says dropout, seed and whether routers train. Errors: MOE2_EIO; MOE2_EFORMAT naming the file and
 * the tensor that has no place, is missing its other half or has another shape; MOE2_ECONFIG for
 * kinds of adapters that moe2 does not compute (DoRA, biases, embeddings). */
int lora_file_read(struct lora **out, struct param_list *list, const struct model_config *model,
                   const struct decoder_options *o, struct device *dev, struct err *err);

/* Writes the adapters of dec into dir, which is there. base is what adapter_config.json names as the
 * base model. */
int lora_file_write(struct decoder *dec, const char *dir, const char *base, struct err *err);

#endif
