/* Points that no other dominates, in three dimensions: more right, less energy, less latency.
 *
 * In the order of energy, then more right, then latency, then the rules of ties, whatever dominates a point stands before it. So a
 * point stays exactly when nothing before it with at most its latency is right at least as often: a Fenwick tree over the
 * latencies that holds the most right so far answers that.
 */
#include <stdlib.h>
#include <string.h>

#include "route/select_parts.h"

static int by_energy(const void *x, const void *y)
{
    const struct select_point *a = x, *b = y;
    if (a->energy != b->energy)
        return a->energy < b->energy ? -1 : 1;
    return select_before(a, b) ? -1 : select_before(b, a);
}

int select_by_costs(const void *x, const void *y)
{
    const struct select_point *a = x, *b = y;
    if (a->energy != b->energy)
        return a->energy < b->energy ? -1 : 1;
    return (a->latency > b->latency) - (a->latency < b->latency);
}

static int ascending(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

/* How many of the sorted values are at most v. */
static int64_t place_of(const int64_t *values, int64_t n, int64_t v)
{
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (values[middle] <= v)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Keeps of n points those that no other dominates, in the order of select_by_costs. An error leaves them as they are. */
static int thin(struct select_point *points, int64_t *n, struct err *err)
{
    int64_t n_values = 0, kept = 0;
    int64_t *values = malloc((size_t)(*n + 1) * sizeof *values);
    int64_t *most = malloc((size_t)(*n + 1) * sizeof *most); /* Fenwick, from 1 */
    if (!values || !most) {
        free(values);
        free(most);
        return err_set(err, MOE2_ELIMIT, "no memory for %lld subsets", (long long)*n);
    }
    for (int64_t k = 0; k < *n; k++)
        values[k] = points[k].latency;
    qsort(values, (size_t)*n, sizeof *values, ascending);
    for (int64_t k = 0; k < *n; k++)
        if (k == 0 || values[k] != values[n_values - 1])
            values[n_values++] = values[k];
    memset(most, 0xff, (size_t)(*n + 1) * sizeof *most); /* −1 */
    qsort(points, (size_t)*n, sizeof *points, by_energy);
    for (int64_t k = 0; k < *n; k++) {
        int64_t before = -1, place = place_of(values, n_values, points[k].latency);
        for (int64_t i = place; i > 0; i -= i & -i)
            before = most[i] > before ? most[i] : before;
        if (before >= points[k].correct)
            continue;
        for (int64_t i = place; i <= n_values; i += i & -i)
            most[i] = points[k].correct > most[i] ? points[k].correct : most[i];
        points[kept++] = points[k];
    }
    qsort(points, (size_t)kept, sizeof *points, select_by_costs);
    free(values);
    free(most);
    *n = kept;
    return 0;
}

int select_frontier_add(struct select_result *r, const struct select_point *more, int64_t n,
                        struct err *err)
{
    int64_t n_all = r->n_frontier + n;
    struct select_point *list = realloc(r->frontier, (size_t)(n_all + 1) * sizeof *list);
    if (!list)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld subsets", (long long)n_all);
    r->frontier = list;
    if (n)
        memcpy(list + r->n_frontier, more, (size_t)n * sizeof *list);
    int rc = thin(list, &n_all, err);
    if (rc)
        return rc;
    r->n_frontier = n_all;
    r->has_frontier = true;
    return 0;
}
