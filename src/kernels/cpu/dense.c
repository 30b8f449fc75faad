/* Products with packed weights: the walk, over the tiles of gemm.h.
 *
 * A weight is packed once, chunk by chunk of its inner side, each chunk as panels nr columns wide. A task is a block of rows of x and
 * a run of panels: it packs its rows once, then each panel passes all of them, sums collect in a strip nr wide that stays in the
 * cache, and what follows the product (bias, gelu, the gate, the residual) is done while the strip is there.
 * A gated weight has its rows mixed so that each panel holds nr/2 columns of "up" and the same nr/2 of "gate".
 */
#include <assert.h>
#include <omp.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

enum { ROWS = 256 }; /* of x in a task, at most */

struct shape {
    const struct gemm_ops *ops;
    int64_t n_panels, n_chunks, units; /* of a chunk; the last may be shorter */
    int64_t last_units;
};

static struct shape shape_of(const struct device *dev, const struct dense_weight *w)
{
    const struct cpu_state *s = dev->state;
    struct shape p = {.ops = w->compute == DT_BF16 ? s->gemm_bf16 : s->gemm_f32};
    int64_t units = ceil_div(w->K, p.ops->k_unit), half = p.ops->nr / 2;
    p.n_panels = w->gated ? ceil_div(w->N / 2, half) : ceil_div(w->N, p.ops->nr);
    p.n_chunks = ceil_div(units, GEMM_UNITS);
    p.units = p.n_chunks ? ceil_div(units, p.n_chunks) : 0;
    p.last_units = units - p.units * (p.n_chunks - 1);
    return p;
}

static int64_t units_of(const struct shape *p, int64_t chunk)
{
    return chunk + 1 < p->n_chunks ? p->units : p->last_units;
}

size_t dense_bytes(struct device *dev, const struct dense_weight *w)
{
    struct shape p = shape_of(dev, w);
    return (size_t)(p.n_panels * p.ops->nr * p.units * p.n_chunks) * sizeof(uint32_t);
}

/* The row of w that stands in column i of the panels of a gated weight. */
static int32_t gated_row(const struct shape *p, const struct dense_weight *w, int64_t i)
{
    int64_t half = p->ops->nr / 2, f = i / p->ops->nr * half + i % half;
    f = min64(f, w->N / 2 - 1); /* behind the end: any row will do */
    return (int32_t)(i % p->ops->nr < half ? f : w->N / 2 + f);
}

void dense_pack(struct device *dev, const struct dense_weight *w, const float *rows)
{
    struct shape p = shape_of(dev, w);
    int64_t nr = p.ops->nr, n_columns = w->gated ? p.n_panels * nr : w->N;
    struct gemm_side side = {rows, DT_F32, true, w->K, NULL};
    if (w->gated) {
        int32_t *order = cpu_shared(dev);
        assert((size_t)n_columns * sizeof *order <= CPU_SCRATCH_SHARED);
        for (int64_t i = 0; i < n_columns; i++)
            order[i] = gated_row(&p, w, i);
        side.rows = order;
    }
#pragma omp parallel for schedule(static) num_threads(dev->n_threads)
    for (int64_t panel = 0; panel < p.n_panels; panel++)
        for (int64_t c = 0; c < p.n_chunks; c++) {
            int64_t units = units_of(&p, c), k0 = c * p.units * p.ops->k_unit;
            uint32_t *to = (uint32_t *)w->packed + (c * p.n_panels * p.units + panel * units) * nr;
            p.ops->pack_b(to, &side, panel * nr, min64(nr, n_columns - panel * nr), k0,
                          min64(units * p.ops->k_unit, w->K - k0), units);
        }
}

/* ---- the walk ---- */

struct job {
    const struct dense_args *a;
    const struct encoder_rows *rows;
    struct shape p;
};

/* All rows of a block times one panel into strip [m, nr]. */
static void multiply(float *strip, const struct job *j, const uint32_t *x, int64_t m, int64_t panel,
                     int n)
{
    const struct shape *p = &j->p;
    int64_t nr = p->ops->nr, n_blocks = ceil_div(m, p->ops->mr), step = ceil_div(m, n_blocks);
    for (int64_t c = 0; c < p->n_chunks; c++) {
        int64_t units = units_of(p, c);
        const uint32_t *w = (const uint32_t *)j->a->w->packed +
                            (c * p->n_panels * p->units + panel * units) * nr,
                       *xc = x + c * m * GEMM_PITCH;
        for (int64_t i = 0; i < m; i += step)
            p->ops->tile(strip + i * nr, nr, xc + i * GEMM_PITCH, w, nr, units,
                         (int)min64(step, m - i), n, true, c > 0);
    }
}

static void finish(const struct job *j, const float *strip, int64_t m0, int64_t m, int64_t panel)
{
    const struct dense_args *a = j->a;
    int64_t nr = j->p.ops->nr, wide = a->w->gated ? nr / 2 : nr, n0 = panel * wide;
    int64_t N = a->w->gated ? a->w->N / 2 : a->w->N;
    int n = (int)min64(wide, N - n0);
    float *y = a->y + m0 * a->ldy + n0;
    const float *add = a->add ? a->add + m0 * a->ldadd + n0 : NULL;
    const float *bias = a->bias ? a->bias + n0 : NULL;
    if (a->w->gated)
        j->rows->finish_gated(y, a->ldy, strip, nr, nr / 2, bias, bias ? bias + N : NULL, add,
                              a->ldadd, (int)m, n);
    else
        j->rows->finish(y, a->ldy, strip, nr, bias, add, a->ldadd, (int)m, n, a->act);
}

/* Rows m0 … m0+m−1, panels p0 … p1−1. */
static void run_task(const struct job *j, uint32_t *scratch, int64_t m0, int64_t m, int64_t p0,
                     int64_t p1)
{
    const struct shape *p = &j->p;
    int64_t nr = p->ops->nr;
    float *strip = (float *)scratch;
    uint32_t *x = scratch + ROWS * nr;
    struct gemm_side side = {j->a->x, DT_F32, true, j->a->ldx, NULL};
    for (int64_t c = 0; c < p->n_chunks; c++) {
        int64_t k0 = c * p->units * p->ops->k_unit;
        p->ops->pack_a(x + c * m * GEMM_PITCH, &side, m0, m, k0,
                       min64(units_of(p, c) * p->ops->k_unit, j->a->w->K - k0));
    }
    for (int64_t panel = p0; panel < p1; panel++) {
        int64_t n = j->a->w->gated ? nr : min64(nr, j->a->w->N - panel * nr);
        multiply(strip, j, x, m, panel, (int)n);
        finish(j, strip, m0, m, panel);
    }
}

void dense_forward(struct device *dev, const struct dense_args *a)
{
    struct job j = {a, &((const struct cpu_state *)dev->state)->encoder, shape_of(dev, a->w)};
    assert((ROWS * (j.p.ops->nr + j.p.n_chunks * GEMM_PITCH)) * 4 <= CPU_SCRATCH_THREAD);
    assert(a->w->K > 0);
    int64_t blocks = ceil_div(a->M, ROWS), n_threads = dev->n_threads, runs = 1;
    if (blocks < 4 * n_threads)
        runs = min64(j.p.n_panels, n_threads);
    int64_t rows = blocks ? ceil_div(a->M, blocks) : 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(dev->n_threads) if (blocks * runs > 1)
    for (int64_t t = 0; t < blocks * runs; t++) {
        int64_t m0 = t / runs * rows, r = t % runs;
        if (m0 < a->M)
            run_task(&j, cpu_scratch(dev, omp_get_thread_num()), m0, min64(rows, a->M - m0),
                     j.p.n_panels * r / runs, j.p.n_panels * (r + 1) / runs);
    }
}
