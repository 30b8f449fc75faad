/* Norms, activations, embedding, loss, optimizer and the small walks: every table against the reference, the reference against
 * finite differences, sameness, NaN. */
#include "test_kernels.h"

/* One kernel's run on fresh arrays of a size; the outputs are appended to out. Runs alike on every table. */
struct outputs {
    struct {
        const char *name;
        enum limit limit;
        float *p;
        int64_t n;
    } all[4];
    int n;
};

static void keep(struct outputs *o, const char *name, enum limit limit, float *p, int64_t n)
{
    check_guard(p, n);
    o->all[o->n].name = name;
    o->all[o->n].limit = limit;
    o->all[o->n].p = p;
    o->all[o->n++].n = n;
}

static void outputs_free(struct outputs *o)
{
    for (int i = 0; i < o->n; i++)
        free(o->all[i].p);
}

static void rmsnorm(struct device *dev, struct outputs *o, int64_t T, int64_t D)
{
    int64_t ldx = D + (D % 8 ? 3 : 4), ldy = D + (D % 8 ? 1 : 8); /* 16-byte loads or not */
    float *x = randoms(T * ldx, 1), *w = randoms(D, 2), *y = randoms(T * ldy, 3),
          *rstd = randoms(T, 4);
    float *dx = randoms(T * ldx, 5), *dw = randoms(D, 6), *dy = randoms(T * ldy, 7);
    dev->k->rmsnorm_forward(dev, y, rstd, x, w, T, D, ldy, ldx, 1e-5f);
    dev->k->rmsnorm_backward(dev, dx, dw, dy, x, w, rstd, T, D, ldy, ldx);
    dev->k->rmsnorm_backward(dev, dx, NULL, dy, x, w, rstd, T, D, ldy, ldx);
    keep(o, "y", ROW, y, T * ldy);
    keep(o, "rstd", ROW, rstd, T);
    keep(o, "dx", ROW, dx, T * ldx);
    keep(o, "dw", COLUMN, dw, D);
    free(x);
    free(w);
    free(dy);
}

static void rope(struct device *dev, struct outputs *o, int64_t T, int64_t D)
{
    int64_t dr = 2 * D, heads = 3, x_head = dr + (D % 8 ? 1 : 2), ldx = heads * x_head + 2;
    float *x = randoms(T * ldx, 1), *cosines = randoms(T * D, 2), *sines = randoms(T * D, 3);
    int32_t *pos = calloc((size_t)T + 1, sizeof *pos);
    for (int64_t t = 0; t < T; t++)
        pos[t] = (int32_t)(t * 5 % T);
    dev->k->rope(dev, x, pos, cosines, sines, T, heads, dr, ldx, x_head, T % 2 ? 1 : -1);
    float *halves = randoms(T * ldx, 4);
    dev->k->rope_half(dev, halves, pos, cosines, sines, T, heads, dr, ldx, x_head, T % 2 ? -1 : 1);
    keep(o, "x", ELEMENT, x, T * ldx);
    keep(o, "x by halves", ELEMENT, halves, T * ldx);
    free(cosines);
    free(sines);
    free(pos);
}

static void bias(struct device *dev, struct outputs *o, int64_t T, int64_t N)
{
    int64_t ld = N + (N % 8 ? 3 : 4);
    float *y = randoms(T * ld, 1), *b = randoms(N, 2), *dy = randoms(T * ld, 3),
          *db = randoms(N, 4);
    dev->k->bias_forward(dev, y, b, T, N, ld);
    dev->k->bias_backward(dev, db, dy, T, N, ld);
    keep(o, "y", ELEMENT, y, T * ld);
    keep(o, "db", COLUMN, db, N);
    free(b);
    free(dy);
}

static void relu(struct device *dev, struct outputs *o, int64_t T, int64_t N)
{
    float *y = randoms(T * N, 1), *b = randoms(N, 2), *dy = randoms(T * N, 3), *db = randoms(N, 4);
    dev->k->relu_forward(dev, y, b, T, N);
    dev->k->relu_backward(dev, dy, db, y, T, N);
    keep(o, "y", EXACT, y, T * N);
    keep(o, "dy", EXACT, dy, T * N);
    keep(o, "db", COLUMN, db, N);
    free(b);
}

static void swiglu(struct device *dev, struct outputs *o, int64_t T, int64_t F)
{
    float *gu = randoms(T * 2 * F, 1), *h = randoms(T * F, 2), *dh = randoms(T * F, 3),
          *weight = randoms(T, 4);
    float *dgu = randoms(T * 2 * F, 5), *dweight = randoms(T, 6), *hw = randoms(T * F, 7);
    for (int64_t i = 0; i < T * 2 * F; i += 7)
        gu[i] *= 40; /* where the logistic function saturates */
    dev->k->swiglu_forward(dev, h, gu, T, F);
    dev->k->swiglu_backward(dev, dgu, dweight, hw, dh, gu, weight, T, F);
    keep(o, "h", ELEMENT, h, T * F);
    keep(o, "dgu", ELEMENT, dgu, T * 2 * F);
    keep(o, "hw", ELEMENT, hw, T * F);
    keep(o, "dweight", ROW, dweight, T);
    free(gu);
    free(dh);
    free(weight);
}

static void swiglu_without_weights_in_place(struct device *dev, struct outputs *o, int64_t T,
                                            int64_t F)
{
    float *gu = randoms(T * 2 * F, 1), *dh = randoms(T * F, 3), *hw = randoms(T * F, 7);
    dev->k->swiglu_backward(dev, gu, NULL, hw, dh, gu, NULL, T, F);
    keep(o, "dgu", ELEMENT, gu, T * 2 * F);
    keep(o, "hw", ELEMENT, hw, T * F);
    free(dh);
}

static void combine(struct device *dev, struct outputs *o, int64_t T, int64_t D)
{
    int64_t S = 3 * T;
    float *y = randoms(T * D, 1), *x = randoms(S * D, 2), *weight = randoms(S, 3);
    int32_t *first = calloc((size_t)T + 1, sizeof *first),
            *slot = calloc((size_t)S + 1, sizeof *slot);
    for (int64_t t = 0; t < T; t++)
        first[t + 1] = first[t] + (int32_t)(t * 3 % 4); /* 0 to 3 slots a token */
    for (int64_t s = 0; s < S; s++)
        slot[s] = (int32_t)(s * 11 % S);
    dev->k->combine(dev, y, x, weight, first, slot, T, D);
    dev->k->combine(dev, y, x, NULL, first, slot, T, D);
    keep(o, "y", ELEMENT, y, T * D);
    free(x);
    free(weight);
    free(first);
    free(slot);
}

static void embed(struct device *dev, struct outputs *o, int64_t T, int64_t D)
{
    int64_t V = T / 2 + 1;
    float *table = randoms(V * D, 1), *y = randoms(T * D, 2), *y_half = randoms(T * D, 2),
          *dtable = randoms(V * D, 3);
    float *dy = randoms(T * D, 4);
    uint16_t *half = calloc((size_t)(V * D) + 1, sizeof *half);
    int32_t *ids = calloc((size_t)T + 1, sizeof *ids);
    dev->k->to_bf16(dev, half, table, V * D);
    for (int64_t t = 0; t < T; t++)
        ids[t] = (int32_t)(t % 5 ? t * t % V : 0); /* one token again and again */
    dev->k->embed_forward(dev, y, table, DT_F32, ids, T, D);
    dev->k->embed_forward(dev, y_half, half, DT_BF16, ids, T, D);
    dev->k->embed_backward(dev, dtable, dy, ids, T, D, V);
    keep(o, "y", EXACT, y, T * D);
    keep(o, "y of bf16", EXACT, y_half, T * D);
    keep(o, "dtable", EXACT, dtable, V * D);
    free(table);
    free(dy);
    free(half);
    free(ids);
}

static void walks(struct device *dev, struct outputs *o, int64_t T, int64_t D)
{
    int64_t n = T * D;
    float *y = randoms(n, 1), *x = randoms(n, 2), *filled = randoms(n, 3), *norm = randoms(T, 4);
    dev->k->fill(dev, filled, 2.5f, n);
    dev->k->copy(dev, filled, x, n / 2);
    dev->k->axpy(dev, y, x, -0.3f, n);
    dev->k->row_norm(dev, norm, x, T, D);
    keep(o, "axpy", ELEMENT, y, n);
    keep(o, "fill, copy", EXACT, filled, n);
    keep(o, "row_norm", ROW, norm, T);
    free(x);
}

static void adamw(struct device *dev, struct outputs *o, int64_t T, int64_t D)
{
    int64_t n = T * D;
    float *p = randoms(n, 1), *m = randoms(n, 2), *v = randoms(n, 3), *g = randoms(n, 4);
    uint16_t *half = calloc((size_t)n + 1, sizeof *half);
    for (int64_t i = 0; i < n; i++)
        v[i] *= v[i];
    struct adamw_args a = {p,    m,      v,     g,    half, n,    1e-2f,
                           0.9f, 0.999f, 1e-8f, 0.1f, 0.5f, 0.1f, 1e-3f};
    dev->k->adamw(dev, &a);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(half[i], f32_to_bf16(p[i]));
    a.p_bf16 = NULL;
    dev->k->adamw(dev, &a);
    keep(o, "p", ROW, p, n);
    keep(o, "m", ROW, m, n);
    keep(o, "v", ROW, v, n);
    free(g);
    free(half);
}

static void cross_entropy(struct device *dev, struct outputs *o, int64_t T, int64_t V)
{
    int64_t ldl = V + (V % 8 ? 2 : 4);
    float *logits = randoms(T * ldl, 1), *nll = randoms(T, 2), *other = randoms(T, 3),
          *right = randoms(T, 4);
    float *before = copy_of(logits, T * ldl);
    int32_t *target = calloc((size_t)T + 1, sizeof *target);
    uint8_t *hits = calloc((size_t)T + 1, 1);
    for (int64_t t = 0; t < T; t++) {
        target[t] = t % 5 == 3 ? -1 : (int32_t)(t * 7 % V);
        if (t % 3 == 0 && target[t] >= 0)
            logits[t * ldl + target[t]] = before[t * ldl + target[t]] = 5;
        if (t % 6 == 0)
            logits[t * ldl + V - 1] = before[t * ldl + V - 1] = 5; /* a tie, which the first wins */
    }
    dev->k->cross_entropy(dev, other, NULL, logits, target, T, V, ldl, 0);
    check_same("logits of evaluation", logits, before, T * ldl);
    dev->k->cross_entropy(dev, nll, hits, logits, target, T, V, ldl, 0.25f);
    check_same("nll of both calls", nll, other, T);
    for (int64_t t = 0; t < T; t++)
        right[t] = hits[t];
    keep(o, "nll", ROW, nll, T);
    keep(o, "logits", ELEMENT, logits, T * ldl);
    keep(o, "right", EXACT, right, T);
    free(other);
    free(before);
    free(target);
    free(hits);
}

static const struct {
    const char *name;
    void (*run)(struct device *dev, struct outputs *o, int64_t T, int64_t D);
} cases[] = {
    {"rmsnorm", rmsnorm},
    {"rope", rope},
    {"bias", bias},
    {"swiglu", swiglu},
    {"swiglu in place", swiglu_without_weights_in_place},
    {"relu", relu},
    {"combine", combine},
    {"embed", embed},
    {"walks", walks},
    {"adamw", adamw},
    {"cross_entropy", cross_entropy},
};

static const struct {
    int64_t T, D;
} sizes[] = {{0, 5},  {1, 1},   {1, 8},    {2, 15},    {7, 16},
             {3, 33}, {65, 24}, {97, 256}, {33, 1031}, {5, 5000}};

static void every_row_kernel_agrees_with_the_reference(void **state)
{
    (void)state;
    struct device *ref = open_table(0, 1);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            struct outputs want = {.n = 0};
            cases[c].run(ref, &want, sizes[s].T, sizes[s].D);
            for (int t = 1; t < N_ALL_TABLES; t++) {
                struct device *dev = open_table(t, 2), *one = open_table(t, 1);
                struct outputs got = {.n = 0}, again = {.n = 0};
                if (!dev)
                    continue;
                cases[c].run(dev, &got, sizes[s].T, sizes[s].D);
                cases[c].run(one, &again, sizes[s].T, sizes[s].D);
                for (int i = 0; i < got.n; i++) {
                    char where[128];
                    snprintf(where, sizeof where, "%s %s of %s, %lld x %lld", dev->k->name,
                             got.all[i].name, cases[c].name, (long long)sizes[s].T,
                             (long long)sizes[s].D);
                    check_close(got.all[i].limit, where, got.all[i].p, want.all[i].p,
                                want.all[i].n);
                    check_same(where, got.all[i].p, again.all[i].p, want.all[i].n);
                }
                outputs_free(&got);
                outputs_free(&again);
                device_close(dev);
                device_close(one);
            }
            outputs_free(&want);
        }
    device_close(ref);
}

static void reductions_agree_whatever_the_threads(void **state)
{
    (void)state;
    enum { N = 50001 };
    float *x = randoms(N, 1);
    struct device *ref = open_table(0, 1);
    double want = ref->k->sum_squares(ref, x, N);
    for (int t = 0; t < N_ALL_TABLES; t++)
        for (int threads = 1; threads <= 3; threads++) {
            struct device *dev = open_table(t, threads), *one = open_table(t, 1);
            if (!dev)
                continue;
            double got = dev->k->sum_squares(dev, x, N);
            assert_true(fabs(got - want) < 1e-12 * want);
            assert_true(got == one->k->sum_squares(one, x, N));
            assert_true(dev->k->sum_squares(dev, x, 0) == 0);
            assert_int_equal(dev->k->find_nonfinite(dev, x, N), -1);
            const int64_t places[] = {0, 7, 8191, 8192, 40000, N - 1};
            for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
                float kept = x[places[i]], last = x[N - 1];
                x[N - 1] = INFINITY;
                x[places[i]] = i % 2 ? NAN : -INFINITY;
                assert_int_equal(dev->k->find_nonfinite(dev, x, N), places[i]);
                assert_int_equal(dev->k->find_nonfinite(dev, x, places[i]), -1);
                assert_false(isfinite(dev->k->sum_squares(dev, x, N)));
                x[N - 1] = last;
                x[places[i]] = kept;
            }
            device_close(dev);
            device_close(one);
        }
    device_close(ref);
    free(x);
}

static void rounding_to_bf16_is_exact_for_every_kind_of_number(void **state)
{
    (void)state;
    enum { N = 1 << 16 };
    float *x = randoms(N, 1);
    uint16_t *got = calloc(N, sizeof *got);
    for (uint32_t i = 0; i < N;
         i++) { /* all exponents, signs and ties; NaN and infinity among them */
        uint32_t u = i << 16 | (i % 4 == 0   ? 0x8000
                                : i % 4 == 1 ? 0x7fff
                                : i % 4 == 2 ? 0x8001
                                             : 0);
        memcpy(&x[i], &u, sizeof u);
    }
    for (int t = 0; t < N_ALL_TABLES; t++) {
        struct device *dev = open_table(t, 2);
        if (!dev)
            continue;
        dev->k->to_bf16(dev, got, x, N);
        for (int i = 0; i < N; i++)
            assert_int_equal(got[i], f32_to_bf16(x[i]));
        device_close(dev);
    }
    free(x);
    free(got);
}

static void a_nan_stays_visible(void **state)
{
    (void)state;
    for (int t = 0; t < N_ALL_TABLES; t++) {
        struct device *dev = open_table(t, 2);
        if (!dev)
            continue;
        float *x = malloc(40 * sizeof *x), *w = malloc(40 * sizeof *w), *y = malloc(40 * sizeof *y),
              *rstd = malloc(sizeof *rstd), *nll = malloc(sizeof *nll), *h = malloc(20 * sizeof *h);
        int32_t *target = malloc(sizeof *target);
        *target = 1;
        for (int i = 0; i < 40; i++)
            x[i] = w[i] = (float)i;
        x[17] = NAN;
        dev->k->rmsnorm_forward(dev, y, rstd, x, w, 1, 40, 40, 40, 1e-6f);
        assert_true(isnan(*rstd) && isnan(y[0]));
        dev->k->swiglu_forward(dev, h, x, 1, 20);
        assert_true(isnan(h[17]) && !isnan(h[16]));
        dev->k->cross_entropy(dev, nll, NULL, x, target, 1, 40, 40, 1);
        assert_true(isnan(*nll));
        free(x);
        free(w);
        free(y);
        free(rstd);
        free(nll);
        free(h);
        free(target);
        device_close(dev);
    }
}

/* ---- the reference's backward passes against the slopes of its forwards ---- */

static void check_slope(double up, double down, double h, double want)
{
    double slope = (up - down) / (2 * h);
    if (!(fabs(slope - want) < 2e-3 * fabs(want) + 1e-4))
        fail_msg("the slope is %g, the gradient says %g", slope, want);
}

static double weighted(const float *y, const float *dy, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)y[i] * dy[i];
    return sum;
}

static void rmsnorms_gradient_is_the_slope(void **state)
{
    (void)state;
    enum { T = 4, D = 9 };
    struct device *ref = open_table(0, 1);
    float *x = randoms(T * D, 1), *w = randoms(D, 2), *dy = randoms(T * D, 3),
          *ex = randoms(T * D, 4), *ew = randoms(D, 5);
    float y[T * D], rstd[T], dx[T * D] = {0}, dw[D] = {0};
    double side[2];
    ref->k->rmsnorm_forward(ref, y, rstd, x, w, T, D, D, D, 1e-3f);
    ref->k->rmsnorm_backward(ref, dx, dw, dy, x, w, rstd, T, D, D, D);
    for (int s = 0; s < 2; s++) {
        ref->k->axpy(ref, x, ex, s ? -2e-3f : 1e-3f, T * D);
        ref->k->axpy(ref, w, ew, s ? -2e-3f : 1e-3f, D);
        ref->k->rmsnorm_forward(ref, y, rstd, x, w, T, D, D, D, 1e-3f);
        side[s] = weighted(y, dy, T * D);
    }
    check_slope(side[0], side[1], 1e-3, weighted(dx, ex, T * D) + weighted(dw, ew, D));
    free(x);
    free(w);
    free(dy);
    free(ex);
    free(ew);
    device_close(ref);
}

static void swiglus_gradient_is_the_slope(void **state)
{
    (void)state;
    enum { T = 3, F = 7 };
    struct device *ref = open_table(0, 1);
    float *gu = randoms(T * 2 * F, 1), *dy = randoms(T * F, 2), *weight = randoms(T, 3),
          *e = randoms(T * 2 * F, 4);
    float *ew = randoms(T, 5), h[T * F], dgu[T * 2 * F], dweight[T], hw[T * F];
    double side[2];
    ref->k->swiglu_backward(ref, dgu, dweight, hw, dy, gu, weight, T, F);
    for (int s = 0; s < 2; s++) { /* L = Σ weight · h · dy */
        ref->k->axpy(ref, gu, e, s ? -2e-3f : 1e-3f, T * 2 * F);
        ref->k->axpy(ref, weight, ew, s ? -2e-3f : 1e-3f, T);
        ref->k->swiglu_forward(ref, h, gu, T, F);
        side[s] = 0;
        for (int t = 0; t < T; t++)
            side[s] += weight[t] * weighted(h + t * F, dy + t * F, F);
    }
    check_slope(side[0], side[1], 1e-3, weighted(dgu, e, T * 2 * F) + weighted(dweight, ew, T));
    free(gu);
    free(dy);
    free(weight);
    free(e);
    free(ew);
    device_close(ref);
}

static void cross_entropys_gradient_is_the_slope(void **state)
{
    (void)state;
    enum { T = 4, V = 11 };
    struct device *ref = open_table(0, 1);
    float *x = randoms(T * V, 1), *e = randoms(T * V, 2), *g = copy_of(x, T * V), nll[T];
    const int32_t target[T] = {0, 10, -1, 4};
    double side[2];
    ref->k->cross_entropy(ref, nll, NULL, g, target, T, V, V, 0.5f);
    for (int s = 0; s < 2; s++) {
        ref->k->axpy(ref, x, e, s ? -2e-3f : 1e-3f, T * V);
        ref->k->cross_entropy(ref, nll, NULL, x, target, T, V, V, 0);
        side[s] = 0.5 * ((double)nll[0] + nll[1] + nll[2] + nll[3]);
    }
    check_slope(side[0], side[1], 1e-3, weighted(g, e, T * V));
    free(x);
    free(e);
    free(g);
    device_close(ref);
}

static void turning_back_undoes_a_rotation(void **state)
{
    (void)state;
    struct device *ref = open_table(0, 1);
    float x[] = {1, 2, 3, 4}, c[] = {0.6f, 0.8f}, s[] = {0.8f, 0.6f};
    int32_t pos = 0;
    ref->k->rope(ref, x, &pos, c, s, 1, 1, 4, 4, 4, 1);
    assert_float_equal(x[0], -1, 1e-6);
    assert_float_equal(x[1], 2, 1e-6);
    ref->k->rope(ref, x, &pos, c, s, 1, 1, 4, 4, 4, -1);
    for (int i = 0; i < 4; i++)
        assert_float_equal(x[i], i + 1, 1e-6);
    device_close(ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorms_gradient_is_the_slope),
        cmocka_unit_test(swiglus_gradient_is_the_slope),
        cmocka_unit_test(cross_entropys_gradient_is_the_slope),
        cmocka_unit_test(turning_back_undoes_a_rotation),
        cmocka_unit_test(every_row_kernel_agrees_with_the_reference),
        cmocka_unit_test(reductions_agree_whatever_the_threads),
        cmocka_unit_test(rounding_to_bf16_is_exact_for_every_kind_of_number),
        cmocka_unit_test(a_nan_stays_visible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
