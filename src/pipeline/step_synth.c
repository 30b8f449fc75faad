/* Sets of procedural questions: see step_synth.h. */
#include "pipeline/step_synth.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "pipeline/qa_leak.h"
#include "pipeline/step_corpus.h"
#include "pipeline/step_gating_set.h"
#include "pipeline/synth_italian.h"

enum {
    MAX_DRAWS = 20000,   /* without a new question, before a family counts as used up */
    SEEN_BYTES = 1 << 30 /* of the hashes of a set */
};

/* Of 64 parts of all questions, where those of a set end. */
static const uint64_t set_end[SYNTH_N_SETS] = {36, 48, 60, 64};

const char *const synth_set_files[SYNTH_N_SETS] = {CORPUS_FILE, GATING_TRAIN_FILE, GATING_TEST_FILE,
                                                   FEW_SHOT_FILE};

struct synth_step synth_step_default(void)
{
    return (struct synth_step){
        .n_rows = {8000, 1600, 400, 40}, .families = (1u << SYNTH_N_FAMILIES) - 1, .seed = 1};
}

static enum synth_set set_of(struct text_hash h)
{
    uint64_t part = rng_at(h.a, h.b, 0, 0) % 64;
    int set = 0;
    while (part >= set_end[set])
        set++;
    return (enum synth_set)set;
}

/* ---- one set ---- */

struct making {
    const struct synth_step *step;
    struct synth_report *report;
    struct text_seen *seen;
    struct file_writer files[SYNTH_N_SETS];
    struct buf line, scratch;
    int families[SYNTH_N_FAMILIES], n_families; /* the chosen ones */
};

/* The family of row i: each comes once in a block of all, in any order. */
static int family_of(const struct making *m, enum synth_set set, int64_t i)
{
    struct rng rng;
    int order[SYNTH_N_FAMILIES];
    uint64_t block = (uint64_t)(i / m->n_families);
    rng_init(&rng, rng_at(m->step->seed, (uint64_t)set, block, 1));
    synth_shuffle(order, m->n_families, &rng);
    return m->families[order[i % m->n_families]];
}

/* A question of the family that belongs to the set and does not stand there yet. */
static int draw(struct synth_item *item, struct text_hash *key, struct making *m,
                enum synth_set set, int64_t i, struct err *err)
{
    const struct synth_family *family = &synth_families[family_of(m, set, i)];
    struct rng rng;
    rng_init(&rng, rng_at(m->step->seed, (uint64_t)set, (uint64_t)i, 2));
    for (int n = 0; n < MAX_DRAWS; n++) {
        bool seen = false;
        family->make(item, &rng);
        int rc = qa_text_key(key, NULL, &m->scratch, item->question, err);
        if (!rc && set_of(*key) != set)
            continue;
        if (!rc)
            rc = text_seen_add(&seen, m->seen, *key, err);
        if (rc || !seen)
            return rc;
        m->report->n_repeated++;
    }
    return err_set(err, MOE2_ELIMIT,
                   "%s: the family %s has no more new questions behind row %" PRId64
                   "; ask for fewer rows or more families",
                   synth_set_files[set], family->name, i);
}

static int put(struct making *m, enum synth_set set, int64_t i, struct err *err)
{
    struct synth_item item;
    struct text_hash key;
    char id[64];
    int f = family_of(m, set, i), rc = draw(&item, &key, m, set, i, err);
    if (rc)
        return rc;
    if (m->step->italian)
        synth_italian(&item);
    snprintf(id, sizeof id, "%s-%016" PRIx64, synth_families[f].name, key.a);
    struct qa_row row = {.id = id,
                         .source = "synth",
                         .subject = synth_families[f].name,
                         .question = item.question,
                         .kind = QA_CHOICE,
                         .n_choices = SYNTH_OPTIONS,
                         .n_answers = 1,
                         .answers = {item.answer}};
    for (int k = 0; k < SYNTH_OPTIONS; k++)
        row.choices[k] = item.options[k];
    buf_clear(&m->line);
    rc = qa_row_json(&m->line, &row, err);
    if (!rc)
        rc = file_put(&m->files[set], m->line.bytes, m->line.n, err);
    m->report->n[set][f] += !rc;
    return rc;
}

static int make_set(struct making *m, enum synth_set set, struct progress *progress, double before,
                    struct err *err)
{
    const volatile int *stop = m->step->stop;
    char *path = path_join(m->step->out_dir, synth_set_files[set]);
    int rc = path ? file_begin(&m->files[set], path, err)
                  : err_set(err, MOE2_ELIMIT, "no memory for a path");
    free(path);
    text_seen_free(m->seen);
    m->seen = NULL;
    if (!rc)
        rc = text_seen_new(&m->seen, SEEN_BYTES, err);
    for (int64_t i = 0; i < m->step->n_rows[set] && !rc; i++) {
        rc = put(m, set, i, err);
        progress_set(progress, before + (double)i + 1);
        if (!rc && stop && *stop)
            rc = err_set(err, MOE2_ESTOP, "stopped; nothing was kept");
    }
    if (!rc && text_seen_is_full(m->seen))
        rc = err_set(err, MOE2_ELIMIT, "%s has too many rows to know each of them",
                     synth_set_files[set]);
    return rc;
}

/* ---- the whole ---- */

void synth_json(struct json_writer *w, const struct synth_report *r)
{
    static const char *const names[SYNTH_N_SETS] = {"combined_train", "gating_train", "gating_test",
                                                    "few_shot"};
    for (int s = 0; s < SYNTH_N_SETS; s++) {
        jw_object(w, names[s]);
        for (int f = 0; f < SYNTH_N_FAMILIES; f++)
            if (r->n[s][f])
                jw_int(w, synth_families[f].name, r->n[s][f]);
        jw_end(w);
    }
    jw_int(w, "repeated", r->n_repeated);
}

/* The step in numbers: seed, language, families, rows of each set. */
enum { N_ASKED = 3 + SYNTH_N_SETS };

static void asked_of(int64_t asked[N_ASKED], const struct synth_step *step)
{
    asked[0] = (int64_t)step->seed;
    asked[1] = step->italian;
    asked[2] = step->families;
    memcpy(asked + 3, step->n_rows, sizeof step->n_rows);
}

/* Whether the folder is whole and was made by this very step. */
static bool is_there(const struct synth_step *step)
{
    int64_t asked[N_ASKED];
    json_t *root = NULL, *made;
    char *path = path_join(step->out_dir, "synth.json");
    bool same = path && file_exists(path) && json_read_file(&root, path, 1 << 20, NULL) == 0;
    free(path);
    asked_of(asked, step);
    made = json_object_get(root, "asked");
    same = same && json_array_size(made) == N_ASKED;
    for (int i = 0; i < N_ASKED && same; i++)
        same = json_integer_value(json_array_get(made, (size_t)i)) == asked[i];
    json_decref(root);
    for (int s = 0; s < SYNTH_N_SETS && same; s++) {
        path = path_join(step->out_dir, synth_set_files[s]);
        same = path && file_exists(path);
        free(path);
    }
    return same;
}

static int write_manifest(const struct synth_report *r, const struct synth_step *step,
                          struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    int64_t asked[N_ASKED];
    char *path = path_join(step->out_dir, "synth.json");
    json_writer_init(&w, &text, 1);
    jw_object(&w, NULL);
    jw_text(&w, "format", "moe2 procedural questions");
    jw_int(&w, "version", 1);
    jw_int(&w, "seed", (int64_t)step->seed);
    jw_text(&w, "language", step->italian ? "it" : "en");
    asked_of(asked, step);
    jw_ints(&w, "asked", asked, N_ASKED);
    synth_json(&w, r);
    jw_end(&w);
    int rc =
        path ? json_writer_file(&w, path, err) : err_set(err, MOE2_ELIMIT, "no memory for a path");
    buf_release(&text);
    free(path);
    return rc;
}

static int check(const struct synth_step *step, struct err *err)
{
    if (!(step->families & ((1u << SYNTH_N_FAMILIES) - 1)))
        return err_set(err, MOE2_ECONFIG, "there is no family of questions, wanted at least one");
    for (int s = 0; s < SYNTH_N_SETS; s++)
        if (step->n_rows[s] < 0 || step->n_rows[s] > SYNTH_MAX_ROWS)
            return err_set(err, MOE2_ECONFIG, "%s would have %" PRId64 " rows, wanted 0 to %d",
                           synth_set_files[s], step->n_rows[s], SYNTH_MAX_ROWS);
    return 0;
}

int synth_run(struct synth_report *report, const struct synth_step *step, struct err *err)
{
    struct synth_report r = {0};
    struct making m = {.step = step, .report = &r};
    struct progress progress;
    double total = 0, before = 0;
    int rc = check(step, err);
    if (!rc && step->once && is_there(step)) {
        *report = r;
        return 0;
    }
    if (!rc)
        rc = dir_make(step->out_dir, err);
    if (rc)
        return rc;
    for (int f = 0; f < SYNTH_N_FAMILIES; f++)
        if (step->families >> f & 1)
            m.families[m.n_families++] = f;
    for (int s = 0; s < SYNTH_N_SETS; s++)
        total += (double)step->n_rows[s];
    progress_begin(&progress, step->sink, "making questions", total, "rows");
    for (int s = 0; s < SYNTH_N_SETS && !rc; s++) {
        rc = make_set(&m, (enum synth_set)s, &progress, before, err);
        before += (double)step->n_rows[s];
    }
    progress_end(&progress);
    for (int s = 0; s < SYNTH_N_SETS && !rc; s++)
        rc = file_commit(&m.files[s], err);
    if (!rc)
        rc = write_manifest(&r, step, err);
    if (!rc)
        *report = r;
    for (int s = 0; s < SYNTH_N_SETS; s++)
        file_abort(&m.files[s]);
    text_seen_free(m.seen);
    buf_release(&m.line);
    buf_release(&m.scratch);
    return rc;
}
