/* An adapter put into its model's weights, as a checkpoint of its own. */
#ifndef MOE2_TRAIN_ADAPTER_MERGE_H
#define MOE2_TRAIN_ADAPTER_MERGE_H

#include "base/log.h"
#include "kernels/device.h"
#include "tensor/dtype.h"

struct adapter_merge {
    const char *model, *adapter; /* folders */
    const char *out;             /* a new folder */
    bool has_dtype;
    enum dtype
        dtype; /* DT_F32 or DT_BF16; without has_dtype the model's own, bf16 where that is in fewer bits */
    const struct log_sink *log; /* or NULL */
};

/* Writes W + scale·B·A for every tensor that carries an adapter, the others as they are, with the tokenizer's files and, where
 * they trained or the model has a state of them, the routers. Errors: MOE2_ECONFIG when out is there; those of opening and writing;
 * then there is no out. */
int adapter_merge(const struct adapter_merge *m, struct device *dev, struct err *err);

#endif
