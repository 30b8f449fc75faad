/* Running gnuplot: a script in a file, the images under temporary names, renamed when all went well. What gnuplot says on stderr is kept
 * for the message; one that hangs is ended after a minute. */
#include "report/chart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utf8proc.h>

#include "base/file.h"
#include "base/log.h"

extern char **environ;

enum { PATIENCE_MS = 60000, SAID_BYTES = 400 };

int gnuplot_quote(struct buf *out, const char *text, int max_chars, struct err *err)
{
    const unsigned char *s = (const unsigned char *)text;
    int rc = buf_append(out, "'", 1, err);
    for (int n = 0; !rc && *s; n++) {
        utf8proc_int32_t c;
        utf8proc_ssize_t len = utf8proc_iterate(s, -1, &c);
        if (n == max_chars - 1 && s[len < 1 ? 1 : len]) {
            rc = buf_puts(out, "…", err);
            break;
        }
        if (len < 1) {
            rc = buf_puts(out, "\xEF\xBF\xBD", err);
            len = 1;
        } else if (c < 32 || (c >= 127 && c < 160) || c == 0x2028 || c == 0x2029) {
            rc = buf_append(out, " ", 1, err);
        } else if (c == '\'') {
            rc = buf_puts(out, "''", err);
        } else {
            rc = buf_append(out, s, (size_t)len, err);
        }
        s += len;
    }
    return rc ? rc : buf_append(out, "'", 1, err);
}

int chart_name_columns(const char *name)
{
    const unsigned char *s = (const unsigned char *)name;
    int columns = 0;
    for (int n = 0; *s && n < CHART_MAX_NAME; n++) {
        utf8proc_int32_t c;
        utf8proc_ssize_t len = utf8proc_iterate(s, -1, &c);
        columns += len < 1 ? 1 : utf8proc_charwidth(c);
        s += len < 1 ? 1 : len;
    }
    return columns;
}

int64_t chart_thin(double *x, double *y, int64_t n, int64_t n_wanted)
{
    if (n <= n_wanted)
        return n;
    for (int64_t i = 0; i < n_wanted; i++) {
        int64_t first = i * n / n_wanted, last = (i + 1) * n / n_wanted;
        double sx = 0, sy = 0;
        for (int64_t k = first; k < last; k++) {
            sx += x[k];
            sy += y[k];
        }
        x[i] = sx / (double)(last - first);
        y[i] = sy / (double)(last - first);
    }
    return n_wanted;
}

/* Reads a pipe to its end, keeping the first bytes as one line. False when it took too long. */
static bool read_said(int fd, char said[SAID_BYTES])
{
    size_t n = 0;
    double end_s = clock_s() + PATIENCE_MS / 1000.0;
    for (;;) {
        int left_ms = (int)((end_s - clock_s()) * 1000);
        struct pollfd p = {fd, POLLIN, 0};
        int ready = left_ms > 0 ? poll(&p, 1, left_ms) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        char piece[512];
        ssize_t got = read(fd, piece, sizeof piece);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        for (ssize_t i = 0; i < got && n + 1 < SAID_BYTES; i++)
            if (n || (piece[i] != '\n' && piece[i] != ' '))
                said[n++] = (unsigned char)piece[i] < 32 ? ' ' : piece[i];
    }
    while (n && said[n - 1] == ' ')
        n--;
    said[n] = 0;
    return true;
}

/* Runs argv in dir (NULL: here) with stdout and stderr together in said. */
static int run(char *const *argv, const char *dir, char said[SAID_BYTES], struct err *err)
{
    int ends[2], rc = 0;
    pid_t pid;
    said[0] = 0;
    if (pipe2(ends, O_CLOEXEC))
        return err_set(err, MOE2_EIO, "%s: no pipe: %s", argv[0], strerror(errno));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    if (dir)
        posix_spawn_file_actions_addchdir_np(&actions, dir);
    int failed = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (failed) {
        close(ends[0]);
        return err_set(err, MOE2_EIO, "%s: can't be started: %s", argv[0], strerror(failed));
    }
    bool ended = read_said(ends[0], said);
    close(ends[0]);
    if (!ended)
        kill(pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!ended)
        rc = err_set(err, MOE2_EIO, "%s: did not end within %d s", argv[0], PATIENCE_MS / 1000);
    else if (!WIFEXITED(status) || WEXITSTATUS(status))
        rc = err_set(err, MOE2_EIO, "%s: failed%s%s", argv[0], *said ? ": " : "", said);
    return rc;
}

bool gnuplot_found(const char *gnuplot)
{
    char said[SAID_BYTES];
    char *program = strdup(gnuplot), version[] = "--version";
    bool found = program && run((char *[]){program, version, NULL}, NULL, said, NULL) == 0 &&
                 strncmp(said, "gnuplot", 7) == 0;
    free(program);
    return found;
}

/* dir/name.ext and its temporary neighbour: renamed when keep, removed otherwise. */
static int settle(const char *dir, const char *name, const char *ext, const char *suffix, bool keep,
                  struct err *err)
{
    char *path = NULL, *temp = NULL;
    int rc = 0;
    if (asprintf(&path, "%s/%s.%s", dir, name, ext) < 0)
        path = NULL;
    if (path && asprintf(&temp, "%s%s", path, suffix) < 0)
        temp = NULL;
    if (!temp)
        rc = err_set(err, MOE2_ELIMIT, "%s: no memory for its name", name);
    else if (!keep)
        unlink(temp);
    else if (rename(temp, path))
        rc = err_set(err, MOE2_EIO, "%s: gnuplot made no image", path);
    free(path);
    free(temp);
    return rc;
}

int figure_draw(const struct figure *f, const char *gnuplot, const char *dir, const char *name,
                struct err *err)
{
    struct buf script = {.max_bytes = (size_t)64 << 20};
    char *file = NULL, *path = NULL, *set = NULL, said[SAID_BYTES];
    char suffix[48], *program = strdup(gnuplot), dash_d[] = "-d", dash_e[] = "-e";
    snprintf(suffix, sizeof suffix, ".tmp-%ld", (long)getpid());
    int rc = dir_make(dir, err);
    if (!rc && (!program || asprintf(&set, "suffix='%s'", suffix) < 0 ||
                asprintf(&file, "%s.gp", name) < 0 || !(path = path_join(dir, file))))
        rc = err_set(err, MOE2_ELIMIT, "%s: no memory for its name", name);
    if (!rc)
        rc = figure_script(&script, f, name, err);
    if (!rc)
        rc = file_write(path, script.bytes, script.n, err);
    if (rc)
        goto done;
    rc = run((char *[]){program, dash_d, dash_e, set, file, NULL}, dir, said, err);
    int svg = settle(dir, name, "svg", suffix, rc == 0, err);
    int png = settle(dir, name, "png", suffix, rc == 0 && svg == 0, err);
    rc = rc ? rc : svg ? svg : png;
done:
    buf_release(&script);
    free(program);
    free(file);
    free(path);
    free(set);
    return rc;
}
