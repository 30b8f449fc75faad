/* Training and judging a gate from files: see step_gate.h. */
#include "pipeline/step_gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/words.h"
#include "io/matrix.h"
#include "io/outcomes.h"
#include "pipeline/gate_report.h"
#include "report/chart.h"

struct gate_step gate_step_default(void)
{
    return (struct gate_step){.kind = "sigmoid", .train = gate_train_default()};
}

void gate_step_report_release(struct gate_step_report *r)
{
    for (int64_t e = 0; r->experts && e < r->n_experts; e++)
        free(r->experts[e]);
    free(r->experts);
    *r = (struct gate_step_report){0};
}

/* ---- input ---- */

/* What a step reads, and what hangs on it. */
struct gate_files {
    struct matrix e;
    struct outcomes o;
    const char **experts, **categories; /* borrowed names, owned arrays */
    bool allowed[GATE_MAX_EXPERTS];
    struct device *dev;
};

static void files_close(struct gate_files *f)
{
    matrix_close(&f->e);
    outcomes_release(&f->o);
    device_close(f->dev);
    free(f->experts);
    free(f->categories);
}

static const char **names_of(const struct name_table *t)
{
    const char **names = calloc((size_t)t->n + 1, sizeof *names);
    for (int64_t i = 0; names && i < t->n; i++)
        names[i] = name_table_text(t, i);
    return names;
}

/* Who may be chosen: those of the list, all without one. */
static int allow(struct gate_files *f, const char *experts, struct err *err)
{
    uint64_t mask = ~UINT64_C(0);
    int rc = experts ? words_mask(&mask, experts, f->experts, f->o.n_experts, "--experts",
                                  f->o.path, err)
                     : 0;
    for (int e = 0; e < f->o.n_experts; e++)
        f->allowed[e] = mask >> e & 1;
    return rc;
}

static int files_open(struct gate_files *f, const struct gate_step *step, struct err *err)
{
    int rc = matrix_open(&f->e, step->embeddings, 0, err);
    if (!rc && f->e.columns > GATE_MAX_DIM)
        rc = err_set(err, MOE2_ELIMIT, "%s: vectors of %lld numbers, wanted at most %d",
                     step->embeddings, (long long)f->e.columns, GATE_MAX_DIM);
    if (!rc && step->outcomes)
        rc = outcomes_read(&f->o, step->outcomes, step->train.sink, err);
    if (!rc && step->outcomes && f->o.n_rows != f->e.rows)
        rc =
            err_set(err, MOE2_EFORMAT, "%s: has %lld rows, wanted %lld, one for each of %s",
                    step->embeddings, (long long)f->e.rows, (long long)f->o.n_rows, step->outcomes);
    if (!rc) {
        f->experts = names_of(&f->o.experts);
        f->categories = names_of(&f->o.categories);
        if (!f->experts || !f->categories)
            rc = err_set(err, MOE2_ELIMIT, "no memory for names");
    }
    if (!rc && step->outcomes)
        rc = allow(f, step->experts, err);
    return rc ? rc : device_open_choice(&f->dev, &step->device, step->n_threads, err);
}

/* ---- output ---- */

static int describe(struct gate_step_report *r, const struct gate *g, const char *const *experts,
                    int64_t n, struct err *err)
{
    r->kind = g->kind->name;
    r->dim = g->D;
    r->n_experts = n;
    r->experts = calloc((size_t)n, sizeof *r->experts);
    for (int64_t e = 0; r->experts && e < n; e++)
        if (!(r->experts[e] = strdup(experts[e])))
            return err_set(err, MOE2_ELIMIT, "no memory for names");
    r->n_parts = g->n_parts;
    for (int i = 0; i < g->n_parts; i++) {
        r->parts[i] = g->parts[i]->kind->name;
        r->weights[i] = gate_tensor(g, "weight")->data[i];
    }
    return r->experts ? 0 : err_set(err, MOE2_ELIMIT, "no memory for names");
}

static int write_scores(const char *path, const float *scores, int64_t rows, int64_t n,
                        struct err *err)
{
    return npy_write(path, DT_F32, (int64_t[]){rows, n}, 2, scores, err);
}

/* gate.json and the diagram. */
static int write_report(struct gate_step_report *r, const struct gate_step *step, struct err *err)
{
    struct buf text = {0};
    char *path = path_join(step->out_dir, "gate.json");
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "no memory");
    if (!rc && r->measured && r->m.probabilities && step->gnuplot) {
        if (gnuplot_found(step->gnuplot)) {
            rc = gate_report_figure(r, step->gnuplot, step->out_dir, err);
            r->figure = !rc;
        } else {
            log_line(step->train.sink, LOG_WARN, "%s is not there: no reliability diagram",
                     step->gnuplot);
        }
    }
    if (!rc)
        rc = gate_report_json(&text, r, err);
    if (!rc)
        rc = file_write(path, text.bytes, text.n, err);
    buf_release(&text);
    free(path);
    return rc;
}

static int write_trained(const struct gate_trained *t, const struct gate_step *step, int64_t rows,
                         struct err *err)
{
    char *oof = path_join(step->out_dir, "oof_scores.npy");
    char *gate = path_join(step->out_dir, "gating.safetensors");
    int rc = oof && gate ? dir_make(step->out_dir, err) : err_set(err, MOE2_ELIMIT, "no memory");
    if (!rc)
        rc = write_scores(oof, t->oof, rows, t->gate->N, err);
    if (!rc)
        rc = gate_save(t->gate, gate, err);
    free(oof);
    free(gate);
    return rc;
}

/* ---- train ---- */

int gate_step_train(struct gate_step_report *out, const struct gate_step *step, struct err *err)
{
    struct gate_files f = {0};
    struct gate_trained t = {0};
    struct gate_step_report r = {.trained = true, .measured = true};
    int rc = files_open(&f, step, err);
    struct gate_data d = {.x = f.e.x, .right = f.o.right, .category = f.o.category};
    d.T = f.e.rows, d.D = f.e.columns, d.N = f.o.n_experts, d.n_categories = f.o.categories.n;
    d.experts = f.experts, d.categories = f.categories;
    if (!rc)
        rc = gate_train(&t, f.dev, &d, step->kind, &step->train, err);
    if (!rc)
        rc = describe(&r, t.gate, f.experts, d.N, err);
    if (!rc) {
        memcpy(r.variants, t.variants, sizeof r.variants);
        r.rows = d.T, r.n_variants = t.n_variants, r.chosen = t.chosen;
        r.fold_s = t.fold_s, r.fit_s = t.fit_s;
        rc = gate_measure(&r.m, t.oof, d.right, d.T, d.N, f.allowed, t.gate->accuracy,
                          t.gate->kind->probabilities, err);
    }
    if (!rc)
        rc = write_trained(&t, step, d.T, err);
    if (!rc)
        rc = write_report(&r, step, err);
    gate_trained_release(&t);
    files_close(&f);
    if (rc)
        gate_step_report_release(&r);
    else
        *out = r;
    return rc;
}

/* ---- eval ---- */

/* column [n]: the gate's number of each expert of the outcomes. */
static int match_experts(int *column, const struct gate *g, const struct gate_files *f,
                         const struct gate_step *step, struct err *err)
{
    for (int e = 0; e < f->o.n_experts; e++) {
        column[e] = -1;
        for (int64_t i = 0; i < g->N; i++)
            if (strcmp(g->experts[i], f->experts[e]) == 0)
                column[e] = (int)i;
        if (column[e] < 0)
            return err_set(err, MOE2_EFORMAT, "%s: the gate knows no expert %s, which %s has",
                           step->gate, f->experts[e], step->outcomes);
    }
    return 0;
}

/* scores [rows, n] in the outcomes' order of experts, the gate's own without outcomes. */
static int score_files(float *scores, const struct gate *g, const struct gate_files *f,
                       const int *column, int64_t n, struct err *err)
{
    struct gate_input in = {.x = f->e.x, .T = f->e.rows};
    float *own = malloc((size_t)(in.T * g->N) * sizeof *own);
    int32_t *category = f->o.category ? malloc((size_t)in.T * sizeof *category) : NULL;
    int rc = 0;
    if (!own || (f->o.category && !category))
        rc = err_set(err, MOE2_ELIMIT, "no memory for the scores of %lld rows", (long long)in.T);
    for (int64_t t = 0; category && !rc && t < in.T; t++) {
        int32_t c = f->o.category[t];
        category[t] = c < 0 ? -1 : gate_category(g, f->categories[c]);
    }
    in.category = category;
    if (!rc)
        rc = gate_score(own, f->dev, g, &in, err);
    for (int64_t t = 0; t < in.T && !rc; t++)
        for (int64_t e = 0; e < n; e++)
            scores[t * n + e] = own[t * g->N + (column ? column[e] : e)];
    free(own);
    free(category);
    return rc;
}

static int judge(struct gate_step_report *r, const struct gate *g, const float *scores,
                 const struct gate_files *f, const int *column, struct err *err)
{
    float accuracy[GATE_MAX_EXPERTS];
    for (int e = 0; e < f->o.n_experts; e++)
        accuracy[e] = g->accuracy[column[e]];
    r->measured = true;
    return gate_measure(&r->m, scores, f->o.right, f->e.rows, f->o.n_experts, f->allowed, accuracy,
                        g->kind->probabilities, err);
}

static int eval(struct gate_step_report *r, const struct gate *g, const struct gate_files *f,
                const struct gate_step *step, struct err *err)
{
    int column[GATE_MAX_EXPERTS];
    int64_t n = step->outcomes ? f->o.n_experts : g->N;
    if (f->e.columns != g->D)
        return err_set(err, MOE2_EFORMAT,
                       "%s: vectors of %lld numbers, wanted %lld, as %s was "
                       "trained on",
                       step->embeddings, (long long)f->e.columns, (long long)g->D, step->gate);
    int rc = step->outcomes ? match_experts(column, g, f, step, err) : 0;
    float *scores = rc ? NULL : malloc((size_t)(f->e.rows * n) * sizeof *scores);
    if (!rc && !scores)
        rc = err_set(err, MOE2_ELIMIT, "no memory for the scores");
    double begun_s = clock_s();
    if (!rc)
        rc = score_files(scores, g, f, step->outcomes ? column : NULL, n, err);
    r->score_s = clock_s() - begun_s;
    if (!rc)
        rc = describe(r, g, step->outcomes ? f->experts : (const char *const *)g->experts, n, err);
    r->rows = f->e.rows;
    r->n_outside = g->N - n;
    if (!rc && step->outcomes)
        rc = judge(r, g, scores, f, column, err);
    if (!rc && step->scores)
        rc = write_scores(step->scores, scores, f->e.rows, n, err);
    free(scores);
    return rc;
}

int gate_step_eval(struct gate_step_report *out, const struct gate_step *step, struct err *err)
{
    struct gate_files f = {0};
    struct gate *g = NULL;
    struct gate_step_report r = {0};
    int rc = 0;
    if (!step->outcomes && (!step->scores || step->experts || step->out_dir))
        rc = err_set(err, MOE2_ECONFIG, "without --outcomes only --scores can be written");
    if (!rc)
        rc = gate_open(&g, step->gate, err);
    if (!rc)
        rc = files_open(&f, step, err);
    if (!rc)
        rc = eval(&r, g, &f, step, err);
    if (!rc && step->out_dir)
        rc = dir_make(step->out_dir, err);
    if (!rc && step->out_dir)
        rc = write_report(&r, step, err);
    files_close(&f);
    gate_free(g);
    if (rc)
        gate_step_report_release(&r);
    else
        *out = r;
    return rc;
}
