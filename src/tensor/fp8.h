/* FP8 weights with one scale a tile, as DeepSeek-V3's files hold them: e4m3 codes [rows, columns] and
 * float32 `weight_scale_inv` [ceil(rows / 128), ceil(columns / 128)];
 *
 *     w[r][c] = code[r][c] · scale[r / 128][c / 128]
 *
 * Tiles at the lower and right edge may be partial. Source: deepseek-ai/DeepSeek-V3,
 * README_WEIGHTS.md and inference/kernel.py (weight_dequant).
 */
#ifndef MOE2_TENSOR_FP8_H
#define MOE2_TENSOR_FP8_H

#include <stdint.h>

enum { FP8_TILE = 128 };

struct fp8 {
    int64_t rows, columns;
    const uint8_t *codes; /* [rows, columns], borrowed */
    const float *scale;   /* [ceil(rows / 128), ceil(columns / 128)], borrowed */
};

/* Values [first, first + n) of the row-major weight to out [n]. */
void fp8_decode(float *out, const struct fp8 *w, int64_t first, int64_t n);

#endif
