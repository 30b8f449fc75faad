/* Capacity: a limit on how many picks an expert serves in one forward.
 *
 *     C = ⌈cf·K·T/E⌉; of an expert's picks beyond C those with the lowest scores s are dropped, of
 *     equal ones the later tokens
 *
 * The weights of a token's other picks stay as they were: what a dropped expert would have added
 * is missing. Which picks are dropped depends on later tokens, so plain evaluation drops none.
 */
#include "route/router_parts.h"

#include <math.h>
#include <string.h>

#include "route/rd_esi.h"

int64_t route_capacity(double cf, int64_t K, int64_t T, int64_t E)
{
    double places = cf * (double)K * (double)T / (double)E;
    return (int64_t)ceil(places * (1 - 1e-6));
}

static void forget(struct route *route, int64_t place)
{
    int64_t first = (int64_t)route->token[place] * route->K;
    for (int64_t k = first; k < first + route->K; k++)
        if (route->pick_position[k] == place)
            route->pick_position[k] = -1;
}

/* Keeps the C best of expert i's list. */
static void drop_of_expert(struct route *route, int i, int64_t C, const struct row_ops *ops)
{
    int64_t first = route->expert_offsets[i], n = route->expert_offsets[i + 1] - first;
    if (n <= C)
        return;
    float *s = route->columns + first;
    for (int64_t p = 0; p < n; p++)
        s[p] = route->scores[(int64_t)route->token[first + p] * route->E + i];
    float limit = order_kth(ops, s, n, C);
    int64_t above = 0;
    for (int64_t p = 0; p < n; p++)
        above += s[p] > limit;
    int64_t equal = C - above;
    for (int64_t p = 0; p < n; p++)
        if (s[p] < limit || (s[p] == limit && equal-- <= 0))
            forget(route, first + p);
}

static void count_kept(struct route *route, int64_t b)
{
    int64_t *picks = route->block_picks + b * route->E, end = (b + 1) * ROUTE_BLOCK * route->K;
    memset(picks, 0, sizeof *picks * (size_t)route->E);
    for (int64_t k = b * ROUTE_BLOCK * route->K; k < end && k < route->T * route->K; k++)
        if (route->pick_position[k] >= 0)
            picks[route->idx[k]]++;
}

void capacity_drop(struct route *route, int64_t C, const struct row_ops *ops)
{
    int64_t before = route->n;
    for (int i = 0; i < route->E; i++)
        drop_of_expert(route, i, C, ops);
    for (int64_t b = 0; b < route_blocks(route->T); b++)
        count_kept(route, b);
    dispatch_build(route);
    route->n_dropped = before - route->n;
}
