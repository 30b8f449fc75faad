/* Kernels of fine-tuning: NF4 widened, moments in 8 bits, dropout. */
#include "quant/nf4_encode.h"
#include "test_kernels.h"

/* A quantised array of the heap's: plain, or with absmaxes of 8 bits. */
static struct nf4 quantised(int64_t n, int64_t block_size, bool nested)
{
    float *x = randoms(n, 1);
    struct nf4 q = {.n = n, .block_size = block_size};
    int64_t n_blocks = nf4_n_blocks(&q);
    size_t n_outer = (size_t)(n_blocks + NF4_NESTED_BLOCK_SIZE - 1) / NF4_NESTED_BLOCK_SIZE;
    uint8_t *codes = calloc((size_t)(n + 1) / 2, 1);
    float *absmax = calloc((size_t)n_blocks, sizeof *absmax);
    nf4_encode(codes, absmax, x, n, block_size);
    free(x);
    q.codes = codes;
    q.absmax = absmax;
    if (!nested)
        return q;
    float *map = calloc(NF4_MAP_SIZE, sizeof *map), *outer = calloc(n_outer, sizeof *outer);
    uint8_t *absmax_codes = calloc((size_t)n_blocks, 1);
    nf4_dynamic_map(map, 1);
    nf4_nest(absmax_codes, outer, &q.nested_offset, absmax, n_blocks, map);
    free(absmax);
    q.absmax = NULL;
    q.absmax_codes = absmax_codes;
    q.nested_absmax = outer;
    q.map = map;
    q.nested_block_size = NF4_NESTED_BLOCK_SIZE;
    return q;
}

static void nf4_free(const struct nf4 *q)
{
    free((void *)q->codes);
    free((void *)q->absmax);
    free((void *)q->absmax_codes);
    free((void *)q->nested_absmax);
    free((void *)q->map);
}

/* Values first … first + n − 1 by both kernels, from "shift" numbers into the arrays on, so that 16 bytes don't fit. */
static void widen(struct device *dev, const struct nf4 *q, int64_t first, int64_t n, int shift)
{
    float *wanted = randoms(n + shift, 2), *got = randoms(n + shift, 3);
    float *words = randoms((n + shift) / 2 + 1, 4);
    uint16_t *narrow = (uint16_t *)words + shift;
    uint16_t guard = narrow[n];
    nf4_decode(wanted + shift, q, first, n);
    dev->k->nf4_to_f32(dev, got + shift, q, first, n);
    dev->k->nf4_to_bf16(dev, narrow, q, first, n);
    assert_memory_equal(got + shift, wanted + shift, (size_t)n * sizeof *got);
    check_guard(got, n + shift);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(narrow[i], f32_to_bf16(wanted[shift + i]));
    assert_int_equal(narrow[n], guard);
    check_guard(words, (n + shift) / 2 + 1);
    free(wanted);
    free(got);
    free(words);
}

static void lists_of_nf4_tensors_are_widened_as_each_alone(void **state)
{
    (void)state;
    enum { TENSORS = 61 };
    for (int table = 0; table < N_ALL_TABLES; table++) {
        struct device *dev = open_table(table, 2);
        struct nf4 q[TENSORS];
        const struct nf4 *list[TENSORS];
        uint16_t *out[TENSORS], *wanted[TENSORS];
        for (int i = 0; dev && i < TENSORS; i++) {
            int64_t n =
                i == 7 ? 1001 : 640 + 8 * (i % 5); /* one that is no whole number of groups */
            q[i] = quantised(n, NF4_BLOCK_SIZE, i % 2);
            list[i] = &q[i];
            out[i] = (uint16_t *)randoms(n / 2 + 1, 5);
            wanted[i] = (uint16_t *)randoms(n / 2 + 1, 5);
            dev->k->nf4_to_bf16(dev, wanted[i], &q[i], 0, n);
        }
        if (dev)
            dev->k->nf4_list_to_bf16(dev, out, list, TENSORS);
        for (int i = 0; dev && i < TENSORS; i++) {
            assert_memory_equal(out[i], wanted[i], (size_t)(q[i].n / 2 + 1) * sizeof(float));
            free(out[i]);
            free(wanted[i]);
            nf4_free(&q[i]);
        }
        device_close(dev);
    }
}

static void nf4_is_widened_to_the_same_bits_by_every_table(void **state)
{
    (void)state;
    enum { N = 70001 };
    static const int64_t pieces[][2] = {{0, N},       {1, 64},    {63, 66}, {64, 128}, {8, 60000},
                                        {130, 33333}, {N - 5, 5}, {4, 100}, {7, 0}};
    static const int64_t block_sizes[] = {NF4_BLOCK_SIZE, 32, 4096};
    for (int i = 0; i < 6; i++) {
        struct nf4 q = quantised(N, block_sizes[i / 2], i % 2);
        for (int table = 0; table < N_ALL_TABLES; table++) {
            struct device *dev = open_table(table, 2);
            for (size_t j = 0; dev && j < sizeof pieces / sizeof *pieces; j++)
                widen(dev, &q, pieces[j][0], pieces[j][1], j % 4 == 3);
            device_close(dev);
        }
        nf4_free(&q);
    }
}

/* Against float32 moments, over steps with one gradient: the update is lr times a sign-like ratio,
 * which 8 bits of each moment keep to some percent. */
static void moments_in_8_bits_lead_nearly_the_same_way(void **state)
{
    (void)state;
    enum { N = 1000, BLOCKS = 4 };
    struct device *dev = open_table(0, 1);
    float *p = randoms(N, 1), *q = copy_of(p, N), *start = copy_of(p, N), *g = randoms(N, 2);
    float m[N] = {0}, v[N] = {0}, m_absmax[BLOCKS] = {0}, v_absmax[BLOCKS] = {0}, maps[2][256];
    uint8_t m8[N] = {0}, v8[N] = {0};
    nf4_dynamic_map(maps[0], 1);
    nf4_dynamic_map(maps[1], 0);
    for (int t = 1; t <= 5; t++) {
        struct adamw_args a = {.p = p,
                               .m = m,
                               .v = v,
                               .g = g,
                               .n = N,
                               .lr = 1e-2f,
                               .beta1 = 0.9f,
                               .beta2 = 0.999f,
                               .eps = 1e-8f,
                               .grad_scale = 1,
                               .correction1 = (float)(1 - pow(0.9, t)),
                               .correction2 = (float)(1 - pow(0.999, t))};
        struct adamw8_args b = {a, m8, v8, m_absmax, v_absmax, maps[0], maps[1]};
        dev->k->adamw(dev, &a);
        b.a.p = q;
        dev->k->adamw8(dev, &b);
    }
    double off = 0, way = 0;
    for (int i = 0; i < N; i++) {
        off += fabs((double)q[i] - p[i]);
        way += fabs((double)p[i] - start[i]);
    }
    if (!(way > 0 && off < 0.05 * way))
        fail_msg("off by %g of the way", off / way);
    free(p);
    free(q);
    free(start);
    free(g);
    device_close(dev);
}

/* All that one step and the next change, on a table. */
struct moments {
    float *p, *g, *m_absmax, *v_absmax;
    uint16_t *p_bf16;
    uint8_t *m, *v;
};

static struct moments stepped(struct device *dev, int64_t n)
{
    int64_t n_blocks = (n + ADAMW8_BLOCK - 1) / ADAMW8_BLOCK;
    struct moments s = {randoms(n, 1),
                        randoms(n, 2),
                        calloc((size_t)n_blocks + 1, 4),
                        calloc((size_t)n_blocks + 1, 4),
                        calloc((size_t)n + 1, 2),
                        calloc((size_t)n + 1, 1),
                        calloc((size_t)n + 1, 1)};
    float maps[2][256];
    nf4_dynamic_map(maps[0], 1);
    nf4_dynamic_map(maps[1], 0);
    for (int64_t i = 300; i < 600 && i < n; i++)
        s.g[i] = 0; /* of a whole block or two */
    for (int t = 1; t <= 3; t++) {
        struct adamw_args a = {.p = s.p, .g = s.g, .n = n, .lr = 1e-2f, .beta1 = 0.9f};
        a.p_bf16 = t == 2 ? NULL : s.p_bf16;
        a.beta2 = 0.999f;
        a.eps = 1e-8f;
        a.weight_decay = 0.1f;
        a.grad_scale = 0.7f;
        a.correction1 = (float)(1 - pow(0.9, t));
        a.correction2 = (float)(1 - pow(0.999, t));
        struct adamw8_args b = {a, s.m, s.v, s.m_absmax, s.v_absmax, maps[0], maps[1]};
        dev->k->adamw8(dev, &b);
        for (int64_t i = 0; i < n; i++)
            s.g[i] = s.g[i] * -0.8f + 0.1f * (float)(i % 3);
    }
    check_guard(s.p, n);
    return s;
}

static void moments_free(const struct moments *s)
{
    free(s->p);
    free(s->g);
    free(s->m_absmax);
    free(s->v_absmax);
    free(s->p_bf16);
    free(s->m);
    free(s->v);
}

static void moments_in_8_bits_are_the_same_bits_on_every_table(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 255, 256, 257, 3001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int64_t n = sizes[i];
        struct device *ref = open_table(0, 1);
        struct moments want = stepped(ref, n);
        for (int table = 1; table < N_ALL_TABLES; table++) {
            struct device *dev = open_table(table, 2);
            if (!dev)
                continue;
            struct moments got = stepped(dev, n);
            check_same("p", got.p, want.p, n);
            check_same("m's absmax", got.m_absmax, want.m_absmax, (n + 255) / 256);
            check_same("v's absmax", got.v_absmax, want.v_absmax, (n + 255) / 256);
            assert_memory_equal(got.m, want.m, (size_t)n + 1);
            assert_memory_equal(got.v, want.v, (size_t)n + 1);
            assert_memory_equal(got.p_bf16, want.p_bf16, (size_t)(n + 1) * 2);
            moments_free(&got);
            device_close(dev);
        }
        moments_free(&want);
        device_close(ref);
    }
}

/* ---- lists of tensors ---- */

enum { TENSORS = 150, LARGEST = 9000 };

/* Odd sizes, some of them nothing, and places that 16 bytes fit and don't. */
static int64_t size_of_tensor(int64_t i)
{
    return i % 13 == 5 ? 0 : i == 77 ? LARGEST : 1 + i * i % 700;
}

/* What tensors side by side become after a step in 32 and one in 8 bits, and the sums of their squares. */
struct moved {
    struct moments m;
    float *m32, *v32;
    int64_t n;
    double sums[TENSORS];
};

static void move_list(struct device *dev, struct adamw_args *a, struct adamw8_args *b, bool list)
{
    if (list) {
        dev->k->adamw_list(dev, a, TENSORS);
        dev->k->adamw8_list(dev, b, TENSORS);
    }
    for (int i = 0; i < TENSORS && !list; i++) {
        dev->k->adamw(dev, &a[i]);
        dev->k->adamw8(dev, &b[i]);
    }
    device_sync(dev);
}

static void sum_list(struct device *dev, struct moved *s, const float *const *x, const int64_t *n,
                     bool list)
{
    if (list)
        dev->k->sum_squares_list(dev, s->sums, x, n, TENSORS);
    for (int i = 0; i < TENSORS && !list; i++)
        s->sums[i] = dev->k->sum_squares(dev, x[i], n[i]);
}

static struct moved moved(struct device *dev, bool list)
{
    struct moved s = {.n = 0};
    struct adamw_args a[TENSORS];
    struct adamw8_args b[TENSORS];
    float maps[2][256];
    const float *x[TENSORS];
    int64_t n[TENSORS], at = 0, blocks = 0;
    for (int64_t i = 0; i < TENSORS; i++)
        s.n += n[i] = size_of_tensor(i);
    nf4_dynamic_map(maps[0], 1);
    nf4_dynamic_map(maps[1], 0);
    s.m = (struct moments){randoms(s.n, 1),
                           randoms(s.n, 2),
                           calloc((size_t)s.n, 4),
                           calloc((size_t)s.n, 4),
                           calloc((size_t)s.n + 1, 2),
                           calloc((size_t)s.n, 1),
                           calloc((size_t)s.n, 1)};
    s.m32 = randoms(s.n, 3);
    s.v32 = calloc((size_t)s.n, 4);
    for (int64_t i = 0; i < TENSORS; i++) {
        a[i] = (struct adamw_args){.p = s.m.p + at,
                                   .m = s.m32 + at,
                                   .v = s.v32 + at,
                                   .g = s.m.g + at,
                                   .p_bf16 = i % 3 ? s.m.p_bf16 + at : NULL,
                                   .n = n[i],
                                   .lr = 1e-2f,
                                   .beta1 = 0.9f,
                                   .beta2 = 0.99f,
                                   .eps = 1e-8f,
                                   .weight_decay = i % 2 ? 0.1f : 0,
                                   .grad_scale = 0.7f,
                                   .correction1 = 0.1f,
                                   .correction2 = 0.01f};
        b[i] = (struct adamw8_args){
            a[i],    s.m.m + at, s.m.v + at, s.m.m_absmax + blocks, s.m.v_absmax + blocks,
            maps[0], maps[1]};
        x[i] = a[i].g;
        at += n[i];
        blocks += (n[i] + ADAMW8_BLOCK - 1) / ADAMW8_BLOCK;
    }
    move_list(dev, a, b, list);
    sum_list(dev, &s, x, n, list);
    return s;
}

static void moved_free(struct moved *s)
{
    moments_free(&s->m);
    free(s->m32);
    free(s->v32);
}

static void lists_of_tensors_are_moved_and_summed_as_each_alone(void **state)
{
    (void)state;
    for (int table = 0; table < N_ALL_TABLES; table++) {
        struct device *dev = open_table(table, 2);
        if (!dev)
            continue;
        struct moved want = moved(dev, false), got = moved(dev, true);
        check_same("p", got.m.p, want.m.p, want.n);
        check_same("m", got.m32, want.m32, want.n);
        check_same("v", got.v32, want.v32, want.n);
        check_same("m's absmax", got.m.m_absmax, want.m.m_absmax, want.n);
        check_same("v's absmax", got.m.v_absmax, want.m.v_absmax, want.n);
        assert_memory_equal(got.m.m, want.m.m, (size_t)want.n);
        assert_memory_equal(got.m.v, want.m.v, (size_t)want.n);
        assert_memory_equal(got.m.p_bf16, want.m.p_bf16, (size_t)want.n * 2);
        assert_memory_equal(got.sums, want.sums, sizeof want.sums);
        check_guard(got.m.p, got.n);
        dev->k->adamw_list(dev, NULL, 0);
        dev->k->adamw8_list(dev, NULL, 0);
        dev->k->sum_squares_list(dev, NULL, NULL, NULL, 0);
        moved_free(&want);
        moved_free(&got);
        device_close(dev);
    }
}

/* y after dropout of T rows with gaps; "kind" chooses in place, keys of rows, accumulation. */
static float *dropped(struct device *dev, int64_t T, int64_t D, int64_t gap, int kind, float drop)
{
    int64_t ld = D + gap;
    float *x = randoms(T * ld, 1), *y = randoms(T * ld, 2);
    int32_t *keys = calloc((size_t)T + 1, sizeof *keys);
    for (int64_t t = 0; t < T; t++)
        keys[t] = (int32_t)(t * 7 % T);
    struct dropout_args a = {.y = y, .x = kind & 1 ? y : x, .T = T, .D = D, .ldy = ld, .ldx = ld};
    a.key_row = kind & 2 ? keys : NULL;
    a.accumulate = kind & 4;
    a.first_key = 1000003;
    a.seed = 77;
    a.drop = drop;
    a.scale = 1.25f;
    dev->k->dropout(dev, &a);
    check_guard(y, T * ld);
    free(x);
    free(keys);
    return y;
}

static void dropout_is_the_same_on_every_table(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {{0, 4, 0},   {1, 1, 0},    {3, 127, 2}, {33, 128, 0},
                                       {5, 132, 4}, {64, 300, 4}, {35, 333, 3}};
    struct device *ref = open_table(0, 1);
    for (int table = 1; table < N_ALL_TABLES; table++) {
        struct device *dev = open_table(table, 2);
        for (size_t i = 0; dev && i < sizeof sizes / sizeof *sizes; i++)
            for (int kind = 0; kind < 16; kind++) {
                const int64_t *s = sizes[i];
                float drop = kind < 8 ? 0.3f : 0;
                float *want = dropped(ref, s[0], s[1], s[2], kind % 8, drop),
                      *got = dropped(dev, s[0], s[1], s[2], kind % 8, drop);
                check_same(table_names[table], got, want, s[0] * (s[1] + s[2]));
                free(want);
                free(got);
            }
        device_close(dev);
    }
    device_close(ref);
}

static void dropout_keeps_its_share_and_depends_on_seed_and_key_alone(void **state)
{
    (void)state;
    enum { T = 50, D = 333 };
    struct device *dev = open_table(0, 2);
    float *x = randoms(T * D, 1), *y = randoms(T * D, 2), *z = randoms(T * D, 3);
    int32_t rows[T];
    for (int t = 0; t < T; t++)
        rows[t] = T - 1 - t;
    struct dropout_args a = {.y = y,
                             .x = x,
                             .T = T,
                             .D = D,
                             .ldy = D,
                             .ldx = D,
                             .seed = 5,
                             .drop = 0.25f,
                             .scale = 4 / 3.0f};
    dev->k->dropout(dev, &a);
    int64_t kept = 0;
    for (int i = 0; i < T * D; i++) {
        kept += y[i] != 0;
        assert_true(y[i] == 0 || y[i] == a.scale * x[i]);
    }
    assert_true(fabs((double)kept / (T * D) - 0.75) < 0.02);
    a.y = z;
    a.key_row = rows;
    dev->k->dropout(dev, &a);
    for (int t = 0; t < T; t++)
        for (int d = 0; d < D; d++)
            assert_int_equal(z[t * D + d] == 0, y[(T - 1 - t) * D + d] == 0);
    free(x);
    free(y);
    free(z);
    device_close(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nf4_is_widened_to_the_same_bits_by_every_table),
        cmocka_unit_test(lists_of_nf4_tensors_are_widened_as_each_alone),
        cmocka_unit_test(moments_in_8_bits_lead_nearly_the_same_way),
        cmocka_unit_test(moments_in_8_bits_are_the_same_bits_on_every_table),
        cmocka_unit_test(lists_of_tensors_are_moved_and_summed_as_each_alone),
        cmocka_unit_test(dropout_is_the_same_on_every_table),
        cmocka_unit_test(dropout_keeps_its_share_and_depends_on_seed_and_key_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
