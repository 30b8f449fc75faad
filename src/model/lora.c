/* The adapters' life: their places in memory, their first values, their scratch. What they compute
 * is in lora_product.c.
 *
 * One allocation holds all A and B (and one their gradients) in the order of the groups: a group's
 * A's without a gap, then its B's; every group begins on 64 bytes.
 */
#include "model/lora.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { ALIGN = 16 };

/* What is being laid out. */
struct maker {
    struct lora *l;
    struct param_list *list;
    const struct lora_choice *choices;
    bool tied;
    struct err *err;
};

static int64_t count(const struct lora_choice *choices, int64_t n)
{
    int64_t chosen = 0;
    for (int64_t i = 0; i < n; i++)
        chosen += choices[i].r > 0;
    return chosen;
}

static int64_t n_routers(const struct param_list *list)
{
    int64_t n = 0;
    for (int64_t i = 0; i < list->n; i++)
        n += list->params[i].kind == PARAM_ROUTER;
    return n;
}

static int64_t group_end(const struct param_list *list, int64_t i)
{
    int64_t end = i + 1;
    while (end < list->n && list->params[end].follows)
        end++;
    return end;
}

static int name_param(struct maker *m, struct param *p, const struct param *base, const char *what,
                      int64_t rows, int64_t cols)
{
    char text[LORA_MAX_NAME], name[LORA_MAX_NAME + 48];
    snprintf(name, sizeof name, "base_model.model.%s.%s.weight", lora_module(text, base, m->tied),
             what);
    char *copy = arena_strdup(&m->l->arena, name, m->err);
    if (!copy)
        return MOE2_ELIMIT;
    *p = (struct param){.name = copy,
                        .kind = base->kind == PARAM_ROUTER ? PARAM_ROUTER : PARAM_MATRIX,
                        .layer = base->layer,
                        .expert = base->expert,
                        .n_dims = 2,
                        .shape = {rows, cols},
                        .n = rows * cols};
    return 0;
}

static int64_t place(struct lora *l, const struct param *p)
{
    int64_t at = l->n_elements;
    l->n_elements += p->n;
    return at;
}

/* The adapters of the tensors first … end − 1, which one product reads. */
static int add_group(struct maker *m, int64_t first, int64_t end)
{
    struct lora *l = m->l;
    struct lora_group *g = &l->group[first];
    int64_t row = 0;
    int rc = 0;
    g->first = l->n;
    l->n_elements = (l->n_elements + ALIGN - 1) / ALIGN * ALIGN;
    for (int64_t i = first; i < end && !rc; i++) {
        const struct param *p = &m->list->params[i];
        int64_t r = m->choices[i].r;
        if (r > 0) {
            struct lora_adapter *a = &l->adapters[l->n];
            double over = l->rslora ? sqrt((double)r) : (double)r;
            *a = (struct lora_adapter){.base = i,
                                       .r = r,
                                       .in = p->shape[1],
                                       .out = p->shape[0],
                                       .row = row,
                                       .col = g->R,
                                       .scale = (float)(m->choices[i].alpha / over),
                                       .alpha = m->choices[i].alpha,
                                       .a = &l->params[2 * l->n],
                                       .b = &l->params[2 * l->n + 1]};
            rc = name_param(m, a->a, p, "lora_A", r, a->in);
            if (!rc)
                rc = name_param(m, a->b, p, "lora_B", a->out, r);
            a->a_at = place(l, a->a);
            g->R += r;
            g->n++;
            l->n++;
            l->max_in = a->in > l->max_in ? a->in : l->max_in;
        }
        row += p->shape[0];
    }
    for (int64_t i = g->first; i < g->first + g->n; i++)
        l->adapters[i].b_at = place(l, l->adapters[i].b);
    l->max_R = g->R > l->max_R ? g->R : l->max_R;
    return rc;
}

static int add_all(struct maker *m, bool train_router)
{
    struct lora *l = m->l;
    int rc = 0;
    for (int64_t i = 0, end; i < m->list->n && !rc; i = end) {
        end = group_end(m->list, i);
        rc = add_group(m, i, end);
    }
    l->n_params = 2 * l->n;
    l->n_grad = l->n_elements;
    for (int64_t i = 0; i < m->list->n && train_router; i++)
        if (m->list->params[i].kind == PARAM_ROUTER)
            l->n_grad += m->list->params[i].n;
    return rc;
}

/* A uniform in ±1/√in from seed and name, B zero. */
static int fill(struct lora *l, uint64_t seed, struct err *err)
{
    int64_t most = 1;
    for (int64_t i = 0; i < l->n; i++)
        most = l->adapters[i].a->n > most ? l->adapters[i].a->n : most;
    float *host = malloc((size_t)most * sizeof *host);
    if (!host)
        return err_set(err, MOE2_ELIMIT, "no memory for an adapter's first values");
    l->dev->ops->zero(l->dev, l->data, (size_t)l->n_elements * sizeof *l->data);
    for (int64_t i = 0; i < l->n; i++) {
        const struct param *a = l->adapters[i].a;
        double bound = 1 / sqrt((double)l->adapters[i].in);
        uint64_t hash = seed;
        for (const char *c = a->name; *c; c++)
            hash = rng_at(hash, (uint8_t)*c, 0, 0);
        struct rng r;
        rng_init(&r, hash);
        for (int64_t j = 0; j < a->n; j++)
            host[j] = (float)(bound * (2 * rng_uniform(&r) - 1));
        l->dev->ops->write(l->dev, a->data, host, (size_t)a->n * sizeof *host);
    }
    free(host);
    return 0;
}

static int bind(struct lora *l, struct param_list *list, bool train_router, struct err *err)
{
    size_t n_bytes = (size_t)l->n_elements * sizeof *l->data;
    l->data = device_alloc(l->dev, n_bytes, err);
    l->grad =
        l->data && l->train ? device_alloc(l->dev, (size_t)l->n_grad * sizeof *l->grad, err) : NULL;
    if (!l->data || (l->train && !l->grad))
        return MOE2_ELIMIT;
    if (l->grad)
        l->dev->ops->zero(l->dev, l->grad, (size_t)l->n_grad * sizeof *l->grad);
    for (int64_t i = 0; i < l->n; i++) {
        struct lora_adapter *ad = &l->adapters[i];
        ad->a->data = l->data + ad->a_at;
        ad->b->data = l->data + ad->b_at;
        ad->a->grad = l->grad ? l->grad + ad->a_at : NULL;
        ad->b->grad = l->grad ? l->grad + ad->b_at : NULL;
    }
    float *next = l->grad ? l->grad + l->n_elements : NULL;
    for (int64_t i = 0; i < list->n && train_router && next; i++) {
        struct param *p = &list->params[i];
        if (p->kind != PARAM_ROUTER)
            continue;
        p->grad = next;
        next += p->n;
        l->params[l->n_params++] = *p;
    }
    return 0;
}

/* ---- experts ---- */

static int pointer_arrays(struct lora_experts *x, int64_t E, int n_outputs, struct lora *l,
                          struct err *err)
{
    void ***arrays[] = {&x->a, &x->ga, &x->b[0], &x->gb[0], &x->b[1], &x->gb[1]};
    for (int i = 0; i < 2 + 2 * n_outputs; i++)
        if (!(*arrays[i] = arena_calloc(&l->arena, (size_t)E * sizeof(void *), err)))
            return MOE2_ELIMIT;
    return 0;
}

/* Expert e's product begins at tensor first + e · stride. */
static int bind_experts(struct lora_experts *x, struct lora *l, int64_t first, int64_t stride,
                        int64_t E, struct err *err)
{
    int rc = pointer_arrays(x, E, (int)stride, l, err);
    for (int64_t e = 0; e < E && !rc; e++) {
        const struct lora_group *g = &l->group[first + e * stride];
        x->R = g->R > x->R ? g->R : x->R;
        for (int64_t i = 0; i < g->n; i++) {
            const struct lora_adapter *ad = &l->adapters[g->first + i];
            int64_t which = ad->base - (first + e * stride);
            if (i == 0) {
                x->a[e] = ad->a->data;
                x->ga[e] = ad->a->grad;
            }
            x->b[which][e] = ad->b->data;
            x->gb[which][e] = ad->b->grad;
        }
    }
    return rc;
}

static int find_experts(struct lora *l, struct param_list *list, const struct model_config *c,
                        struct err *err)
{
    size_t L = (size_t)c->num_hidden_layers;
    l->up = arena_calloc(&l->arena, L * sizeof *l->up, err);
    l->down = l->up ? arena_calloc(&l->arena, L * sizeof *l->down, err) : NULL;
    int rc = l->down ? 0 : MOE2_ELIMIT;
    for (int64_t i = 0; i < list->n && !rc; i++) {
        const struct param *p = &list->params[i];
        if (p->expert != 0 || p->follows)
            continue;
        bool is_down = i + 1 >= list->n || !list->params[i + 1].follows;
        rc = bind_experts(is_down ? &l->down[p->layer] : &l->up[p->layer], l, i, is_down ? 1 : 2,
                          c->n_routed_experts, err);
    }
    return rc;
}

/* ---- life ---- */

int lora_new(struct lora **out, struct param_list *list, const struct model_config *model,
             const struct lora_choice *choices, const struct lora_config *config, bool train,
             bool plan_only, struct device *dev, struct err *err)
{
    struct lora *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(err, MOE2_ELIMIT, "no memory for adapters");
    int64_t n = count(choices, list->n);
    *l = (struct lora){.dropout = config->dropout,
                       .rslora = config->rslora,
                       .train = train,
                       .r = config->r,
                       .alpha = config->alpha,
                       .seed = config->seed,
                       .dev = dev};
    struct maker m = {l, list, choices, model->tie_word_embeddings, err};
    size_t n_all = (size_t)(2 * n + n_routers(list));
    l->adapters = arena_calloc(&l->arena, (size_t)(n + 1) * sizeof *l->adapters, err);
    l->params = arena_calloc(&l->arena, (n_all + 1) * sizeof *l->params, err);
    l->group = arena_calloc(&l->arena, (size_t)list->n * sizeof *l->group, err);
    int rc = l->adapters && l->params && l->group ? 0 : MOE2_ELIMIT;
    if (rc || (rc = add_all(&m, train && config->train_router)))
        lora_free(l);
    else if (plan_only)
        *out = l;
    else if ((rc = bind(l, list, train && config->train_router, err)) ||
             (rc = fill(l, config->seed, err)) || (rc = find_experts(l, list, model, err)))
        lora_free(l);
    else
        *out = l;
    return rc;
}

static const struct lora_adapter *adapter_on(const struct lora *l, int64_t base)
{
    int64_t low = 0, high = l->n;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (l->adapters[middle].base < base)
            low = middle + 1;
        else
            high = middle;
    }
    return low < l->n && l->adapters[low].base == base ? &l->adapters[low] : NULL;
}

/* Of whole rows of B·A, made on the device, the elements first … first + n − 1 of the tensor, scaled. */
static int merge_far(float *w, const struct lora *l, const struct lora_adapter *ad, int64_t first,
                     int64_t n, struct err *err)
{
    int64_t row = first / ad->in, rows = (first + n - 1) / ad->in + 1 - row;
    size_t n_bytes = (size_t)(rows * ad->in) * sizeof(float);
    float *product = malloc(n_bytes), *at = device_alloc(l->dev, n_bytes, err);
    int rc = at ? 0 : MOE2_ELIMIT;
    if (!rc && !product)
        rc = err_set(err, MOE2_ELIMIT, "no memory for a piece of a merged tensor");
    if (!rc) {
        struct linear_args a = {.y = ad->b->data + row * ad->r, .x = at, .w = ad->a->data};
        a.M = rows, a.N = a.ldy = ad->r, a.K = a.ldx = a.ldw = ad->in;
        a.w_type = a.compute = DT_F32;
        l->dev->k->linear_backward_input(l->dev, &a);
        l->dev->ops->read(l->dev, product, at, n_bytes);
        rc = device_check(l->dev, err);
    }
    for (int64_t i = 0; i < n && !rc; i++)
        w[i] += ad->scale * product[first - row * ad->in + i];
    device_free(l->dev, at, n_bytes);
    free(product);
    return rc;
}

int lora_merge(float *w, const struct lora *l, int64_t base, int64_t first, int64_t n,
               struct err *err)
{
    const struct lora_adapter *ad = adapter_on(l, base);
    if (ad && n && !l->dev->host_memory)
        return merge_far(w, l, ad, first, n, err);
    for (int64_t i = 0; ad && i < n;) {
        int64_t row = (first + i) / ad->in, col = (first + i) % ad->in;
        int64_t m = ad->in - col < n - i ? ad->in - col : n - i;
        for (int64_t r = 0; r < ad->r; r++) {
            float b = ad->scale * ad->b->data[row * ad->r + r];
            const float *a = ad->a->data + r * ad->in + col;
            for (int64_t j = 0; j < m; j++)
                w[i + j] += b * a[j];
        }
        i += m;
    }
    return 0;
}

void lora_begin(struct lora *l, int64_t step, int64_t first_token, bool training)
{
    l->step = step;
    l->first_token = first_token;
    l->drops = training && l->train && l->dropout > 0;
    l->du_of = NULL;
}

size_t lora_scratch_bytes(const struct lora *l, int64_t n_rows)
{
    int64_t wide = l->dropout > 0 && l->train ? l->max_in : 0;
    return (size_t)(n_rows * (2 * l->max_R + wide)) * sizeof(float);
}

static void free_scratch(struct lora *l)
{
    device_free(l->dev, l->u, lora_scratch_bytes(l, l->cap_rows));
    l->u = l->du = l->dropped = NULL;
    l->cap_rows = 0;
}

int lora_reserve(struct lora *l, int64_t n_rows, struct err *err)
{
    if (n_rows <= l->cap_rows)
        return 0;
    free_scratch(l);
    if (!(l->u = device_alloc(l->dev, lora_scratch_bytes(l, n_rows), err)))
        return MOE2_ELIMIT;
    l->du = l->u + n_rows * l->max_R;
    l->dropped = l->du + n_rows * l->max_R;
    l->cap_rows = n_rows;
    return 0;
}

void lora_free(struct lora *l)
{
    if (!l)
        return;
    free_scratch(l);
    device_free(l->dev, l->data, (size_t)l->n_elements * sizeof *l->data);
    device_free(l->dev, l->grad, (size_t)l->n_grad * sizeof *l->grad);
    arena_release(&l->arena);
    free(l);
}
