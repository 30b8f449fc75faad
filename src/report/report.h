/* Reports: from the JSON files of a run or a comparison to figures, tables and one HTML page.
 *
 *     report_run("results/a", &options, err);          results/a/figures/, results/a/report.html
 *     report_compare("results/cmp", &options, err);    the same there, with comparison.json, comparison.md and table.txt
 *
 * A report can be made again at any time, while runs are still going on too: it shows what is there. Without gnuplot it has no figures
 * and says so.
 */
#ifndef MOE2_REPORT_REPORT_H
#define MOE2_REPORT_REPORT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"

struct report_options {
    const char *gnuplot; /* NULL: "gnuplot" */
    const struct log_sink *sink;
};

/* The report of a results folder. Errors: as run_metrics_read; MOE2_EIO when something can't be written. */
int report_run(const char *dir, const struct report_options *options, struct err *err);

/* The report of a folder with a compare.json (report/comparison.h). Appends the table as text to table_text unless that is NULL, and behind
 * it the finding in one sentence. */
int report_compare(struct buf *table_text, const char *dir, const struct report_options *options,
                   struct err *err);

/* Whether dir is a comparison's folder. */
bool report_is_comparison(const char *dir);

#endif
