/* Speed of matrix products on a GPU, at the shapes of large models, beside the largest dense product of the same run.
 *
 *     bench_cuda_products [--device cuda] [--json] [--small] [--experts | --adapters]
 *
 * Each row is the median of 11 batches between two waits for the device, and counts multiply-adds as two. Operands are normal random
 * numbers: zeros would draw less power and look faster. "ratio" is to the first row, bf16 8192 cubed with weights that are bf16
 * already. The experts' rows are one layer of DeepSeek-V3 on 4,096 tokens that pick 8 of 256 experts at random: an expert has 128
 * tokens more or less, and its weights are read (its gradients written) for those. --small: the same at sizes for the emulator.
 * Adapters' rows are those of rank 8 on Moonlight's experts, 4,096 tokens that pick 6 of 64, by the bytes of the wide side alone.
 * --experts: of the dense products only the first, and no adapters; --adapters: these alone. --device cuda:plain on a Hopper GPU: without the kernels that only it has.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/stats.h"
#include "kernels/kernels.h"

enum { BATCHES = 11 };
enum direction { FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT };
static const char *const direction_names[] = {"forward", "backward_input", "backward_weight"};

static struct device *dev;
static bool json, small, experts_only, adapters_only;
static double reference; /* TFLOP/s of the first row */
static struct {
    float *at; /* normal numbers on the device, from which all operands are copied */
    int64_t n;
} block;

static void stop(const char *what, const struct err *err)
{
    fprintf(stderr, "bench_cuda_products: %s: %s\n", what, err->msg);
    exit(1);
}

static void *take(size_t n_bytes)
{
    struct err err = {0};
    void *p = device_alloc(dev, n_bytes, &err);
    if (!p)
        stop("memory", &err);
    return p;
}

static void block_make(void)
{
    struct rng r;
    block.n = small ? 4096 : 1 << 24;
    float *here = malloc((size_t)block.n * sizeof *here);
    struct err err = {MOE2_ELIMIT, "none left"};
    if (!here)
        stop("memory", &err);
    rng_init(&r, 1);
    for (int64_t i = 0; i < block.n; i++)
        here[i] = (float)rng_normal(&r);
    block.at = take((size_t)block.n * sizeof *here);
    dev->ops->write(dev, block.at, here, (size_t)block.n * sizeof *here);
    device_sync(dev);
    free(here);
}

/* n normal numbers; arrays of different sizes begin at different places of the block. */
static float *normals(int64_t n)
{
    float *p = take((size_t)n * sizeof *p);
    for (int64_t i = 0, from = n * 7 % (block.n / 2); i < n; from = 0) {
        int64_t some = n - i < block.n - from ? n - i : block.n - from;
        dev->k->copy(dev, p + i, block.at + from, some);
        i += some;
    }
    return p;
}

static uint16_t *halves(int64_t n)
{
    uint16_t *p = take((size_t)n * sizeof *p);
    for (int64_t i = 0; i < n; i += block.n)
        dev->k->to_bf16(dev, p + i, block.at, n - i < block.n ? n - i : block.n);
    return p;
}

static size_t type_size(enum dtype type)
{
    return type == DT_BF16 ? 2 : 4;
}

static void *weights(int64_t n, enum dtype type)
{
    return type == DT_BF16 ? (void *)halves(n) : (void *)normals(n);
}

struct job {
    enum direction direction;
    const struct linear_args *linear;
    const struct grouped_args *grouped;
};

static void run(const struct job *j)
{
    const struct kernels *k = dev->k;
    if (j->linear && j->direction == FORWARD)
        k->linear_forward(dev, j->linear);
    else if (j->linear && j->direction == BACKWARD_INPUT)
        k->linear_backward_input(dev, j->linear);
    else if (j->linear)
        k->linear_backward_weight(dev, j->linear);
    else if (j->direction == FORWARD)
        k->grouped_forward(dev, j->grouped);
    else if (j->direction == BACKWARD_INPUT)
        k->grouped_backward_input(dev, j->grouped);
    else
        k->grouped_backward_weight(dev, j->grouped);
}

static double batch(const struct job *j, int times)
{
    device_sync(dev);
    double begun = clock_s();
    for (int i = 0; i < times; i++)
        run(j);
    device_sync(dev);
    return (clock_s() - begun) / times;
}

/* Median seconds, each batch long enough to be timed. */
static double seconds(const struct job *j)
{
    double v[BATCHES], once;
    struct err err = {0};
    run(j);
    once = batch(j, 1);
    int times = once < 5e-3 && !small ? (int)(5e-3 / once) + 1 : 1;
    for (int i = 0; i < BATCHES; i++)
        v[i] = batch(j, times);
    if (device_check(dev, &err))
        stop("a product", &err);
    return stats_median(v, BATCHES);
}

static void row(const char *name, double operations, double s)
{
    double t = operations / s * 1e-12;
    if (reference == 0)
        reference = t;
    if (json)
        printf("{\"device\": \"%s\", \"kernels\": \"%s\", \"name\": \"%s\", \"ms\": %.4f, "
               "\"tflops\": %.4g, \"ratio\": "
               "%.4f}\n",
               dev->name, dev->k->name, name, s * 1e3, t, t / reference);
    else
        printf("%-64s %9.3f ms %9.4g TFLOP/s  %5.2f\n", name, s * 1e3, t, t / reference);
    fflush(stdout);
}

/* ---- dense ---- */

struct shape {
    int64_t M, N, K;
    enum dtype w_type, compute;
};

static void dense(enum direction d, const char *what, const struct shape *s)
{
    char name[128];
    enum dtype type = d == BACKWARD_WEIGHT ? DT_F32 : s->w_type;
    struct linear_args a = {.M = s->M, .N = s->N, .K = s->K, .ldy = s->N, .ldx = s->K};
    a.y = normals(s->M * s->N);
    a.x = normals(s->M * s->K);
    a.w = weights(s->N * s->K, type);
    a.ldw = s->K, a.w_type = type, a.compute = s->compute;
    snprintf(name, sizeof name, "%s %s %lldx%lldx%lld %s, w %s", what, direction_names[d],
             (long long)s->M, (long long)s->N, (long long)s->K, dtype_name(s->compute),
             dtype_name(type));
    row(name, 2.0 * (double)s->M * (double)s->N * (double)s->K,
        seconds(&(struct job){d, &a, NULL}));
    device_free(dev, a.y, (size_t)(s->M * s->N) * sizeof *a.y);
    device_free(dev, a.x, (size_t)(s->M * s->K) * sizeof *a.x);
    device_free(dev, a.w, (size_t)(s->N * s->K) * type_size(type));
}

static void all_dense(void)
{
    static const struct {
        const char *what;
        struct shape s;
        bool gradients;
    } cases[] = {{"dense", {8192, 8192, 8192, DT_BF16, DT_BF16}, false},
                 {"dense", {8192, 8192, 8192, DT_F32, DT_BF16}, true},
                 {"qwen2.5-7b qkv", {4096, 4608, 3584, DT_BF16, DT_BF16}, true},
                 {"qwen2.5-7b up", {4096, 18944, 3584, DT_BF16, DT_BF16}, true},
                 {"qwen2.5-7b down", {4096, 3584, 18944, DT_BF16, DT_BF16}, true},
                 {"qwen2.5-7b head", {4096, 152064, 3584, DT_BF16, DT_BF16}, true},
                 {"dense", {4096, 4096, 4096, DT_F32, DT_F32}, true}};
    size_t n = experts_only ? 1 : sizeof cases / sizeof *cases;
    for (size_t i = 0; i < n; i++) {
        struct shape s = cases[i].s;
        if (small)
            s.M /= 128, s.N /= 128, s.K /= 128;
        for (int d = FORWARD; d <= (cases[i].gradients ? BACKWARD_WEIGHT : FORWARD); d++)
            dense(d, cases[i].what, &s);
    }
}

/* ---- experts ---- */

struct layer {
    int64_t T, E, D, F, picks; /* tokens, experts, width, inner width, experts of a token */
    int32_t *offset;           /* host [E+1] */
    int32_t *rows;             /* device [T·picks]: the token of each slot */
    double total[3];           /* seconds of a direction */
};

/* Every token picks some distinct experts; slots by expert, then by token. */
static void route(struct layer *l)
{
    struct rng r;
    int64_t S = l->T * l->picks, slot = 0;
    bool *picked = calloc((size_t)(l->T * l->E), 1);
    int32_t *tokens = calloc((size_t)S, sizeof *tokens);
    struct err err = {MOE2_ELIMIT, "none left"};
    l->offset = calloc((size_t)l->E + 1, sizeof *l->offset);
    if (!picked || !tokens || !l->offset)
        stop("memory", &err);
    rng_init(&r, 2);
    for (int64_t t = 0; t < l->T; t++)
        for (int n = 0; n < l->picks;) {
            bool *p = &picked[t * l->E + (int64_t)rng_below(&r, (uint64_t)l->E)];
            n += !*p;
            *p = true;
        }
    for (int64_t e = 0; e < l->E; e++) {
        for (int64_t t = 0; t < l->T; t++)
            if (picked[t * l->E + e])
                tokens[slot++] = (int32_t)t;
        l->offset[e + 1] = (int32_t)slot;
    }
    l->rows = take((size_t)S * sizeof *l->rows);
    dev->ops->write(dev, l->rows, tokens, (size_t)S * sizeof *tokens);
    device_sync(dev);
    free(tokens);
    free(picked);
}

/* One product of all experts; weights bf16 where they are read. Only y or only x is of tokens and gathered, the other of slots. */
static void experts(struct layer *l, const char *what, enum direction d, int64_t N, int64_t K,
                    bool tokens_x)
{
    char name[128];
    int64_t S = l->T * l->picks;
    bool gather_x = tokens_x && d != BACKWARD_INPUT, gather_y = !tokens_x && d != FORWARD;
    int64_t n_y = (gather_y ? l->T : S) * N, n_x = (gather_x ? l->T : S) * K;
    enum dtype type = d == BACKWARD_WEIGHT ? DT_F32 : DT_BF16;
    void **w = calloc((size_t)l->E, sizeof *w);
    char *all = weights(l->E * N * K, type);
    for (int64_t e = 0; e < l->E && w; e++)
        w[e] = all + (size_t)(e * N * K) * type_size(type);
    struct grouped_args a = {.w = w, .offset = l->offset, .E = l->E, .N = N, .K = K};
    a.y = normals(n_y), a.x = normals(n_x);
    a.ldy = N, a.ldx = a.ldw = K;
    a.x_row = gather_x ? l->rows : NULL, a.y_row = gather_y ? l->rows : NULL;
    a.w_type = type, a.compute = DT_BF16;
    snprintf(name, sizeof name, "v3 experts %s %s %lld slots, %lld of %lldx%lld", what,
             direction_names[d], (long long)S, (long long)l->E, (long long)N, (long long)K);
    double s = seconds(&(struct job){d, NULL, &a});
    row(name, 2.0 * (double)S * (double)N * (double)K, s);
    l->total[d] += s;
    device_free(dev, a.y, (size_t)n_y * sizeof *a.y);
    device_free(dev, a.x, (size_t)n_x * sizeof *a.x);
    device_free(dev, all, (size_t)(l->E * N * K) * type_size(type));
    free(w);
}

static void all_experts(void)
{
    struct layer l = {.T = 4096, .E = 256, .D = 7168, .F = 2048, .picks = 8};
    if (small)
        l.T = 32, l.E = 16, l.D = 56, l.F = 32;
    route(&l);
    for (int d = FORWARD; d <= BACKWARD_WEIGHT; d++) {
        char name[64];
        experts(&l, "gate+up", d, 2 * l.F, l.D, true);
        experts(&l, "down", d, l.D, l.F, false);
        snprintf(name, sizeof name, "v3 experts, the layer's %s", direction_names[d]);
        row(name, 2.0 * (double)(l.T * l.picks) * (double)(3 * l.F) * (double)l.D, l.total[d]);
    }
    device_free(dev, l.rows, (size_t)(l.T * l.picks) * sizeof *l.rows);
    free(l.offset);
}

/* ---- adapters on experts ---- */

/* One narrow product of all experts. tokens: its wide side is of tokens, gathered; added: that side is read and written. */
struct adapter {
    const char *name;
    enum direction direction;
    int64_t N, K, ldy, ldx;
    bool tokens, added;
};

static void adapter(struct layer *l, const struct adapter *p)
{
    int64_t S = l->T * l->picks, wide = p->N > p->K ? p->N : p->K;
    int64_t n_y = S * p->ldy, n_x = (p->tokens ? l->T : S) * p->ldx, n_w = l->E * p->N * p->K;
    void **w = calloc((size_t)l->E, sizeof *w);
    float *all = normals(n_w);
    for (int64_t e = 0; e < l->E && w; e++)
        w[e] = all + e * p->N * p->K;
    struct grouped_args a = {.w = w, .offset = l->offset, .E = l->E, .N = p->N, .K = p->K};
    a.y = normals(n_y), a.x = normals(n_x);
    a.ldy = p->ldy, a.ldx = p->ldx, a.ldw = p->K;
    a.x_row = p->tokens ? l->rows : NULL;
    a.w_type = DT_F32, a.compute = DT_BF16, a.accumulate = p->added;
    double s = seconds(&(struct job){p->direction, NULL, &a}),
           gbs = 1e-9 * (double)(S * wide) * (p->added ? 8 : 4) / s;
    if (json)
        printf("{\"device\": \"%s\", \"name\": \"adapters %s\", \"ms\": %.4f, \"gbs\": %.1f}\n",
               dev->name, p->name, s * 1e3, gbs);
    else
        printf("adapters %-55s %9.3f ms %9.1f GB/s\n", p->name, s * 1e3, gbs);
    device_free(dev, a.y, (size_t)n_y * sizeof *a.y);
    device_free(dev, a.x, (size_t)n_x * sizeof *a.x);
    device_free(dev, all, (size_t)n_w * sizeof *all);
    free(w);
}

static void all_adapters(void)
{
    struct layer l = {.T = 4096, .E = 64, .D = 2048, .F = 1408, .picks = 6};
    if (small)
        l.T = 32, l.E = 8, l.D = 64, l.F = 32;
    int64_t D = l.D, F = l.F, r = 8;
    const struct adapter all[] = {
        {"A of gate+up, forward", FORWARD, 2 * r, D, 2 * r, D, true, false},
        {"B of gate, forward", FORWARD, F, r, 2 * F, 2 * r, false, true},
        {"B of gate, backward_input", BACKWARD_INPUT, F, r, 2 * F, 2 * r, false, false},
        {"B of gate, backward_weight", BACKWARD_WEIGHT, F, r, 2 * F, 2 * r, false, false},
        {"A of gate+up, backward_weight", BACKWARD_WEIGHT, 2 * r, D, 2 * r, D, true, false},
        {"A of gate+up, backward_input", BACKWARD_INPUT, 2 * r, D, 2 * r, D, false, true},
    };
    route(&l);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        adapter(&l, &all[i]);
    device_free(dev, l.rows, (size_t)(l.T * l.picks) * sizeof *l.rows);
    free(l.offset);
}

int main(int argc, char **argv)
{
    const char *name = "cuda";
    struct err err = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--small") == 0) {
            small = true;
        } else if (strcmp(argv[i], "--experts") == 0) {
            experts_only = true;
        } else if (strcmp(argv[i], "--adapters") == 0) {
            adapters_only = true;
        } else if (strcmp(argv[i], "--device") == 0 && i + 1 < argc) {
            name = argv[++i];
        } else {
            fprintf(stderr, "usage: bench_cuda_products [--device NAME] [--json] [--small] "
                            "[--experts | --adapters]\n");
            return 2;
        }
    }
    if (device_open(&dev, name, 0, &err))
        stop(name, &err);
    if (!json)
        printf("kernels: %s\n", dev->k->name);
    block_make();
    if (!adapters_only) {
        all_dense();
        all_experts();
    }
    if (!experts_only)
        all_adapters();
    device_free(dev, block.at, (size_t)block.n * sizeof *block.at);
    device_close(dev);
    return 0;
}
