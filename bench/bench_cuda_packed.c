/* Speed of products with packed weights on a GPU (or any device): a few rows, where the weight's bytes are what counts, and a prompt's.
 *
 *     bench_cuda_packed [--device cuda] [--only WORD] [--json] [--small]
 *
 * A row is a form, a shape and a number of rows of x: the median over batches of launches between two waits. Each launch takes the next of
 * as many weights as fill "turn" bytes, so that none is found in a cache; GB/s count the packed bytes once, TFLOP/s two operations a
 * number and row. --small takes sizes that an emulated GPU can do, to see that everything runs; its times say nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/stats.h"
#include "kernels/kernels.h"

enum { LAUNCHES = 40, BATCHES = 5, MOST_WEIGHTS = 64, PIECE = 64 };

static const struct {
    const char *name;
    enum packed_form form;
    int group, largest; /* numbers a scale serves; the largest code, 0: floats */
} forms[] = {{"nf4", PACKED_NF4, 64, 15},       {"q4", PACKED_I4, 32, 15},
             {"q4_min", PACKED_I4_MIN, 32, 15}, {"q6", PACKED_I6, 16, 63},
             {"q8", PACKED_I8, 32, 255},        {"bf16", PACKED_BF16, 1, 0}};

static const struct {
    int64_t N, K;
    bool gated;
} shapes[] = {{4096, 4096, false}, {28672, 4096, true}, {4096, 14336, false}, {1024, 4096, false}};

static const int64_t rows[] = {1, 2, 4, 8, 512};

enum {
    N_FORMS = sizeof forms / sizeof *forms,
    N_SHAPES = sizeof shapes / sizeof *shapes,
    N_ROWS = sizeof rows / sizeof *rows
};

struct bench {
    struct device *dev;
    const char *only;
    bool json, small;
    size_t turn;
    int launches, batches;
};

/* Weights of a form and shape, one behind the other, and x and y of the most rows. */
struct job {
    struct packed_weight w[MOST_WEIGHTS];
    int n_weights;
    size_t each, n_xy;
    char *memory;
    float *x, *y;
};

static void *must(void *p)
{
    if (!p) {
        fprintf(stderr, "bench_cuda_packed: no memory\n");
        exit(1);
    }
    return p;
}

/* The same random rows again and again. */
static void fill(struct bench *b, struct job *j, int f)
{
    int64_t K = j->w[0].K, groups = PIECE * K / forms[f].group;
    uint8_t *codes = must(malloc((size_t)(PIECE * K)));
    float *f32 = must(malloc((size_t)(PIECE * K) * sizeof *f32)),
          *scale = must(malloc((size_t)groups * sizeof *scale)),
          *min = must(malloc((size_t)groups * sizeof *min));
    struct rng r;
    rng_init(&r, 1);
    for (int64_t i = 0; i < PIECE * K; i++) {
        codes[i] = (uint8_t)(forms[f].largest & (int)rng_next(&r));
        f32[i] = (float)(rng_uniform(&r) - 0.5);
    }
    for (int64_t i = 0; i < groups; i++)
        scale[i] = 0.01F, min[i] = -0.08F;
    struct packed_source from = {f32, codes, scale, min};
    for (int i = 0; i < j->n_weights; i++)
        for (int64_t first = 0; first < j->w[i].N; first += PIECE)
            b->dev->k->packed_pack(b->dev, &j->w[i], first, PIECE, &from);
    b->dev->ops->write(b->dev, j->x, f32,
                       (size_t)K * sizeof *f32); /* the first row; others are 0 */
    device_sync(b->dev);
    free(codes);
    free(f32);
    free(scale);
    free(min);
}

static void open_job(struct bench *b, struct job *j, int f, int s, enum dtype compute)
{
    int64_t shrink = b->small ? 16 : 1, N = shapes[s].N / shrink, K = shapes[s].K / shrink;
    struct packed_weight w = {NULL, N, K, forms[f].form, compute, shapes[s].gated};
    j->each = (b->dev->k->packed_bytes(b->dev, &w) + 255) / 256 * 256;
    j->n_weights = (int)(b->turn / j->each) + 1;
    j->n_weights = j->n_weights > MOST_WEIGHTS ? MOST_WEIGHTS : j->n_weights;
    j->memory = must(device_alloc(b->dev, j->each * (size_t)j->n_weights, NULL));
    j->n_xy = (size_t)rows[N_ROWS - 1] * (size_t)(N > K ? N : K) * sizeof(float);
    j->x = must(device_alloc(b->dev, j->n_xy, NULL));
    j->y = must(device_alloc(b->dev, j->n_xy, NULL));
    b->dev->ops->zero(b->dev, j->x, j->n_xy);
    b->dev->ops->zero(b->dev, j->memory, j->each * (size_t)j->n_weights);
    for (int i = 0; i < j->n_weights; i++) {
        j->w[i] = w;
        j->w[i].packed = j->memory + (size_t)i * j->each;
    }
    fill(b, j, f);
}

static void close_job(struct bench *b, struct job *j)
{
    device_free(b->dev, j->memory, j->each * (size_t)j->n_weights);
    device_free(b->dev, j->x, j->n_xy);
    device_free(b->dev, j->y, j->n_xy);
}

static void launch(struct bench *b, struct job *j, int i, int64_t M)
{
    const struct packed_weight *w = &j->w[i % j->n_weights];
    int32_t offset[2] = {0, (int32_t)M};
    struct packed_args a = {.y = j->y, .x = j->x, .w = w, .offset = offset, .E = 1, .ldx = w->K};
    a.ldy = w->gated ? w->N / 2 : w->N;
    b->dev->k->packed_forward(b->dev, &a);
}

static double seconds(struct bench *b, struct job *j, int64_t M)
{
    double v[BATCHES];
    int turn = 0;
    launch(b, j, turn++, M);
    device_sync(b->dev);
    for (int i = 0; i < b->batches; i++) {
        double begun_s = clock_s();
        for (int l = 0; l < b->launches; l++)
            launch(b, j, turn++, M);
        device_sync(b->dev);
        v[i] = (clock_s() - begun_s) / b->launches;
    }
    return stats_median(v, b->batches);
}

static void measure(struct bench *b, int f, int s)
{
    struct job j = {0};
    open_job(b, &j, f, s, DT_BF16);
    for (int i = 0; i < (b->small ? N_ROWS - 1 : N_ROWS); i++) {
        double took_s = seconds(b, &j, rows[i]), gbs = (double)j.each / took_s * 1e-9;
        double tflops = 2e-12 * (double)(j.w[0].N * j.w[0].K * rows[i]) / took_s;
        if (b->json)
            printf("{\"kernel\": \"packed_forward\", \"form\": \"%s\", \"N\": %lld, \"K\": %lld, "
                   "\"rows\": %lld, \"seconds\": %.9g, \"gb_per_s\": %.4g, \"tflops\": %.4g}\n",
                   forms[f].name, (long long)j.w[0].N, (long long)j.w[0].K, (long long)rows[i],
                   took_s, gbs, tflops);
        else
            printf("%-7s %6lld x %-6lld %4lld rows %9.2f us %8.1f GB/s %8.2f TFLOP/s\n",
                   forms[f].name, (long long)j.w[0].N, (long long)j.w[0].K, (long long)rows[i],
                   took_s * 1e6, gbs, tflops);
        fflush(stdout);
    }
    close_job(b, &j);
}

int main(int argc, char **argv)
{
    struct bench b = {.only = "", .turn = (size_t)512 << 20};
    const char *device = "cuda";
    struct err err = {0};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            b.json = true;
        } else if (strcmp(argv[i], "--small") == 0) {
            b.small = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--device") == 0) {
            device = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--only") == 0) {
            b.only = argv[++i];
        } else {
            fprintf(stderr, "bench_cuda_packed [--device cuda] [--only WORD] [--json] [--small]\n");
            return 2;
        }
    }
    b.turn = b.small ? 1 : b.turn;
    b.launches = b.small ? 1 : LAUNCHES;
    b.batches = b.small ? 1 : BATCHES;
    if (device_open(&b.dev, device, 0, &err) != 0) {
        fprintf(stderr, "bench_cuda_packed: %s\n", err.msg);
        return 1;
    }
    for (int f = 0; f < N_FORMS; f++)
        for (int s = 0; s < N_SHAPES; s++)
            if (strstr(forms[f].name, b.only))
                measure(&b, f, s);
    int rc = device_check(b.dev, &err);
    if (rc)
        fprintf(stderr, "bench_cuda_packed: %s\n", err.msg);
    device_close(b.dev);
    return rc ? 1 : 0;
}
