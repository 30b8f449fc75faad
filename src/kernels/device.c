/* Opening devices, and the CPU device: which table suits this processor, where memory comes from.
 *
 * Tables are steps of a ladder (see cpu/cpu.h); "cpu" takes the highest that the processor and the operating system carry. Large
 * blocks are aligned to huge pages and the kernel is asked for them, because a training step walks over all of its memory.
 */
#include "kernels/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/process.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cuda_open.h"

static bool runs_always(void)
{
    return true;
}

/* __builtin_cpu_supports answers for the processor and the operating system together: it reads XCR0 for the wide registers. */
#if defined(__x86_64__)
static bool runs_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
}

static bool runs_avx512(void)
{
    return runs_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool runs_avx512vnni(void)
{
    return runs_avx512() && __builtin_cpu_supports("avx512vnni");
}

static bool runs_avx512bf16(void)
{
    return runs_avx512vnni() && __builtin_cpu_supports("avx512bf16");
}
#endif

/* The ladder, lowest first. */
static const struct step {
    const char *name;
    bool (*runs)(void);
    void (*rows)(struct cpu_state *s);
    bool bf16_units;
} ladder[] = {
    {"reference", runs_always, table_reference, false},
#if defined(__x86_64__)
    {"avx2", runs_avx2, table_avx2, false},
    {"avx512", runs_avx512, table_avx512, false},
    {"avx512vnni", runs_avx512vnni, table_avx512vnni, false},
    {"avx512bf16", runs_avx512bf16, table_avx512bf16, true},
#endif
};
enum { N_STEPS = sizeof ladder / sizeof *ladder };

static int best_step(void)
{
    int best = 0;
    for (int i = 1; i < N_STEPS; i++)
        if (ladder[i].runs())
            best = i;
    return best;
}

const char *device_cpu_best(void)
{
    return ladder[best_step()].name;
}

/* The step that name asks for, or −1 after telling which ones there are. */
static int find_step(const char *name, struct err *err)
{
    char can[128] = "";
    if (strcmp(name, "cpu") == 0)
        return best_step();
    for (int i = 0; i < N_STEPS; i++) {
        if (!ladder[i].runs())
            continue;
        if (strncmp(name, "cpu:", 4) == 0 && strcmp(name + 4, ladder[i].name) == 0)
            return i;
        size_t n = strlen(can);
        snprintf(can + n, sizeof can - n, ", cpu:%s", ladder[i].name);
    }
    for (int i = 0; i < N_STEPS; i++)
        if (strncmp(name, "cpu:", 4) == 0 && strcmp(name + 4, ladder[i].name) == 0)
            return err_set(err, MOE2_ECONFIG,
                           "device %s: this CPU can't run %s, wanted one of cpu%s", name,
                           ladder[i].name, can);
    return err_set(err, MOE2_ECONFIG, "device \"%s\" is unknown, wanted one of cpu%s, cuda", name,
                   can);
}

static int cores(void)
{
    int n = process_cores();
    return n < CPU_MAX_THREADS ? n : CPU_MAX_THREADS;
}

enum { HUGE_PAGE = 2 << 20 };
static const size_t most_bytes = (size_t)1
                                 << 46; /* of one block: half of what a process can address */

static void *cpu_alloc(struct device *dev, size_t n_bytes)
{
    (void)dev;
    if (n_bytes > most_bytes)
        return NULL;
    if (n_bytes < HUGE_PAGE)
        return aligned_alloc(64, (n_bytes + 64) / 64 * 64);
    size_t rounded = (n_bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *p = aligned_alloc(HUGE_PAGE, rounded);
    if (p)
        madvise(p, rounded, MADV_HUGEPAGE);
    return p;
}

static void cpu_free(struct device *dev, void *p, size_t n_bytes)
{
    (void)dev;
    (void)n_bytes;
    free(p);
}

static void cpu_move(struct device *dev, void *to, const void *from, size_t n_bytes)
{
    (void)dev;
    if (n_bytes)
        memcpy(to, from, n_bytes);
}

static void cpu_zero(struct device *dev, void *p, size_t n_bytes)
{
    (void)dev;
    if (n_bytes)
        memset(p, 0, n_bytes);
}

static void cpu_sync(struct device *dev)
{
    (void)dev;
}

static void cpu_close(struct device *dev)
{
    struct cpu_state *s = dev->state;
    if (s && s->scratch)
        munmap(s->scratch, s->scratch_bytes);
    free(s);
}

static int cpu_check(struct device *dev, struct err *err)
{
    (void)dev;
    (void)err;
    return 0;
}

static size_t cpu_room(struct device *dev)
{
    (void)dev;
    return 0;
}

static const struct device_ops cpu_ops = {
    cpu_alloc, cpu_free,  cpu_move, cpu_move,  cpu_zero, cpu_sync,
    cpu_close, cpu_check, cpu_room, cpu_alloc, cpu_free, cpu_move,
};

static int open_cuda(struct device **out, const char *name, int n_threads, struct err *err)
{
    int rc = cuda_open(out, name, err);
    if (!rc)
        (*out)->n_threads = n_threads ? n_threads : cores(); /* of what the host does for it */
    return rc;
}

int device_open_choice(struct device **out, const struct device_choice *choice, int n_threads,
                       struct err *err)
{
    int rc = device_open(out, choice->name ? choice->name : "cpu", n_threads, err);
    if (!rc)
        (*out)->limit_bytes = choice->limit_bytes;
    return rc;
}

bool device_is_gpu(const struct device_choice *choice)
{
    return choice->name && strncmp(choice->name, "cuda", 4) == 0;
}

int device_open(struct device **out, const char *name, int n_threads, struct err *err)
{
    bool cuda = device_is_gpu(&(struct device_choice){.name = name});
    int step = cuda ? 0 : find_step(name, err);
    if (step < 0)
        return step;
    if (n_threads < 0 || n_threads > CPU_MAX_THREADS)
        return err_set(err, MOE2_ECONFIG, "device %s: %d threads, wanted 0 (all cores) to %d", name,
                       n_threads, CPU_MAX_THREADS);
    if (cuda)
        return open_cuda(out, name, n_threads, err);
    struct device *dev = calloc(1, sizeof *dev);
    struct cpu_state *s = calloc(1, sizeof *s);
    if (!dev || !s) {
        free(dev);
        free(s);
        return err_set(err, MOE2_ELIMIT, "device %s: no memory to open it", name);
    }
    *dev = (struct device){
        .name = "cpu", .k = &s->table, .host_memory = true, .state = s, .ops = &cpu_ops};
    dev->bf16_units = ladder[step].bf16_units;
    dev->n_threads = n_threads ? n_threads : cores();
    s->scratch_bytes = CPU_SCRATCH_SHARED + (size_t)dev->n_threads * CPU_SCRATCH_THREAD;
    s->scratch = mmap(NULL, s->scratch_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->scratch == MAP_FAILED) {
        s->scratch = NULL;
        device_close(dev);
        return err_set(err, MOE2_ELIMIT,
                       "device %s: no address space for %zu MiB of scratch memory", name,
                       (CPU_SCRATCH_SHARED + (size_t)CPU_SCRATCH_THREAD) >> 20);
    }
    for (int i = 0; i <= step; i++)
        ladder[i].rows(s);
    s->table.name = ladder[step].name;
    *out = dev;
    return 0;
}
