/* The gate before a running fleet: an embedder and a gate as the table of functions that fleet/gateway.h wants. */
#ifndef MOE2_CLI_FLEET_GATE_H
#define MOE2_CLI_FLEET_GATE_H

#include "eval/embedder.h"
#include "fleet/gateway.h"
#include "model/gate.h"

struct fleet_gate {
    struct embedder *embedder;
    struct gate *gate;
    struct device *dev;
    float *vector; /* [D] */
};

/* Opens a gate and the embedder of its vectors: an encoder's folder, or a file of hashed features. The gate's experts must be those, in
 * that order. The caller closes it, whatever came out. Errors: those of both; MOE2_ECONFIG when they don't fit. */
int fleet_gate_open(struct fleet_gate *g, const char *gate, const char *features,
                    const struct device_choice *device, const char *const *experts, int n_experts,
                    struct err *err);
void fleet_gate_close(struct fleet_gate *g); /* a zeroed one is fine */

struct gateway_gate fleet_gate_table(struct fleet_gate *g);

#endif
