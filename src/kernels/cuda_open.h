/* How the CPU's side finds the CUDA library, a shared object of its own beside the program. */
#ifndef MOE2_KERNELS_CUDA_OPEN_H
#define MOE2_KERNELS_CUDA_OPEN_H

#include "kernels/kernels.h"

/* Both sides must mean the same by these structs, and by the opener's arguments (the last term). */
#define CUDA_ABI                                                                                   \
    (sizeof(struct kernels) * 1000 + sizeof(struct device) * 10 + sizeof(struct device_ops) + 1)

/* The library's one function. plain: without what only newer cards than the oldest one have. */
typedef int cuda_opener(struct device **out, int ordinal, bool host_memory, bool plain, size_t abi,
                        struct err *err);

/* "cuda" (the first GPU), "cuda:N"; for tests "cuda:host", the first GPU working in the host's memory and waiting for each kernel,
 * "cuda:emulated", whose kernels run on the CPU, "cuda:emulated:hopper", which has what Hopper GPUs have, and "cuda:plain" and
 * "cuda:host:plain", which do without that on such a GPU. MOE2_ECONFIG: no such library beside
 * the program, no GPU, one that is too old. The library stays loaded. */
int cuda_open(struct device **out, const char *name, struct err *err);

#endif
