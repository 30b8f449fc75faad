/* The step "select" from files to results: reads outcomes, gate scores, fits and lengths, solves, and writes what came out.
 *
 *     struct select_options o;
 *     select_options_init(&o);
 *     o.outcomes = "outcomes.csv"; …
 *     struct select_report r = {0};
 *     select_run(&r, &o, err);
 *     select_write(&r, "results/smo_tables", err);            select.csv, select.json, select.md
 *     select_report_release(&r);
 *
 * docs/selecting.md says what each option means; the defaults here are the command's.
 */
#ifndef MOE2_PIPELINE_SELECT_RUN_H
#define MOE2_PIPELINE_SELECT_RUN_H

#include "base/buf.h"
#include "base/log.h"
#include "io/outcomes.h"
#include "route/select.h"

enum select_missing { MISSING_WRONG, MISSING_AVOID, MISSING_DROP };

/* Paths and texts are borrowed while select_run works; NULL: not given. */
struct select_options {
    const char *outcomes, *gate_scores, *latency, *energy, *predictions, *category_limits;
    const char *prompt_tokens, *output_tokens; /* a number or a file */
    const char *latency_s, *energy_j;          /* lists of limits: "1,2,inf" */
    const char *experts;                       /* "a,b" */
    enum select_cost cost;
    enum select_objective objective;
    enum select_method method;
    enum vote_kind combine;
    enum select_missing missing;
    enum select_stat stat;
    int64_t k, max_experts; /* INT64_MAX: all */
    double aggregation_s, time_limit_s;
    bool by_category, frontier;
    const struct log_sink *sink;
    const volatile int *stop;
};

void select_options_init(struct select_options *o);

/* One solved problem: everything, or a category alone. */
struct select_group {
    int32_t category; /* in outcomes.categories; −1: all prompts */
    int64_t prompts;
    struct select_problem problem; /* its arrays are gone; sizes and options stay */
    struct select_result result;
};

struct select_report {
    struct outcomes outcomes;                   /* names of experts and categories */
    int n_experts;                              /* of the run */
    int expert[OUTCOMES_MAX_EXPERTS];           /* [n_experts] numbers in the file */
    int64_t prompts;                            /* after missing ones were dropped */
    double *latency_limits_s, *energy_limits_j; /* [n_limits] of the grid, INFINITY for none */
    int64_t n_limits;
    struct select_group *groups;
    int n_groups;
    int32_t *categories; /* [n_categories] in order of first appearance: the shares of a result */
    int n_categories;
    enum select_missing missing;
    int64_t k;
    bool by_category, by_answer;
    double load_s, solve_s;
};

/* Reads and solves; r is zeroed before and released by the caller, also after errors. Errors: those of the readers; MOE2_ECONFIG for
 * options that make no sense together, a limit or a length without the file it needs; MOE2_ENUMERIC; MOE2_ELIMIT; MOE2_ESTOP. */
int select_run(struct select_report *r, const struct select_options *o, struct err *err);
void select_report_release(struct select_report *r);

/* The object of docs/selecting.md; a table for a terminal or as Markdown; comma separated values. */
int select_json(struct buf *out, const struct select_report *r, struct err *err);
int select_text(struct buf *out, const struct select_report *r, bool markdown, struct err *err);
int select_csv(struct buf *out, const struct select_report *r, struct err *err);

/* select.json, select.csv and select.md in dir, each replaced as a whole. */
int select_write(const struct select_report *r, const char *dir, struct err *err);

/* A limit's list, "1,2.5,inf": *values is the caller's; flag stands in messages. */
int select_limits_parse(double **values, int64_t *n, const char *text, const char *flag,
                        struct err *err);

/* seconds or joules in whole millionths: ⌊10⁶·x⌋, plus 1 from half on. */
int64_t select_micro(double x);

#endif
