/* Packed weights and attention over kept keys: every table against the reference at awkward shapes, sameness over threads, rows read
 * back, and what stands behind the outputs. Integer forms round x; where x is made of numbers that this rounding keeps, they must
 * agree as closely as any float32 sum. */
#include "test_kernels.h"

struct shape {
    int64_t M, N, K;
    bool gated, bias, add;
};

static const struct shape shapes[] = {
    {1, 16, 64, false, false, false},  {1, 17, 64, false, true, true},
    {2, 5, 128, false, false, false},  {3, 33, 192, false, true, false},
    {7, 40, 256, false, false, true},  {16, 96, 64, true, false, false},
    {17, 70, 320, true, false, true},  {31, 48, 576, false, true, false},
    {130, 34, 128, true, false, true}, {300, 20, 64, false, false, false},
    {0, 32, 64, false, false, false},  {5, 2, 1088, true, false, false},
    {1, 19, 1984, false, true, false}, {4, 22, 2112, true, false, true},
    {2, 9, 1344, false, false, true},
};
/* what only float forms take */
static const struct shape odd_shapes[] = {
    {1, 7, 37, false, true, false},
    {3, 10, 1030, true, false, true},
    {40, 9, 53, false, false, true},
    {2, 4, 1, false, false, false},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes, N_ODD = sizeof odd_shapes / sizeof *odd_shapes };

static const int zero_of[PACKED_FORMS] = {0, 0, 0, 8, 0, 16, 0, 32, 128, 0};
static const int bits_of[PACKED_FORMS] = {0, 0, 0, 4, 4, 5, 5, 6, 8, 4};
static const int group_of[PACKED_FORMS] = {1, 1, 1, 32, 32, 32, 32, 16, 32, 64};

/* Weights of a form: codes, scales and mins, or floats. */
struct weights {
    uint8_t *codes;
    float *f32, *scale, *min;
};

static struct weights make_weights(enum packed_form form, int64_t N, int64_t K, uint64_t seed)
{
    struct weights w = {malloc((size_t)(N * K + 1)), randoms(N * K, seed),
                        randoms(N * K / group_of[form], seed + 1),
                        randoms(N * K / group_of[form], seed + 2)};
    struct rng r;
    rng_init(&r, seed + 3);
    for (int64_t i = 0; i < N * K; i++)
        w.codes[i] = (uint8_t)rng_below(&r, 1u << bits_of[form]);
    double step = bits_of[form] ? 1.0 / (form == PACKED_NF4 ? 1 : 1 << (bits_of[form] - 1)) : 1;
    for (int64_t i = 0; i < N * K / group_of[form]; i++) {
        w.scale[i] = (float)(w.scale[i] * step);
        if (!zero_of[form])
            w.min[i] -= w.scale[i] * (float)(1 << (bits_of[form] ? bits_of[form] - 1 : 0));
    }
    return w;
}

static void free_weights(struct weights *w)
{
    free(w->codes);
    free(w->f32);
    free(w->scale);
    free(w->min);
}

/* x whose rounding to 8 bits changes nothing: whole numbers times a power of two for each 32, one of them ±127. */
static float *whole_rows(int64_t M, int64_t K, uint64_t seed)
{
    struct rng r;
    float *x = randoms(M * K, seed);
    rng_init(&r, seed);
    for (int64_t i = 0; i < M * K; i++) {
        float unit = (float)(1 << (i / 32 % 5)) / 1024;
        int whole = i % 32 == 7 ? 127 : (int)rng_below(&r, 255) - 127;
        x[i] = (float)whole * unit;
    }
    return x;
}

static struct packed_weight pack(struct device *dev, const struct shape *c, enum packed_form form,
                                 enum dtype compute, const struct weights *from, size_t *n_bytes)
{
    struct packed_weight w = {NULL, c->N, c->K, form, compute, c->gated};
    *n_bytes = dev->k->packed_bytes(dev, &w);
    w.packed = device_alloc(dev, *n_bytes, NULL);
    assert_non_null(w.packed);
    dev->ops->zero(dev, w.packed, *n_bytes);
    for (int64_t first = 0; first < c->N; first += 32) { /* in pieces */
        int64_t n = c->N - first < 32 ? c->N - first : 32, g = c->K / group_of[form];
        struct packed_source s = {from->f32 + first * c->K, from->codes + first * c->K,
                                  from->scale + first * g, from->min + first * g};
        dev->k->packed_pack(dev, &w, first, n, &s);
    }
    return w;
}

/* One product into fresh memory of pitch N + 3; the caller frees it. */
static float *product(struct device *dev, const struct shape *c, enum packed_form form,
                      enum dtype compute, const float *x)
{
    int64_t n = c->gated ? c->N / 2 : c->N, ldy = n + 3;
    float *y = randoms(c->M * ldy, 1), *bias = randoms(c->N, 4);
    struct weights from = make_weights(form, c->N, c->K, 10);
    size_t n_bytes;
    struct packed_weight w = pack(dev, c, form, compute, &from, &n_bytes);
    int32_t offset[2] = {0, (int32_t)c->M};
    struct packed_args a = {.y = y, .x = x, .w = &w, .offset = offset, .E = 1, .ldy = ldy};
    a.ldx = c->K;
    a.bias = c->bias && !c->gated ? bias : NULL;
    a.accumulate = c->add;
    dev->k->packed_forward(dev, &a);
    check_guard(y, c->M * ldy);
    device_free(dev, w.packed, n_bytes);
    free_weights(&from);
    free(bias);
    return y;
}

/* Every shape on every table that runs, whole x or not. */
static void forms_agree(int first_form, int last_form, enum dtype compute, bool whole,
                        enum limit limit, enum limit gated_limit)
{
    struct device *reference = open_table(0, 1);
    for (int i = 0; i < N_SHAPES + N_ODD; i++)
        for (int form = first_form; form <= last_form; form++) {
            const struct shape *c = i < N_SHAPES ? &shapes[i] : &odd_shapes[i - N_SHAPES];
            if (i >= N_SHAPES && form >= PACKED_I4)
                continue;
            int64_t n = c->M * ((c->gated ? c->N / 2 : c->N) + 3);
            float *x = whole ? whole_rows(c->M, c->K, 2) : randoms(c->M * c->K, 2);
            float *want = product(reference, c, (enum packed_form)form, compute, x);
            for (int table = 1; table < N_ALL_TABLES; table++) {
                struct device *one = open_table(table, 1), *three = open_table(table, 3);
                char where[80];
                if (!one)
                    continue;
                float *got = product(one, c, (enum packed_form)form, compute, x),
                      *again = product(three, c, (enum packed_form)form, compute, x);
                snprintf(where, sizeof where, "%s: form %d, shape %d", table_names[table], form, i);
                check_close(c->gated ? gated_limit : limit, where, got, want, n);
                check_same(where, got, again, n);
                free(got);
                free(again);
                device_close(one);
                device_close(three);
            }
            free(want);
            free(x);
        }
    device_close(reference);
}

static void float_forms_agree_with_the_reference(void **state)
{
    (void)state;
    forms_agree(PACKED_F32, PACKED_BF16, DT_F32, false, PRODUCT, PACKED_GATED);
}

static void float_forms_in_bf16_stay_within_its_rounding(void **state)
{
    (void)state;
    forms_agree(PACKED_F32, PACKED_BF16, DT_BF16, false, PACKED_HALF, PACKED_HALF);
}

/* So many rows that a GPU's scratch holds the sums of some outputs only: these are made by panels, gates and ups lying apart. */
static void outputs_of_a_crowd_of_rows_come_by_panels(void **state)
{
    (void)state;
    static const struct shape crowd = {40000, 900, 8, true, false, false};
    int64_t n = crowd.M * (crowd.N / 2 + 3);
    struct device *reference = open_table(0, 1);
    float *x = randoms(crowd.M * crowd.K, 2);
    for (int form = PACKED_F32; form <= PACKED_BF16; form += 2) {
        float *want = product(reference, &crowd, (enum packed_form)form, DT_F32, x);
        for (int t = N_CPU_TABLES; t < N_ALL_TABLES; t++) {
            struct device *dev = open_table(t, 2);
            float *got = dev ? product(dev, &crowd, (enum packed_form)form, DT_F32, x) : NULL;
            if (dev)
                check_close(PACKED_GATED, table_names[t], got, want, n);
            free(got);
            device_close(dev);
        }
        free(want);
    }
    free(x);
    device_close(reference);
}

static void integer_forms_are_exact_where_x_has_8_bits(void **state)
{
    (void)state;
    forms_agree(PACKED_I4, PACKED_I8, DT_F32, true, PRODUCT, PACKED_GATED);
}

static void integer_forms_stay_within_the_rounding_of_x(void **state)
{
    (void)state;
    forms_agree(PACKED_I4, PACKED_I8, DT_F32, false, PACKED_BYTES, PACKED_BYTES_GATED);
}

static void nf4_stays_within_its_whole_numbers(void **state)
{
    (void)state;
    forms_agree(PACKED_NF4, PACKED_NF4, DT_F32, true, PACKED_BYTES, PACKED_BYTES_GATED);
}

/* Experts: slots by gather and scatter, one of them idle, one with many rows. */
static float *grouped(struct device *dev, enum packed_form form, bool gated)
{
    enum { E = 4, S = 45, T = 20, N = 36, K = 128 };
    static const int32_t offset[E + 1] = {0, 3, 3, 40, 45};
    struct shape c = {S, N, K, gated, false, false};
    int32_t *x_row = malloc(S * sizeof *x_row), *y_row = malloc(S * sizeof *y_row);
    struct packed_weight w[E];
    size_t n_bytes[E];
    float *x = whole_rows(T, K, 2), *y = randoms(S * N, 3);
    for (int s = 0; s < S; s++) {
        x_row[s] = s * 7 % T;
        y_row[s] = S - 1 - s;
    }
    for (int e = 0; e < E; e++) {
        struct weights from = make_weights(form, N, K, (uint64_t)(20 + 10 * e));
        w[e] = pack(dev, &c, form, DT_F32, &from, &n_bytes[e]);
        free_weights(&from);
    }
    struct packed_args a = {.y = y, .x = x, .w = w, .offset = offset, .E = E, .ldy = N, .ldx = K};
    a.x_row = x_row;
    a.y_row = y_row;
    dev->k->packed_forward(dev, &a);
    check_guard(y, S * N);
    for (int e = 0; e < E; e++)
        device_free(dev, w[e].packed, n_bytes[e]);
    free(x_row);
    free(y_row);
    free(x);
    return y;
}

static void experts_read_and_write_their_own_rows(void **state)
{
    (void)state;
    static const enum packed_form forms[] = {PACKED_I4, PACKED_I8, PACKED_F32};
    struct device *reference = open_table(0, 1);
    for (int i = 0; i < 6; i++) {
        enum packed_form form = forms[i / 2];
        float *want = grouped(reference, form, i % 2);
        for (int table = 1; table < N_ALL_TABLES; table++) {
            struct device *dev = open_table(table, 2);
            if (!dev)
                continue;
            float *got = grouped(dev, form, i % 2);
            check_close(PACKED_GATED, table_names[table], got, want, 45 * 36);
            free(got);
            device_close(dev);
        }
        free(want);
    }
    device_close(reference);
}

/* Experts of a few slots, of more, and of none, in bf16. kind: a bit each for gathered rows, rows written elsewhere, added. */
static float *busy_experts(struct device *dev, enum packed_form form, bool gated, int kind)
{
    enum { E = 7, N = 36, K = 192, TOKENS = 50, ROWS = 250 };
    static const int32_t offset[E + 1] = {2, 45, 80, 80, 90, 123, 160, 193};
    struct shape c = {0, N, K, gated, false, false};
    struct packed_weight w[E];
    size_t n_bytes;
    int64_t n = gated ? N / 2 : N, ldy = n + (kind & 4 ? 4 : 3);
    int32_t *x_row = malloc(ROWS * sizeof *x_row), *y_row = malloc(ROWS * sizeof *y_row);
    for (int i = 0; i < ROWS; i++) {
        x_row[i] = i * 7 % TOKENS;
        y_row[i] = ROWS - 1 - i;
    }
    for (int e = 0; e < E; e++) {
        struct weights from = make_weights(form, N, K, 20 + (uint64_t)e);
        w[e] = pack(dev, &c, form, DT_BF16, &from, &n_bytes);
        free_weights(&from);
    }
    float *x = randoms(ROWS * K, 2), *y = randoms(ROWS * ldy, 3);
    struct packed_args a = {.y = y, .x = x, .w = w, .offset = offset, .E = E, .ldy = ldy};
    a.ldx = K, a.accumulate = kind & 4;
    a.x_row = kind & 1 ? x_row : NULL, a.y_row = kind & 2 ? y_row : NULL;
    dev->k->packed_forward(dev, &a);
    check_guard(y, ROWS * ldy);
    for (int e = 0; e < E; e++)
        device_free(dev, w[e].packed, n_bytes);
    free(x_row);
    free(y_row);
    free(x);
    return y;
}

static void experts_of_many_rows_are_multiplied_together(void **state)
{
    (void)state;
    static const enum packed_form forms[] = {PACKED_NF4, PACKED_BF16, PACKED_F16, PACKED_I4_MIN};
    struct device *reference = open_table(0, 1);
    for (int i = 0; i < 16; i++) {
        enum packed_form form = forms[i / 4];
        int kind = (i % 4 * 3 + i / 4) % 8;
        bool gated = i % 2;
        int64_t n = 250 * ((gated ? 18 : 36) + (kind & 4 ? 4 : 3));
        float *want = busy_experts(reference, form, gated, kind);
        for (int t = N_CPU_TABLES; t < N_ALL_TABLES; t++) {
            struct device *dev = open_table(t, 2);
            float *got = dev ? busy_experts(dev, form, gated, kind) : NULL;
            char where[64];
            snprintf(where, sizeof where, "%s: form %d, kind %d", table_names[t], form, kind);
            if (dev)
                check_close(PACKED_HALF, where, got, want, n);
            free(got);
            device_close(dev);
        }
        free(want);
    }
    device_close(reference);
}

/* So many experts, some of more slots than a few, that no list of one launch holds them. */
static float *crowd(struct device *dev)
{
    enum { E = 140, N = 6, K = 64 };
    struct shape c = {0, N, K, true, false, false};
    struct weights from = make_weights(PACKED_NF4, N, K, 8);
    struct packed_weight w[E];
    size_t n_bytes;
    int32_t offset[E + 1] = {0};
    w[0] = pack(dev, &c, PACKED_NF4, DT_F32, &from, &n_bytes);
    for (int e = 0; e < E; e++) {
        w[e] = w[0];
        offset[e + 1] = offset[e] + (e == 70 ? 40 : e % 11);
    }
    float *x = whole_rows(offset[E], K, 2), *y = randoms(900 * N / 2, 3);
    assert_true(offset[E] < 900);
    struct packed_args a = {.y = y, .x = x, .w = w, .offset = offset, .E = E, .ldy = N / 2};
    a.ldx = K;
    dev->k->packed_forward(dev, &a);
    device_free(dev, w[0].packed, n_bytes);
    free_weights(&from);
    free(x);
    return y;
}

static void a_crowd_of_experts_is_served_whole(void **state)
{
    (void)state;
    struct device *reference = open_table(0, 1);
    float *want = crowd(reference);
    for (int table = 1; table < N_ALL_TABLES; table++) {
        struct device *dev = open_table(table, 2);
        if (!dev)
            continue;
        float *got = crowd(dev);
        check_close(PACKED_BYTES_GATED, table_names[table], got, want, 900 * 3);
        free(got);
        device_close(dev);
    }
    free(want);
    device_close(reference);
}

static void rows_come_back_as_they_were_packed(void **state)
{
    (void)state;
    static const int32_t rows[5] = {0, 36, 15, 16, 7};
    struct shape c = {0, 37, 128, false, false, false};
    int32_t *ids = malloc(sizeof rows);
    memcpy(ids, rows, sizeof rows);
    struct device *reference = open_table(0, 1);
    for (int form = 0; form < PACKED_FORMS; form++)
        for (int table = 1; table < N_ALL_TABLES; table++) {
            struct device *dev = open_table(table, 2);
            if (!dev)
                continue;
            struct weights from = make_weights((enum packed_form)form, c.N, c.K, 5);
            size_t n_bytes, n_ref;
            struct packed_weight w = pack(dev, &c, (enum packed_form)form, DT_F32, &from, &n_bytes);
            struct packed_weight v =
                pack(reference, &c, (enum packed_form)form, DT_F32, &from, &n_ref);
            float *got = randoms(5 * c.K, 1), *want = randoms(5 * c.K, 1);
            dev->k->packed_rows(dev, got, &w, ids, 5);
            reference->k->packed_rows(reference, want, &v, ids, 5);
            check_close(form == PACKED_NF4 ? PACKED_NF4_BYTES : ELEMENT, table_names[table], got,
                        want, 5 * c.K);
            device_free(dev, w.packed, n_bytes);
            device_free(reference, v.packed, n_ref);
            free_weights(&from);
            free(got);
            free(want);
            device_close(dev);
        }
    free(ids);
    device_close(reference);
}

static void columns_go_from_one_pitch_to_another(void **state)
{
    (void)state;
    static const int64_t sizes[][4] = {{1, 1, 1, 1}, {3, 5, 7, 6}, {70, 33, 33, 40}, {0, 4, 4, 4}};
    for (int i = 0; i < 4; i++)
        for (int table = 0; table < N_ALL_TABLES; table++) {
            int64_t T = sizes[i][0], n = sizes[i][1], ldto = sizes[i][2], ldfrom = sizes[i][3];
            struct device *dev = open_table(table, 2);
            if (!dev)
                continue;
            float *from = randoms(T * ldfrom, 1), *got = randoms(T * ldto, 2),
                  *want = copy_of(got, T * ldto);
            for (int64_t j = 0; j < T * n; j++)
                want[j / n * ldto + j % n] = from[j / n * ldfrom + j % n];
            dev->k->copy_rows(dev, got, ldto, from, ldfrom, T, n);
            check_guard(got, T * ldto);
            check_close(EXACT, table_names[table], got, want, T * ldto);
            free(from);
            free(got);
            free(want);
            device_close(dev);
        }
}

/* ---- attention over kept keys ---- */

struct attention_case {
    int64_t T, n, H, Hk, d, dv;
    bool latent; /* values are the beginnings of the keys */
};

static const struct attention_case attention_cases[] = {
    {1, 1, 1, 1, 4, 4, false},      {1, 37, 9, 3, 64, 64, false},   {3, 40, 6, 2, 20, 20, false},
    {7, 7, 4, 4, 33, 17, false},    {1, 100, 8, 1, 576, 512, true}, {12, 30, 4, 1, 300, 280, true},
    {9, 140, 14, 2, 64, 64, false}, {40, 300, 4, 2, 96, 96, false}, {50, 50, 3, 1, 48, 40, true},
    {1, 1600, 4, 2, 32, 36, false}, {17, 70, 2, 2, 160, 16, false}, {0, 5, 2, 1, 8, 8, false},
};

/* Rows of keys and values begin at multiples of 16 bytes in some cases. */
static float *attention(struct device *dev, const struct attention_case *c, enum dtype compute)
{
    int64_t pad = c->n % 3 ? 4 : 1, ldk = c->Hk * c->d + pad,
            ldv = c->latent ? ldk : c->Hk * c->dv + pad, ldo = c->H * c->dv, ldq = c->H * c->d + 5;
    float *q = randoms(c->T * ldq, 1), *k = randoms(c->n * ldk, 2), *v = randoms(c->n * ldv, 3),
          *o = randoms(c->T * ldo, 4);
    struct cached_attention_args a = {.o = o, .q = q, .k = k, .v = c->latent ? k : v, .ldo = ldo};
    a.ldq = ldq;
    a.ldk = ldk;
    a.ldv = ldv;
    a.v_head = c->latent ? 0 : c->dv;
    a.T = c->T;
    a.n = c->n;
    a.H = c->H;
    a.Hk = c->Hk;
    a.d = c->d;
    a.dv = c->dv;
    a.scale = (float)(1 / sqrt((double)c->d));
    a.compute = compute;
    dev->k->cached_attention(dev, &a);
    check_guard(o, c->T * ldo);
    free(q);
    free(k);
    free(v);
    return o;
}

static void new_rows_attend_to_what_was_kept(void **state)
{
    (void)state;
    struct device *reference = open_table(0, 1);
    for (size_t i = 0; i < sizeof attention_cases / sizeof *attention_cases; i++) {
        const struct attention_case *c = &attention_cases[i];
        float *want = attention(reference, c, DT_F32);
        for (int table = 1; table < N_ALL_TABLES; table++)
            for (int bf16 = 0; bf16 < 2; bf16++) {
                struct device *one = open_table(table, 1), *three = open_table(table, 3);
                char where[80];
                if (!one)
                    continue;
                enum dtype compute = bf16 ? DT_BF16 : DT_F32;
                enum limit limit = bf16 && one->bf16_units ? ATTENTION_BF16 : ATTENTION;
                float *got = attention(one, c, compute), *again = attention(three, c, compute);
                snprintf(where, sizeof where, "%s: case %zu bf16 %d", table_names[table], i, bf16);
                check_close(limit, where, got, want, c->T * c->H * c->dv);
                check_close(limit, where, again, want, c->T * c->H * c->dv);
                free(got);
                free(again);
                device_close(one);
                device_close(three);
            }
        free(want);
    }
    device_close(reference);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_forms_agree_with_the_reference),
        cmocka_unit_test(float_forms_in_bf16_stay_within_its_rounding),
        cmocka_unit_test(outputs_of_a_crowd_of_rows_come_by_panels),
        cmocka_unit_test(integer_forms_are_exact_where_x_has_8_bits),
        cmocka_unit_test(integer_forms_stay_within_the_rounding_of_x),
        cmocka_unit_test(nf4_stays_within_its_whole_numbers),
        cmocka_unit_test(experts_read_and_write_their_own_rows),
        cmocka_unit_test(experts_of_many_rows_are_multiplied_together),
        cmocka_unit_test(a_crowd_of_experts_is_served_whole),
        cmocka_unit_test(rows_come_back_as_they_were_packed),
        cmocka_unit_test(columns_go_from_one_pitch_to_another),
        cmocka_unit_test(new_rows_attend_to_what_was_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
