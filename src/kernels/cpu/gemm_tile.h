/* The register tile, written once and compiled for each instruction set: the file that includes it has defined
 *
 *     VEC, V_OPERAND         a vector of LANES float32; a vector of LANES units
 *     MR, NR = 2·LANES       the tile: MR rows of 2 vectors, which with 2 of B and 1 of A fill the registers
 *     V_ZERO  V_LOAD(p)  V_SPREAD(p): the unit at p in every lane
 *     V_MAC(c, a, b)         c + a·b, unit by unit
 *     V_PUT(p, v, n, add)    stores (or adds) the first n ≤ LANES lanes at p
 *
 * The height m and width (1 or 2 vectors) are constants of each copy, so that the sums live in registers.
 */

static inline __attribute__((always_inline)) void
tile_body(float *c, int64_t ldc, const uint32_t *a, const uint32_t *b, int64_t units, const int m,
          const int n_vec, int n, const int64_t a_row, const int64_t a_unit, int64_t b_row,
          bool add)
{
    VEC sum[MR][2];
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) { /* C is wanted when the sums are done: by then it is there */
        __builtin_prefetch(c + i * ldc, 1);
        __builtin_prefetch(c + i * ldc + n - 1, 1);
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int j = 0; j < n_vec; j++)
            sum[i][j] = V_ZERO;
    for (int64_t u = 0; u < units; u++) {
        V_OPERAND vb[2];
#pragma GCC unroll 2
        for (int j = 0; j < n_vec; j++)
            vb[j] = V_LOAD(b + u * b_row + j * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < m; i++) {
            V_OPERAND va = V_SPREAD(a + i * a_row + u * a_unit);
#pragma GCC unroll 2
            for (int j = 0; j < n_vec; j++)
                sum[i][j] = V_MAC(sum[i][j], va, vb[j]);
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < m; i++) {
        if (n_vec == 2)
            V_PUT(c + i * ldc, sum[i][0], LANES, add);
        V_PUT(c + i * ldc + (n_vec - 1) * LANES, sum[i][n_vec - 1], n - (n_vec - 1) * LANES, add);
    }
}

#define TILE_OF(m)                                                                                 \
    static __attribute__((noinline)) void tile_##m(float *c, int64_t ldc, const uint32_t *a,       \
                                                   const uint32_t *b, int64_t b_row,               \
                                                   int64_t units, int n, bool by_rows, bool add)   \
    {                                                                                              \
        if (n > LANES && by_rows)                                                                  \
            tile_body(c, ldc, a, b, units, m, 2, n, GEMM_PITCH, 1, b_row, add);                    \
        else if (n > LANES)                                                                        \
            tile_body(c, ldc, a, b, units, m, 2, n, 1, MR, b_row, add);                            \
        else if (by_rows)                                                                          \
            tile_body(c, ldc, a, b, units, m, 1, n, GEMM_PITCH, 1, b_row, add);                    \
        else                                                                                       \
            tile_body(c, ldc, a, b, units, m, 1, n, 1, MR, b_row, add);                            \
    }
