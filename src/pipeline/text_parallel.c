/* A loop over many threads: each takes the next few items until none is left. Threads are made for
 * the call, which costs little beside a batch of megabytes. One that can't be made is done without. */
#include <pthread.h>
#include <stdatomic.h>

#include "pipeline/text_stream.h"

enum { TAKE = 4 };

struct loop {
    atomic_size_t next;
    size_t n;
    void (*work)(void *ctx, int thread_idx, size_t i);
    void *ctx;
};

struct seat {
    struct loop *loop;
    int thread_idx;
    pthread_t thread;
};

static void *sit(void *p)
{
    struct seat *seat = p;
    struct loop *l = seat->loop;
    for (;;) {
        size_t first = atomic_fetch_add(&l->next, TAKE);
        if (first >= l->n)
            return NULL;
        size_t end = l->n - first < TAKE ? l->n : first + TAKE;
        for (size_t i = first; i < end; i++)
            l->work(l->ctx, seat->thread_idx, i);
    }
}

void text_parallel(int n_threads, size_t n, void (*work)(void *ctx, int thread_idx, size_t i),
                   void *ctx)
{
    struct loop l = {.n = n, .work = work, .ctx = ctx};
    struct seat seats[TEXT_MAX_THREADS];
    int n_made = 1;
    for (; n_made < n_threads && n_made < TEXT_MAX_THREADS && (size_t)n_made * TAKE < n; n_made++) {
        seats[n_made] = (struct seat){.loop = &l, .thread_idx = n_made};
        if (pthread_create(&seats[n_made].thread, NULL, sit, &seats[n_made]))
            break;
    }
    seats[0] = (struct seat){.loop = &l};
    sit(&seats[0]);
    for (int i = 1; i < n_made; i++)
        pthread_join(seats[i].thread, NULL);
}
