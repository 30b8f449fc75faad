/* The rows of the avx512 table. */
#include "kernels/cpu/cpu.h"

void table_avx512(struct kernels *k)
{
    (void)k;
}
