/* Estimated curves for models that have none of their own: one base curve times the share of parameters. An answer at batch 1 is bound
 * by reading the weights, so what counts is the parameters read a token: of a mixture of experts the active ones. See profile_import.h. */
#include <math.h>
#include <stdlib.h>

#include "pipeline/profile_import.h"

/* Parameters read a token, in 10⁹; 0 when neither column has a number. */
static int size_of(double *out, const struct records *r, struct err *err)
{
    static const char *const FIELDS[] = {"active_b", "params_b"};
    *out = 0;
    for (int i = 0; i < 2; i++) {
        const char *text = records_field(r, FIELDS[i], NULL);
        if (text && *text)
            return profile_number(out, r, FIELDS[i], 1e-6, 1, err);
    }
    return 0;
}

static int scale_one(struct curves *to, const struct curve *base, const char *model, double share,
                     struct err *err)
{
    struct curve *c = NULL;
    int rc = curves_add(&c, to, model, err);
    if (rc)
        return rc;
    c->unit = arena_strdup(&to->memory, base->unit, err);
    c->curve = arena_strdup(&to->memory, base->expert, err);
    c->device = base->device ? arena_strdup(&to->memory, base->device, err) : NULL;
    if (!c->unit || !c->curve || (base->device && !c->device))
        return MOE2_ELIMIT;
    c->source = CURVE_ESTIMATED;
    c->note = "the curve named, times the share of parameters read a token";
    c->fit = (struct curve_fit){base->fit.t0 * share, base->fit.prefill * share,
                                base->fit.decode * share};
    return 0;
}

static int take_model(struct profile_set *s, const struct curve *latency,
                      const struct curve *energy, double base_b, const struct records *r,
                      struct err *err)
{
    const char *model = NULL;
    double size = 0;
    int rc = records_need(&model, NULL, r, "model", err);
    if (!rc)
        rc = size_of(&size, r, err);
    if (rc)
        return rc;
    if (curves_find(&s->latency, model)) /* the fleet's own comes first */
        return 0;
    if (size == 0)
        return buf_printf(&s->notes, err,
                          "%.80s has no costs: its size is not disclosed; it appears in accuracies "
                          "only\n",
                          model);
    rc = scale_one(&s->latency, latency, model, size / base_b, err);
    return rc || !energy ? rc : scale_one(&s->energy, energy, model, size / base_b, err);
}

int profile_scale(struct profile_set *s, const struct profile_set *from, const char *base,
                  double base_params_b, const char *models_path, struct err *err)
{
    const struct curve *latency = curves_find(&from->latency, base);
    const struct curve *energy = curves_find(&from->energy, base);
    if (!latency)
        return err_set(err, MOE2_ECONFIG,
                       "there is no curve \"%.80s\" to scale, wanted one of the imported", base);
    if (!(base_params_b > 0))
        return err_set(err, MOE2_ECONFIG,
                       "the size of \"%.80s\" is not known, wanted its parameters in 10^9", base);
    struct records_options form = {.form = RECORDS_CSV, .max_record_bytes = 1 << 16};
    struct records *r = NULL;
    int rc = records_open(&r, models_path, &form, err);
    bool got = false;
    while (!rc && !(rc = records_next(r, &got, err)) && got)
        rc = take_model(s, latency, energy, base_params_b, r, err);
    records_close(r);
    return rc;
}
