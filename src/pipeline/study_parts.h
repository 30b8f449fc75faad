/* Inside the study: the results of each fleet, and who writes what of them. */
#ifndef MOE2_PIPELINE_STUDY_PARTS_H
#define MOE2_PIPELINE_STUDY_PARTS_H

#include "base/table.h"
#include "pipeline/study.h"
#include "pipeline/study_plan.h"
#include "report/page_fleet.h"

enum { STUDY_MAX_FLEETS = 4, STUDY_MAX_ROWS = 24, STUDY_MAX_CELLS = 64 };

/* An accuracy without budgets. */
struct study_row {
    char label[64], how[160];
    struct study_worth worth;
    struct stats_interval gain; /* paired over the best single on test */
    bool is_single, is_chosen;
};

struct study_result {
    struct study_fleet fleet;
    struct study_fitted fitted;
    struct study_row rows[STUDY_MAX_ROWS];
    int n_rows;
    double single, oracle; /* on test */
    struct study_cell cells[STUDY_MAX_CELLS];
    int n_cells;
};

/* Fits the fleet, fills its rows and, where it has costs, its cells. */
int study_fleet_run(struct study_result *r, struct study_data *d, const struct study_gates *gates,
                    const struct study_options *o, struct err *err);

/* Tables of a fleet's rows and cells. The caller's. */
int study_rows_table(struct table **out, const struct study_result *r, struct err *err);
int study_cells_table(struct table **out, const struct study_cell *cells, int n,
                      const struct study_fitted *w, struct err *err);

/* dir/NAME.md, .csv, .json of cells, with a head of text. */
int study_cells_write(const struct study_cell *cells, int n, const struct study_fitted *w,
                      enum select_cost cost, const char *dir, const char *name, const char *head,
                      struct err *err);

/* How many different subsets the feasible cells chose. */
int study_n_subsets(const struct study_cell *cells, int n);

/* "a, b" of a plan's members. */
int study_members(struct buf *out, const struct study_fitted *w, uint64_t members, struct err *err);

/* Share of the gap between the best single one and the oracle that an accuracy closes. */
double study_gap(const struct study_result *r, double accuracy);

#endif
