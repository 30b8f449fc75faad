/* moe2 data qa: published sets of questions become the gating set and the corpus. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "cli/cli.h"
#include "io/json_util.h"
#include "pipeline/step_corpus.h"
#include "pipeline/step_gating_set.h"

static const char HELP[] =
    "usage: moe2 data qa [--mmlu PATH…] [--mmlu-pro PATH…] [--arc PATH…] [--sciq PATH…] [--agieval "
    "PATH…]\n"
    "                    --out DIR [options]\n\n"
    "Reads sets of questions in the forms they are published in (JSON lines, JSON, CSV; also .gz, "
    ".zst) and writes\n"
    "DIR/gating_train.jsonl and DIR/gating_test.jsonl (one set, 80 / 20 by subject, the same "
    "question "
    "never on both\n"
    "sides) and DIR/combined_train.jsonl (MMLU-Pro, ARC, SciQ, AGIEval, without the questions of "
    "the "
    "gating set). Rows\n"
    "with several right options and rows without options are kept, marked and counted. What was "
    "read, kept and left\n"
    "out also stands in DIR/gating_set.json and DIR/combined_train.json.\n\n"
    "  --mmlu PATH…      a folder with test/ and dev/ (*.csv), or files\n"
    "  --mmlu-pro PATH…  --arc PATH…  --sciq PATH…  --agieval PATH…   files or folders\n"
    "  --out DIR         made if it is not there\n"
    "  --gating SET      mmlu (the default where it is given), mmlu_pro, or none: only the corpus, "
    "nothing left out\n"
    "  --test-share X    of each subject (0.2)\n"
    "  --seed N          of the split and of the order of SciQ's options (1)\n"
    "  --allow-overlap   keep questions of the gating set in the corpus; counted and said in the "
    "manifest\n"
    "  --skip-broken     pass over broken rows and count them\n"
    "  --json            one JSON object instead of tables\n\n"
    "See moe2 help questions.\n\n"
    "examples:\n"
    "  moe2 data qa --mmlu mmlu/ --mmlu-pro questions.jsonl --arc arc_easy.jsonl "
    "arc_challenge.jsonl \\\n"
    "      --sciq train.json --agieval agieval/ --out data\n"
    "  moe2 data qa --mmlu-pro questions.jsonl --gating mmlu_pro --out data\n";

static const char *const set_flags[QA_N_SOURCES] = {"--mmlu", "--mmlu-pro", "--arc", "--sciq",
                                                    "--agieval"};

struct words {
    const char **paths; /* [argc], owned; those of a set behind each other */
    struct qa_paths in[QA_N_SOURCES];
    const char *out, *gating;
    double test_share;
    int64_t seed;
    bool allow_overlap, skip_broken, json;
};

/* ---- words ---- */

/* The set whose flag the word is, and the value behind its "="; −1: none. */
static int set_of(const char *word, const char **value)
{
    for (int s = 0; s < QA_N_SOURCES; s++) {
        size_t n = strlen(set_flags[s]);
        if (strncmp(word, set_flags[s], n) == 0 && (!word[n] || word[n] == '=')) {
            *value = word[n] ? word + n + 1 : NULL;
            return s;
        }
    }
    return -1;
}

/* The paths of one set, anywhere among the words. */
static int take_set(struct words *w, int set, int *n_paths, int argc, char **argv, struct err *err)
{
    int from = *n_paths;
    for (int i = 0; i < argc; i++) {
        const char *value = NULL;
        if (set_of(argv[i], &value) != set)
            continue;
        int before = *n_paths;
        if (value)
            w->paths[(*n_paths)++] = value;
        while (!value && i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0)
            w->paths[(*n_paths)++] = argv[++i];
        if (*n_paths == before)
            return err_set(err, MOE2_ECONFIG, "%s has no value", set_flags[set]);
    }
    w->in[set] = (struct qa_paths){w->paths + from, *n_paths - from};
    return 0;
}

/* Moves what belongs to no set to the front. */
static int drop_sets(int argc, char **argv)
{
    int n = 0;
    for (int i = 0; i < argc; i++) {
        const char *value = NULL;
        if (set_of(argv[i], &value) < 0) {
            argv[n++] = argv[i];
            continue;
        }
        while (!value && i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0)
            i++;
    }
    return n;
}

static int read_words(struct words *w, int argc, char **argv, struct err *err)
{
    int n_paths = 0, rc = 0;
    const char *taken =
        NULL; /* the sets are gone from argv; their names are here to be suggested */
    *w = (struct words){.test_share = 0.2, .seed = 1};
    w->paths = calloc((size_t)argc + 1, sizeof *w->paths);
    if (!w->paths)
        return err_set(err, MOE2_ELIMIT, "no memory for paths");
    for (int s = 0; s < QA_N_SOURCES && !rc; s++)
        rc = take_set(w, s, &n_paths, argc, argv, err);
    const struct cli_flag flags[] = {
        {"--out", FLAG_TEXT, &w->out, true},
        {"--gating", FLAG_TEXT, &w->gating, false},
        {"--test-share", FLAG_REAL, &w->test_share, false},
        {"--seed", FLAG_INT, &w->seed, false},
        {"--allow-overlap", FLAG_BOOL, &w->allow_overlap, false},
        {"--skip-broken", FLAG_BOOL, &w->skip_broken, false},
        {"--json", FLAG_BOOL, &w->json, false},
        {"--mmlu", FLAG_TEXT, &taken, false},
        {"--mmlu-pro", FLAG_TEXT, &taken, false},
        {"--arc", FLAG_TEXT, &taken, false},
        {"--sciq", FLAG_TEXT, &taken, false},
        {"--agieval", FLAG_TEXT, &taken, false},
    };
    return rc ? rc : cli_parse(drop_sets(argc, argv), argv, flags, COUNT_OF(flags), NULL, err);
}

/* Which set is the gating set; QA_N_SOURCES: none. */
static int gating_source(enum qa_source *out, const struct words *w, struct err *err)
{
    const char *name = w->gating                                   ? w->gating
                       : w->in[QA_MMLU].n || !w->in[QA_MMLU_PRO].n ? "mmlu"
                                                                   : "mmlu_pro";
    *out = QA_N_SOURCES;
    if (strcmp(name, "none") == 0)
        return 0;
    if (strcmp(name, "mmlu") != 0 && strcmp(name, "mmlu_pro") != 0)
        return err_set(err, MOE2_ECONFIG, "--gating is \"%s\", wanted mmlu, mmlu_pro or none",
                       name);
    *out = strcmp(name, "mmlu") == 0 ? QA_MMLU : QA_MMLU_PRO;
    if (!w->in[*out].n)
        return err_set(err, MOE2_ECONFIG, "%s is missing: it is the gating set (--gating)",
                       set_flags[*out]);
    return 0;
}

/* ---- what comes out ---- */

struct result {
    const struct words *words;
    struct gating_set_report gating;
    struct corpus_report corpus;
    bool has_gating, has_corpus;
};

static int gating_text(struct buf *out, const struct gating_set_report *r, struct err *err)
{
    struct table *t = NULL;
    int rc = table_new(&t,
                       (struct table_column[]){{"gating set", TABLE_LEFT},
                                               {"files", TABLE_RIGHT},
                                               {"read", TABLE_RIGHT},
                                               {"broken", TABLE_RIGHT},
                                               {"subjects", TABLE_RIGHT},
                                               {"train", TABLE_RIGHT},
                                               {"test", TABLE_RIGHT},
                                               {"same question", TABLE_RIGHT},
                                               {"few-shot", TABLE_RIGHT}},
                       9, err);
    if (rc)
        return rc;
    table_cell(t, "%s", qa_source_names[r->source]);
    const int64_t counts[] = {r->tally.n_files, r->tally.n_read, r->tally.n_broken, r->n_subjects,
                              r->n_train,       r->n_test,       r->n_repeated,     r->n_few_shot};
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        table_cell(t, "%lld", (long long)counts[i]);
    rc = table_text(out, t, err);
    table_free(t);
    int64_t left = r->tally.n_read - r->tally.n_broken - r->tally.n_kept;
    if (!rc && left)
        rc = buf_printf(out, err, "%lld rows do not have exactly one right option: left out\n",
                        (long long)left);
    return rc ? rc : buf_puts(out, "\n", err);
}

static void corpus_row(struct table *t, const char *name, const struct qa_tally *s)
{
    const int64_t counts[] = {s->n_files,
                              s->n_read,
                              s->n_broken,
                              s->n_leaks[QA_LEAK_WORDS],
                              s->n_leaks[QA_LEAK_OPTIONS],
                              s->n_leaks[QA_LEAK_SRC],
                              s->n_kept,
                              s->n_kinds[QA_SEVERAL],
                              s->n_kinds[QA_CLOZE],
                              s->n_repeated};
    table_cell(t, "%s", name);
    for (size_t i = 0; i < COUNT_OF(counts); i++)
        table_cell(t, "%lld", (long long)counts[i]);
}

static int corpus_table(struct buf *out, const struct corpus_report *r, struct err *err)
{
    struct table *t = NULL;
    int rc = table_new(&t,
                       (struct table_column[]){{"corpus", TABLE_LEFT},
                                               {"files", TABLE_RIGHT},
                                               {"read", TABLE_RIGHT},
                                               {"broken", TABLE_RIGHT},
                                               {"overlap: words", TABLE_RIGHT},
                                               {"options", TABLE_RIGHT},
                                               {"src", TABLE_RIGHT},
                                               {"kept", TABLE_RIGHT},
                                               {"several right", TABLE_RIGHT},
                                               {"cloze", TABLE_RIGHT},
                                               {"repeated", TABLE_RIGHT}},
                       11, err);
    for (int s = 0; s < QA_N_SOURCES && !rc; s++)
        if (r->tallies[s].n_files)
            corpus_row(t, qa_source_names[s], &r->tallies[s]);
    if (!rc)
        rc = table_text(out, t, err);
    table_free(t);
    return rc;
}

static int corpus_text(struct buf *out, const struct corpus_report *r, struct err *err)
{
    int64_t overlap = 0, listed = 0, single = 0, none = 0, several = 0;
    for (int s = 0; s < QA_N_SOURCES; s++) {
        const struct qa_tally *t = &r->tallies[s];
        overlap += qa_tally_overlap(t);
        listed += t->n_listed;
        single += t->n_listed_single;
        none += t->n_listed_none;
        several += t->n_kinds[QA_SEVERAL];
    }
    int rc = corpus_table(out, r, err);
    if (!rc && several)
        rc = buf_printf(out, err,
                        "several right: %lld rows give their letters as a list (%lld of them one "
                        "letter, %lld none), %lld as several letters in one text\n",
                        (long long)listed, (long long)single, (long long)none,
                        (long long)(several - listed));
    if (!rc && overlap)
        rc = buf_printf(out, err, "%lld rows stand in the gating set: %s\n", (long long)overlap,
                        r->allow_overlap ? "KEPT (--allow-overlap): " CORPUS_OVERLAP_LABEL
                                         : "left out");
    return rc ? rc : buf_printf(out, err, "%lld rows in the corpus\n", (long long)r->n_rows);
}

static int print_text(struct buf *out, const struct result *r, struct err *err)
{
    int rc = r->has_gating ? gating_text(out, &r->gating, err) : 0;
    if (!rc && r->has_corpus)
        rc = corpus_text(out, &r->corpus, err);
    return rc ? rc : buf_printf(out, err, "%s is ready\n", r->words->out);
}

static int print_json(struct buf *out, const struct result *r, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 1);
    jw_object(&w, NULL);
    jw_text(&w, "out", r->words->out);
    jw_int(&w, "seed", r->words->seed);
    if (r->has_gating) {
        jw_object(&w, "gating_set");
        gating_set_json(&w, &r->gating);
        jw_end(&w);
    }
    if (r->has_corpus) {
        jw_object(&w, "corpus");
        corpus_json(&w, &r->corpus);
        jw_end(&w);
    }
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

/* ---- the command ---- */

static int run_gating(struct result *r, enum qa_source source, struct err *err)
{
    const struct words *w = r->words;
    struct gating_set_step step = gating_set_default();
    if (source == QA_N_SOURCES)
        return 0;
    step.source = source;
    step.paths = w->in[source];
    step.test_share = w->test_share;
    step.seed = (uint64_t)w->seed;
    step.skip_broken = w->skip_broken;
    step.out_dir = w->out;
    step.sink = cli_sink();
    step.stop = cli_stop_flag();
    r->has_gating = true;
    return gating_set_run(&r->gating, &step, err);
}

/* MMLU is never part of the corpus. */
static bool has_corpus(const struct words *w)
{
    for (int s = QA_MMLU + 1; s < QA_N_SOURCES; s++)
        if (w->in[s].n)
            return true;
    return false;
}

static int run_corpus(struct result *r, enum qa_source gating, struct err *err)
{
    const struct words *w = r->words;
    struct corpus_step step = {.seed = (uint64_t)w->seed,
                               .no_gating = gating == QA_N_SOURCES,
                               .allow_overlap = w->allow_overlap,
                               .skip_broken = w->skip_broken,
                               .out_dir = w->out,
                               .sink = cli_sink(),
                               .stop = cli_stop_flag()};
    for (int s = QA_MMLU + 1; s < QA_N_SOURCES; s++)
        step.in[s] = w->in[s];
    r->has_corpus = has_corpus(w);
    return r->has_corpus ? corpus_run(&r->corpus, &step, err) : 0;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct words words;
    struct result result = {.words = &words};
    enum qa_source gating = QA_N_SOURCES;
    struct buf out = {0};
    int rc = read_words(&words, argc, argv, &err);
    if (!rc)
        rc = gating_source(&gating, &words, &err);
    if (!rc && gating == QA_N_SOURCES && !has_corpus(&words))
        rc = err_set(&err, MOE2_ECONFIG, "there is nothing to read, wanted --arc or another set");
    if (!rc)
        rc = run_gating(&result, gating, &err);
    if (!rc)
        rc = run_corpus(&result, gating, &err);
    if (!rc)
        rc = words.json ? print_json(&out, &result, &err) : print_text(&out, &result, &err);
    if (!rc)
        fwrite(out.bytes, 1, out.n, stdout);
    buf_release(&out);
    free(words.paths);
    return rc ? cli_fail("data qa", &err) : 0;
}

const struct command cmd_data_qa = {
    "data qa",
    "reads MMLU, MMLU-Pro, ARC, SciQ and AGIEval to gate and to train on",
    HELP,
    run,
};
