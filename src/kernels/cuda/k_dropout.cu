/* Dropout and scaling of rows, with the CPU's masks bit for bit: base/rng.h's streams, one a row, each drawn in its order.
 *
 * A warp takes 32 rows. Each lane draws for one of them what 128 columns need, 32 draws of four numbers; then the warp walks those rows
 * one after the other, lane l at columns 4l … 4l + 3, and learns from the row's lane by shuffles which of them stay.
 */
#include <math.h>

#include "kernels/cuda/rows.h"

enum { EACH = 4, COLUMNS = ALL_WARP * EACH, AT_ONCE = 4 };

struct stream {
    uint64_t s[4];
};

static __device__ __forceinline__ uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static __device__ __forceinline__ uint64_t turned(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

/* rng_init of rng_at(seed, key, 0, 0) */
static __device__ __forceinline__ struct stream begin(uint64_t seed, uint64_t key)
{
    struct stream r;
    uint64_t at = mix(mix(mix(mix(seed) ^ key)));
    for (int i = 0; i < 4; i++)
        r.s[i] = mix(at + (uint64_t)i * 0x9e3779b97f4a7c15u);
    return r;
}

static __device__ __forceinline__ uint64_t draw(struct stream *r)
{
    uint64_t *s = r->s, result = turned(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = turned(s[3], 45);
    return result;
}

/* Bit l of kept[j]: whether column 4l + j stays. */
static __device__ __forceinline__ void draw_columns(struct stream *r, unsigned limit,
                                                    unsigned kept[EACH])
{
    for (int j = 0; j < EACH; j++)
        kept[j] = 0;
#pragma unroll 4
    for (int l = 0; l < ALL_WARP; l++) {
        uint64_t bits = draw(r);
        for (int j = 0; j < EACH; j++)
            kept[j] |= (unsigned)((bits >> 16 * j & 0xffff) >= limit) << l;
    }
}

/* n of four numbers, n ≤ 0: none; all at once where WIDE. */
template <bool WIDE>
static __device__ __forceinline__ void load_some(float v[EACH], const float *p, int64_t n)
{
    if (WIDE && n >= EACH)
        load<EACH>(v, p);
    else
        for (int j = 0; j < EACH; j++)
            v[j] = !WIDE && j < n ? p[j] : 0;
}

template <bool WIDE>
static __device__ __forceinline__ void store_some(float *p, const float v[EACH], int64_t n)
{
    if (WIDE && n >= EACH)
        store<EACH>(p, v);
    for (int j = 0; !WIDE && j < EACH; j++)
        if (j < n)
            p[j] = v[j];
}

static __device__ __forceinline__ float added(float y, float v, bool accumulate)
{
    return accumulate ? __fadd_rn(y, v) : v;
}

/* AT_ONCE rows from t on, of which the lanes from "from" on drew; y may be x, so all are read before one is written. */
template <bool WIDE>
static __device__ __forceinline__ void drop_rows(const struct dropout_args *a, int64_t t, int from,
                                                 int64_t d, const unsigned kept[EACH])
{
    float x[AT_ONCE][EACH], y[AT_ONCE][EACH] = {{0}};
    for (int r = 0; r < AT_ONCE; r++) {
        int64_t n = t + r < a->T ? a->D - d : 0;
        load_some<WIDE>(x[r], a->x + (t + r) * a->ldx + d, n);
        if (a->accumulate)
            load_some<WIDE>(y[r], a->y + (t + r) * a->ldy + d, n);
    }
    for (int r = 0; r < AT_ONCE; r++) {
        for (int j = 0; j < EACH; j++) {
            unsigned mine = __shfl_sync(ALL_LANES, kept[j], from + r) >> threadIdx.x & 1;
            x[r][j] = added(y[r][j], mine ? __fmul_rn(a->scale, x[r][j]) : 0, a->accumulate);
        }
        store_some<WIDE>(a->y + (t + r) * a->ldy + d, x[r], t + r < a->T ? a->D - d : 0);
    }
}

template <bool WIDE> static __global__ void drop(struct dropout_args a, unsigned limit)
{
    int64_t first = (int64_t)blockIdx.x * ALL_WARP, mine = first + threadIdx.x;
    int64_t key = a.first_key + (a.key_row && mine < a.T ? a.key_row[mine] : mine);
    struct stream stream = begin(a.seed, (uint64_t)key);
    for (int64_t d = 0; d < a.D; d += COLUMNS) {
        unsigned kept[EACH];
        draw_columns(&stream, limit, kept);
        for (int r = 0; r < ALL_WARP && first + r < a.T; r += AT_ONCE)
            drop_rows<WIDE>(&a, first + r, r, d + threadIdx.x * EACH, kept);
    }
}

template <int W> static __global__ void scale_rows(struct dropout_args a)
{
    int64_t t = my_row();
    if (t >= a.T)
        return;
    float x[W], y[W] = {0};
    for (int64_t d = threadIdx.x * W; d < a.D; d += blockDim.x * W) {
        load<W>(x, a.x + t * a.ldx + d);
        if (a.accumulate)
            load<W>(y, a.y + t * a.ldy + d);
        for (int i = 0; i < W; i++)
            x[i] = added(y[i], __fmul_rn(a.scale, x[i]), a.accumulate);
        store<W>(a.y + t * a.ldy + d, x);
    }
}

void cuda_dropout(struct device *dev, const struct dropout_args *args)
{
    struct dropout_args a = *args;
    bool wide = is_wide(a.y) && is_wide(a.x) && a.D % 4 == 0 && a.ldy % 4 == 0 && a.ldx % 4 == 0;
    unsigned limit = (unsigned)lrint((double)a.drop * 65536);
    if (a.drop <= 0)
        LAUNCH_ROWS(dev, wide, scale_rows, a.T, a.D, a);
    else if (wide)
        LAUNCH(dev, (drop<true>), blocks_for(a.T, ALL_WARP), ALL_WARP, 0, a, limit);
    else
        LAUNCH(dev, (drop<false>), blocks_for(a.T, ALL_WARP), ALL_WARP, 0, a, limit);
}
