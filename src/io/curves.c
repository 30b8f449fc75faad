/* latency.json and energy.json: see curves.h. */
#include "io/curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/nnls.h"
#include "io/json_util.h"

static const char *const SOURCES[CURVE_N_SOURCES] = {"measured", "estimated", "published"};

const char *curve_source_name(enum curve_source source)
{
    return SOURCES[source];
}

const char *curve_source_label(enum curve_source source)
{
    return source == CURVE_PUBLISHED ? "published, not measured here" : SOURCES[source];
}

int curves_add(struct curve **out, struct curves *c, const char *expert, struct err *err)
{
    if (curves_find(c, expert))
        return err_set(err, MOE2_ECONFIG, "\"%.80s\" has two curves, wanted one", expert);
    if (c->n == CURVES_MAX)
        return err_set(err, MOE2_ELIMIT, "more than %d curves", CURVES_MAX);
    if (c->n == c->capacity) {
        int capacity = c->capacity ? 2 * c->capacity : 16;
        struct curve *list = arena_alloc(&c->memory, (size_t)capacity * sizeof *list, err);
        if (!list)
            return MOE2_ELIMIT;
        if (c->n)
            memcpy(list, c->list, (size_t)c->n * sizeof *list);
        c->list = list;
        c->capacity = capacity;
    }
    const char *name = arena_strdup(&c->memory, expert, err);
    if (!name)
        return MOE2_ELIMIT;
    *out = &c->list[c->n++];
    **out = (struct curve){.expert = name, .rms = NAN, .largest = NAN};
    return 0;
}

const struct curve *curves_find(const struct curves *c, const char *expert)
{
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->list[i].expert, expert) == 0)
            return &c->list[i];
    return NULL;
}

void curves_release(struct curves *c)
{
    arena_release(&c->memory);
    *c = (struct curves){0};
}

double curve_value(const struct curve_fit *fit, double prompt_tokens, double output_tokens)
{
    return fit->t0 + fit->prefill * prompt_tokens + fit->decode * output_tokens;
}

/* ---- fitting ---- */

static bool varies(const struct curve *c, size_t offset)
{
    for (int64_t i = 1; i < c->n_points; i++)
        if (*(const double *)((const char *)&c->points[i] + offset) !=
            *(const double *)((const char *)&c->points[0] + offset))
            return true;
    return false;
}

static void residuals(struct curve *c)
{
    double squares = 0;
    c->largest = 0;
    for (int64_t i = 0; i < c->n_points; i++) {
        const struct curve_point *p = &c->points[i];
        double rest = p->value - curve_value(&c->fit, p->prompt_tokens, p->output_tokens);
        squares += rest * rest;
        c->largest = fmax(c->largest, fabs(rest));
    }
    c->rms = sqrt(squares / (double)c->n_points);
}

int curve_fit_points(struct curve *c, struct err *err)
{
    if (c->n_points == 0)
        return 0;
    bool prompts = varies(c, offsetof(struct curve_point, prompt_tokens));
    bool outputs = varies(c, offsetof(struct curve_point, output_tokens));
    bool use[3] = {prompts, prompts || outputs, outputs || !prompts};
    double *A = malloc((size_t)c->n_points * 4 * sizeof *A), x[3], *fit[3];
    if (!A)
        return err_set(err, MOE2_ELIMIT, "no memory for a fit of %lld points",
                       (long long)c->n_points);
    double *b = A + 3 * c->n_points;
    int N = 0;
    double *all[3] = {&c->fit.t0, &c->fit.prefill, &c->fit.decode};
    for (int j = 0; j < 3; j++)
        if (use[j])
            fit[N++] = all[j];
    for (int64_t i = 0; i < c->n_points; i++) {
        const struct curve_point *p = &c->points[i];
        double terms[3] = {1, p->prompt_tokens, p->output_tokens};
        for (int j = 0, k = 0; j < 3; j++)
            if (use[j])
                A[i * N + k++] = terms[j];
        b[i] = p->value;
    }
    int rc = nnls(x, A, b, c->n_points, N, err);
    free(A);
    if (rc)
        return err_prefix(err, "the curve of \"%.80s\"", c->expert);
    c->fit = (struct curve_fit){0};
    for (int j = 0; j < N; j++)
        *fit[j] = x[j];
    residuals(c);
    return 0;
}

/* ---- writing ---- */

static void text_if(struct json_writer *w, const char *key, const char *text)
{
    if (text)
        jw_text(w, key, text);
}

static void write_curve(struct json_writer *w, const struct curve *c)
{
    jw_object(w, c->expert);
    jw_text(w, "device", c->device);
    jw_text(w, "unit", c->unit);
    jw_text(w, "source", curve_source_name(c->source));
    text_if(w, "curve", c->curve);
    text_if(w, "stands_for", c->stands_for);
    jw_array(w, "points");
    for (int64_t i = 0; i < c->n_points; i++) {
        const struct curve_point *p = &c->points[i];
        jw_object(w, NULL);
        jw_real(w, "prompt_tokens", p->prompt_tokens);
        jw_real(w, "output_tokens", p->output_tokens);
        jw_real(w, "value", p->value);
        jw_real(w, "spread", p->spread);
        if (p->runs)
            jw_int(w, "runs", p->runs);
        else
            jw_null(w, "runs");
        jw_end(w);
    }
    jw_end(w);
    jw_object(w, "fit");
    jw_real(w, "t0", c->fit.t0);
    jw_real(w, "prefill", c->fit.prefill);
    jw_real(w, "decode", c->fit.decode);
    jw_end(w);
    jw_object(w, "residual");
    jw_real(w, "rms", c->rms);
    jw_real(w, "largest", c->largest);
    jw_end(w);
    text_if(w, "note", c->note);
    jw_end(w);
}

int curves_write(const char *path, const struct curves *c, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    json_writer_init(&w, &text, 2);
    jw_object(&w, NULL);
    for (int i = 0; i < c->n; i++)
        write_curve(&w, &c->list[i]);
    jw_end(&w);
    int rc = json_writer_file(&w, path, err);
    buf_release(&text);
    return rc;
}

/* ---- reading ---- */

static int read_text(const char **out, struct curves *c, const json_t *o, const char *where,
                     const char *key, struct err *err)
{
    const char *text = NULL;
    int rc = json_opt_text(&text, NULL, o, where, key, err);
    if (rc || !text)
        return rc;
    *out = arena_strdup(&c->memory, text, err);
    return *out ? 0 : MOE2_ELIMIT;
}

static int read_points(struct curve *out, struct curves *c, const json_t *o, const char *where,
                       struct err *err)
{
    const json_t *array = NULL;
    int rc = json_opt_array(&array, o, where, "points", err);
    size_t n = array ? json_array_size(array) : 0;
    if (rc || n == 0)
        return rc;
    if (n > CURVES_MAX_POINTS)
        return err_set(err, MOE2_ELIMIT, "%s: %zu points, wanted at most %d", where, n,
                       CURVES_MAX_POINTS);
    out->points = arena_calloc(&c->memory, n * sizeof *out->points, err);
    if (!out->points)
        return MOE2_ELIMIT;
    for (size_t i = 0; i < n && !rc; i++) {
        const json_t *item = json_array_get(array, i);
        struct curve_point *p = &out->points[i];
        rc = json_need_real(&p->prompt_tokens, item, where, "prompt_tokens", 0, 1e9, err);
        if (!rc)
            rc = json_need_real(&p->output_tokens, item, where, "output_tokens", 0, 1e9, err);
        if (!rc)
            rc = json_need_real(&p->value, item, where, "value", 0, 1e15, err);
        if (!rc)
            rc = json_opt_real(&p->spread, NAN, item, where, "spread", 0, 1e15, err);
        if (!rc)
            rc = json_opt_int(&p->runs, 0, item, where, "runs", 0, INT64_MAX / 2, err);
    }
    out->n_points = (int64_t)n;
    return rc;
}

static int read_fit(struct curve *out, const json_t *o, const char *where, struct err *err)
{
    const json_t *fit = NULL, *rest = NULL;
    int rc = json_need_object(&fit, o, where, "fit", err);
    if (!rc)
        rc = json_need_real(&out->fit.t0, fit, where, "t0", 0, 1e15, err);
    if (!rc)
        rc = json_need_real(&out->fit.prefill, fit, where, "prefill", 0, 1e15, err);
    if (!rc)
        rc = json_need_real(&out->fit.decode, fit, where, "decode", 0, 1e15, err);
    if (!rc)
        rc = json_opt_object(&rest, o, where, "residual", err);
    if (!rc && rest)
        rc = json_opt_real(&out->rms, NAN, rest, where, "rms", 0, 1e15, err);
    if (!rc && rest)
        rc = json_opt_real(&out->largest, NAN, rest, where, "largest", 0, 1e15, err);
    return rc;
}

static int read_words(struct curve *out, struct curves *c, const json_t *o, const char *where,
                      struct err *err)
{
    static const char *const UNITS[] = {"s", "ms", "J", "mJ"};
    const char *source = NULL;
    int rc = read_text(&out->device, c, o, where, "device", err);
    if (!rc)
        rc = read_text(&out->unit, c, o, where, "unit", err);
    if (!rc)
        rc = read_text(&out->curve, c, o, where, "curve", err);
    if (!rc)
        rc = read_text(&out->stands_for, c, o, where, "stands_for", err);
    if (!rc)
        rc = read_text(&out->note, c, o, where, "note", err);
    if (!rc)
        rc = json_opt_text(&source, "measured", o, where, "source", err);
    if (rc)
        return rc;
    bool known = !out->unit;
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS && !known; i++)
        known = strcmp(out->unit, UNITS[i]) == 0;
    if (!known)
        return err_set(err, MOE2_EFORMAT, "%s: unit is \"%.20s\", wanted s, ms, J or mJ", where,
                       out->unit);
    for (int i = 0; i < CURVE_N_SOURCES; i++)
        if (strcmp(source, SOURCES[i]) == 0) {
            out->source = (enum curve_source)i;
            return 0;
        }
    return err_set(err, MOE2_EFORMAT,
                   "%s: source is \"%.20s\", wanted measured, estimated or published", where,
                   source);
}

int curves_read(struct curves *c, const char *path, struct err *err)
{
    *c = (struct curves){0};
    json_t *root = NULL;
    int rc = json_read_file(&root, path, CURVES_MAX_FILE_BYTES, err);
    if (rc)
        return rc;
    if (!json_is_object(root))
        rc = err_set(err, MOE2_EFORMAT, "%s: is no object, wanted {expert: {…}}", path);
    const char *name;
    json_t *o;
    json_object_foreach(root, name, o)
    {
        struct curve *curve = NULL;
        struct buf where = {0};
        rc = curves_add(&curve, c, name, err);
        if (!rc)
            rc = buf_printf(&where, err, "%s: \"%.80s\"", path, name);
        if (!rc && !json_is_object(o))
            rc = err_set(err, MOE2_EFORMAT, "%s: is no object", where.bytes);
        if (!rc)
            rc = read_words(curve, c, o, where.bytes, err);
        if (!rc)
            rc = read_points(curve, c, o, where.bytes, err);
        if (!rc)
            rc = read_fit(curve, o, where.bytes, err);
        buf_release(&where);
        if (rc)
            break;
    }
    json_decref(root);
    return rc;
}
