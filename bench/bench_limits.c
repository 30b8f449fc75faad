/* Prints this machine's limits with one thread and with all: bench_limits [THREADS]. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/limits.h"

int main(int argc, char **argv)
{
    cpu_set_t set;
    int most = argc > 1                                      ? atoi(argv[1])
               : sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                             : 1;
    printf("threads   f32 GFLOP/s   bf16 GFLOP/s   read GB/s   copy GB/s\n");
    for (int n = 1; n <= most; n = n < most && 2 * n > most ? most : 2 * n) {
        struct limits l;
        struct err err = {0};
        if (limits_measure(&l, n, &err)) {
            fprintf(stderr, "bench_limits: %s\n", err.msg);
            return 1;
        }
        printf("%7d   %11.1f   %12.1f   %9.1f   %9.1f\n", n, l.f32_gflops, l.bf16_gflops,
               l.read_gbs, l.copy_gbs);
    }
    return 0;
}
