/* The CUDA device's table: every row of kernels.h. */
#include "kernels/cuda/cuda.h"

void cuda_table(struct kernels *k)
{
    k->name = "cuda";
#define ROW(kernel) k->kernel = cuda_##kernel
    ROW(linear_forward);
    ROW(linear_backward_input);
    ROW(linear_backward_weight);
    ROW(grouped_forward);
    ROW(grouped_backward_input);
    ROW(grouped_backward_weight);
    ROW(rmsnorm_forward);
    ROW(rmsnorm_backward);
    ROW(rope);
    ROW(rope_half);
    ROW(bias_forward);
    ROW(bias_backward);
    ROW(relu_forward);
    ROW(relu_backward);
    ROW(swiglu_forward);
    ROW(swiglu_backward);
    ROW(combine);
    ROW(embed_forward);
    ROW(embed_backward);
    ROW(axpy);
    ROW(fill);
    ROW(copy);
    ROW(copy_rows);
    ROW(to_bf16);
    ROW(dropout);
    ROW(nf4_to_f32);
    ROW(nf4_to_bf16);
    ROW(nf4_list_to_bf16);
    ROW(row_norm);
    ROW(route_pick);
    ROW(route_lists);
    ROW(route_backward);
    ROW(attention_forward);
    ROW(attention_backward);
    ROW(dense_bytes);
    ROW(dense_pack);
    ROW(dense_forward);
    ROW(layernorm_forward);
    ROW(encoder_attention);
    ROW(packed_bytes);
    ROW(packed_pack);
    ROW(packed_forward);
    ROW(packed_rows);
    ROW(cached_attention);
    ROW(cross_entropy);
    ROW(adamw);
    ROW(adamw8);
    ROW(adamw_list);
    ROW(adamw8_list);
    ROW(sum_squares);
    ROW(sum_squares_list);
    ROW(find_nonfinite);
#undef ROW
}
