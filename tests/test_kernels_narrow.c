/* Kernels of fine-tuning: NF4 widened, moments in 8 bits, dropout. */
#include "quant/nf4_encode.h"
#include "test_kernels.h"

static void nf4_is_widened_to_the_same_bits_by_every_table(void **state)
{
    (void)state;
    enum { N = 70001 };
    float *x = randoms(N, 1), *wanted = randoms(N, 2), *got = randoms(N, 3);
    int64_t n_blocks = (N + NF4_BLOCK_SIZE - 1) / NF4_BLOCK_SIZE;
    uint8_t *codes = calloc((N + 1) / 2, 1);
    float *absmax = calloc((size_t)n_blocks, sizeof *absmax);
    nf4_encode(codes, absmax, x, N, NF4_BLOCK_SIZE);
    struct nf4 q = {.n = N, .block_size = NF4_BLOCK_SIZE, .codes = codes, .absmax = absmax};
    static const int64_t pieces[][2] = {{0, N},       {1, 64},    {63, 66}, {64, 128},
                                        {130, 33333}, {N - 5, 5}, {7, 0}};
    for (int table = 0; table < N_TABLES; table++) {
        struct device *dev = open_table(table, 2);
        for (size_t i = 0; dev && i < sizeof pieces / sizeof *pieces; i++) {
            int64_t first = pieces[i][0], n = pieces[i][1];
            nf4_decode(wanted, &q, first, n);
            dev->k->nf4_to_f32(dev, got, &q, first, n);
            assert_memory_equal(got, wanted, (size_t)n * sizeof *got);
            check_guard(got, N);
        }
        device_close(dev);
    }
    free(x);
    free(wanted);
    free(got);
    free(codes);
    free(absmax);
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
        cmocka_unit_test(moments_in_8_bits_lead_nearly_the_same_way),
        cmocka_unit_test(dropout_keeps_its_share_and_depends_on_seed_and_key_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
