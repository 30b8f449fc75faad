/* moe2 report: figures and one HTML page from what runs have written. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "report/report.h"

static const char HELP[] =
    "usage: moe2 report DIR … [--gnuplot PROGRAM]\n\n"
    "Makes DIR/figures/*.svg and *.png and DIR/report.html (one file, no network) of a results "
    "folder, or of a\n"
    "folder of moe2 compare, whose table is printed too. It can be called while runs go on: the "
    "report shows what is\n"
    "there. Without gnuplot it has no figures.\n\n"
    "examples:\n"
    "  moe2 report results/rd_esi_experiment_1\n"
    "  moe2 report results/cmp\n";

static int report(const char *dir, const struct report_options *options, struct err *err)
{
    struct buf table = {0};
    int rc = report_is_comparison(dir) ? report_compare(&table, dir, options, err)
                                       : report_run(dir, options, err);
    if (table.n)
        fwrite(table.bytes, 1, table.n, stdout);
    if (!rc)
        printf("%s/report.html\n", dir);
    buf_release(&table);
    return rc;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct report_options options = {.sink = cli_sink()};
    const struct cli_flag flags[] = {{"--gnuplot", FLAG_TEXT, &options.gnuplot, false}};
    int n_dirs = 0;
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), &n_dirs, &err);
    if (!rc && n_dirs == 0)
        rc = err_set(&err, MOE2_ECONFIG, "which results folder? (see --help)");
    for (int i = 0; i < n_dirs && !rc; i++)
        rc = report(argv[i], &options, &err);
    return rc ? cli_fail("report", &err) : 0;
}

const struct command cmd_report = {
    "report",
    "figures and one HTML page of a run or a comparison",
    HELP,
    run,
};
