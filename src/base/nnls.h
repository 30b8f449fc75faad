/* Non-negative least squares: the x ≥ 0 that makes ‖A x − b‖ smallest.
 *
 * For fits of cost curves, where a negative coefficient (a device that gives energy back) would be nonsense. After Lawson & Hanson,
 * Solving Least Squares Problems (1974), chapter 23: coefficients are freed one at a time, the one whose gradient is steepest first,
 * and put back to zero where a plain least-squares step would make them negative. Columns are scaled to length 1 inside, so that
 * seconds a token and seconds can stand side by side.
 */
#ifndef MOE2_BASE_NNLS_H
#define MOE2_BASE_NNLS_H

#include <stdint.h>

#include "base/err.h"

enum { NNLS_MAX_COLUMNS = 8 };

/* x [N] from A [M, N], row by row, and b [M]. N is 1 … NNLS_MAX_COLUMNS, M ≥ 1. A column that others make up already (within rounding)
 * stays 0. Errors: MOE2_ENUMERIC where A or b isn't finite, MOE2_ELIMIT without memory for M rows or beyond NNLS_MAX_COLUMNS. x is
 * written on success only. */
int nnls(double *x, const double *A, const double *b, int64_t M, int N, struct err *err);

#endif
