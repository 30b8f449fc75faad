/* NVML: see nvml.h. Every function of it returns 0 for success. */
#include "kernels/nvml.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_GPUS = 64 };

struct nvml_memory {
    unsigned long long total, free_bytes, used;
};

struct nvml {
    void *library;
    int (*shutdown)(void);
    int (*name)(void *, char *, unsigned);
    int (*energy)(void *, unsigned long long *);
    int (*memory)(void *, struct nvml_memory *);
    int n;
    void *gpu[MAX_GPUS];
};

static void find(void *function, void *library, const char *name)
{
    void *at = dlsym(library, name);
    memcpy(function, &at, sizeof at);
}

int nvml_open(struct nvml **out, struct err *err)
{
    int (*init)(void) = NULL, (*count)(unsigned *) = NULL, (*handle)(unsigned, void **) = NULL;
    unsigned n_found = 0;
    struct nvml *n = calloc(1, sizeof *n);
    if (!n)
        return err_set(err, MOE2_ELIMIT, "no memory for NVML");
    n->library = dlopen("libnvidia-ml.so.1", RTLD_LAZY);
    if (n->library) {
        find(&init, n->library, "nvmlInit_v2");
        find(&count, n->library, "nvmlDeviceGetCount_v2");
        find(&handle, n->library, "nvmlDeviceGetHandleByIndex_v2");
        find(&n->name, n->library, "nvmlDeviceGetName");
        find(&n->energy, n->library, "nvmlDeviceGetTotalEnergyConsumption");
        find(&n->memory, n->library, "nvmlDeviceGetMemoryInfo");
    }
    if (!init || !count || !handle || init() != 0) {
        nvml_close(n);
        return err_set(err, MOE2_ECONFIG, "no NVIDIA driver answers here");
    }
    find(&n->shutdown, n->library, "nvmlShutdown");
    if (count(&n_found) != 0)
        n_found = 0;
    for (unsigned i = 0; i < n_found && i < MAX_GPUS; i++)
        n->n += handle(i, &n->gpu[n->n]) == 0;
    *out = n;
    return 0;
}

void nvml_close(struct nvml *n)
{
    if (!n)
        return;
    if (n->shutdown)
        n->shutdown();
    if (n->library)
        dlclose(n->library);
    free(n);
}

int nvml_n_gpus(const struct nvml *n)
{
    return n->n;
}

void nvml_name(const struct nvml *n, int gpu, char *text, size_t n_text)
{
    *text = 0;
    if (gpu < n->n && n->name && n->name(n->gpu[gpu], text, (unsigned)n_text) != 0)
        *text = 0;
}

double nvml_energy_j(const struct nvml *n, int gpu)
{
    unsigned long long mj = 0;
    if (!n || gpu >= n->n || !n->energy || n->energy(n->gpu[gpu], &mj) != 0)
        return NAN;
    return (double)mj * 1e-3;
}

int64_t nvml_used_bytes(const struct nvml *n, int gpu)
{
    struct nvml_memory m = {0};
    if (!n || gpu >= n->n || !n->memory || n->memory(n->gpu[gpu], &m) != 0)
        return 0;
    return (int64_t)m.used;
}
