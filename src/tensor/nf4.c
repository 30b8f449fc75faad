/* NF4, read: see nf4.h. The levels are quantiles of a normal distribution scaled to [−1, 1], with an
 * exact zero; they and the midpoints between them are constants of the format.
 */
#include "tensor/nf4.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

const float nf4_levels[NF4_LEVELS] = {
    -1.0F,
    -0.6961928009986877F,
    -0.5250730514526367F,
    -0.39491748809814453F,
    -0.28444138169288635F,
    -0.18477343022823334F,
    -0.09105003625154495F,
    0.0F,
    0.07958029955625534F,
    0.16093020141124725F,
    0.24611230194568634F,
    0.33791524171829224F,
    0.44070982933044434F,
    0.5626170039176941F,
    0.7229568362236023F,
    1.0F,
};

const float nf4_thresholds[NF4_LEVELS - 1] = {
    -0.8480964004993439F,  -0.6106329262256622F,  -0.4599952697753906F,   -0.33967943489551544F,
    -0.23460740596055984F, -0.13791173323988914F, -0.045525018125772476F, 0.03979014977812767F,
    0.1202552504837513F,   0.2035212516784668F,   0.2920137718319893F,    0.3893125355243683F,
    0.5016634166240692F,   0.6427869200706482F,   0.8614784181118011F,
};

const char *const nf4_part_suffix[NF4_N_PARTS] = {
    [NF4_ABSMAX] = ".absmax",
    [NF4_NESTED_ABSMAX] = ".nested_absmax",
    [NF4_NESTED_MAP] = ".nested_quant_map",
    [NF4_MAP] = ".quant_map",
    [NF4_STATE] = ".quant_state.bitsandbytes__nf4",
};

static float value_of(const struct nf4 *q, const float scaled[NF4_LEVELS], int64_t i)
{
    uint8_t byte = q->codes[i / 2];
    return scaled[i % 2 ? byte & 15 : byte >> 4];
}

/* Values first … end−1 of one block. */
static void decode_block(float *out, const struct nf4 *q, int64_t first, int64_t end, float absmax)
{
    float scaled[NF4_LEVELS];
    for (int k = 0; k < NF4_LEVELS; k++)
        scaled[k] = nf4_levels[k] * absmax;
    int64_t i = first;
    if (i % 2 && i < end)
        *out++ = value_of(q, scaled, i++);
    for (; i + 1 < end; i += 2) {
        uint8_t byte = q->codes[i / 2];
        *out++ = scaled[byte >> 4];
        *out++ = scaled[byte & 15];
    }
    if (i < end)
        *out = value_of(q, scaled, i);
}

void nf4_decode(float *out, const struct nf4 *q, int64_t first, int64_t n)
{
    int64_t end = first + n;
    assert(first >= 0 && n >= 0 && end <= q->n);
    for (int64_t i = first; i < end;) {
        int64_t block = i / q->block_size, stop = (block + 1) * q->block_size;
        stop = stop < end ? stop : end;
        decode_block(out + (i - first), q, i, stop, nf4_absmax(q, block));
        i = stop;
    }
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Point k of `parts` equal parts of [0.1, 1] in float32, counted from the nearer end and rounded once,
 * as torch's linspace does where a CPU multiplies and adds in one step. */
static float point(int k, int parts)
{
    float step = (1.0F - 0.1F) / (float)parts;
    return k < (parts + 1) / 2 ? fmaf(step, (float)k, 0.1F) : fmaf(-step, (float)(parts - k), 1.0F);
}

void nf4_dynamic_map(float out[NF4_MAP_SIZE], int is_signed)
{
    enum { DECADES = 7 };
    int n = 0;
    for (int i = 0; i < DECADES; i++) {
        int parts = 1 << (is_signed ? i : i + 1);
        float scale = (float)pow(10, i - (DECADES - 1));
        for (int k = 0; k < parts; k++) {
            float middle = (point(k, parts) + point(k + 1, parts)) / 2;
            out[n++] = scale * middle;
            if (is_signed)
                out[n++] = -scale * middle;
        }
    }
    out[n++] = 0;
    out[n++] = 1;
    assert(n == NF4_MAP_SIZE);
    qsort(out, (size_t)n, sizeof *out, ascending);
}
