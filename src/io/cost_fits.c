/* Fits of costs: see cost_fits.h. */
#include "io/cost_fits.h"

#include <float.h>
#include <string.h>

#include "io/json_util.h"

static int read_unit(double *unit, const json_t *o, const char *where, enum cost_kind kind,
                     struct err *err)
{
    const char *whole = kind == COST_LATENCY ? "s" : "J";
    const char *milli = kind == COST_LATENCY ? "ms" : "mJ", *text = NULL;
    int rc = json_opt_text(&text, whole, o, where, "unit", err);
    if (rc)
        return rc;
    if (strcmp(text, whole) != 0 && strcmp(text, milli) != 0)
        return err_set(err, MOE2_EFORMAT, "%s: unit is \"%.20s\", wanted %s or %s", where, text,
                       whole, milli);
    *unit = strcmp(text, milli) == 0 ? 0.001 : 1;
    return 0;
}

static int read_fit(struct cost_fit *out, const json_t *o, const char *where, enum cost_kind kind,
                    struct err *err)
{
    const json_t *fit = NULL;
    int rc = json_need_object(&fit, o, where, "fit", err);
    if (!rc)
        rc = read_unit(&out->unit, o, where, kind, err);
    if (!rc)
        rc = json_need_real(&out->fit.t0, fit, where, "t0", 0, DBL_MAX, err);
    if (!rc)
        rc = json_need_real(&out->fit.prefill, fit, where, "prefill", 0, DBL_MAX, err);
    if (!rc)
        rc = json_need_real(&out->fit.decode, fit, where, "decode", 0, DBL_MAX, err);
    return rc;
}

int cost_fits_read(struct cost_fit *fits, const char *path, enum cost_kind kind,
                   const char *const *names, int n, struct err *err)
{
    json_t *root = NULL;
    int rc = json_read_file(&root, path, CURVES_MAX_FILE_BYTES, err);
    if (!rc && !json_is_object(root))
        rc = err_set(err, MOE2_EFORMAT, "%s: is no object, wanted {expert: {…}}", path);
    for (int i = 0; i < n && !rc; i++) {
        const json_t *o = json_object_get(root, names[i]);
        struct buf where = {0};
        rc = buf_printf(&where, err, "%s: \"%.80s\"", path, names[i]);
        if (!rc && !o)
            rc = err_set(err, MOE2_EFORMAT, "%s: has no expert \"%.80s\"", path, names[i]);
        if (!rc && !json_is_object(o))
            rc = err_set(err, MOE2_EFORMAT, "%s is no object, wanted {\"fit\": {…}}", where.bytes);
        if (!rc)
            rc = read_fit(&fits[i], o, where.bytes, kind, err);
        buf_release(&where);
    }
    json_decref(root);
    return rc;
}
