/* The kernels of encoders: every table against the reference at awkward shapes, the reference against formulas written anew, sameness
 * over threads, and what stands before and behind the outputs. */
#include "test_kernels.h"

struct dense_case {
    int64_t M, N, K;
    bool gated;
    enum dense_act act;
    bool bias, add;
};

static const struct dense_case dense_cases[] = {
    {1, 1, 1, false, DENSE_PLAIN, false, false},    {3, 17, 5, false, DENSE_GELU, true, false},
    {14, 32, 256, false, DENSE_PLAIN, true, true},  {15, 33, 257, false, DENSE_GELU, true, true},
    {32, 384, 384, false, DENSE_PLAIN, true, true}, {127, 96, 1536, false, DENSE_GELU, true, false},
    {257, 40, 70, false, DENSE_PLAIN, false, true}, {700, 48, 33, false, DENSE_PLAIN, true, false},
    {0, 8, 8, false, DENSE_PLAIN, true, false},     {1, 2, 3, true, DENSE_PLAIN, false, false},
    {29, 62, 300, true, DENSE_PLAIN, true, true},   {33, 128, 513, true, DENSE_PLAIN, false, false},
    {600, 100, 64, true, DENSE_PLAIN, false, true},
};

/* One product into fresh memory of pitch N + 3; the caller frees it. */
static float *dense(struct device *dev, const struct dense_case *c, enum dtype compute)
{
    int64_t n = c->gated ? c->N / 2 : c->N, ldy = n + 3, ldx = c->K + 1, ldadd = n + 2;
    float *y = randoms(c->M * ldy, 1), *x = randoms(c->M * ldx, 2), *w = randoms(c->N * c->K, 3),
          *bias = randoms(c->N, 4), *add = randoms(c->M * ldadd, 5);
    struct dense_weight weight = {NULL, c->N, c->K, compute, c->gated};
    size_t n_bytes = dev->k->dense_bytes(dev, &weight);
    weight.packed = device_alloc(dev, n_bytes, NULL);
    assert_non_null(weight.packed);
    dev->ops->zero(dev, weight.packed, n_bytes);
    dev->k->dense_pack(dev, &weight, w);
    struct dense_args a = {.y = y, .x = x, .w = &weight, .M = c->M, .ldy = ldy, .ldx = ldx};
    a.bias = c->bias ? bias : NULL;
    a.add = c->add ? add : NULL;
    a.ldadd = ldadd;
    a.act = c->act;
    dev->k->dense_forward(dev, &a);
    check_guard(y, c->M * ldy);
    device_free(dev, weight.packed, n_bytes);
    free(x);
    free(w);
    free(bias);
    free(add);
    return y;
}

static void products_agree(enum dtype compute, enum limit limit)
{
    for (size_t i = 0; i < sizeof dense_cases / sizeof *dense_cases; i++) {
        const struct dense_case *c = &dense_cases[i];
        int64_t n = c->M * ((c->gated ? c->N / 2 : c->N) + 3);
        struct device *reference = open_table(0, 1);
        float *want = dense(reference, c, compute);
        for (int table = 1; table < N_ALL_TABLES; table++) {
            char where[80];
            struct device *one = open_table(table, 1), *three = open_table(table, 3);
            if (!one)
                continue;
            float *got = dense(one, c, compute), *again = dense(three, c, compute);
            snprintf(where, sizeof where, "%s: case %zu", table_names[table], i);
            check_close(limit, where, got, want, n);
            check_same(where, got, again, n);
            free(got);
            free(again);
            device_close(one);
            device_close(three);
        }
        free(want);
        device_close(reference);
    }
}

static void packed_products_agree_with_the_reference_and_over_threads(void **state)
{
    (void)state;
    products_agree(DT_F32, PRODUCT);
}

static void packed_products_in_bf16_do_where_there_are_units_for_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof dense_cases / sizeof *dense_cases; i++) {
        const struct dense_case *c = &dense_cases[i];
        struct device *reference = open_table(0, 1);
        float *want = dense(reference, c, DT_BF16);
        for (int table = N_CPU_TABLES - 1; table < N_ALL_TABLES; table++) {
            struct device *fast = open_table(table, 2);
            if (!fast)
                continue;
            float *got = dense(fast, c, DT_BF16);
            check_close(PRODUCT_BF16, table_names[table], got, want,
                        c->M * ((c->gated ? c->N / 2 : c->N) + 3));
            free(got);
            device_close(fast);
        }
        free(want);
        device_close(reference);
    }
}

static void gelu_is_right_from_minus_twelve_to_twelve(void **state)
{
    (void)state;
    enum { N = 4801 };
    for (int table = 0; table < N_ALL_TABLES; table++) {
        struct device *dev = open_table(table, 1);
        if (!dev)
            continue;
        float *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y), one = 1, want[N];
        for (int i = 0; i < N; i++) {
            x[i] = (float)(i - N / 2) / 200;
            want[i] = (float)(0.5 * x[i] * erfc(-x[i] / sqrt(2)));
        }
        struct dense_weight w = {NULL, 1, 1, DT_F32, false};
        size_t n_bytes = dev->k->dense_bytes(dev, &w);
        w.packed = device_alloc(dev, n_bytes, NULL);
        dev->ops->zero(dev, w.packed, n_bytes);
        dev->k->dense_pack(dev, &w, &one);
        struct dense_args a = {.y = y, .x = x, .w = &w, .M = N, .ldy = 1, .ldx = 1};
        a.act = DENSE_GELU;
        dev->k->dense_forward(dev, &a);
        for (int i = 0; i < N; i++)
            if (!(fabs((double)y[i] - want[i]) <= 3e-7 * fmax(1, fabs((double)want[i]) / 4)))
                fail_msg("%s: gelu(%g) is %.9g, wanted %.9g", table_names[table], (double)x[i],
                         (double)y[i], (double)want[i]);
        device_free(dev, w.packed, n_bytes);
        device_close(dev);
        free(x);
        free(y);
    }
}

static void layer_norm_agrees_and_may_be_in_place(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{0, 4},  {1, 1},  {3, 7},    {2, 16},
                                       {5, 33}, {7, 48}, {64, 384}, {9, 1000}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t T = sizes[i][0], D = sizes[i][1];
        float *x = randoms(T * D, 1), *w = randoms(D, 2), *b = randoms(D, 3),
              *want = randoms(T * D, 4);
        for (int64_t j = 0; j < T * D; j++)
            x[j] += 3; /* far from zero, so that the mean matters */
        struct device *reference = open_table(0, 1);
        reference->k->layernorm_forward(reference, want, x, w, b, T, D, 1e-5f);
        device_close(reference);
        for (int table = 1; table < N_ALL_TABLES; table++) {
            struct device *dev = open_table(table, 2);
            if (!dev)
                continue;
            float *got = randoms(T * D, 5), *in_place = copy_of(x, T * D);
            dev->k->layernorm_forward(dev, got, x, w, b, T, D, 1e-5f);
            dev->k->layernorm_forward(dev, in_place, in_place, w, b, T, D, 1e-5f);
            check_guard(got, T * D);
            check_close(LAYERNORM, table_names[table], got, want, T * D);
            check_same("in place", in_place, got, T * D);
            free(got);
            free(in_place);
            device_close(dev);
        }
        free(x);
        free(w);
        free(b);
        free(want);
    }
}

static const int32_t ragged[] = {0, 1, 1, 34, 34 + 257, 34 + 257 + 600, 34 + 257 + 600 + 16};
enum { N_SEQUENCES = sizeof ragged / sizeof *ragged - 1 };

static float *attend(struct device *dev, int64_t H, int64_t d, float factor)
{
    int64_t T = ragged[N_SEQUENCES], ld = 3 * H * d + 2, ldo = H * d + 1;
    float *qkv = randoms(T * ld, 1), *o = randoms(T * ldo, 2);
    for (int64_t i = 0; i < T * ld; i++)
        qkv[i] *= factor;
    struct encoder_attention_args a = {.o = o, .q = qkv, .k = qkv + H * d, .v = qkv + 2 * H * d};
    a.ldo = ldo;
    a.ldqkv = ld;
    a.offset = ragged;
    a.B = N_SEQUENCES;
    a.H = H;
    a.d = d;
    a.scale = 1 / sqrtf((float)d);
    dev->k->encoder_attention(dev, &a);
    check_guard(o, T * ldo);
    free(qkv);
    return o;
}

static void attention_without_a_mask_agrees_over_ragged_sequences(void **state)
{
    (void)state;
    static const struct {
        int64_t H, d;
        float factor;
    } cases[] = {{1, 1, 1}, {2, 5, 1}, {3, 32, 1}, {2, 64, 3}, {1, 80, 1}, {1, 256, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t H = cases[i].H, d = cases[i].d, n = ragged[N_SEQUENCES] * (H * d + 1);
        struct device *reference = open_table(0, 1);
        float *want = attend(reference, H, d, cases[i].factor);
        device_close(reference);
        for (int table = 1; table < N_ALL_TABLES; table++) {
            struct device *one = open_table(table, 1), *two = open_table(table, 2);
            if (!one)
                continue;
            float *got = attend(one, H, d, cases[i].factor),
                  *again = attend(two, H, d, cases[i].factor);
            check_close(cases[i].factor > 1 ? ATTENTION_SHARP : ATTENTION, table_names[table], got,
                        want, n);
            check_same(table_names[table], got, again, n);
            free(got);
            free(again);
            device_close(one);
            device_close(two);
        }
        free(want);
    }
}

static void a_sequence_does_not_see_its_neighbours(void **state)
{
    (void)state;
    struct device *dev = NULL;
    assert_int_equal(0, device_open(&dev, "cpu", 1, NULL));
    int64_t H = 2, d = 8, ld = 3 * H * d;
    float *qkv = randoms(40 * ld, 1), both[40 * 16], alone[17 * 16];
    struct encoder_attention_args a = {.o = both, .q = qkv, .k = qkv + H * d, .v = qkv + 2 * H * d};
    a.ldo = H * d;
    a.ldqkv = ld;
    a.H = H;
    a.d = d;
    a.scale = 0.3f;
    a.B = 2;
    a.offset = (int32_t[]){0, 23, 40};
    dev->k->encoder_attention(dev, &a);
    a.B = 1;
    float *alone_from_row_0 = (float *)((uintptr_t)alone - 23 * 16 * sizeof *alone);
    a.o = alone_from_row_0;
    a.offset = (int32_t[]){23, 40};
    dev->k->encoder_attention(dev, &a);
    check_same("alone", alone, both + 23 * 16, 17 * 16);
    free(qkv);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_products_agree_with_the_reference_and_over_threads),
        cmocka_unit_test(packed_products_in_bf16_do_where_there_are_units_for_it),
        cmocka_unit_test(gelu_is_right_from_minus_twelve_to_twelve),
        cmocka_unit_test(layer_norm_agrees_and_may_be_in_place),
        cmocka_unit_test(attention_without_a_mask_agrees_over_ragged_sequences),
        cmocka_unit_test(a_sequence_does_not_see_its_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
