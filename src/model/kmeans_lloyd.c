/* Lloyd's walk with Hamerly's two bounds a row.
 *
 * Every row keeps upper ≥ its distance to its own centroid and lower ≤ its distance to any other. When centroids move, upper grows by
 * what its own moved and lower shrinks by the largest move of the others. A row with upper ≤ max(lower, half the way from its centroid
 * to the next one) provably stays; the rest are gathered into one product per start, all starts together while a chunk of rows is in
 * the cache. Sums of clusters are kept in double and changed by the rows that move only: each thread owns columns of the sums and
 * walks the rows in order, so the bits do not depend on who works.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/kmeans_parts.h"

enum {
    COLUMNS = 256, /* what a thread takes at a time */
    ROWS = 128,
    HALVES_MAX_K = 128,
};

struct pass {
    const struct kmeans_data *d;
    struct kmeans_walk *w;
    int n;
    int64_t k;
    float *c;      /* [n, k, D]: all starts' centroids below each other */
    float *y;      /* [KMEANS_CHUNK, n · k] products of all rows, or [slots, k] of gathered ones */
    int32_t *rows; /* [n · KMEANS_CHUNK] gathered */
    int32_t *offset; /* [n + 1] */
    void **groups;   /* [n] */
    bool dense;      /* whether y is of all rows */
    int64_t first, rows_here;
};

static float up(double v)
{
    return (float)(v * (1 + 0x1p-20));
}

static float down(double v)
{
    return (float)(v - fabs(v) * 0x1p-20);
}

/* Half the distance from each centroid to its nearest neighbour, rounded down; of many centroids it would cost more than it spares,
 * and 0 is true as well. */
static void halves(struct kmeans_walk *w, const struct kmeans_data *d, int64_t k)
{
    for (int64_t i = 0; i < k; i++) {
        double least = k > HALVES_MAX_K ? 0 : INFINITY;
        for (int64_t j = 0; j < k && k <= HALVES_MAX_K; j++)
            if (j != i)
                least = fmin(least, kmeans_square(w->c + i * d->D, w->c + j * d->D, d->D));
        w->half[i] = down(0.5 * sqrt(least));
    }
}

/* Centroids become the means of their rows; the moves and norms are noted. */
static void recentre(struct kmeans_walk *w, const struct kmeans_data *d, int64_t k)
{
    for (int64_t j = 0; j < k; j++) {
        double moved = 0, cc = 0;
        for (int64_t i = 0; i < d->D; i++) {
            float old = w->c[j * d->D + i];
            float c = w->n[j] ? (float)(w->sum[j * d->D + i] / (double)w->n[j]) : old;
            moved += ((double)c - old) * ((double)c - old);
            cc += (double)c * c;
            w->c[j * d->D + i] = c;
        }
        w->move[j] = up(sqrt(moved));
        w->cc[j] = (float)cc;
    }
    halves(w, d, k);
}

/* Brings the bounds of a chunk up to the last moves and lists the rows that may change. */
static void list_rows(struct kmeans_walk *w, int64_t first, int64_t n, int64_t k)
{
    float most = 0, next = 0;
    int64_t who = 0;
    for (int64_t j = 0; j < k; j++) {
        if (w->move[j] > most) {
            next = most;
            most = w->move[j];
            who = j;
        } else if (w->move[j] > next) {
            next = w->move[j];
        }
    }
    w->n_todo = 0;
    for (int64_t t = first; t < first + n; t++) {
        int32_t own = w->label[t];
        if (own >= 0) {
            w->upper[t] = up((double)w->upper[t] + w->move[own]);
            w->lower[t] = down((double)w->lower[t] - (own == who ? next : most));
            if (w->upper[t] <= fmaxf(w->lower[t], w->half[own]))
                continue;
        }
        w->todo[w->n_todo++] = (int32_t)t;
    }
}

/* Of slots gathered rows, each with the centroids of its start. */
static int gathered_products(struct pass *p, int64_t slots, struct err *err)
{
    const struct kmeans_data *d = p->d;
    struct kmeans_lent *l = d->lent;
    int64_t D = d->D;
    size_t y_bytes = (size_t)(slots * p->k) * sizeof(float);
    int rc = kmeans_hold(d, p->c, p->n * p->k, err);
    if (!rc)
        rc = lent_in(&l->list, d->dev, p->rows, (size_t)slots * sizeof *p->rows, err);
    if (!rc)
        rc = lent_room(&l->products, d->dev, p->y, y_bytes, err);
    if (rc)
        return rc;
    for (int s = 0; s < p->n; s++)
        p->groups[s] = (float *)l->centroids.at + s * p->k * D;
    struct grouped_args a = {.y = l->products.at, .x = (float *)(uintptr_t)d->x_there};
    a.w = p->groups, a.offset = p->offset, a.x_row = l->list.at;
    a.E = p->n, a.N = p->k, a.K = D;
    a.ldy = p->k, a.ldx = a.ldw = D, a.w_type = a.compute = DT_F32;
    d->dev->k->grouped_forward(d->dev, &a);
    return lent_back(&l->products, d->dev, p->y, y_bytes, err);
}

/* The products of a chunk: of all its rows with all starts when most are wanted, else of the gathered ones. */
static int chunk_products(struct pass *p, struct err *err)
{
    const struct kmeans_data *d = p->d;
    int64_t slots = 0;
    for (int s = 0; s < p->n; s++) {
        p->offset[s] = (int32_t)slots;
        memcpy(p->rows + slots, p->w[s].todo, (size_t)p->w[s].n_todo * sizeof(int32_t));
        slots += p->w[s].n_todo;
    }
    p->offset[p->n] = (int32_t)slots;
    p->dense = 2 * slots > (int64_t)p->n * p->rows_here;
    if (p->dense)
        return kmeans_products(p->y, d, p->first, p->rows_here, p->c, p->n * p->k, err);
    return slots ? gathered_products(p, slots, err) : 0;
}

/* The two nearest centroids of listed row i of start s: label and bounds. */
static void nearest(struct pass *p, int s, int64_t i)
{
    const struct kmeans_data *d = p->d;
    struct kmeans_walk *w = &p->w[s];
    int64_t t = w->todo[i];
    const float *y =
        p->dense ? p->y + ((t - p->first) * p->n + s) * p->k : p->y + (p->offset[s] + i) * p->k;
    float best = INFINITY, second = INFINITY;
    int32_t label = 0;
    for (int64_t j = 0; j < p->k; j++) {
        float v = w->cc[j] - 2 * y[j];
        if (v < best) {
            second = best;
            best = v;
            label = (int32_t)j;
        } else if (v < second) {
            second = v;
        }
    }
    double slack = kmeans_slack(d->D, d->xx[t], w->cc[label]);
    w->was[i] = w->label[t];
    w->label[t] = label;
    w->upper[t] = up(sqrt(fmax(0, (double)d->xx[t] + best) + slack));
    w->lower[t] = down(sqrt(fmax(0, (double)d->xx[t] + second - 2 * slack)));
}

/* Adds the rows that moved to the sums of one start, columns c0 … c1 − 1. */
static void move_columns(struct kmeans_walk *w, const struct kmeans_data *d, int64_t c0, int64_t c1)
{
    for (int64_t i = 0; i < w->n_todo; i++) {
        int32_t t = w->todo[i], was = w->was[i], is = w->label[t];
        if (was == is)
            continue;
        const float *x = d->x + t * d->D;
        double *to = w->sum + is * d->D, *from = w->sum + (was < 0 ? is : was) * d->D;
        if (was >= 0)
            for (int64_t c = c0; c < c1; c++)
                from[c] -= x[c];
        for (int64_t c = c0; c < c1; c++)
            to[c] += x[c];
    }
}

static void count_moves(struct kmeans_walk *w)
{
    for (int64_t i = 0; i < w->n_todo; i++) {
        int32_t was = w->was[i], is = w->label[w->todo[i]];
        if (was == is)
            continue;
        w->n_changed++;
        w->n[is]++;
        if (was >= 0)
            w->n[was]--;
    }
}

static int chunk(struct pass *p, struct err *err)
{
    const struct kmeans_data *d = p->d;
    int n_threads = d->dev->n_threads;
    int64_t blocks = (p->rows_here + ROWS - 1) / ROWS, strips = (d->D + COLUMNS - 1) / COLUMNS;
    bool any = false;
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int s = 0; s < p->n; s++) {
        p->w[s].n_todo = 0;
        if (!p->w[s].done)
            list_rows(&p->w[s], p->first, p->rows_here, p->k);
    }
    for (int s = 0; s < p->n; s++)
        any |= p->w[s].n_todo > 0;
    int rc = any ? chunk_products(p, err) : 0;
    if (!any || rc)
        return rc;
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t b = 0; b < p->n * blocks; b++) {
        int s = (int)(b / blocks);
        for (int64_t i = b % blocks * ROWS; i < p->w[s].n_todo && i < (b % blocks + 1) * ROWS; i++)
            nearest(p, s, i);
    }
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t b = 0; b < p->n * strips; b++) {
        int64_t c0 = b % strips * COLUMNS;
        move_columns(&p->w[b / strips], d, c0, c0 + COLUMNS < d->D ? c0 + COLUMNS : d->D);
    }
    for (int s = 0; s < p->n; s++) {
        count_moves(&p->w[s]);
        p->w[s].n_products += p->w[s].n_todo;
    }
    return 0;
}

/* Gives an empty cluster the row that lies farthest from its centroid (and is not alone in its cluster). */
static void refill(struct kmeans_walk *w, const struct kmeans_data *d, int64_t empty)
{
    double most = -1;
    int64_t who = -1;
    for (int64_t t = 0; t < d->T; t++) {
        if (w->n[w->label[t]] < 2)
            continue;
        double v = kmeans_square(d->x + t * d->D, w->c + w->label[t] * d->D, d->D);
        if (v > most) {
            most = v;
            who = t;
        }
    }
    if (who < 0)
        return;
    int32_t was = w->label[who];
    for (int64_t i = 0; i < d->D; i++) {
        w->sum[was * d->D + i] -= d->x[who * d->D + i];
        w->sum[empty * d->D + i] = d->x[who * d->D + i];
    }
    w->n[was]--;
    w->n[empty] = 1;
    w->n_changed++;
    w->label[who] = (int32_t)empty;
    w->upper[who] = INFINITY; /* looked at in the next pass, whatever the bounds say */
    w->lower[who] = 0;
}

/* Σ‖x‖² − Σ_j ‖sum_j‖²/n_j: the inertia when every centroid is the mean of its rows. */
static double inertia_of_means(const struct kmeans_walk *w, const struct kmeans_data *d, int64_t k)
{
    double sum = 0;
    for (int64_t t = 0; t < d->T; t++)
        sum += d->xx[t];
    for (int64_t j = 0; j < k; j++) {
        double ss = 0;
        for (int64_t i = 0; i < d->D; i++)
            ss += w->sum[j * d->D + i] * w->sum[j * d->D + i];
        if (w->n[j])
            sum -= ss / (double)w->n[j];
    }
    return sum > 0 ? sum : 0;
}

static void begin(struct pass *p)
{
    const struct kmeans_data *d = p->d;
    for (int s = 0; s < p->n; s++) {
        struct kmeans_walk *w = &p->w[s];
        memset(w->sum, 0, (size_t)(p->k * d->D) * sizeof(double));
        memset(w->n, 0, (size_t)p->k * sizeof(int64_t));
        memset(w->move, 0, (size_t)p->k * sizeof(float));
        for (int64_t t = 0; t < d->T; t++)
            w->label[t] = -1;
        for (int64_t j = 0; j < p->k; j++) {
            double cc = 0;
            for (int64_t i = 0; i < d->D; i++)
                cc += (double)w->c[j * d->D + i] * w->c[j * d->D + i];
            w->cc[j] = (float)cc;
        }
        halves(w, d, p->k);
        w->done = false;
        w->result = (struct kmeans_start){0};
    }
}

/* One Lloyd step of every start that has not converged. *n_left: how many still walk. */
static int walk_once(struct pass *p, int64_t max_iterations, int *n_left, struct err *err)
{
    const struct kmeans_data *d = p->d;
    int left = 0;
    for (int s = 0; s < p->n; s++) {
        p->w[s].n_changed = 0;
        memcpy(p->c + s * p->k * d->D, p->w[s].c, (size_t)(p->k * d->D) * sizeof(float));
    }
    d->lent->held = NULL; /* they moved */
    int rc = kmeans_hold(d, p->c, p->n * p->k, err);
    for (p->first = 0; p->first < d->T && !rc; p->first += KMEANS_CHUNK) {
        p->rows_here = d->T - p->first < KMEANS_CHUNK ? d->T - p->first : KMEANS_CHUNK;
        rc = chunk(p, err);
    }
    if (rc)
        return rc;
#pragma omp parallel for schedule(static) num_threads(d->dev->n_threads) reduction(+ : left)
    for (int s = 0; s < p->n; s++) {
        struct kmeans_walk *w = &p->w[s];
        if (w->done)
            continue;
        w->result.iterations++;
        for (int64_t j = 0; j < p->k; j++)
            if (w->n[j] == 0)
                refill(w, d, j);
        w->result.converged = w->n_changed == 0;
        w->done = w->result.converged || w->result.iterations >= max_iterations;
        if (!w->result.converged)
            recentre(w, d, p->k);
        if (w->done)
            w->result.inertia = inertia_of_means(w, d, p->k);
        left += !w->done;
    }
    *n_left = left;
    return 0;
}

int kmeans_lloyd(struct kmeans_walk *w, int n, const struct kmeans_data *d,
                 const struct kmeans_options *o, struct err *err)
{
    struct pass p = {.d = d, .w = w, .n = n, .k = o->k};
    int rc = 0;
    p.c = malloc((size_t)(n * o->k * d->D) * sizeof(float));
    p.y = malloc((size_t)(KMEANS_CHUNK * n * o->k) * sizeof(float));
    p.rows = malloc((size_t)(n * KMEANS_CHUNK) * sizeof(int32_t));
    p.offset = malloc((size_t)(n + 1) * sizeof(int32_t));
    p.groups = malloc((size_t)n * sizeof(void *));
    if (!p.c || !p.y || !p.rows || !p.offset || !p.groups)
        rc = err_set(err, MOE2_ELIMIT, "k-means: no memory for %d starts of %lld centroids", n,
                     (long long)o->k);
    else
        begin(&p);
    for (int n_left = n; n_left && !rc;) {
        rc = kmeans_stopped(o, err);
        if (!rc)
            rc = walk_once(&p, o->max_iterations, &n_left, err);
    }
    d->lent->held = NULL;
    free(p.c);
    free(p.y);
    free(p.rows);
    free(p.offset);
    free(p.groups);
    return rc;
}
