/* The CUDA device: one GPU, one stream, memory from cudaMalloc, failures kept until somebody asks. Compiled against emulate.h it is a
 * device of the host's memory that pretends not to be, for tests.
 *
 * This and the kernels make a library of their own, which device_open loads when a name begins with "cuda" (kernels/cuda_open.c), so
 * that moe2 itself needs no CUDA to run.
 */
#include "kernels/cuda/cuda.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/hopper.h"
#include "kernels/cuda_open.h"

enum { ALIGN = 256 };

void cuda_fail(struct device *dev, int code, const char *format, ...)
{
    struct cuda_state *s = cuda_of(dev);
    if (s->code)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(s->failure, sizeof s->failure, format, args);
    va_end(args);
    s->code = code;
}

void *cuda_scratch(struct device *dev, size_t n_bytes)
{
    struct cuda_state *s = cuda_of(dev);
    if (n_bytes <= s->scratch_bytes)
        return s->scratch;
    struct err err = {0, ""};
    size_t grown = n_bytes + n_bytes / 4;
    device_sync(dev); /* what runs may still read the old one */
    device_free(dev, s->scratch, s->scratch_bytes);
    s->scratch_bytes = 0;
    s->scratch = device_alloc(dev, grown, &err);
    if (!s->scratch) {
        grown = n_bytes;
        err.code = 0;
        s->scratch = device_alloc(dev, grown, &err);
    }
    if (!s->scratch) {
        cuda_fail(dev, err.code, "%s (for a kernel's own use)", err.msg);
        return NULL;
    }
    s->scratch_bytes = grown;
    return s->scratch;
}

#ifdef MOE2_EMULATED

/* ---- pretending ---- */

void cuda_launched(struct device *dev, const char *kernel)
{
    (void)dev;
    (void)kernel;
}

void cuda_allow_shared(struct device *dev, const void *kernel, size_t n_bytes)
{
    (void)kernel;
    if (n_bytes > cuda_of(dev)->shared_bytes)
        cuda_fail(dev, MOE2_ELIMIT, "a kernel wants %zu bytes of shared memory", n_bytes);
}

static void *take(struct device *dev, size_t n_bytes)
{
    (void)dev;
    if (n_bytes > (size_t)1 << 40)
        return NULL;
    size_t rounded = (n_bytes + ALIGN - 1) / ALIGN * ALIGN;
    void *p = aligned_alloc(ALIGN, rounded ? rounded : (size_t)ALIGN);
    if (p)
        memset(p, 0xff, n_bytes); /* NaN: nobody may lean on what was never written */
    return p;
}

static void give(struct device *dev, void *p, size_t n_bytes)
{
    (void)dev;
    (void)n_bytes;
    free(p);
}

static void move(struct device *dev, void *to, const void *from, size_t n_bytes)
{
    (void)dev;
    if (n_bytes)
        memcpy(to, from, n_bytes);
}

static void zero(struct device *dev, void *p, size_t n_bytes)
{
    (void)dev;
    if (n_bytes)
        memset(p, 0, n_bytes);
}

static void sync(struct device *dev)
{
    (void)dev;
}

static void write(struct device *dev, void *to, const void *from, size_t n_bytes)
{
    move(dev, to, from, n_bytes);
}

void cuda_read(struct device *dev, void *to_host, const void *from, size_t n_bytes)
{
    move(dev, to_host, from, n_bytes);
}

static int open_card(struct device *dev, int ordinal, bool plain, struct err *err)
{
    (void)ordinal;
    (void)err;
    struct cuda_state *s = cuda_of(dev);
    s->n_sms = 4;
    s->shared_bytes = 99 << 10; /* what the smallest of the cards that we build for has */
    s->hopper = !plain;
    if (s->hopper)
        s->shared_bytes = 227 << 10;
    return 0;
}

static void close_card(struct device *dev)
{
    (void)dev;
}

static size_t room(struct device *dev)
{
    (void)dev;
    return 0;
}

static void *host_take(struct device *dev, size_t n_bytes)
{
    return take(dev, n_bytes);
}

static void host_give(struct device *dev, void *p, size_t n_bytes)
{
    give(dev, p, n_bytes);
}

static void stash(struct device *dev, void *to_host, const void *from, size_t n_bytes)
{
    move(dev, to_host, from, n_bytes);
}

#else

/* ---- a card ---- */

static cudaStream_t stream_of(struct device *dev)
{
    return (cudaStream_t)cuda_of(dev)->stream;
}

static void note(struct device *dev, cudaError_t e, const char *doing)
{
    if (e != cudaSuccess)
        cuda_fail(dev, MOE2_EIO, "%s: %s failed: %s", dev->name, doing, cudaGetErrorString(e));
}

void cuda_launched(struct device *dev, const char *kernel)
{
    cudaError_t e = cudaGetLastError();
    if (e == cudaSuccess && dev->host_memory)
        e = cudaStreamSynchronize(stream_of(dev));
    if (e != cudaSuccess)
        note(dev, e, kernel);
}

void cuda_allow_shared(struct device *dev, const void *kernel, size_t n_bytes)
{
    if (n_bytes > 32 << 10) /* 48 KiB without asking, but the kernel's static memory counts in */
        note(
            dev,
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)n_bytes),
            "asking for shared memory");
}

static void *take(struct device *dev, size_t n_bytes)
{
    void *p = NULL;
    n_bytes = n_bytes ? n_bytes : (size_t)ALIGN;
    if ((dev->host_memory ? cudaMallocHost(&p, n_bytes) : cudaMalloc(&p, n_bytes)) != cudaSuccess) {
        cudaGetLastError(); /* the caller tells it */
        return NULL;
    }
    return p;
}

static void give(struct device *dev, void *p, size_t n_bytes)
{
    (void)n_bytes;
    note(dev, dev->host_memory ? cudaFreeHost(p) : cudaFree(p), "freeing memory");
}

static void write(struct device *dev, void *to, const void *from, size_t n_bytes)
{
    if (n_bytes)
        note(dev, cudaMemcpyAsync(to, from, n_bytes, cudaMemcpyHostToDevice, stream_of(dev)),
             "a copy to the GPU");
}

void cuda_read(struct device *dev, void *to_host, const void *from, size_t n_bytes)
{
    if (!n_bytes)
        return;
    cudaError_t e = cudaMemcpyAsync(to_host, from, n_bytes, cudaMemcpyDeviceToHost, stream_of(dev));
    if (e == cudaSuccess)
        e = cudaStreamSynchronize(stream_of(dev));
    if (e != cudaSuccess)
        memset(to_host, 0xff, n_bytes); /* NaN rather than what lay there */
    note(dev, e, "the work before a copy from the GPU");
}

static void zero(struct device *dev, void *p, size_t n_bytes)
{
    if (n_bytes)
        note(dev, cudaMemsetAsync(p, 0, n_bytes, stream_of(dev)), "zeroing memory");
}

static void sync(struct device *dev)
{
    note(dev, cudaStreamSynchronize(stream_of(dev)), "waiting for the GPU");
}

static int open_card(struct device *dev, int ordinal, bool plain, struct err *err)
{
    struct cuda_state *s = cuda_of(dev);
    int n = 0, value = 0, major = 0, minor = 0;
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e != cudaSuccess || n == 0)
        return err_set(err, MOE2_ECONFIG, "device cuda: no GPU can be used here (%s)",
                       e != cudaSuccess ? cudaGetErrorString(e) : "none was found");
    if (ordinal >= n)
        return err_set(err, MOE2_ECONFIG, "device cuda:%d: there are %d GPUs, counted from 0",
                       ordinal, n);
    cudaStream_t stream;
    if ((e = cudaSetDevice(ordinal)) == cudaSuccess)
        e = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal);
    if (e == cudaSuccess)
        e = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, ordinal);
    if (e != cudaSuccess)
        return err_set(err, MOE2_ECONFIG, "device cuda:%d can't be opened: %s", ordinal,
                       cudaGetErrorString(e));
    if (major < 8)
        return err_set(err, MOE2_ECONFIG,
                       "device cuda:%d has compute capability %d.%d, wanted 8.0 or above", ordinal,
                       major, minor);
    s->stream = stream;
    cudaDeviceGetAttribute(&s->n_sms, cudaDevAttrMultiProcessorCount, ordinal);
    cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal);
    s->shared_bytes = (size_t)value;
    s->hopper = !plain && major == 9 && minor == 0 && tensor_maps_open(s);
    return 0;
}

static void close_card(struct device *dev)
{
    if (cuda_of(dev)->stream)
        cudaStreamDestroy(stream_of(dev));
}

static size_t room(struct device *dev)
{
    size_t free_bytes = 0, all = 0;
    (void)dev;
    return cudaMemGetInfo(&free_bytes, &all) == cudaSuccess ? free_bytes : 0;
}

static void *host_take(struct device *dev, size_t n_bytes)
{
    void *p = NULL;
    (void)dev;
    if (cudaMallocHost(&p, n_bytes ? n_bytes : (size_t)ALIGN) != cudaSuccess) {
        cudaGetLastError(); /* the caller tells it */
        return NULL;
    }
    return p;
}

static void host_give(struct device *dev, void *p, size_t n_bytes)
{
    (void)n_bytes;
    note(dev, cudaFreeHost(p), "freeing the host's memory");
}

static void stash(struct device *dev, void *to_host, const void *from, size_t n_bytes)
{
    if (n_bytes)
        note(dev, cudaMemcpyAsync(to_host, from, n_bytes, cudaMemcpyDeviceToHost, stream_of(dev)),
             "a copy from the GPU");
}

#endif

/* ---- both ---- */

static int check(struct device *dev, struct err *err)
{
    struct cuda_state *s = cuda_of(dev);
    return s->code ? err_set(err, s->code, "%s", s->failure) : 0;
}

static void shut(struct device *dev)
{
    struct cuda_state *s = cuda_of(dev);
    sync(dev);
    blas_close(dev);
    device_free(dev, s->scratch, s->scratch_bytes);
    close_card(dev);
    free(s);
}

static const struct device_ops ops = {take, give,  write, cuda_read, zero,      sync,
                                      shut, check, room,  host_take, host_give, stash};

extern "C" __attribute__((visibility("default"))) int moe2_cuda_open(struct device **out,
                                                                     int ordinal, bool host_memory,
                                                                     bool plain, size_t abi,
                                                                     struct err *err)
{
    if (abi != CUDA_ABI)
        return err_set(err, MOE2_ECONFIG, "the CUDA library is of another build of moe2");
    struct device *dev = (struct device *)calloc(1, sizeof *dev);
    struct cuda_state *s = (struct cuda_state *)calloc(1, sizeof *s);
    if (!dev || !s) {
        free(dev);
        free(s);
        return err_set(err, MOE2_ELIMIT, "device cuda: no memory to open it");
    }
    dev->name = "cuda";
    dev->k = &s->table;
    dev->bf16_units = true;
    dev->ordinal = ordinal;
    dev->host_memory = host_memory;
    dev->state = s;
    dev->ops = &ops;
    cuda_table(&s->table);
    int rc = open_card(dev, ordinal, plain, err);
    if (s->hopper)
        s->table.name = "cuda:hopper";
    if (!rc)
        rc = blas_open(&s->blas, s->stream, err);
    if (rc) {
        close_card(dev);
        free(s);
        free(dev);
        return rc;
    }
    *out = dev;
    return 0;
}
