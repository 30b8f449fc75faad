/* The attention of cached_attention.h in AVX-512. */
#include "kernels/cpu/vec_avx512.h"

#include "kernels/cpu/cached_attention.h"

void cached_attention_avx512(struct device *dev, const struct cached_attention_args *a)
{
    attend_all(dev, a);
}
