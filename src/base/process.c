/* Running another program: see process.h. */
#include "base/process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

extern char **environ;

enum { POLL_MS = 200 };

static int start(pid_t *pid, int ends[2], const struct process *p, struct err *err)
{
    if (pipe2(ends, O_CLOEXEC))
        return err_set(err, MOE2_EIO, "%s: no pipe for it: %s", p->argv[0], strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, p->stdin_path ? p->stdin_path : "/dev/null",
                                     O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    if (p->with_stderr)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    else
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (p->dir)
        posix_spawn_file_actions_addchdir_np(&actions, p->dir);
    int failed =
        posix_spawnp(pid, p->argv[0], &actions, NULL, (char *const *)(uintptr_t)p->argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (failed) {
        close(ends[0]);
        return err_set(err, MOE2_EIO, "%s: can't be run: %s", p->argv[0], strerror(failed));
    }
    return 0;
}

/* Reads to the end of what it writes. */
static int collect(struct process_result *r, struct buf *out, int fd, pid_t pid,
                   const struct process *p, struct err *err)
{
    char bytes[1 << 16];
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int n_ready = poll(&ready, 1, POLL_MS);
        if (p->stop && *p->stop) {
            kill(pid, SIGTERM);
            return err_set(err, MOE2_ESTOP, "stopped while %s ran", p->argv[0]);
        }
        if (n_ready <= 0)
            continue;
        ssize_t n = read(fd, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return 0;
        r->n_out_bytes += n;
        if (out)
            (void)buf_append(out, bytes, (size_t)n, NULL);
    }
}

int process_run(struct process_result *result, struct buf *out, const struct process *p,
                struct err *err)
{
    struct process_result r = {0};
    pid_t pid = 0;
    int ends[2], status = 0;
    int rc = start(&pid, ends, p, err);
    if (rc)
        return rc;
    rc = collect(&r, out, ends[0], pid, p, err);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (rc)
        return rc;
    r.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    *result = r;
    return 0;
}

int process_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? n : 1;
}

int process_share(int64_t threads, int64_t jobs)
{
    assert(jobs > 0);
    int64_t share = (threads ? threads : process_cores()) / jobs;
    return share > 1 ? (int)share : 1;
}

int process_start_to(int64_t *pid, const char *const *argv, int fd, bool with_stderr,
                     struct err *err)
{
    pid_t child = 0;
    sigset_t none;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fd, 1);
    if (with_stderr)
        posix_spawn_file_actions_adddup2(&actions, fd, 2);
    int failed = posix_spawnp(&child, argv[0], &actions, &attributes,
                              (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    *pid = failed ? 0 : child;
    if (failed)
        return err_set(err, MOE2_EIO, "%s: can't be started: %s", argv[0], strerror(failed));
    return 0;
}

int process_start(int64_t *pid, const char *const *argv, const char *log, struct err *err)
{
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_set(err, MOE2_EIO, "%s: can't be written: %s", log, strerror(errno));
    int rc = process_start_to(pid, argv, fd, true, err);
    close(fd);
    return rc;
}

int process_lock(int *fd, const char *dir, const char *name, struct err *err)
{
    char text[32], *path = path_join(dir, name);
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
    int f = rc ? -1 : open(path, O_RDWR | O_CREAT, 0666);
    if (!rc && f < 0)
        rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", path, strerror(errno));
    int refused = rc || flock(f, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    if (refused && refused != EWOULDBLOCK)
        rc = err_set(err, MOE2_EIO, "%s: can't be locked: %s", path, strerror(refused));
    if (!rc && refused) {
        ssize_t n = read(f, text, sizeof text - 1);
        text[n > 0 ? n : 0] = 0;
        long pid = strtol(text, NULL, 10);
        bool lives = pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
        rc = err_set(err, MOE2_ECONFIG, "%s is being worked on by %sprocess %ld%s", dir,
                     lives ? "" : "what ", pid, lives ? "" : " started");
    }
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (!rc && (ftruncate(f, 0) || pwrite(f, text, (size_t)n, 0) != n))
        rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", path, strerror(errno));
    if (rc && f >= 0)
        close(f);
    if (!rc)
        *fd = f;
    free(path);
    return rc;
}

long process_at_work(const char *dir, const char *name)
{
    char text[32], *path = path_join(dir, name);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    long pid = 0;
    if (fd >= 0 && flock(fd, LOCK_SH | LOCK_NB)) {
        ssize_t n = read(fd, text, sizeof text - 1);
        text[n > 0 ? n : 0] = 0;
        pid = strtol(text, NULL, 10);
    }
    if (fd >= 0)
        close(fd);
    free(path);
    return pid;
}

const char *process_address(const char *line)
{
    static const char mark[] = " listens on ";
    const char *at = strstr(line, mark);
    return at ? at + sizeof mark - 1 : NULL;
}

static void last_line(char out[256], const char *log)
{
    struct buf text = {.max_bytes = 16 << 20};
    snprintf(out, 256, "it said nothing");
    if (file_read(&text, log, NULL) == 0) {
        size_t end = text.n;
        while (end > 0 && (text.bytes[end - 1] == '\n' || text.bytes[end - 1] == ' '))
            end--;
        size_t begin = end;
        while (begin > 0 && text.bytes[begin - 1] != '\n')
            begin--;
        if (end > begin)
            snprintf(out, 256, "%.*s", (int)(end - begin < 250 ? end - begin : 250),
                     text.bytes + begin);
    }
    buf_release(&text);
}

void process_ending(char out[256], int status, const char *log)
{
    if (WIFSIGNALED(status))
        snprintf(out, 256, "ended by signal %d", WTERMSIG(status));
    else
        last_line(out, log);
}

bool process_was_stopped(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) == PROCESS_STOPPED
                             : WIFSIGNALED(status) && WTERMSIG(status) == SIGINT;
}
