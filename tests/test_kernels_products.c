/* Dense and grouped products: every table against the reference, at awkward shapes, types, pitches and gathers. */
#include "test_kernels.h"

enum direction { FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, N_DIRECTIONS };
static const char *const direction_names[] = {"forward", "backward_input", "backward_weight"};

struct shape {
    int64_t M, N, K, pad;
};

static void linear(struct device *dev, enum direction d, const struct linear_args *a)
{
    if (d == FORWARD)
        dev->k->linear_forward(dev, a);
    else if (d == BACKWARD_INPUT)
        dev->k->linear_backward_input(dev, a);
    else
        dev->k->linear_backward_weight(dev, a);
}

static void round_all(float *p, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        p[i] = bf16_to_f32(f32_to_bf16(p[i]));
}

/* Operands of one product; w_half is w in bf16. */
struct operands {
    float *y, *x, *w;
    uint16_t *w_half;
    int64_t ny, nx, nw;
};

static struct operands operands_new(int64_t rows_y, int64_t ldy, int64_t rows_x, int64_t ldx,
                                    int64_t rows_w, int64_t ldw)
{
    struct operands o = {.ny = rows_y * ldy, .nx = rows_x * ldx, .nw = rows_w * ldw};
    o.y = randoms(o.ny, 1);
    o.x = randoms(o.nx, 2);
    o.w = randoms(o.nw, 3);
    o.w_half = calloc((size_t)o.nw + 1, sizeof *o.w_half);
    for (int64_t i = 0; i < o.nw; i++)
        o.w_half[i] = f32_to_bf16(o.w[i]);
    return o;
}

static void operands_free(struct operands *o)
{
    free(o->y);
    free(o->x);
    free(o->w);
    free(o->w_half);
}

/* The reference's result on operands rounded as the device rounds them. */
static void check_linear(struct device *dev, struct device *ref, enum direction d, struct shape s,
                         enum dtype w_type, enum dtype compute, bool accumulate)
{
    char where[128];
    bool rounds = compute == DT_BF16 && dev->bf16_units,
         half = w_type == DT_BF16 && d != BACKWARD_WEIGHT;
    snprintf(where, sizeof where, "%s linear_%s M %lld N %lld K %lld w %s compute %s", dev->k->name,
             direction_names[d], (long long)s.M, (long long)s.N, (long long)s.K, dtype_name(w_type),
             dtype_name(compute));
    struct operands o = operands_new(s.M, s.N + s.pad, s.M, s.K + s.pad, s.N, s.K + s.pad);
    float **outs[] = {&o.y, &o.x, &o.w};
    int64_t sizes[] = {o.ny, o.nx, o.nw};
    float *got = copy_of(*outs[d], sizes[d]), *want = copy_of(*outs[d], sizes[d]);
    if (rounds)
        for (int i = 0; i < 3; i++)
            if (i != (int)d)
                round_all(*outs[i], sizes[i]);
    if (half)
        round_all(o.w, o.nw);
    struct linear_args a = {o.y,         o.x,         o.w,         s.M,    s.N,    s.K,
                            s.N + s.pad, s.K + s.pad, s.K + s.pad, DT_F32, DT_F32, accumulate};
    if (d == FORWARD)
        a.y = want;
    else if (d == BACKWARD_INPUT)
        a.x = want;
    else
        a.w = want;
    linear(ref, d, &a);
    if (d == FORWARD)
        a.y = got;
    else if (d == BACKWARD_INPUT)
        a.x = got;
    else
        a.w = got;
    if (half)
        a.w = o.w_half, a.w_type = DT_BF16;
    a.compute = compute;
    linear(dev, d, &a);
    check_close(rounds ? PRODUCT_BF16 : PRODUCT, where, got, want, sizes[d]);
    check_guard(got, sizes[d]);
    free(got);
    free(want);
    operands_free(&o);
}

static const struct shape shapes[] = {
    {0, 5, 7, 0},     {1, 1, 1, 0},      {1, 33, 70, 3},    {3, 17, 31, 0},
    {5, 80, 256, 1},  {14, 32, 16, 0},   {15, 33, 17, 5},   {29, 100, 257, 0},
    {64, 64, 64, 8},  {70, 129, 100, 2}, {130, 48, 600, 0}, {257, 390, 15, 1},
    {600, 40, 30, 0}, {2100, 20, 3, 3},  {7, 0, 4, 0},      {7, 4, 0, 0},
};

static void dense_products_agree_with_the_reference(void **state)
{
    (void)state;
    struct device *ref = open_table(0, 1);
    for (int t = 1; t < N_ALL_TABLES; t++) {
        struct device *dev = open_table(t, 2);
        for (size_t i = 0; dev && i < sizeof shapes / sizeof *shapes; i++)
            for (int d = 0; d < N_DIRECTIONS; d++)
                for (int kind = 0; kind < 8; kind += d == BACKWARD_WEIGHT ? 2 : 1)
                    check_linear(dev, ref, d, shapes[i], kind & 1 ? DT_BF16 : DT_F32,
                                 kind & 2 ? DT_BF16 : DT_F32, kind & 4);
        device_close(dev);
    }
    device_close(ref);
}

/* Sides of at most 64, which a GPU's products in bf16 treat apart: fewer and more rows than a block has, sums in one piece and in several,
 * places where 16 bytes can be read and others. */
static void narrow_products_do_too(void **state)
{
    (void)state;
    static const struct shape narrow[] = {
        {33, 1, 130, 3},   {65, 5, 300, 1},   {31, 16, 264, 0}, {77, 17, 133, 0},  {40, 48, 144, 4},
        {35, 64, 70, 2},   {33, 132, 1, 3},   {65, 300, 5, 1},  {271, 264, 16, 0}, {77, 133, 17, 0},
        {300, 144, 48, 4}, {35, 70, 64, 2},   {519, 40, 40, 0}, {67, 36, 28, 8},   {21, 65, 31, 0},
        {17000, 8, 80, 0}, {600, 2200, 4, 0}, {5, 16, 3000, 0},
    };
    struct device *ref = open_table(0, 1);
    for (int t = 1; t < N_ALL_TABLES; t++) {
        struct device *dev = open_table(t, 2);
        for (size_t i = 0; dev && i < sizeof narrow / sizeof *narrow; i++)
            for (int d = 0; d < N_DIRECTIONS; d++)
                for (int kind = 0; kind < 4; kind += d == BACKWARD_WEIGHT ? 2 : 1)
                    check_linear(dev, ref, d, narrow[i], kind & 1 ? DT_BF16 : DT_F32, DT_BF16,
                                 kind & 2);
        for (int accumulate = 0; dev && accumulate < 2; accumulate++)
            check_linear(dev, ref, BACKWARD_WEIGHT, (struct shape){1100, 33, 70, 3}, DT_F32, DT_F32,
                         accumulate);
        device_close(dev);
    }
    device_close(ref);
}

/* Five experts, one of them without slots; slots read 23 tokens in disorder. The larger ones are of more rows than a tile has, and
 * do not begin at slot 0. */
enum { E = 5, TOKENS = 23 };
static const int32_t offsets[E + 1] = {0, 3, 3, 20, 60, 61},
                                 large_offsets[E + 1] = {2, 7, 7, 147, 290, 291};

static void grouped(struct device *dev, enum direction d, const struct grouped_args *a)
{
    if (d == FORWARD)
        dev->k->grouped_forward(dev, a);
    else if (d == BACKWARD_INPUT)
        dev->k->grouped_backward_input(dev, a);
    else
        dev->k->grouped_backward_weight(dev, a);
}

struct grouped_case {
    enum direction d;
    const int32_t *offset;
    int64_t N, K, pad;
    bool gather_x, gather_y, half, bf16, accumulate;
};

/* Runs c on dev into a fresh copy of the operands; the caller frees what comes back, *n numbers. */
static float *run_grouped(struct device *dev, const struct grouped_case *c, bool rounded, bool half,
                          int64_t *n)
{
    int S = c->offset[E];
    int32_t *rows = malloc((size_t)S * sizeof *rows);
    assert_non_null(rows);
    struct operands o = operands_new(S, c->N + c->pad, S, c->K + c->pad, E * c->N, c->K + c->pad);
    float **outs[] = {&o.y, &o.x, &o.w};
    int64_t sizes[] = {o.ny, o.nx, o.nw};
    for (int i = 0; i < S; i++)
        rows[i] = i * 7 % TOKENS;
    for (int i = 0; i < 3 && rounded; i++)
        if (i != (int)c->d)
            round_all(*outs[i], sizes[i]);
    if (c->half && c->d != BACKWARD_WEIGHT)
        round_all(o.w, o.nw);
    void *w[E];
    for (int64_t e = 0; e < E; e++)
        w[e] = half ? (void *)(o.w_half + e * c->N * (c->K + c->pad))
                    : (void *)(o.w + e * c->N * (c->K + c->pad));
    struct grouped_args a = {
        .y = o.y, .x = o.x, .w = w, .offset = c->offset, .E = E, .N = c->N, .K = c->K};
    a.ldy = c->N + c->pad, a.ldx = a.ldw = c->K + c->pad;
    a.x_row = c->gather_x && c->d != BACKWARD_INPUT ? rows : NULL;
    a.y_row = c->gather_y && c->d != FORWARD ? rows : NULL;
    a.w_type = half ? DT_BF16 : DT_F32;
    a.compute = c->bf16 ? DT_BF16 : DT_F32;
    a.accumulate = c->accumulate;
    grouped(dev, c->d, &a);
    *n = sizes[c->d];
    float *out = copy_of(*outs[c->d], *n);
    operands_free(&o);
    free(rows);
    return out;
}

/* kind: a bit each for gathered x, gathered y, a bf16 weight, products in bf16, adding up. */
static struct grouped_case grouped_case_of(enum direction d, struct shape sides, int kind,
                                           const int32_t *offset)
{
    return (struct grouped_case){d,        offset,   sides.N,  sides.K,  sides.pad,
                                 kind & 1, kind & 2, kind & 4, kind & 8, kind & 16};
}

static void check_grouped(struct device *dev, struct device *ref, const struct grouped_case *c)
{
    bool rounds = c->bf16 && dev->bf16_units;
    char where[160];
    int64_t n;
    snprintf(where, sizeof where, "%s grouped_%s N %lld K %lld%s%s%s%s%s", dev->k->name,
             direction_names[c->d], (long long)c->N, (long long)c->K,
             c->gather_x ? ", gathered x" : "", c->gather_y ? ", gathered y" : "",
             c->half ? ", w bf16" : "", c->bf16 ? ", in bf16" : "", c->accumulate ? ", added" : "");
    float *want = run_grouped(ref, c, rounds, false, &n);
    float *got = run_grouped(dev, c, rounds, c->half && c->d != BACKWARD_WEIGHT, &n);
    check_close(rounds ? PRODUCT_BF16 : PRODUCT, where, got, want, n);
    free(got);
    free(want);
}

static void grouped_products_agree_with_the_reference(void **state)
{
    (void)state;
    static const struct shape sides[] = {
        {0, 5, 3, 0}, {0, 33, 40, 2}, {0, 64, 300, 0}, {0, 17, 530, 1}};
    struct device *ref = open_table(0, 1);
    for (int t = 1; t < N_CARD_TABLES; t++) {
        struct device *dev = open_table(t, 2);
        for (int kind = 0; dev && kind < 32; kind += t < N_CPU_TABLES ? 1 : 3) /* emulated */
            for (int i = 0; i < 4 * N_DIRECTIONS; i++) {
                struct grouped_case c =
                    grouped_case_of(i % N_DIRECTIONS, sides[i / N_DIRECTIONS], kind, offsets);
                check_grouped(dev, ref, &c);
            }
        device_close(dev);
    }
    device_close(ref);
}

/* Several tiles each way, sums of an odd number of steps, weights that bf16 products may read in place. */
static void grouped_products_of_many_slots_do_too(void **state)
{
    (void)state;
    static const struct shape sides[] = {{0, 280, 40, 0}, {0, 72, 264, 8}, {0, 130, 131, 0}};
    struct device *ref = open_table(0, 1);
    for (int t = 1; t < N_CARD_TABLES; t++) {
        struct device *dev = open_table(t, 2);
        for (int i = 0; dev && i < 3 * N_DIRECTIONS * 2; i++)
            for (int kind = 4; kind < 32; kind += 9) { /* 4, 13, 22, 31 */
                struct grouped_case c = grouped_case_of(i / 3 % N_DIRECTIONS, sides[i % 3],
                                                        i < 9 ? kind : kind ^ 8, large_offsets);
                check_grouped(dev, ref, &c);
            }
        device_close(dev);
    }
    device_close(ref);
}

/* Experts of none to two slots; narrow and not. The caller frees what comes back, *n numbers. */
enum { MANY = 600 };
static float *run_many(struct device *dev, enum direction d, int64_t N, bool bf16, bool rounded,
                       int64_t *n)
{
    enum { K = 72 };
    int32_t offset[MANY + 1] = {0};
    void *w[MANY];
    for (int e = 0; e < MANY; e++)
        offset[e + 1] = offset[e] + e % 3;
    int64_t S = offset[MANY];
    struct operands o = operands_new(S, N, S, K, MANY * N, K);
    float **outs[] = {&o.y, &o.x, &o.w};
    int64_t sizes[] = {o.ny, o.nx, o.nw};
    for (int i = 0; i < 3 && rounded; i++)
        if (i != (int)d)
            round_all(*outs[i], sizes[i]);
    for (int64_t e = 0; e < MANY; e++)
        w[e] = o.w + e * N * K;
    struct grouped_args a = {.y = o.y, .x = o.x, .w = w, .offset = offset, .E = MANY};
    a.N = a.ldy = N, a.K = a.ldx = a.ldw = K, a.w_type = DT_F32;
    a.compute = bf16 ? DT_BF16 : DT_F32, a.accumulate = true;
    grouped(dev, d, &a);
    *n = sizes[d];
    float *out = copy_of(*outs[d], *n);
    operands_free(&o);
    return out;
}

static void more_experts_than_a_launch_takes_are_all_served(void **state)
{
    (void)state;
    struct device *ref = open_table(0, 1);
    for (int t = 1; t < N_ALL_TABLES; t++) {
        struct device *dev = open_table(t, 2);
        for (int i = 0; dev && i < 4 * N_DIRECTIONS; i++) {
            int64_t N = i & 1 ? 8 : 70, n;
            bool bf16 = i & 2, rounds = bf16 && dev->bf16_units;
            enum direction d = (enum direction)(i / 4);
            float *want = run_many(ref, d, N, false, rounds, &n),
                  *got = run_many(dev, d, N, bf16, rounds, &n);
            check_close(rounds ? PRODUCT_BF16 : PRODUCT, table_names[t], got, want, n);
            free(want);
            free(got);
        }
        device_close(dev);
    }
    device_close(ref);
}

static void an_expert_without_slots_keeps_its_gradient(void **state)
{
    (void)state;
    for (int t = 0; t < N_CARD_TABLES; t++) {
        struct device *dev = open_table(t, 2);
        struct grouped_case c =
            grouped_case_of(BACKWARD_WEIGHT, (struct shape){0, 6, 5, 0}, 0, offsets);
        int64_t n;
        if (!dev)
            continue;
        float *before = randoms(E * 6 * 5, 3), *after = run_grouped(dev, &c, false, false, &n);
        check_same(dev->k->name, after + 30, before + 30, 30);
        assert_true(after[0] != before[0]);
        free(before);
        free(after);
        device_close(dev);
    }
}

static void products_give_the_same_bits_again_and_on_other_threads(void **state)
{
    (void)state;
    for (int t = 1; t < N_ALL_TABLES; t++)
        for (int d = 0; d < N_DIRECTIONS; d++) {
            struct shape s = {700, 400, 300, 0};
            if (t >= N_CPU_TABLES)
                s.M = 70; /* emulated */
            float *first[2] = {NULL};
            int64_t n = d == FORWARD ? s.M * s.N : d == BACKWARD_INPUT ? s.M * s.K : s.N * s.K;
            for (int threads = 1; threads <= 3; threads++)
                for (int again = 0; again < 4; again++) {
                    struct device *dev = open_table(t, threads);
                    if (!dev)
                        continue;
                    struct operands o = operands_new(s.M, s.N, s.M, s.K, s.N, s.K);
                    struct linear_args a = {o.y,
                                            o.x,
                                            o.w,
                                            s.M,
                                            s.N,
                                            s.K,
                                            s.N,
                                            s.K,
                                            s.K,
                                            DT_F32,
                                            again & 1 ? DT_BF16 : DT_F32,
                                            true};
                    linear(dev, d, &a);
                    float *out = d == FORWARD ? o.y : d == BACKWARD_INPUT ? o.x : o.w;
                    if (!first[again & 1])
                        first[again & 1] = copy_of(out, n);
                    check_same(dev->k->name, out, first[again & 1], n);
                    operands_free(&o);
                    device_close(dev);
                }
            free(first[0]);
            free(first[1]);
        }
}

static void a_nan_in_an_operand_reaches_its_row_only(void **state)
{
    (void)state;
    for (int t = 0; t < N_ALL_TABLES; t++) {
        struct device *dev = open_table(t, 1);
        struct shape s = {20, 33, 40, 0};
        if (!dev)
            continue;
        for (int bf16 = 0; bf16 < 2; bf16++) {
            struct operands o = operands_new(s.M, s.N, s.M, s.K, s.N, s.K);
            struct linear_args a = {
                o.y,  o.x, o.w, s.M, s.N, s.K, s.N, s.K, s.K, DT_F32, bf16 ? DT_BF16 : DT_F32,
                false};
            o.x[3 * s.K + 7] = NAN;
            linear(dev, FORWARD, &a);
            for (int64_t i = 0; i < s.M * s.N; i++)
                assert_int_equal(isnan(o.y[i]) != 0, i / s.N == 3);
            operands_free(&o);
        }
        device_close(dev);
    }
}

/* The reference itself, on numbers that a head can multiply. */
static void the_reference_computes_what_its_definition_says(void **state)
{
    (void)state;
    struct device *ref = open_table(0, 1);
    float x[] = {1, 2, 3, 4}, w[] = {1, 0, 2, -1, 3, 1}, y[6] = {0}, dx[4] = {10, 0, 0, 0},
          dw[6] = {0};
    struct linear_args a = {y, x, w, 2, 3, 2, 3, 2, 2, DT_F32, DT_F32, false};
    linear(ref, FORWARD, &a);
    const float want[] = {1, 0, 5, 3, 2, 13};
    assert_memory_equal(y, want, sizeof want);
    a.x = dx, a.accumulate = true;
    linear(ref, BACKWARD_INPUT, &a); /* row 0: 1·(1,0) + 0·(2,−1) + 5·(3,1) */
    const float want_dx[] = {26, 5, 46, 11};
    assert_memory_equal(dx, want_dx, sizeof want_dx);
    a.x = x, a.w = dw, a.accumulate = false;
    linear(ref, BACKWARD_WEIGHT, &a);
    const float want_dw[] = {10, 14, 6, 8, 44, 62};
    assert_memory_equal(dw, want_dw, sizeof want_dw);
    device_close(ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_computes_what_its_definition_says),
        cmocka_unit_test(dense_products_agree_with_the_reference),
        cmocka_unit_test(narrow_products_do_too),
        cmocka_unit_test(grouped_products_agree_with_the_reference),
        cmocka_unit_test(grouped_products_of_many_slots_do_too),
        cmocka_unit_test(more_experts_than_a_launch_takes_are_all_served),
        cmocka_unit_test(an_expert_without_slots_keeps_its_gradient),
        cmocka_unit_test(products_give_the_same_bits_again_and_on_other_threads),
        cmocka_unit_test(a_nan_in_an_operand_reaches_its_row_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
