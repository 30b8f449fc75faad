/* Loading the CUDA library: see cuda_open.h. */
#include "kernels/cuda_open.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static const struct name {
    const char *name;
    bool emulated, host_memory, plain;
} names[] = {{"cuda", false, false, false},        {"cuda:plain", false, false, true},
             {"cuda:host", false, true, false},    {"cuda:host:plain", false, true, true},
             {"cuda:emulated", true, false, true}, {"cuda:emulated:hopper", true, false, false}};

/* One of those, the first for "cuda:N". */
static const struct name *find(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i].name) == 0)
            return &names[i];
    return &names[0];
}

static int ordinal_of(const char *name)
{
    char *end = NULL;
    if (strcmp(name, find(name)->name) == 0)
        return 0;
    if (strncmp(name, "cuda:", 5) != 0 || name[5] < '0' || name[5] > '9')
        return -1;
    long n = strtol(name + 5, &end, 10);
    return *end || n > 1023 ? -1 : (int)n;
}

int cuda_open(struct device **out, const char *name, struct err *err)
{
    const struct name *n = find(name);
    const char *file = n->emulated ? "libmoe2_cuda_emulated.so" : "libmoe2_cuda.so";
    int ordinal = ordinal_of(name);
    if (ordinal < 0)
        return err_set(err, MOE2_ECONFIG, "device \"%s\" is unknown, wanted cuda or cuda:NUMBER",
                       name);
    void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL); /* found beside the program */
    if (!library)
        return err_set(err, MOE2_ECONFIG,
                       "device %s: %s can't be loaded (%s); moe2 built with -DMOE2_CUDA=ON has it",
                       name, file, dlerror());
    cuda_opener *open = NULL;
    void *symbol = dlsym(library, "moe2_cuda_open");
    memcpy(&open, &symbol, sizeof open);
    if (!open)
        return err_set(err, MOE2_ECONFIG, "device %s: %s is not moe2's", name, file);
    return open(out, ordinal, n->host_memory, n->plain, CUDA_ABI, err);
}
