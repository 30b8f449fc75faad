/* The plain loops, the choice among the instruction sets, and selection by bisection. */
#define ROWS_OPS row_ops_plain
#define ROWS_NAME "plain"
#include "route/row_ops_body.h"

#include <assert.h>

const struct row_ops *row_ops_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &row_ops_avx512;
    if (__builtin_cpu_supports("avx2"))
        return &row_ops_avx2;
#endif
    return &row_ops_plain;
}

/* Floats in the order of whole numbers: the bits, those of negative ones turned round. */
static float from_order(int64_t place)
{
    union {
        int32_t i;
        float f;
    } u = {.i = (int32_t)place};
    u.i ^= u.i < 0 ? 0x7fffffff : 0;
    return u.f;
}

/* The largest v with at least k of x >= v is the k-th largest of x. */
float order_kth(const struct row_ops *ops, const float *x, int64_t n, int64_t k)
{
    assert(k >= 1 && k <= n);
    int64_t low = -0x7f800001, high = 0x7f800000; /* −infinity, infinity */
    while (low < high) {
        int64_t middle = low + (high - low + 1) / 2;
        if (ops->count(x, n, from_order(middle)) >= k)
            low = middle;
        else
            high = middle - 1;
    }
    return from_order(low);
}
