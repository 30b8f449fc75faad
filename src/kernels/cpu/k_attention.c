/* Causal attention and its gradient, the plain reference: one query row at a time.
 *
 * Shapes:      see struct attention_args. Head h uses head h/(H/Hk) of k and v; all heads share kr.
 * Definition:  s[t,u] = scale · (Σ_dn q·k + Σ_dr q·kr),  u ≤ t in the same sequence
 *              (u ≤ past + t in a forward that begins later than its keys)
 *              p[t,u] = exp(s[t,u] − lse[t]),   lse[t] = log Σ_u exp(s[t,u]),   o[t] = Σ_u p[t,u] · v[u]
 * Sizes:       any; sequences may be empty. Scores of one row are all that is kept (in double, in scratch memory).
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

struct place {
    const struct attention_args *a;
    int64_t h, kh; /* head of the queries, head of the keys */
};

static double score(const struct place *p, int64_t t, int64_t u)
{
    const struct attention_args *a = p->a;
    const float *q = a->q + t * a->ldq + p->h * (a->dn + a->dr),
                *k = a->k + u * a->ldk + p->kh * a->k_head;
    double sum = 0;
    for (int64_t i = 0; i < a->dn; i++)
        sum += (double)q[i] * k[i];
    for (int64_t i = 0; i < a->dr; i++)
        sum += (double)q[a->dn + i] * a->kr[u * a->ldkr + i];
    return sum * a->scale;
}

static const float *value(const struct place *p, int64_t u)
{
    return p->a->v + u * p->a->ldv + p->kh * p->a->v_head;
}

void ref_attention_forward(struct device *dev, const struct attention_args *a)
{
    double *s = cpu_scratch(dev, 0);
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++)
            for (int64_t h = 0; h < a->H; h++) {
                struct place p = {a, h, h / (a->H / a->Hk)};
                double max = -INFINITY, sum = 0;
                for (int64_t u = a->offset[b]; u <= t + a->past; u++) {
                    s[u - a->offset[b]] = score(&p, t, u);
                    max = fmax(max, s[u - a->offset[b]]);
                }
                for (int64_t u = a->offset[b]; u <= t + a->past; u++)
                    sum += s[u - a->offset[b]] = exp(s[u - a->offset[b]] - max);
                a->lse[t * a->H + h] = (float)(max + log(sum));
                for (int64_t d = 0; d < a->dv; d++) {
                    double o = 0;
                    for (int64_t u = a->offset[b]; u <= t + a->past; u++)
                        o += s[u - a->offset[b]] / sum * value(&p, u)[d];
                    a->o[t * a->ldo + h * a->dv + d] = (float)o;
                }
            }
}

/* Rows of zeros before anything is added; every head of the keys and values, nothing between them. */
static void clear(const struct attention_args *a, const struct attention_grads *g)
{
    for (int64_t t = a->offset[0]; t < a->offset[a->B]; t++) {
        memset(g->dq + t * a->ldq, 0, (size_t)(a->H * (a->dn + a->dr)) * sizeof(float));
        for (int64_t h = 0; h < a->Hk; h++) {
            memset(g->dk + t * a->ldk + h * a->k_head, 0, (size_t)a->dn * sizeof(float));
            memset(g->dv + t * a->ldv + h * a->v_head, 0, (size_t)a->dv * sizeof(float));
        }
        if (a->dr)
            memset(g->dkr + t * a->ldkr, 0, (size_t)a->dr * sizeof(float));
    }
}

/* What the pair (t, u) adds: with ds = p·(dp − Σ_d do·o)·scale,
 *     o = Σ p·v        dv[u] += p·do           dp = do·v
 *     s = scale·q·k    dq[t] += ds·k[u]        dk[u] += ds·q[t]
 */
static void pair(const struct place *pl, const struct attention_grads *g, int64_t t, int64_t u,
                 double delta)
{
    const struct attention_args *a = pl->a;
    const float *d_o = g->d_o + t * a->ldo + pl->h * a->dv, *v = value(pl, u);
    const float *q = a->q + t * a->ldq + pl->h * (a->dn + a->dr),
                *k = a->k + u * a->ldk + pl->kh * a->k_head;
    float *dq = g->dq + t * a->ldq + pl->h * (a->dn + a->dr),
          *dk = g->dk + u * a->ldk + pl->kh * a->k_head;
    float *dv = g->dv + u * a->ldv + pl->kh * a->v_head;
    double p = exp(score(pl, t, u) - a->lse[t * a->H + pl->h]), dp = 0;
    for (int64_t d = 0; d < a->dv; d++) {
        dp += (double)d_o[d] * v[d];
        dv[d] += (float)(p * d_o[d]);
    }
    double ds = p * (dp - delta) * a->scale;
    for (int64_t i = 0; i < a->dn; i++) {
        dq[i] += (float)(ds * k[i]);
        dk[i] += (float)(ds * q[i]);
    }
    for (int64_t i = 0; i < a->dr; i++) {
        dq[a->dn + i] += (float)(ds * a->kr[u * a->ldkr + i]);
        g->dkr[u * a->ldkr + i] += (float)(ds * q[a->dn + i]);
    }
}

void ref_attention_backward(struct device *dev, const struct attention_args *a,
                            const struct attention_grads *g)
{
    (void)dev;
    clear(a, g);
    for (int64_t b = 0; b < a->B; b++)
        for (int64_t h = 0; h < a->H; h++)
            for (int64_t t = a->offset[b]; t < a->offset[b + 1]; t++) {
                struct place p = {a, h, h / (a->H / a->Hk)};
                double delta = 0;
                for (int64_t d = 0; d < a->dv; d++)
                    delta += (double)g->d_o[t * a->ldo + h * a->dv + d] *
                             a->o[t * a->ldo + h * a->dv + d];
                for (int64_t u = a->offset[b]; u <= t; u++)
                    pair(&p, g, t, u, delta);
            }
}
