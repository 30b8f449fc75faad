/* NF4 weights widened 16 at a time: the sixteen levels times a block's absmax fill one register, and
 * a permutation by the codes looks all of them up. The same bits as the reference.
 */
#include <immintrin.h>

#include "kernels/cpu/cpu.h"

enum { PIECE = 1 << 15 };

/* 32 values of one block from 16 bytes. */
static void decode_32(float *out, const uint8_t *codes, __m512 scaled)
{
    const __m128i low = _mm_set1_epi8(15);
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)codes);
    __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), low);
    bytes = _mm_and_si128(bytes, low);
    __m512i a = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(high, bytes)),
            b = _mm512_cvtepu8_epi32(_mm_unpackhi_epi8(high, bytes));
    _mm512_storeu_ps(out, _mm512_permutexvar_ps(a, scaled));
    _mm512_storeu_ps(out + 16, _mm512_permutexvar_ps(b, scaled));
}

/* Whole blocks, whose sizes are multiples of 32. */
static void decode_blocks(float *out, const struct nf4 *q, int64_t block, int64_t end)
{
    const __m512 levels = _mm512_loadu_ps(nf4_levels);
    for (; block < end; block++) {
        __m512 scaled = _mm512_mul_ps(levels, _mm512_set1_ps(nf4_absmax(q, block)));
        for (int64_t i = 0; i < q->block_size; i += 32, out += 32)
            decode_32(out, q->codes + (block * q->block_size + i) / 2, scaled);
    }
}

static void decode_piece(float *out, const struct nf4 *q, int64_t first, int64_t n)
{
    int64_t block = (first + q->block_size - 1) / q->block_size, end = (first + n) / q->block_size;
    if (block >= end) {
        nf4_decode(out, q, first, n);
        return;
    }
    int64_t head = block * q->block_size - first, tail = first + n - end * q->block_size;
    nf4_decode(out, q, first, head);
    decode_blocks(out + head, q, block, end);
    nf4_decode(out + n - tail, q, first + n - tail, tail);
}

void nf4_to_f32_avx512(struct device *dev, float *out, const struct nf4 *q, int64_t first,
                       int64_t n)
{
#pragma omp parallel for schedule(static) num_threads(dev->n_threads) if (n > PIECE)
    for (int64_t i = 0; i < n; i += PIECE)
        decode_piece(out + i, q, first + i, n - i < PIECE ? n - i : PIECE);
}
