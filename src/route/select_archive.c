/* A frontier that grows point by point: see select_archive.h.
 *
 * For each latency there is a staircase of the points of at most that latency that no other of them beats in energy and right. A point is
 * on the frontier exactly when it is on the staircase of its own latency; one look by bisection tells, and whether a whole
 * part of the subsets can be passed over.
 */
#include "route/select_archive.h"

#include <stdlib.h>
#include <string.h>

void select_archive_init(struct select_archive *a, const int64_t *latency, int n)
{
    *a = (struct select_archive){0};
    for (int i = 0; i < n; i++) {
        int k = a->n_stairs;
        while (k > 0 && a->stairs[k - 1].latency > latency[i])
            k--;
        if (k > 0 && a->stairs[k - 1].latency == latency[i])
            continue;
        memmove(a->stairs + k + 1, a->stairs + k, (size_t)(a->n_stairs - k) * sizeof a->stairs[0]);
        a->stairs[k] = (struct select_stairs){.latency = latency[i]};
        a->n_stairs++;
    }
}

void select_archive_release(struct select_archive *a)
{
    for (int k = 0; k < a->n_stairs; k++)
        free(a->stairs[k].points);
    *a = (struct select_archive){0};
}

/* The first stairs of at least that latency, n_stairs without any. */
static int stairs_from(const struct select_archive *a, int64_t latency)
{
    int k = 0;
    while (k < a->n_stairs && a->stairs[k].latency < latency)
        k++;
    return k;
}

/* How many points of the stairs need at most that energy: the last of them has the most right. */
static int64_t steps_to(const struct select_stairs *s, int64_t energy)
{
    int64_t low = 0, high = s->n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (s->points[middle].energy <= energy)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Room for one more point. */
static bool make_room(struct select_stairs *s)
{
    if (s->n < s->capacity)
        return true;
    int64_t capacity = s->capacity ? 2 * s->capacity : 64;
    struct select_point *points = capacity > SELECT_MAX_STAIRS
                                      ? NULL
                                      : realloc(s->points, (size_t)capacity * sizeof *s->points);
    if (!points)
        return false;
    s->points = points;
    s->capacity = capacity;
    return true;
}

/* Puts x on the stairs and takes away what it beats; false when x is beaten there. */
static bool step_in(struct select_archive *a, struct select_stairs *s, const struct select_point *x)
{
    int64_t at = steps_to(s, x->energy), end = at;
    if (at > 0 && s->points[at - 1].correct >= x->correct) {
        const struct select_point *y = &s->points[at - 1];
        bool equal = y->correct == x->correct && y->energy == x->energy;
        if (!equal || !select_before(x, y))
            return false;
    }
    if (at > 0 && s->points[at - 1].energy == x->energy)
        at--;
    while (end < s->n && s->points[end].correct <= x->correct)
        end++;
    if (at == end && !make_room(s)) {
        a->failed = true;
        return true;
    }
    memmove(s->points + at + 1, s->points + end, (size_t)(s->n - end) * sizeof *s->points);
    s->points[at] = *x;
    s->n += 1 - (end - at);
    return true;
}

void select_archive_add(struct select_archive *a, const struct select_point *x)
{
    int k = stairs_from(a, x->latency);
    for (bool stays = true; k < a->n_stairs && stays; k++)
        stays = step_in(a, &a->stairs[k], x);
}

bool select_archive_beats(const struct select_archive *a, int64_t correct, int64_t energy,
                          int64_t latency)
{
    int k = stairs_from(a, latency);
    k -= k == a->n_stairs || a->stairs[k].latency > latency;
    if (k < 0)
        return false;
    int64_t at = steps_to(&a->stairs[k], energy);
    if (at == 0)
        return false;
    const struct select_point *y = &a->stairs[k].points[at - 1];
    return y->correct > correct ||
           (y->correct == correct && (y->energy < energy || y->latency < latency));
}

int select_archive_points(struct select_point **points, int64_t *n, const struct select_archive *a,
                          struct err *err)
{
    int64_t most = 1;
    for (int k = 0; k < a->n_stairs; k++)
        most += a->stairs[k].n;
    struct select_point *list = malloc((size_t)most * sizeof *list);
    if (!list)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld subsets", (long long)most);
    *n = 0;
    for (int k = 0; k < a->n_stairs; k++)
        for (int64_t i = 0; i < a->stairs[k].n; i++)
            if (a->stairs[k].points[i].latency == a->stairs[k].latency)
                list[(*n)++] = a->stairs[k].points[i];
    qsort(list, (size_t)*n, sizeof *list, select_by_costs);
    *points = list;
    return 0;
}
