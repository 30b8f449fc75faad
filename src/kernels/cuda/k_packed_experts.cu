/* Products of many experts' packed weights with some dozen rows each (prompts of mixtures of experts): as many weights as scratch holds
 * are widened to bf16 by one launch, and one more multiplies them all (tiles.h).
 *
 * All slots are rounded once. Sums that need nothing more go straight to y. The order of sums is that of tiles.h, whoever is together.
 */
#include "kernels/cuda/operand.h"
#include "kernels/cuda/packed.h"
#include "kernels/cuda/tiles.h"

/* How many of n experts from `jobs` on go at once: by the room for their weights, and for their sums. */
static int at_once(const struct packed_weight *w, const struct packed_job *jobs, int n, bool direct)
{
    int64_t each = w->N * operand_pitch(w->K) * (int64_t)sizeof(uint16_t), weights = 0, sums = 0;
    int most = 0;
    while (most < n) {
        weights += w->form == PACKED_BF16 ? 0 : each;
        sums += direct ? 0 : jobs[most].n * w->N * (int64_t)sizeof(float);
        if (most && (weights > PACKED_PANEL_BYTES || sums > PACKED_SUMS_BYTES))
            break;
        most++;
    }
    return most;
}

struct experts {
    const struct packed_weight *w;
    const struct packed_job *jobs;
    const uint16_t *x; /* of the first job's first slot */
    uint16_t *wide;
    float *sums;
    bool in_place, direct;
};

static void multiply(struct device *dev, const struct experts *p, const struct packed_call *c,
                     int first, int n)
{
    struct tiles t;
    int64_t slot = p->jobs[first].first, ld = operand_pitch(p->w->K),
            slots = p->jobs[first + n - 1].first + p->jobs[first + n - 1].n - slot;
    if (!p->in_place)
        packed_widen_all(dev, p->wide, true, ld, p->w + first, n);
    t.n_experts = n;
    for (int i = 0; i < n; i++) {
        t.offset[i] = (int32_t)(p->jobs[first + i].first - slot);
        t.w[i] = p->in_place ? p->w[first + i].packed : p->wide + i * p->w->N * ld;
    }
    t.offset[n] = (int32_t)slots;
    t.a = p->x + (slot - p->jobs->first) * ld, t.lda = ld;
    t.b = NULL, t.ldb = 0;
    t.c = p->direct ? c->y + slot * c->ldy : p->sums, t.ldc = p->direct ? c->ldy : p->w->N;
    t.ldw = p->in_place ? plan_row(p->w->form, p->w->K).bytes / (int64_t)sizeof(uint16_t) : ld;
    t.inner = p->w->K, t.side = 0, t.across = p->w->N;
    t.accumulate = p->direct && c->accumulate;
    t.pairs = (uintptr_t)t.c % 8 == 0 && t.ldc % 2 == 0;
    tiles_bf16(dev, FORWARD, &t);
    if (!p->direct)
        packed_finish(dev, c, p->sums, slot, slots, 0, c->gated ? c->N / 2 : c->N);
}

void packed_experts(struct device *dev, const struct packed_weight *w,
                    const struct packed_call *call, const struct packed_job *jobs, int n)
{
    int64_t first = jobs->first, slots = jobs[n - 1].first + jobs[n - 1].n - first,
            ld = operand_pitch(w->K), most_sums = 0;
    bool in_place = w->form == PACKED_BF16, direct = !call->gated && !call->y_row;
    int most = 0;
    for (int i = 0, here; i < n; i += here) {
        here = at_once(w, jobs + i, n - i, direct);
        int64_t end = jobs[i + here - 1].first + jobs[i + here - 1].n;
        most = max(most, here);
        most_sums = max(most_sums, direct ? 0 : (end - jobs[i].first) * w->N);
    }
    size_t sums_bytes = ((size_t)most_sums * sizeof(float) + 255) / 256 * 256,
           wide_bytes =
               in_place ? 0 : ((size_t)(most * w->N * ld) * sizeof(uint16_t) + 255) / 256 * 256;
    char *scratch = (char *)cuda_scratch(dev, sums_bytes + wide_bytes +
                                                  (size_t)(slots * ld) * sizeof(uint16_t));
    if (!scratch)
        return;
    struct experts p = {w,
                        jobs,
                        (uint16_t *)(scratch + sums_bytes + wide_bytes),
                        (uint16_t *)(scratch + sums_bytes),
                        (float *)scratch,
                        in_place,
                        direct};
    struct operand x = {call->x_row ? call->x : call->x + first * call->ldx,
                        call->ldx,
                        DT_F32,
                        call->x_row ? call->x_row + first : NULL,
                        slots,
                        w->K};
    operand_copy(dev, (void *)p.x, DT_BF16, ld, &x);
    for (int i = 0, here; i < n; i += here) {
        here = at_once(w, jobs + i, n - i, direct);
        multiply(dev, &p, call, i, here);
    }
}
