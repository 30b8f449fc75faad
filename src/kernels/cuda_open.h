/* How the CPU's side finds the CUDA library, a shared object of its own beside the program. */
#ifndef MOE2_KERNELS_CUDA_OPEN_H
#define MOE2_KERNELS_CUDA_OPEN_H

#include "kernels/kernels.h"

/* Both sides must mean the same by these structs. */
#define CUDA_ABI                                                                                   \
    (sizeof(struct kernels) * 1000 + sizeof(struct device) * 10 + sizeof(struct device_ops))

/* The library's one function. */
typedef int cuda_opener(struct device **out, int ordinal, bool host_memory, size_t abi,
                        struct err *err);

/* "cuda" (the first GPU), "cuda:N"; for tests "cuda:host", the first GPU working in the host's memory and waiting for each kernel, and
 * "cuda:emulated", whose kernels run on the CPU. MOE2_ECONFIG: no such library beside
 * the program, no GPU, one that is too old. The library stays loaded. */
int cuda_open(struct device **out, const char *name, struct err *err);

#endif
