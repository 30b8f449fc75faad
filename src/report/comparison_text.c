/* What came out of a comparison, in words, tables and JSON: see comparison.h. The words are made from the intervals alone, so that they
 * can't say more than the numbers do. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/json_util.h"
#include "report/comparison.h"

static const char *baseline_label(const struct comparison *c)
{
    return c->baseline >= 0 ? c->routers[c->baseline].label : "the baseline";
}

/* ---- the finding ---- */

static int most_pairs(const struct comparison *c)
{
    int64_t most = 0;
    for (int i = 0; i < c->n_routers; i++)
        if (i != c->baseline && c->routers[i].loss_difference.n > most)
            most = c->routers[i].loss_difference.n;
    return (int)most;
}

static bool is_side(const struct comparison *c, int i, int side)
{
    const struct stats_interval *d = &c->routers[i].loss_difference;
    return i != c->baseline && comparison_differs(d) && (side < 0 ? d->mean < 0 : d->mean > 0);
}

static int count_side(const struct comparison *c, int side)
{
    int n = 0;
    for (int i = 0; i < c->n_routers; i++)
        n += is_side(c, i, side);
    return n;
}

/* "aux (−0.0123 ± 0.0040) and random (…)": the routers whose loss is lower (side −1) or higher (1). */
static int put_side(struct buf *out, const struct comparison *c, int side, struct err *err)
{
    int n = count_side(c, side), seen = 0, rc = 0;
    for (int i = 0; i < c->n_routers && !rc; i++) {
        char text[MEASURE_TEXT_BYTES];
        if (!is_side(c, i, side))
            continue;
        rc = buf_printf(out, err, "%s%s (%s)",
                        seen == 0       ? ""
                        : seen == n - 1 ? " and "
                                        : ", ",
                        c->routers[i].label,
                        measure_text(text, &c->routers[i].loss_difference, 4, 1));
        seen++;
    }
    return rc;
}

/* Two seeds can differ alike by chance, and then look certain. */
static int put_caution(struct buf *out, int n_pairs, struct err *err)
{
    return n_pairs > 2
               ? 0
               : buf_puts(out, " Two seeds are few: their intervals rest on one degree of freedom.",
                          err);
}

static int put_rd_esi(struct buf *out, const struct comparison *c, struct err *err)
{
    char text[MEASURE_TEXT_BYTES];
    int rc = 0;
    for (int i = 0; i < c->n_routers && !rc; i++) {
        const struct comparison_entry *r = &c->routers[i];
        const struct stats_interval *d = &r->loss_difference;
        if (strncmp(r->label, "rd_esi", 6) != 0 || d->n < 2 || i == c->baseline)
            continue;
        const char *verdict = !comparison_differs(d) ? "can't be told from"
                              : d->mean < 0          ? "is better than"
                                                     : "is worse than";
        rc = buf_printf(out, err, " %s %s %s in test loss (%s nats a token)", r->label, verdict,
                        baseline_label(c), measure_text(text, d, 4, 1));
        if (!rc && comparison_differs(&r->vio_difference))
            rc = buf_printf(out, err, ", and its loads are %s even (MaxVio %.2f against %.2f)",
                            r->vio_difference.mean < 0 ? "more" : "less",
                            r->value[MEASURE_MAX_VIO_GLOBAL].mean,
                            c->routers[c->baseline].value[MEASURE_MAX_VIO_GLOBAL].mean);
        if (!rc)
            rc = buf_puts(out, ".", err);
    }
    return rc;
}

int comparison_finding(struct buf *out, const struct comparison *c, struct err *err)
{
    int n_pairs = most_pairs(c), lower = count_side(c, -1), higher = count_side(c, 1), rc = 0;
    const char *base = baseline_label(c);
    if (c->baseline < 0)
        return buf_puts(out, "There is no baseline among these runs, so nothing is compared.", err);
    if (c->n_routers == 1)
        return buf_printf(out, err, "Only %s was trained, so nothing is compared.", base);
    if (n_pairs == 0)
        return buf_printf(out, err, "No router has finished a seed together with %s yet.", base);
    if (n_pairs == 1)
        return buf_printf(out, err,
                          "One seed can't tell the routers from %s: a seed alone changes the loss, "
                          "and how much is not known from one.",
                          base);
    if (lower + higher == 0) {
        rc = buf_printf(out, err,
                        "No router differs from %s in test loss by more than the seeds do (%d "
                        "seeds, paired 95 %% intervals).",
                        base, n_pairs);
        if (!rc)
            rc = put_rd_esi(out, c, err);
        return rc ? rc : put_caution(out, n_pairs, err);
    }
    rc = buf_printf(out, err, "Against %s, ", base);
    if (!rc && lower)
        rc = put_side(out, c, -1, err);
    if (!rc && lower)
        rc = buf_printf(out, err, " %s a lower test loss", lower > 1 ? "have" : "has");
    if (!rc && higher)
        rc = buf_puts(out, lower ? "; " : "", err);
    if (!rc && higher)
        rc = put_side(out, c, 1, err);
    if (!rc && higher)
        rc = buf_printf(out, err, " %s a higher %s", higher > 1 ? "have" : "has",
                        lower ? "one" : "test loss");
    if (!rc && lower + higher < c->n_routers - 1)
        rc = buf_puts(out, "; the others do not differ by more than the seeds do", err);
    if (!rc)
        rc = buf_printf(out, err, " (nats a token, %d seeds, paired 95 %% intervals).", n_pairs);
    if (!rc)
        rc = put_rd_esi(out, c, err);
    return rc ? rc : put_caution(out, n_pairs, err);
}

/* ---- tables ---- */

static const enum measure_kind QUALITY[] = {MEASURE_TEST_LOSS, MEASURE_BITS_PER_BYTE, MEASURE_PPL};
static const enum measure_kind BALANCE[] = {MEASURE_MAX_VIO_BATCH, MEASURE_MAX_VIO_GLOBAL,
                                            MEASURE_LOAD_CV,       MEASURE_LOAD_ENTROPY,
                                            MEASURE_DEAD_EXPERTS,  MEASURE_DROP_RATE};
static const enum measure_kind COST[] = {MEASURE_TOKENS_PER_S, MEASURE_STEP_MS,
                                         MEASURE_ROUTING_SHARE, MEASURE_PEAK_MEMORY};

const char *const COMPARISON_TABLE_NOTES[COMPARISON_N_TABLES] = {
    "Means over the seeds with 95 % intervals (Student's t). The difference is paired: the same "
    "seed has the same initial weights and "
    "the same order of data. \"differs\" says whether its interval leaves out 0; of twenty such "
    "intervals one does by chance.",
    "Loads on the evaluated text, means over the layers: 0 MaxVio, 0 CV and 1 entropy are perfect "
    "balance.",
    "Time of one training step (the median of a run), its share spent on routing, and the largest "
    "memory of the process.",
};

static void value_cell(struct table *t, const struct comparison_entry *e, enum measure_kind k)
{
    char text[MEASURE_TEXT_BYTES];
    table_cell(t, "%s", measure_text(text, &e->value[k], MEASURES[k].decimals, 0));
}

static void quality_tail(struct table *t, const struct comparison *c, int i)
{
    char text[MEASURE_TEXT_BYTES];
    const struct stats_interval *d = &c->routers[i].loss_difference;
    if (i == c->baseline || c->baseline < 0 || d->n == 0) {
        table_cell(t, "–");
        table_cell(t, "–");
        return;
    }
    table_cell(t, "%s", measure_text(text, d, 4, 1));
    table_cell(t, "%s", d->n < 2 ? "?" : comparison_differs(d) ? "yes" : "no");
}

static void cost_tail(struct table *t, const struct comparison *c, int i)
{
    const struct stats_interval *d = &c->routers[i].step_difference;
    double base = c->baseline >= 0 ? c->routers[c->baseline].value[MEASURE_STEP_MS].mean : NAN;
    struct stats_interval percent = {100 * d->mean / base, 100 * d->low / base,
                                     100 * d->high / base, 100 * d->half_width / base, d->n};
    char text[MEASURE_TEXT_BYTES];
    if (i == c->baseline || d->n == 0)
        table_cell(t, "–");
    else
        table_cell(t, "%s", measure_text(text, &percent, 1, 1));
}

int comparison_table(struct table **out, const struct comparison *c, int which, struct err *err)
{
    const enum measure_kind *kinds = which == 0 ? QUALITY : which == 1 ? BALANCE : COST;
    int n_kinds = which == 0 ? 3 : which == 1 ? 6 : 4, n = 0;
    struct table_column columns[12] = {{"router", TABLE_LEFT}};
    struct table *t = NULL;
    char against[96];
    snprintf(against, sizeof against, which ? "step against %.40s, %%" : "loss minus that of %.40s",
             baseline_label(c));
    n = 1;
    if (which == 0)
        columns[n++] = (struct table_column){"seeds", TABLE_RIGHT};
    for (int k = 0; k < n_kinds; k++)
        columns[n++] = (struct table_column){MEASURES[kinds[k]].title, TABLE_RIGHT};
    if (which != 1)
        columns[n++] = (struct table_column){against, TABLE_RIGHT};
    if (which == 0)
        columns[n++] = (struct table_column){"differs", TABLE_LEFT};
    int rc = table_new(&t, columns, n, err);
    if (rc)
        return rc;
    for (int i = 0; i < c->n_routers; i++) {
        const struct comparison_entry *e = &c->routers[i];
        table_cell(t, "%s", e->label);
        if (which == 0)
            table_cell(t, "%d", e->n_finished);
        for (int k = 0; k < n_kinds; k++)
            value_cell(t, e, kinds[k]);
        if (which == 0)
            quality_tail(t, c, i);
        if (which == 2)
            cost_tail(t, c, i);
    }
    *out = t;
    return 0;
}

int comparison_ablation_table(struct table **out, const struct comparison *c, struct err *err)
{
    char against[96], text[MEASURE_TEXT_BYTES];
    struct table *t = NULL;
    snprintf(against, sizeof against, "loss minus that of %.40s",
             c->ablated.label ? c->ablated.label : "?");
    const struct table_column columns[] = {
        {"variant", TABLE_LEFT},           {"seeds", TABLE_RIGHT},
        {MEASURES[0].title, TABLE_RIGHT},  {against, TABLE_RIGHT},
        {"differs", TABLE_LEFT},           {"MaxVio, global", TABLE_RIGHT},
        {"MaxVio difference", TABLE_RIGHT}};
    int rc = table_new(&t, columns, 7, err);
    if (rc)
        return rc;
    for (int i = -1; i < c->n_variants && c->n_variants; i++) {
        const struct comparison_entry *e = i < 0 ? &c->ablated : &c->variants[i];
        const struct stats_interval *d = &e->loss_difference;
        table_cell(t, i < 0 ? "%s, whole" : "%s", e->label);
        table_cell(t, "%d", e->n_finished);
        value_cell(t, e, MEASURE_TEST_LOSS);
        table_cell(t, "%s", i < 0 || d->n == 0 ? "–" : measure_text(text, d, 4, 1));
        table_cell(t, "%s",
                   i < 0 || d->n == 0      ? "–"
                   : d->n < 2              ? "?"
                   : comparison_differs(d) ? "yes"
                                           : "no");
        value_cell(t, e, MEASURE_MAX_VIO_GLOBAL);
        table_cell(t, "%s",
                   i < 0 || d->n == 0 ? "–" : measure_text(text, &e->vio_difference, 3, 1));
    }
    *out = t;
    return 0;
}

int comparison_sweep_table(struct table **out, const struct comparison *c, struct err *err)
{
    static const struct table_column columns[] = {{"parameter", TABLE_LEFT},
                                                  {"value", TABLE_RIGHT},
                                                  {"test loss", TABLE_RIGHT},
                                                  {"MaxVio, global", TABLE_RIGHT}};
    struct table *t = NULL;
    char text[MEASURE_TEXT_BYTES];
    int rc = table_new(&t, columns, 4, err);
    if (rc)
        return rc;
    for (int i = 0; i < c->n_sweeps; i++)
        for (int k = 0; k < c->sweeps[i].n; k++) {
            const struct comparison_sweep *s = &c->sweeps[i];
            table_cell(t, "%s", s->key);
            table_cell(t, "%g%s", s->values[k], s->values[k] == s->initial ? " (start value)" : "");
            table_cell(t, "%s", measure_number(text, s->entry.values[MEASURE_TEST_LOSS][k], 4));
            table_cell(t, "%s",
                       measure_number(text, s->entry.values[MEASURE_MAX_VIO_GLOBAL][k], 3));
        }
    *out = t;
    return 0;
}

/* ---- JSON ---- */

static void put_interval(struct json_writer *w, const char *key, const struct stats_interval *v)
{
    jw_object(w, key);
    jw_real(w, "mean", v->mean);
    jw_real(w, "low", v->low);
    jw_real(w, "high", v->high);
    jw_real(w, "half_width", v->half_width);
    jw_int(w, "n", v->n);
    jw_end(w);
}

static void put_entry(struct json_writer *w, const struct comparison_entry *e, bool compared)
{
    jw_object(w, NULL);
    jw_text(w, "label", e->label);
    jw_int(w, "finished", e->n_finished);
    jw_object(w, "measures");
    for (int k = 0; k < MEASURE_N; k++) {
        if (e->value[k].n == 0)
            continue;
        jw_object(w, MEASURES[k].key);
        jw_text(w, "title", MEASURES[k].title);
        jw_real(w, "mean", e->value[k].mean);
        jw_real(w, "half_width", e->value[k].half_width);
        jw_reals(w, "values", e->values[k], e->n_runs);
        jw_end(w);
    }
    jw_end(w);
    if (compared) {
        put_interval(w, "loss_difference", &e->loss_difference);
        jw_bool(w, "differs", comparison_differs(&e->loss_difference));
        put_interval(w, "max_vio_difference", &e->vio_difference);
        put_interval(w, "step_ms_difference", &e->step_difference);
    }
    jw_end(w);
}

static void put_sweeps(struct json_writer *w, const struct comparison *c)
{
    jw_array(w, "sweep");
    for (int i = 0; i < c->n_sweeps; i++) {
        const struct comparison_sweep *s = &c->sweeps[i];
        jw_object(w, NULL);
        jw_text(w, "key", s->key);
        jw_real(w, "default", s->initial);
        jw_reals(w, "values", s->values, s->n);
        jw_reals(w, "test_loss", s->entry.values[MEASURE_TEST_LOSS], s->n);
        jw_reals(w, "max_vio_global", s->entry.values[MEASURE_MAX_VIO_GLOBAL], s->n);
        jw_end(w);
    }
    jw_end(w);
}

static void put_references(struct json_writer *w, const json_t *list)
{
    jw_array(w, "references");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        jw_object(w, NULL);
        jw_text(w, "label", json_text_at(o, "label"));
        jw_real(w, "bits_per_byte", json_number_at(o, "bits_per_byte"));
        jw_end(w);
    }
    jw_end(w);
}

int comparison_json(struct buf *out, const struct comparison *c, struct err *err)
{
    struct json_writer w;
    struct buf finding = {0};
    int rc = comparison_finding(&finding, c, err);
    json_writer_init(&w, out, 2);
    jw_object(&w, NULL);
    jw_text(&w, "command", json_text_at(c->plan, "command"));
    jw_text(&w, "finding", finding.bytes);
    jw_text(&w, "baseline", c->baseline >= 0 ? baseline_label(c) : NULL);
    jw_ints(&w, "seeds", c->seeds, c->n_seeds);
    jw_array(&w, "routers");
    for (int i = 0; i < c->n_routers; i++)
        put_entry(&w, &c->routers[i], c->baseline >= 0 && i != c->baseline);
    jw_end(&w);
    if (c->n_variants) {
        jw_array(&w, "ablation");
        for (int i = 0; i < c->n_variants; i++)
            put_entry(&w, &c->variants[i], true);
        jw_end(&w);
    }
    if (c->n_sweeps)
        put_sweeps(&w, c);
    if (json_object_get(c->plan, "references"))
        put_references(&w, json_object_get(c->plan, "references"));
    jw_end(&w);
    int wrote = json_writer_end(&w, err);
    buf_release(&finding);
    return rc ? rc : wrote;
}
