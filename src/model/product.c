/* The decoder's products, dense and of experts: which copy of the weights, in which precision, and
 * what adapters add.
 *
 * NF4 weights are widened a panel at a time, to float32, or to the bf16 that a GPU's products want. Others are the bf16 copies where the decoder computes in bf16, the float32 masters otherwise and
 * for the router always. Gradients of weights are float32, written in a step's first backward and
 * added to in the others.
 */
#include "model/decoder_parts.h"

static struct linear_args args_of(struct decoder *dec, const struct param *p, int64_t M, int64_t N,
                                  int64_t K)
{
    bool half = p->half && p->kind != PARAM_ROUTER;
    return (struct linear_args){.w = half ? (void *)p->half : p->data,
                                .w_type = half ? DT_BF16 : DT_F32,
                                .compute = p->kind == PARAM_ROUTER ? DT_F32 : dec->compute,
                                .ldw = K,
                                .M = M,
                                .N = N,
                                .K = K};
}

/* ---- NF4: a panel of rows widened, multiplied, forgotten ---- */

static bool panel_is_half(const struct decoder *dec)
{
    return dec->compute == DT_BF16 && !dec->dev->host_memory;
}

/* Numbers first … first + n − 1 of q to the panel, from its number at on. Returns their place. */
static void *widen(struct decoder *dec, int64_t at, const struct nf4 *q, int64_t first, int64_t n)
{
    if (panel_is_half(dec)) {
        uint16_t *to = (uint16_t *)(void *)dec->panel + at;
        dec->dev->k->nf4_to_bf16(dec->dev, to, q, first, n);
        return to;
    }
    dec->dev->k->nf4_to_f32(dec->dev, dec->panel + at, q, first, n);
    return dec->panel + at;
}

/* The rows row … row + n − 1 of the tensor p, of which y's columns begin at col. */
struct panel {
    const struct param *p;
    int64_t row, n, col;
};

/* The next panel of a product of N rows that begins at tensor p; false behind the last. Begins
 * zeroed. */
static bool next_panel(struct panel *at, struct decoder *dec, const struct param *p, int64_t N)
{
    int64_t rows = dec->panel_n / p->shape[1];
    if (!at->p)
        at->p = p;
    at->row += at->n;
    at->col += at->n;
    if (at->row == at->p->shape[0]) {
        at->p++;
        at->row = 0;
    }
    if (at->col == N)
        return false;
    int64_t left = at->p->shape[0] - at->row;
    at->n = left < rows ? left : rows;
    widen(dec, 0, at->p->nf4, at->row * p->shape[1], at->n * p->shape[1]);
    return true;
}

static void panels_forward(struct decoder *dec, struct linear_args a, const struct param *p)
{
    struct panel at = {0};
    float *y = a.y;
    int64_t N = a.N;
    a.w_type = panel_is_half(dec) ? DT_BF16 : DT_F32;
    for (a.w = dec->panel; next_panel(&at, dec, p, N);) {
        a.y = y + at.col;
        a.N = at.n;
        dec->dev->k->linear_forward(dec->dev, &a);
    }
}

static void panels_backward_input(struct decoder *dec, struct linear_args a, const struct param *p)
{
    struct panel at = {0};
    float *y = a.y;
    int64_t N = a.N;
    a.w_type = panel_is_half(dec) ? DT_BF16 : DT_F32;
    for (a.w = dec->panel; next_panel(&at, dec, p, N); a.accumulate = true) {
        a.y = y + at.col;
        a.N = at.n;
        dec->dev->k->linear_backward_input(dec->dev, &a);
    }
}

void product_forward(struct decoder *dec, float *y, int64_t ldy, const float *x, int64_t ldx,
                     const struct param *p, int64_t M, int64_t N, int64_t K, bool accumulate)
{
    struct linear_args a = args_of(dec, p, M, N, K);
    a.y = y;
    a.ldy = ldy;
    a.x = (float *)(uintptr_t)x;
    a.ldx = ldx;
    a.accumulate = accumulate;
    if (p->nf4)
        panels_forward(dec, a, p);
    else
        dec->dev->k->linear_forward(dec->dev, &a);
    lora_forward(dec, y, ldy, x, ldx, p, M);
}

void product_backward_input(struct decoder *dec, float *dx, int64_t ldx, const float *dy,
                            int64_t ldy, const struct param *p, int64_t M, int64_t N, int64_t K,
                            bool accumulate)
{
    struct linear_args a = args_of(dec, p, M, N, K);
    a.y = (float *)(uintptr_t)dy;
    a.ldy = ldy;
    a.x = dx;
    a.ldx = ldx;
    a.accumulate = accumulate;
    if (p->nf4)
        panels_backward_input(dec, a, p);
    else
        dec->dev->k->linear_backward_input(dec->dev, &a);
    lora_backward_input(dec, dx, ldx, dy, ldy, p, M);
}

void product_backward_weight(struct decoder *dec, const struct param *p, const float *dy,
                             int64_t ldy, const float *x, int64_t ldx, int64_t M, int64_t N,
                             int64_t K)
{
    lora_backward_weight(dec, p, dy, ldy, x, ldx, M);
    if (!p->grad)
        return;
    struct linear_args a = args_of(dec, p, M, N, K);
    a.w = p->grad;
    a.w_type = DT_F32;
    a.y = (float *)(uintptr_t)dy;
    a.ldy = ldy;
    a.x = (float *)(uintptr_t)x;
    a.ldx = ldx;
    a.accumulate = !dec->fresh;
    dec->dev->k->linear_backward_weight(dec->dev, &a);
}

/* ---- experts ---- */

/* With the experts' weights, or their gradients. */
static struct grouped_args experts_of(struct decoder *dec, struct layer *layer,
                                      enum expert_product which, bool grads)
{
    const struct dims *d = &dec->d;
    bool up = which == EXPERTS_UP, half = !grads && layer->p.expert_down->half;
    void **w = up ? layer->w_gate_up : layer->w_down;
    void **g = up ? layer->g_gate_up : layer->g_down;
    int64_t N = up ? 2 * d->F : d->D, K = up ? d->D : d->F;
    return (struct grouped_args){.w = grads ? g : w,
                                 .offset = layer->lists.offset,
                                 .E = d->E,
                                 .N = N,
                                 .K = K,
                                 .ldy = N,
                                 .ldx = K,
                                 .ldw = K,
                                 .w_type = half ? DT_BF16 : DT_F32,
                                 .compute = dec->compute};
}

/* The weights of experts e … end − 1 that have slots into the panel, expert e's first. */
static void widen_experts(struct decoder *dec, const struct grouped_args *all,
                          const struct param *p, int64_t e, int64_t end)
{
    enum { SOME = 256 };
    uint16_t *to[SOME];
    const struct nf4 *from[SOME];
    int64_t stride = all->N / p->shape[0], part = all->N * all->K / stride, n = 0;
    for (int64_t i = e * stride; i < end * stride; i++) {
        int64_t at = (i - e * stride) * part;
        if (all->offset[i / stride] == all->offset[i / stride + 1])
            continue;
        if (!panel_is_half(dec)) {
            widen(dec, at, p[i].nf4, 0, part);
            continue;
        }
        to[n] = (uint16_t *)(void *)dec->panel + at;
        from[n++] = p[i].nf4;
        if (n == SOME) {
            dec->dev->k->nf4_list_to_bf16(dec->dev, to, from, n);
            n = 0;
        }
    }
    if (n)
        dec->dev->k->nf4_list_to_bf16(dec->dev, to, from, n);
}

/* Runs a grouped product over experts whose NF4 weights fit the panel together, a batch of them
 * after the other. */
static void each_batch(struct decoder *dec, const struct grouped_args *all, const struct param *p,
                       void (*product)(struct device *, const struct grouped_args *))
{
    int64_t size = all->N * all->K, most = dec->panel_n / size;
    void **w = (void **)(uintptr_t)all->w;
    for (int64_t e = 0, end; e < all->E; e = end) {
        end = all->E - e < most ? all->E : e + most;
        for (int64_t i = e; i < end; i++)
            w[i] = panel_is_half(dec) ? (void *)((uint16_t *)(void *)dec->panel + (i - e) * size)
                                      : dec->panel + (i - e) * size;
        widen_experts(dec, all, p, e, end);
        struct grouped_args a = *all;
        a.w_type = panel_is_half(dec) ? DT_BF16 : DT_F32;
        a.w = w + e;
        a.offset = all->offset + e;
        a.E = end - e;
        product(dec->dev, &a);
    }
}

static void run_experts(struct decoder *dec, struct layer *layer, enum expert_product which,
                        const struct grouped_args *a,
                        void (*product)(struct device *, const struct grouped_args *))
{
    const struct param *p = which == EXPERTS_UP ? layer->p.expert_gate_up : layer->p.expert_down;
    if (p->nf4)
        each_batch(dec, a, p, product);
    else
        product(dec->dev, a);
}

void experts_product_forward(struct decoder *dec, struct layer *layer, enum expert_product which,
                             float *y, const float *x, const int32_t *x_row)
{
    struct grouped_args a = experts_of(dec, layer, which, false);
    a.y = y;
    a.x = (float *)(uintptr_t)x;
    a.x_row = x_row;
    run_experts(dec, layer, which, &a, dec->dev->k->grouped_forward);
    lora_experts_forward(dec, layer, which, y, x, x_row);
}

void experts_product_backward_input(struct decoder *dec, struct layer *layer,
                                    enum expert_product which, float *dx, const float *dy,
                                    const int32_t *dy_row)
{
    struct grouped_args a = experts_of(dec, layer, which, false);
    a.y = (float *)(uintptr_t)dy;
    a.y_row = dy_row;
    a.x = dx;
    run_experts(dec, layer, which, &a, dec->dev->k->grouped_backward_input);
    lora_experts_backward_input(dec, layer, which, dx, dy, dy_row);
}

void experts_product_backward_weight(struct decoder *dec, struct layer *layer,
                                     enum expert_product which, const float *dy,
                                     const int32_t *dy_row, const float *x, const int32_t *x_row)
{
    lora_experts_backward_weight(dec, layer, which, dy, dy_row, x, x_row);
    if (!layer->g_down)
        return;
    struct grouped_args a = experts_of(dec, layer, which, true);
    a.y = (float *)(uintptr_t)dy;
    a.y_row = dy_row;
    a.x = (float *)(uintptr_t)x;
    a.x_row = x_row;
    a.accumulate = !dec->fresh;
    dec->dev->k->grouped_backward_weight(dec->dev, &a);
}
