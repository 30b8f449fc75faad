/* One pass through the decoder: embedding, blocks, head and loss, and all of it backwards.
 *
 * The head works on chunks of rows: norm, logits, loss and, in a training pass, the gradients of all
 * three before the next chunk, so that the logits of a long batch never exist at once. A block that
 * was not kept is computed again from its input, with the first forward's picks.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "model/decoder_parts.h"

const float *to_host(struct decoder *dec, const float *device, int64_t n)
{
    if (dec->dev->host_memory)
        return device;
    dec->dev->ops->read(dec->dev, dec->host_f32, device, (size_t)n * sizeof *device);
    return dec->host_f32;
}

static int check_ids(const struct decoder *dec, const char *what, const int32_t *ids, int64_t T,
                     int32_t least, struct err *err)
{
    for (int64_t t = 0; t < T; t++)
        if (ids[t] < least || ids[t] >= dec->d.V)
            return err_set(err, MOE2_ECONFIG,
                           "%s %d at position %lld is outside the vocabulary of %lld", what, ids[t],
                           (long long)t, (long long)dec->d.V);
    return 0;
}

/* Ids, positions and what the routers want to know, in their places. */
static void upload(struct decoder *dec, const struct batch *batch)
{
    size_t n_bytes = (size_t)batch->T * sizeof(int32_t);
    dec->dev->ops->write(dec->dev, dec->ids, batch->ids, n_bytes);
    for (int64_t b = 0; b < batch->B; b++)
        for (int32_t t = batch->offset[b]; t < batch->offset[b + 1]; t++)
            dec->host_i32[t] = t - batch->offset[b];
    dec->dev->ops->write(dec->dev, dec->pos, dec->host_i32, n_bytes);
    for (int64_t b = 0; b <= batch->B; b++)
        dec->host_seq[b] = batch->offset[b];
    for (int64_t t = 0; t < batch->T && batch->padding; t++)
        dec->host_valid[t] = !batch->padding[t];
    if (batch->padding && dec->far.valid)
        dec->dev->ops->write(dec->dev, dec->far.valid, dec->host_valid, (size_t)batch->T);
}

/* What a block keeps its activations in. */
static struct block_acts *acts_of(struct decoder *dec, int64_t l)
{
    bool kept = dec->train && !dec->checkpointing;
    struct block_acts *acts = kept ? &dec->layers[l].acts : &dec->shared;
    acts->x = dec->x[l];
    return acts;
}

static size_t stream_bytes(const struct decoder *dec)
{
    return (size_t)(dec->T * dec->d.D) * sizeof(float);
}

static int block_forward(struct decoder *dec, int64_t l, float *out, const struct batch *batch,
                         struct err *err)
{
    struct layer *layer = &dec->layers[l];
    struct block_acts *acts = acts_of(dec, l);
    if (out && dec->store.dev && dec->mode != DECODER_EVAL)
        store_put(&dec->store, l, acts->x, stream_bytes(dec));
    (dec->d.R ? mla_forward : gqa_forward)(dec, layer, acts, batch);
    if (layer->router)
        return moe_forward(dec, layer, acts, out, batch, err);
    ffn_forward(dec, layer, acts, out);
    return 0;
}

int decoder_forward(struct decoder *dec, const struct batch *batch, enum decoder_mode mode,
                    struct err *err)
{
    double begun_s = clock_s();
    omp_set_num_threads(dec->dev->n_threads); /* for the router's loops, which know no device */
    int rc = check_ids(dec, "id", batch->ids, batch->T, 0, err);
    if (!rc && batch->targets)
        rc = check_ids(dec, "target", batch->targets, batch->T, -1, err);
    dec->T = 0;
    if (rc || (rc = decoder_reserve(dec, batch, err)))
        return rc;
    dec->T = batch->T;
    dec->looks_ahead = mode == DECODER_LOOKAHEAD;
    dec->mode = dec->train && !dec->looks_ahead ? mode : DECODER_EVAL;
    upload(dec, batch);
    if (dec->lora)
        lora_begin(dec->lora, batch->step, batch->first_token, dec->mode == DECODER_TRAIN);
    const struct param *table = dec->mp.embed;
    const void *rows = table->data ? (const void *)table->data : table->half;
    dec->dev->k->embed_forward(dec->dev, dec->x[0], rows, table->data ? DT_F32 : DT_BF16, dec->ids,
                               dec->T, dec->d.D);
    struct err why = {0};
    int64_t n_done = 0;
    while (n_done < dec->d.L && !(rc = block_forward(dec, n_done, dec->x[n_done + 1], batch, &why)))
        n_done++;
    dec->hidden = dec->x[dec->d.L];
    int failed = device_check(dec->dev, err);
    if (failed)
        rc = failed;
    else if (rc) { /* a bad weight or an earlier block is the better reason */
        if (rc != MOE2_ENUMERIC || !decoder_blame_nonfinite(dec, false, n_done, err))
            rc = err_set(err, why.code, "%s", why.msg);
    }
    if (rc)
        dec->T = 0;
    dec->times.forward_s += clock_s() - begun_s;
    return rc;
}

/* ---- head and loss ---- */

/* Final norm and logits of rows first … first+n−1, into head_y and head_logits. */
static void head_forward(struct decoder *dec, int64_t first, int64_t n)
{
    struct scratch *s = &dec->s;
    int64_t D = dec->d.D, V = dec->d.V;
    dec->dev->k->rmsnorm_forward(dec->dev, s->head_y, s->head_rstd, dec->hidden + first * D,
                                 dec->mp.norm->data, n, D, D, D, (float)dec->config.rms_norm_eps);
    dec->first_row = first;
    product_forward(dec, s->head_logits, V, s->head_y, D, dec->mp.head, n, V, D, false);
    dec->first_row = 0;
}

/* logits = head · norm(x), with the gradient of logits in their place. */
static void head_backward(struct decoder *dec, int64_t first, int64_t n, bool fresh)
{
    bool was_fresh = dec->fresh;
    struct scratch *s = &dec->s;
    const struct param *norm = dec->mp.norm;
    int64_t D = dec->d.D, V = dec->d.V;
    float *dx = dec->dx + first * D;
    dec->fresh = fresh;
    dec->first_row = first;
    product_backward_weight(dec, dec->mp.head, s->head_logits, V, s->head_y, D, n, V, D);
    dec->fresh = was_fresh;
    product_backward_input(dec, s->head_dy, D, s->head_logits, V, dec->mp.head, n, V, D, false);
    dec->first_row = 0;
    dec->dev->ops->zero(dec->dev, dx, (size_t)(n * D) * sizeof *dx);
    dec->dev->k->rmsnorm_backward(dec->dev, dx, norm->grad, s->head_dy, dec->hidden + first * D,
                                  norm->data, s->head_rstd, n, D, D, D);
}

/* Adds up a chunk's losses on the host. */
static void count_chunk(struct decoder *dec, const struct batch *batch, int64_t first, int64_t n,
                        struct loss_result *out)
{
    int8_t *rights = dec->host_right + first;
    dec->dev->ops->read(dec->dev, rights, dec->s.head_right, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        bool scored = batch->targets[first + i] >= 0;
        out->n_targets += scored;
        out->n_right += scored && rights[i];
        rights[i] = scored ? rights[i] : -1;
    }
    const float *nll = to_host(dec, dec->s.head_nll, n);
    for (int64_t i = 0; i < n; i++)
        out->nll += nll[i];
    if (out->token_nll)
        memcpy(out->token_nll + first, nll, (size_t)n * sizeof *nll);
}

/* The routers' own losses, and their gradient into d_aux; accuracy goes to the routers that ask for
 * it. */
static double router_losses(struct decoder *dec, const struct batch *batch, float scale);

int decoder_loss(struct decoder *dec, const struct batch *batch, float scale,
                 struct loss_result *out, struct err *err)
{
    if (!dec->T || dec->T != batch->T || !batch->targets)
        return err_set(err, MOE2_ECONFIG,
                       "a loss was asked for without a forward, or without targets");
    struct loss_result result = {.token_nll = out->token_nll};
    bool backward = scale != 0 && dec->train && dec->mode != DECODER_EVAL;
    dec->dev->ops->write(dec->dev, dec->targets, batch->targets, (size_t)dec->T * sizeof(int32_t));
    for (int64_t first = 0; first < dec->T; first += dec->head_rows) {
        int64_t n = dec->T - first < dec->head_rows ? dec->T - first : dec->head_rows;
        double begun_s = clock_s();
        head_forward(dec, first, n);
        dec->dev->k->cross_entropy(dec->dev, dec->s.head_nll, dec->s.head_right, dec->s.head_logits,
                                   dec->targets + first, n, dec->d.V, dec->d.V,
                                   backward ? scale : 0);
        count_chunk(dec, batch, first, n, &result);
        double forward_s = clock_s();
        if (backward)
            head_backward(dec, first, n, dec->fresh && first == 0);
        dec->times.forward_s += forward_s - begun_s;
        dec->times.backward_s += clock_s() - forward_s;
    }
    result.aux = router_losses(dec, batch, backward ? scale * (float)result.n_targets : 0);
    int failed = device_check(dec->dev, err);
    if (failed)
        return failed;
    if (!isfinite(result.nll)) {
        int rc = decoder_find_nonfinite(dec, false, err);
        return rc ? rc
                  : err_set(err, MOE2_ENUMERIC,
                            "the loss is not a finite number, though every weight and block's "
                            "output is");
    }
    *out = result;
    return 0;
}

int decoder_logits(struct decoder *dec, int64_t first, int64_t n, float *logits, struct err *err)
{
    if (first < 0 || n < 0 || first + n > dec->T)
        return err_set(err, MOE2_ECONFIG,
                       "logits of rows %lld to %lld were asked for, the last forward had %lld",
                       (long long)first, (long long)(first + n), (long long)dec->T);
    for (int64_t i = 0; i < n; i += dec->head_rows) {
        int64_t m = n - i < dec->head_rows ? n - i : dec->head_rows;
        head_forward(dec, first + i, m);
        dec->dev->ops->read(dec->dev, logits + i * dec->d.V, dec->s.head_logits,
                            (size_t)(m * dec->d.V) * sizeof *logits);
    }
    return device_check(dec->dev, err);
}

static struct route_batch route_batch_of(struct decoder *dec, const struct batch *batch)
{
    return (struct route_batch){.mode = ROUTE_TRAIN,
                                .step = (uint64_t)batch->step,
                                .first_token = batch->first_token,
                                .valid = batch->padding ? dec->host_valid : NULL,
                                .seq_offsets = dec->host_seq,
                                .n_seqs = batch->B};
}

/* AUX_HF's pool over the tokens of all layers; picks and p are [E] each. */
static void fill_pool(struct decoder *dec, struct aux_pool *pool, const struct route_batch *rb)
{
    for (int64_t l = 0; l < dec->d.L; l++)
        if (dec->layers[l].router)
            router_aux_pool(pool, dec->layers[l].router, whole_route(dec, &dec->layers[l]), rb);
}

static double layer_aux(struct decoder *dec, struct layer *layer, const struct route_batch *rb,
                        const struct aux_pool *pool, float scale)
{
    int64_t n = dec->T * dec->d.E;
    struct device *dev = dec->dev;
    struct aux_losses losses = {0};
    float *d = dev->host_memory ? layer->d_aux : dec->host_f32 + n;
    bool z = router_config(layer->router)->aux.z_coef > 0;
    const float *logits = z ? to_host(dec, layer->logits, n) : NULL;
    memset(d, 0, (size_t)n * sizeof *d);
    router_aux(layer->router, scale != 0 ? d : NULL, &losses, whole_route(dec, layer), logits, rb,
               pool, scale);
    if (!dev->host_memory)
        dev->ops->write(dev, layer->d_aux, d, (size_t)n * sizeof *d);
    return losses.balance + losses.sequence + losses.z;
}

static double router_losses(struct decoder *dec, const struct batch *batch, float scale)
{
    double sum = 0, begun_s = clock_s();
    struct route_batch rb = route_batch_of(dec, batch);
    struct aux_pool pool = {
        .E = (int)dec->d.E, .picks = dec->pool, .p = dec->pool ? dec->pool + dec->d.E : NULL};
    if (dec->mode != DECODER_TRAIN)
        return 0;
    if (dec->pool) {
        memset(dec->pool, 0, (size_t)(2 * dec->d.E) * sizeof *dec->pool);
        fill_pool(dec, &pool, &rb);
    }
    for (int64_t l = 0; l < dec->d.L; l++) {
        struct layer *layer = &dec->layers[l];
        if (!layer->router)
            continue;
        if (router_wants(layer->router, ROUTE_TRAIN) == PERFORMANCE_ACCURACY)
            router_feed_right(layer->router, whole_route(dec, layer), dec->host_right);
        if (layer->d_aux)
            sum += layer_aux(dec, layer, &rb, dec->pool ? &pool : NULL, scale);
    }
    dec->times.routing_s += clock_s() - begun_s;
    return sum;
}

/* ---- backward ---- */

static int block_backward(struct decoder *dec, int64_t l, const struct batch *batch, float scale,
                          struct err *err)
{
    struct layer *layer = &dec->layers[l];
    struct block_acts *acts = acts_of(dec, l);
    if (dec->store.dev)
        store_get(&dec->store, l, dec->x[l], stream_bytes(dec));
    int rc = dec->checkpointing ? block_forward(dec, l, NULL, batch, err) : 0;
    if (rc)
        return rc;
    if (layer->router)
        moe_backward(dec, layer, acts, scale);
    else
        ffn_backward(dec, layer, acts);
    (dec->d.R ? mla_backward : gqa_backward)(dec, layer, acts, batch);
    return 0;
}

int decoder_backward(struct decoder *dec, const struct batch *batch, float scale, struct err *err)
{
    if (!dec->T || dec->T != batch->T || dec->mode == DECODER_EVAL)
        return err_set(err, MOE2_ECONFIG,
                       "a backward was asked for without a forward that keeps activations");
    double begun_s = clock_s();
    int rc = 0;
    for (int64_t l = dec->d.L; l-- > 0 && !rc;)
        rc = block_backward(dec, l, batch, scale, err);
    if (!rc && dec->mp.embed->grad)
        dec->dev->k->embed_backward(dec->dev, dec->mp.embed->grad, dec->dx, dec->ids, dec->T,
                                    dec->d.D, dec->d.V);
    dec->fresh = false;
    dec->times.backward_s += clock_s() - begun_s;
    return rc ? rc : device_check(dec->dev, err);
}
