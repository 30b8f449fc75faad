/* Attention without a mask: the causal one's float32 kernel with the mask left away, as its users count on float32. */
#include "kernels/cuda/attention.h"

void cuda_encoder_attention(struct device *dev, const struct encoder_attention_args *a)
{
    struct attention_args args = {};
    args.o = a->o;
    args.q = a->q;
    args.k = a->k;
    args.v = a->v;
    args.ldo = a->ldo;
    args.ldq = args.ldk = args.ldv = a->ldqkv;
    args.k_head = args.v_head = args.dn = args.dv = a->d;
    args.offset = a->offset;
    args.B = a->B;
    args.H = args.Hk = a->H;
    args.scale = a->scale;
    args.compute = DT_F32;
    attention_plain_forward(dev, &args, false);
}
