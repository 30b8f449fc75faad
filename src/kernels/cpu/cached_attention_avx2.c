/* The attention of cached_attention.h in AVX2. */
#include "kernels/cpu/vec_avx2.h"

#include "kernels/cpu/cached_attention.h"

void cached_attention_avx2(struct device *dev, const struct cached_attention_args *a)
{
    attend_all(dev, a);
}
