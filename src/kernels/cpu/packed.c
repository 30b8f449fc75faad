/* Products with packed weights: the walk over blocks of rows and panels, the same for every instruction set.
 *
 * The slots of each weight are cut into blocks of a power of two rows, which are prepared once (rounded to 8 bits or bf16). Blocks that
 * use a weight together, 128 rows at most, are a chunk: its rows stay in the cache while the panels pass. What threads share out are
 * runs of panels; each sum is made by one thread in one order, whatever their number.
 */
#include <assert.h>
#include <omp.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/packed.h"

enum {
    CHUNK_ROWS = 128,
    FEW_ROWS = 16,  /* so few are prepared by one thread, before the others begin */
    BF16_ROWS = 4,  /* fewer wait for the memory, not for the units: float32 costs nothing then */
    FEW_PIECES = 1, /* of the panels for each thread, of few rows */
    MANY_PIECES = 8
};

struct block {
    int32_t s0, m; /* first slot, rows */
    int64_t at;    /* bytes into the prepared rows */
};

struct chunk {
    int32_t e, b0, b1; /* blocks b0 … b1−1 with weight e */
};

struct job {
    const struct packed_args *a;
    const struct packed_ops *ops, *finish; /* bf16 units have no finish of their own */
    struct block *blocks;
    struct chunk *chunks;
    uint8_t *prepared;
    int64_t n_blocks, n_chunks;
    int64_t columns, units; /* of y; runs of PANEL of them, with one panel or two each */
};

static int most_rows(const struct job *j)
{
    return packed_layouts[j->a->w->form].bits ? MOST : j->ops->most;
}

/* Cuts the slots of weight e into chunks and blocks. */
static void plan_weight(struct job *j, int32_t e, int64_t *at)
{
    int32_t s = j->a->offset[e], end = j->a->offset[e + 1];
    while (s < end) {
        int32_t stop = end - s > CHUNK_ROWS ? s + CHUNK_ROWS : end;
        struct chunk *c = &j->chunks[j->n_chunks++];
        *c = (struct chunk){e, (int32_t)j->n_blocks, 0};
        for (int m = most_rows(j); s < stop; m /= 2)
            for (; stop - s >= m; s += m) {
                j->blocks[j->n_blocks++] = (struct block){s, m, *at};
                *at += packed_block_bytes(j->a->w, m);
            }
        c->b1 = (int32_t)j->n_blocks;
    }
}

static struct job plan(struct device *dev, const struct packed_args *a)
{
    const struct cpu_state *state = dev->state;
    const struct packed_weight *w = a->w;
    struct job j = {.a = a, .ops = state->packed, .finish = state->packed};
    int64_t S = a->offset[a->E], at = 0;
    if (w->compute == DT_BF16 && !packed_layouts[w->form].bits && state->packed_bf16 &&
        S >= BF16_ROWS)
        j.ops = state->packed_bf16;
    j.columns = w->gated ? w->N / 2 : w->N;
    j.units = (j.columns + PANEL - 1) / PANEL;
    j.blocks = cpu_shared(dev);
    j.chunks = (struct chunk *)(j.blocks + S);
    j.prepared = (uint8_t *)cpu_shared(dev) + CPU_SCRATCH_SHARED / 16;
    assert((size_t)S * sizeof *j.blocks + (size_t)(S + a->E) * sizeof *j.chunks <=
           CPU_SCRATCH_SHARED / 16);
    for (int32_t e = 0; e < a->E; e++)
        plan_weight(&j, e, &at);
    assert((size_t)at <= CPU_SCRATCH_SHARED / 16 * 15);
    return j;
}

static void prepare(const struct job *j, const struct block *b)
{
    const float *rows[MOST];
    for (int r = 0; r < b->m; r++) {
        int64_t s = b->s0 + r;
        rows[r] = j->a->x + (j->a->x_row ? j->a->x_row[s] : s) * j->a->ldx;
    }
    j->ops->prepare(j->prepared + b->at, rows, b->m, j->a->w);
}

static void finish(const struct job *j, const struct block *b, int64_t unit, const float *strip,
                   const float *up)
{
    const struct packed_args *a = j->a;
    int64_t n0 = unit * PANEL, n = j->columns - n0 < PANEL ? j->columns - n0 : PANEL;
    for (int r = 0; r < b->m; r++) {
        int64_t s = b->s0 + r, row = a->y_row ? a->y_row[s] : s;
        float *y = a->y + row * a->ldy + n0;
        if (up)
            j->finish->finish_gated(y, strip + r * PANEL, up + r * PANEL, (int)n, a->accumulate);
        else
            j->finish->finish(y, strip + r * PANEL, a->bias ? a->bias + n0 : NULL, (int)n,
                              a->accumulate);
    }
}

/* Columns of one unit for all rows of a chunk. */
static void run_unit(const struct job *j, const struct chunk *c, int64_t unit)
{
    float strip[MOST * PANEL] __attribute__((aligned(64))),
        up[MOST * PANEL] __attribute__((aligned(64)));
    const struct packed_weight *w = &j->a->w[c->e];
    int64_t each = packed_panel_bytes(w);
    const uint8_t *panel = (const uint8_t *)w->packed + unit * (w->gated ? 2 : 1) * each;
    for (int32_t i = c->b0; i < c->b1; i++) {
        const struct block *b = &j->blocks[i];
        j->ops->tile(strip, panel, j->prepared + b->at, b->m, w);
        if (w->gated)
            j->ops->tile(up, panel + each, j->prepared + b->at, b->m, w);
        finish(j, b, unit, strip, w->gated ? up : NULL);
    }
}

/* Units u0 … u1−1 of all, counted chunk by chunk. */
static void run_units(const struct job *j, int64_t u0, int64_t u1)
{
    for (int64_t u = u0; u < u1; u++)
        run_unit(j, &j->chunks[u / j->units], u % j->units);
}

void packed_forward(struct device *dev, const struct packed_args *a)
{
    int64_t S = a->offset[a->E];
    if (!S || !a->w->N)
        return;
    struct job j = plan(dev, a);
    bool few = S <= FEW_ROWS;
    int64_t total = j.n_chunks * j.units,
            pieces = dev->n_threads * (few ? FEW_PIECES : MANY_PIECES);
    if (dev->n_threads == 1)
        pieces = 1;
    if (pieces > total)
        pieces = total;
    if (few)
        for (int64_t i = 0; i < j.n_blocks; i++)
            prepare(&j, &j.blocks[i]);
#pragma omp parallel num_threads(dev->n_threads) if (pieces > 1)
    {
        if (!few) {
#pragma omp for schedule(dynamic, 1)
            for (int64_t i = 0; i < j.n_blocks; i++)
                prepare(&j, &j.blocks[i]);
        }
#pragma omp for schedule(dynamic, 1) nowait
        for (int64_t p = 0; p < pieces; p++)
            run_units(&j, total * p / pieces, total * (p + 1) / pieces);
    }
}
