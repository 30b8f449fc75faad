/* The loops of row_ops.h, compiled once per instruction set; ROWS_OPS is the name of the table.
 *
 * Loops over LANES are what the compiler makes vectors of. e^x: x = n·ln 2 + r with ln 2 in two
 * parts, so that n·LN2_HI is exact; e^r by a polynomial of degree 6 (Cephes' expf, Moshier 1984);
 * 2^n put into the exponent. At most 2 units in the last place.
 */
#include "route/row_ops.h"

#include <math.h>
#include <string.h>

/* A fused product differs in the last bit from the plain machine's two roundings. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

enum { LANES = ROUTE_LANES, CHUNK = 64 };

static inline float exp_row(float x)
{
    const float magic = 12582912; /* 1.5 · 2^23: adding it rounds to a whole number */
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float n = (x * 1.44269504088896341f + magic) - magic;
    float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1;
    union {
        int32_t i;
        float f;
    } two_n = {.i = ((int32_t)n + 127) * (1 << 23)};
    return p * two_n.f;
}

static void sigmoid(float *restrict s, const float *restrict x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float e = exp_row(-fabsf(x[i]));
        s[i] = (x[i] < 0 ? e : 1) / (1 + e);
    }
}

static float fold_max(float lane[LANES])
{
    for (int w = LANES / 2; w; w /= 2)
        for (int j = 0; j < w; j++)
            lane[j] = lane[j + w] > lane[j] ? lane[j + w] : lane[j];
    return lane[0];
}

static float max_row(const float *x, int64_t n)
{
    float best[LANES];
    int64_t i = 0;
    for (int j = 0; j < LANES; j++)
        best[j] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            best[j] = x[i + j] > best[j] ? x[i + j] : best[j];
    for (int j = 0; i + j < n; j++)
        best[j] = x[i + j] > best[j] ? x[i + j] : best[j];
    return fold_max(best);
}

static void softmax(float *restrict s, const float *restrict x, int64_t n)
{
    float max = max_row(x, n), sum[LANES] = {0};
    for (int64_t i = 0; i < n; i++)
        s[i] = exp_row(x[i] - max);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            sum[j] += s[i + j];
    for (int j = 0; i + j < n; j++)
        sum[j] += s[i + j];
    for (int w = LANES / 2; w; w /= 2)
        for (int j = 0; j < w; j++)
            sum[j] += sum[j + w];
    float total = sum[0];
    for (i = 0; i < n; i++)
        s[i] /= total;
}

static bool all_finite(const float *x, int64_t n)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, x + i, sizeof u);
        bad |= (u & 0x7fffffff) >= 0x7f800000;
    }
    return !bad;
}

static double fold_sum(double lane[LANES])
{
    for (int w = LANES / 2; w; w /= 2)
        for (int j = 0; j < w; j++)
            lane[j] += lane[j + w];
    return lane[0];
}

static void moments(double out[2], const float *s, int64_t n)
{
    double sum[LANES] = {0}, square[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            double v = s[i + j];
            sum[j] += v;
            square[j] += v * v;
        }
    for (int j = 0; i + j < n; j++) {
        sum[j] += s[i + j];
        square[j] += (double)s[i + j] * s[i + j];
    }
    out[0] += fold_sum(sum);
    out[1] += fold_sum(square);
}

static void add(float *c, const float *a, const float *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        c[i] = a[i] + b[i];
}

static void scale_add(float *restrict y, const float *restrict x, float k, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += k * x[i];
}

static double dot(const float *a, const float *b, int64_t n)
{
    double sum[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            sum[j] += (double)a[i + j] * b[i + j];
    for (int j = 0; i + j < n; j++)
        sum[j] += (double)a[i + j] * b[i + j];
    return fold_sum(sum);
}

/* Puts number i with the values x, one a lane, into the sorted lists v and at [k, LANES]. Above the
 * place where it belongs nothing changes, below everything moves down by one; going upwards only
 * old neighbours are read. Always inlined with a constant k where that pays. */
static inline __attribute__((always_inline)) void insert(float (*restrict v)[LANES],
                                                         int32_t (*restrict at)[LANES],
                                                         const float *restrict x, int32_t i, int k)
{
    for (int m = k - 1; m > 0; m--)
        for (int j = 0; j < LANES; j++) {
            bool here = x[j] > v[m][j], above = x[j] > v[m - 1][j];
            float own = here ? x[j] : v[m][j];
            int32_t own_at = here ? i : at[m][j];
            v[m][j] = above ? v[m - 1][j] : own;
            at[m][j] = above ? at[m - 1][j] : own_at;
        }
    for (int j = 0; j < LANES; j++) {
        bool here = x[j] > v[0][j];
        v[0][j] = here ? x[j] : v[0][j];
        at[0][j] = here ? i : at[0][j];
    }
}

static void insert_all(float (*restrict v)[LANES], int32_t (*restrict at)[LANES],
                       float (*restrict tile)[LANES], int32_t from, int width, int k)
{
    if (k == 2)
        for (int i = 0; i < width; i++)
            insert(v, at, tile[i], from + i, 2);
    else if (k == 4)
        for (int i = 0; i < width; i++)
            insert(v, at, tile[i], from + i, 4);
    else if (k == 8)
        for (int i = 0; i < width; i++)
            insert(v, at, tile[i], from + i, 8);
    else
        for (int i = 0; i < width; i++)
            insert(v, at, tile[i], from + i, k);
}

typedef float quad __attribute__((vector_size(16)));
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t quad_places __attribute__((vector_size(16)));
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (quad_places){__VA_ARGS__})
#endif

/* Four rows of four numbers, turned. */
static inline void transpose4(float *out, const float *in, int64_t n)
{
    quad a, b, c, d;
    memcpy(&a, in, sizeof a);
    memcpy(&b, in + n, sizeof b);
    memcpy(&c, in + 2 * n, sizeof c);
    memcpy(&d, in + 3 * n, sizeof d);
    quad ab0 = SHUFFLE(a, b, 0, 4, 1, 5);
    quad ab1 = SHUFFLE(a, b, 2, 6, 3, 7);
    quad cd0 = SHUFFLE(c, d, 0, 4, 1, 5);
    quad cd1 = SHUFFLE(c, d, 2, 6, 3, 7);
    quad t0 = SHUFFLE(ab0, cd0, 0, 1, 4, 5);
    quad t1 = SHUFFLE(ab0, cd0, 2, 3, 6, 7);
    quad t2 = SHUFFLE(ab1, cd1, 0, 1, 4, 5);
    quad t3 = SHUFFLE(ab1, cd1, 2, 3, 6, 7);
    memcpy(out, &t0, sizeof t0);
    memcpy(out + LANES, &t1, sizeof t1);
    memcpy(out + 2 * LANES, &t2, sizeof t2);
    memcpy(out + 3 * LANES, &t3, sizeof t3);
}

/* tile[i][j] = c[j, i] for i < width, −infinity in the lanes without a row. */
static void transpose(float tile[][LANES], const float *c, int64_t n, int lanes, int width)
{
    int i = 0;
    for (; lanes == LANES && i + 4 <= width; i += 4)
        for (int j = 0; j < LANES; j += 4)
            transpose4(&tile[i][j], c + j * n + i, n);
    for (; i < width; i++)
        for (int j = 0; j < LANES; j++)
            tile[i][j] = j < lanes ? c[j * n + i] : -INFINITY;
}

/* Rows side by side, one a lane: no branch, no horizontal step. */
static void topk(int32_t *idx, const float *c, int64_t rows, int64_t n, int k)
{
    float v[ROUTE_TOPK_MAX][LANES], tile[CHUNK][LANES];
    int32_t at[ROUTE_TOPK_MAX][LANES];
    for (int64_t first = 0; first < rows; first += LANES) {
        int lanes = rows - first < LANES ? (int)(rows - first) : LANES;
        for (int m = 0; m < k; m++)
            for (int j = 0; j < LANES; j++) {
                v[m][j] = -INFINITY;
                at[m][j] = 0;
            }
        for (int64_t from = 0; from < n; from += CHUNK) {
            int width = n - from < CHUNK ? (int)(n - from) : CHUNK;
            transpose(tile, c + first * n + from, n, lanes, width);
            insert_all(v, at, tile, (int32_t)from, width, k);
        }
        for (int j = 0; j < lanes; j++)
            for (int m = 0; m < k; m++)
                idx[(first + j) * k + m] = at[m][j];
    }
}

static int64_t count(const float *x, int64_t n, float pivot)
{
    int32_t lane[LANES] = {0};
    int64_t i = 0, sum = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + j] >= pivot;
    for (; i < n; i++)
        sum += x[i] >= pivot;
    for (int j = 0; j < LANES; j++)
        sum += lane[j];
    return sum;
}

const struct row_ops ROWS_OPS = {ROWS_NAME, sigmoid,   softmax, all_finite, moments,
                                 add,       scale_add, dot,     topk,       count};
