/* Dispatch: from picks by token to lists by expert, and back.
 *
 * A counting sort: block_picks says how many picks each block of tokens has for each expert; their
 * running sums are the places where each block begins to write, so blocks write side by side and
 * the order (by expert, then by token) is the same for any number of threads.
 */
#include "route/router_parts.h"

/* block_picks from counts to places, and expert_offsets. */
static void place_blocks(struct route *route, int64_t n_blocks)
{
    int64_t place = 0;
    for (int i = 0; i < route->E; i++) {
        route->expert_offsets[i] = place;
        for (int64_t b = 0; b < n_blocks; b++) {
            int64_t count = route->block_picks[b * route->E + i];
            route->block_picks[b * route->E + i] = place;
            place += count;
        }
    }
    route->expert_offsets[route->E] = place;
    route->n = place;
}

static void place_tokens(struct route *route)
{
    int64_t place = 0;
    for (int64_t t = 0; t < route->T; t++) {
        route->token_offsets[t] = place;
        for (int k = 0; k < route->K; k++)
            place += route->pick_position[t * route->K + k] >= 0;
    }
    route->token_offsets[route->T] = place;
}

static void scatter_block(struct route *route, int64_t b)
{
    int K = route->K;
    int64_t *next = route->block_picks + b * route->E, end = (b + 1) * ROUTE_BLOCK;
    for (int64_t t = b * ROUTE_BLOCK; t < end && t < route->T; t++) {
        int32_t *own = route->position + route->token_offsets[t];
        int n = 0;
        for (int64_t k = t * K; k < (t + 1) * K; k++) {
            if (route->pick_position[k] < 0)
                continue;
            int32_t i = route->idx[k], place = (int32_t)next[i]++;
            route->token[place] = (int32_t)t;
            route->expert[place] = i;
            route->weight[place] = route->pick_weight[k];
            route->pick_position[k] = place;
            int at = n++;
            for (; at > 0 && own[at - 1] > place; at--)
                own[at] = own[at - 1];
            own[at] = place;
        }
    }
}

void dispatch_build(struct route *route)
{
    int64_t n_blocks = route_blocks(route->T);
    place_blocks(route, n_blocks);
    place_tokens(route);
#pragma omp parallel for schedule(static) if (route->T * route->E >= ROUTE_PARALLEL)
    for (int64_t b = 0; b < n_blocks; b++)
        scatter_block(route, b);
}
