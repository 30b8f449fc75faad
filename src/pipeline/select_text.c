/* The result of a selection as tables: for a terminal, as Markdown, as comma separated values. */
#include <math.h>
#include <string.h>

#include "base/table.h"
#include "io/json_util.h"
#include "pipeline/select_run.h"

static const char *name_of(const struct select_report *r, int i)
{
    return name_table_text(&r->outcomes.experts, r->expert[i]);
}

static int join_members(struct buf *out, const struct select_report *r, uint64_t members,
                        const char *between, struct err *err)
{
    int rc = 0, n = 0;
    buf_clear(out);
    for (int i = 0; i < r->n_experts && !rc; i++)
        if (members >> i & 1)
            rc = buf_printf(out, err, "%s%s", n++ ? between : "", name_of(r, i));
    return rc;
}

static void limit_cell(struct table *t, double v)
{
    if (isinf(v))
        table_cell(t, "none");
    else
        table_cell(t, "%g", v);
}

static void percent(struct table *t, bool there, double share)
{
    if (there)
        table_cell(t, "%.2f", 100 * share);
    else
        table_cell(t, "-");
}

static int answer_row(struct table *t, const struct select_report *r, const struct select_group *g,
                      int64_t i, struct err *err)
{
    const struct select_answer *a = &g->result.answers[i];
    double n = (double)g->prompts;
    struct buf members = {0};
    int rc = join_members(&members, r, a->feasible ? a->best.members : 0, ", ", err);
    if (r->by_category)
        table_cell(t, "%s", name_table_text(&r->outcomes.categories, g->category));
    limit_cell(t, r->latency_limits_s[i]);
    limit_cell(t, r->energy_limits_j[i]);
    if (a->n_feasible < 0)
        table_cell(t, "not counted");
    else
        table_cell(t, "%lld", (long long)a->n_feasible);
    percent(t, a->feasible, (double)a->best.correct / n);
    if (a->feasible) {
        table_cell(t, "%.4g", select_latency_s(&g->problem, a->best.latency, g->prompts));
        table_cell(t, "%.4g", select_energy_j(a->best.energy, g->prompts));
    } else {
        table_cell(t, "-");
        table_cell(t, "-");
    }
    percent(t, a->has_single, (double)a->single.correct / n);
    percent(t, a->has_single, (double)a->greedy.correct / n);
    percent(t, a->has_single, a->random);
    table_cell(t, "%.2f%s", 100 * (double)a->all.correct / n, a->all_feasible ? "" : " (over)");
    percent(t, a->feasible, (double)a->oracle_subset / n);
    if (a->optimal)
        table_cell(t, "yes");
    else
        table_cell(t, "at most %.2f", 100 * (double)a->upper_bound / n);
    table_cell(t, "%s", a->feasible ? members.bytes : a->optimal ? "none fits" : "none found");
    buf_release(&members);
    return rc;
}

static const struct table_column COLUMNS[] = {
    {"category", TABLE_LEFT},     {"latency <= s", TABLE_RIGHT},
    {"energy <= J", TABLE_RIGHT}, {"feasible subsets", TABLE_RIGHT},
    {"accuracy %", TABLE_RIGHT},  {"latency s", TABLE_RIGHT},
    {"energy J", TABLE_RIGHT},    {"best single %", TABLE_RIGHT},
    {"greedy %", TABLE_RIGHT},    {"random %", TABLE_RIGHT},
    {"all %", TABLE_RIGHT},       {"oracle within %", TABLE_RIGHT},
    {"proven", TABLE_LEFT},       {"experts in service", TABLE_LEFT},
};

static int head(struct buf *out, const struct select_report *r, struct err *err)
{
    static const char *const MISSING[] = {"wrong", "not called", "dropped"};
    const struct select_problem *p = &r->groups[0].problem;
    int rc =
        buf_printf(out, err,
                   "%lld prompts, %d experts; cost: %s; objective: %s; combined by %s of the "
                   "first %lld; latency: %s; not run: %s; some expert is right on %.2f %%\n",
                   (long long)r->prompts, r->n_experts,
                   p->cost == SELECT_ROUTED ? "routed, what is called is charged"
                                            : "deployed, everything in service is charged",
                   p->objective == SELECT_COVERAGE ? "coverage" : "accuracy", vote_name(p->combine),
                   (long long)r->k, select_stat_name(p->stat), MISSING[r->missing],
                   100 * (double)r->groups[0].result.oracle / (double)r->groups[0].prompts);
    if (!rc && p->combine != VOTE_TOP1 && !r->by_answer)
        rc = buf_puts(out,
                      "Votes are counted by right and wrong, as if all wrong answers agreed: the "
                      "accuracy is a lower bound (--predictions counts by answer).\n",
                      err);
    return rc ? rc : buf_puts(out, "\n", err);
}

int select_text(struct buf *out, const struct select_report *r, bool markdown, struct err *err)
{
    struct table *t = NULL;
    int skip = r->by_category ? 0 : 1;
    int rc = table_new(&t, COLUMNS + skip, (int)(sizeof COLUMNS / sizeof *COLUMNS) - skip, err);
    if (!rc)
        rc = head(out, r, err);
    for (int g = 0; g < r->n_groups && !rc; g++)
        for (int64_t i = 0; i < r->n_limits && !rc; i++)
            rc = answer_row(t, r, &r->groups[g], i, err);
    if (!rc)
        rc = markdown ? table_markdown(out, t, err) : table_text(out, t, err);
    for (int g = 0; g < r->n_groups && !rc; g++)
        if (r->groups[g].result.has_frontier)
            rc = buf_printf(out, err, "%sfrontier%s%s: %lld subsets that no other dominates%s\n",
                            g ? "" : "\n", r->by_category ? " of " : "",
                            r->by_category
                                ? name_table_text(&r->outcomes.categories, r->groups[g].category)
                                : "",
                            (long long)r->groups[g].result.n_frontier,
                            r->groups[g].result.frontier_complete ? "" : " (not complete)");
    table_free(t);
    return rc;
}

/* ---- comma separated values ---- */

static int csv_text(struct buf *out, const char *text, struct err *err)
{
    int rc = buf_puts(out, "\"", err);
    for (const char *s = text; *s && !rc; s++)
        rc = buf_append(out, *s == '"' ? "\"\"" : s, *s == '"' ? 2 : 1, err);
    return rc ? rc : buf_puts(out, "\"", err);
}

/* A number that reads back, nothing for none. */
static int csv_real(struct buf *out, bool there, double v, struct err *err)
{
    char text[32];
    return buf_printf(out, err, ",%s", !there ? "" : isinf(v) ? "inf" : json_real_text(text, v));
}

static int csv_row(struct buf *out, const struct select_report *r, const struct select_group *g,
                   int64_t i, struct err *err)
{
    const struct select_answer *a = &g->result.answers[i];
    const struct select_problem *p = &g->problem;
    double n = (double)g->prompts;
    struct buf members = {0};
    int rc = csv_text(
        out, g->category >= 0 ? name_table_text(&r->outcomes.categories, g->category) : "", err);
    if (!rc)
        rc = csv_real(out, true, r->latency_limits_s[i], err);
    if (!rc)
        rc = csv_real(out, true, r->energy_limits_j[i], err);
    if (!rc)
        rc = buf_printf(out, err, ",%d,", a->feasible);
    if (!rc)
        rc = join_members(&members, r, a->feasible ? a->best.members : 0, ";", err);
    if (!rc)
        rc = csv_text(out, members.bytes && members.n ? members.bytes : "", err);
    if (!rc && a->n_feasible >= 0)
        rc = buf_printf(out, err, ",%lld", (long long)a->n_feasible);
    else if (!rc)
        rc = buf_puts(out, ",", err);
    const struct {
        bool there;
        double value;
    } cells[] = {
        {a->feasible, (double)a->best.correct},
        {a->feasible, (double)a->best.correct / n},
        {a->feasible, select_latency_s(p, a->best.latency, g->prompts)},
        {a->feasible, select_energy_j(a->best.energy, g->prompts)},
        {true, a->optimal},
        {a->upper_bound >= 0, (double)a->upper_bound / n},
        {a->has_single, (double)a->single.correct / n},
        {a->has_single, (double)a->greedy.correct / n},
        {true, (double)a->all.correct / n},
        {true, a->all_feasible},
        {a->has_single, a->random},
        {true, (double)g->result.oracle / n},
        {a->feasible, (double)a->oracle_subset / n},
    };
    for (size_t k = 0; k < sizeof cells / sizeof *cells && !rc; k++)
        rc = csv_real(out, cells[k].there, cells[k].value, err);
    buf_release(&members);
    return rc ? rc : buf_puts(out, "\n", err);
}

int select_csv(struct buf *out, const struct select_report *r, struct err *err)
{
    int rc = buf_puts(
        out,
        "category,latency_limit_s,energy_limit_j,feasible,subset,feasible_subsets,correct,accuracy,"
        "latency_s,energy_j,optimal,upper_bound,best_single,greedy,all,all_feasible,"
        "random_feasible,oracle,oracle_subset\n",
        err);
    for (int g = 0; g < r->n_groups && !rc; g++)
        for (int64_t i = 0; i < r->n_limits && !rc; i++)
            rc = csv_row(out, r, &r->groups[g], i, err);
    return rc;
}
