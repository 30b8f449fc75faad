/* Experts answer questions: see step_answer.h. Each of a few threads takes the next expert, whose
 * model it opens, asks and closes; the caller's thread shows how far all of them are. */
#include "pipeline/step_answer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "pipeline/answer_part.h"
#include "pipeline/answer_tables.h"
#include "pipeline/file_hash.h"

enum { POLL_MS = 50 };

struct answer_step answer_step_default(void)
{
    return (struct answer_step){.form = ANSWER_LETTER, .norm = CHOICE_SUM};
}

/* ---- what can't be ---- */

static int check_name(const struct answer_step *step, int i, struct err *err)
{
    static const char *const taken[] = {"question_id",   "id",           "category", "answer",
                                        "prompt_tokens", "output_tokens"};
    const char *name = step->experts[i].name;
    bool bad = !*name || *name == '.' || strlen(name) > ANSWER_MAX_NAME || strchr(name, '/');
    for (size_t k = 0; k < sizeof taken / sizeof *taken; k++)
        bad |= strcmp(name, taken[k]) == 0;
    for (const char *p = name; *p; p++)
        bad |= (unsigned char)*p < ' ';
    if (bad)
        return err_set(err, MOE2_ECONFIG,
                       "an expert is called \"%.99s\", wanted 1 to %d bytes without \"/\" that are "
                       "no column of outcomes.csv",
                       name, ANSWER_MAX_NAME);
    for (int k = 0; k < i; k++)
        if (strcmp(step->experts[k].name, name) == 0)
            return err_set(err, MOE2_ECONFIG,
                           "two experts are called \"%s\"; NAME=DIR gives one another name", name);
    return 0;
}

static int check_number(const char *what, int64_t value, int64_t most, struct err *err)
{
    if (value >= 0 && value <= most)
        return 0;
    return err_set(err, MOE2_ECONFIG, "%s is %" PRId64 ", wanted 0 to %" PRId64, what, value, most);
}

static int check(const struct answer_step *step, struct err *err)
{
    if (step->n_experts < 1 || step->n_experts > OUTCOMES_MAX_EXPERTS)
        return err_set(err, MOE2_ECONFIG, "there are %d experts, wanted 1 to %d", step->n_experts,
                       OUTCOMES_MAX_EXPERTS);
    if (step->n_shots && !step->examples)
        return err_set(err, MOE2_ECONFIG,
                       "examples are wanted (--few-shot) and no file has them (--dev)");
    int rc = check_number("--few-shot", step->n_shots, ANSWER_MAX_SHOTS, err);
    if (!rc)
        rc = check_number("--limit", step->limit, ANSWER_MAX_QUESTIONS, err);
    if (!rc)
        rc = check_number("--window", step->window, ANSWER_MAX_BATCH_TOKENS, err);
    if (!rc)
        rc = check_number("--batch-tokens", step->batch_tokens, ANSWER_MAX_BATCH_TOKENS, err);
    if (!rc)
        rc = check_number("--jobs", step->jobs, ANSWER_MAX_JOBS, err);
    if (!rc)
        rc = check_number("--threads", step->threads, ANSWER_MAX_JOBS, err);
    for (int i = 0; i < step->n_experts && !rc; i++)
        rc = check_name(step, i, err);
    return rc;
}

/* ---- threads ---- */

struct answering_all {
    const struct answer_step *step;
    struct answer_set questions, examples;
    struct answer_form_options form;
    struct answer_part *parts; /* [n_experts] */
    atomic_int next, n_ended;
    atomic_llong n_done;
    atomic_bool failed; /* nobody begins another expert */
    int lock;           /* on OUT; −1: not taken */
};

static void *take_experts(void *ctx)
{
    struct answering_all *all = ctx;
    for (;;) {
        int i = atomic_fetch_add(&all->next, 1);
        if (i >= all->step->n_experts)
            return NULL;
        if (!atomic_load(&all->failed))
            answer_part_run(&all->parts[i]);
        if (all->parts[i].rc)
            atomic_store(&all->failed, true);
        atomic_fetch_add(&all->n_ended, 1);
    }
}

static int n_jobs(const struct answering_all *all, int *n_threads)
{
    const struct answer_step *step = all->step;
    int open = 0;
    for (int i = 0; i < step->n_experts; i++)
        open += !all->parts[i].complete;
    bool gpu = device_is_gpu(&step->device);
    int jobs = step->jobs ? (int)step->jobs : gpu ? 1 : process_share(step->threads, 1);
    jobs = jobs < open ? jobs : open;
    jobs = jobs > 0 ? jobs : 1;
    *n_threads = process_share(step->threads, jobs);
    return jobs;
}

static void show(struct answering_all *all)
{
    struct progress progress;
    progress_begin(&progress, all->step->sink, "answering",
                   (double)(all->questions.n * all->step->n_experts), "answers");
    while (atomic_load(&all->n_ended) < all->step->n_experts) {
        nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
        progress_set(&progress, (double)atomic_load(&all->n_done));
    }
    progress_set(&progress, (double)atomic_load(&all->n_done));
    progress_end(&progress);
}

static int run_parts(struct answering_all *all, struct err *err)
{
    pthread_t threads[ANSWER_MAX_JOBS];
    int n_threads = 1, jobs = n_jobs(all, &n_threads), n = 0;
    for (int i = 0; i < all->step->n_experts; i++)
        all->parts[i].n_threads = n_threads, all->parts[i].n_jobs = jobs;
    while (n < jobs && pthread_create(&threads[n], NULL, take_experts, all) == 0)
        n++;
    if (n == 0)
        return err_set(err, MOE2_ELIMIT, "no thread can be made");
    show(all);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < all->step->n_experts; i++) {
        const struct answer_part *p = &all->parts[i];
        if (p->rc == MOE2_ESTOP)
            return err_set(
                err, MOE2_ESTOP,
                "stopped behind %lld of %lld answers: the same command goes on from there",
                (long long)atomic_load(&all->n_done),
                (long long)(all->questions.n * all->step->n_experts));
        if (p->rc)
            return err_set(err, p->rc, "%s", p->err.msg);
    }
    return 0;
}

/* ---- before ---- */

/* What makes scores comparable with those of an earlier run, but for the expert. */
static int hash_asked(struct file_hash *h, const struct answer_step *step, struct err *err)
{
    int64_t numbers[] = {step->form,  step->n_shots, step->window,
                         step->limit, step->bos,     step->bf16};
    file_hash_add(h, numbers, sizeof numbers);
    int rc = file_hash_path(h, NULL, step->questions, err);
    if (!rc && step->n_shots)
        rc = file_hash_path(h, NULL, step->examples, err);
    if (!rc && step->tokenizer)
        file_hash_add(h, step->tokenizer, strlen(step->tokenizer));
    return rc;
}

static int open_parts(struct answering_all *all, struct err *err)
{
    const struct answer_step *step = all->step;
    struct file_hash h = FILE_HASH_BEGIN;
    char *folder = path_join(step->out_dir, "answers");
    int rc = folder ? dir_make(folder, err) : err_set(err, MOE2_ELIMIT, "no memory for a path");
    free(folder);
    if (!rc)
        rc = process_lock(&all->lock, step->out_dir, "answer.pid", err);
    if (!rc)
        rc = hash_asked(&h, step, err);
    all->parts = calloc((size_t)step->n_experts, sizeof *all->parts);
    if (!rc && !all->parts)
        rc = err_set(err, MOE2_ELIMIT, "no memory for %d experts", step->n_experts);
    for (int i = 0; i < step->n_experts && !rc; i++) {
        struct answer_part *p = &all->parts[i];
        *p = (struct answer_part){.step = step,
                                  .expert = &step->experts[i],
                                  .questions = &all->questions,
                                  .form = &all->form,
                                  .n_all_done = &all->n_done};
        rc = answer_part_open(p, h.a, h.b, err);
        atomic_fetch_add(&all->n_done, p->n_done);
    }
    return rc;
}

static int read_sets(struct answering_all *all, struct err *err)
{
    const struct answer_step *step = all->step;
    int rc =
        answer_set_read(&all->questions, step->questions, step->limit, step->sink, step->stop, err);
    if (!rc && step->n_shots)
        rc = answer_set_read(&all->examples, step->examples, 0, step->sink, step->stop, err);
    all->form = (struct answer_form_options){.form = step->form,
                                             .examples = step->n_shots ? &all->examples : NULL,
                                             .n_shots = (int)step->n_shots};
    struct answer_prompt prompt = {0};
    for (int64_t i = 0; i < all->questions.n && step->n_shots && !rc; i++)
        rc = answer_prompt_make(&prompt, &all->questions.v[i], &all->form, err); /* before hours */
    answer_prompt_release(&prompt);
    return rc;
}

/* ---- after ---- */

/* The answered option of a question. */
static int answered(const struct answering_all *all, int expert, const struct answer_question *q,
                    enum choice_norm norm)
{
    static const char *const one = "A"; /* a letter's length is every letter's */
    const char *bare[CHOICE_MAX_OPTIONS];
    for (int i = 0; i < q->n_choices; i++)
        bare[i] = all->step->form == ANSWER_LETTER ? one : q->choices[i];
    return choice_best(all->parts[expert].scores + q->first, bare, q->n_choices, norm);
}

static int write_tables(const struct answering_all *all, struct err *err)
{
    int N = all->step->n_experts;
    size_t n = (size_t)all->questions.n, cells = n * (size_t)N;
    const char **names = malloc((size_t)N * sizeof *names);
    int8_t *options = malloc(cells + 1);
    int32_t *tokens = malloc((cells + 1) * sizeof *tokens);
    int32_t *prompt_tokens = malloc((n + 1) * sizeof *prompt_tokens);
    int rc = names && options && tokens && prompt_tokens
                 ? 0
                 : err_set(err, MOE2_ELIMIT, "no memory for %zu answers", cells);
    for (int i = 0; i < N && !rc; i++)
        names[i] = all->step->experts[i].name;
    for (size_t k = 0; k < n && !rc; k++) {
        const struct answer_question *q = &all->questions.v[k];
        prompt_tokens[k] = all->parts[0].scores[q->first].n_context;
        for (int i = 0; i < N; i++) {
            int option = answered(all, i, q, all->step->norm);
            options[k * (size_t)N + (size_t)i] = (int8_t)option;
            tokens[k * (size_t)N + (size_t)i] = all->parts[i].scores[q->first + option].n_tokens;
        }
    }
    const struct answer_tables tables = {.questions = &all->questions,
                                         .experts = names,
                                         .n_experts = N,
                                         .options = options,
                                         .prompt_tokens = prompt_tokens,
                                         .tokens = tokens};
    if (!rc)
        rc = answer_tables_write(all->step->out_dir, &tables, err);
    free(names);
    free(options);
    free(tokens);
    free(prompt_tokens);
    return rc;
}

static int count(struct answer_report *r, const struct answering_all *all, struct err *err)
{
    int64_t n = all->questions.n, subject = 0;
    int rc = 0;
    for (int64_t q = 0; q < n && !rc; q++) {
        const char *name = all->questions.v[q].subject;
        rc = name_table_add(&r->subjects, &subject, NULL, name, strlen(name), err);
    }
    r->n = n;
    r->n_left_out = all->questions.n_left_out;
    r->n_experts = all->step->n_experts;
    r->experts = calloc((size_t)r->n_experts, sizeof *r->experts);
    r->n_subject = calloc((size_t)r->subjects.n + 1, sizeof *r->n_subject);
    r->n_subject_right =
        calloc((size_t)(r->n_experts * r->subjects.n) + 1, sizeof *r->n_subject_right);
    if (!rc && (!r->experts || !r->n_subject || !r->n_subject_right))
        rc = err_set(err, MOE2_ELIMIT, "no memory for the counts of %d experts", r->n_experts);
    for (int64_t k = 0; k < n && !rc; k++) {
        const struct answer_question *q = &all->questions.v[k];
        subject = name_table_find(&r->subjects, q->subject, strlen(q->subject));
        r->n_subject[subject]++;
        for (int e = 0; e < r->n_experts; e++)
            for (int m = 0; m < CHOICE_N_NORMS; m++) {
                bool right = answered(all, e, q, (enum choice_norm)m) == q->answer;
                r->experts[e].n_right[m] += right;
                if (m == (int)all->step->norm)
                    r->n_subject_right[e * r->subjects.n + subject] += right;
            }
    }
    for (int e = 0; e < r->n_experts && !rc; e++) {
        r->experts[e].n_resumed = all->parts[e].n_resumed;
        r->experts[e].seconds = all->parts[e].seconds;
    }
    return rc;
}

static void put_subjects(struct json_writer *w, const struct answer_report *r, int e)
{
    jw_object(w, "subjects");
    for (int64_t s = 0; s < r->subjects.n; s++) {
        jw_object(w, name_table_text(&r->subjects, s));
        jw_int(w, "questions", r->n_subject[s]);
        jw_int(w, "right", r->n_subject_right[e * r->subjects.n + s]);
        jw_end(w);
    }
    jw_end(w);
}

void answer_json(struct json_writer *w, const struct answer_report *r,
                 const struct answer_step *step)
{
    static const char *const names[CHOICE_N_NORMS] = {"acc", "acc_norm", "acc_bytes"};
    jw_text(w, "questions_file", step->questions);
    jw_int(w, "questions", r->n);
    jw_int(w, "left_out", r->n_left_out);
    jw_text(w, "answer", answer_form_names[step->form]);
    jw_text(w, "normalize", choice_norm_names[step->norm]);
    jw_int(w, "few_shot", step->n_shots);
    jw_bool(w, "bos", step->bos);
    jw_array(w, "experts");
    for (int e = 0; e < r->n_experts; e++) {
        jw_object(w, NULL);
        jw_text(w, "expert", step->experts[e].name);
        jw_text(w, "dir", step->experts[e].dir);
        if (step->experts[e].adapter)
            jw_text(w, "adapter", step->experts[e].adapter);
        for (int m = 0; m < CHOICE_N_NORMS; m++)
            jw_real(w, names[m], (double)r->experts[e].n_right[m] / (double)r->n);
        put_subjects(w, r, e);
        jw_end(w);
    }
    jw_end(w);
}

static int write_manifest(const struct answer_report *r, const struct answer_step *step,
                          struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    char *path = path_join(step->out_dir, "answers.json");
    json_writer_init(&w, &text, 1);
    jw_object(&w, NULL);
    jw_text(&w, "format", "moe2 answers");
    jw_int(&w, "version", 1);
    answer_json(&w, r, step);
    jw_end(&w);
    int rc =
        path ? json_writer_file(&w, path, err) : err_set(err, MOE2_ELIMIT, "no memory for a path");
    buf_release(&text);
    free(path);
    return rc;
}

int answer_run(struct answer_report *report, const struct answer_step *step, struct err *err)
{
    struct answering_all all = {.step = step, .lock = -1};
    int rc = check(step, err);
    if (!rc)
        rc = read_sets(&all, err);
    if (!rc)
        rc = open_parts(&all, err);
    if (!rc)
        rc = run_parts(&all, err);
    if (!rc)
        rc = count(report, &all, err);
    if (!rc)
        rc = write_tables(&all, err);
    if (!rc)
        rc = write_manifest(report, step, err);
    for (int i = 0; all.parts && i < step->n_experts; i++)
        answer_part_release(&all.parts[i]);
    free(all.parts);
    if (all.lock >= 0)
        close(all.lock);
    answer_set_release(&all.questions);
    answer_set_release(&all.examples);
    return rc;
}

void answer_report_release(struct answer_report *report)
{
    free(report->experts);
    free(report->n_subject);
    free(report->n_subject_right);
    name_table_release(&report->subjects);
    *report = (struct answer_report){0};
}
