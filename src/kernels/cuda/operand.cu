/* Operands of products in another type and pitch: see operand.h. A warp takes a row, a thread 8 numbers of it at a time, so that what
 * is limiting is memory: 16 or 32 bytes a read where the source's place allows it.
 */
#include "kernels/cuda/operand.h"

enum { WARPS = 8, EACH = 8, STEPS = 4, ROOM_ALIGN = 256 };

static __device__ __forceinline__ float value_of(float x)
{
    return x;
}

static __device__ __forceinline__ float value_of(uint16_t x)
{
    return bf16_value(x);
}

static __device__ __forceinline__ void read_8(float v[EACH], const float *from)
{
    float4 a = *(const float4 *)from, b = *(const float4 *)(from + 4);
    v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
    v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
}

static __device__ __forceinline__ void read_8(float v[EACH], const uint16_t *from)
{
    uint4 a = *(const uint4 *)from;
    const unsigned pairs[] = {a.x, a.y, a.z, a.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        v[2 * i] = bf16_value((uint16_t)pairs[i]);
        v[2 * i + 1] = bf16_value((uint16_t)(pairs[i] >> 16));
    }
}

static __device__ __forceinline__ void write_8(float *to, const float v[EACH])
{
    *(float4 *)to = make_float4(v[0], v[1], v[2], v[3]);
    *(float4 *)(to + 4) = make_float4(v[4], v[5], v[6], v[7]);
}

static __device__ __forceinline__ void write_8(uint16_t *to, const float v[EACH])
{
    *(uint4 *)to = make_uint4(bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]),
                              bf16_pair(v[6], v[7]));
}

/* WIDE: every row of from begins at 16 bytes. */
template <typename To, typename From, bool WIDE>
static __global__ void recast(To *to, int64_t pitch, const From *from, int64_t ld,
                              const int32_t *row, int64_t n_rows, int64_t n_cols)
{
    int64_t r = (int64_t)blockIdx.x * WARPS + threadIdx.y;
    if (r >= n_rows)
        return;
    const From *source = from + (row ? row[r] : r) * ld;
    int64_t step = (int64_t)gridDim.y * 32 * EACH;
    for (int64_t c = ((int64_t)blockIdx.y * 32 + threadIdx.x) * EACH; c < pitch; c += step) {
        float v[EACH];
        if (WIDE && c + EACH <= n_cols) {
            read_8(v, source + c);
        } else {
#pragma unroll
            for (int i = 0; i < EACH; i++)
                v[i] = c + i < n_cols ? value_of(source[c + i]) : 0;
        }
        write_8(to + r * pitch + c, v);
    }
}

static bool aligned(const void *p, int64_t ld, enum dtype type)
{
    size_t size = type == DT_BF16 ? 2 : 4;
    return (uintptr_t)p % 16 == 0 && (size_t)ld * size % 16 == 0;
}

template <typename To, typename From>
static void launch(struct device *dev, To *to, int64_t pitch, const struct operand *o)
{
    unsigned across = blocks_for(pitch, 32 * EACH * STEPS);
    dim3 grid(blocks_for(o->n_rows, WARPS), across < 65535 ? across : 65535), block(32, WARPS);
    const From *from = (const From *)o->at;
    if (aligned(o->at, o->ld, o->type))
        LAUNCH(dev, (recast<To, From, true>), grid, block, 0, to, pitch, from, o->ld, o->row,
               o->n_rows, o->n_cols);
    else
        LAUNCH(dev, (recast<To, From, false>), grid, block, 0, to, pitch, from, o->ld, o->row,
               o->n_rows, o->n_cols);
}

void operand_copy(struct device *dev, void *to, enum dtype type, int64_t pitch,
                  const struct operand *o)
{
    if (type == DT_BF16 && o->type == DT_BF16)
        launch<uint16_t, uint16_t>(dev, (uint16_t *)to, pitch, o);
    else if (type == DT_BF16)
        launch<uint16_t, float>(dev, (uint16_t *)to, pitch, o);
    else if (o->type == DT_BF16)
        launch<float, uint16_t>(dev, (float *)to, pitch, o);
    else
        launch<float, float>(dev, (float *)to, pitch, o);
}

size_t operand_bytes(const struct operand *o, enum dtype compute)
{
    if (o->type == compute && !o->row &&
        (compute == DT_F32 || (aligned(o->at, o->ld, compute) && o->n_cols % EACH == 0)))
        return 0;
    size_t n = (size_t)(o->n_rows * operand_pitch(o->n_cols)) * (compute == DT_BF16 ? 2 : 4);
    return (n + ROOM_ALIGN - 1) / ROOM_ALIGN * ROOM_ALIGN;
}

void operand_place(struct device *dev, struct operand *o, enum dtype compute, char **room)
{
    size_t n_bytes = operand_bytes(o, compute);
    if (!n_bytes)
        return;
    int64_t pitch = operand_pitch(o->n_cols);
    operand_copy(dev, *room, compute, pitch, o);
    *o = (struct operand){*room, pitch, compute, NULL, o->n_rows, o->n_cols};
    *room += n_bytes;
}
