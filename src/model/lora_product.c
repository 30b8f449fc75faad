/* What adapters add to products, and their gradients.
 *
 *     u = s · A drop(x)          y += B u                    [rows, r] and two narrow products
 *     dB += dyᵀ u    du = s · Bᵀ dy    dA += duᵀ drop(x)      dx += drop'(Aᵀ du)
 * u is made again in the backward: keeping it would cost more memory than the product costs time.
 * du serves both the gradient of A and that of x; it is kept from whichever is asked first to the
 * other. Experts: the same over slots sorted by expert, a run of experts with the same ranks being
 * one grouped product.
 */
#include "base/rng.h"
#include "model/decoder_parts.h"

/* ---- dense ---- */

static const struct lora_group *group_of(const struct decoder *dec, const struct param *p)
{
    const struct lora_group *g = dec->lora ? &dec->lora->group[p - dec->list.params] : NULL;
    return g && g->n ? g : NULL;
}

static struct linear_args args_of(const struct decoder *dec, const struct param *p, int64_t M)
{
    return (struct linear_args){.M = M,
                                .N = p->shape[0],
                                .K = p->shape[1],
                                .ldw = p->shape[1],
                                .w = p->data,
                                .w_type = DT_F32,
                                .compute = p->kind == PARAM_ROUTER ? DT_F32 : dec->compute};
}

static struct dropout_args drop_args(const struct decoder *dec, int64_t place, int64_t T, int64_t D)
{
    const struct lora *l = dec->lora;
    return (struct dropout_args){.T = T,
                                 .D = D,
                                 .ldy = D,
                                 .ldx = D,
                                 .first_key = l->first_token + dec->first_row,
                                 .seed = rng_at(l->seed, (uint64_t)l->step, (uint64_t)place, 0),
                                 .drop = (float)l->dropout,
                                 .scale = (float)(1 / (1 - l->dropout))};
}

/* x *= scale, columns col … col + D − 1 of rows of pitch ld. */
static void scale_columns(struct decoder *dec, float *x, int64_t ld, int64_t rows, int64_t D,
                          float scale)
{
    struct dropout_args a = {
        .y = x, .x = x, .T = rows, .D = D, .ldy = ld, .ldx = ld, .scale = scale};
    if (scale != 1)
        dec->dev->k->dropout(dec->dev, &a);
}

/* drop(x), or x itself. */
static const float *dropped(struct decoder *dec, const struct lora_group *g, const float *x,
                            int64_t *ldx, int64_t M, int64_t K)
{
    struct lora *l = dec->lora;
    if (!l->drops)
        return x;
    struct dropout_args a = drop_args(dec, g - l->group, M, K);
    a.y = l->dropped;
    a.x = x;
    a.ldx = *ldx;
    dec->dev->k->dropout(dec->dev, &a);
    *ldx = K;
    return l->dropped;
}

/* s times the columns of each adapter of a group; neighbours of one scale together. */
static void scale_group(struct decoder *dec, const struct lora_group *g, float *u, int64_t ld,
                        int64_t M)
{
    const struct lora_adapter *all = dec->lora->adapters + g->first;
    for (int64_t i = 0, end; i < g->n; i = end) {
        int64_t width = all[i].r;
        for (end = i + 1;
             end < g->n && all[end].scale == all[i].scale && all[end].col == all[i].col + width;
             end++)
            width += all[end].r;
        scale_columns(dec, u + all[i].col, ld, M, width, all[i].scale);
    }
}

/* All A's of a group as one matrix [R, in]. */
static struct linear_args stacked(const struct decoder *dec, const struct lora_group *g, int64_t M)
{
    struct linear_args a = args_of(dec, dec->lora->adapters[g->first].a, M);
    a.N = g->R;
    return a;
}

/* u = s · A x into the scratch. */
static void make_u(struct decoder *dec, const struct lora_group *g, const float *x, int64_t ldx,
                   int64_t M)
{
    struct linear_args a = stacked(dec, g, M);
    a.y = dec->lora->u;
    a.ldy = g->R;
    a.x = (float *)(uintptr_t)x;
    a.ldx = ldx;
    dec->dev->k->linear_forward(dec->dev, &a);
    scale_group(dec, g, dec->lora->u, g->R, M);
}

/* du = s · Bᵀ dy, unless it is there already. */
static void make_du(struct decoder *dec, const struct lora_group *g, const float *dy, int64_t ldy,
                    int64_t M)
{
    struct lora *l = dec->lora;
    if (l->du_of == g) {
        l->du_of = NULL;
        return;
    }
    for (int64_t i = g->first; i < g->first + g->n; i++) {
        const struct lora_adapter *ad = &l->adapters[i];
        struct linear_args a = args_of(dec, ad->b, M);
        a.y = (float *)(uintptr_t)(dy + ad->row);
        a.ldy = ldy;
        a.x = l->du + ad->col;
        a.ldx = g->R;
        dec->dev->k->linear_backward_input(dec->dev, &a);
    }
    scale_group(dec, g, l->du, g->R, M);
    l->du_of = g;
}

void lora_forward(struct decoder *dec, float *y, int64_t ldy, const float *x, int64_t ldx,
                  const struct param *p, int64_t M)
{
    const struct lora_group *g = group_of(dec, p);
    if (!g)
        return;
    struct lora *l = dec->lora;
    l->du_of = NULL;
    x = dropped(dec, g, x, &ldx, M, l->adapters[g->first].in);
    make_u(dec, g, x, ldx, M);
    for (int64_t i = g->first; i < g->first + g->n; i++) {
        const struct lora_adapter *ad = &l->adapters[i];
        struct linear_args a = args_of(dec, ad->b, M);
        a.y = y + ad->row;
        a.ldy = ldy;
        a.x = l->u + ad->col;
        a.ldx = g->R;
        a.accumulate = true;
        dec->dev->k->linear_forward(dec->dev, &a);
    }
}

void lora_backward_input(struct decoder *dec, float *dx, int64_t ldx, const float *dy, int64_t ldy,
                         const struct param *p, int64_t M)
{
    const struct lora_group *g = group_of(dec, p);
    if (!g)
        return;
    struct lora *l = dec->lora;
    make_du(dec, g, dy, ldy, M);
    struct linear_args a = stacked(dec, g, M);
    a.y = l->du;
    a.ldy = g->R;
    a.x = l->drops ? l->dropped : dx;
    a.ldx = l->drops ? a.K : ldx;
    a.accumulate = !l->drops;
    dec->dev->k->linear_backward_input(dec->dev, &a);
    if (!l->drops)
        return;
    struct dropout_args d = drop_args(dec, g - l->group, M, a.K);
    d.y = dx;
    d.ldy = ldx;
    d.x = l->dropped;
    d.accumulate = true;
    dec->dev->k->dropout(dec->dev, &d);
}

void lora_backward_weight(struct decoder *dec, const struct param *p, const float *dy, int64_t ldy,
                          const float *x, int64_t ldx, int64_t M)
{
    const struct lora_group *g = group_of(dec, p);
    if (!g || !dec->lora->train)
        return;
    struct lora *l = dec->lora;
    x = dropped(dec, g, x, &ldx, M, l->adapters[g->first].in);
    make_u(dec, g, x, ldx, M);
    for (int64_t i = g->first; i < g->first + g->n; i++) {
        const struct lora_adapter *ad = &l->adapters[i];
        struct linear_args a = args_of(dec, ad->b, M);
        a.w = ad->b->grad;
        a.y = (float *)(uintptr_t)(dy + ad->row);
        a.ldy = ldy;
        a.x = l->u + ad->col;
        a.ldx = g->R;
        a.accumulate = !dec->fresh;
        dec->dev->k->linear_backward_weight(dec->dev, &a);
    }
    make_du(dec, g, dy, ldy, M);
    struct linear_args a = stacked(dec, g, M);
    a.w = l->adapters[g->first].a->grad;
    a.y = l->du;
    a.ldy = g->R;
    a.x = (float *)(uintptr_t)x;
    a.ldx = ldx;
    a.accumulate = !dec->fresh;
    dec->dev->k->linear_backward_weight(dec->dev, &a);
}

/* ---- experts ---- */

/* What the experts of a layer have at one of their two products. */
struct bank {
    struct lora *lora;
    const struct lora_experts *x;
    const struct lora_group *group; /* expert e's is group[e · stride] */
    int64_t stride, E, N, K;        /* N: rows of one output (gate alone, not gate and up) */
    const int32_t *offset;
    const struct slot_lists *lists;
    int64_t n_slots;
    enum dtype compute;
};

static bool find_bank(struct bank *b, struct decoder *dec, struct layer *layer,
                      enum expert_product which)
{
    struct lora *l = dec->lora;
    if (!l)
        return false;
    const struct param *p = which == EXPERTS_UP ? layer->p.expert_gate_up : layer->p.expert_down;
    *b = (struct bank){.lora = l,
                       .x = (which == EXPERTS_UP ? l->up : l->down) + p->layer,
                       .group = &l->group[p - dec->list.params],
                       .stride = which == EXPERTS_UP ? 2 : 1,
                       .E = dec->d.E,
                       .N = p->shape[0],
                       .K = p->shape[1],
                       .offset = layer->lists.offset,
                       .lists = &layer->lists,
                       .n_slots = layer->route.n,
                       .compute = dec->compute};
    return b->x->R > 0;
}

static bool same_adapters(const struct bank *b, int64_t d, int64_t e)
{
    const struct lora_group *g = &b->group[d * b->stride], *h = &b->group[e * b->stride];
    bool same = g->n == h->n;
    for (int64_t i = 0; i < g->n && same; i++) {
        const struct lora_adapter *a = &b->lora->adapters[g->first + i],
                                  *c = &b->lora->adapters[h->first + i];
        same = a->r == c->r && a->row == c->row && a->scale == c->scale;
    }
    return same;
}

/* The end of the run of equal experts that begins at e. */
static int64_t run_end(const struct bank *b, int64_t e)
{
    int64_t end = e + 1;
    while (end < b->E && same_adapters(b, e, end))
        end++;
    return end;
}

static struct grouped_args grouped(const struct bank *b, void **w, int64_t e, int64_t end,
                                   int64_t N, int64_t K)
{
    return (struct grouped_args){.w = w + e,
                                 .offset = b->offset + e,
                                 .E = end - e,
                                 .N = N,
                                 .K = K,
                                 .ldw = K,
                                 .w_type = DT_F32,
                                 .compute = b->compute};
}

/* s times the columns of each adapter of a run. */
static void scale_run(struct decoder *dec, const struct bank *b, float *u, int64_t e, int64_t end)
{
    const struct lora_group *g = &b->group[e * b->stride];
    int64_t first = b->offset[e], n = b->offset[end] - first;
    if (n)
        scale_group(dec, g, u + first * b->x->R, b->x->R, n);
}

/* drop(x) row by row, keyed by token: rows of tokens where x_row gathers, else rows of slots. */
static const float *drop_bank(struct decoder *dec, const struct bank *b, const float *x,
                              const int32_t *x_row)
{
    struct lora *l = b->lora;
    if (!l->drops)
        return x;
    struct dropout_args a = drop_args(dec, b->group - l->group, x_row ? dec->T : b->n_slots, b->K);
    a.y = l->dropped;
    a.x = x;
    a.key_row = x_row ? NULL : b->lists->token;
    dec->dev->k->dropout(dec->dev, &a);
    return l->dropped;
}

static void bank_u(struct decoder *dec, const struct bank *b, const float *x, const int32_t *x_row)
{
    for (int64_t e = 0, end; e < b->E; e = end) {
        const struct lora_group *g = &b->group[e * b->stride];
        end = run_end(b, e);
        if (!g->n)
            continue;
        struct grouped_args a = grouped(b, b->x->a, e, end, g->R, b->K);
        a.y = b->lora->u;
        a.ldy = b->x->R;
        a.x = (float *)(uintptr_t)x;
        a.ldx = b->K;
        a.x_row = x_row;
        dec->dev->k->grouped_forward(dec->dev, &a);
        scale_run(dec, b, b->lora->u, e, end);
    }
}

/* One grouped product per output (gate, up) of a run, between y or dy and u or du. */
enum side { ADD_B_U, MAKE_DU, ADD_DB };

static void each_output(struct decoder *dec, const struct bank *b, float *y, int64_t ldy,
                        const int32_t *y_row, enum side side)
{
    const struct kernels *k = dec->dev->k;
    for (int64_t e = 0, end; e < b->E; e = end) {
        const struct lora_group *g = &b->group[e * b->stride];
        end = run_end(b, e);
        for (int64_t i = g->first; i < g->first + g->n; i++) {
            const struct lora_adapter *ad = &b->lora->adapters[i];
            int64_t which = ad->row > 0;
            void **w = side == ADD_DB ? b->x->gb[which] : b->x->b[which];
            struct grouped_args a = grouped(b, w, e, end, b->N, ad->r);
            a.y = y + ad->row;
            a.ldy = ldy;
            a.y_row = y_row;
            a.x = (side == MAKE_DU ? b->lora->du : b->lora->u) + ad->col;
            a.ldx = b->x->R;
            a.accumulate = side == ADD_B_U || (side == ADD_DB && !dec->fresh);
            if (side == ADD_B_U)
                k->grouped_forward(dec->dev, &a);
            else if (side == MAKE_DU)
                k->grouped_backward_input(dec->dev, &a);
            else
                k->grouped_backward_weight(dec->dev, &a);
        }
        if (side == MAKE_DU)
            scale_run(dec, b, b->lora->du, e, end);
    }
}

static void bank_du(struct decoder *dec, const struct bank *b, const float *dy, int64_t ldy,
                    const int32_t *dy_row)
{
    struct lora *l = b->lora;
    bool there = l->du_of == b->group;
    l->du_of = there ? NULL : b->group;
    if (!there)
        each_output(dec, b, (float *)(uintptr_t)dy, ldy, dy_row, MAKE_DU);
}

void lora_experts_forward(struct decoder *dec, struct layer *layer, enum expert_product which,
                          float *y, const float *x, const int32_t *x_row)
{
    struct bank b;
    if (!find_bank(&b, dec, layer, which))
        return;
    b.lora->du_of = NULL;
    bank_u(dec, &b, drop_bank(dec, &b, x, x_row), x_row);
    each_output(dec, &b, y, b.stride * b.N, NULL, ADD_B_U);
}

void lora_experts_backward_input(struct decoder *dec, struct layer *layer,
                                 enum expert_product which, float *dx, const float *dy,
                                 const int32_t *dy_row)
{
    struct bank b;
    if (!find_bank(&b, dec, layer, which))
        return;
    struct lora *l = b.lora;
    bank_du(dec, &b, dy, b.stride * b.N, dy_row);
    float *to = l->drops ? l->dropped : dx;
    if (l->drops)
        dec->dev->ops->zero(dec->dev, to, (size_t)(b.n_slots * b.K) * sizeof *to);
    for (int64_t e = 0, end; e < b.E; e = end) {
        const struct lora_group *g = &b.group[e * b.stride];
        end = run_end(&b, e);
        if (!g->n)
            continue;
        struct grouped_args a = grouped(&b, b.x->a, e, end, g->R, b.K);
        a.y = l->du;
        a.ldy = b.x->R;
        a.x = to;
        a.ldx = b.K;
        a.accumulate = true;
        dec->dev->k->grouped_backward_input(dec->dev, &a);
    }
    if (!l->drops)
        return;
    struct dropout_args d = drop_args(dec, b.group - l->group, b.n_slots, b.K);
    d.y = dx;
    d.x = l->dropped;
    d.key_row = layer->lists.token;
    d.accumulate = true;
    dec->dev->k->dropout(dec->dev, &d);
}

/* The products leave experts without slots alone. */
static void zero_idle(struct decoder *dec, const struct bank *b)
{
    for (int64_t e = 0; e < b->E; e++) {
        const struct lora_group *g = &b->group[e * b->stride];
        for (int64_t i = g->first; i < g->first + g->n && b->offset[e] == b->offset[e + 1]; i++) {
            const struct lora_adapter *ad = &b->lora->adapters[i];
            dec->dev->ops->zero(dec->dev, ad->a->grad, (size_t)ad->a->n * sizeof(float));
            dec->dev->ops->zero(dec->dev, ad->b->grad, (size_t)ad->b->n * sizeof(float));
        }
    }
}

void lora_experts_backward_weight(struct decoder *dec, struct layer *layer,
                                  enum expert_product which, const float *dy, const int32_t *dy_row,
                                  const float *x, const int32_t *x_row)
{
    struct bank b;
    if (!find_bank(&b, dec, layer, which) || !b.lora->train)
        return;
    if (dec->fresh)
        zero_idle(dec, &b);
    x = drop_bank(dec, &b, x, x_row);
    bank_u(dec, &b, x, x_row);
    each_output(dec, &b, (float *)(uintptr_t)dy, b.stride * b.N, dy_row, ADD_DB);
    bank_du(dec, &b, dy, b.stride * b.N, dy_row);
    for (int64_t e = 0, end; e < b.E; e = end) {
        const struct lora_group *g = &b.group[e * b.stride];
        end = run_end(&b, e);
        if (!g->n)
            continue;
        struct grouped_args a = grouped(&b, b.x->ga, e, end, g->R, b.K);
        a.y = b.lora->du;
        a.ldy = b.x->R;
        a.x = (float *)(uintptr_t)x;
        a.ldx = b.K;
        a.x_row = x_row;
        a.accumulate = !dec->fresh;
        dec->dev->k->grouped_backward_weight(dec->dev, &a);
    }
}
