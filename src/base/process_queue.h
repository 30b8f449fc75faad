/* A list of programs run to their ends, a few at a time.
 *
 *     struct process_queue q = {.n = n_runs, .at_once = 4, .stop = stop, .start = start, .ended = ended, .ctx = &runs};
 *     bool stopped;
 *     rc = process_queue_run(&stopped, &q, err);
 *
 * The queue decides when a program starts, sees how it ends, and passes Ctrl-C on; which program number i is, and what its end means, is its
 * user's. Once it is to stop, no program starts any more, and each that runs gets one SIGINT and is waited for.
 */
#ifndef MOE2_BASE_PROCESS_QUEUE_H
#define MOE2_BASE_PROCESS_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct process_queue {
    int64_t n;
    int64_t at_once;          /* 1 or more */
    const volatile int *stop; /* set from outside: stop; or NULL */

    /* Starts number i, from 0 up. *pid stays 0 where there is nothing to run. An error stops the others. */
    int (*start)(int64_t *pid, void *ctx, int64_t i, struct err *err);

    /* Number i ended: its status as waitpid has it, and how long it ran. An error stops the others; a program that failed need not be one. */
    int (*ended)(void *ctx, int64_t i, int status, double seconds, struct err *err);

    /* Those that run, n_running of them, are told to stop; or NULL. */
    void (*stopping)(void *ctx, int64_t n_running);
    void *ctx; /* borrowed, passed to the three */
};

/* Runs them all, and returns when none runs any more. *stopped: stop was set, or a program ended as stopped (process_was_stopped): somebody
 * stopped that one by hand, so that no other is started, and those that run go on to their ends. Errors: the first of start and ended;
 * MOE2_ELIMIT. */
int process_queue_run(bool *stopped, const struct process_queue *queue, struct err *err);

#endif
