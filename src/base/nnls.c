/* Non-negative least squares: see nnls.h. The inner problem over the freed columns is solved by Gram–Schmidt, done twice for
 * orthogonality, which also tells which column adds nothing new. */
#include "base/nnls.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What is left of a column of length 1 after the others were taken out, below which it counts as made up of them. */
static const double DEPENDENT = 1e-9;

struct problem {
    double *A; /* [N][M]: columns of length 1 */
    double *Q; /* [N][M]: scratch, the orthogonal columns */
    double *rest;
    const double *b;
    double norm[NNLS_MAX_COLUMNS], b_norm;
    int64_t M;
    int N;
};

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* y[i] for the columns in list, by A = Q R: y solves R y = Qᵀ b. A dependent column gets 0 and leaves the list of the free. */
static void solve_free(double *y, bool *is_free, const struct problem *p)
{
    double R[NNLS_MAX_COLUMNS][NNLS_MAX_COLUMNS] = {{0}}, q_b[NNLS_MAX_COLUMNS];
    int column[NNLS_MAX_COLUMNS], n = 0;
    for (int j = 0; j < p->N; j++) {
        y[j] = 0;
        if (!is_free[j])
            continue;
        double *q = p->Q + n * p->M;
        memcpy(q, p->A + j * p->M, (size_t)p->M * sizeof *q);
        for (int pass = 0; pass < 2; pass++)
            for (int k = 0; k < n; k++) {
                double part = dot(p->Q + k * p->M, q, p->M);
                R[k][n] += part;
                for (int64_t i = 0; i < p->M; i++)
                    q[i] -= part * p->Q[k * p->M + i];
            }
        double left = sqrt(dot(q, q, p->M));
        if (left < DEPENDENT) {
            is_free[j] = false;
            for (int k = 0; k < n; k++)
                R[k][n] = 0;
            continue;
        }
        for (int64_t i = 0; i < p->M; i++)
            q[i] /= left;
        R[n][n] = left;
        q_b[n] = dot(q, p->b, p->M);
        column[n++] = j;
    }
    for (int k = n - 1; k >= 0; k--) {
        double sum = q_b[k];
        for (int l = k + 1; l < n; l++)
            sum -= R[k][l] * y[column[l]];
        y[column[k]] = sum / R[k][k];
    }
}

/* The column outside the free ones whose growth would help most, or −1. */
static int steepest(const bool *is_free, const bool *barred, const double *x, struct problem *p)
{
    memcpy(p->rest, p->b, (size_t)p->M * sizeof *p->rest);
    for (int j = 0; j < p->N; j++)
        for (int64_t i = 0; i < p->M && x[j] > 0; i++)
            p->rest[i] -= x[j] * p->A[j * p->M + i];
    double best = 1e-12 * p->b_norm;
    int found = -1;
    for (int j = 0; j < p->N; j++) {
        double slope = dot(p->A + j * p->M, p->rest, p->M);
        if (!is_free[j] && !barred[j] && slope > best) {
            best = slope;
            found = j;
        }
    }
    return found;
}

/* Moves x towards y as far as all stay ≥ 0, and binds what reached 0. False when y itself was reached. */
static bool step_back(double *x, const double *y, bool *is_free, int N)
{
    double part = 1;
    for (int j = 0; j < N; j++)
        if (is_free[j] && y[j] <= 0)
            part = fmin(part, x[j] / (x[j] - y[j]));
    bool bound = false;
    for (int j = 0; j < N; j++) {
        if (!is_free[j])
            continue;
        bool negative = y[j] <= 0;
        x[j] += part * (y[j] - x[j]);
        if (negative && x[j] <= 1e-14 * (1 + fabs(y[j]))) {
            x[j] = 0;
            is_free[j] = false;
            bound = true;
        }
    }
    return bound;
}

static void search(double *x, struct problem *p)
{
    bool is_free[NNLS_MAX_COLUMNS] = {false}, barred[NNLS_MAX_COLUMNS] = {false};
    double y[NNLS_MAX_COLUMNS];
    memset(x, 0, (size_t)p->N * sizeof *x);
    for (int round = 0; round < 3 * NNLS_MAX_COLUMNS * NNLS_MAX_COLUMNS; round++) {
        int j = steepest(is_free, barred, x, p);
        if (j < 0)
            return;
        is_free[j] = true;
        solve_free(y, is_free, p);
        if (!is_free[j] || y[j] <= 0) { /* nothing new, or rounding: never to be tried again */
            is_free[j] = false;
            barred[j] = true;
            continue;
        }
        while (step_back(x, y, is_free, p->N))
            solve_free(y, is_free, p);
    }
}

static bool all_finite(const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

int nnls(double *x, const double *A, const double *b, int64_t M, int N, struct err *err)
{
    if (N < 1 || N > NNLS_MAX_COLUMNS || M < 1)
        return err_set(err, MOE2_ELIMIT, "a fit of %lld values by %d terms, wanted 1 to %d terms",
                       (long long)M, N, NNLS_MAX_COLUMNS);
    if (!all_finite(A, M * N) || !all_finite(b, M))
        return err_set(err, MOE2_ENUMERIC, "a fit of values that are not finite");
    struct problem p = {.b = b, .M = M, .N = N, .b_norm = sqrt(dot(b, b, M))};
    double *memory = malloc((size_t)M * (2 * (size_t)N + 1) * sizeof *memory);
    if (!memory)
        return err_set(err, MOE2_ELIMIT, "no memory for a fit of %lld values", (long long)M);
    p.A = memory;
    p.Q = memory + N * M;
    p.rest = p.Q + N * M;
    for (int j = 0; j < N; j++) {
        for (int64_t i = 0; i < M; i++)
            p.A[j * M + i] = A[i * N + j];
        p.norm[j] = sqrt(dot(p.A + j * M, p.A + j * M, M));
        for (int64_t i = 0; i < M && p.norm[j] > 0; i++)
            p.A[j * M + i] /= p.norm[j];
    }
    double scaled[NNLS_MAX_COLUMNS];
    search(scaled, &p);
    for (int j = 0; j < N; j++)
        x[j] = p.norm[j] > 0 ? scaled[j] / p.norm[j] : 0;
    free(memory);
    return 0;
}
