/* Products of many rows with packed weights (prompts): the weight is widened, some rows at a time, and multiplied by the library.
 *
 * In bf16 where the weight's compute says so, rounding both operands, else in float32. Float weights that are kept in the type of the
 * product are multiplied where they lie, and sums that need nothing more go straight to y.
 */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/packed.h"

enum { THREADS = 256, PIECE_NUMBERS = 1 << 25 };

/* Slots' rows of x, to float32 or bf16 of pitch ld. */
static __global__ void gather(void *to, bool narrow, int64_t ld, const struct packed_call c,
                              int64_t first, int64_t n)
{
    int64_t i = thread_index(), s = i / c.K, k = i % c.K;
    if (s >= n)
        return;
    float v = c.x[(c.x_row ? c.x_row[first + s] : first + s) * c.ldx + k];
    if (narrow)
        ((uint16_t *)to)[s * ld + k] = bf16_round(v);
    else
        ((float *)to)[s * ld + k] = v;
}

/* Outputs n0 … n0+width−1 from sums [n, width], gated [n, 2·width]. */
static __global__ void finish(const struct packed_call c, const float *sums, int64_t first,
                              int64_t n, int64_t n0, int64_t width)
{
    int64_t i = thread_index(), s = i / width, j = i % width, slot = first + s;
    if (s >= n)
        return;
    float z = sums[s * width * (c.gated ? 2 : 1) + j];
    if (c.bias)
        z += c.bias[n0 + j];
    if (c.gated)
        z = z / (1 + expf(-z)) * sums[s * width * 2 + width + j];
    float *y = c.y + (c.y_row ? c.y_row[slot] : slot) * c.ldy + n0 + j;
    *y = c.accumulate ? *y + z : z;
}

/* How a job is cut up, and where in the scratch memory its parts lie. */
struct many {
    bool narrow, in_place, straight_x, direct;
    int64_t ld, piece; /* pitch of widened rows and of x; outputs of a piece */
    size_t each, x_at, w_at, sums_at, bytes;
};

static size_t room(size_t *used, int64_t n, size_t each)
{
    size_t at = *used;
    *used += ((size_t)n * each + 255) / 256 * 256;
    return at;
}

static struct many plan(const struct packed_weight *w, const struct packed_call *c, int64_t n)
{
    struct many m = {};
    int64_t outputs = c->gated ? c->N / 2 : c->N, sides = c->gated ? 2 : 1;
    m.narrow = w->compute == DT_BF16;
    m.each = m.narrow ? 2 : 4;
    m.ld = (w->K + 7) / 8 * 8;
    m.in_place = w->form == (m.narrow ? PACKED_BF16 : PACKED_F32) && !c->gated;
    m.straight_x = !m.narrow && !c->x_row;
    m.direct = !c->gated && !c->y_row && !c->bias;
    m.piece = PIECE_NUMBERS / (m.ld * sides);
    m.piece = m.piece < 64 ? 64 : m.piece;
    if (m.in_place || m.piece > outputs)
        m.piece = outputs;
    m.x_at = room(&m.bytes, m.straight_x ? 0 : n * m.ld, m.each);
    m.w_at = room(&m.bytes, m.in_place ? 0 : m.piece * sides * m.ld, m.each);
    m.sums_at = room(&m.bytes, m.direct ? 0 : n * m.piece * sides, sizeof(float));
    return m;
}

/* Outputs n0 … n0+width−1 of all slots. */
static void multiply(struct device *dev, const struct packed_weight *w, const struct packed_call *c,
                     const struct packed_job *job, const struct many *m, char *scratch, int64_t n0,
                     int64_t width)
{
    struct blas_args p = {};
    float *sums = (float *)(scratch + m->sums_at);
    char *wide = scratch + m->w_at;
    int64_t bytes = plan_row(w->form, w->K).bytes;
    if (!m->in_place)
        packed_widen(dev, wide, m->narrow, m->ld, w, NULL, n0, width);
    if (c->gated)
        packed_widen(dev, wide + (size_t)(width * m->ld) * m->each, m->narrow, m->ld, w, NULL,
                     c->N / 2 + n0, width);
    p.c = m->direct ? c->y + job->first * c->ldy + n0 : sums;
    p.a = m->straight_x ? (const void *)(c->x + job->first * c->ldx) : scratch + m->x_at;
    p.b = m->in_place ? (const char *)w->packed + n0 * bytes : wide;
    p.m = job->n;
    p.n = c->gated ? 2 * width : width;
    p.k = w->K;
    p.ldc = m->direct ? c->ldy : p.n;
    p.lda = m->straight_x ? c->ldx : m->ld;
    p.ldb = m->in_place ? bytes / (int64_t)m->each : m->ld;
    p.b_turned = true;
    p.narrow = m->narrow;
    p.accumulate = m->direct && c->accumulate;
    blas_product(dev, &p);
    if (!m->direct)
        LAUNCH(dev, finish, blocks_for(job->n * width, THREADS), THREADS, 0, *c, sums, job->first,
               job->n, n0, width);
}

void packed_many(struct device *dev, const struct packed_weight *w, const struct packed_call *call,
                 const struct packed_job *job)
{
    struct many m = plan(w, call, job->n);
    int64_t outputs = call->gated ? call->N / 2 : call->N;
    char *scratch = (char *)cuda_scratch(dev, m.bytes);
    if (!scratch)
        return;
    if (!m.straight_x)
        LAUNCH(dev, gather, blocks_for((int64_t)job->n * w->K, THREADS), THREADS, 0,
               scratch + m.x_at, m.narrow, m.ld, *call, job->first, job->n);
    for (int64_t n0 = 0; n0 < outputs; n0 += m.piece) {
        int64_t width = outputs - n0 < m.piece ? outputs - n0 : m.piece;
        multiply(dev, w, call, job, &m, scratch, n0, width);
    }
}
