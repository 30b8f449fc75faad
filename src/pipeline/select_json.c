/* The result of a selection as the one JSON object of docs/selecting.md. */
#include <math.h>

#include "io/json_util.h"
#include "pipeline/select_run.h"

static const char *const MISSING[] = {"wrong", "avoid", "drop"};

struct out {
    struct json_writer w;
    const struct select_report *r;
    const struct select_group *g;
};

static void put_limit(struct out *o, const char *key, double v)
{
    if (isinf(v))
        jw_null(&o->w, key);
    else
        jw_real(&o->w, key, v);
}

/* subset and indices of a set of the run's experts. */
static void put_members(struct out *o, uint64_t members)
{
    int64_t indices[OUTCOMES_MAX_EXPERTS];
    int n = 0;
    jw_array(&o->w, "subset");
    for (int i = 0; i < o->r->n_experts; i++)
        if (members >> i & 1) {
            indices[n++] = o->r->expert[i];
            jw_text(&o->w, NULL, name_table_text(&o->r->outcomes.experts, o->r->expert[i]));
        }
    jw_end(&o->w);
    jw_ints(&o->w, "indices", indices, n);
}

static void put_worth(struct out *o, int64_t correct, int64_t latency, int64_t energy, int64_t n)
{
    jw_int(&o->w, "correct", correct);
    jw_real(&o->w, "accuracy", (double)correct / (double)n);
    jw_real(&o->w, "latency_s", select_latency_s(&o->g->problem, latency, n));
    jw_real(&o->w, "energy_j", select_energy_j(energy, n));
}

static void put_point(struct out *o, const struct select_point *x)
{
    put_members(o, x->members);
    put_worth(o, x->correct, x->latency, x->energy, o->g->prompts);
}

/* An object of a point, or null. */
static void put_baseline(struct out *o, const char *key, const struct select_point *x, bool there)
{
    if (!there) {
        jw_null(&o->w, key);
        return;
    }
    jw_object(&o->w, key);
    put_point(o, x);
    jw_end(&o->w);
}

static void put_share(struct out *o, const char *key, int64_t correct, bool there)
{
    if (!there) {
        jw_null(&o->w, key);
        return;
    }
    jw_object(&o->w, key);
    jw_real(&o->w, "accuracy", (double)correct / (double)o->g->prompts);
    jw_end(&o->w);
}

static void put_baselines(struct out *o, const struct select_answer *a)
{
    jw_object(&o->w, "baselines");
    put_baseline(o, "best_single", &a->single, a->has_single);
    put_baseline(o, "greedy", &a->greedy, a->has_single);
    jw_object(&o->w, "all");
    put_point(o, &a->all);
    jw_bool(&o->w, "feasible", a->all_feasible);
    jw_end(&o->w);
    if (a->has_single) {
        jw_object(&o->w, "random_feasible");
        jw_real(&o->w, "accuracy", a->random);
        jw_end(&o->w);
    } else {
        jw_null(&o->w, "random_feasible");
    }
    put_share(o, "oracle", o->g->result.oracle, true);
    put_share(o, "oracle_subset", a->oracle_subset, a->feasible);
    jw_end(&o->w);
}

static void put_categories(struct out *o, const struct select_share *shares)
{
    jw_array(&o->w, "categories");
    for (int c = 0; c < o->r->n_categories; c++) {
        const struct select_share *s = &shares[c];
        jw_object(&o->w, NULL);
        jw_text(&o->w, "category",
                name_table_text(&o->r->outcomes.categories, o->r->categories[c]));
        jw_int(&o->w, "prompts", s->prompts);
        put_worth(o, s->correct, s->latency, s->energy, s->prompts);
        jw_end(&o->w);
    }
    jw_end(&o->w);
}

static void put_answer(struct out *o, int64_t i)
{
    const struct select_result *s = &o->g->result;
    const struct select_answer *a = &s->answers[i];
    jw_object(&o->w, NULL);
    put_limit(o, "latency_limit_s", o->r->latency_limits_s[i]);
    put_limit(o, "energy_limit_j", o->r->energy_limits_j[i]);
    jw_bool(&o->w, "feasible", a->feasible);
    if (a->feasible) {
        put_point(o, &a->best);
    } else {
        put_members(o, 0);
        jw_null(&o->w, "correct");
        jw_null(&o->w, "accuracy");
        jw_null(&o->w, "latency_s");
        jw_null(&o->w, "energy_j");
    }
    jw_object(&o->w, "certificate");
    jw_bool(&o->w, "optimal", a->optimal);
    if (a->upper_bound < 0)
        jw_null(&o->w, "upper_bound");
    else
        jw_real(&o->w, "upper_bound", (double)a->upper_bound / (double)o->g->prompts);
    jw_int(&o->w, "evaluated", a->evaluated);
    jw_end(&o->w);
    put_baselines(o, a);
    if (a->feasible && s->shares)
        put_categories(o, s->shares + i * o->r->n_categories);
    if (a->n_feasible < 0)
        jw_null(&o->w, "feasible_subsets");
    else
        jw_int(&o->w, "feasible_subsets", a->n_feasible);
    jw_end(&o->w);
}

static void put_results(struct out *o)
{
    const struct select_result *s = &o->g->result;
    jw_array(&o->w, "results");
    for (int64_t i = 0; i < s->n_answers; i++)
        put_answer(o, i);
    jw_end(&o->w);
    if (!s->has_frontier)
        return;
    jw_object(&o->w, "frontier");
    jw_bool(&o->w, "complete", s->frontier_complete);
    jw_array(&o->w, "points");
    for (int64_t i = 0; i < s->n_frontier; i++)
        put_baseline(o, NULL, &s->frontier[i], true);
    jw_end(&o->w);
    jw_end(&o->w);
}

static void put_head(struct out *o, const struct select_problem *p, int64_t k)
{
    jw_array(&o->w, "experts");
    for (int i = 0; i < o->r->n_experts; i++)
        jw_text(&o->w, NULL, name_table_text(&o->r->outcomes.experts, o->r->expert[i]));
    jw_end(&o->w);
    jw_int(&o->w, "prompts", o->r->prompts);
    jw_text(&o->w, "cost", p->cost == SELECT_ROUTED ? "routed" : "deployed");
    jw_text(&o->w, "objective", p->objective == SELECT_COVERAGE ? "coverage" : "accuracy");
    jw_text(&o->w, "combine", vote_name(p->combine));
    jw_int(&o->w, "k", k);
    jw_text(&o->w, "missing", MISSING[o->r->missing]);
    jw_text(&o->w, "latency_stat", select_stat_name(p->stat));
}

int select_json(struct buf *out, const struct select_report *r, struct err *err)
{
    struct out o = {.r = r, .g = r->groups};
    json_writer_init(&o.w, out, 1);
    jw_object(&o.w, NULL);
    put_head(&o, &r->groups[0].problem, r->k);
    if (r->by_category)
        jw_array(&o.w, "by_category");
    for (int g = 0; g < r->n_groups; g++) {
        o.g = &r->groups[g];
        if (r->by_category) {
            jw_object(&o.w, NULL);
            jw_text(&o.w, "category", name_table_text(&r->outcomes.categories, o.g->category));
            jw_int(&o.w, "prompts", o.g->prompts);
        }
        put_results(&o);
        if (r->by_category)
            jw_end(&o.w);
    }
    if (r->by_category)
        jw_end(&o.w);
    jw_object(&o.w, "timing");
    jw_real(&o.w, "load_s", r->load_s);
    jw_real(&o.w, "solve_s", r->solve_s);
    jw_end(&o.w);
    jw_end(&o.w);
    int rc = json_writer_end(&o.w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}
