/* Attention: every table against the reference, the reference against finite differences, sameness. */
#include "test_kernels.h"

struct shape {
    int64_t B, H, Hk, dn, dr, dv;
    int32_t offset[6];
    int pad;
};

static const struct shape shapes[] = {
    {1, 1, 1, 4, 0, 4, {0, 1}, 0},
    {1, 2, 2, 32, 16, 32, {0, 300}, 0},
    {3, 3, 3, 24, 16, 32, {0, 0, 65, 78}, 3},
    {2, 2, 2, 5, 2, 7, {2, 131, 140}, 1},
    {2, 4, 2, 33, 0, 17, {0, 1, 270}, 0},
    {1, 6, 1, 15, 4, 40, {0, 129}, 5},
    {1, 1, 1, 128, 64, 128, {0, 140}, 0},
    {1, 1, 1, 250, 64, 20, {0, 9}, 0},
    {1, 2, 2, 8, 0, 8, {0, 700}, 0},
    {2, 6, 3, 70, 10, 90, {0, 65, 194}, 2},
};

/* All arrays of one call, with the same pads between rows and heads everywhere. */
struct arrays {
    struct attention_args a;
    struct attention_grads g;
    float *o, *lse, *q, *k, *kr, *v, *d_o, *dq, *dk, *dkr, *dv;
    int64_t T, no, nq, nk, nkr, nv;
};

static struct arrays arrays_new(const struct shape *s, enum dtype compute)
{
    struct arrays r = {.T = s->offset[s->B]};
    struct attention_args *a = &r.a;
    *a = (struct attention_args){.offset = s->offset,
                                 .B = s->B,
                                 .H = s->H,
                                 .Hk = s->Hk,
                                 .dn = s->dn,
                                 .dr = s->dr,
                                 .dv = s->dv};
    a->compute = compute;
    a->scale = 1 / sqrtf((float)(s->dn + s->dr));
    a->k_head = s->dn + s->pad, a->v_head = s->dv + s->pad;
    a->ldo = s->H * s->dv + s->pad, a->ldq = s->H * (s->dn + s->dr) + s->pad;
    a->ldk = s->Hk * a->k_head, a->ldv = s->Hk * a->v_head, a->ldkr = s->dr + s->pad;
    r.no = r.T * a->ldo, r.nq = r.T * a->ldq, r.nk = r.T * a->ldk, r.nkr = r.T * a->ldkr,
    r.nv = r.T * a->ldv;
    a->q = r.q = randoms(r.nq, 1), a->k = r.k = randoms(r.nk, 2), a->kr = r.kr = randoms(r.nkr, 3);
    a->v = r.v = randoms(r.nv, 4), a->o = r.o = randoms(r.no, 5),
    a->lse = r.lse = randoms(r.T * s->H, 6);
    if (s->dr == 0)
        a->kr = NULL;
    r.g = (struct attention_grads){r.d_o = randoms(r.no, 7), r.dq = randoms(r.nq, 8),
                                   r.dk = randoms(r.nk, 9), r.dkr = randoms(r.nkr, 10),
                                   r.dv = randoms(r.nv, 11)};
    return r;
}

static void arrays_free(struct arrays *r)
{
    float *all[] = {r->o, r->lse, r->q, r->k, r->kr, r->v, r->d_o, r->dq, r->dk, r->dkr, r->dv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static struct arrays run(struct device *dev, const struct shape *s, enum dtype compute)
{
    struct arrays r = arrays_new(s, compute);
    dev->k->attention_forward(dev, &r.a);
    dev->k->attention_backward(dev, &r.a, &r.g);
    check_guard(r.o, r.no);
    check_guard(r.dq, r.nq);
    check_guard(r.dk, r.nk);
    check_guard(r.dkr, r.nkr);
    check_guard(r.dv, r.nv);
    return r;
}

static void attention_agrees_with_the_reference(void **state)
{
    (void)state;
    struct device *ref = open_table(0, 1);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct arrays want = run(ref, &shapes[i], DT_F32);
        for (int t = 1; t < N_ALL_TABLES; t++) {
            struct device *dev = open_table(t, 2);
            for (int bf16 = 0; dev && bf16 < 2; bf16++) {
                struct arrays got = run(dev, &shapes[i], bf16 ? DT_BF16 : DT_F32);
                enum limit forward = bf16 && dev->bf16_units ? ATTENTION_BF16 : ATTENTION;
                enum limit backward =
                    bf16 && dev->bf16_units ? ATTENTION_GRADIENT_BF16 : ATTENTION_GRADIENT;
                char where[64];
                snprintf(where, sizeof where, "%s shape %zu bf16 %d", dev->k->name, i, bf16);
                check_close(forward, where, got.o, want.o, want.no);
                check_close(forward, where, got.lse, want.lse, want.T * shapes[i].H);
                check_close(backward, where, got.dq, want.dq, want.nq);
                check_close(backward, where, got.dk, want.dk, want.nk);
                check_close(backward, where, got.dkr, want.dkr, want.nkr);
                check_close(backward, where, got.dv, want.dv, want.nv);
                arrays_free(&got);
            }
            device_close(dev);
        }
        arrays_free(&want);
    }
    device_close(ref);
}

/* Σ o·d_o as a function of the inputs. */
static double objective(struct device *dev, struct arrays *r)
{
    const struct attention_args *a = &r->a;
    double sum = 0;
    dev->k->attention_forward(dev, a);
    for (int64_t t = a->offset[0]; t < r->T; t++)
        for (int64_t i = 0; i < a->H * a->dv; i++)
            sum += (double)r->o[t * a->ldo + i] * r->d_o[t * a->ldo + i];
    return sum;
}

/* One direction in all inputs at once: the slope by central differences against the product with the gradient. */
static void the_references_gradient_is_the_slope_of_its_forward(void **state)
{
    (void)state;
    struct shape s = {2, 4, 2, 6, 4, 5, {0, 7, 20}, 0};
    struct device *ref = open_table(0, 1);
    struct arrays r = arrays_new(&s, DT_F32);
    float *inputs[] = {r.q, r.k, r.kr, r.v}, *grads[] = {r.dq, r.dk, r.dkr, r.dv};
    int64_t sizes[] = {r.nq, r.nk, r.nkr, r.nv};
    double slope = 0, side[2];
    const float h = 1e-3f;
    ref->k->attention_forward(ref, &r.a);
    ref->k->attention_backward(ref, &r.a, &r.g);
    for (int sign = 0; sign < 2; sign++) {
        for (int i = 0; i < 4; i++) {
            float *d = randoms(sizes[i], 20 + (uint64_t)i);
            for (int64_t j = 0; j < sizes[i]; j++) {
                if (!sign)
                    slope += (double)d[j] * grads[i][j];
                inputs[i][j] += (sign ? -2 : 1) * h * d[j];
            }
            free(d);
        }
        side[sign] = objective(ref, &r);
    }
    double measured = (side[0] - side[1]) / (2 * (double)h);
    assert_true(fabs(measured - slope) < 1e-3 * fabs(slope));
    arrays_free(&r);
    device_close(ref);
}

static void attention_gives_the_same_bits_again_and_on_other_threads(void **state)
{
    (void)state;
    for (int t = 1; t < N_ALL_TABLES; t++)
        for (int bf16 = 0; bf16 < 2; bf16++) {
            struct arrays first = {.T = -1};
            for (int threads = 1; threads <= 3; threads++) {
                struct device *dev = open_table(t, threads);
                if (!dev)
                    continue;
                struct arrays r = run(dev, &shapes[1], bf16 ? DT_BF16 : DT_F32);
                if (first.T < 0)
                    first = run(dev, &shapes[1], bf16 ? DT_BF16 : DT_F32);
                check_same("o", r.o, first.o, r.no);
                check_same("dq", r.dq, first.dq, r.nq);
                check_same("dk", r.dk, first.dk, r.nk);
                check_same("dkr", r.dkr, first.dkr, r.nkr);
                check_same("dv", r.dv, first.dv, r.nv);
                arrays_free(&r);
                device_close(dev);
            }
            if (first.T >= 0)
                arrays_free(&first);
        }
}

/* A prompt that goes on: 75 queries, the last of 175 positions. */
static void queries_may_begin_later_than_their_keys(void **state)
{
    (void)state;
    struct shape s = {1, 4, 2, 40, 8, 24, {0, 175}, 1};
    struct device *ref = open_table(0, 1);
    for (int t = 1; t < N_ALL_TABLES; t++) {
        struct device *dev = open_table(t, 2);
        for (int bf16 = 0; dev && bf16 < 2; bf16++) {
            struct arrays all = arrays_new(&s, DT_F32), got = arrays_new(&s, DT_F32);
            int32_t late[] = {0, 75};
            ref->k->attention_forward(ref, &all.a);
            got.a.offset = late;
            got.a.past = 100;
            got.a.q += 100 * got.a.ldq;
            got.a.compute = bf16 ? DT_BF16 : DT_F32;
            dev->k->attention_forward(dev, &got.a);
            for (int64_t u = 0; u < 75; u++)
                check_close(bf16 && dev->bf16_units ? ATTENTION_BF16 : ATTENTION, dev->k->name,
                            got.o + u * got.a.ldo, all.o + (100 + u) * all.a.ldo, s.H * s.dv);
            arrays_free(&all);
            arrays_free(&got);
        }
        device_close(dev);
    }
    device_close(ref);
}

/* More sequences than a launch carries, of 0 to 4 rows: each query sees its own sequence only. */
static void hundreds_of_sequences_stay_apart(void **state)
{
    (void)state;
    enum { B = 300, T = 2 * B };
    struct shape s = {1, 2, 1, 4, 2, 3, {0, T}, 1};
    int32_t offset[B + 1] = {0};
    for (int b = 0; b < B; b++)
        offset[b + 1] = offset[b] + (b * 7 + 3) % 5;
    assert_true(offset[B] <= T);
    struct device *ref = open_table(0, 1);
    for (int t = 1; t < N_ALL_TABLES; t++) {
        struct device *dev = open_table(t, 2);
        for (int bf16 = 0; dev && bf16 < 2; bf16++) {
            struct arrays want = arrays_new(&s, DT_F32), got = arrays_new(&s, DT_F32);
            struct arrays *both[] = {&want, &got};
            for (int i = 0; i < 2; i++) {
                struct device *d = i ? dev : ref;
                both[i]->a.offset = offset;
                both[i]->a.B = B;
                both[i]->a.compute = i && bf16 ? DT_BF16 : DT_F32;
                d->k->attention_forward(d, &both[i]->a);
                d->k->attention_backward(d, &both[i]->a, &both[i]->g);
            }
            bool rounded = bf16 && dev->bf16_units;
            enum limit gradient = rounded ? ATTENTION_GRADIENT_BF16 : ATTENTION_GRADIENT;
            check_close(rounded ? ATTENTION_BF16 : ATTENTION, "o", got.o, want.o, want.no);
            check_close(gradient, "dq", got.dq, want.dq, want.nq);
            check_close(gradient, "dk", got.dk, want.dk, want.nk);
            check_close(gradient, "dkr", got.dkr, want.dkr, want.nkr);
            check_close(gradient, "dv", got.dv, want.dv, want.nv);
            arrays_free(&want);
            arrays_free(&got);
        }
        device_close(dev);
    }
    device_close(ref);
}

static void a_nan_reaches_later_positions_only(void **state)
{
    (void)state;
    for (int t = 0; t < N_ALL_TABLES; t++) {
        struct device *dev = open_table(t, 2);
        if (!dev)
            continue;
        struct shape s = {1, 1, 1, 8, 0, 8, {0, 150}, 0};
        struct arrays r = arrays_new(&s, DT_F32);
        r.k[140 * 8 + 3] = NAN;
        dev->k->attention_forward(dev, &r.a);
        for (int64_t u = 0; u < 150; u++)
            assert_int_equal(isnan(r.o[u * 8]) != 0, u >= 140);
        arrays_free(&r);
        device_close(dev);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_references_gradient_is_the_slope_of_its_forward),
        cmocka_unit_test(attention_agrees_with_the_reference),
        cmocka_unit_test(attention_gives_the_same_bits_again_and_on_other_threads),
        cmocka_unit_test(queries_may_begin_later_than_their_keys),
        cmocka_unit_test(hundreds_of_sequences_stay_apart),
        cmocka_unit_test(a_nan_reaches_later_positions_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
