/* The rows of the avx512 table. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"

void table_avx512(struct cpu_state *s)
{
    s->gemm_f32 = s->gemm_bf16 = &gemm_avx512;
    s->table.cached_attention = cached_attention_avx512;
    rows_avx512(s);
    s->table.nf4_to_f32 = nf4_to_f32_avx512;
    encoder_rows_avx512(s);
}
