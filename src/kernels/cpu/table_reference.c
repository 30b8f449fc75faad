/* The table of plain references: complete, slow, and the start of every other table. */
#include "kernels/cpu/cpu.h"

void table_reference(struct cpu_state *s)
{
    s->table = (struct kernels){
        .name = "reference",
        .linear_forward = ref_linear_forward,
        .linear_backward_input = ref_linear_backward_input,
        .linear_backward_weight = ref_linear_backward_weight,
        .grouped_forward = ref_grouped_forward,
        .grouped_backward_input = ref_grouped_backward_input,
        .grouped_backward_weight = ref_grouped_backward_weight,
        .rmsnorm_forward = ref_rmsnorm_forward,
        .rmsnorm_backward = ref_rmsnorm_backward,
        .rope = ref_rope,
        .swiglu_forward = ref_swiglu_forward,
        .swiglu_backward = ref_swiglu_backward,
        .combine = ref_combine,
        .embed_forward = ref_embed_forward,
        .embed_backward = ref_embed_backward,
        .axpy = ref_axpy,
        .fill = ref_fill,
        .copy = ref_copy,
        .to_bf16 = ref_to_bf16,
        .dropout = ref_dropout,
        .row_norm = ref_row_norm,
        .attention_forward = ref_attention_forward,
        .attention_backward = ref_attention_backward,
        .dense_bytes = ref_dense_bytes,
        .dense_pack = ref_dense_pack,
        .dense_forward = ref_dense_forward,
        .layernorm_forward = ref_layernorm_forward,
        .encoder_attention = ref_encoder_attention,
        .cross_entropy = ref_cross_entropy,
        .adamw = ref_adamw,
        .sum_squares = ref_sum_squares,
        .find_nonfinite = ref_find_nonfinite,
    };
}
