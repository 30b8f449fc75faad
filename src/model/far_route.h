/* Routing on a device whose memory the host can't read: the logits stay there, and so do scores, picks and lists.
 *
 *     size_t report = far_report_bytes(T, E);             device memory, and memory of the host's (host_alloc's is faster)
 *     if (far_route_can(dev, router, mode))
 *         rc = far_route_pick(dev, router, &route, &far, &batch, shared, err);
 *     … far_offset(&far, T)[e], the device's lists …
 *     far_route_fetch(dev, &route, &far);                 where the host wants the rest of the route too
 *
 * What the host waits for is one small copy: where each expert's slots begin, because products of experts are planned there, and the sums
 * that a router in training keeps. far_route_fetch brings everything else into the route.
 */
#ifndef MOE2_MODEL_FAR_ROUTE_H
#define MOE2_MODEL_FAR_ROUTE_H

#include "kernels/kernels.h"
#include "route/router.h"

/* Borrowed memory of the device, but host_report. S as in struct route_lists_args. */
struct far_route {
    const float *logits;           /* [T, E] */
    float *scores, *weight;        /* [T, E], [T, K] */
    int32_t *idx, *position;       /* [T, K] */
    int32_t *token, *first, *slot; /* [S], [T+1], [S] */
    float *slot_weight;            /* [S] */
    float *bias;                   /* [E] */
    uint8_t *valid;                /* [T], or NULL: there is no padding */
    void *report, *host_report;    /* far_report_bytes */
};

size_t far_report_bytes(int64_t T, int64_t E);
bool far_route_can(const struct device *dev, const struct router *r, enum route_mode mode);

/* In router_pick's stead; the route is bound. shared as in struct route_lists_args, beyond the router's own picks. Errors as of
 * router_pick, and what the device has to say. */
int far_route_pick(struct device *dev, struct router *r, struct route *route,
                   const struct far_route *f, const struct route_batch *batch, bool shared,
                   struct err *err);

/* Host [E + 1], with a shared expert [E + 2]; until the next pick into that report. */
const int32_t *far_offset(const struct far_route *f, int64_t T);

/* Everything that router_pick would have left in the route, without a shared expert. */
void far_route_fetch(struct device *dev, struct route *route, const struct far_route *f);

/* dlogits [T, E] += what came through the weights; dweight [n] in the order of slots. Device memory both. */
void far_route_backward(struct device *dev, float *dlogits, const float *dweight,
                        const struct router *r, int64_t T, const struct far_route *f);

#endif
