/* The rows of encoder_rows.h in AVX2. */
#include "kernels/cpu/vec_avx2.h"

#include "kernels/cpu/encoder_rows.h"

void encoder_rows_avx2(struct cpu_state *s)
{
    set_encoder_rows(s);
}
