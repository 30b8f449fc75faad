/* Functions out of the tile_codes and tile_floats of the file that includes this, one for each form and number of rows, and the row of
 * packed_ops that chooses among them. MOST_FLOATS is the including file's largest number of rows of a float form. */

#define TILE_CODES(name, form)                                                                     \
    static void name(float *strip, const void *panel, const void *block, int m,                    \
                     const struct packed_weight *w)                                                \
    {                                                                                              \
        if (m == 1)                                                                                \
            tile_codes(strip, panel, block, w, 1, form);                                           \
        else if (m == 2)                                                                           \
            tile_codes(strip, panel, block, w, 2, form);                                           \
        else if (m == 4)                                                                           \
            tile_codes(strip, panel, block, w, 4, form);                                           \
        else if (m == 8)                                                                           \
            tile_codes(strip, panel, block, w, 8, form);                                           \
        else                                                                                       \
            tile_codes(strip, panel, block, w, 16, form);                                          \
    }

#define TILE_FLOATS(name, type)                                                                    \
    static void name(float *strip, const void *panel, const void *block, int m,                    \
                     const struct packed_weight *w)                                                \
    {                                                                                              \
        if (m == 1)                                                                                \
            tile_floats(strip, panel, block, w, 1, type);                                          \
        else if (m == 2)                                                                           \
            tile_floats(strip, panel, block, w, 2, type);                                          \
        else if (MOST_FLOATS >= 4 && m == 4)                                                       \
            tile_floats(strip, panel, block, w, 4, type);                                          \
        else if (MOST_FLOATS >= 8)                                                                 \
            tile_floats(strip, panel, block, w, 8, type);                                          \
    }

TILE_CODES(tile_i4, PACKED_I4)
TILE_CODES(tile_i4_min, PACKED_I4_MIN)
TILE_CODES(tile_i5, PACKED_I5)
TILE_CODES(tile_i5_min, PACKED_I5_MIN)
TILE_CODES(tile_i6, PACKED_I6)
TILE_CODES(tile_i8, PACKED_I8)
TILE_CODES(tile_nf4, PACKED_NF4)
TILE_FLOATS(tile_f32, DT_F32)
TILE_FLOATS(tile_f16, DT_F16)
TILE_FLOATS(tile_bf16, DT_BF16)

static void tile(float *strip, const void *panel, const void *block, int m,
                 const struct packed_weight *w)
{
    static void (*const tiles[PACKED_FORMS])(float *, const void *, const void *, int,
                                             const struct packed_weight *) = {
        [PACKED_F32] = tile_f32, [PACKED_F16] = tile_f16,       [PACKED_BF16] = tile_bf16,
        [PACKED_I4] = tile_i4,   [PACKED_I4_MIN] = tile_i4_min, [PACKED_I5] = tile_i5,
        [PACKED_I6] = tile_i6,   [PACKED_I5_MIN] = tile_i5_min, [PACKED_I8] = tile_i8,
        [PACKED_NF4] = tile_nf4,
    };
    tiles[w->form](strip, panel, block, m, w);
}
