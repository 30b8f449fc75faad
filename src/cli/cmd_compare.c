/* moe2 compare: does this router help? */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/device_flags.h"
#include "pipeline/compare.h"

static const char HELP[] =
    "usage: moe2 compare [--configs FILE|DIR …] [--seeds N] --out DIR [options]\n"
    "       moe2 compare --status DIR\n\n"
    "Trains the same model under each router, on the same data in the same order and from the same "
    "weights per\n"
    "seed, and says what came out: a table with 95 % intervals paired by seed, figures, and "
    "DIR/report.html. What is\n"
    "finished is not repeated, what was stopped or killed goes on when the same command is given "
    "again.\n\n"
    "options:\n"
    "  --configs F …      configurations, or folders of them, that differ in router keys alone; "
    "without it all of\n"
    "                     configs/ that agree with configs/rd_esi_config.yaml\n"
    "  --seeds N          seeds of every router, from the configuration's seed on (5)\n"
    "  --out DIR          where everything goes (results/comparison)\n"
    "  --tokens N         train each run on N tokens instead of what the configurations say\n"
    "  --tune RUNS        first tune each router's coefficients with RUNS runs on the validation "
    "text\n"
    "  --ablate           RD-ESI without each of its terms, and with the other performances, under "
    "every seed\n"
    "  --sweep            each of RD-ESI's six parameters at five values or more, one seed\n"
    "  --jobs N           runs at once, each with its share of the cores (1)\n"
    "  --set KEY=VALUE …  change keys of every configuration\n" DEVICE_FLAGS_HELP
    "                     (train.device, train.memory_gb of every run; --jobs share the limit)\n"
    "  --background       go on without the terminal: DIR/compare.log, and kill stops it with all "
    "saved\n"
    "  --status DIR       how far a comparison is\n"
    "  --json             print comparison.json instead of the table\n\n"
    "examples:\n"
    "  moe2 compare --seeds 5 --out results/cmp --tokens 300000 --ablate --background\n"
    "  moe2 compare --configs configs/none_config.yaml configs/rd_esi_config.yaml --seeds 3 --out "
    "results/two\n"
    "  moe2 compare --status results/cmp\n";

enum { N_MADE = 2 };

/* The words of one option that takes several, collected from argv. */
struct words {
    const char **list;
    int n;
};

static void add_word(struct words *w, const char *word)
{
    w->list[w->n++] = word;
}

/* Moves the words behind --configs and --set (up to the next option) out of argv; returns how many are left. */
static int take_lists(int argc, char **argv, struct words *configs, struct words *sets)
{
    struct words *into = NULL;
    int n = 0;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        if (strncmp(word, "--configs", 9) == 0 && (word[9] == 0 || word[9] == '=')) {
            into = configs;
            if (word[9])
                add_word(into, word + 10);
        } else if (strncmp(word, "--set", 5) == 0 && (word[5] == 0 || word[5] == '=')) {
            into = sets;
            if (word[5])
                add_word(into, word + 6);
        } else if (strncmp(word, "--", 2) == 0 || !into) {
            into = NULL; /* another option, or its value */
            argv[n++] = argv[i];
        } else {
            add_word(into, word);
        }
    }
    return n;
}

static char *join(int argc, char **argv)
{
    struct buf text = {0};
    int rc = buf_puts(&text, "moe2 compare", NULL);
    for (int i = 0; i < argc && !rc; i++)
        rc = buf_printf(&text, NULL, strpbrk(argv[i], " '\"\\$*[") ? " '%s'" : " %s", argv[i]);
    if (rc)
        buf_release(&text);
    return text.bytes;
}

static int print_status(const char *dir)
{
    struct buf text = {0};
    struct err err = {0};
    int rc = compare_status(&text, dir, &err);
    if (!rc)
        fwrite(text.bytes, 1, text.n, stdout);
    buf_release(&text);
    return rc ? cli_fail("compare", &err) : 0;
}

static int print_json(const char *dir, struct err *err)
{
    struct buf text = {0};
    char *path = path_join(dir, "comparison.json");
    int rc = path ? file_read(&text, path, err) : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        fwrite(text.bytes, 1, text.n, stdout);
    buf_release(&text);
    free(path);
    return rc;
}

static int compare(const struct compare_options *o, bool json)
{
    struct buf table = {0};
    struct err err = {0};
    int rc = compare_run(&table, o, &err);
    if (table.n && !json) {
        fwrite(table.bytes, 1, table.n, stdout);
        printf("\nreport: %s/report.html\n", o->dir);
    }
    if (table.n && json) {
        struct err why = {0};
        if (print_json(o->dir, &why) && !rc)
            rc = err_set(&err, why.code, "%s", why.msg);
    }
    buf_release(&table);
    return rc ? cli_fail("compare", &err) : 0;
}

/* ---- in the background ---- */

/* Leaves the terminal: a grandchild of a dead child has no way back to it. Returns 0 in the grandchild; its number in the caller, −1 when there
 * is none. */
static long leave(const char *log)
{
    int ends[2];
    long pid = -1;
    if (pipe(ends))
        return -1;
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        return -1;
    if (child == 0) {
        setsid();
        pid_t grandchild = fork();
        if (grandchild != 0) {
            pid = grandchild;
            ssize_t n = write(ends[1], &pid, sizeof pid);
            _exit(n != sizeof pid);
        }
        close(ends[0]);
        close(ends[1]);
        int in = open("/dev/null", O_RDONLY), out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
        if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
            _exit(1);
        return 0;
    }
    close(ends[1]);
    if (read(ends[0], &pid, sizeof pid) != sizeof pid)
        pid = -1;
    close(ends[0]);
    waitpid(child, NULL, 0);
    return pid;
}

static int run_behind(const struct compare_options *o, bool json)
{
    struct err err = {0};
    char *log = path_join(o->dir, "compare.log");
    int rc = log ? compare_check(o, &err) : err_set(&err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = dir_make(o->dir, &err);
    if (rc) {
        free(log);
        return cli_fail("compare", &err);
    }
    long pid = leave(log);
    if (pid == 0) {
        free(log);
        exit(compare(o, json));
    }
    if (pid < 0) {
        err_set(&err, MOE2_EIO, "no second process can be started");
        free(log);
        return cli_fail("compare", &err);
    }
    printf("at work as process %ld; log: %s\nhow far: moe2 compare --status %s\nto stop, with all "
           "saved: kill %ld\n",
           pid, log, o->dir, pid);
    free(log);
    return 0;
}

/* The device as two more words of --set, whose texts are made's. */
static int add_device(struct words *sets, struct buf made[N_MADE], const struct device_flags *f,
                      int64_t jobs, struct err *err)
{
    struct device_choice choice;
    int rc = device_flags_read(&choice, f, err);
    if (!rc && choice.name)
        rc = buf_printf(&made[0], err, "train.device=%s", choice.name);
    if (!rc && choice.limit_bytes)
        rc = buf_printf(&made[1], err, "train.memory_gb=%.12g",
                        (double)choice.limit_bytes * 1e-9 / (double)(jobs > 1 ? jobs : 1));
    for (int i = 0; i < N_MADE && !rc; i++)
        if (made[i].n)
            add_word(sets, made[i].bytes);
    return rc;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    const char *status = NULL;
    int64_t jobs = 1;
    bool background = false, json = false;
    char program[4096], *typed = join(argc, argv);
    struct words configs = {calloc((size_t)argc + 1, sizeof(char *)), 0};
    struct words sets = {calloc((size_t)argc + N_MADE + 1, sizeof(char *)), 0};
    struct device_flags device = {0};
    struct buf made[N_MADE] = {{0}};
    struct compare_options o = {
        .dir = "results/comparison", .n_seeds = 5, .command = typed, .log = cli_sink()};
    const struct cli_flag flags[] = {
        {"--seeds", FLAG_INT, &o.n_seeds, false},
        {"--out", FLAG_TEXT, &o.dir, false},
        {"--tokens", FLAG_INT, &o.tokens, false},
        {"--tune", FLAG_INT, &o.tune_runs, false},
        {"--ablate", FLAG_BOOL, &o.ablate, false},
        {"--sweep", FLAG_BOOL, &o.sweep, false},
        {"--jobs", FLAG_INT, &jobs, false},
        {"--background", FLAG_BOOL, &background, false},
        {"--status", FLAG_TEXT, &status, false},
        {"--json", FLAG_BOOL, &json, false},
        DEVICE_FLAGS(&device),
        {"--gnuplot", FLAG_TEXT, &o.gnuplot, false},
        /* taken out before; here for the nearest of a mistyped one */
        {"--configs", FLAG_TEXT, &status, false},
        {"--set", FLAG_TEXT, &status, false},
    };
    int code = 0, n_left = 0;
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (!typed || !configs.list || !sets.list)
        code = err_set(&err, MOE2_ELIMIT, "no memory for the words");
    if (!code)
        n_left = take_lists(argc, argv, &configs, &sets);
    if (!code)
        code = cli_parse(n_left, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!code && n <= 0)
        code = err_set(&err, MOE2_EIO, "/proc/self/exe: can't be read");
    if (!code)
        code = add_device(&sets, made, &device, jobs, &err);
    program[n > 0 ? n : 0] = 0;
    int result = 0;
    if (code) {
        result = cli_fail("compare", &err);
    } else if (status) {
        result = print_status(status);
    } else {
        o.configs = configs.list;
        o.n_configs = configs.n;
        o.overrides = sets.list;
        o.n_overrides = sets.n;
        o.jobs = jobs > 0 && jobs < 1000 ? (int)jobs : 0;
        o.program = program;
        o.stop = cli_stop_flag();
        result = background ? run_behind(&o, json) : compare(&o, json);
    }
    for (int i = 0; i < N_MADE; i++)
        buf_release(&made[i]);
    free(configs.list);
    free(sets.list);
    free(typed);
    return result;
}

const struct command cmd_compare = {
    "compare",
    "train routers side by side: table, intervals, report",
    HELP,
    run,
};
