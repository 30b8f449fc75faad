/* Element types: see dtype.h. */
#include "tensor/dtype.h"

#include <assert.h>
#include <math.h>

static const struct {
    const char *name;
    size_t bytes;
} types[DT_COUNT] = {
    [DT_F32] = {"F32", 4},   [DT_F16] = {"F16", 2},         [DT_BF16] = {"BF16", 2},
    [DT_F64] = {"F64", 8},   [DT_I8] = {"I8", 1},           [DT_U8] = {"U8", 1},
    [DT_I16] = {"I16", 2},   [DT_U16] = {"U16", 2},         [DT_I32] = {"I32", 4},
    [DT_U32] = {"U32", 4},   [DT_I64] = {"I64", 8},         [DT_U64] = {"U64", 8},
    [DT_BOOL] = {"BOOL", 1}, [DT_F8_E4M3] = {"F8_E4M3", 1},
};

size_t dtype_bytes(enum dtype t)
{
    return types[t].bytes;
}

const char *dtype_name(enum dtype t)
{
    return types[t].name;
}

int dtype_from_name(const char *name)
{
    for (int t = 0; t < DT_COUNT; t++)
        if (strcmp(types[t].name, name) == 0)
            return t;
    return -1;
}

float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 1023, u;
    float f;
    if (exponent == 31) {
        u = sign | 0x7f800000 | mantissa << 13;
    } else if (exponent) {
        u = sign | (exponent + 112) << 23 | mantissa << 13;
    } else { /* subnormal: mantissa · 2^−24 is exact in float32 */
        f = (float)mantissa * 0x1p-24f;
        return sign ? -f : f;
    }
    memcpy(&f, &u, sizeof f);
    return f;
}

uint16_t f32_to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    u &= 0x7fffffff;
    if (u > 0x7f800000)
        return sign | 0x7e00;
    if (u >= 0x47800000) /* 65536 and above */
        return sign | 0x7c00;
    if (u < 0x38800000) { /* below 2^−14: rint of the value in units of 2^−24 */
        float a;
        memcpy(&a, &u, sizeof a);
        return (uint16_t)(sign | (uint16_t)rintf(a * 0x1p24f));
    }
    u += 0xfff + (u >> 13 & 1);
    return (uint16_t)(sign | (u - 0x38000000) >> 13);
}

/* OCP 8-bit float: sign, 4 exponent bits of bias 7, 3 of mantissa; no infinity, 0x7f is NaN. */
static float f8_e4m3_to_f32(uint8_t b)
{
    int exponent = b >> 3 & 15, mantissa = b & 7;
    float f;
    if (exponent == 15 && mantissa == 7)
        f = NAN;
    else if (exponent)
        f = ldexpf((float)(8 + mantissa), exponent - 10);
    else
        f = ldexpf((float)mantissa, -9);
    return b & 0x80 ? -f : f;
}

#define WIDEN(type)                                                                                \
    for (int64_t i = 0; i < n; i++)                                                                \
    out[i] = (float)((const type *)in)[i]

void dtype_to_f32(float *out, const void *in, enum dtype from, int64_t n)
{
    switch (from) {
    case DT_F32:
        memcpy(out, in, (size_t)n * 4);
        break;
    case DT_F16:
        for (int64_t i = 0; i < n; i++)
            out[i] = f16_to_f32(((const uint16_t *)in)[i]);
        break;
    case DT_BF16:
        for (int64_t i = 0; i < n; i++)
            out[i] = bf16_to_f32(((const uint16_t *)in)[i]);
        break;
    case DT_F8_E4M3:
        for (int64_t i = 0; i < n; i++)
            out[i] = f8_e4m3_to_f32(((const uint8_t *)in)[i]);
        break;
    case DT_F64:
        WIDEN(double);
        break;
    case DT_I8:
        WIDEN(int8_t);
        break;
    case DT_BOOL:
    case DT_U8:
        WIDEN(uint8_t);
        break;
    case DT_I16:
        WIDEN(int16_t);
        break;
    case DT_U16:
        WIDEN(uint16_t);
        break;
    case DT_I32:
        WIDEN(int32_t);
        break;
    case DT_U32:
        WIDEN(uint32_t);
        break;
    case DT_I64:
        WIDEN(int64_t);
        break;
    case DT_U64:
        WIDEN(uint64_t);
        break;
    case DT_COUNT:
        assert(0);
    }
}

void dtype_bytes_to_f32(float *out, const uint8_t *bytes, enum dtype from, int64_t first, int64_t n)
{
    enum { PIECE = 512 };
    uint64_t aligned[PIECE];
    size_t size = dtype_bytes(from);
    bytes += (size_t)first * size;
    if ((uintptr_t)bytes % size == 0) {
        dtype_to_f32(out, bytes, from, n);
        return;
    }
    for (int64_t i = 0; i < n; i += PIECE) {
        int64_t m = n - i < PIECE ? n - i : PIECE;
        memcpy(aligned, bytes + (size_t)i * size, (size_t)m * size);
        dtype_to_f32(out + i, aligned, from, m);
    }
}

void dtype_from_f32(void *out, const float *in, enum dtype to, int64_t n)
{
    assert(to == DT_F32 || to == DT_F16 || to == DT_BF16);
    if (to == DT_F32)
        memcpy(out, in, (size_t)n * 4);
    else if (to == DT_F16)
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)out)[i] = f32_to_f16(in[i]);
    else
        for (int64_t i = 0; i < n; i++)
            ((uint16_t *)out)[i] = f32_to_bf16(in[i]);
}
