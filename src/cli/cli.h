/* The program: one file a command, and what they share.
 *
 * A command is a row of the table in main.c: a name, a group, one line of help, the full text, and a function that gets the words behind
 * its name. Only this room reads argv and the environment, prints and exits. A command returns the exit status: 0 done, 1 the
 * world failed (cli_fail printed why), 2 the words were off (cli_usage), 130 stopped by the user with everything saved.
 */
#ifndef MOE2_CLI_CLI_H
#define MOE2_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

struct command {
    const char *name;                  /* "tokenizer train" may be two words */
    const char *summary;               /* one line */
    const char *help;                  /* usage, options, at least one example */
    int (*run)(int argc, char **argv); /* argv[0] is the first word behind the name */
};

/* The pages of docs/, built into the program; the last has no name. */
struct doc_page {
    const char *subject; /* "routing" for docs/routing.md */
    const char *text;
};
extern const struct doc_page doc_pages[];

/* A flag: "--seed N", "--json". kind says what value points to. */
struct cli_flag {
    const char *name; /* with its dashes */
    enum { FLAG_BOOL, FLAG_INT, FLAG_REAL, FLAG_TEXT } kind;
    void *value; /* bool, int64_t, double, const char * (borrowed from argv) */
    bool required;
};

/* Parses flags ("--x v" and "--x=v"); what is left is moved to the front of argv and counted in *n_rest (a NULL n_rest allows none).
 * An unknown flag, a missing value or a number out of form is MOE2_ECONFIG, with the nearest known flag named. */
int cli_parse(int argc, char **argv, const struct cli_flag *flags, int n_flags, int *n_rest,
              struct err *err);

/* Prints "moe2 NAME: message" to stderr; returns 1, or 2 for MOE2_ECONFIG, 130 for MOE2_ESTOP. */
int cli_fail(const char *command, const struct err *err);

/* "--set a=b" and "--set=a=b" leave a=b as a plain word. Returns the new argc. */
int cli_drop_set(int argc, char **argv);

/* The sink to pass to libraries: lines and a progress bar on stderr (plain lines when it is no terminal). */
const struct log_sink *cli_sink(void);

/* Installs a handler for SIGINT and SIGTERM; the flag it sets turns 1 (a second SIGINT kills). */
const volatile int *cli_stop_flag(void);

/* Ends this process (SIGTERM) when its parent, which is said to be that process, does. MOE2_ESTOP when that has ended already: there is
 * nobody to work for. */
int cli_tie_to_parent(int64_t parent, struct err *err);

/* Parses "1,2,3" into a new array of the caller's. */
int cli_ids(int32_t **ids, int64_t *n, const char *text, struct err *err);

#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

#endif
