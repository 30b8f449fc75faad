/* The step "profile": see step_profile.h. */
#include "pipeline/step_profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "pipeline/fleet_config.h"
#include "report/figures_profile.h"

/* ---- the curves ---- */

static int copy(const char **out, struct curves *to, const char *text, struct err *err)
{
    *out = text ? arena_strdup(&to->memory, text, err) : NULL;
    return text && !*out ? MOE2_ELIMIT : 0;
}

/* A copy of `from` for expert `name`; points, fit and source stay. */
static int borrow(struct curve **out, struct curves *to, const struct curve *from, const char *name,
                  struct err *err)
{
    struct curve *c = NULL;
    int rc = curves_add(&c, to, name, err);
    if (rc)
        return rc;
    const char *expert = c->expert;
    *c = *from;
    c->expert = expert;
    rc = copy(&c->unit, to, from->unit, err);
    if (!rc)
        rc = copy(&c->device, to, from->device, err);
    if (!rc)
        rc = copy(&c->note, to, from->note, err);
    if (!rc)
        rc = copy(&c->curve, to, from->curve, err);
    if (!rc && from->n_points) {
        c->points = arena_alloc(&to->memory, (size_t)from->n_points * sizeof *c->points, err);
        if (!c->points)
            return MOE2_ELIMIT;
        memcpy(c->points, from->points, (size_t)from->n_points * sizeof *c->points);
    }
    *out = c;
    return rc;
}

static int lend(struct curves *to, const struct curves *from, const struct fleet_config *f,
                int64_t i, struct err *err)
{
    const struct curve *source = curves_find(from, f->curves.values[i]);
    struct curve *c = NULL;
    if (!source)
        return err_set(err, MOE2_ECONFIG,
                       "expert \"%.60s\" wants the curve \"%.80s\", which was not imported",
                       f->experts.values[i], f->curves.values[i]);
    int rc = borrow(&c, to, source, fleet_column(f, i), err);
    if (!rc)
        rc = copy(&c->curve, to, source->expert, err);
    if (!rc)
        rc = copy(&c->device, to, f->on.values[i], err);
    if (!rc && f->outcomes.n)
        rc = copy(&c->stands_for, to, f->experts.values[i], err);
    return rc;
}

static int fleet_curves(struct profile_set *set, const struct profile_set *from, const char *path,
                        struct err *err)
{
    struct fleet_config f;
    int rc = fleet_config_read(&f, path, err);
    if (rc)
        return rc;
    for (int64_t i = 0; i < f.experts.n && !rc; i++) {
        rc = lend(&set->latency, &from->latency, &f, i, err);
        if (!rc && from->energy.n)
            rc = lend(&set->energy, &from->energy, &f, i, err);
    }
    if (!rc && f.outcomes.n)
        rc =
            buf_printf(&set->notes, err,
                       "recorded answers of real models stand for the experts of \"%.100s\": their "
                       "strength is real, the costs are the curves'\n",
                       f.name);
    fleet_config_release(&f);
    return rc;
}

/* The size of a curve named "MODEL/QUANT@DEVICE" of the published tables. */
static double curve_size(const char *curve)
{
    char model[160];
    snprintf(model, sizeof model, "%s", curve);
    model[strcspn(model, "/")] = 0;
    return profile_params_b(model);
}

static int keep_all(struct curves *to, const struct curves *from, struct err *err)
{
    int rc = 0;
    struct curve *c;
    for (int i = 0; i < from->n && !rc; i++)
        rc = borrow(&c, to, &from->list[i], from->list[i].expert, err);
    return rc;
}

int profile_curves(struct profile_set *set, const struct profile_step *step, struct err *err)
{
    struct profile_set from = {0};
    const char *base = step->curve ? step->curve : PROFILE_BASE_CURVE;
    double base_b = step->curve_params_b > 0 ? step->curve_params_b : curve_size(base);
    char *csv = NULL;
    int rc = step->measured ? profile_models(step->measured, &set->notes, err) : 0;
    if (!rc && step->measured) {
        csv = profile_models_csv(step->measured->out_dir);
        rc = csv ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a name");
    }
    if (!rc)
        rc = profile_import(&from, csv ? csv : step->import, err);
    if (!rc && from.notes.n)
        rc = buf_puts(&set->notes, from.notes.bytes, err);
    if (!rc && step->fleet)
        rc = fleet_curves(set, &from, step->fleet, err);
    if (!rc && step->models)
        rc = profile_scale(set, &from, base, base_b, step->models, err);
    if (!rc && !step->fleet && !step->models)
        rc = keep_all(&set->latency, &from.latency, err);
    if (!rc && !step->fleet && !step->models)
        rc = keep_all(&set->energy, &from.energy, err);
    profile_set_release(&from);
    free(csv);
    return rc;
}

/* ---- what is written ---- */

static int write_one(const char *dir, const char *folder, const char *name, const struct curves *c,
                     struct err *err)
{
    char *sub = path_join(dir, folder), *path = sub ? path_join(sub, name) : NULL;
    int rc = path ? dir_make(sub, err) : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = curves_write(path, c, err);
    free(path);
    free(sub);
    return rc;
}

static int write_lengths(const struct profile_step *step, struct err *err)
{
    char *sub = path_join(step->out_dir, "accuracy");
    char *path = sub ? path_join(sub, "lengths.csv") : NULL;
    int rc = path ? dir_make(sub, err) : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = profile_lengths(path, step->chars, step->sink, err);
    free(path);
    free(sub);
    return rc;
}

static int draw(const struct profile_set *set, const struct profile_step *step, struct err *err)
{
    struct figure_set figures;
    char *dir = path_join(step->out_dir, "figures");
    if (!dir)
        return err_set(err, MOE2_ELIMIT, "no memory for a name");
    figure_set_open(&figures, step->gnuplot ? step->gnuplot : "gnuplot", dir, step->sink);
    figure_latency_curves(&figures, &set->latency);
    figure_energy_curves(&figures, &set->energy);
    figure_set_close(&figures);
    free(dir);
    return 0;
}

int profile_run(struct profile_set *set, const struct profile_step *step, struct err *err)
{
    int rc = profile_curves(set, step, err);
    if (!rc)
        rc = write_one(step->out_dir, "latency", "latency.json", &set->latency, err);
    if (!rc && set->energy.n)
        rc = write_one(step->out_dir, "energy", "energy.json", &set->energy, err);
    if (!rc && step->chars)
        rc = write_lengths(step, err);
    return rc ? rc : draw(set, step, err);
}

/* ---- the table ---- */

static double in_unit(const struct curve *c, double value)
{
    return c && c->unit && c->unit[0] == 'm' ? value / 1000 : value;
}

static void fit_cells(struct table *t, const struct curve *c)
{
    table_cell(t, "%.4g", in_unit(c, c->fit.t0));
    table_cell(t, "%.4g", 1e3 * in_unit(c, c->fit.prefill));
    table_cell(t, "%.4g", 1e3 * in_unit(c, c->fit.decode));
    if (isnan(c->rms))
        table_cell(t, "-");
    else
        table_cell(t, "%.2g", in_unit(c, c->rms));
}

int profile_table(struct table **out, const struct profile_set *set, double prompt_tokens,
                  double output_tokens, struct err *err)
{
    char seconds[64], joules[64];
    snprintf(seconds, sizeof seconds, "s at %g+%g", prompt_tokens, output_tokens);
    snprintf(joules, sizeof joules, "J at %g+%g", prompt_tokens, output_tokens);
    const struct table_column columns[] = {
        {"expert", TABLE_LEFT},         {"device", TABLE_LEFT},
        {"latency", TABLE_LEFT},        {"t0 s", TABLE_RIGHT},
        {"ms/prompt tok", TABLE_RIGHT}, {"ms/output tok", TABLE_RIGHT},
        {"rms s", TABLE_RIGHT},         {seconds, TABLE_RIGHT},
        {"energy", TABLE_LEFT},         {"mJ/prompt tok", TABLE_RIGHT},
        {"mJ/output tok", TABLE_RIGHT}, {joules, TABLE_RIGHT}};
    int rc = table_new(out, columns, sizeof columns / sizeof *columns, err);
    for (int i = 0; i < set->latency.n && !rc; i++) {
        const struct curve *l = &set->latency.list[i], *e = curves_find(&set->energy, l->expert);
        table_cell(*out, "%s", l->expert);
        table_cell(*out, "%s", l->device ? l->device : "-");
        table_cell(*out, "%s", curve_source_name(l->source));
        fit_cells(*out, l);
        table_cell(*out, "%.3f", in_unit(l, curve_value(&l->fit, prompt_tokens, output_tokens)));
        if (e) {
            table_cell(*out, "%s", curve_source_name(e->source));
            table_cell(*out, "%.4g", 1e3 * in_unit(e, e->fit.prefill));
            table_cell(*out, "%.4g", 1e3 * in_unit(e, e->fit.decode));
            table_cell(*out, "%.1f",
                       in_unit(e, curve_value(&e->fit, prompt_tokens, output_tokens)));
        } else {
            table_cell(*out, "not known");
        }
        table_end_row(*out);
    }
    return rc;
}
