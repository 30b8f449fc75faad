/* Products of many rows with packed weights (prompts): rows are rounded once a call, the weight is widened, a panel at a time, and
 * multiplied by the library.
 *
 * In bf16 where the weight's compute says so, rounding both operands, else in float32. Float weights that are kept in the type of the
 * product are multiplied where they lie, and sums that need nothing more go straight to y. Panels are as large as scratch should hold
 * and equal in size: a product of few columns would leave most of a card idle.
 */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/operand.h"
#include "kernels/cuda/packed.h"
#include "kernels/cuda/rows.h"

enum { THREADS = 256, EVEN = 128 };

/* Outputs n0 … n0+width−1 from sums [n, width], gated [n, 2·width]. Blocks: x slots, y columns by W · THREADS. */
template <int W, bool GATED>
static __global__ void __launch_bounds__(THREADS)
    finish(struct packed_call c, const float *sums, int64_t first, int64_t n0, int64_t width)
{
    int64_t s = blockIdx.x, slot = first + s, j = ((int64_t)blockIdx.y * THREADS + threadIdx.x) * W;
    if (j >= width)
        return;
    float z[W], u[W];
    sums += s * width * (GATED ? 2 : 1) + j;
    load<W>(z, sums);
    if (c.bias) {
        load<W>(u, c.bias + n0 + j);
        for (int i = 0; i < W; i++)
            z[i] += u[i];
    }
    if (GATED) {
        load<W>(u, sums + width);
        for (int i = 0; i < W; i++)
            z[i] = z[i] / (1 + expf(-z[i])) * u[i];
    }
    float *y = c.y + (c.y_row ? c.y_row[slot] : slot) * c.ldy + n0 + j;
    if (c.accumulate) {
        load<W>(u, y);
        for (int i = 0; i < W; i++)
            z[i] = u[i] + z[i];
    }
    store<W>(y, z);
}

void packed_finish(struct device *dev, const struct packed_call *c, const float *sums,
                   int64_t first, int64_t n, int64_t n0, int64_t width)
{
    bool wide = is_wide(c->y) && is_wide(c->bias) && (c->ldy | n0 | width) % 4 == 0;
    dim3 grid((unsigned)n, blocks_for(width, THREADS * (wide ? 4 : 1)));
    if (wide && c->gated)
        LAUNCH(dev, (finish<4, true>), grid, THREADS, 0, *c, sums, first, n0, width);
    else if (wide)
        LAUNCH(dev, (finish<4, false>), grid, THREADS, 0, *c, sums, first, n0, width);
    else if (c->gated)
        LAUNCH(dev, (finish<1, true>), grid, THREADS, 0, *c, sums, first, n0, width);
    else
        LAUNCH(dev, (finish<1, false>), grid, THREADS, 0, *c, sums, first, n0, width);
}

/* How a job is cut up, and where in the scratch memory its parts lie. */
struct many {
    bool narrow, in_place, straight_x, direct;
    int64_t ld, piece; /* pitch of widened rows and of x; outputs of a panel */
    size_t each, x_at, w_at, sums_at, bytes;
};

static size_t room(size_t *used, int64_t n, size_t each)
{
    size_t at = *used;
    *used += ((size_t)n * each + 255) / 256 * 256;
    return at;
}

/* Equal panels of at most so many outputs, whole EVENs unless there is one only. */
static int64_t panel(int64_t outputs, int64_t most)
{
    most = max(most / EVEN, (int64_t)1) * EVEN;
    if (outputs <= most)
        return outputs;
    int64_t n = (outputs + most - 1) / most;
    return ((outputs + n - 1) / n + EVEN - 1) / EVEN * EVEN;
}

static struct many plan(const struct packed_weight *w, const struct packed_call *c, int64_t n)
{
    struct many m = {};
    int64_t outputs = c->gated ? c->N / 2 : c->N, sides = c->gated ? 2 : 1, most = outputs;
    m.narrow = w->compute == DT_BF16;
    m.each = m.narrow ? 2 : 4;
    m.ld = operand_pitch(w->K);
    m.in_place = w->form == (m.narrow ? PACKED_BF16 : PACKED_F32);
    m.straight_x = !m.narrow && !c->x_row;
    m.direct = !c->gated && !c->y_row && !c->bias;
    if (!m.in_place)
        most = min(most, PACKED_PANEL_BYTES / (m.ld * sides * (int64_t)m.each));
    if (!m.direct)
        most = min(most, PACKED_SUMS_BYTES / (n * sides * (int64_t)sizeof(float)));
    m.piece = panel(outputs, most);
    m.x_at = room(&m.bytes, m.straight_x ? 0 : n * m.ld, m.each);
    m.w_at = room(&m.bytes, m.in_place ? 0 : m.piece * sides * m.ld, m.each);
    m.sums_at = room(&m.bytes, m.direct ? 0 : n * m.piece * sides, sizeof(float));
    return m;
}

/* c [n, rows] (+)= x · wᵀ for rows of the weight from w on, widened or where they lie. */
static void product(struct device *dev, const struct packed_weight *w, const struct packed_call *c,
                    const struct packed_job *job, const struct many *m, const char *scratch,
                    float *to, int64_t ld, const void *rows, int64_t n_rows)
{
    struct blas_args p = {};
    p.c = to, p.ldc = ld;
    p.a = m->straight_x ? (const void *)(c->x + job->first * c->ldx) : scratch + m->x_at;
    p.lda = m->straight_x ? c->ldx : m->ld;
    p.b = rows;
    p.ldb = m->in_place ? plan_row(w->form, w->K).bytes / (int64_t)m->each : m->ld;
    p.m = job->n, p.n = n_rows, p.k = w->K;
    p.b_turned = true;
    p.narrow = m->narrow;
    p.accumulate = m->direct && c->accumulate;
    blas_product(dev, &p);
}

/* Outputs n0 … n0+width−1 of all slots. */
static void multiply(struct device *dev, const struct packed_weight *w, const struct packed_call *c,
                     const struct packed_job *job, const struct many *m, char *scratch, int64_t n0,
                     int64_t width)
{
    float *sums = (float *)(scratch + m->sums_at);
    const char *rows = (const char *)w->packed + n0 * plan_row(w->form, w->K).bytes;
    int64_t sides = c->gated ? 2 : 1, other = c->N / 2; /* rows from a gate's to its up's */
    if (!m->in_place) {
        char *wide = scratch + m->w_at;
        for (int64_t i = 0; i < sides; i++)
            packed_widen(dev, wide + (size_t)(i * width * m->ld) * m->each, m->narrow, m->ld, w,
                         NULL, i * other + n0, width);
        rows = wide, other = width;
    }
    if (m->direct)
        product(dev, w, c, job, m, scratch, c->y + job->first * c->ldy + n0, c->ldy, rows, width);
    else if (other == width || !c->gated) /* a gate and its up lie together */
        product(dev, w, c, job, m, scratch, sums, sides * width, rows, sides * width);
    else
        for (int64_t i = 0; i < sides; i++)
            product(dev, w, c, job, m, scratch, sums + i * width, sides * width,
                    rows + i * other * plan_row(w->form, w->K).bytes, width);
    if (!m->direct)
        packed_finish(dev, c, sums, job->first, job->n, n0, width);
}

void packed_many(struct device *dev, const struct packed_weight *w, const struct packed_call *call,
                 const struct packed_job *job)
{
    struct many m = plan(w, call, job->n);
    int64_t outputs = call->gated ? call->N / 2 : call->N;
    char *scratch = (char *)cuda_scratch(dev, m.bytes);
    if (!scratch)
        return;
    struct operand x = {call->x_row ? call->x : call->x + job->first * call->ldx,
                        call->ldx,
                        DT_F32,
                        call->x_row ? call->x_row + job->first : NULL,
                        job->n,
                        w->K};
    if (!m.straight_x)
        operand_copy(dev, scratch + m.x_at, m.narrow ? DT_BF16 : DT_F32, m.ld, &x);
    for (int64_t n0 = 0; n0 < outputs; n0 += m.piece)
        multiply(dev, w, call, job, &m, scratch, n0, min(outputs - n0, m.piece));
}
