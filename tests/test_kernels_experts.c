/* Products of experts in bf16 where a GPU has several ways to make them: each beside the CPU's product of the same rounded operands, at
 * numbers of slots and sides around those that a tile has.
 *
 * Unlike test_kernels_products the operands are in the device's own memory. What is wrong is told by its place: the first number, and a
 * picture of the first wrong matrix, a sign for 8 × 8 numbers.
 */
#include "test_kernels.h"

enum direction { FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, N_DIRECTIONS };
static const char *const direction_names[] = {"forward", "backward_input", "backward_weight"};

/* Sums of up to 1,100 terms, which the CPU and the device take in different orders. */
static const double limit = 1e-5;

static const char *const devices[] = {"cuda", "cuda:plain", "cuda:emulated:hopper",
                                      "cuda:emulated"};
enum { N_DEVICES = 4, N_CARDS = 2 };

enum { E = 11, BEFORE = 3, AFTER = 2 };

struct experts {
    const char *name;
    int slots[E];
    int64_t N, K;
    bool card; /* too large to emulate */
};

static const struct experts all[] = {
    {"steps", {0, 1, 31, 32, 33, 0, 5, 0, 0, 0, 0}, 264, 136, false},
    {"several tiles of slots", {3, 0, 200, 0, 0, 0, 0, 0, 0, 0, 7}, 136, 264, false},
    {"odd sides", {17, 0, 65, 9, 0, 0, 0, 0, 0, 0, 0}, 259, 201, false},
    {"all widths", {32, 64, 96, 128, 160, 192, 193, 400, 0, 1, 129}, 392, 520, true},
    {"many rows", {130, 0, 97, 1100, 5, 0, 0, 63, 64, 65, 127}, 1032, 328, true},
    {"odd sides of many rows", {130, 0, 97, 700, 5, 0, 0, 63, 64, 65, 127}, 1029, 333, true},
};

struct product {
    const struct experts *e;
    enum direction d;
    bool half, gather, accumulate;
};

struct memory {
    float *y, *x, *w; /* [S,N], [S,K], [E,N,K] */
    int32_t *rows;
    int64_t ny, nx, nw, S;
};

static int32_t offsets_of(const struct experts *e, int32_t offset[E + 1])
{
    offset[0] = BEFORE;
    for (int i = 0; i < E; i++)
        offset[i + 1] = offset[i] + e->slots[i];
    return offset[E] + AFTER;
}

static void *zeros(size_t n)
{
    void *p = calloc(n + 1, 1);
    assert_non_null(p);
    return p;
}

static struct memory memory_new(const struct experts *e)
{
    int32_t offset[E + 1];
    struct memory m = {.S = offsets_of(e, offset)};
    m.ny = m.S * e->N, m.nx = m.S * e->K, m.nw = E * e->N * e->K;
    float **arrays[] = {&m.y, &m.x, &m.w};
    const int64_t sizes[] = {m.ny, m.nx, m.nw};
    for (int i = 0; i < 3; i++) {
        float *r = randoms(sizes[i], (uint64_t)i + 1);
        *arrays[i] = zeros((size_t)sizes[i] * sizeof(float));
        for (int64_t j = 0; j < sizes[i]; j++)
            (*arrays[i])[j] = bf16_to_f32(f32_to_bf16(r[j]));
        free(r);
    }
    m.rows = zeros((size_t)m.S * sizeof *m.rows);
    for (int64_t s = 0; s < m.S; s++)
        m.rows[s] = (int32_t)(s * 7 % m.S);
    return m;
}

static void memory_free(struct memory *m)
{
    free(m->y);
    free(m->x);
    free(m->w);
    free(m->rows);
}

static void *put(struct device *dev, const void *from, size_t n)
{
    struct err err = {0};
    void *p = device_alloc(dev, n, &err);
    if (!p)
        fail_msg("%s", err.msg);
    dev->ops->write(dev, p, from, n);
    device_sync(dev);
    return p;
}

/* The product's output, read back. */
static float *compute(struct device *dev, const struct product *p, const struct memory *m)
{
    int32_t offset[E + 1];
    struct err err = {0};
    int64_t each = p->e->N * p->e->K;
    bool half = p->half && p->d != BACKWARD_WEIGHT;
    size_t sizes[] = {(size_t)m->ny * 4, (size_t)m->nx * 4, (size_t)m->nw * (half ? 2 : 4)};
    uint16_t *narrow = zeros((size_t)m->nw * 2);
    for (int64_t i = 0; i < m->nw; i++)
        narrow[i] = f32_to_bf16(m->w[i]);
    char *y = put(dev, m->y, sizes[0]), *x = put(dev, m->x, sizes[1]),
         *w = put(dev, half ? (void *)narrow : (void *)m->w, sizes[2]);
    int32_t *rows = put(dev, m->rows, (size_t)m->S * sizeof *rows);
    void *weights[E];
    for (int64_t i = 0; i < E; i++)
        weights[i] = w + (size_t)(i * each) * (half ? 2 : 4);
    offsets_of(p->e, offset);
    struct grouped_args a = {
        .y = (float *)y, .x = (float *)x, .w = weights, .offset = offset, .E = E};
    a.N = a.ldy = p->e->N, a.K = a.ldx = a.ldw = p->e->K;
    a.x_row = p->gather && p->d != BACKWARD_INPUT ? rows : NULL;
    a.y_row = p->gather && p->d != FORWARD ? rows : NULL;
    a.w_type = half ? DT_BF16 : DT_F32, a.compute = dev->host_memory ? DT_F32 : DT_BF16;
    a.accumulate = p->accumulate;
    if (p->d == FORWARD)
        dev->k->grouped_forward(dev, &a);
    else if (p->d == BACKWARD_INPUT)
        dev->k->grouped_backward_input(dev, &a);
    else
        dev->k->grouped_backward_weight(dev, &a);
    float *out = zeros(sizes[p->d]);
    dev->ops->read(dev, out, p->d == FORWARD ? y : p->d == BACKWARD_INPUT ? x : w, sizes[p->d]);
    if (device_check(dev, &err))
        fail_msg("%s", err.msg);
    device_free(dev, y, sizes[0]);
    device_free(dev, x, sizes[1]);
    device_free(dev, w, sizes[2]);
    device_free(dev, rows, (size_t)m->S * sizeof *rows);
    free(narrow);
    return out;
}

/* ---- what is wrong ---- */

static bool wrong(float got, float want, double largest)
{
    if (isnan(got) || isnan(want))
        return isnan(got) != isnan(want);
    return !(fabs((double)got - want) <= limit * largest);
}

/* '.' right, 'x' all wrong, '+' some, 'N' not a number. */
static char sign_of(const float *got, const float *want, int64_t ld, int64_t rows, int64_t columns,
                    double largest)
{
    int bad = 0, nan = 0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            bad += wrong(got[i * ld + j], want[i * ld + j], largest);
            nan += isnan(got[i * ld + j]) != 0;
        }
    return nan ? 'N' : bad == rows * columns ? 'x' : bad ? '+' : '.';
}

static void picture(const float *got, const float *want, int64_t rows, int64_t columns,
                    double largest)
{
    enum { SIDE = 8, MOST = 64 };
    for (int64_t i = 0; i < rows && i < SIDE * MOST; i += SIDE) {
        char line[MOST + 1] = "";
        for (int64_t j = 0; j < columns && j < SIDE * MOST; j += SIDE)
            line[j / SIDE] = sign_of(got + i * columns + j, want + i * columns + j, columns,
                                     rows - i < SIDE ? rows - i : SIDE,
                                     columns - j < SIDE ? columns - j : SIDE, largest);
        print_message("    %5lld %s\n", (long long)i, line);
    }
}

/* Rows first … first + rows − 1 of [., columns] belong to expert e (−1: to none). */
static void compare(const char *where, const float *got, const float *want, int e, int64_t first,
                    int64_t rows, int64_t columns, double largest)
{
    int64_t n = 0, at = -1;
    got += first * columns, want += first * columns;
    for (int64_t i = 0; i < rows * columns; i++)
        if (wrong(got[i], want[i], largest)) {
            at = at < 0 ? i : at;
            n++;
        }
    if (!n)
        return;
    picture(got, want, rows, columns, largest);
    fail_msg("%s: %lld of %lld x %lld numbers of expert %d are wrong, first row %lld column %lld: "
             "%.9g, wanted %.9g (largest %.3g)",
             where, (long long)n, (long long)rows, (long long)columns, e, (long long)(at / columns),
             (long long)(at % columns), (double)got[at], (double)want[at], largest);
}

static void compare_all(const char *where, const struct product *p, const float *got,
                        const float *want, int64_t S)
{
    int32_t offset[E + 1];
    double largest = 0.1;
    int64_t columns = p->d == FORWARD ? p->e->N : p->e->K,
            n = (p->d == BACKWARD_WEIGHT ? E * p->e->N : S) * columns;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(want[i]))
            largest = fmax(largest, fabs((double)want[i]));
    offsets_of(p->e, offset);
    for (int e = 0; e < E; e++) {
        if (p->d == BACKWARD_WEIGHT)
            compare(where, got, want, e, e * p->e->N, p->e->N, columns, largest);
        else
            compare(where, got, want, e, offset[e], p->e->slots[e], columns, largest);
    }
    if (p->d != BACKWARD_WEIGHT) {
        compare(where, got, want, -1, 0, BEFORE, columns, largest);
        compare(where, got, want, -1, S - AFTER, AFTER, columns, largest);
    }
}

static struct device *cpu_open(void)
{
    struct device *cpu = NULL;
    struct err err = {0};
    if (device_open(&cpu, "cpu", 0, &err))
        fail_msg("%s", err.msg);
    return cpu;
}

/* NULL where there is none, or nothing new to see. */
static struct device *open_nth(int i)
{
    struct device *dev = NULL;
    struct err err = {0};
    if (i >= N_CARDS && has_gpu())
        return NULL;
    if (device_open(&dev, devices[i], 0, &err) == 0)
        return dev;
#ifdef __x86_64__
    if (i >= N_CARDS)
        fail_msg("%s", err.msg);
#endif
    return NULL;
}

static void check(struct device *dev, const struct product *p, const struct memory *m,
                  const float *want)
{
    char where[160];
    snprintf(where, sizeof where, "%s %s, %s, N %lld K %lld%s%s%s", dev->k->name,
             direction_names[p->d], p->e->name, (long long)p->e->N, (long long)p->e->K,
             p->half ? ", w bf16" : "", p->gather ? ", gathered" : "",
             p->accumulate ? ", added" : "");
    float *got = compute(dev, p, m), *again = compute(dev, p, m);
    compare_all(where, p, got, want, m->S);
    check_same(where, got, again, p->d == FORWARD ? m->ny : p->d == BACKWARD_INPUT ? m->nx : m->nw);
    free(got);
    free(again);
}

static void direction(enum direction d)
{
    struct device *cpu = cpu_open(), *devs[N_DEVICES];
    for (int i = 0; i < N_DEVICES; i++)
        devs[i] = open_nth(i);
    for (size_t e = 0; e < sizeof all / sizeof *all; e++) {
        if (all[e].card && !devs[0])
            continue;
        struct memory m = memory_new(&all[e]);
        for (int kind = 1; kind < 8; kind += 2) {
            struct product p = {&all[e], d, kind & 1, kind & 2, kind & 4};
            p.half ^= p.gather && p.accumulate;
            float *want = compute(cpu, &p, &m);
            for (int i = 0; i < N_DEVICES; i++)
                if (devs[i])
                    check(devs[i], &p, &m, want);
            free(want);
        }
        memory_free(&m);
    }
    for (int i = 0; i < N_DEVICES; i++)
        device_close(devs[i]);
    device_close(cpu);
}

static void forward_is_the_cpus(void **state)
{
    (void)state;
    direction(FORWARD);
}

static void backward_input_is_the_cpus(void **state)
{
    (void)state;
    direction(BACKWARD_INPUT);
}

static void backward_weight_is_the_cpus(void **state)
{
    (void)state;
    direction(BACKWARD_WEIGHT);
}

/* Rows of the next expert are in the same piece of memory as an expert's last ones: what is not a number there must not come in. */
static void a_nan_of_an_expert_stays_with_it(void **state)
{
    (void)state;
    struct device *cpu = cpu_open();
    for (int i = 0; i < N_DEVICES; i++) {
        struct device *dev = open_nth(i);
        for (int d = 0; dev && d < N_DIRECTIONS; d++) {
            struct product p = {&all[2], (enum direction)d, true, false, false};
            struct memory m = memory_new(p.e);
            int64_t row = BEFORE + p.e->slots[0];
            m.x[row * p.e->K] = NAN;
            m.y[(row + p.e->slots[2]) * p.e->N] = NAN;
            float *want = compute(cpu, &p, &m), *got = compute(dev, &p, &m);
            compare_all(dev->k->name, &p, got, want, m.S);
            free(want);
            free(got);
            memory_free(&m);
        }
        device_close(dev);
    }
    device_close(cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_is_the_cpus),
        cmocka_unit_test(backward_input_is_the_cpus),
        cmocka_unit_test(backward_weight_is_the_cpus),
        cmocka_unit_test(a_nan_of_an_expert_stays_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
