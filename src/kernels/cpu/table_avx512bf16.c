/* The rows of the avx512bf16 table. */
#include "kernels/cpu/cpu.h"

void table_avx512bf16(struct kernels *k)
{
    (void)k;
}
