/* The rows of encoder_rows.h in AVX-512. */
#include "kernels/cpu/vec_avx512.h"

#include "kernels/cpu/encoder_rows.h"

void encoder_rows_avx512(struct cpu_state *s)
{
    set_encoder_rows(s);
}
