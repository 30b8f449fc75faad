/* The grouped product of experts and its gradients.
 *
 * Definition and sizes: cpu/k_grouped.c. Gathered rows, and in bf16 all float32 operands, are first copied into scratch: slots in
 * order, rounded, padded with zeros; weights that are bf16 are read where they are if their place allows. Then all experts' tiles
 * are one launch (tiles.h). Weights to be copied are taken some at a time, so that scratch stays small. Products in bf16 with a narrow
 * side, adapters', are narrow.h's, which copies nothing.
 */
#include "kernels/cuda/narrow.h"
#include "kernels/cuda/operand.h"
#include "kernels/cuda/tiles.h"

/* Copies of weights that one launch may use. */
static const size_t WEIGHT_ROOM = (size_t)1 << 30;

/* Rows of slots from the first on, of y or x. */
static struct operand slots_of(const struct grouped_args *a, const float *base, const int32_t *row,
                               int64_t ld, int64_t n_cols)
{
    int64_t first = a->offset[0], n = a->offset[a->E] - first;
    return (struct operand){row ? base : base + first * ld, ld, DT_F32,
                            row ? row + first : NULL,       n,  n_cols};
}

static struct operand weight_of(const struct grouped_args *a, int64_t e)
{
    return (struct operand){a->w[e], a->ldw, a->w_type, NULL, a->N, a->K};
}

/* What the copy of one weight takes, the same for all; 0 where all can be read as they are. Float32 products read either type. */
static size_t weight_bytes(const struct grouped_args *a)
{
    size_t most = 0;
    for (int64_t e = 0; e < a->E && a->compute == DT_BF16; e++) {
        struct operand w = weight_of(a, e);
        size_t n = operand_bytes(&w, DT_BF16);
        most = n > most ? n : most;
    }
    return most;
}

static bool pairs_fit(const void *c, int64_t ld)
{
    return (uintptr_t)c % 8 == 0 && ld % 2 == 0;
}

static void run(struct device *dev, enum tiles_direction d, const struct grouped_args *a,
                struct tiles *t)
{
    if (a->compute == DT_BF16)
        tiles_bf16(dev, d, t);
    else
        tiles_f32(dev, d, t, a->w_type);
}

/* Puts experts first … first + n − 1 into t, which has the rest; where room is not NULL, weights are copied there, `each` bytes one. */
static void experts(struct device *dev, enum tiles_direction d, const struct grouped_args *a,
                    struct tiles *t, int64_t first, int64_t n, char *room, size_t each)
{
    t->n_experts = (int32_t)n;
    t->ldw = a->ldw;
    t->pairs = d != BACKWARD_WEIGHT && pairs_fit(t->c, t->ldc);
    if (d == BACKWARD_WEIGHT)
        t->pairs = a->ldw % 2 == 0;
    for (int64_t e = 0; e <= n; e++)
        t->offset[e] = a->offset[first + e] - a->offset[0];
    for (int64_t e = 0; e < n; e++) {
        t->w[e] = a->w[first + e];
        if (d == BACKWARD_WEIGHT) {
            t->pairs = t->pairs && pairs_fit(t->w[e], a->ldw);
        } else if (room && t->offset[e] < t->offset[e + 1]) {
            int64_t pitch = operand_pitch(a->K);
            struct operand w = weight_of(a, first + e);
            operand_copy(dev, room, DT_BF16, pitch, &w);
            t->w[e] = room;
            t->ldw = pitch;
            room += each;
        }
    }
}

static void grouped(struct device *dev, enum tiles_direction d, const struct grouped_args *a,
                    struct operand left, struct operand right, struct tiles *t)
{
    if (!t->across || !left.n_rows)
        return;
    size_t each = d == BACKWARD_WEIGHT ? 0 : weight_bytes(a);
    int64_t at_once = min(a->E, (int64_t)TILES_EXPERTS);
    if (each)
        at_once = max(min(at_once, (int64_t)(WEIGHT_ROOM / each)), (int64_t)1);
    size_t n_bytes = operand_bytes(&left, a->compute) + operand_bytes(&right, a->compute) +
                     each * (size_t)at_once;
    char *room = n_bytes ? (char *)cuda_scratch(dev, n_bytes) : NULL;
    if (n_bytes && !room)
        return;
    operand_place(dev, &left, a->compute, &room);
    operand_place(dev, &right, a->compute, &room);
    t->a = left.at, t->lda = left.ld;
    t->b = right.at, t->ldb = right.ld;
    t->accumulate = a->accumulate;
    for (int64_t e = 0; e < a->E; e += at_once) {
        experts(dev, d, a, t, e, a->E - e < at_once ? a->E - e : at_once, each ? room : NULL, each);
        run(dev, d, a, t);
    }
}

static const struct operand nothing = {NULL, 0, DT_BF16, NULL, 0, 0};

/* ---- narrow ones ---- */

static bool is_narrow(const struct grouped_args *a)
{
    return a->compute == DT_BF16 && a->N && a->K && min(a->N, a->K) <= NARROW_MOST;
}

/* Rows of slots times weights, the product [slot, C]. */
static struct narrow narrow_rows(const struct grouped_args *a, enum tiles_direction d)
{
    bool forward = d == FORWARD;
    struct narrow p = {};
    p.out = forward ? a->y : a->x, p.row_step = forward ? a->ldy : a->ldx, p.column_step = 1;
    p.a = forward ? a->x : a->y, p.lda = forward ? a->ldx : a->ldy;
    p.a_slot = forward ? a->x_row : a->y_row;
    p.b = a->w[0], p.ldb = a->ldw, p.b_deep = !forward, p.b_half = a->w_type == DT_BF16;
    p.C = forward ? a->N : a->K, p.inner = forward ? a->K : a->N;
    return p;
}

/* Gradients of weights or, where N is the shorter side, their transposes. */
static struct narrow narrow_weights(const struct grouped_args *a)
{
    bool turned = a->N < a->K;
    struct narrow p = {};
    p.row_step = turned ? 1 : a->ldw, p.column_step = turned ? a->ldw : 1;
    p.a = turned ? a->x : a->y, p.lda = turned ? a->ldx : a->ldy, p.a_deep = true;
    p.b = turned ? a->y : a->x, p.ldb = turned ? a->ldy : a->ldx, p.b_deep = true;
    p.a_slot = turned ? a->x_row : a->y_row, p.b_slot = turned ? a->y_row : a->x_row;
    p.R = turned ? a->K : a->N, p.C = turned ? a->N : a->K;
    return p;
}

static void narrow(struct device *dev, enum tiles_direction d, const struct grouped_args *a)
{
    bool summed = d == BACKWARD_WEIGHT, wide = true;
    struct narrow p = summed ? narrow_weights(a) : narrow_rows(a, d);
    p.accumulate = a->accumulate;
    for (int64_t e = 0; e < a->E && !summed; e++)
        wide = wide && (uintptr_t)a->w[e] % 16 == 0;
    wide = wide && narrow_wide(&p);
    for (int64_t e = 0; e < a->E; e += NARROW_EXPERTS) {
        struct narrow_experts x;
        x.n = (int32_t)min(a->E - e, (int64_t)NARROW_EXPERTS), x.summed = summed;
        memcpy(x.w, a->w + e, (size_t)x.n * sizeof *x.w);
        memcpy(x.first, a->offset + e, (size_t)(x.n + 1) * sizeof *x.first);
        if (!summed && p.inner <= NARROW_MOST)
            narrow_inner(dev, &p, &x, wide);
        else
            narrow_across(dev, &p, &x, wide);
    }
}

/* ---- the three ---- */

void cuda_grouped_forward(struct device *dev, const struct grouped_args *a)
{
    if (is_narrow(a)) {
        narrow(dev, FORWARD, a);
        return;
    }
    struct tiles t;
    t.inner = a->K, t.across = a->N, t.side = 0;
    t.c = a->y + a->offset[0] * a->ldy, t.ldc = a->ldy;
    grouped(dev, FORWARD, a, slots_of(a, a->x, a->x_row, a->ldx, a->K), nothing, &t);
}

void cuda_grouped_backward_input(struct device *dev, const struct grouped_args *a)
{
    if (is_narrow(a)) {
        narrow(dev, BACKWARD_INPUT, a);
        return;
    }
    struct tiles t;
    t.inner = a->N, t.across = a->K, t.side = 0;
    t.c = a->x + a->offset[0] * a->ldx, t.ldc = a->ldx;
    grouped(dev, BACKWARD_INPUT, a, slots_of(a, a->y, a->y_row, a->ldy, a->N), nothing, &t);
}

void cuda_grouped_backward_weight(struct device *dev, const struct grouped_args *a)
{
    if (is_narrow(a)) {
        narrow(dev, BACKWARD_WEIGHT, a);
        return;
    }
    struct tiles t;
    t.inner = 0, t.across = a->K, t.side = a->N;
    t.c = NULL, t.ldc = 0;
    grouped(dev, BACKWARD_WEIGHT, a, slots_of(a, a->y, a->y_row, a->ldy, a->N),
            slots_of(a, a->x, a->x_row, a->ldx, a->K), &t);
}
