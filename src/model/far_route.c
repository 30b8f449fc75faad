/* Routing on a device whose memory the host can't read: see far_route.h. A report is the moments of scores, then the offsets of slots. */
#include "model/far_route.h"

#include <assert.h>
#include <string.h>

#include "route/row_ops.h"

/* Numbers of moments, which come first. */
static int64_t n_moments(int64_t T)
{
    return (T + ROUTE_BLOCK - 1) / ROUTE_BLOCK * 2;
}

size_t far_report_bytes(int64_t T, int64_t E)
{
    return (size_t)n_moments(T) * sizeof(double) + (size_t)(E + 3) * sizeof(int32_t);
}

const int32_t *far_offset(const struct far_route *f, int64_t T)
{
    return (const int32_t *)((const double *)f->host_report + n_moments(T));
}

bool far_route_can(const struct device *dev, const struct router *r, enum route_mode mode)
{
    return !dev->host_memory && router_config(r)->n_experts <= ROUTE_FAR_EXPERTS &&
           router_picks_far(r, mode);
}

static struct route_args args_of(const struct router *r, int64_t T, const struct far_route *f)
{
    const struct router_config *c = router_config(r);
    bool groups = c->pick == PICK_GROUP_TOPK;
    return (struct route_args){.scores = f->scores,
                               .idx = f->idx,
                               .weight = f->weight,
                               .logits = f->logits,
                               .bias = f->bias,
                               .T = T,
                               .E = c->n_experts,
                               .K = c->n_picks,
                               .n_group = groups ? c->n_group : 1,
                               .topk_group = groups ? c->topk_group : 1,
                               .softmax = c->score == SCORE_SOFTMAX,
                               .group_max = c->group_score == GROUP_SCORE_MAX,
                               .normed = c->norm_topk_prob,
                               .factor = c->routed_scaling_factor};
}

/* Scores, picks, lists and the report's numbers, on the device. */
static void make(struct device *dev, const struct route_args *a, const struct far_route *f,
                 bool shared)
{
    struct route_lists_args lists = {.offset = (int32_t *)((double *)f->report + n_moments(a->T)),
                                     .token = f->token,
                                     .slot_weight = f->slot_weight,
                                     .position = f->position,
                                     .first = f->first,
                                     .slot = f->slot,
                                     .idx = f->idx,
                                     .weight = f->weight,
                                     .T = a->T,
                                     .E = a->E,
                                     .K = a->K,
                                     .shared = shared};
    dev->k->route_pick(dev, a);
    dev->k->route_lists(dev, &lists);
}

/* The report to the host: from the offsets on where nobody looks at the moments. */
static void hear(struct device *dev, const struct far_route *f, int64_t T, int64_t n_offsets,
                 bool moments)
{
    int64_t skipped = moments ? 0 : n_moments(T);
    size_t n_bytes =
        (size_t)(n_moments(T) - skipped) * sizeof(double) + (size_t)n_offsets * sizeof(int32_t);
    dev->ops->read(dev, (double *)f->host_report + skipped, (const double *)f->report + skipped,
                   n_bytes);
}

static int blame(struct device *dev, struct router *r, const struct route *route,
                 const struct far_route *f, const struct route_batch *batch, struct err *err)
{
    size_t n_bytes = (size_t)(route->T * route->E) * sizeof(float);
    dev->ops->read(dev, route->scores, f->logits, n_bytes);
    int rc = router_check_logits(r, route, route->scores, batch, err);
    assert(rc);
    return rc;
}

int far_route_pick(struct device *dev, struct router *r, struct route *route,
                   const struct far_route *f, const struct route_batch *batch, bool shared,
                   struct err *err)
{
    struct route_args a = args_of(r, route->T, f);
    bool moments = router_wants_moments(r, batch->mode);
    a.valid = batch->valid ? f->valid : NULL;
    a.moments = moments ? f->report : NULL;
    router_far_begin(r, route, batch);
    dev->ops->write(dev, f->bias, route->bias, (size_t)a.E * sizeof(float));
    make(dev, &a, f, shared);
    hear(dev, f, a.T, a.E + 2 + shared, moments);
    int rc = device_check(dev, err);
    if (rc)
        return rc;
    const int32_t *offset = far_offset(f, a.T);
    if (offset[a.E + 1 + shared])
        return blame(dev, r, route, f, batch, err);
    router_far_end(r, route, offset, f->host_report, batch);
    return 0;
}

void far_route_fetch(struct device *dev, struct route *route, const struct far_route *f)
{
    size_t T = (size_t)route->T, TE = T * (size_t)route->E, TK = T * (size_t)route->K;
    size_t n = (size_t)route->n;
    char *first = (char *)route->token_offsets;
    dev->ops->read(dev, route->scores, f->scores, TE * sizeof(float));
    dev->ops->read(dev, route->idx, f->idx, TK * sizeof(int32_t));
    dev->ops->read(dev, route->pick_weight, f->weight, TK * sizeof(float));
    dev->ops->read(dev, route->pick_position, f->position, TK * sizeof(int32_t));
    dev->ops->read(dev, route->token, f->token, n * sizeof(int32_t));
    dev->ops->read(dev, route->weight, f->slot_weight, n * sizeof(float));
    dev->ops->read(dev, route->position, f->slot, n * sizeof(int32_t));
    for (int i = 0; i < route->E; i++)
        for (int64_t p = route->expert_offsets[i]; p < route->expert_offsets[i + 1]; p++)
            route->expert[p] = i;
    dev->ops->read(dev, first, f->first, (T + 1) * sizeof(int32_t));
    for (size_t t = T + 1; t-- > 0;) { /* widened in place, from the end */
        int32_t narrow;
        memcpy(&narrow, first + t * sizeof narrow, sizeof narrow);
        route->token_offsets[t] = narrow;
    }
}

void far_route_backward(struct device *dev, float *dlogits, const float *dweight,
                        const struct router *r, int64_t T, const struct far_route *f)
{
    struct route_args a = args_of(r, T, f);
    dev->k->route_backward(dev, dlogits, dweight, f->position, &a);
}
