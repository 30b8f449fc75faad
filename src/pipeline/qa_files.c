/* The files of a set of questions: see qa_files.h. */
#include "pipeline/qa_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "io/name_map.h"

struct qa_files {
    struct qa_files_options options;
    char **files; /* owned */
    int64_t n_files, next_file;
    struct records *rows; /* of the open file; NULL: none */
    char *stem;           /* of its name */
    struct qa_row row;
    struct name_map subjects; /* names in arena */
    struct arena arena;
    int64_t *n_of_subject, capacity;
    int64_t n_broken;
    bool first; /* no row of the open file was read */
    struct progress progress;
    double bytes_before;
};

static const char *const mmlu_columns[] = {"question", "A", "B", "C", "D", "answer", NULL};

/* ---- names ---- */

static bool ends_with(const char *s, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n >= m && strncasecmp(s + n - m, end, m) == 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The bytes of the name without .gz or .zst. */
static size_t unpacked_bytes(const char *name)
{
    size_t n = strlen(name);
    return ends_with(name, n, ".gz") ? n - 3 : ends_with(name, n, ".zst") ? n - 4 : n;
}

static bool is_question_file(const char *name)
{
    size_t n = unpacked_bytes(name);
    return ends_with(name, n, ".jsonl") || ends_with(name, n, ".json") ||
           ends_with(name, n, ".csv");
}

static bool is_csv(const char *path)
{
    return ends_with(path, unpacked_bytes(path), ".csv");
}

/* The name without its endings, and for MMLU without the name of the split. */
static char *make_stem(const char *path, enum qa_source source)
{
    static const char *const splits[] = {"_test", "_dev", "_val"};
    const char *name = base_name(path);
    size_t n = unpacked_bytes(name);
    const char *dot = memrchr(name, '.', n);
    n = dot && dot > name ? (size_t)(dot - name) : n;
    for (int i = 0; i < 3 && source == QA_MMLU; i++)
        if (ends_with(name, n, splits[i])) {
            n -= strlen(splits[i]);
            break;
        }
    return strndup(name, n);
}

enum part { PART_QUESTIONS, PART_FEW_SHOT, PART_NEVER };

static enum part part_of(const char *path, enum qa_source source)
{
    const char *name = base_name(path);
    size_t n = unpacked_bytes(name);
    const char *dot = memrchr(name, '.', n);
    n = dot ? (size_t)(dot - name) : n;
    if (source != QA_MMLU)
        return PART_QUESTIONS;
    if (ends_with(name, n, "_dev") || strncmp(name, "dev", 3) == 0)
        return PART_FEW_SHOT;
    if (ends_with(name, n, "_val") || strncmp(name, "val", 3) == 0 ||
        strncmp(name, "auxiliary", 9) == 0)
        return PART_NEVER;
    return PART_QUESTIONS;
}

/* ---- the list of files ---- */

static int add_file(struct qa_files *f, char *path, struct err *err)
{
    if (!path)
        return err_set(err, MOE2_ELIMIT, "no memory for a list of files");
    size_t n = strlen(path);
    int rc = 0;
    if (part_of(path, f->options.source) !=
        (f->options.few_shot ? PART_FEW_SHOT : PART_QUESTIONS)) {
        free(path);
        return 0;
    }
    if (ends_with(path, n, ".parquet"))
        rc = err_set(err, MOE2_EFORMAT,
                     "%s: parquet can't be read yet, wanted JSON lines, JSON or CSV", path);
    else if (f->n_files == QA_MAX_FILES)
        rc = err_set(err, MOE2_ELIMIT, "more than %d files of %s", QA_MAX_FILES,
                     qa_source_names[f->options.source]);
    char **grown = rc ? NULL : realloc(f->files, (size_t)(f->n_files + 1) * sizeof *grown);
    if (!rc && !grown)
        rc = err_set(err, MOE2_ELIMIT, "no memory for %lld files", (long long)f->n_files + 1);
    if (rc) {
        free(path);
        return rc;
    }
    f->files = grown;
    f->files[f->n_files++] = path;
    return 0;
}

static int add_folder(struct qa_files *f, const char *dir, struct err *err)
{
    char **names = NULL;
    size_t n = 0, n_found = 0;
    int rc = dir_names(&names, &n, dir, err);
    for (size_t i = 0; i < n && !rc; i++)
        if (is_question_file(names[i])) {
            n_found++;
            rc = add_file(f, path_join(dir, names[i]), err);
        }
    if (!rc && n_found == 0)
        rc = err_set(err, MOE2_EFORMAT,
                     "%s: has no file of questions, wanted .jsonl, .json or .csv (also .gz, .zst)",
                     dir);
    dir_names_free(names, n);
    return rc;
}

static int add_path(struct qa_files *f, const char *path, struct err *err)
{
    int rc = 0;
    if (!file_exists(path))
        return err_set(err, MOE2_EIO, "%s: is not there", path);
    if (!file_is_dir(path))
        return add_file(f, strdup(path), err);
    char *test = path_join(path, "test"), *dev = path_join(path, "dev");
    if (!test || !dev)
        rc = err_set(err, MOE2_ELIMIT, "no memory for a list of files");
    else if (f->options.source != QA_MMLU || !file_is_dir(test))
        rc = add_folder(f, path, err);
    else if (!f->options.few_shot)
        rc = add_folder(f, test, err);
    else if (file_is_dir(dev))
        rc = add_folder(f, dev, err);
    free(test);
    free(dev);
    return rc;
}

int qa_files_open(struct qa_files **out, const struct qa_files_options *options, struct err *err)
{
    struct qa_files *f = calloc(1, sizeof *f);
    if (!f)
        return err_set(err, MOE2_ELIMIT, "no memory for files of questions");
    f->options = *options;
    int rc = 0;
    for (int64_t i = 0; i < options->paths.n && !rc; i++)
        rc = add_path(f, options->paths.paths[i], err);
    double total = 0;
    for (int64_t i = 0; i < f->n_files && !rc; i++) {
        int64_t size = file_size(f->files[i]);
        total += size > 0 ? (double)size : 0;
    }
    if (rc) {
        qa_files_close(f);
        return rc;
    }
    progress_begin(&f->progress, options->sink, qa_source_names[options->source], total, "B");
    *out = f;
    return 0;
}

void qa_files_close(struct qa_files *f)
{
    if (!f)
        return;
    for (int64_t i = 0; i < f->n_files; i++)
        free(f->files[i]);
    free(f->files);
    records_close(f->rows);
    free(f->stem);
    qa_row_release(&f->row);
    name_map_release(&f->subjects);
    arena_release(&f->arena);
    free(f->n_of_subject);
    free(f);
}

/* ---- ids ---- */

static int subject_number(struct qa_files *f, int64_t *idx, struct err *err)
{
    bool is_new = false;
    *idx = name_map_find(&f->subjects, f->row.subject);
    if (*idx >= 0)
        return 0;
    if (f->subjects.n == QA_MAX_SUBJECTS)
        return err_set(err, MOE2_ELIMIT, "more than %d subjects in %s", QA_MAX_SUBJECTS,
                       qa_source_names[f->options.source]);
    const char *name = arena_strdup(&f->arena, f->row.subject, err);
    int rc = name ? name_map_add(&f->subjects, idx, &is_new, name, err) : MOE2_ELIMIT;
    if (!rc && f->subjects.n > f->capacity) {
        int64_t capacity = f->capacity ? 2 * f->capacity : 64;
        int64_t *grown = realloc(f->n_of_subject, (size_t)capacity * sizeof *grown);
        if (!grown)
            return err_set(err, MOE2_ELIMIT, "no memory for %lld subjects", (long long)capacity);
        memset(grown + f->capacity, 0, (size_t)(capacity - f->capacity) * sizeof *grown);
        f->n_of_subject = grown;
        f->capacity = capacity;
    }
    return rc;
}

/* Rows without a published id are counted within their subject. */
static int give_id(struct qa_files *f, struct err *err)
{
    int64_t idx = 0;
    int rc = subject_number(f, &idx, err);
    if (rc)
        return rc;
    int64_t number = f->n_of_subject[idx]++;
    if (f->row.id)
        return 0;
    size_t size = strlen(f->row.subject) + 64;
    char *id = arena_alloc(&f->row.text, size, err);
    if (!id)
        return MOE2_ELIMIT;
    snprintf(id, size, "%s/%s/%lld", f->row.source, f->row.subject, (long long)number);
    f->row.id = id;
    return 0;
}

/* ---- rows ---- */

static int open_file(struct qa_files *f, struct err *err)
{
    const char *path = f->files[f->next_file];
    struct records_options o = {.max_record_bytes = QA_MAX_ROW_BYTES};
    if (f->options.source == QA_MMLU && is_csv(path)) {
        o.form = RECORDS_CSV;
        o.names = mmlu_columns;
    }
    free(f->stem);
    f->stem = make_stem(path, f->options.source);
    if (!f->stem)
        return err_set(err, MOE2_ELIMIT, "no memory for a name");
    f->first = true;
    f->next_file++;
    return records_open(&f->rows, path, &o, err);
}

static void close_file(struct qa_files *f)
{
    f->bytes_before += (double)reader_bytes_consumed(records_reader(f->rows));
    records_close(f->rows);
    f->rows = NULL;
}

/* Some copies of MMLU's CSV begin with a row of names. */
static bool is_header(struct qa_files *f)
{
    const char *answer = records_field(f->rows, "answer", NULL);
    bool header = f->first && f->options.source == QA_MMLU &&
                  records_form(f->rows) == RECORDS_CSV && answer &&
                  strcasecmp(answer, "answer") == 0;
    f->first = false;
    return header;
}

/* The next record of the open file as a row; *got is false at its end. */
static int next_row(struct qa_files *f, bool *got, struct err *err)
{
    struct qa_context context = {f->options.source, f->stem, f->options.seed};
    int rc = records_next(f->rows, got, err);
    if (!rc && *got && is_header(f))
        rc = records_next(f->rows, got, err);
    if (!rc && *got)
        rc = qa_read_row(&f->row, f->rows, &context, err);
    if (!rc && *got)
        rc = give_id(f, err);
    return rc;
}

/* Whether a broken row may be passed over: not twice at the same record, which is how records say that
 * they can't go on. */
static bool may_skip(struct qa_files *f, int rc, int64_t number_before)
{
    return f->options.skip_broken && rc == MOE2_EFORMAT && records_number(f->rows) > number_before;
}

int qa_files_next(struct qa_files *f, const struct qa_row **row, struct err *err)
{
    *row = NULL;
    for (;;) {
        int rc = 0;
        bool got = false;
        struct err broken = {0};
        if (f->options.stop && *f->options.stop)
            return err_set(err, MOE2_ESTOP, "stopped; nothing was kept");
        if (!f->rows && f->next_file == f->n_files) {
            progress_end(&f->progress);
            return 0;
        }
        if (!f->rows && (rc = open_file(f, err)))
            return rc;
        int64_t number = records_number(f->rows);
        rc = next_row(f, &got, &broken);
        if (rc && !may_skip(f, rc, number))
            return err_set(err, rc, "%s", broken.msg);
        f->n_broken += rc != 0;
        progress_set(&f->progress,
                     f->bytes_before + (double)reader_bytes_consumed(records_reader(f->rows)));
        if (!rc && got) {
            *row = &f->row;
            return 0;
        }
        if (!rc)
            close_file(f);
    }
}

int64_t qa_files_n_files(const struct qa_files *f)
{
    return f->n_files;
}

int64_t qa_files_n_broken(const struct qa_files *f)
{
    return f->n_broken;
}
