/* Child processes: see children.h. */
#include "fleet/children.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/process.h"
#include "fleet/http_client.h"

enum { MAX_LINE = 1024, MAX_URL = 256, NAP_MS = 20 };

struct child {
    const char *name;
    char *const *argv;
    int64_t pid; /* 0: not running */
    int fd;      /* its standard output; −1: none */
    char line[MAX_LINE];
    size_t n_line;
    char url[MAX_URL];        /* empty: not ready */
    bool was_ready, is_asked; /* is_asked: health runs */
    struct http_call health;
    char health_url[MAX_URL + 8];
    int n_restarts, n_deaf;
    double pause_s, started_s, again_s; /* again_s: when to start it */
};

struct children {
    int n;
    struct child *v; /* [n] */
    child_changed *changed;
    void *ctx;
    const struct log_sink *sink;
    struct http_client *client;
    double looked_s;
};

int children_new(struct children **out, int n, child_changed *changed, void *ctx,
                 const struct log_sink *sink, struct err *err)
{
    struct children *c = calloc(1, sizeof *c);
    struct child *v = calloc((size_t)n, sizeof *v);
    int rc = c && v ? 0 : err_set(err, MOE2_ELIMIT, "no memory for %d children", n);
    if (!rc)
        rc = http_client_new(&c->client, err);
    if (rc) {
        free(c);
        free(v);
        return rc;
    }
    for (int i = 0; i < n; i++)
        v[i].fd = -1;
    *c = (struct children){n, v, changed, ctx, sink, c->client, clock_s()};
    *out = c;
    return 0;
}

/* ---- starting ---- */

static int spawn(struct child *k, struct err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
        return err_set(err, MOE2_EIO, "%s: no pipe for it: %s", k->name, strerror(errno));
    fcntl(ends[1], F_SETFL, 0);
    int rc = process_start_to(&k->pid, (const char *const *)k->argv, ends[1], false, err);
    close(ends[1]);
    if (rc) {
        close(ends[0]);
        err_prefix(err, "%s", k->name);
        return rc;
    }
    k->fd = ends[0];
    k->n_line = 0;
    k->n_deaf = 0;
    k->started_s = clock_s();
    return 0;
}

int children_start(struct children *c, int i, const char *name, char *const *argv, struct err *err)
{
    c->v[i].name = name;
    c->v[i].argv = argv;
    return spawn(&c->v[i], err);
}

/* ---- looking ---- */

/* A whole line of a child: the one that says where it listens makes it ready. */
static void take_line(struct children *c, int i)
{
    struct child *k = &c->v[i];
    const char *address = process_address(k->line);
    if (!address || *k->url)
        return;
    snprintf(k->url, sizeof k->url, "%s", address);
    k->was_ready = true;
    log_line(c->sink, LOG_INFO, "%s: ready on %s, process %d", k->name, k->url, (int)k->pid);
    c->changed(c->ctx, i, k->url, (pid_t)k->pid, k->n_restarts);
}

static void read_lines(struct children *c, int i)
{
    struct child *k = &c->v[i];
    char bytes[512];
    ssize_t n;
    while (k->fd >= 0 && (n = read(k->fd, bytes, sizeof bytes)) > 0)
        for (ssize_t b = 0; b < n; b++) {
            if (bytes[b] != '\n') {
                if (k->n_line < MAX_LINE - 1)
                    k->line[k->n_line++] = bytes[b];
                continue;
            }
            k->line[k->n_line] = 0;
            k->n_line = 0;
            take_line(c, i);
        }
}

static void tell_end(char text[static 64], int status)
{
    if (WIFSIGNALED(status))
        snprintf(text, 64, "was ended by signal %d", WTERMSIG(status));
    else
        snprintf(text, 64, "ended with status %d", WEXITSTATUS(status));
}

static void end_health(struct children *c, struct child *k)
{
    if (k->is_asked)
        http_client_end(c->client, &k->health);
    http_call_release(&k->health);
    k->is_asked = false;
}

/* Pauses double; steady: the next begin anew. */
static void put_off(struct child *k, bool steady)
{
    double pause_s = steady ? 0 : k->pause_s * 2 + 0.25;
    k->pause_s = pause_s < CHILD_MAX_PAUSE_S ? pause_s : CHILD_MAX_PAUSE_S;
    k->again_s = clock_s() + k->pause_s;
}

/* What the end of a child means. */
static int child_ended(struct children *c, int i, int status, struct err *err)
{
    struct child *k = &c->v[i];
    char how[64];
    bool steady = clock_s() - k->started_s > CHILD_STEADY_S;
    tell_end(how, status);
    close(k->fd);
    k->fd = -1;
    k->pid = 0;
    k->url[0] = 0;
    end_health(c, k);
    if (!k->was_ready)
        return err_set(err, MOE2_EIO, "%s %s before it was ready", k->name, how);
    put_off(k, steady || !k->n_restarts);
    k->n_restarts++;
    log_line(c->sink, LOG_WARN, "%s %s, is started again in %.2g s", k->name, how, k->pause_s);
    c->changed(c->ctx, i, NULL, 0, k->n_restarts);
    return 0;
}

/* Starts one that was ready before and whose time has come; if it can't be started, it is tried
 * again later. */
static void start_again(struct children *c, struct child *k)
{
    struct err err = {0};
    if (k->pid || !k->was_ready || clock_s() < k->again_s || !spawn(k, &err))
        return;
    put_off(k, false);
    log_line(c->sink, LOG_WARN, "%s; is tried again in %.2g s", err.msg, k->pause_s);
}

static void begin_health(struct children *c, struct child *k)
{
    snprintf(k->health_url, sizeof k->health_url, "%s/health", k->url);
    k->health = (struct http_call){.url = k->health_url};
    k->is_asked = true;
    http_client_begin(c->client, &k->health, CHILD_HEALTH_S);
}

static void judge_health(struct children *c, struct child *k)
{
    k->n_deaf = k->health.status == 200 ? 0 : k->n_deaf + 1;
    if (k->n_deaf >= CHILD_MAX_DEAF && k->pid) {
        log_line(c->sink, LOG_WARN, "%s does not answer any more and is ended", k->name);
        kill((pid_t)k->pid, SIGKILL);
    }
}

/* Moves on what was asked, and now and then asks all that are ready how they are; kills those who are deaf. Never waits. */
static void look_at_health(struct children *c)
{
    bool is_time = clock_s() - c->looked_s > CHILD_HEALTH_S;
    http_client_step(c->client, 0);
    for (int i = 0; i < c->n; i++) {
        struct child *k = &c->v[i];
        if (k->is_asked && k->health.done) {
            judge_health(c, k);
            end_health(c, k);
        }
        if (is_time && !k->is_asked && *k->url)
            begin_health(c, k);
    }
    if (is_time)
        c->looked_s = clock_s();
}

int children_tick(struct children *c, struct err *err)
{
    int rc = 0, status = 0;
    for (int i = 0; i < c->n; i++) {
        struct child *k = &c->v[i];
        read_lines(c, i);
        if (k->pid && waitpid((pid_t)k->pid, &status, WNOHANG) == k->pid) {
            int ended = child_ended(c, i, status, err);
            rc = rc ? rc : ended;
        }
        start_again(c, k);
    }
    look_at_health(c);
    return rc;
}

bool children_all_ready(const struct children *c)
{
    for (int i = 0; i < c->n; i++)
        if (!*c->v[i].url)
            return false;
    return true;
}

/* ---- the end ---- */

static bool reap(struct children *c)
{
    bool left = false;
    for (int i = 0; i < c->n; i++) {
        struct child *k = &c->v[i];
        if (k->pid && waitpid((pid_t)k->pid, NULL, WNOHANG) == k->pid)
            k->pid = 0;
        left |= k->pid != 0;
    }
    return left;
}

static void signal_all(const struct children *c, int sig)
{
    for (int i = 0; i < c->n; i++)
        if (c->v[i].pid)
            kill((pid_t)c->v[i].pid, sig);
}

void children_free(struct children *c)
{
    if (!c)
        return;
    double until_s = clock_s() + CHILD_GRACE_S;
    signal_all(c, SIGTERM);
    signal_all(c, SIGCONT); /* one that was stopped hears nothing else */
    while (reap(c)) {
        if (clock_s() > until_s)
            signal_all(c, SIGKILL);
        nanosleep(&(struct timespec){0, NAP_MS * 1000000L}, NULL);
    }
    for (int i = 0; i < c->n; i++) {
        end_health(c, &c->v[i]);
        if (c->v[i].fd >= 0)
            close(c->v[i].fd);
    }
    http_client_free(c->client);
    free(c->v);
    free(c);
}
