/* Measuring the machine's limits: multiply-adds that never leave the registers, and walks over arrays larger than any cache. */
#include "kernels/limits.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "kernels/cpu/peak.h"

enum { ROUNDS = 5 };
static const int64_t n_floats = 32 << 20; /* 128 MiB an array */

typedef double (*peak)(int64_t n_rounds);

/* A reference machine has no vector unit that we know of: one scalar chain of the compiler's choice. */
static double peak_scalar(int64_t n)
{
    float a[8] = {0};
    for (int64_t i = 0; i < n; i++)
        for (int j = 0; j < 8; j++)
            a[j] = a[j] * 0.999f + 1e-3f;
    volatile float sink = a[0] + a[7];
    (void)sink;
    return (double)n * 16;
}

/* GFLOP/s of f on every thread at once. */
static double rate(peak f, int n_threads)
{
    double best = 0;
    for (int r = 0; r < ROUNDS; r++) {
        double operations = 0, begun = clock_s();
#pragma omp parallel num_threads(n_threads) reduction(+ : operations)
        operations += f(2000000);
        double gflops = operations / (clock_s() - begun) * 1e-9;
        best = gflops > best ? gflops : best;
    }
    return best;
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(double *v)
{
    qsort(v, ROUNDS, sizeof *v, ascending);
    return v[ROUNDS / 2];
}

static double walk(const float *from, float *to, int n_threads)
{
    double gbs[ROUNDS], total = 0;
    for (int r = 0; r < ROUNDS; r++) {
        double begun = clock_s();
#pragma omp parallel num_threads(n_threads) reduction(+ : total)
        {
#pragma omp for schedule(static)
            for (int64_t i = 0; i < n_floats; i += 1024) {
                if (to)
                    memcpy(to + i, from + i, 1024 * sizeof *to);
                else
                    total += peak_sum(from + i, 1024);
            }
        }
        gbs[r] = (double)n_floats * (to ? 8 : 4) / (clock_s() - begun) * 1e-9;
    }
    volatile double sink = total;
    (void)sink;
    return median(gbs);
}

int limits_measure(struct limits *out, int n_threads, struct err *err)
{
    struct limits l = {0};
    size_t n_bytes = (size_t)n_floats * sizeof(float);
    float *a = aligned_alloc(64, n_bytes), *b = aligned_alloc(64, n_bytes);
    int rc = 0;
    if (!a || !b) {
        rc = err_set(err, MOE2_ELIMIT, "measuring memory wants 2 x %zu MiB, which are not there",
                     n_bytes >> 20);
        goto done;
    }
#pragma omp parallel for schedule(static) num_threads(n_threads)
    for (int64_t i = 0; i < n_floats; i++)
        a[i] = b[i] = 1;
    peak f32 = peak_scalar, bf16 = NULL;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        f32 = peak_avx2;
    if (__builtin_cpu_supports("avx512f"))
        f32 = peak_avx512;
    if (__builtin_cpu_supports("avx512bf16"))
        bf16 = peak_avx512bf16;
#endif
    l.f32_gflops = rate(f32, n_threads);
    if (bf16)
        l.bf16_gflops = rate(bf16, n_threads);
    l.read_gbs = walk(a, NULL, n_threads);
    l.copy_gbs = walk(a, b, n_threads);
    *out = l;
done:
    free(a);
    free(b);
    return rc;
}
