/* Loading the CUDA library: see cuda_open.h. */
#include "kernels/cuda_open.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static int ordinal_of(const char *name)
{
    char *end = NULL;
    if (strcmp(name, "cuda") == 0 || strcmp(name, "cuda:emulated") == 0 ||
        strcmp(name, "cuda:host") == 0)
        return 0;
    if (strncmp(name, "cuda:", 5) != 0 || name[5] < '0' || name[5] > '9')
        return -1;
    long n = strtol(name + 5, &end, 10);
    return *end || n > 1023 ? -1 : (int)n;
}

int cuda_open(struct device **out, const char *name, struct err *err)
{
    bool emulated = strcmp(name, "cuda:emulated") == 0;
    const char *file = emulated ? "libmoe2_cuda_emulated.so" : "libmoe2_cuda.so";
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
    return open(out, ordinal, strcmp(name, "cuda:host") == 0, CUDA_ABI, err);
}
