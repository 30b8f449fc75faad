/* What the commands share: see cli.h. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/process.h"
#include "base/words.h"

static const struct cli_flag *flag_find(const struct cli_flag *flags, int n_flags, const char *word,
                                        size_t n)
{
    for (int i = 0; i < n_flags; i++)
        if (strlen(flags[i].name) == n && strncmp(flags[i].name, word, n) == 0)
            return &flags[i];
    return NULL;
}

/* word is what was typed, its first n bytes the name. */
static int flag_unknown(const struct cli_flag *flags, int n_flags, const char *word, size_t n_name,
                        struct err *err)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(n_name < sizeof name ? n_name : sizeof name), word);
    const char *names[64];
    int n = 0;
    for (; n < n_flags && n < 64; n++)
        names[n] = flags[n].name;
    const char *nearest = words_nearest(name, names, (size_t)n);
    if (nearest)
        return err_set(err, MOE2_ECONFIG, "unknown option %s, did you mean %s?", name, nearest);
    return err_set(err, MOE2_ECONFIG, "unknown option %s (see --help)", name);
}

static int flag_store(const struct cli_flag *f, const char *value, struct err *err)
{
    char *end = NULL;
    errno = 0;
    if (f->kind == FLAG_TEXT) {
        *(const char **)f->value = value;
        return 0;
    }
    if (f->kind == FLAG_INT) {
        long long v = strtoll(value, &end, 10);
        if (errno || end == value || *end)
            return err_set(err, MOE2_ECONFIG, "%s is \"%s\", wanted a whole number", f->name,
                           value);
        *(int64_t *)f->value = v;
        return 0;
    }
    double v = strtod(value, &end);
    if (errno || end == value || *end || v != v)
        return err_set(err, MOE2_ECONFIG, "%s is \"%s\", wanted a number", f->name, value);
    *(double *)f->value = v;
    return 0;
}

int cli_parse(int argc, char **argv, const struct cli_flag *flags, int n_flags, int *n_rest,
              struct err *err)
{
    int n_left = 0;
    bool seen[64] = {false};
    for (int i = 0; i < argc; i++) {
        char *word = argv[i];
        if (strcmp(word, "--") == 0) {
            while (++i < argc)
                argv[n_left++] = argv[i];
            break;
        }
        if (strncmp(word, "--", 2) != 0) {
            argv[n_left++] = word;
            continue;
        }
        size_t n = strcspn(word, "=");
        const struct cli_flag *f = flag_find(flags, n_flags, word, n);
        if (!f)
            return flag_unknown(flags, n_flags, word, n, err);
        if (f - flags < 64)
            seen[f - flags] = true;
        if (f->kind == FLAG_BOOL) {
            if (word[n])
                return err_set(err, MOE2_ECONFIG, "%s takes no value", f->name);
            *(bool *)f->value = true;
            continue;
        }
        const char *value = word[n] ? word + n + 1 : ++i < argc ? argv[i] : NULL;
        if (!value)
            return err_set(err, MOE2_ECONFIG, "%s wants a value", f->name);
        int rc = flag_store(f, value, err);
        if (rc)
            return rc;
    }
    for (int i = 0; i < n_flags && i < 64; i++)
        if (flags[i].required && !seen[i])
            return err_set(err, MOE2_ECONFIG, "%s is missing (see --help)", flags[i].name);
    if (n_rest)
        *n_rest = n_left;
    else if (n_left)
        return err_set(err, MOE2_ECONFIG, "\"%s\" is one word too many (see --help)", argv[0]);
    return 0;
}

int cli_fail(const char *command, const struct err *err)
{
    fflush(stdout);
    fprintf(stderr, "moe2 %s: %s\n", command, err->msg);
    return err->code == MOE2_ECONFIG ? 2 : err->code == MOE2_ESTOP ? PROCESS_STOPPED : 1;
}

int cli_ids(int32_t **ids, int64_t *n, const char *text, struct err *err)
{
    int64_t count = 1;
    for (const char *s = text; *s; s++)
        count += *s == ',';
    int32_t *list = malloc((size_t)count * sizeof *list);
    if (!list)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld ids", (long long)count);
    const char *s = text;
    for (int64_t i = 0; i < count; i++) {
        char *end = NULL;
        long long v = strtoll(s, &end, 10);
        if (end == s || (*end && *end != ',') || v < 0 || v > INT32_MAX) {
            free(list);
            return err_set(err, MOE2_ECONFIG,
                           "--ids has \"%.20s\", wanted whole numbers from 0 separated by commas",
                           s);
        }
        list[i] = (int32_t)v;
        s = end + 1;
    }
    *ids = list;
    *n = count;
    return 0;
}

/* ---- the sink ---- */

static void print_duration(char *out, size_t n, double s)
{
    if (s >= 3600)
        snprintf(out, n, "%dh%02dm", (int)(s / 3600), (int)(s / 60) % 60);
    else
        snprintf(out, n, "%d:%02d", (int)(s / 60), (int)s % 60);
}

static void print_amount(char *out, size_t n, double v)
{
    static const char *const steps[] = {"", "k", "M", "G", "T"};
    int i = 0;
    for (; v >= 10000 && i < 4; i++)
        v /= 1000;
    snprintf(out, n, v >= 100 || v == (double)(long)v ? "%.0f%s" : "%.1f%s", v, steps[i]);
}

static void sink_line(void *ctx, enum log_level level, const char *text)
{
    (void)ctx;
    if (isatty(2))
        fputs("\r\033[K", stderr);
    fprintf(stderr, "%s%s\n",
            level == LOG_ERROR  ? "error: "
            : level == LOG_WARN ? "warning: "
                                : "",
            text);
}

static void sink_progress(void *ctx, const char *what, double done, double total, const char *unit,
                          double seconds, int last)
{
    double *next_plain_s = ctx;
    bool tty = isatty(2);
    if (seconds < 2 && !(tty && !last))
        return;
    if (!tty && !last && seconds < *next_plain_s)
        return;
    *next_plain_s = last ? 2 : seconds + 10;
    char a[32], b[32], r[32], left[32] = "?", spent[32];
    double rate = seconds > 0 ? done / seconds : 0;
    print_amount(a, sizeof a, done);
    print_amount(b, sizeof b, total);
    print_amount(r, sizeof r, rate);
    print_duration(spent, sizeof spent, seconds);
    if (rate > 0 && total > 0)
        print_duration(left, sizeof left, (total - done) / rate);
    if (tty)
        fputs("\r\033[K", stderr);
    if (last)
        fprintf(stderr, "%-12s %s %s in %s, %s %s/s\n", what, a, unit, spent, r, unit);
    else if (total > 0)
        fprintf(stderr, "%-12s %3.0f %%  %s of %s %s, %s %s/s, %s left%s", what, 100 * done / total,
                a, b, unit, r, unit, left, tty ? "" : "\n");
    else
        fprintf(stderr, "%-12s %s %s, %s %s/s%s", what, a, unit, r, unit, tty ? "" : "\n");
    fflush(stderr);
}

int cli_drop_set(int argc, char **argv)
{
    int n = 0;
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "--set") != 0)
            argv[n++] = strncmp(argv[i], "--set=", 6) == 0 ? argv[i] + 6 : argv[i];
    return n;
}

const struct log_sink *cli_sink(void)
{
    static double next_plain_s = 2;
    static const struct log_sink sink = {sink_line, sink_progress, &next_plain_s};
    return &sink;
}

/* ---- stopping ---- */

static volatile int stop;

static void on_signal(int sig)
{
    if (stop)
        _exit(128 + sig);
    stop = 1;
}

const volatile int *cli_stop_flag(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    return &stop;
}

int cli_tie_to_parent(int64_t parent, struct err *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent)
        return 0;
    return err_set(err, MOE2_ESTOP, "process %lld, which should have started it, is not there",
                   (long long)parent);
}
