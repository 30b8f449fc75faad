/* The figures of runs: the same code for one run and for a comparison, which is a list of groups of runs. A group is one router, its
 * runs are its seeds; lines are means over the seeds, bands their 95 % intervals.
 *
 *     struct figure_set s;
 *     figure_set_open(&s, "gnuplot", "results/a/figures", sink);
 *     if (figure_loss(&s, groups, n))
 *         html_figure(h, …);
 *     figure_set_close(&s);
 *
 * Each function returns whether it drew its figure: not when there is no data for it, and not without gnuplot, which is said to the
 * sink once. A figure that can't be drawn is a warning, never the end of a report.
 */
#ifndef MOE2_REPORT_FIGURES_H
#define MOE2_REPORT_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/log.h"
#include "report/chart.h"
#include "report/run_metrics.h"

enum { FIGURES_MAX_GROUPS = 40, FIGURES_MAX_RUNS = 64 };

struct run_group {
    const char *label;
    enum chart_color color;
    bool dashed;
    const struct run_metrics *const *runs; /* [n_runs]; NULL for a run that is missing */
    int n_runs;
};

struct figure_set {
    const char *gnuplot, *dir;
    const struct log_sink *sink;
    struct arena arena;
    bool able; /* gnuplot was found and has not failed to start */
};

void figure_set_open(struct figure_set *s, const char *gnuplot, const char *dir,
                     const struct log_sink *sink);
void figure_set_close(struct figure_set *s);

/* Draws any figure of the set: name.svg, name.png. */
bool figure_set_draw(struct figure_set *s, const struct figure *f, const char *name);

/* The colour and dash that a router's label has in every figure; i is its place, for labels that aren't known. */
enum chart_color router_color(const char *label, int i);
bool router_dashed(const char *label);

/* loss.svg: validation loss over training tokens, for a single run with its training loss behind it. */
bool figure_loss(struct figure_set *s, const struct run_group *groups, int n);

/* bits_per_byte.svg: the same in bits a byte, with the references as dashed lines. */
bool figure_bits(struct figure_set *s, const struct run_group *groups, int n,
                 const struct chart_mark *references, int n_references);

/* loss_difference.svg: validation loss minus that of groups[baseline], paired by seed, over training tokens. */
bool figure_loss_difference(struct figure_set *s, const struct run_group *groups, int n,
                            int baseline);

/* max_vio.svg: MaxVio of the batches over training tokens, logarithmic. */
bool figure_max_vio(struct figure_set *s, const struct run_group *groups, int n);

/* load_by_rank.svg: load on the evaluated text by the expert's rank, mean over layers and seeds. */
bool figure_load_by_rank(struct figure_set *s, const struct run_group *groups, int n);

/* loads.svg: load of every expert of every layer, a panel a group (its first run). */
bool figure_loads(struct figure_set *s, const struct run_group *groups, int n);

/* token_types.svg: which experts work on which kinds of tokens; one group: by layer; several: the middle layer of each. */
bool figure_token_types(struct figure_set *s, const struct run_group *groups, int n);

/* NAME.svg: every expert's reputation over training tokens in up to six layers of one run. */
bool figure_reputation(struct figure_set *s, const struct run_metrics *m, const char *name);

#endif
