/* Reading memory: integer sums, which any compiler spreads over vector lanes. */
#include "kernels/cpu/peak.h"

#include <string.h>

float peak_sum(const float *p, int64_t n)
{
    uint32_t sum[64] = {0};
    for (int64_t i = 0; i < n; i += 64) {
        uint32_t v[64];
        memcpy(v, p + i, sizeof v);
        for (int j = 0; j < 64; j++)
            sum[j] += v[j];
    }
    uint32_t all = 0;
    for (int j = 0; j < 64; j++)
        all += sum[j];
    return (float)all;
}
