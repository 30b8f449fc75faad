/* The rows of the avx2 table. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/packed.h"

void table_avx2(struct cpu_state *s)
{
    struct kernels *k = &s->table;
    s->gemm_f32 = s->gemm_bf16 = &gemm_avx2;
    k->linear_forward = gemm_linear_forward;
    k->linear_backward_input = gemm_linear_backward_input;
    k->linear_backward_weight = gemm_linear_backward_weight;
    k->grouped_forward = gemm_grouped_forward;
    k->grouped_backward_input = gemm_grouped_backward_input;
    k->grouped_backward_weight = gemm_grouped_backward_weight;
    k->attention_forward = attention_forward;
    k->attention_backward = attention_backward;
    k->dense_bytes = dense_bytes;
    k->dense_pack = dense_pack;
    k->dense_forward = dense_forward;
    k->encoder_attention = encoder_attention;
    s->packed = &packed_avx2;
    k->packed_bytes = packed_bytes;
    k->packed_pack = packed_pack;
    k->packed_forward = packed_forward;
    k->packed_rows = packed_rows;
    k->cached_attention = cached_attention_avx2;
    rows_avx2(s);
    encoder_rows_avx2(s);
}
