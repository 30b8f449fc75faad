/* The Matthew effect: whether who had much at the start of training has much at its end.
 *
 * Loads and reputations are summed over two windows, the first and the last tenth of the planned
 * steps, and compared by Spearman's rank correlation: 1 when the order of the experts never
 * changed, 0 when the end knows nothing of the beginning.
 */
#include "route/balance.h"

#include <math.h>
#include <stdlib.h>

#include "base/stats.h"

/* Sums over a window: of l [E], of R [E], and over how many steps each. */
enum { EARLY_LOAD, EARLY_R, EARLY_STEPS, LATE_LOAD, LATE_R, LATE_STEPS, N_SUMS };

struct matthew {
    int E;
    int64_t planned_steps;
    float *sums[N_SUMS];
    float memory[];
};

int matthew_new(struct matthew **out, int E, int64_t planned_steps, struct err *err)
{
    struct matthew *m = calloc(1, sizeof *m + sizeof(float) * (size_t)(4 * E + 4));
    if (!m)
        return err_set(err, MOE2_ELIMIT, "no memory for the loads of %d experts", E);
    m->E = E;
    m->planned_steps = planned_steps;
    float *next = m->memory;
    for (int i = 0; i < N_SUMS; i++) {
        m->sums[i] = next;
        next += i == EARLY_STEPS || i == LATE_STEPS ? 2 : E;
    }
    *out = m;
    return 0;
}

void matthew_free(struct matthew *m)
{
    free(m);
}

static void add_step(float **sums, const int64_t *picks, int64_t n_items, const float *R, int E)
{
    for (int i = 0; i < E; i++) {
        sums[0][i] += (float)((double)picks[i] / (double)n_items);
        if (R)
            sums[1][i] += R[i];
    }
    sums[2][0]++;
    sums[2][1] += R != NULL;
}

void matthew_step(struct matthew *m, int64_t step, const int64_t *picks, int64_t n_items,
                  const float *R)
{
    int64_t tenth = m->planned_steps / 10 > 0 ? m->planned_steps / 10 : 1;
    if (n_items <= 0)
        return;
    if (step < tenth)
        add_step(m->sums + EARLY_LOAD, picks, n_items, R, m->E);
    if (step >= m->planned_steps - tenth)
        add_step(m->sums + LATE_LOAD, picks, n_items, R, m->E);
}

static int compare(double *out, const struct matthew *m, int early, int late, int steps,
                   struct err *err)
{
    double *x = malloc(sizeof *x * (size_t)(2 * m->E)), rank = NAN;
    if (!x)
        return err_set(err, MOE2_ELIMIT, "no memory for the ranks of %d experts", m->E);
    double *y = x + m->E;
    for (int i = 0; i < m->E; i++) {
        x[i] = m->sums[early][i];
        y[i] = m->sums[late][i];
    }
    bool known = m->sums[EARLY_STEPS][steps] > 0 && m->sums[LATE_STEPS][steps] > 0;
    int rc = known ? stats_spearman(&rank, x, y, m->E, err) : 0;
    free(x);
    if (rc)
        return rc;
    *out = rank;
    return 0;
}

int matthew_result(struct balance_result *result, const struct matthew *m, struct err *err)
{
    double load = NAN, reputation = NAN;
    int rc = compare(&load, m, EARLY_LOAD, LATE_LOAD, 0, err);
    if (!rc)
        rc = compare(&reputation, m, EARLY_R, LATE_R, 1, err);
    if (rc)
        return rc;
    result->matthew_load = load;
    result->matthew_reputation = reputation;
    return 0;
}

int matthew_state(struct matthew *m, struct route_state_item items[ROUTE_STATE_MAX])
{
    static const char *const names[N_SUMS] = {
        "matthew.early_load", "matthew.early_R", "matthew.early_steps",
        "matthew.late_load",  "matthew.late_R",  "matthew.late_steps",
    };
    for (int i = 0; i < N_SUMS; i++) {
        int64_t n = i == EARLY_STEPS || i == LATE_STEPS ? 2 : m->E;
        items[i] = (struct route_state_item){names[i], m->sums[i], n};
    }
    return N_SUMS;
}
