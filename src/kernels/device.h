/* A device: where tensors live and who computes on them.
 *
 * All tensor memory comes from a device and every kernel takes it as its first argument, so that code in model/ and train/ runs
 * unchanged on a CPU and on a GPU. Only a device with host_memory lets the caller read its bytes; everybody else copies.
 *
 *     struct device *dev;
 *     device_open(&dev, "cpu", 0, &err);                 0 threads: all cores that this process may use
 *     float *x = device_alloc(dev, n * sizeof *x, &err);
 *     dev->k->rmsnorm_forward(dev, y, rstd, x, w, T, D, eps);
 *     device_sync(dev);
 *
 * Kernels return nothing and may still run when they return: device_check, after a result was read, tells what went wrong on the way.
 * A device is used by one thread at a time; kernels bring their own threads.
 */
#ifndef MOE2_KERNELS_DEVICE_H
#define MOE2_KERNELS_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct kernels;

struct device {
    const char *name;        /* "cpu", "cuda" */
    const struct kernels *k; /* its kernel table, chosen for this machine when it was opened */
    bool host_memory;        /* plain C code may read and write its memory */
    bool
        bf16_units; /* bf16 products run on units of their own, so rounding operands to bf16 pays */
    int n_threads;
    int ordinal; /* of a GPU, as NVML and CUDA count them */
    size_t used_bytes, peak_bytes;
    size_t limit_bytes; /* device_alloc refuses more than that in use together; 0: no limit */
    void *state;        /* the implementation's: scratch memory, primitive caches, streams */
    const struct device_ops *ops;
};

struct device_ops {
    void *(*alloc)(struct device *dev,
                   size_t n_bytes); /* 64-byte aligned at least; NULL when memory ends */
    void (*free)(struct device *dev, void *p, size_t n_bytes);
    void (*write)(struct device *dev, void *to, const void *from_host, size_t n_bytes);
    void (*read)(struct device *dev, void *to_host, const void *from, size_t n_bytes);
    void (*zero)(struct device *dev, void *p, size_t n_bytes);
    void (*sync)(struct device *dev);
    void (*close)(struct device *dev);
    /* 0, or the first failure of a kernel or copy so far, which may be one of a while ago. */
    int (*check)(struct device *dev, struct err *err);
    size_t (*room)(struct device *dev); /* bytes that are free now, 0: not known */
    /* Memory of the host that copies reach at full speed and without waiting: n_bytes, NULL when there is none. */
    void *(*host_alloc)(struct device *dev, size_t n_bytes);
    void (*host_free)(struct device *dev, void *p, size_t n_bytes);
    /* A read that may still be under way when it returns; a later write or kernel comes behind it. From host_alloc's memory, write too
     * returns at once, so that what it reads must stay as it is until a sync. */
    void (*stash)(struct device *dev, void *to_host, const void *from, size_t n_bytes);
};

/* Opens a device by name: "cpu" (best table for this CPU), or "cpu:reference", "cpu:avx2", "cpu:avx512", "cpu:avx512vnni", "cpu:avx512bf16" to force one.
 * "cuda" (the first GPU), "cuda:N", "cuda:plain" (the first GPU without what only newer ones have) and "cuda:emulated" (a GPU's kernels run on the CPU, for tests) are in libraries of their own, loaded here.
 * n_threads 0 takes every core in this process's affinity mask. Errors: MOE2_ECONFIG for an unknown name or a table that this CPU
 * can't run (the message lists those it can). */
int device_open(struct device **out, const char *name, int n_threads, struct err *err);
void device_close(struct device *dev); /* NULL is fine */

/* Which device, and how much of its memory may be in use. */
struct device_choice {
    const char *name;   /* NULL: cpu */
    size_t limit_bytes; /* 0: no limit */
};
int device_open_choice(struct device **out, const struct device_choice *choice, int n_threads,
                       struct err *err);

/* "cuda", "cuda:N", …: one of which a machine has few, whatever its cores. */
bool device_is_gpu(const struct device_choice *choice);

/* n_bytes, not zeroed; MOE2_ELIMIT in err and NULL when there is no room, naming what was asked and what is in use. */
void *device_alloc(struct device *dev, size_t n_bytes, struct err *err);
void device_free(struct device *dev, void *p,
                 size_t n_bytes); /* n_bytes as allocated; NULL is fine */

static inline void device_sync(struct device *dev)
{
    dev->ops->sync(dev);
}

/* 0, or what failed since the device was opened: a lost GPU, no memory for a kernel's own use. Never anything on a CPU. */
static inline int device_check(struct device *dev, struct err *err)
{
    return dev->ops->check(dev, err);
}

/* The name of the CPU table that "cpu" would take here ("avx512bf16", "avx512vnni", "avx512", "avx2", "reference"); for moe2 doctor. */
const char *device_cpu_best(void);

#endif
