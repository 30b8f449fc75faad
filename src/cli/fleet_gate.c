/* Embedder and gate of a running fleet: see fleet_gate.h. */
#include "cli/fleet_gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"

static int check(const struct fleet_gate *g, const char *path, const char *features,
                 const char *const *experts, int n_experts, struct err *err)
{
    if (g->gate->N != n_experts)
        return err_set(err, MOE2_ECONFIG, "%s: scores %lld experts, the fleet has %d", path,
                       (long long)g->gate->N, n_experts);
    for (int i = 0; i < n_experts; i++)
        if (g->gate->experts[i] && strcmp(g->gate->experts[i], experts[i]) != 0)
            return err_set(err, MOE2_ECONFIG, "%s: expert %d is \"%.60s\", in the fleet \"%.60s\"",
                           path, i, g->gate->experts[i], experts[i]);
    if (g->gate->D != embedder_dim(g->embedder))
        return err_set(err, MOE2_ECONFIG, "%s: looks at %lld dimensions, %s makes %lld", path,
                       (long long)g->gate->D, features, (long long)embedder_dim(g->embedder));
    return 0;
}

int fleet_gate_open(struct fleet_gate *g, const char *gate, const char *features,
                    const struct device_choice *device, const char *const *experts, int n_experts,
                    struct err *err)
{
    int rc = file_is_dir(features) ? embedder_open_encoder(&g->embedder, features, device, 1, false,
                                                           0, cli_sink(), err)
                                   : embedder_open_hashed(&g->embedder, features, 1, err);
    if (!rc)
        rc = gate_open(&g->gate, gate, err);
    if (!rc)
        rc = device_open_choice(&g->dev, device, 1, err);
    if (!rc)
        rc = check(g, gate, features, experts, n_experts, err);
    if (!rc && !(g->vector = malloc((size_t)g->gate->D * sizeof *g->vector)))
        rc = err_set(err, MOE2_ELIMIT, "no memory for a vector");
    return rc;
}

void fleet_gate_close(struct fleet_gate *g)
{
    gate_free(g->gate);
    embedder_free(g->embedder);
    device_close(g->dev);
    free(g->vector);
    *g = (struct fleet_gate){0};
}

static int score(void *ctx, float *scores, const char *text, struct err *err)
{
    struct fleet_gate *g = ctx;
    const struct embedder_text one = {text, strlen(text)};
    int rc = embedder_texts(g->vector, NULL, g->embedder, &one, 1, err);
    const struct gate_input in = {.x = g->vector, .T = 1};
    return rc ? rc : gate_score(scores, g->dev, g->gate, &in, err);
}

struct gateway_gate fleet_gate_table(struct fleet_gate *g)
{
    return (struct gateway_gate){g->gate ? score : NULL, g};
}
