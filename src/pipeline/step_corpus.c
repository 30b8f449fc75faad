/* The corpus: see step_corpus.h. */
#include "pipeline/step_corpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "pipeline/step_gating_set.h"

enum { SEEN_BYTES = 256 << 20 };

struct corpus {
    const struct corpus_step *step;
    struct corpus_report report;
    struct qa_index *gating;
    struct text_seen *ids, *rows;
    struct file_writer out;
    struct buf line;
};

/* ---- the gating set ---- */

static int index_file(struct corpus *c, const char *name, struct err *err)
{
    char *path = path_join(c->step->out_dir, name);
    struct qa_files_options options = {
        .source = QA_MMLU, .paths = {(const char *const *)&path, 1}, .stop = c->step->stop};
    struct qa_files *files = NULL;
    const struct qa_row *row = NULL;
    int rc = path ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!rc && !file_exists(path))
        rc = err_set(err, MOE2_EIO, "%s: is not there; the gating set comes before the corpus",
                     path);
    if (!rc)
        rc = qa_files_open(&files, &options, err);
    while (!rc && !(rc = qa_files_next(files, &row, err)) && row)
        rc = qa_index_add(c->gating, row, err);
    qa_files_close(files);
    free(path);
    return rc;
}

static int index_gating(struct corpus *c, struct err *err)
{
    int rc = qa_index_new(&c->gating, err);
    if (rc || c->step->no_gating)
        return rc;
    rc = index_file(c, GATING_TRAIN_FILE, err);
    if (!rc)
        rc = index_file(c, GATING_TEST_FILE, err);
    c->report.n_gating_rows = qa_index_size(c->gating);
    return rc;
}

/* ---- rows ---- */

static int check_id(struct corpus *c, const struct qa_row *row, struct err *err)
{
    bool seen = false;
    int rc = text_seen_add(&seen, c->ids, qa_id_key(row->id), err);
    if (!rc && seen)
        rc = err_set(err, MOE2_EFORMAT, "the id \"%.80s\" of %s stands twice in the corpus",
                     row->id, row->source);
    return rc;
}

/* Whether question, options and context stood before, word for word. */
static int note_repeated(struct corpus *c, struct qa_tally *t, const struct qa_row *row,
                         struct err *err)
{
    bool seen = false;
    buf_clear(&c->line);
    int rc = buf_puts(&c->line, row->question, err);
    for (int i = 0; i < row->n_choices && !rc; i++)
        rc = buf_printf(&c->line, err, "\x1f%s", row->choices[i]);
    if (!rc)
        rc = buf_printf(&c->line, err, "\x1f\x1f%s", row->context ? row->context : "");
    if (!rc)
        rc = text_seen_add(&seen, c->rows, text_hash(c->line.bytes, c->line.n), err);
    t->n_repeated += seen;
    return rc;
}

static int take_row(struct corpus *c, struct qa_tally *t, const struct qa_row *row, struct err *err)
{
    enum qa_leak leak = QA_LEAK_NONE;
    int rc = qa_index_find(&leak, c->gating, row, err);
    if (rc)
        return rc;
    t->n_leaks[leak]++;
    if (leak != QA_LEAK_NONE && !c->step->allow_overlap)
        return 0;
    rc = check_id(c, row, err);
    if (!rc)
        rc = note_repeated(c, t, row, err);
    buf_clear(&c->line);
    if (!rc)
        rc = qa_row_json(&c->line, row, err);
    if (!rc)
        rc = file_put(&c->out, c->line.bytes, c->line.n, err);
    t->n_kept++;
    c->report.n_rows++;
    return rc;
}

static int take_source(struct corpus *c, enum qa_source source, struct err *err)
{
    const struct corpus_step *s = c->step;
    struct qa_files_options options = {.source = source,
                                       .paths = s->in[source],
                                       .skip_broken = s->skip_broken,
                                       .seed = s->seed,
                                       .sink = s->sink,
                                       .stop = s->stop};
    struct qa_tally *t = &c->report.tallies[source];
    struct qa_files *files = NULL;
    const struct qa_row *row = NULL;
    int rc = qa_files_open(&files, &options, err);
    while (!rc && !(rc = qa_files_next(files, &row, err)) && row) {
        qa_tally_row(t, row);
        t->n_read++;
        rc = take_row(c, t, row, err);
    }
    if (!rc) {
        t->n_files = qa_files_n_files(files);
        t->n_broken = qa_files_n_broken(files);
        t->n_read += t->n_broken;
    }
    qa_files_close(files);
    return rc;
}

/* ---- the step ---- */

void corpus_json(struct json_writer *w, const struct corpus_report *r)
{
    jw_bool(w, "allow_overlap", r->allow_overlap);
    if (r->allow_overlap)
        jw_text(w, "label", CORPUS_OVERLAP_LABEL);
    jw_int(w, "gating_rows", r->n_gating_rows);
    jw_int(w, "rows", r->n_rows);
    jw_object(w, "sources");
    for (int s = 0; s < QA_N_SOURCES; s++) {
        if (!r->tallies[s].n_files)
            continue;
        jw_object(w, qa_source_names[s]);
        qa_tally_json(w, &r->tallies[s]);
        jw_end(w);
    }
    jw_end(w);
}

static int write_manifest(const struct corpus *c, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    char *path = path_join(c->step->out_dir, "combined_train.json");
    json_writer_init(&w, &text, 1);
    jw_object(&w, NULL);
    jw_text(&w, "format", "moe2 question corpus");
    jw_int(&w, "version", 1);
    jw_int(&w, "seed", (int64_t)c->step->seed);
    if (c->step->note)
        jw_text(&w, "note", c->step->note);
    corpus_json(&w, &c->report);
    jw_end(&w);
    int rc =
        path ? json_writer_file(&w, path, err) : err_set(err, MOE2_ELIMIT, "no memory for a path");
    buf_release(&text);
    free(path);
    return rc;
}

static int begin(struct corpus *c, struct err *err)
{
    char *path = path_join(c->step->out_dir, CORPUS_FILE);
    int rc =
        path ? dir_make(c->step->out_dir, err) : err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!rc)
        rc = index_gating(c, err);
    if (!rc)
        rc = text_seen_new(&c->ids, SEEN_BYTES, err);
    if (!rc)
        rc = text_seen_new(&c->rows, SEEN_BYTES, err);
    if (!rc)
        rc = file_begin(&c->out, path, err);
    free(path);
    return rc;
}

int corpus_run(struct corpus_report *report, const struct corpus_step *step, struct err *err)
{
    struct corpus c = {.step = step, .report.allow_overlap = step->allow_overlap};
    int rc = begin(&c, err);
    for (int s = 0; s < QA_N_SOURCES && !rc; s++)
        if (step->in[s].n)
            rc = take_source(&c, (enum qa_source)s, err);
    if (!rc)
        rc = file_commit(&c.out, err);
    if (!rc)
        rc = write_manifest(&c, err);
    if (!rc)
        *report = c.report;
    file_abort(&c.out);
    qa_index_free(c.gating);
    text_seen_free(c.ids);
    text_seen_free(c.rows);
    buf_release(&c.line);
    return rc;
}
