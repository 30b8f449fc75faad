/* FP8 weights with one scale a tile: see fp8.h. */
#include "tensor/fp8.h"

#include <assert.h>

#include "tensor/dtype.h"

void fp8_decode(float *out, const struct fp8 *w, int64_t first, int64_t n)
{
    int64_t tiles = (w->columns + FP8_TILE - 1) / FP8_TILE, end = first + n;
    assert(first >= 0 && n >= 0 && end <= w->rows * w->columns);
    for (int64_t i = first; i < end;) {
        int64_t row = i / w->columns, column = i % w->columns;
        int64_t stop = (column / FP8_TILE + 1) * FP8_TILE; /* of this tile in this row */
        stop = stop < w->columns ? stop : w->columns;
        int64_t m = stop - column < end - i ? stop - column : end - i;
        float scale = w->scale[row / FP8_TILE * tiles + column / FP8_TILE];
        dtype_to_f32(out, w->codes + i, DT_F8_E4M3, m);
        for (int64_t j = 0; j < m; j++)
            out[j] *= scale;
        out += m, i += m;
    }
}
