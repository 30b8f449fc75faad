/* A list of programs run to their ends: see process_queue.h. */
#include "base/process_queue.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "base/process.h"

enum { POLL_MS = 50 };

struct running {
    int64_t pid, i;
    double began_s;
};

struct state {
    const struct process_queue *q;
    struct running *running; /* [n_running] of [at_once] */
    int64_t n_running, next;
    bool closed; /* nothing starts any more */
    bool told;   /* those that run have had their SIGINT */
    int rc;      /* the first error */
    struct err *err;
};

static void fail(struct state *s, int rc)
{
    s->closed = true;
    s->rc = s->rc ? s->rc : rc;
}

static void fill(struct state *s)
{
    const struct process_queue *q = s->q;
    while (!s->closed && s->next < q->n && s->n_running < q->at_once) {
        struct running r = {.i = s->next++, .began_s = clock_s()};
        int rc = q->start(&r.pid, q->ctx, r.i, s->err);
        if (rc)
            fail(s, rc);
        else if (r.pid)
            s->running[s->n_running++] = r;
    }
}

static void tell_all(struct state *s)
{
    s->told = true;
    if (s->q->stopping && s->n_running)
        s->q->stopping(s->q->ctx, s->n_running);
    for (int64_t k = 0; k < s->n_running; k++)
        kill((pid_t)s->running[k].pid, SIGINT);
}

static void look_around(struct state *s)
{
    int64_t n_left = 0;
    for (int64_t k = 0; k < s->n_running; k++) {
        struct running r = s->running[k];
        int status = 0;
        if (waitpid((pid_t)r.pid, &status, WNOHANG) != r.pid) {
            s->running[n_left++] = r;
            continue;
        }
        s->closed |= process_was_stopped(status);
        int rc = s->q->ended(s->q->ctx, r.i, status, clock_s() - r.began_s, s->err);
        if (rc)
            fail(s, rc);
    }
    s->n_running = n_left;
}

int process_queue_run(bool *stopped, const struct process_queue *queue, struct err *err)
{
    assert(queue->at_once > 0);
    int64_t n = queue->at_once < queue->n ? queue->at_once : queue->n;
    struct state s = {.q = queue, .err = err};
    s.running = calloc((size_t)n + 1, sizeof *s.running);
    if (!s.running)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld programs at once", (long long)n);
    for (;;) {
        bool asked = queue->stop && *queue->stop;
        s.closed |= asked;
        fill(&s);
        if ((asked || s.rc) && !s.told)
            tell_all(&s);
        if (!s.n_running)
            break;
        nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
        look_around(&s);
    }
    free(s.running);
    if (!s.rc)
        *stopped = s.closed || (queue->stop && *queue->stop);
    return s.rc;
}
