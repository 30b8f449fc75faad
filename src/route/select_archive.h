/* A frontier that grows point by point, where latencies take few values, as the largest of some experts' does. Internal to route. */
#ifndef MOE2_ROUTE_SELECT_ARCHIVE_H
#define MOE2_ROUTE_SELECT_ARCHIVE_H

#include "route/select_parts.h"

enum { SELECT_MAX_STAIRS = 1 << 20 }; /* points of one latency */

/* The undominated ones among the points of at most a latency, by energy and right alone: both ascend. */
struct select_stairs {
    int64_t latency;
    struct select_point *points;
    int64_t n, capacity;
};

struct select_archive {
    struct select_stairs stairs[SELECT_MAX_EXPERTS]; /* [n_stairs] latencies ascend */
    int n_stairs;
    bool failed; /* memory ended: some points are not kept */
};

/* For points whose latency is one of these n. */
void select_archive_init(struct select_archive *a, const int64_t *latency, int n);
void select_archive_release(struct select_archive *a);

/* Keeps x unless a kept point dominates it, or equals it and comes before it. */
void select_archive_add(struct select_archive *a, const struct select_point *x);

/* Whether a kept point dominates every point of at most that right, at least that energy and latency. */
bool select_archive_beats(const struct select_archive *a, int64_t correct, int64_t energy,
                          int64_t latency);

/* The kept points, ordered by energy, then latency: the caller's array. */
int select_archive_points(struct select_point **points, int64_t *n, const struct select_archive *a,
                          struct err *err);

#endif
