/* The step "forward": see step_forward.h. Everything is brought into the order of the questions first; then each is walked alone. What is
 * reported and written is in forward_files.c. */
#include "pipeline/step_forward.h"
#include "route/vote.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/words.h"
#include "io/npy.h"
#include "io/records.h"
#include "pipeline/forward_parts.h"
#include "train/vote_fit.h"

static int no_memory(struct err *err)
{
    return err_set(err, MOE2_ELIMIT, "no memory for the questions");
}

/* ---- which questions ---- */

static const char *question_id(const struct records *r)
{
    const char *id = records_field(r, "id", NULL);
    return id ? id : records_field(r, "question_id", NULL);
}

static int take_question(struct forward_work *w, bool *seen, const struct records *r,
                         struct err *err)
{
    const char *path = reader_path(records_reader(r)), *id = question_id(r);
    long long line = (long long)records_line_number(r);
    if (!id)
        return err_set(err, MOE2_EFORMAT, "%s:%lld: there is no field \"id\"", path, line);
    int64_t row = answers_row(&w->answers, id);
    if (row < 0)
        return err_set(err, MOE2_EFORMAT, "%s:%lld: question \"%.60s\" has no row in the outcomes",
                       path, line, id);
    if (seen[row])
        return err_set(err, MOE2_EFORMAT, "%s:%lld: question \"%.60s\" stands there twice", path,
                       line, id);
    seen[row] = true;
    w->rows[w->n++] = row;
    return 0;
}

static int choose_questions(struct forward_work *w, const struct forward_step *step,
                            struct err *err)
{
    w->rows = malloc((size_t)w->answers.n * sizeof *w->rows);
    bool *seen = calloc((size_t)w->answers.n, sizeof *seen);
    struct records_options form = {.max_record_bytes = FORWARD_MAX_QUESTION_BYTES};
    struct records *r = NULL;
    bool chosen = step->questions && !step->live, got = chosen;
    int rc = w->rows && seen ? 0 : no_memory(err);
    if (!rc && chosen)
        rc = records_open(&r, step->questions, &form, err);
    while (!rc && got && !(rc = records_next(r, &got, err)) && got)
        rc = take_question(w, seen, r, err);
    for (int64_t q = 0; !rc && !chosen && q < w->answers.n; q++)
        w->rows[w->n++] = q;
    if (!rc && w->n == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no question", step->questions);
    records_close(r);
    free(seen);
    return rc;
}

/* ---- gate scores ---- */

static int take_scores(struct forward_work *w, const struct npy *a, const char *path,
                       struct err *err)
{
    int64_t E = w->answers.n_experts;
    bool by_question = a->shape[0] == w->n && w->n != w->answers.n;
    for (int64_t i = 0; i < w->n; i++)
        for (int64_t e = 0; e < E; e++) {
            int64_t at = (by_question ? i : w->rows[i]) * E + e;
            float score = a->dtype == DT_F64 ? (float)((const double *)a->data)[at]
                                             : ((const float *)a->data)[at];
            if (!isfinite(score))
                return err_set(err, MOE2_ENUMERIC, "%s: row %lld, column %lld is not finite", path,
                               (long long)(at / E), (long long)e);
            w->scores[i * E + e] = score;
        }
    return 0;
}

static int read_scores(struct forward_work *w, const struct forward_step *step, struct err *err)
{
    int64_t E = w->answers.n_experts;
    struct npy a = {0};
    w->scores = calloc((size_t)(w->n * E), sizeof *w->scores);
    if (!w->scores)
        return no_memory(err);
    if (!step->gate_scores)
        return 0;
    int rc = npy_open(&a, step->gate_scores, err);
    if (!rc && a.dtype != DT_F32 && a.dtype != DT_F64)
        rc = err_set(err, MOE2_EFORMAT, "%s: holds no float32 or float64", step->gate_scores);
    if (!rc &&
        (a.n_dims != 2 || a.shape[1] != E || (a.shape[0] != w->answers.n && a.shape[0] != w->n)))
        rc = err_set(err, MOE2_EFORMAT,
                     "%s: has the shape [%lld, %lld], wanted [%lld questions, %lld experts]",
                     step->gate_scores, a.n_dims > 0 ? (long long)a.shape[0] : 0LL,
                     a.n_dims > 1 ? (long long)a.shape[1] : 0LL, (long long)w->answers.n,
                     (long long)E);
    if (!rc)
        rc = take_scores(w, &a, step->gate_scores, err);
    npy_close(&a);
    return rc;
}

/* ---- who is in service ---- */

static int choose_experts(struct forward_work *w, const struct forward_step *step, struct err *err)
{
    int E = w->answers.n_experts, n = 0;
    w->subset = step->combine == FORWARD_LEARNED && !step->fit ? w->file.subset : vote_everyone(E);
    int rc = step->subset ? words_mask(&w->subset, step->subset, w->answers.names, E, "--subset",
                                       step->live ? step->live : step->outcomes, err)
                          : 0;
    for (int e = 0; e < E; e++)
        n += (int)(w->subset >> e & 1);
    w->k = step->k ? step->k : step->combine == FORWARD_LEARNED && !step->fit ? w->file.k : 1;
    if (!rc && (w->k < 1 || w->k > ANSWERS_MAX_EXPERTS))
        rc = err_set(err, MOE2_ECONFIG, "--k is %lld, wanted 1 to %d", (long long)w->k,
                     ANSWERS_MAX_EXPERTS);
    if (!rc && step->combine == FORWARD_TOP1 && w->k != 1)
        rc = err_set(err, MOE2_ECONFIG, "--combine top1 asks one expert, --k is %lld",
                     (long long)w->k);
    if (!rc && !step->gate_scores && w->k < n)
        rc = err_set(err, MOE2_ECONFIG,
                     "--gate-scores is missing: without it all %d experts are asked, and --k is "
                     "%lld",
                     n, (long long)w->k);
    w->k = w->k < n ? w->k : n;
    return rc;
}

/* ---- the learned combination ---- */

/* The number of each category in the file's partition; −1 for one that it was not fitted on. */
static int match_categories(struct forward_work *w, struct err *err)
{
    const struct learned_file *f = &w->file;
    int32_t *number = malloc(((size_t)w->answers.n_categories + 1) * sizeof *number);
    if (!number)
        return no_memory(err);
    for (int c = 0; c < w->answers.n_categories; c++) {
        number[c] = -1;
        for (int p = 0; p < f->shape.n_parts[0]; p++)
            if (strcmp(f->parts[0][p], w->answers.categories[c]) == 0)
                number[c] = p;
    }
    for (int64_t i = 0; i < w->n; i++) {
        int32_t c = w->answers.category[w->rows[i]];
        w->part[i] = c < 0 ? -1 : number[c];
    }
    free(number);
    return 0;
}

static int check_file(const struct forward_work *w, const struct forward_step *step,
                      struct err *err)
{
    const struct learned_file *f = &w->file;
    bool same = f->shape.n_experts == w->answers.n_experts;
    for (int e = 0; same && e < f->shape.n_experts; e++)
        same = strcmp(f->experts[e], w->answers.names[e]) == 0;
    if (!same)
        return err_set(err, MOE2_ECONFIG, "%s: was fitted to other experts than the outcomes have",
                       step->learned);
    if (f->shape.n_gates > 1 || f->shape.n_partitions > 1)
        return err_set(err, MOE2_ECONFIG,
                       "%s: looks at %d gates and %d partitions, wanted at most one gate and the "
                       "category",
                       step->learned, f->shape.n_gates, f->shape.n_partitions);
    if (f->shape.n_gates && !step->gate_scores)
        return err_set(err, MOE2_ECONFIG, "%s: looks at gate scores, --gate-scores is missing",
                       step->learned);
    return 0;
}

static int make_view(struct forward_work *w, struct err *err)
{
    int64_t E = w->answers.n_experts;
    w->options = malloc((size_t)(w->n * E));
    w->part = malloc((size_t)w->n * sizeof *w->part);
    if (!w->options || !w->part)
        return no_memory(err);
    for (int64_t i = 0; i < w->n; i++)
        memcpy(w->options + i * E, w->answers.options + w->rows[i] * E, (size_t)E);
    w->view = (struct vote_view){w->n, w->options, {w->scores}, {w->part}};
    return 0;
}

/* The shape of what is to be fitted: a gate unless text-free, and the category where there is one. */
static int plan_fit(struct forward_work *w, const struct forward_step *step, struct err *err)
{
    struct learned_file *f = &w->file;
    f->shape = (struct vote_shape){.n_experts = w->answers.n_experts,
                                   .n_gates = step->gate_scores && !step->text_free};
    f->experts = w->answers.names;
    f->gates[0] = "gate";
    if (w->answers.n_categories) {
        f->shape.n_partitions = 1;
        f->shape.n_parts[0] = w->answers.n_categories;
        f->partitions[0] = "category";
        f->parts[0] = w->answers.categories;
    }
    for (int64_t i = 0; i < w->n; i++)
        w->part[i] = w->answers.category[w->rows[i]];
    f->k = (int)w->k;
    f->subset = w->subset;
    f->trained_on = w->n;
    int64_t n = vote_shape_rows(&f->shape) * f->shape.n_experts;
    f->theta = arena_calloc(&f->memory, (size_t)n * sizeof *f->theta, err);
    return f->theta ? 0 : MOE2_ELIMIT;
}

static int run_fit(struct forward_work *w, const struct forward_step *step, struct err *err)
{
    int E = w->answers.n_experts, most = 0;
    int64_t *rows = malloc((size_t)w->n * sizeof *rows);
    uint64_t *asked = calloc((size_t)w->n, sizeof *asked);
    int8_t *right = malloc((size_t)w->n), *n_options = malloc((size_t)w->n);
    int rc = rows && asked && right && n_options ? plan_fit(w, step, err) : no_memory(err);
    for (int64_t i = 0; i < w->n && !rc; i++) {
        int picked[VOTE_MAX_EXPERTS];
        int n = vote_call(picked, w->scores + i * E, E, w->subset, (int)w->k);
        for (int j = 0; j < n; j++)
            asked[i] |= UINT64_C(1) << picked[j];
        rows[i] = i;
        right[i] = w->answers.right[w->rows[i]];
        most = right[i] > most ? right[i] : most;
        for (int e = 0; e < E; e++)
            most = w->options[i * E + e] > most ? w->options[i * E + e] : most;
        if (right[i] < 0)
            rc = err_set(err, MOE2_EFORMAT, "%s: question \"%.60s\" has no answer to learn from",
                         step->outcomes, w->answers.ids[w->rows[i]]);
    }
    if (!rc)
        memset(n_options, most + 1, (size_t)w->n);
    struct vote_fit_options options = vote_fit_default();
    struct vote_fit_data data = {&w->view, rows, w->n, right, n_options, 0, asked};
    if (!rc)
        rc = vote_fit(w->file.theta, &w->file.loss, &w->file.shape, &data, &options, err);
    free(rows);
    free(asked);
    free(right);
    free(n_options);
    return rc ? rc : learned_file_write(step->learned, &w->file, err);
}

/* ---- the whole ---- */

static int open_live(struct forward_work *w, const struct forward_step *step, struct err *err)
{
    const struct expert_live_options o = {.form = step->form,
                                          .limit = step->limit,
                                          .timeout_s = step->timeout_s,
                                          .sink = step->sink,
                                          .stop = step->stop};
    if (!step->questions)
        return err_set(err, MOE2_ECONFIG, "--live wants --questions: what is to be asked");
    if (step->outcomes || step->predictions || step->fit || step->combine == FORWARD_LEARNED)
        return err_set(err, MOE2_ECONFIG,
                       "--live asks running experts: --outcomes, --predictions, --fit and the "
                       "learned combination are for recorded answers");
    return expert_live_open(&w->live, &w->answers, step->live, step->questions, &o, err);
}

static int load(struct forward_work *w, const struct forward_step *step, struct err *err)
{
    bool learned = step->combine == FORWARD_LEARNED || step->fit;
    int rc = 0;
    if (!step->live && !step->outcomes)
        rc = err_set(err, MOE2_ECONFIG, "--outcomes is missing (see --help)");
    if (!rc && learned && !step->live && (!step->learned || !step->predictions))
        rc =
            err_set(err, MOE2_ECONFIG, "the learned combination needs --learned and --predictions");
    if (!rc)
        rc = step->live ? open_live(w, step, err)
                        : answers_read(&w->answers, step->outcomes, step->predictions, err);
    if (!rc && learned && !step->fit)
        rc = learned_file_read(&w->file, step->learned, err);
    if (!rc && learned && !step->fit)
        rc = check_file(w, step, err);
    if (!rc)
        rc = choose_questions(w, step, err);
    if (!rc)
        rc = choose_experts(w, step, err);
    if (!rc)
        rc = read_scores(w, step, err);
    if (!rc && learned)
        rc = make_view(w, err);
    if (!rc && learned && !step->fit && w->file.shape.n_partitions)
        rc = match_categories(w, err);
    return rc;
}

/* Asks question i, counts it, and writes its line. */
static int walk_one(struct forward_work *w, const struct forward *f, int64_t i, FILE *lines,
                    struct buf *text, struct err *err)
{
    struct forward_walk walk;
    int64_t E = w->answers.n_experts;
    int rc = forward_question(&walk, f, w->rows[i], i, w->scores + i * E, err);
    if (rc)
        return rc;
    w->right[i] = walk.right == 1;
    for (int j = 0; j < walk.n_asked; j++)
        w->n_asked[walk.asked[j]]++;
    if (!lines)
        return 0;
    buf_clear(text);
    rc = forward_line(text, w, &walk, i, err);
    if (!rc && fwrite(text->bytes, 1, text->n, lines) != text->n)
        rc = err_set(err, MOE2_EIO, "answers.jsonl can't be written");
    return rc;
}

static int walk_all(struct forward_work *w, const struct forward_step *step, FILE *lines,
                    struct err *err)
{
    const struct vote_learned learned = {w->file.shape, w->file.theta};
    struct forward f = {.source = w->live ? expert_source_live(w->live)
                                          : expert_source_recorded(&w->answers),
                        .N = w->answers.n_experts,
                        .subset = w->subset,
                        .k = (int)w->k,
                        .combine = step->combine,
                        .learned = &learned,
                        .view = &w->view};
    struct buf text = {0};
    struct progress p;
    w->combine = step->combine;
    w->right = calloc((size_t)w->n, sizeof *w->right);
    int rc = w->right ? 0 : no_memory(err);
    progress_begin(&p, step->sink, "forward", (double)w->n, "questions");
    for (int64_t i = 0; i < w->n && !rc; i++) {
        rc = walk_one(w, &f, i, lines, &text, err);
        progress_set(&p, (double)i + 1);
    }
    progress_end(&p);
    buf_release(&text);
    return rc;
}

/* Walks all with answers.jsonl open, when there is a folder for it. */
static int answer(struct forward_report *report, struct forward_work *w,
                  const struct forward_step *step, struct err *err)
{
    struct file_writer lines = {0};
    char *path = step->out_dir ? path_join(step->out_dir, "answers.jsonl") : NULL;
    int rc = step->out_dir && !path ? no_memory(err) : 0, kept = 0;
    if (!rc && path)
        rc = dir_make(step->out_dir, err);
    if (!rc && path)
        rc = file_begin(&lines, path, err);
    if (!rc)
        rc = walk_all(w, step, path ? lines.f : NULL, err);
    if (!rc)
        rc = forward_report_fill(report, w, err);
    if (!rc && path)
        rc = file_commit(&lines, err);
    if (!rc && path)
        rc = forward_write(report, w, step, err);
    if (w->live && path) /* what was answered stays, whatever ended the walk */
        kept = expert_live_write(w->live, step->out_dir, rc ? NULL : err);
    rc = rc ? rc : kept;
    if (w->live)
        expert_live_tell(w->live);
    file_abort(&lines);
    free(path);
    return rc;
}

static void release(struct forward_work *w)
{
    free(w->rows);
    free(w->right);
    free(w->scores);
    free(w->options);
    free(w->part);
    learned_file_release(&w->file);
    expert_live_free(w->live);
    answers_release(&w->answers);
}

int forward_run(struct forward_report *report, const struct forward_step *step, struct err *err)
{
    struct forward_work w = {0};
    *report = (struct forward_report){0};
    int rc = load(&w, step, err);
    if (!rc && step->fit) {
        rc = run_fit(&w, step, err);
        report->n = w.n;
        report->loss = w.file.loss;
    } else if (!rc) {
        rc = answer(report, &w, step, err);
    }
    release(&w);
    if (rc)
        forward_report_release(report);
    return rc;
}

void forward_report_release(struct forward_report *report)
{
    table_free(report->by_category);
    table_free(report->by_expert);
    *report = (struct forward_report){0};
}
