/* Element types: what a number in a file or a buffer is. Names are safetensors' own. */
#ifndef MOE2_TENSOR_DTYPE_H
#define MOE2_TENSOR_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum dtype {
    DT_F32,
    DT_F16,
    DT_BF16,
    DT_F64,
    DT_I8,
    DT_U8,
    DT_I16,
    DT_U16,
    DT_I32,
    DT_U32,
    DT_I64,
    DT_U64,
    DT_BOOL,
    DT_F8_E4M3,
    DT_COUNT
};

size_t dtype_bytes(enum dtype t);
const char *dtype_name(enum dtype t);  /* "F32", "BF16", … */
int dtype_from_name(const char *name); /* an enum dtype, or −1 */

/* n elements of type from, widened to float32. Every type of the enum but I64, U64 and F64 keeps its value exactly or to the nearest. */
void dtype_to_f32(float *out, const void *in, enum dtype from, int64_t n);

/* The same for elements [first, first + n) of bytes of any alignment. */
void dtype_bytes_to_f32(float *out, const uint8_t *bytes, enum dtype from, int64_t first,
                        int64_t n);

/* n float32 rounded to the nearest (ties to even) of F32, F16 or BF16. */
void dtype_from_f32(void *out, const float *in, enum dtype to, int64_t n);

static inline float bf16_to_f32(uint16_t h)
{
    uint32_t u = (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Nearest, ties to even; NaN stays NaN. */
static inline uint16_t f32_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if ((u & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);

#endif
