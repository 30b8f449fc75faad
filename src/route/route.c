/* The memory of a route: one list of its arrays gives their bytes and their places. */
#include "route/router_parts.h"

/* Room for n things of size bytes at *offset, which moves on to the next multiple of 64. */
static void *room(char *memory, size_t *offset, int64_t n, size_t size)
{
    void *place = memory ? memory + *offset : NULL;
    *offset += ((size_t)n * size + 63) / 64 * 64;
    return place;
}

int64_t route_slots_max(const struct router_config *config, int64_t T)
{
    return T * (config->pick == PICK_EXPERT_CHOICE ? config->n_experts : config->n_picks);
}

static size_t layout(struct route *route, const struct router_config *config, int64_t T,
                     char *memory)
{
    int64_t E = config->n_experts, K = config->n_picks, blocks = route_blocks(T);
    bool by_expert = config->pick == PICK_EXPERT_CHOICE;
    int64_t n_max = route_slots_max(config, T);
    bool unbiased = config->aux.sequence_coef > 0 && config->aux.sequence_f == SEQUENCE_F_UNBIASED;
    int64_t n_columns = by_expert ? E * T : config->capacity_factor > 0 ? n_max : 0;
    size_t n = 0;
    *route = (struct route){.T = T, .E = (int)E, .K = (int)K};
    route->scores = room(memory, &n, T * E, sizeof(float));
    route->bias = room(memory, &n, E, sizeof(float));
    route->picks = room(memory, &n, E, sizeof(int64_t));
    if (!by_expert) {
        route->idx = room(memory, &n, n_max, sizeof(int32_t));
        route->pick_weight = room(memory, &n, n_max, sizeof(float));
        route->pick_position = room(memory, &n, n_max, sizeof(int32_t));
    }
    route->expert_offsets = room(memory, &n, E + 1, sizeof(int64_t));
    route->token = room(memory, &n, n_max, sizeof(int32_t));
    route->expert = room(memory, &n, n_max, sizeof(int32_t));
    route->weight = room(memory, &n, n_max, sizeof(float));
    route->token_offsets = room(memory, &n, T + 1, sizeof(int64_t));
    route->position = room(memory, &n, n_max, sizeof(int32_t));
    route->block_picks = room(memory, &n, blocks * E, sizeof(int64_t));
    route->block_valid = room(memory, &n, blocks + 1, sizeof(int64_t));
    route->block_rows = room(memory, &n, (blocks + 1) * ROUTE_LANES * E, sizeof(float));
    route->block_sums = room(memory, &n, (blocks + 1) * E, sizeof(double));
    route->block_moments = room(memory, &n, (blocks + 1) * 2, sizeof(double));
    if (n_columns)
        route->columns = room(memory, &n, n_columns, sizeof(float));
    if (unbiased)
        route->unbiased = room(memory, &n, T * K, sizeof(int32_t));
    return n;
}

size_t route_bytes(const struct router_config *config, int64_t T)
{
    struct route route;
    return layout(&route, config, T, NULL);
}

void route_bind(struct route *route, const struct router_config *config, int64_t T, void *memory)
{
    layout(route, config, T, memory);
}
