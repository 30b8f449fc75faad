/* The kernels of rows.h in AVX2. */
#include "kernels/cpu/vec_avx2.h"

#include "kernels/cpu/rows.h"

void rows_avx2(struct cpu_state *s)
{
    set_rows(s);
}
