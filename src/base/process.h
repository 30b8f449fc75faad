/* Running another program and reading what it says: apt-get, dpkg-deb, xz.
 *
 *     const char *argv[] = {"xz", "-9", "--stdout", NULL};
 *     struct process p = {.argv = argv, .stdin_path = "test.txt"};
 *     struct process_result r;
 *     process_run(&r, NULL, &p, err);                      r.n_out_bytes: how much it wrote
 *
 * No shell stands between: words are passed as they are.
 */
#ifndef MOE2_BASE_PROCESS_H
#define MOE2_BASE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct process {
    const char *const *argv;  /* NULL-ended; argv[0] is looked for in PATH */
    const char *dir;          /* to run in; NULL: here */
    const char *stdin_path;   /* NULL: /dev/null */
    bool with_stderr;         /* its stderr goes where its stdout goes; otherwise nowhere */
    const volatile int *stop; /* set from outside: the program is ended, MOE2_ESTOP; or NULL */
};

struct process_result {
    int status; /* exit status; 128 + signal when one ended it */
    int64_t n_out_bytes;
};

/* Runs to the end. What it writes is appended to out (or counted only, when out is NULL); what goes
 * beyond out's limit is counted and left out. A program that ran and failed is no error here. Errors:
 * MOE2_EIO when it can't be started (there is none of that name), MOE2_ESTOP. */
int process_run(struct process_result *result, struct buf *out, const struct process *p,
                struct err *err);

/* The exit status of a program of ours that was told to stop, and has saved: what a shell says of SIGINT. */
enum { PROCESS_STOPPED = 130 };

/* Whether a program ended because it was told to: with that exit status, or by a SIGINT that it did not catch yet. status as waitpid has
 * it. */
bool process_was_stopped(int status);

/* How a program ended that failed: "ended by signal 9", or the last line of its log that says something. */
void process_ending(char out[256], int status, const char *log);

/* The cores that this process may use; at least 1. */
int process_cores(void);

/* The threads of each of so many jobs, 1 or more, side by side that share `threads` (0: process_cores()); at least 1. */
int process_share(int64_t threads, int64_t jobs);

/* Starts a program in a process group of its own, so that Ctrl-C reaches it through us alone; what it says goes to the file `log`.
 * *pid is for waitpid. MOE2_EIO. */
int process_start(int64_t *pid, const char *const *argv, const char *log, struct err *err);

/* The same with a descriptor to write to, the caller's to close; what it says on stderr goes there too, or where ours goes. No signal is
 * blocked in it. */
int process_start_to(int64_t *pid, const char *const *argv, int fd, bool with_stderr,
                     struct err *err);

/* Takes a folder for this process: writes its number into DIR/name and holds a lock on that file in *fd, which started processes inherit. So the
 * folder is taken as long as one of them lives; close(*fd) lets go. MOE2_ECONFIG names the process that has it; MOE2_EIO. */
int process_lock(int *fd, const char *dir, const char *name, struct err *err);

/* The process that has DIR/name, 0 when there is none. */
long process_at_work(const char *dir, const char *name);

/* Where a server is: what stands behind " listens on " in a line that it printed, up to the line's end; NULL in other lines. */
const char *process_address(const char *line);

#endif
