/* moe2: finds the command and runs it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/words.h"
#include "cli/cli.h"

#define COMMAND(name) extern const struct command cmd_##name;
#include "cli/commands.h"
#undef COMMAND

static const struct command *const commands[] = {
#define COMMAND(name) &cmd_##name,
#include "cli/commands.h"
#undef COMMAND
};

static void print_help(FILE *f)
{
    fputs("moe2: mixture of experts, squared. A router inside a model, a router across models, in "
          "C.\n\n"
          "usage: moe2 COMMAND [options]        moe2 COMMAND --help        moe2 --version\n\n",
          f);
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        fprintf(f, "  %-18s %s\n", commands[i]->name, commands[i]->summary);
}

static void print_subjects(FILE *f)
{
    fputs("\nsubjects (moe2 help SUBJECT; the same pages as docs/):\n ", f);
    for (const struct doc_page *p = doc_pages; p->subject; p++)
        fprintf(f, " %s", p->subject);
    fputc('\n', f);
}

static const char *subject_text(const char *word)
{
    for (const struct doc_page *p = doc_pages; p->subject; p++)
        if (strcmp(p->subject, word) == 0)
            return p->text;
    return NULL;
}

/* How many of the words at argv make up the command's name; 0 if they don't. */
static int words_matched(const struct command *c, int argc, char **argv)
{
    const char *rest = c->name;
    for (int n = 0; n < argc;) {
        size_t len = strlen(argv[n]);
        if (strncmp(rest, argv[n], len) != 0 || (rest[len] && rest[len] != ' '))
            return 0;
        n++;
        if (!rest[len])
            return n;
        rest += len + 1;
    }
    return 0;
}

/* "data" is the first word of several commands: says which. */
static bool say_group(const char *word)
{
    size_t n = strlen(word), n_said = 0;
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strncmp(commands[i]->name, word, n) != 0 || commands[i]->name[n] != ' ')
            continue;
        if (n_said++ == 0)
            fprintf(stderr, "moe2: \"%s\" wants another word: ", word);
        fprintf(stderr, "%s%s", n_said > 1 ? ", " : "", commands[i]->name);
    }
    if (n_said)
        fputc('\n', stderr);
    return n_said > 0;
}

static int unknown(const char *word)
{
    if (say_group(word))
        return 2;
    const char *names[COUNT_OF(commands)];
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        names[i] = commands[i]->name;
    const char *nearest = words_nearest(word, names, COUNT_OF(commands));
    fprintf(stderr, "moe2: \"%s\" is no command%s%s%s\n", word,
            nearest ? ", did you mean \"" : " (see moe2 --help)", nearest ? nearest : "",
            nearest ? "\"?" : "");
    return 2;
}

/* Threads that wait for each other should not burn a core that somebody else needs: with the default of GNU OpenMP, one busy neighbour on
 * two cores makes a run many times slower. The library reads its setting before main, so the program starts itself anew with one. */
static void wait_politely(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY"))
        return;
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0 || setenv("GOMP_SPINCOUNT", "20000", 1))
        return;
    path[n] = 0;
    execv(path, argv); /* where that fails, the run is only less polite */
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("moe2 " MOE2_VERSION);
        return 0;
    }
    bool help = strcmp(argv[1], "help") == 0;
    if (help && argc == 2) {
        print_help(stdout);
        print_subjects(stdout);
        return 0;
    }
    if (help && argc == 3 && subject_text(argv[2])) {
        fputs(subject_text(argv[2]), stdout);
        return 0;
    }
    int first = help ? 2 : 1, n = 0;
    const struct command *found = NULL;
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        int m = words_matched(commands[i], argc - first, argv + first);
        if (m > n) {
            n = m;
            found = commands[i];
        }
    }
    if (!found)
        return unknown(argv[first]);
    for (int i = first + n; i < argc && !help && strcmp(argv[i], "--") != 0; i++)
        help = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    if (help) {
        fputs(found->help, stdout);
        return 0;
    }
    return found->run(argc - first - n, argv + first + n);
}

int main(int argc, char **argv)
{
    wait_politely(argv);
    signal(SIGXFSZ, SIG_IGN); /* a file beyond the size limit is an error to report, not a death */
    int status = dispatch(argc, argv);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "moe2%s%s: standard output can't be written: %s\n", argc > 1 ? " " : "",
                argc > 1 ? argv[1] : "", strerror(errno));
        status = status ? status : 1;
    }
    return status;
}
