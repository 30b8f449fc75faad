/* Packing a weight into the panels of packed.h, and reading rows back out of them (embeddings). */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/packed.h"

static int64_t n_panels(const struct packed_weight *w)
{
    int64_t rows = w->gated ? w->N / 2 : w->N;
    return (rows + PANEL - 1) / PANEL * (w->gated ? 2 : 1);
}

size_t packed_bytes(struct device *dev, const struct packed_weight *w)
{
    (void)dev;
    const struct packed_layout *l = &packed_layouts[w->form];
    assert(!l->bits || (w->K % STEP == 0 && w->K % l->group == 0));
    return (size_t)(n_panels(w) * packed_panel_bytes(w));
}

/* The row of w in a lane of a panel, −1 behind the end. */
static int64_t row_of(const struct packed_weight *w, int64_t panel, int lane)
{
    int64_t row = (w->gated ? panel / 2 : panel) * PANEL + lane, end = w->gated ? w->N / 2 : w->N;
    if (row >= end)
        return -1;
    return w->gated && panel % 2 ? end + row : row;
}

/* Byte and bit of number k of a lane within the codes of its step. */
static inline int byte_in_vector(int lane, int k)
{
    return 4 * lane + k % 4;
}

static void put_code(uint8_t *step, int bits, int lane, int k, unsigned code)
{
    int j = k / 4, at = byte_in_vector(lane, k);
    if (bits == 8) {
        step[j * 64 + at] = (uint8_t)code;
        return;
    }
    step[j / 2 * 64 + at] |= (uint8_t)((code & 15) << (j % 2 * 4));
    for (int b = 4; b < bits; b++)
        step[256 + (b - 4) * 64 + j * 8 + at / 8] |= (uint8_t)((code >> b & 1) << at % 8);
}

static unsigned get_code(const uint8_t *step, int bits, int lane, int k)
{
    int j = k / 4, at = byte_in_vector(lane, k);
    if (bits == 8)
        return step[j * 64 + at];
    unsigned code = step[j / 2 * 64 + at] >> (j % 2 * 4) & 15;
    for (int b = 4; b < bits; b++)
        code |= (step[256 + (b - 4) * 64 + j * 8 + at / 8] >> at % 8 & 1u) << b;
    return code;
}

static uint16_t *half_at(const struct packed_weight *w, uint8_t *panel, int64_t at)
{
    (void)w;
    return (uint16_t *)(void *)(panel + at);
}

/* The scale of number k of a lane, as kept: NF4's is for the whole numbers of packed_nf4. */
static void put_scale(const struct packed_weight *w, uint8_t *panel, int lane, int64_t k, float v)
{
    if (w->form == PACKED_NF4)
        ((float *)(void *)(panel + packed_scales_at(w, 0)))[k / 64 * PANEL + lane] =
            v * PACKED_NF4_SCALE;
    else
        half_at(w, panel,
                packed_scales_at(w, 0))[k / packed_layouts[w->form].group * PANEL + lane] =
            f32_to_f16(v);
}

static float get_scale(const struct packed_weight *w, uint8_t *panel, int lane, int64_t k)
{
    if (w->form == PACKED_NF4)
        return ((float *)(void *)(panel + packed_scales_at(w, 0)))[k / 64 * PANEL + lane];
    return f16_to_f32(half_at(
        w, panel, packed_scales_at(w, 0))[k / packed_layouts[w->form].group * PANEL + lane]);
}

static void pack_codes(const struct packed_weight *w, uint8_t *panel, int lane,
                       const struct packed_source *from, int64_t i)
{
    const struct packed_layout *l = &packed_layouts[w->form];
    int64_t n_groups = w->K / l->group, each = packed_step_bytes(w->form);
    const uint8_t *codes = from->codes + i * w->K;
    for (int64_t k = 0; k < w->K; k++)
        put_code(panel + k / STEP * each, l->bits, lane, (int)(k % STEP), codes[k]);
    for (int64_t g = 0; g < n_groups; g++)
        put_scale(w, panel, lane, g * l->group, from->scale[i * n_groups + g]);
    for (int64_t g = 0; g < n_groups && l->min; g++)
        half_at(w, panel, packed_mins_at(w, g))[lane] = f32_to_f16(from->min[i * n_groups + g]);
}

static void pack_floats(const struct packed_weight *w, uint8_t *panel, int lane, const float *row)
{
    enum dtype type = packed_layouts[w->form].type;
    size_t each = type == DT_F32 ? 4 : 2;
    for (int64_t k = 0; k < w->K; k++)
        dtype_from_f32(panel + (size_t)(k / 2 * 2 * PANEL + 2 * lane + k % 2) * each, row + k, type,
                       1);
}

void packed_pack(struct device *dev, const struct packed_weight *w, int64_t first, int64_t n,
                 const struct packed_source *rows)
{
    assert(first % PANEL == 0);
    int64_t each = packed_panel_bytes(w), p0 = 0, p1 = n_panels(w);
    if (!w->gated) {
        p0 = first / PANEL;
        p1 = (first + n + PANEL - 1) / PANEL;
    }
#pragma omp parallel for schedule(static) num_threads(dev->n_threads)
    for (int64_t p = p0; p < p1; p++)
        for (int lane = 0; lane < PANEL; lane++) {
            int64_t row = row_of(w, p, lane);
            uint8_t *panel = (uint8_t *)w->packed + p * each;
            if (row < first || row >= first + n)
                continue;
            if (packed_layouts[w->form].bits)
                pack_codes(w, panel, lane, rows, row - first);
            else
                pack_floats(w, panel, lane, rows->f32 + (row - first) * w->K);
        }
}

/* ---- and back ---- */

static void unpack_codes(float *y, const struct packed_weight *w, uint8_t *panel, int lane)
{
    const struct packed_layout *l = &packed_layouts[w->form];
    int64_t each = packed_step_bytes(w->form);
    for (int64_t k0 = 0; k0 < w->K; k0 += l->group) {
        float scale = get_scale(w, panel, lane, k0), min = 0;
        if (l->min)
            min = f16_to_f32(half_at(w, panel, packed_mins_at(w, k0 / STEP))[lane]);
        for (int64_t k = k0; k < k0 + l->group; k++) {
            int code = (int)get_code(panel + k / STEP * each, l->bits, lane, (int)(k % STEP));
            int whole = w->form == PACKED_NF4 ? packed_nf4[code] : code - l->zero;
            y[k] = scale * (float)whole + min;
        }
    }
}

void packed_rows(struct device *dev, float *y, const struct packed_weight *w, const int32_t *ids,
                 int64_t T)
{
    const struct packed_layout *l = &packed_layouts[w->form];
    size_t each = l->type == DT_F32 ? 4 : 2;
    assert(!w->gated);
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (T > 1)
    for (int64_t t = 0; t < T; t++) {
        uint8_t *panel = (uint8_t *)w->packed + ids[t] / PANEL * packed_panel_bytes(w);
        int lane = ids[t] % PANEL;
        if (l->bits) {
            unpack_codes(y + t * w->K, w, panel, lane);
            continue;
        }
        for (int64_t k = 0; k < w->K; k++)
            dtype_to_f32(y + t * w->K + k,
                         panel + (size_t)(k / 2 * 2 * PANEL + 2 * lane + k % 2) * each, l->type, 1);
    }
}
