/* Published tables of devices to curves: see profile_import.h.
 *
 * scorecard.csv: a row a model: time to first token, decode speed, joules an output token at one prompt and answer length. detail.csv: for
 * some of them the percentiles of single requests, whose lowest, median and highest latency are taken as points at the lowest, median
 * and highest answer length; the prompt's real length is time to first token · prefill speed. Where a prompt goes by much faster than
 * other sizes on the same engine allow, it was cached, and the model is left out. table.csv: decode speed and wall power of dense models
 * on a PC with an RTX 4090; a line over the parameters gives seconds and watts at the sizes of the AGX curves. That, and its prefill,
 * which the table lacks (taken as the AGX's, faster by the ratio of decode times), makes those curves estimated.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/nnls.h"
#include "base/stats.h"
#include "pipeline/profile_import.h"

enum { MAX_MODELS = 64, MAX_METRICS = 512, MAX_SPEEDS = 64 };

/* A prompt pass does 2·parameters operations a token, so on one engine tokens/s · parameters is about the same for all sizes (within
 * 1.3 in the published table). Above this share of the median, the prompt was not computed. */
static const double CACHED_RATIO = 1.5;

static const struct {
    const char *model;
    double params_b;
} PARAMS[] = {
    /* the models' own cards */
    {"Qwen2.5-1.5B-Instruct", 1.54}, {"Qwen2.5-3B-Instruct", 3.09}, {"Qwen2.5-7B-Instruct", 7.62},
    {"Bielik-11B", 11.17},           {"Llama 3.2:3b", 3.21},        {"DeepSeek R1 14b", 14.77},
};

double profile_params_b(const char *model)
{
    for (size_t i = 0; i < sizeof PARAMS / sizeof *PARAMS; i++)
        if (strcmp(PARAMS[i].model, model) == 0)
            return PARAMS[i].params_b;
    return 0;
}

struct card {
    char model[80], quant[24], backend[24];
    double prompt, output, ttft_s, tok_s, j_token;
    double params_b;
    bool cached;
};

/* A row of detail.csv. NaN: not given. */
struct metric {
    char model[80], name[40];
    double min, p50, p95, max, n;
};

struct published {
    struct card cards[MAX_MODELS];
    struct metric metrics[MAX_METRICS];
    int n_cards, n_metrics;
    double speed_params[MAX_SPEEDS], seconds[MAX_SPEEDS], watts[MAX_SPEEDS]; /* RTX 4090 */
    int n_speeds;
};

static void copy_text(char *out, size_t n, const char *text)
{
    snprintf(out, n, "%.*s", (int)n - 1, text ? text : "");
}

/* ---- the files ---- */

static int take_card(struct published *p, const struct records *r, struct err *err)
{
    const char *model = NULL;
    int rc = records_need(&model, NULL, r, "model", err);
    if (!rc && p->n_cards == MAX_MODELS)
        rc = err_set(err, MOE2_ELIMIT, "%s: more than %d models", reader_path(records_reader(r)),
                     MAX_MODELS);
    if (rc)
        return rc;
    struct card *c = &p->cards[p->n_cards];
    copy_text(c->model, sizeof c->model, model);
    copy_text(c->quant, sizeof c->quant, records_field(r, "quant", NULL));
    copy_text(c->backend, sizeof c->backend, records_field(r, "backend", NULL));
    c->params_b = profile_params_b(c->model);
    rc = profile_number(&c->prompt, r, "in_tokens_target", 1, 1, err);
    if (!rc)
        rc = profile_number(&c->output, r, "out_tokens_target", 2, 1, err);
    if (!rc)
        rc = profile_number(&c->ttft_s, r, "ttft_p50_ms", 1e-3, 1e-3, err);
    if (!rc)
        rc = profile_number(&c->tok_s, r, "decode_tok_s_p50", 1e-3, 1, err);
    if (!rc)
        rc = profile_number(&c->j_token, r, "j_per_out_token", 0, 1, err);
    if (!rc)
        p->n_cards++;
    return rc;
}

static int optional(double *out, const struct records *r, const char *field, struct err *err)
{
    const char *text = records_field(r, field, NULL);
    *out = NAN;
    return text && *text ? profile_number(out, r, field, 0, 1, err) : 0;
}

static int take_metric(struct published *p, const struct records *r, struct err *err)
{
    const char *model = NULL, *name = NULL;
    if (p->n_metrics == MAX_METRICS)
        return err_set(err, MOE2_ELIMIT, "%s: more than %d rows", reader_path(records_reader(r)),
                       MAX_METRICS);
    struct metric *m = &p->metrics[p->n_metrics];
    int rc = records_need(&model, NULL, r, "model", err);
    if (!rc)
        rc = records_need(&name, NULL, r, "metric", err);
    copy_text(m->model, sizeof m->model, model);
    copy_text(m->name, sizeof m->name, name);
    if (!rc)
        rc = optional(&m->min, r, "min", err);
    if (!rc)
        rc = optional(&m->p50, r, "p50", err);
    if (!rc)
        rc = optional(&m->p95, r, "p95", err);
    if (!rc)
        rc = optional(&m->max, r, "max", err);
    if (!rc)
        rc = optional(&m->n, r, "n", err);
    if (!rc)
        p->n_metrics++;
    return rc;
}

/* Rows of a PC with an RTX 4090 (a footnote's mark after the name is another bus), a dense model of known size and a metered wall. */
static int take_speed(struct published *p, const struct records *r, struct err *err)
{
    const char *section = records_field(r, "section", NULL);
    const char *system = records_field(r, "system", NULL);
    const char *device = records_field(r, "dev", NULL), *watts = records_field(r, "peak_w", NULL);
    double params = section ? profile_params_b(section) : 0, tok_s = 0, w = 0;
    if (params == 0 || !system || !strstr(system, "RTX 4090)") || !device ||
        strcmp(device, "GPU") != 0 || !watts || strcmp(watts, "N/A") == 0)
        return 0;
    if (p->n_speeds == MAX_SPEEDS)
        return err_set(err, MOE2_ELIMIT, "%s: more than %d rows of an RTX 4090",
                       reader_path(records_reader(r)), MAX_SPEEDS);
    int rc = profile_number(&tok_s, r, "tok_s", 1e-3, 1, err);
    if (!rc)
        rc = profile_number(&w, r, "peak_w", 0, 1, err);
    if (rc)
        return rc;
    p->speed_params[p->n_speeds] = params;
    p->seconds[p->n_speeds] = 1 / tok_s;
    p->watts[p->n_speeds++] = w;
    return 0;
}

static int read_rows(struct published *p, const char *dir, const char *name, bool needed,
                     int (*take)(struct published *, const struct records *, struct err *),
                     struct err *err)
{
    struct records_options form = {.form = RECORDS_CSV, .max_record_bytes = 1 << 16};
    struct records *r = NULL;
    char *path = path_join(dir, name);
    if (!path)
        return err_set(err, MOE2_ELIMIT, "no memory for a name");
    int rc = 0;
    bool got = needed || file_exists(path);
    if (got)
        rc = records_open(&r, path, &form, err);
    while (got && !rc && !(rc = records_next(r, &got, err)) && got)
        rc = take(p, r, err);
    records_close(r);
    free(path);
    return rc;
}

/* ---- the curves of the AGX ---- */

static const struct metric *metric_of(const struct published *p, const struct card *c,
                                      const char *name)
{
    char base[80], wanted[120];
    copy_text(base, sizeof base, c->model);
    char *instruct = strstr(base, "-Instruct");
    if (instruct)
        *instruct = 0;
    snprintf(wanted, sizeof wanted, "%.79s-%.23s", base, c->quant);
    for (int i = 0; i < p->n_metrics; i++)
        if (strcmp(p->metrics[i].model, wanted) == 0 && strcmp(p->metrics[i].name, name) == 0)
            return &p->metrics[i];
    return NULL;
}

static void find_cached(struct published *p, struct buf *notes)
{
    for (int i = 0; i < p->n_cards; i++) {
        double rates[MAX_MODELS], own = p->cards[i].prompt / p->cards[i].ttft_s;
        int n = 0;
        for (int j = 0; j < p->n_cards; j++)
            if (p->cards[j].params_b > 0 && strcmp(p->cards[j].backend, p->cards[i].backend) == 0)
                rates[n++] = p->cards[j].prompt / p->cards[j].ttft_s * p->cards[j].params_b;
        double median = stats_median(rates, n);
        p->cards[i].cached = n >= 3 && own * p->cards[i].params_b > CACHED_RATIO * median;
        if (p->cards[i].cached)
            buf_printf(notes, NULL,
                       "%s/%s left out: its time to first token (%.1f ms for %.0f tokens) looks "
                       "cached, %.1f times as fast as the other sizes on %s allow\n",
                       p->cards[i].model, p->cards[i].quant, p->cards[i].ttft_s * 1e3,
                       p->cards[i].prompt, own * p->cards[i].params_b / median,
                       p->cards[i].backend);
    }
}

static int64_t runs_of(const struct metric *m)
{
    return m && m->n > 0 ? (int64_t)m->n : 0;
}

/* The points of single requests, or the one that follows from the decode speed. */
static int64_t latency_points(struct curve_point *out, const struct published *p,
                              const struct card *c, double *prompt, const char **note)
{
    const struct metric *ttft = metric_of(p, c, "ttft_ms"),
                        *e2e = metric_of(p, c, "e2e_latency_ms");
    const struct metric *rate = metric_of(p, c, "prefill_tok_s"),
                        *length = metric_of(p, c, "output_tokens");
    *prompt = c->prompt;
    if (!ttft || !e2e || !rate || !length || !(rate->p50 > 0) || !(ttft->p50 > 0)) {
        *note = "points: time to first token, and the answer's time by the decode speed";
        out[0] = (struct curve_point){c->prompt, 1, c->ttft_s, NAN, 0};
        out[1] = (struct curve_point){c->prompt, c->output, c->ttft_s + (c->output - 1) / c->tok_s,
                                      NAN, 0};
        return 2;
    }
    *note =
        "points: time to first token (spread: p95 - p50); lowest, median and highest latency of "
        "the requests, taken at the lowest, median and highest answer length";
    *prompt = round(ttft->p50 * 1e-3 * rate->p50);
    double lengths[3] = {length->min, length->p50, length->max};
    double values[3] = {e2e->min, e2e->p50, e2e->max};
    out[0] = (struct curve_point){*prompt, 1, ttft->p50 * 1e-3, (ttft->p95 - ttft->p50) * 1e-3,
                                  runs_of(ttft)};
    int64_t n = 1;
    for (int i = 0; i < 3; i++)
        if (isfinite(lengths[i]) && isfinite(values[i]))
            out[n++] =
                (struct curve_point){*prompt, lengths[i], values[i] * 1e-3, NAN, runs_of(e2e)};
    return n;
}

/* One point: joules of a request at the mean answer length, or of the target length. */
static void energy_point(struct curve_point *out, const struct published *p, const struct card *c,
                         double prompt)
{
    const struct metric *request = metric_of(p, c, "energy_per_request_j");
    const struct metric *token = metric_of(p, c, "energy_per_output_token_j");
    *out = (struct curve_point){prompt, c->output, c->j_token * c->output, NAN, 0};
    if (request && token && request->p50 > 0 && token->p50 > 0)
        *out = (struct curve_point){prompt, request->p50 / token->p50, request->p50, NAN,
                                    runs_of(request)};
}

static int new_curve(struct curve **out, struct curves *c, const char *model, const char *quant,
                     const char *device, const char *unit, enum curve_source source,
                     struct err *err)
{
    char name[160];
    snprintf(name, sizeof name, "%s/%s@%s", model, quant, device);
    int rc = curves_add(out, c, name, err);
    if (rc)
        return rc;
    (*out)->device = arena_strdup(&c->memory, device, err);
    (*out)->unit = unit;
    (*out)->source = source;
    return (*out)->device ? 0 : MOE2_ELIMIT;
}

static int give_points(struct curve *out, struct curves *c, const struct curve_point *points,
                       int64_t n, const char *note, struct err *err)
{
    out->points = arena_alloc(&c->memory, (size_t)n * sizeof *points, err);
    if (!out->points)
        return MOE2_ELIMIT;
    memcpy(out->points, points, (size_t)n * sizeof *points);
    out->n_points = n;
    out->note = note; /* a constant */
    return curve_fit_points(out, err);
}

static int card_curves(struct profile_set *s, const struct published *p, const struct card *c,
                       struct err *err)
{
    struct curve *curve = NULL;
    struct curve_point points[4];
    const char *note = NULL;
    double prompt = 0;
    int64_t n = latency_points(points, p, c, &prompt, &note);
    int rc =
        new_curve(&curve, &s->latency, c->model, c->quant, "agx-orin", "s", CURVE_PUBLISHED, err);
    if (!rc)
        rc = give_points(curve, &s->latency, points, n, note, err);
    energy_point(points, p, c, prompt);
    if (!rc)
        rc = new_curve(&curve, &s->energy, c->model, c->quant, "agx-orin", "J", CURVE_PUBLISHED,
                       err);
    if (!rc)
        rc =
            give_points(curve, &s->energy, points, 1,
                        "rails GPU_SOC + CPU_CV; published per output token, so the prompt's share "
                        "is within it",
                        err);
    return rc;
}

/* ---- the curves of the RTX 4090 ---- */

/* c[0] + c[1]·params ≥ 0 through the rows. */
static int line(double c[2], const struct published *p, const double *values, struct err *err)
{
    double A[MAX_SPEEDS * 2];
    for (int i = 0; i < p->n_speeds; i++) {
        A[2 * i] = 1;
        A[2 * i + 1] = p->speed_params[i];
    }
    return nnls(c, A, values, p->n_speeds, 2, err);
}

static int rtx_curves(struct profile_set *s, const struct published *p, struct err *err)
{
    static const char NOTE[] =
        "from a table of decode speeds and wall power of dense models on a PC with an RTX 4090, a "
        "line over the parameters; the prompt's time is the AGX Orin's, shorter by the ratio of "
        "decode times, its energy that time at the same power";
    double seconds[2], watts[2];
    if (p->n_speeds < 2)
        return 0;
    int rc = line(seconds, p, p->seconds, err), n = s->latency.n;
    if (!rc)
        rc = line(watts, p, p->watts, err);
    for (int i = 0; i < n && !rc; i++) {
        char model[80];
        snprintf(model, sizeof model, "%.79s", s->latency.list[i].expert);
        char *slash = strchr(model, '/');
        if (!slash || strncmp(slash, "/AWQ@", 5) != 0)
            continue;
        *slash = 0;
        struct curve_fit agx = s->latency.list[i].fit;
        double params = profile_params_b(model), w = watts[0] + watts[1] * params;
        struct curve_fit fit = {.decode = seconds[0] + seconds[1] * params};
        fit.prefill = agx.decode > 0 ? agx.prefill * fit.decode / agx.decode : 0;
        struct curve *curve = NULL;
        rc = new_curve(&curve, &s->latency, model, "4bit", "rtx-4090-like", "s", CURVE_ESTIMATED,
                       err);
        if (!rc) {
            curve->fit = fit;
            curve->note = NOTE;
            rc = new_curve(&curve, &s->energy, model, "4bit", "rtx-4090-like", "J", CURVE_ESTIMATED,
                           err);
        }
        if (!rc) {
            curve->fit = (struct curve_fit){0, w * fit.prefill, w * fit.decode};
            curve->note = NOTE;
        }
    }
    return rc;
}

int profile_import_published(struct profile_set *s, const char *dir, struct err *err)
{
    struct published *p = calloc(1, sizeof *p);
    int rc = p ? 0 : err_set(err, MOE2_ELIMIT, "no memory for the published tables");
    if (!rc)
        rc = read_rows(p, dir, "scorecard.csv", true, take_card, err);
    if (!rc)
        rc = read_rows(p, dir, "detail.csv", false, take_metric, err);
    if (!rc)
        rc = read_rows(p, dir, "table.csv", false, take_speed, err);
    if (!rc)
        find_cached(p, &s->notes);
    for (int i = 0; p && i < p->n_cards && !rc; i++)
        if (!p->cards[i].cached)
            rc = card_curves(s, p, &p->cards[i], err);
    if (!rc)
        rc = rtx_curves(s, p, err);
    free(p);
    return rc;
}
