/* The decoder's memory: what a batch of T tokens needs, taken from two regions. The plan is run
 * twice, first over nothing to count the bytes, then over the allocation to hand out the pointers,
 * so that the two can't disagree.
 */
#include <stdlib.h>
#include <string.h>

#include "model/decoder_parts.h"
#include "model/rope.h"

/* Logits at a time; a GPU wants many rows, since each chunk reads the whole head. */
enum { HEAD_BYTES = 16 << 20, FAR_HEAD_BYTES = 512 << 20, MAX_TOKENS = 1 << 26 };

struct plan {
    char *base;
    size_t used, most;
};

static void *take(struct plan *p, int64_t n, size_t size)
{
    void *at = p->base ? p->base + p->used : NULL;
    p->used += ((size_t)n * size + 63) / 64 * 64;
    if (p->used > p->most)
        p->most = p->used;
    return at;
}

static float *take_f32(struct plan *p, int64_t n)
{
    return take(p, n, sizeof(float));
}

static void plan_acts(struct plan *p, struct block_acts *a, const struct dims *d, int64_t T,
                      int64_t mlp_width, int64_t n_slots)
{
    a->rstd_in = take_f32(p, T);
    bool heads = d->own_q && !d->Rq;
    a->rstd_q = take_f32(p, heads ? T * d->H : T);
    a->rstd_kv = take_f32(p, heads ? T * d->Hk : T);
    a->rstd_post = take_f32(p, T);
    a->a = take_f32(p, T * d->a_width);
    a->q = d->own_q ? take_f32(p, T * d->own_q) : a->a;
    a->ldq = d->own_q ? d->own_q : d->a_width;
    a->kv = take_f32(p, T * d->kv_width);
    a->o = take_f32(p, T * d->o_width);
    a->lse = take_f32(p, T * d->H);
    a->mid = take_f32(p, T * d->D);
    a->gate_up = take_f32(p, T * 2 * mlp_width);
    a->slot_gate_up = take_f32(p, n_slots * 2 * d->F);
}

/* The lists on a device have room for all slots that there can be, since they are written before it is
 * known that scratch for S is too small. */
static void plan_routes(struct plan *p, struct decoder *dec, struct layer *l, int64_t T, int64_t S)
{
    int64_t most = route_slots_max(router_config(l->router), T), n = most > S ? most : S;
    l->logits = take_f32(p, T * dec->d.E);
    l->d_aux = dec->train && router_has_aux(l->router) ? take_f32(p, T * dec->d.E) : NULL;
    l->lists.first = take(p, T + 1, sizeof(int32_t));
    if (dec->dev->host_memory)
        return;
    l->lists.position = take(p, n, sizeof(int32_t));
    l->lists.token = take(p, n, sizeof(int32_t));
    l->lists.weight = take_f32(p, n);
    l->far = (struct far_route){.logits = l->logits,
                                .token = l->lists.token,
                                .first = l->lists.first,
                                .slot = l->lists.position,
                                .slot_weight = l->lists.weight,
                                .bias = dec->far.bias,
                                .valid = dec->far.valid,
                                .report = dec->far.report,
                                .host_report = dec->host_report};
    l->far.scores = take_f32(p, T * dec->d.E);
    l->far.weight = take_f32(p, T * dec->d.K);
    l->far.idx = take(p, T * dec->d.K, sizeof(int32_t));
    l->far.position = take(p, T * dec->d.K, sizeof(int32_t));
}

/* What the layers' routes on the device have in common. */
static void plan_far(struct plan *p, struct decoder *dec, int64_t T)
{
    if (dec->dev->host_memory || !dec->d.E)
        return;
    dec->far.bias = take_f32(p, dec->d.E);
    dec->far.valid = take(p, T, 1);
    dec->far.report = take(p, (int64_t)far_report_bytes(T, dec->d.E), 1);
}

static int64_t widest_mlp(const struct decoder *dec)
{
    const struct dims *d = &dec->d;
    bool dense = dec->config.first_k_dense_replace > 0 || d->E == 0;
    return dense && d->I > d->Fs ? d->I : d->Fs;
}

static void plan_base(struct plan *p, struct decoder *dec, int64_t T, int64_t S)
{
    const struct dims *d = &dec->d;
    bool keep = dec->train && !dec->checkpointing;
    dec->ids = take(p, T, sizeof *dec->ids);
    dec->pos = take(p, T, sizeof *dec->pos);
    dec->targets = take(p, T, sizeof *dec->targets);
    dec->s.y = take_f32(p, T * d->D);
    if (dec->train) {
        dec->s.dy = take_f32(p, T * d->D);
        dec->dx = take_f32(p, T * d->D);
    }
    float *two[2] = {NULL, NULL};
    bool all = dec->train && !dec->store.dev;
    for (int64_t l = 0; l <= d->L; l++)
        dec->x[l] = all || l < 2 ? take_f32(p, T * d->D) : two[l % 2];
    for (int64_t l = 0; l <= d->L && !all; l++) {
        two[l % 2] = l < 2 ? dec->x[l] : two[l % 2];
        dec->x[l] = two[l % 2];
    }
    plan_far(p, dec, T);
    for (int64_t l = 0; l < d->L; l++) {
        struct layer *layer = &dec->layers[l];
        if (layer->router)
            plan_routes(p, dec, layer, T, S);
        if (keep)
            plan_acts(p, &layer->acts, d, T, layer->router ? d->Fs : d->I, layer->router ? S : 0);
    }
    if (!keep)
        plan_acts(p, &dec->shared, d, T, widest_mlp(dec), dec->train ? S : 0);
}

static void plan_attention(struct plan *p, struct scratch *s, const struct dims *d, int64_t T,
                           bool train)
{
    s->latent = take_f32(p, T * d->R);
    s->q_latent = take_f32(p, T * d->Rq);
    if (!train)
        return;
    s->d_latent = take_f32(p, T * d->R);
    s->d_q_latent = take_f32(p, T * d->Rq);
    s->d_o = take_f32(p, T * d->o_width);
    s->d_a = take_f32(p, T * d->a_width);
    s->d_q = take_f32(p, T * d->own_q);
    s->d_kv = take_f32(p, T * d->kv_width);
}

static void plan_mlp(struct plan *p, struct decoder *dec, int64_t T, int64_t S)
{
    struct scratch *s = &dec->s;
    const struct dims *d = &dec->d;
    int64_t width = widest_mlp(dec);
    s->h = take_f32(p, T * width);
    if (dec->train) {
        s->dh = take_f32(p, T * width);
        s->d_gate_up = take_f32(p, T * 2 * width);
    }
    s->slot_h = take_f32(p, S * d->F);
    s->slot_out = take_f32(p, S * d->D);
    s->slot_scalar = take_f32(p, S);
    size_t mark = p->used;
    s->slot_gate_up = take_f32(p, S * 2 * d->F); /* only in a forward that keeps nothing */
    if (!dec->train)
        return;
    p->used = mark;
    s->slot_d_gate_up = take_f32(p, S * 2 * d->F);
    s->slot_dh = take_f32(p, S * d->F);
    s->d_logits = take_f32(p, T * d->E);
}

static void plan_head(struct plan *p, struct decoder *dec, int64_t rows)
{
    struct scratch *s = &dec->s;
    s->head_y = take_f32(p, rows * dec->d.D);
    s->head_dy = take_f32(p, dec->train ? rows * dec->d.D : 0);
    s->head_rstd = take_f32(p, rows);
    s->head_nll = take_f32(p, rows);
    s->head_right = take(p, rows, 1);
    s->head_logits = take_f32(p, rows * dec->d.V);
}

static size_t plan_scratch(char *base, struct decoder *dec, int64_t T, int64_t S)
{
    struct plan p = {.base = base};
    plan_attention(&p, &dec->s, &dec->d, T, dec->train);
    p.used = 0;
    plan_mlp(&p, dec, T, S);
    p.used = 0;
    plan_head(&p, dec, dec->head_rows);
    return p.most;
}

static int renew(struct device *dev, char **region, size_t *size, size_t wanted, struct err *err)
{
    device_free(dev, *region, *size);
    *region = NULL;
    *size = 0;
    *region = device_alloc(dev, wanted, err);
    if (!*region)
        return MOE2_ELIMIT;
    *size = wanted;
    return 0;
}

static int reserve_scratch(struct decoder *dec, int64_t T, int64_t S, struct err *err)
{
    int rc = renew(dec->dev, &dec->scratch_bytes, &dec->scratch_size, plan_scratch(NULL, dec, T, S),
                   err);
    if (!rc)
        plan_scratch(dec->scratch_bytes, dec, T, S);
    return rc;
}

static int grow(void *at, size_t n_bytes, struct err *err)
{
    void **p = at, *grown = realloc(*p, n_bytes ? n_bytes : 1);
    if (!grown)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu bytes of routes", n_bytes);
    *p = grown;
    return 0;
}

/* What copies from and to a device pass through: a route's weights, two arrays of logits; in their place a chunk of losses. */
static int reserve_staging(struct decoder *dec, int64_t T, int64_t S, struct err *err)
{
    if (dec->dev->host_memory)
        return 0;
    int64_t routes = S + 2 * T * dec->d.E;
    return grow(&dec->host_f32, (size_t)(routes > T ? routes : T) * sizeof *dec->host_f32, err);
}

/* The host's side of a report: new when it is to hold more. */
static int reserve_report(struct decoder *dec, int64_t T, struct err *err)
{
    struct device *dev = dec->dev;
    size_t wanted = dev->host_memory || !dec->d.E ? 0 : far_report_bytes(T, dec->d.E);
    if (wanted <= dec->n_report)
        return 0;
    if (dec->host_report)
        dev->ops->host_free(dev, dec->host_report, dec->n_report);
    dec->n_report = 0;
    dec->host_report = dev->ops->host_alloc(dev, wanted);
    if (!dec->host_report)
        return err_set(err, MOE2_ELIMIT, "no memory of the host for %zu bytes of routes", wanted);
    dec->n_report = wanted;
    return 0;
}

static int reserve_host(struct decoder *dec, int64_t T, int64_t S, struct err *err)
{
    int rc = 0;
    for (int64_t l = 0; l < dec->d.L && !rc; l++)
        if (dec->layers[l].router)
            rc = grow(&dec->layers[l].route_memory,
                      route_bytes(router_config(dec->layers[l].router), T), err);
    if (rc || (rc = grow(&dec->host_i32, (size_t)(T + 1) * sizeof *dec->host_i32, err)) ||
        (rc = grow(&dec->host_valid, (size_t)T, err)) ||
        (rc = grow(&dec->host_right, (size_t)T, err)))
        return rc;
    if ((rc = reserve_report(dec, T, err)))
        return rc;
    return reserve_staging(dec, T, S, err);
}

/* The slots of T tokens; the + E: expert choice rounds each expert's share up. */
static int64_t slots_of(const struct decoder *dec, int64_t T)
{
    return T * dec->d.K + dec->d.E;
}

static int64_t head_rows_of(const struct decoder *dec, int64_t T)
{
    int64_t most = dec->dev->host_memory ? HEAD_BYTES : FAR_HEAD_BYTES;
    int64_t rows = most / (dec->d.V * (int64_t)sizeof(float));
    rows = rows < 128 ? 128 : rows; /* fewer would read and write the head's gradient too often */
    return rows > T ? T : rows;
}

size_t decoder_batch_bytes(struct decoder *dec, int64_t T, int64_t longest)
{
    int64_t S = slots_of(dec, T), rows = dec->head_rows;
    struct plan p = {0};
    dec->head_rows = head_rows_of(dec, T);
    plan_base(&p, dec, T, S);
    size_t n = p.most + plan_scratch(NULL, dec, T, S);
    dec->head_rows = rows;
    dec->cap_tokens = 0; /* the pointers are gone: the next batch plans anew */
    for (int64_t l = 0; l < dec->d.L; l++)
        if (dec->layers[l].router)
            n += route_bytes(router_config(dec->layers[l].router), T);
    if (dec->lora)
        n += lora_scratch_bytes(dec->lora, T > S ? T : S);
    if (dec->store.dev && !dec->store.dir && dec->dev->host_memory)
        n += (size_t)(dec->d.L * T * dec->d.D) * sizeof(float);
    return n + (size_t)(longest * dec->d.dr) * sizeof(float);
}

static int reserve_tokens(struct decoder *dec, int64_t T, struct err *err)
{
    if (T <= dec->cap_tokens)
        return 0;
    int64_t S = slots_of(dec, T);
    dec->cap_tokens = 0;
    dec->head_rows = head_rows_of(dec, T);
    struct plan p = {0};
    plan_base(&p, dec, T, S);
    int rc = renew(dec->dev, &dec->base, &dec->base_size, p.most, err);
    if (rc || (rc = reserve_scratch(dec, T, S, err)) || (rc = reserve_host(dec, T, S, err)))
        return rc;
    if (dec->lora && (rc = lora_reserve(dec->lora, T > S ? T : S, err)))
        return rc;
    if (dec->store.dev &&
        (rc = store_reserve(&dec->store, dec->d.L, (size_t)(T * dec->d.D) * sizeof(float), err)))
        return rc;
    p = (struct plan){.base = dec->base};
    plan_base(&p, dec, T, S);
    dec->cap_tokens = T;
    dec->cap_slots = dec->cap_kept_slots = S;
    return 0;
}

int decoder_reserve_slots(struct decoder *dec, int64_t n_slots, struct err *err)
{
    int64_t S = n_slots + n_slots / 4;
    int rc = reserve_scratch(dec, dec->cap_tokens, S, err);
    if (!rc)
        rc = reserve_staging(dec, dec->cap_tokens, S, err);
    if (!rc && dec->lora)
        rc = lora_reserve(dec->lora, S, err);
    if (rc) {
        dec->cap_tokens = 0; /* the next batch plans anew */
        return rc;
    }
    dec->cap_slots = S;
    return 0;
}

static int reserve_positions(struct decoder *dec, int64_t P, struct err *err)
{
    int64_t half = dec->d.rope / 2;
    if (P <= dec->cap_positions)
        return 0;
    size_t n_bytes = (size_t)(P * half) * sizeof(float);
    float *host = malloc(2 * n_bytes);
    if (!host)
        return err_set(err, MOE2_ELIMIT, "no memory for the rotary table of %lld positions",
                       (long long)P);
    size_t old = (size_t)(dec->cap_positions * half) * sizeof(float);
    device_free(dec->dev, dec->cos, old);
    device_free(dec->dev, dec->sin, old);
    dec->cap_positions = 0;
    dec->sin = NULL;
    dec->cos = device_alloc(dec->dev, n_bytes, err);
    if (dec->cos)
        dec->sin = device_alloc(dec->dev, n_bytes, err);
    if (!dec->sin) {
        device_free(dec->dev, dec->cos, n_bytes);
        dec->cos = NULL;
        free(host);
        return MOE2_ELIMIT;
    }
    rope_table(host, host + P * half, 0, P, &dec->config);
    dec->dev->ops->write(dec->dev, dec->cos, host, n_bytes);
    dec->dev->ops->write(dec->dev, dec->sin, host + P * half, n_bytes);
    dec->cap_positions = P;
    free(host);
    return 0;
}

int decoder_reserve(struct decoder *dec, const struct batch *batch, struct err *err)
{
    if (batch->T < 1 || batch->T > MAX_TOKENS)
        return err_set(err, MOE2_ELIMIT, "a batch of %lld tokens, wanted 1 to %d",
                       (long long)batch->T, MAX_TOKENS);
    if (batch->T * dec->d.K + dec->d.E > INT32_MAX)
        return err_set(err, MOE2_ELIMIT, "a batch of %lld tokens has more than 2^31 picks",
                       (long long)batch->T);
    int64_t longest = 0;
    for (int64_t b = 0; b < batch->B; b++)
        if (batch->offset[b + 1] - batch->offset[b] > longest)
            longest = batch->offset[b + 1] - batch->offset[b];
    int rc = reserve_tokens(dec, batch->T, err);
    if (!rc)
        rc = reserve_positions(dec, longest, err);
    if (!rc && batch->B > dec->cap_sequences) {
        rc = grow(&dec->host_seq, (size_t)(batch->B + 1) * sizeof *dec->host_seq, err);
        dec->cap_sequences = rc ? dec->cap_sequences : batch->B;
    }
    return rc;
}

void decoder_release_memory(struct decoder *dec)
{
    size_t table = (size_t)(dec->cap_positions * dec->d.rope / 2) * sizeof(float);
    device_free(dec->dev, dec->base, dec->base_size);
    device_free(dec->dev, dec->scratch_bytes, dec->scratch_size);
    device_free(dec->dev, dec->cos, table);
    device_free(dec->dev, dec->sin, table);
    store_release(&dec->store);
    free(dec->host_i32);
    free(dec->host_valid);
    free(dec->host_right);
    free(dec->host_f32);
    free(dec->host_seq);
    if (dec->host_report)
        dec->dev->ops->host_free(dec->dev, dec->host_report, dec->n_report);
}
