/* Where a model keeps its chat template: chat_template.jinja or tokenizer_config.json of a folder, a key of a GGUF file. */
#ifndef MOE2_MODEL_CHAT_TEMPLATE_H
#define MOE2_MODEL_CHAT_TEMPLATE_H

#include "base/buf.h"

enum { CHAT_TEMPLATE_MAX_BYTES = 1 << 20 }; /* for out->max_bytes */

/* Appends its text, at most out->max_bytes of it. MOE2_ECONFIG when the model has none; MOE2_EIO, MOE2_EFORMAT. */
int chat_template_read(struct buf *out, const char *model, struct err *err);

#endif
