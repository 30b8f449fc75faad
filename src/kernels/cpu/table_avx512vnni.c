/* The rows of the avx512vnni table. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/packed.h"

void table_avx512vnni(struct cpu_state *s)
{
    s->packed = &packed_avx512vnni;
}
