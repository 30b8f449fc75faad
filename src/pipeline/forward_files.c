/* What the step "forward" reports: a line a question, tables by category and expert, and the whole as forward.json. */
#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "io/json_util.h"
#include "pipeline/forward_parts.h"

/* ---- a line a question ---- */

static const char *letter(char text[2], int option)
{
    if (option < 0)
        return NULL;
    text[0] = (char)('A' + option);
    text[1] = 0;
    return text;
}

/* 1, 0 and −1 as true, false and null. */
static void truth(struct json_writer *w, const char *key, int value)
{
    if (value < 0)
        jw_null(w, key);
    else
        jw_bool(w, key, value);
}

static void write_asked(struct json_writer *j, const struct forward_work *w,
                        const struct forward_walk *walk, int64_t i)
{
    char text[2];
    jw_array(j, "asked");
    for (int a = 0; a < walk->n_asked; a++) {
        int e = walk->asked[a];
        jw_object(j, NULL);
        jw_text(j, "expert", w->answers.names[e]);
        jw_int(j, "rank", a + 1);
        jw_f32(j, "score", w->scores[i * w->answers.n_experts + e]);
        jw_text(j, "answer", w->answers.options ? letter(text, walk->replies[a].option) : NULL);
        truth(j, "right", walk->replies[a].right);
        jw_end(j);
    }
    jw_end(j);
}

static void write_totals(struct json_writer *j, const struct forward_work *w,
                         const struct forward_walk *walk)
{
    char text[2];
    jw_object(j, "totals");
    for (int o = 0; o < VOTE_MAX_OPTIONS; o++) {
        bool given = false;
        for (int a = 0; a < walk->n_asked; a++)
            given |= walk->replies[a].option == o;
        if (given)
            jw_real(j,
                    w->answers.options ? letter(text, o)
                    : o                ? "wrong"
                                       : "right",
                    walk->totals[o]);
    }
    jw_end(j);
}

int forward_line(struct buf *out, const struct forward_work *w, const struct forward_walk *walk,
                 int64_t i, struct err *err)
{
    struct json_writer j;
    char text[2], why[120];
    const struct answers *a = &w->answers;
    int64_t row = w->rows[i];
    int n_in = __builtin_popcountll(w->subset);
    if (walk->n_asked < n_in)
        snprintf(why, sizeof why, "the %d of %d in service with the largest gate scores",
                 walk->n_asked, n_in);
    else
        snprintf(why, sizeof why, "all %d in service", n_in);
    json_writer_init(&j, out, 0);
    jw_object(&j, NULL);
    jw_text(&j, "id", a->ids[row]);
    if (a->category[row] >= 0)
        jw_text(&j, "category", a->categories[a->category[row]]);
    write_asked(&j, w, walk, i);
    jw_text(&j, "why", why);
    jw_text(&j, "combine", forward_combine_name(w->combine));
    write_totals(&j, w, walk);
    jw_text(&j, "answer", a->options ? letter(text, walk->option) : NULL);
    truth(&j, "right", walk->right);
    jw_end(&j);
    int rc = json_writer_end(&j, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

/* ---- the report ---- */

static bool is_right(const struct forward_work *w, int64_t i, int e)
{
    return w->answers.outcomes[w->rows[i] * w->answers.n_experts + e] == 1;
}

/* The expert of the subset that is right most often on these questions; the lowest of equals. */
static int best_single(const struct forward_work *w)
{
    int best = 0;
    int64_t most = -1;
    for (int e = 0; e < w->answers.n_experts; e++) {
        int64_t n = 0;
        if (!(w->subset >> e & 1))
            continue;
        for (int64_t i = 0; i < w->n; i++)
            n += is_right(w, i, e);
        if (n > most) {
            most = n;
            best = e;
        }
    }
    return best;
}

static bool anybody(const struct forward_work *w, int64_t i)
{
    for (int e = 0; e < w->answers.n_experts; e++)
        if ((w->subset >> e & 1) && is_right(w, i, e))
            return true;
    return false;
}

static int table_by_category(struct table **out, const struct forward_work *w, int best,
                             struct err *err)
{
    const struct table_column columns[] = {{"category", TABLE_LEFT},
                                           {"questions", TABLE_RIGHT},
                                           {"right %", TABLE_RIGHT},
                                           {"best single %", TABLE_RIGHT}};
    int rc = table_new(out, columns, 4, err);
    for (int c = 0; c < w->answers.n_categories && !rc; c++) {
        int64_t n = 0, right = 0, single = 0;
        for (int64_t i = 0; i < w->n; i++) {
            if (w->answers.category[w->rows[i]] != c)
                continue;
            n++;
            right += w->right[i];
            single += is_right(w, i, best);
        }
        if (n == 0)
            continue;
        table_cell(*out, "%s", w->answers.categories[c]);
        table_cell(*out, "%lld", (long long)n);
        table_cell(*out, "%.1f", 100 * (double)right / (double)n);
        table_cell(*out, "%.1f", 100 * (double)single / (double)n);
    }
    return rc;
}

static int table_by_expert(struct table **out, const struct forward_work *w, struct err *err)
{
    const struct table_column columns[] = {
        {"expert", TABLE_LEFT}, {"asked %", TABLE_RIGHT}, {"right alone %", TABLE_RIGHT}};
    int rc = table_new(out, columns, 3, err);
    for (int e = 0; e < w->answers.n_experts && !rc; e++) {
        int64_t right = 0;
        if (!(w->subset >> e & 1))
            continue;
        for (int64_t i = 0; i < w->n; i++)
            right += is_right(w, i, e);
        table_cell(*out, "%s", w->answers.names[e]);
        table_cell(*out, "%.1f", 100 * (double)w->n_asked[e] / (double)w->n);
        table_cell(*out, "%.1f", 100 * (double)right / (double)w->n);
    }
    return rc;
}

int forward_report_fill(struct forward_report *r, const struct forward_work *w, struct err *err)
{
    double *own = malloc((size_t)w->n * 2 * sizeof *own);
    if (!own)
        return err_set(err, MOE2_ELIMIT, "no memory for %lld results", (long long)w->n);
    double *single = own + w->n;
    int best = best_single(w);
    int64_t n_any = 0, n_asked = 0, n_single = 0;
    r->n = w->n;
    r->partial = w->live && w->k < __builtin_popcountll(w->subset);
    for (int64_t i = 0; i < w->n; i++) {
        own[i] = w->right[i];
        single[i] = is_right(w, i, best);
        r->n_right += w->right[i];
        n_single += is_right(w, i, best);
        n_any += anybody(w, i);
    }
    for (int e = 0; e < w->answers.n_experts; e++)
        n_asked += w->n_asked[e];
    r->asked = (double)n_asked / (double)w->n;
    r->oracle = (double)n_any / (double)w->n;
    r->accuracy = stats_share95(r->n_right, w->n);
    r->best_single = stats_share95(n_single, w->n);
    r->gain = stats_paired95(own, single, w->n);
    snprintf(r->best_name, sizeof r->best_name, "%.79s", w->answers.names[best]);
    free(own);
    int rc = table_by_category(&r->by_category, w, best, err);
    return rc ? rc : table_by_expert(&r->by_expert, w, err);
}

static void write_interval(struct json_writer *j, const char *key, double mean, double low,
                           double high)
{
    jw_object(j, key);
    jw_real(j, "mean", mean);
    jw_real(j, "low", low);
    jw_real(j, "high", high);
    jw_end(j);
}

int forward_write(const struct forward_report *r, const struct forward_work *w,
                  const struct forward_step *step, struct err *err)
{
    struct buf text = {0};
    struct json_writer j;
    char *path = path_join(step->out_dir, "forward.json");
    if (!path)
        return err_set(err, MOE2_ELIMIT, "no memory for a name");
    json_writer_init(&j, &text, 2);
    jw_object(&j, NULL);
    jw_text(&j, "combine", forward_combine_name(step->combine));
    jw_int(&j, "k", w->k);
    jw_array(&j, "subset");
    for (int e = 0; e < w->answers.n_experts; e++)
        if (w->subset >> e & 1)
            jw_text(&j, NULL, w->answers.names[e]);
    jw_end(&j);
    jw_bool(&j, "by_answer", w->answers.options != NULL);
    jw_int(&j, "questions", r->n);
    jw_int(&j, "correct", r->n_right);
    write_interval(&j, "accuracy", r->accuracy.value, r->accuracy.low, r->accuracy.high);
    jw_real(&j, "asked", r->asked);
    if (!r->partial) {
        jw_text(&j, "best_single_name", r->best_name);
        write_interval(&j, "best_single", r->best_single.value, r->best_single.low,
                       r->best_single.high);
        write_interval(&j, "gain", r->gain.mean, r->gain.low, r->gain.high);
        jw_real(&j, "oracle", r->oracle);
    }
    jw_end(&j);
    int rc = json_writer_file(&j, path, err);
    buf_release(&text);
    free(path);
    return rc;
}
