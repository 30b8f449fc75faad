/* The walk of our products (see gemm.h): tasks for the threads, blocks within a task; the same for every instruction set. */
#include "kernels/cpu/gemm.h"

#include <assert.h>
#include <omp.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"

enum {
    COLUMNS =
        384, /* of B packed at a time: 384 KiB, which stay in the second cache while A passes by */
    TASK_ROWS =
        512, /* rows of C in a task, at most: packing B then costs about a fiftieth of the product */
    MIN_ROWS = 64,
    A_ROWS_MAX = 256, /* rows of A packed at a time, at most */
};

struct task {
    int32_t group, n0, n1;
    int64_t m0, m1;
};

/* Packed A times packed B into the block of C whose corner is c. */
static void multiply(const struct gemm_ops *ops, float *c, int64_t ldc, const uint32_t *a,
                     const uint32_t *b, int64_t m, int64_t n, int64_t units, bool by_rows, bool add)
{
    for (int64_t i = 0; i < m; i += ops->mr)
        for (int64_t j = 0; j < n; j += ops->nr)
            ops->tile(c + i * ldc + j, ldc, a + i * (by_rows ? GEMM_PITCH : units), b + j * units,
                      ops->nr, units, (int)min64(ops->mr, m - i), (int)min64(ops->nr, n - j),
                      by_rows, add);
}

static void run_task(const struct gemm_ops *ops, const struct gemm *g, const struct task *t,
                     uint32_t *scratch)
{
    uint32_t *b = scratch, *a = scratch + (COLUMNS + ops->nr) * GEMM_UNITS;
    int64_t k_step = (int64_t)GEMM_UNITS * ops->k_unit, n = t->n1 - t->n0;
    int64_t a_rows = (int64_t)ops->mr * ops->a_block;
    assert(a_rows <= A_ROWS_MAX);
    for (int64_t k0 = 0; k0 == 0 || k0 < g->K; k0 += k_step) {
        int64_t k = min64(k_step, g->K - k0), units = ceil_div(k, ops->k_unit);
        ops->pack_b(b, &g->b, t->n0, n, k0, k, units);
        for (int64_t m0 = t->m0; m0 < t->m1; m0 += a_rows) {
            int64_t m = min64(a_rows, t->m1 - m0);
            ops->pack_a(a, &g->a, m0, m, k0, k);
            multiply(ops, g->c + m0 * g->ldc + t->n0, g->ldc, a, b, m, n, units, g->a.k_inner,
                     g->accumulate || k0 > 0);
        }
    }
}

/* How wide and how high a task is: as large as the caches like, but small enough that each thread gets some. */
static void task_size(int64_t *rows, int64_t *columns, const struct gemm *g,
                      const struct gemm_ops *ops, int n_threads, int64_t n_groups)
{
    int64_t c = ceil_div(g->N, COLUMNS), r = ceil_div(g->M, TASK_ROWS);
    while (n_threads > 1 && n_groups == 1 && c * r % n_threads && c * r < 8 * n_threads) {
        if (g->M / r > g->N / c && g->M / r > MIN_ROWS)
            r++;
        else if (g->N / c > 2 * ops->nr)
            c++;
        else
            break;
    }
    *columns = ceil_div(ceil_div(g->N, c > 0 ? c : 1), ops->nr) * ops->nr;
    *rows = ceil_div(ceil_div(g->M, r > 0 ? r : 1), ops->mr) * ops->mr;
}

/* Largest first, so that the last ones to finish are small. */
static int by_size(const void *x, const void *y)
{
    const struct task *a = x, *b = y;
    int64_t sa = (a->m1 - a->m0) * (a->n1 - a->n0), sb = (b->m1 - b->m0) * (b->n1 - b->n0);
    if (sa != sb)
        return sa > sb ? -1 : 1;
    return a->group != b->group ? (a->group > b->group) - (a->group < b->group)
                                : (a->m0 > b->m0) - (a->m0 < b->m0);
}

static int64_t add_tasks(struct task *tasks, int64_t n, int32_t group, const struct gemm *g,
                         const struct gemm_ops *ops, int n_threads, int64_t n_groups)
{
    int64_t rows, columns;
    if (g->M == 0 || g->N == 0)
        return n;
    task_size(&rows, &columns, g, ops, n_threads, n_groups);
    for (int64_t j = 0; j < g->N; j += columns)
        for (int64_t i = 0; i < g->M; i += rows) {
            assert((size_t)n < CPU_SCRATCH_SHARED / 2 / sizeof *tasks);
            tasks[n++] = (struct task){group, (int32_t)j, (int32_t)min64(g->N, j + columns), i,
                                       min64(g->M, i + rows)};
        }
    return n;
}

static void run(struct device *dev, const struct gemm_ops *ops, const struct gemm *groups,
                const struct task *tasks, int64_t n_tasks)
{
#pragma omp parallel for schedule(dynamic, 1) num_threads(dev->n_threads) if (n_tasks > 1)
    for (int64_t i = 0; i < n_tasks; i++)
        run_task(ops, &groups[tasks[i].group], &tasks[i], cpu_scratch(dev, omp_get_thread_num()));
}

static const struct gemm_ops *ops_of(const struct device *dev, enum dtype compute)
{
    const struct cpu_state *s = dev->state;
    return compute == DT_BF16 ? s->gemm_bf16 : s->gemm_f32;
}

static void linear(struct device *dev, enum dtype compute, const struct gemm *g)
{
    const struct gemm_ops *ops = ops_of(dev, compute);
    struct task *tasks = cpu_shared(dev);
    run(dev, ops, g, tasks, add_tasks(tasks, 0, 0, g, ops, dev->n_threads, 1));
}

void gemm_linear_forward(struct device *dev, const struct linear_args *a)
{
    struct gemm g = {.a = {a->x, DT_F32, true, a->ldx, NULL},
                     .b = {a->w, a->w_type, true, a->ldw, NULL}};
    g.c = a->y, g.ldc = a->ldy, g.M = a->M, g.N = a->N, g.K = a->K, g.accumulate = a->accumulate;
    linear(dev, a->compute, &g);
}

void gemm_linear_backward_input(struct device *dev, const struct linear_args *a)
{
    struct gemm g = {.a = {a->y, DT_F32, true, a->ldy, NULL},
                     .b = {a->w, a->w_type, false, a->ldw, NULL}};
    g.c = a->x, g.ldc = a->ldx, g.M = a->M, g.N = a->K, g.K = a->N, g.accumulate = a->accumulate;
    linear(dev, a->compute, &g);
}

void gemm_linear_backward_weight(struct device *dev, const struct linear_args *a)
{
    struct gemm g = {.a = {a->y, DT_F32, false, a->ldy, NULL},
                     .b = {a->x, DT_F32, false, a->ldx, NULL}};
    g.c = a->w, g.ldc = a->ldw, g.M = a->N, g.N = a->K, g.K = a->M, g.accumulate = a->accumulate;
    linear(dev, a->compute, &g);
}

/* A side whose rows are the slots from first on. */
static struct gemm_side slots(const float *p, int64_t ld, const int32_t *rows, int64_t first,
                              bool k_inner)
{
    return (struct gemm_side){rows ? p : p + first * ld, DT_F32, k_inner, ld,
                              rows ? rows + first : NULL};
}

enum direction { FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT };

static struct gemm group_of(const struct grouped_args *a, int64_t e, enum direction d)
{
    int64_t first = a->offset[e], n = a->offset[e + 1] - first;
    struct gemm_side y = slots(a->y, a->ldy, a->y_row, first, d != BACKWARD_WEIGHT);
    struct gemm_side x = slots(a->x, a->ldx, a->x_row, first, d != BACKWARD_WEIGHT);
    struct gemm_side w = {a->w[e], a->w_type, d == FORWARD, a->ldw, NULL};
    if (d == FORWARD)
        return (struct gemm){x, w, a->y + first * a->ldy, a->ldy, n, a->N, a->K, a->accumulate};
    if (d == BACKWARD_INPUT)
        return (struct gemm){y, w, a->x + first * a->ldx, a->ldx, n, a->K, a->N, a->accumulate};
    return (struct gemm){y, x, a->w[e], a->ldw, n ? a->N : 0, a->K, n, a->accumulate};
}

static void grouped(struct device *dev, const struct grouped_args *a, enum direction d)
{
    const struct gemm_ops *ops = ops_of(dev, a->compute);
    struct gemm *groups = cpu_shared(dev);
    struct task *tasks = (struct task *)(groups + a->E);
    int64_t n = 0;
    for (int64_t e = 0; e < a->E; e++) {
        groups[e] = group_of(a, e, d);
        n = add_tasks(tasks, n, (int32_t)e, &groups[e], ops, dev->n_threads, a->E);
    }
    qsort(tasks, (size_t)n, sizeof *tasks, by_size);
    run(dev, ops, groups, tasks, n);
}

void gemm_grouped_forward(struct device *dev, const struct grouped_args *a)
{
    grouped(dev, a, FORWARD);
}

void gemm_grouped_backward_input(struct device *dev, const struct grouped_args *a)
{
    grouped(dev, a, BACKWARD_INPUT);
}

void gemm_grouped_backward_weight(struct device *dev, const struct grouped_args *a)
{
    grouped(dev, a, BACKWARD_WEIGHT);
}
