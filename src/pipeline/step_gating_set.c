/* The gating set: see step_gating_set.h. */
#include "pipeline/step_gating_set.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "pipeline/qa_split.h"

struct gating_set_step gating_set_default(void)
{
    return (struct gating_set_step){.source = QA_MMLU, .test_share = 0.2, .seed = 1};
}

static struct qa_files_options files_of(const struct gating_set_step *step, bool few_shot)
{
    return (struct qa_files_options){.source = step->source,
                                     .paths = step->paths,
                                     .few_shot = few_shot,
                                     .skip_broken = step->skip_broken,
                                     .seed = step->seed,
                                     .sink = step->sink,
                                     .stop = step->stop};
}

/* The first pass: counts, groups, subjects. */
static int count_rows(struct gating_set_report *report, struct qa_split *split,
                      const struct gating_set_step *step, struct err *err)
{
    struct qa_files_options options = files_of(step, false);
    struct qa_files *files = NULL;
    const struct qa_row *row = NULL;
    int rc = qa_files_open(&files, &options, err);
    while (!rc && !(rc = qa_files_next(files, &row, err)) && row) {
        qa_tally_row(&report->tally, row);
        report->tally.n_read++;
        if (row->kind == QA_CHOICE)
            rc = qa_split_add(split, row, err);
    }
    if (!rc) {
        report->tally.n_files = qa_files_n_files(files);
        report->tally.n_broken = qa_files_n_broken(files);
        report->tally.n_read += report->tally.n_broken;
    }
    qa_files_close(files);
    if (!rc && qa_split_n_rows(split) == 0)
        rc = err_set(err, MOE2_EFORMAT, "the gating set (%s) has no row with one right option",
                     qa_source_names[step->source]);
    return rc;
}

static int put_row(struct file_writer *w, struct buf *line, const struct qa_row *row,
                   struct err *err)
{
    buf_clear(line);
    int rc = qa_row_json(line, row, err);
    return rc ? rc : file_put(w, line->bytes, line->n, err);
}

/* The second pass: each row to its side. */
static int write_rows(struct file_writer *train, struct file_writer *test,
                      const struct qa_split *split, const struct gating_set_step *step,
                      struct err *err)
{
    struct qa_files_options options = files_of(step, false);
    struct qa_files *files = NULL;
    const struct qa_row *row = NULL;
    struct buf line = {0};
    int64_t i = 0;
    int rc = qa_files_open(&files, &options, err);
    while (!rc && !(rc = qa_files_next(files, &row, err)) && row) {
        if (row->kind != QA_CHOICE)
            continue;
        if (i == qa_split_n_rows(split))
            rc = err_set(err, MOE2_EIO, "the gating set grew while it was read");
        else
            rc = put_row(qa_split_is_test(split, i++) ? test : train, &line, row, err);
    }
    if (!rc && i != qa_split_n_rows(split))
        rc = err_set(err, MOE2_EIO, "the gating set shrank while it was read");
    qa_files_close(files);
    buf_release(&line);
    return rc;
}

static int begin(struct file_writer *w, const struct gating_set_step *step, const char *name,
                 struct err *err)
{
    char *path = path_join(step->out_dir, name);
    int rc = path ? file_begin(w, path, err) : err_set(err, MOE2_ELIMIT, "no memory for a path");
    free(path);
    return rc;
}

/* MMLU's dev rows; a set without any leaves no file. */
static int write_few_shot(struct gating_set_report *report, const struct gating_set_step *step,
                          struct err *err)
{
    struct qa_files_options options = files_of(step, true);
    struct qa_files *files = NULL;
    struct file_writer w = {0};
    const struct qa_row *row = NULL;
    struct buf line = {0};
    int rc = qa_files_open(&files, &options, err);
    if (!rc && qa_files_n_files(files))
        rc = begin(&w, step, FEW_SHOT_FILE, err);
    while (!rc && w.f && !(rc = qa_files_next(files, &row, err)) && row) {
        rc = put_row(&w, &line, row, err);
        report->n_few_shot++;
    }
    if (!rc && w.f)
        rc = file_commit(&w, err);
    file_abort(&w);
    qa_files_close(files);
    buf_release(&line);
    return rc;
}

void gating_set_json(struct json_writer *w, const struct gating_set_report *r)
{
    jw_text(w, "source", qa_source_names[r->source]);
    qa_tally_json(w, &r->tally);
    jw_int(w, "train", r->n_train);
    jw_int(w, "test", r->n_test);
    jw_int(w, "few_shot", r->n_few_shot);
    jw_int(w, "subjects", r->n_subjects);
    jw_int(w, "repeated_questions", r->n_repeated);
}

static int write_manifest(const struct gating_set_report *report,
                          const struct gating_set_step *step, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    char *path = path_join(step->out_dir, "gating_set.json");
    json_writer_init(&w, &text, 1);
    jw_object(&w, NULL);
    jw_text(&w, "format", "moe2 gating set");
    jw_int(&w, "version", 1);
    jw_int(&w, "seed", (int64_t)step->seed);
    jw_real(&w, "test_share", step->test_share);
    if (step->note)
        jw_text(&w, "note", step->note);
    gating_set_json(&w, report);
    jw_end(&w);
    int rc =
        path ? json_writer_file(&w, path, err) : err_set(err, MOE2_ELIMIT, "no memory for a path");
    buf_release(&text);
    free(path);
    return rc;
}

int gating_set_run(struct gating_set_report *report, const struct gating_set_step *step,
                   struct err *err)
{
    struct gating_set_report r = {.source = step->source};
    struct qa_split *split = NULL;
    struct file_writer train = {0}, test = {0};
    int rc = dir_make(step->out_dir, err);
    if (!rc)
        rc = qa_split_new(&split, err);
    if (!rc)
        rc = count_rows(&r, split, step, err);
    if (!rc)
        rc = qa_split_deal(split, step->test_share, step->seed, err);
    if (!rc)
        rc = begin(&train, step, GATING_TRAIN_FILE, err);
    if (!rc)
        rc = begin(&test, step, GATING_TEST_FILE, err);
    if (!rc)
        rc = write_rows(&train, &test, split, step, err);
    if (!rc)
        rc = file_commit(&train, err);
    if (!rc)
        rc = file_commit(&test, err);
    if (!rc)
        rc = write_few_shot(&r, step, err);
    if (!rc) {
        r.n_test = qa_split_n_test(split);
        r.n_train = qa_split_n_rows(split) - r.n_test;
        r.tally.n_kept = qa_split_n_rows(split);
        r.n_subjects = qa_split_n_subjects(split);
        r.n_repeated = qa_split_n_repeated(split);
        rc = write_manifest(&r, step, err);
    }
    if (!rc)
        *report = r;
    file_abort(&train);
    file_abort(&test);
    qa_split_free(split);
    return rc;
}
