/* What logits, grad and step share: a model folder opened in float32, and one sequence of ids. */
#ifndef MOE2_CLI_SEQUENCE_H
#define MOE2_CLI_SEQUENCE_H

#include "cli/device_flags.h"
#include "model/decoder.h"

struct sequence {
    const char *model, *adapter, *ids_text; /* from the flags */
    struct device_flags device;
    int64_t threads;
    int32_t *ids, *targets, offset[2];
    struct batch batch;
    struct device *dev;
    struct decoder *dec;
};

/* The flags of a sequence, for a command's own list. */
#define SEQUENCE_FLAGS(s)                                                                          \
    {"--model", FLAG_TEXT, &(s)->model, true}, {"--ids", FLAG_TEXT, &(s)->ids_text, true},         \
        DEVICE_FLAGS(&(s)->device), {"--adapter", FLAG_TEXT, &(s)->adapter, false},                \
    {                                                                                              \
        "--threads", FLAG_INT, &(s)->threads, false                                                \
    }

#define SEQUENCE_HELP                                                                              \
    "  --model DIR      a checkpoint folder: config.json and safetensors (F32, F16 or BF16; "      \
    "computed in float32)\n"                                                                       \
    "  --adapter DIR    with the adapters of this folder (PEFT's layout) on it\n"                  \
    "  --ids 1,2,3      the sequence, ids of the vocabulary\n" DEVICE_FLAGS_HELP                   \
    "  --threads N      0: every core this process may use\n"

/* Opens the device and the model and makes the batch; targets are the next ids, the last is not
 * scored. least_ids is the shortest sequence that makes sense. The caller closes it, whatever came
 * out. */
int sequence_open(struct sequence *s, bool train, int64_t least_ids, struct err *err);
void sequence_close(struct sequence *s);

/* Mean next-token loss with its gradient in the decoder's params. */
int sequence_gradient(struct sequence *s, double *loss, struct err *err);

#endif
