/* Measurements to curves: a CSV with a row a run: see profile_import.h. Runs with the same expert and lengths become one point, their median,
 * whose spread is their standard deviation. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/stats.h"
#include "pipeline/profile_import.h"

struct run_row {
    const char *expert, *device; /* of the set's arena */
    double prompt_tokens, output_tokens;
    double latency_s, energy_j; /* energy NaN: not metered */
    enum curve_source latency_source, energy_source;
    const char *latency_note, *energy_note; /* NULL: none */
    int64_t number;                         /* in the file: keeps the order of equal rows */
    int expert_idx;
};

struct runs {
    struct run_row *list;
    int64_t n, capacity;
    const char *names[CURVES_MAX];
    int n_names;
};

int profile_number(double *out, const struct records *r, const char *field, double min,
                   double scale, struct err *err)
{
    const char *text = NULL;
    int rc = records_need(&text, NULL, r, field, err);
    if (rc)
        return rc;
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < min)
        return err_set(
            err, MOE2_EFORMAT, "%s:%lld: %s is \"%.40s\", wanted a number of at least %g",
            reader_path(records_reader(r)), (long long)records_line_number(r), field, text, min);
    *out = value * scale;
    return 0;
}

/* A number whose column may be missing or its cell empty (NaN), in one of two units. */
static int either(double *out, const struct records *r, const char *unit, const char *thousandth,
                  bool needed, struct err *err)
{
    const char *text = records_field(r, unit, NULL), *small = records_field(r, thousandth, NULL);
    *out = NAN;
    if (small && *small)
        return profile_number(out, r, thousandth, 0, 1e-3, err);
    if ((text && *text) || needed)
        return profile_number(out, r, unit, 0, 1, err);
    return 0;
}

static int expert_of(int *out, struct runs *w, struct curves *memory, const char *name,
                     const struct records *r, struct err *err)
{
    for (int i = 0; i < w->n_names; i++)
        if (strcmp(w->names[i], name) == 0) {
            *out = i;
            return 0;
        }
    if (!*name)
        return err_set(err, MOE2_EFORMAT, "%s:%lld: expert is empty, wanted a name",
                       reader_path(records_reader(r)), (long long)records_line_number(r));
    if (w->n_names == CURVES_MAX)
        return err_set(err, MOE2_ELIMIT, "%s: more than %d experts", reader_path(records_reader(r)),
                       CURVES_MAX);
    const char *copy = arena_strdup(&memory->memory, name, err);
    if (!copy)
        return MOE2_ELIMIT;
    w->names[w->n_names] = copy;
    *out = w->n_names++;
    return 0;
}

/* Where a number is from: a column that may be missing, or its cell empty: measured. */
static int source_of(enum curve_source *out, const struct records *r, const char *field,
                     struct err *err)
{
    const char *text = records_field(r, field, NULL);
    *out = CURVE_MEASURED;
    if (!text || !*text)
        return 0;
    for (int i = 0; i < CURVE_N_SOURCES; i++)
        if (strcmp(text, curve_source_name((enum curve_source)i)) == 0) {
            *out = (enum curve_source)i;
            return 0;
        }
    return err_set(err, MOE2_EFORMAT,
                   "%s:%lld: %s is \"%.40s\", wanted measured, estimated or published",
                   reader_path(records_reader(r)), (long long)records_line_number(r), field, text);
}

/* A text of the set's arena, or NULL; rows behind each other mostly have the same one. */
static int note_of(const char **out, const char *before, struct curves *memory,
                   const struct records *r, const char *field, struct err *err)
{
    const char *text = records_field(r, field, NULL);
    *out = NULL;
    if (!text || !*text)
        return 0;
    *out = before && strcmp(before, text) == 0 ? before : arena_strdup(&memory->memory, text, err);
    return *out ? 0 : MOE2_ELIMIT;
}

static int take_notes(struct run_row *row, const struct runs *w, struct curves *memory,
                      const struct records *r, struct err *err)
{
    const struct run_row *before = w->n ? &w->list[w->n - 1] : NULL;
    int rc = note_of(&row->latency_note, before ? before->latency_note : NULL, memory, r,
                     "latency_note", err);
    if (!rc)
        rc = note_of(&row->energy_note, before ? before->energy_note : NULL, memory, r,
                     "energy_note", err);
    return rc;
}

static int take_row(struct runs *w, struct curves *memory, const struct records *r, struct err *err)
{
    const char *expert = NULL, *device = records_field(r, "device", NULL);
    if (w->n == PROFILE_MAX_ROWS)
        return err_set(err, MOE2_ELIMIT, "%s: more than %d rows", reader_path(records_reader(r)),
                       PROFILE_MAX_ROWS);
    if (w->n == w->capacity) {
        int64_t capacity = w->capacity ? 2 * w->capacity : 256;
        struct run_row *list = realloc(w->list, (size_t)capacity * sizeof *list);
        if (!list)
            return err_set(err, MOE2_ELIMIT, "no memory for %lld rows", (long long)capacity);
        w->list = list;
        w->capacity = capacity;
    }
    struct run_row row = {.number = w->n};
    int rc = records_need(&expert, NULL, r, "expert", err);
    if (!rc)
        rc = expert_of(&row.expert_idx, w, memory, expert, r, err);
    if (!rc)
        rc = profile_number(&row.prompt_tokens, r, "prompt_tokens", 0, 1, err);
    if (!rc)
        rc = profile_number(&row.output_tokens, r, "output_tokens", 0, 1, err);
    if (!rc)
        rc = either(&row.latency_s, r, "latency_s", "latency_ms", true, err);
    if (!rc)
        rc = either(&row.energy_j, r, "energy_j", "energy_mj", false, err);
    if (!rc)
        rc = source_of(&row.latency_source, r, "latency_source", err);
    if (!rc)
        rc = source_of(&row.energy_source, r, "energy_source", err);
    if (!rc)
        rc = take_notes(&row, w, memory, r, err);
    if (!rc && device && *device) {
        row.device = arena_strdup(&memory->memory, device, err);
        rc = row.device ? 0 : MOE2_ELIMIT;
    }
    row.expert = rc ? NULL : w->names[row.expert_idx];
    if (!rc)
        w->list[w->n++] = row;
    return rc;
}

static int by_point(const void *a, const void *b)
{
    const struct run_row *x = a, *y = b;
    if (x->expert_idx != y->expert_idx)
        return x->expert_idx < y->expert_idx ? -1 : 1;
    if (x->prompt_tokens != y->prompt_tokens)
        return x->prompt_tokens < y->prompt_tokens ? -1 : 1;
    if (x->output_tokens != y->output_tokens)
        return x->output_tokens < y->output_tokens ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

/* The point of the rows [0, n) in one measure; false when none was metered. */
static bool point_of(struct curve_point *out, const struct run_row *rows, int64_t n, bool energy,
                     double *values)
{
    int64_t n_values = 0;
    for (int64_t i = 0; i < n; i++) {
        double value = energy ? rows[i].energy_j : rows[i].latency_s;
        if (!isnan(value))
            values[n_values++] = value;
    }
    double spread = stats_deviation(values, n_values);
    *out = (struct curve_point){rows->prompt_tokens, rows->output_tokens,
                                stats_median(values, n_values), spread, n_values};
    return n_values > 0;
}

/* What a curve must be called: measured only where every row is. */
static enum curve_source weakest(const struct run_row *rows, int64_t n, bool energy)
{
    for (int64_t i = 0; i < n; i++) {
        enum curve_source s = energy ? rows[i].energy_source : rows[i].latency_source;
        if (s != CURVE_MEASURED)
            return s;
    }
    return CURVE_MEASURED;
}

/* The curve of the rows [0, n) of one expert in one measure; none when nothing was metered. */
static int curve_of(struct curves *c, const struct run_row *rows, int64_t n, bool energy,
                    double *values, struct err *err)
{
    struct curve *curve = NULL;
    struct curve_point *points = arena_alloc(&c->memory, (size_t)n * sizeof *points, err);
    if (!points)
        return MOE2_ELIMIT;
    int64_t n_points = 0;
    for (int64_t i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && rows[next].prompt_tokens == rows[i].prompt_tokens &&
                           rows[next].output_tokens == rows[i].output_tokens;)
            next++;
        if (n_points == CURVES_MAX_POINTS)
            return err_set(err, MOE2_ELIMIT, "\"%.80s\" has more than %d points", rows->expert,
                           CURVES_MAX_POINTS);
        n_points += point_of(&points[n_points], rows + i, next - i, energy, values);
    }
    if (n_points == 0)
        return 0;
    int rc = curves_add(&curve, c, rows->expert, err);
    if (rc)
        return rc;
    curve->unit = energy ? "J" : "s";
    curve->device = rows->device;
    curve->note = energy ? rows->energy_note : rows->latency_note;
    curve->source = weakest(rows, n, energy);
    curve->points = points;
    curve->n_points = n_points;
    return curve_fit_points(curve, err);
}

static int make_curves(struct profile_set *s, const struct runs *w, struct err *err)
{
    double *values = malloc(((size_t)w->n + 1) * sizeof *values);
    int rc = values ? 0 : err_set(err, MOE2_ELIMIT, "no memory for %lld rows", (long long)w->n);
    for (int64_t i = 0, next; i < w->n && !rc; i = next) {
        for (next = i + 1; next < w->n && w->list[next].expert_idx == w->list[i].expert_idx;)
            next++;
        rc = curve_of(&s->latency, w->list + i, next - i, false, values, err);
        if (!rc)
            rc = curve_of(&s->energy, w->list + i, next - i, true, values, err);
    }
    free(values);
    return rc;
}

int profile_import_measured(struct profile_set *s, const char *path, struct err *err)
{
    struct records_options form = {.form = RECORDS_CSV, .max_record_bytes = 1 << 16};
    struct records *r = NULL;
    struct runs *w = calloc(1, sizeof *w);
    int rc = w ? records_open(&r, path, &form, err) : err_set(err, MOE2_ELIMIT, "no memory");
    bool got = false;
    while (!rc && !(rc = records_next(r, &got, err)) && got)
        rc = take_row(w, &s->latency, r, err);
    if (!rc && w->n == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no row, wanted a measurement a row", path);
    if (!rc) {
        qsort(w->list, (size_t)w->n, sizeof *w->list, by_point);
        rc = make_curves(s, w, err);
    }
    records_close(r);
    if (w)
        free(w->list);
    free(w);
    return rc;
}

int profile_import(struct profile_set *s, const char *path, struct err *err)
{
    return file_is_dir(path) ? profile_import_published(s, path, err)
                             : profile_import_measured(s, path, err);
}

void profile_set_release(struct profile_set *s)
{
    curves_release(&s->latency);
    curves_release(&s->energy);
    buf_release(&s->notes);
}
