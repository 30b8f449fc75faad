/* The fibers of emulate.h: a stack each, switched by hand; barriers count who has come. */
#ifdef MOE2_EMULATED
#include "kernels/cuda/emulate.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

struct emulated emulated;

namespace
{

enum { STACK = 128 << 10, MAX_THREADS = 1024, WARPS = MAX_THREADS / 32 };

struct fiber {
    void *sp;
    void *fake; /* the sanitizer's */
    dim3 thread;
    bool done;
};

struct warp {
    int alive, arrived;
    unsigned generation;
    unsigned char rows[2][32 * EMULATED_ROW]; /* of this collective and of the next */
};

struct fiber fibers[MAX_THREADS];
struct warp warps[WARPS];
unsigned char *stacks;
int n_fibers, now, n_alive, n_arrived;
unsigned block_generation;
bool moved; /* since the last round began somebody went on */
void *scheduler_sp;
#ifdef __SANITIZE_ADDRESS__
void *scheduler_fake;
const void *scheduler_bottom;
size_t scheduler_size;
#endif
const std::function<void(void)> *work;

} // namespace

/* Keeps the caller's registers on its stack and goes on with another one. */
extern "C" void emulate_switch(void **save, void *load);
asm(".text\n.globl emulate_switch\n.hidden emulate_switch\n.type emulate_switch,@function\n"
    "emulate_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
    ".size emulate_switch,.-emulate_switch\n");

static void to_fiber(int i)
{
    now = i;
    emulated.thread = fibers[i].thread;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(&scheduler_fake, stacks + (size_t)i * STACK, STACK);
#endif
    emulate_switch(&scheduler_sp, fibers[i].sp);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(scheduler_fake, NULL, NULL);
#endif
}

static void to_scheduler(bool for_good)
{
    int i = now;
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(for_good ? NULL : &fibers[i].fake, scheduler_bottom,
                                   scheduler_size);
#else
    (void)for_good;
#endif
    emulate_switch(&fibers[i].sp, scheduler_sp);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fibers[i].fake, &scheduler_bottom, &scheduler_size);
#endif
}

static void release_block(void)
{
    if (n_arrived && n_arrived == n_alive) {
        n_arrived = 0;
        block_generation++;
    }
}

static void release_warp(struct warp *w)
{
    if (w->arrived && w->arrived == w->alive) {
        w->arrived = 0;
        w->generation++;
    }
}

static void run_fiber(void)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(NULL, &scheduler_bottom, &scheduler_size);
#endif
    (*work)();
    fibers[now].done = true;
    moved = true;
    n_alive--;
    warps[now / 32].alive--;
    release_block();
    release_warp(&warps[now / 32]);
    to_scheduler(true);
    __builtin_unreachable();
}

void __syncthreads(void)
{
    unsigned mine = block_generation;
    n_arrived++;
    moved = true;
    release_block();
    while (mine == block_generation)
        to_scheduler(false);
    moved = true;
}

void __syncwarp(unsigned mask)
{
    (void)mask;
    struct warp *w = &warps[now / 32];
    unsigned mine = w->generation;
    w->arrived++;
    moved = true;
    release_warp(w);
    while (mine == w->generation)
        to_scheduler(false);
    moved = true;
}

void emulate_yield(void)
{
    to_scheduler(false);
}

void emulate_moved(void)
{
    moved = true;
}

const unsigned char *emulate_exchange(const void *mine, size_t n_bytes)
{
    struct warp *w = &warps[(unsigned)now / 32];
    unsigned char *rows = w->rows[w->generation % 2];
    assert(n_bytes <= EMULATED_ROW);
    memcpy(rows + (unsigned)now % 32 * EMULATED_ROW, mine, n_bytes);
    __syncwarp();
    return rows;
}

/* A stack on which emulate_switch finds six registers and the way into run_fiber. */
static void begin_fiber(int i)
{
    void **top = (void **)(void *)(stacks + (size_t)(i + 1) * STACK);
    *--top = NULL; /* the return address of run_fiber: keeps its frame aligned as after a call */
    *--top = (void *)run_fiber;
    for (int r = 0; r < 6; r++)
        *--top = NULL;
    fibers[i].sp = top;
    fibers[i].fake = NULL;
    fibers[i].done = false;
}

static void run_block(void)
{
    n_alive = n_fibers;
    n_arrived = 0;
    for (int w = 0; w * 32 < n_fibers; w++) {
        warps[w].alive = n_fibers - w * 32 < 32 ? n_fibers - w * 32 : 32;
        warps[w].arrived = 0;
    }
    for (int i = 0; i < n_fibers; i++)
        begin_fiber(i);
    for (bool back = false; n_alive; back = !back) {
        moved = false;
        for (int j = 0; j < n_fibers; j++) {
            int i = back ? n_fibers - 1 - j : j;
            if (!fibers[i].done)
                to_fiber(i);
        }
        if (!moved) {
            fprintf(stderr, "emulated CUDA: the threads of a block wait for one another\n");
            abort();
        }
    }
}

void emulate_launch(dim3 grid, dim3 block, size_t shared, const std::function<void(void)> &body)
{
    enum { SHARED = 256 << 10 };
    n_fibers = (int)(block.x * block.y * block.z);
    if (n_fibers % 32 || n_fibers > MAX_THREADS || shared > 227 << 10) {
        fprintf(stderr, "emulated CUDA: %d threads and %zu bytes of shared memory\n", n_fibers,
                shared);
        abort();
    }
    if (!stacks)
        stacks = (unsigned char *)mmap(NULL, (size_t)MAX_THREADS * STACK, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert(stacks != MAP_FAILED);
    /* exactly as large as asked for, so that a sanitizer sees what lies beyond */
    emulated.shared =
        shared ? (unsigned char *)aligned_alloc(128, (shared + 127) / 128 * 128) : NULL;
    emulated.block_dim = block;
    emulated.grid_dim = grid;
    work = &body;
    for (int i = 0; i < n_fibers; i++)
        fibers[i].thread = dim3((unsigned)i % block.x, (unsigned)i / block.x % block.y,
                                (unsigned)i / block.x / block.y);
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                emulated.block = dim3(x, y, z);
                if (shared)
                    memset(emulated.shared, 0xff, shared);
                run_block();
            }
    free(emulated.shared);
}

/* ---- matrices over a warp ---- */

struct fragments {
    uint32_t a[4], b[2];
};

void mma_bf16(float d[4], const uint32_t a[4], const uint32_t b[2])
{
    struct fragments mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    int lane = emulate_lane();
    const unsigned char *rows = emulate_exchange(&mine, sizeof mine);
    for (int i = 0; i < 4; i++) {
        int row = lane / 4 + i / 2 * 8, col = lane % 4 * 2 + i % 2;
        float sum = 0;
        for (int k = 0; k < 16; k++) {
            struct fragments left = emulate_take<struct fragments>(rows, row % 8 * 4 + k % 8 / 2),
                             right = emulate_take<struct fragments>(rows, col * 4 + k % 8 / 2);
            uint32_t x = left.a[row / 8 + k / 8 * 2], y = right.b[k / 8];
            sum +=
                bf16_value((uint16_t)(x >> k % 2 * 16)) * bf16_value((uint16_t)(y >> k % 2 * 16));
        }
        d[i] += sum;
    }
}

void load_matrices(uint32_t r[4], const void *row)
{
    int lane = emulate_lane();
    assert((uintptr_t)row % 16 == 0);
    const unsigned char *rows = emulate_exchange(&row, sizeof row);
    for (int i = 0; i < 4; i++) {
        const uint16_t *from = emulate_take<const uint16_t *>(rows, i * 8 + lane / 4);
        r[i] = from[lane % 4 * 2] | (uint32_t)from[lane % 4 * 2 + 1] << 16;
    }
    __syncwarp(); /* nobody changes shared memory before all have read */
}

void load_matrices_turned(uint32_t r[4], const void *row)
{
    int lane = emulate_lane();
    assert((uintptr_t)row % 16 == 0);
    const unsigned char *rows = emulate_exchange(&row, sizeof row);
    for (int i = 0; i < 4; i++) {
        const uint16_t *first = emulate_take<const uint16_t *>(rows, i * 8 + lane % 4 * 2),
                       *second = emulate_take<const uint16_t *>(rows, i * 8 + lane % 4 * 2 + 1);
        r[i] = first[lane / 4] | (uint32_t)second[lane / 4] << 16;
    }
    __syncwarp();
}
#endif
