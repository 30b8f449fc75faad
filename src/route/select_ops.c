/* The plain loops of the selector, and the choice among the instruction sets. */
#define SELECT_OPS select_ops_plain
#define SELECT_OPS_NAME "plain"
#include "route/select_ops_body.h"

const struct select_ops *select_ops_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &select_ops_avx512;
    if (__builtin_cpu_supports("avx2"))
        return &select_ops_avx2;
#endif
    return &select_ops_plain;
}
