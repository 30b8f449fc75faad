/* moe2 route: what the routers of a model do with a text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/table.h"
#include "cli/cli.h"
#include "cli/scoring.h"
#include "eval/overlap.h"
#include "eval/routing_stats.h"
#include "train/checkpoint.h"

/* The text: one file, or a folder whose files are domains. */
struct texts {
    char **paths;
    size_t n;
};

static int texts_find(struct texts *t, const char *path, struct err *err)
{
    if (!file_is_dir(path)) {
        t->paths = malloc(sizeof *t->paths);
        if (!t->paths || !(t->paths[0] = path_join(path, "")))
            return err_set(err, MOE2_ELIMIT, "no memory for names");
        t->paths[0][strlen(path)] = 0; /* path_join ends a folder's name with a slash */
        t->n = 1;
        return 0;
    }
    int rc = dir_names(&t->paths, &t->n, path, err);
    for (size_t i = 0; i < t->n && !rc; i++) {
        char *whole = path_join(path, t->paths[i]);
        if (!whole)
            rc = err_set(err, MOE2_ELIMIT, "no memory for names");
        else
            free(t->paths[i]);
        t->paths[i] = whole ? whole : t->paths[i];
    }
    return !rc && !t->n ? err_set(err, MOE2_ECONFIG, "%s: there is no file in it", path) : rc;
}

/* Every text through the model, counted. */
static int see(struct routing_stats *stats, struct perplexity *sum, struct scoring *s,
               const struct texts *t, struct overlap *overlap, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < t->n && !rc; i++) {
        struct ids ids = {0};
        struct perplexity p = {0};
        int64_t n_bytes = 0;
        rc = scoring_read(&ids, &n_bytes, s, t->paths[i], err);
        bool is_read = !rc;
        struct tokens tokens = {.ids = ids.v, .n = (int64_t)ids.n};
        routing_stats_domain(stats, (int)i);
        s->options.seen = routing_stats_seen;
        s->options.seen_ctx = stats;
        if (!rc)
            rc = perplexity_run(&p, s->dec, &tokens, &s->options, err);
        if (!rc && overlap)
            rc = overlap_run(overlap, s->dec, &tokens, &s->options, err);
        if (rc && is_read) /* scoring_read names the file itself */
            err_prefix(err, "%s", t->paths[i]);
        sum->tokens += p.tokens;
        sum->nll += p.nll;
        sum->bytes += n_bytes;
        sum->seconds += p.seconds;
        ids_release(&ids);
    }
    return rc;
}

/* The measures of every layer; the Matthew effect comes from the sums that training left in the
 * folder. */
static int conclude(struct balance_result *results, const struct routing_stats *stats,
                    struct scoring *s, double share, struct err *err)
{
    struct measures m = {0};
    char *path = path_join(s->model, "measures.safetensors");
    bool is_trained = path && file_exists(path);
    int rc = is_trained ? measures_init(&m, s->dec, 1, err) : 0;
    if (!rc && is_trained)
        rc = measures_load(&m, path, err);
    for (int64_t i = 0; i < routing_stats_n_layers(stats) && !rc; i++) {
        rc = routing_stats_result(&results[i], stats, i, err);
        if (!rc && is_trained)
            rc = matthew_result(&results[i], m.layers[routing_stats_layer(stats, i)], err);
        results[i].routing_share = share;
    }
    measures_release(&m);
    free(path);
    return rc;
}

static int print_json(const struct scoring *s, const struct routing_stats *stats,
                      const struct balance_result *results, const struct perplexity *p,
                      const struct overlap *overlap, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    json_writer_init(&w, &text, 2);
    jw_object(&w, NULL);
    jw_text(&w, "model", s->model);
    jw_real(&w, "loss", p->nll / (double)p->tokens);
    jw_real(&w, "seconds", p->seconds);
    if (overlap)
        jw_reals(&w, "picks_overlap", overlap->mean, overlap->n_layers);
    routing_stats_print(&w, NULL, stats, results);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    if (!rc)
        puts(text.bytes);
    buf_release(&text);
    return rc;
}

static int print_table(const struct routing_stats *stats, const struct balance_result *results,
                       struct err *err)
{
    struct table *t = NULL;
    struct buf text = {0};
    int64_t n = routing_stats_n_layers(stats);
    if (n > TABLE_MAX_COLUMNS - 2)
        n = TABLE_MAX_COLUMNS - 2;
    struct table_column columns[TABLE_MAX_COLUMNS] = {{"measure", TABLE_LEFT},
                                                      {"mean", TABLE_RIGHT}};
    char titles[TABLE_MAX_COLUMNS][24];
    struct balance_result mean;
    balance_mean(&mean, results, (int)routing_stats_n_layers(stats));
    for (int64_t i = 0; i < n; i++) {
        snprintf(titles[i], sizeof titles[i], "layer %lld",
                 (long long)routing_stats_layer(stats, i));
        columns[i + 2] = (struct table_column){titles[i], TABLE_RIGHT};
    }
    int rc = table_new(&t, columns, (int)n + 2, err);
    for (int f = 0; f < BALANCE_N_FIELDS && !rc; f++) {
        table_cell(t, "%s", balance_fields[f].key);
        table_cell(t, "%.4g", balance_get(&mean, f));
        for (int64_t i = 0; i < n; i++)
            table_cell(t, "%.4g", balance_get(&results[i], f));
    }
    if (!rc)
        rc = table_text(&text, t, err);
    if (!rc)
        fputs(text.bytes, stdout);
    buf_release(&text);
    table_free(t);
    return rc;
}

static int run(int argc, char **argv)
{
    struct scoring s = SCORING_INIT;
    const char *against = NULL;
    const struct cli_flag flags[] = {SCORING_FLAGS(&s), {"--against", FLAG_TEXT, &against, false}};
    struct err err = {0};
    struct texts texts = {0};
    struct routing_stats *stats = NULL;
    struct balance_result *results = NULL;
    struct overlap overlap = {0};
    struct perplexity p = {0};
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = scoring_open(&s, &err);
    if (!rc)
        rc = texts_find(&texts, s.text, &err);
    if (!rc)
        rc = routing_stats_new(&stats, s.dec, s.tokenizer, texts.n > 1 ? (int)texts.n : 0, &err);
    if (!rc && routing_stats_n_layers(stats) == 0)
        rc = err_set(&err, MOE2_ECONFIG, "%s has no layer with experts", s.model);
    if (!rc && against)
        rc = overlap_open(&overlap, s.dec, against, &err);
    if (!rc) {
        decoder_take_times(s.dec);
        rc = see(stats, &p, &s, &texts, against ? &overlap : NULL, &err);
    }
    if (!rc) {
        struct decoder_times times = decoder_take_times(s.dec);
        results = calloc((size_t)routing_stats_n_layers(stats), sizeof *results);
        rc = results ? conclude(results, stats, &s, times.routing_s / times.forward_s, &err)
                     : err_set(&err, MOE2_ELIMIT, "no memory for measures");
    }
    if (!rc)
        rc = s.json ? print_json(&s, stats, results, &p, against ? &overlap : NULL, &err)
                    : print_table(stats, results, &err);
    free(results);
    overlap_close(&overlap);
    routing_stats_free(stats);
    dir_names_free(texts.paths, texts.n);
    scoring_close(&s);
    return rc ? cli_fail("route", &err) : 0;
}

const struct command cmd_route = {
    "route",
    "what the routers of a model do with a text",
    "usage: moe2 route --model DIR --text FILE [--against DIR] [--window W] [--tokenizer T] "
    "[--json]\n\n"
    "Balance, specialisation, the Matthew effect: every measure of docs/routing.md, per layer and "
    "as means.\n\n"
    "  --text F         a text file; or a folder, each of whose files is a domain "
    "(domain_expert_mi)\n"
    "  --against DIR    another checkpoint: how much the chosen sets have in common "
    "(picks_overlap, a number a layer)\n" SCORING_HELP
    "\nexample:\n  moe2 route --model results/rd_esi/checkpoints/best --text data/italian/test.txt "
    "--json\n",
    run,
};
