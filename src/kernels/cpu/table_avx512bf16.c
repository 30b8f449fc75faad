/* The rows of the avx512bf16 table. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/packed.h"

void table_avx512bf16(struct cpu_state *s)
{
    s->gemm_bf16 = &gemm_avx512bf16;
    s->packed_bf16 = &packed_avx512bf16;
}
