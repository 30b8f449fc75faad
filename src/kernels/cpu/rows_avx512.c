/* The kernels of rows.h in AVX-512. */
#include "kernels/cpu/vec_avx512.h"

#include "kernels/cpu/rows.h"

void rows_avx512(struct cpu_state *s)
{
    set_rows(s);
}
