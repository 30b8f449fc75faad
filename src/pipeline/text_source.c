/* Documents of files: see text_source.h. A list of files, and one of three ways to be inside a file:
 * over records, over lines of plain text, or reading it as a whole. */
#include "pipeline/text_source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/file.h"
#include "io/reader.h"
#include "io/records.h"
#include "pipeline/text_grammar.h"
#include "pipeline/text_markup.h"

const char *const text_form_names[TEXT_N_FORMS] = {"auto", "jsonl", "csv", "html", "man", "text"};
const char *const text_unit_names[TEXT_N_UNITS] = {"chunk", "paragraph", "file"};

struct file_entry {
    char *path; /* NULL: the grammar */
    enum text_form form;
    int input_idx;
    int64_t n_bytes;
};

struct text_source {
    struct text_source_options options;
    struct file_entry *files;
    size_t n_files, files_capacity, next;
    int64_t total_bytes, done_bytes; /* done: of files that are closed */
    int64_t n_broken;
    struct err first_broken;

    struct file_entry *open; /* the file that is being read, or NULL */
    struct records *records;
    struct reader *reader;
    struct text_grammar *grammar;
    int64_t grammar_left;
    struct buf raw, text;
};

/* ---- the list ---- */

/* The ending of a name, without a .gz or .zst behind it, in lower case. */
static void ending_of(char ending[8], const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    size_t n = strlen(name);
    if (n > 3 && strcasecmp(name + n - 3, ".gz") == 0)
        n -= 3;
    else if (n > 4 && strcasecmp(name + n - 4, ".zst") == 0)
        n -= 4;
    size_t dot = n;
    while (dot > 0 && name[dot - 1] != '.')
        dot--;
    ending[0] = 0;
    if (dot == 0 || n - dot >= 8)
        return;
    for (size_t i = dot; i < n; i++)
        ending[i - dot] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    ending[n - dot] = 0;
}

static bool is_in_man_folder(const char *path)
{
    const char *slash = strrchr(path, '/'), *before = slash;
    while (before && before > path && before[-1] != '/')
        before--;
    return slash && slash - before >= 3 && strncmp(before, "man", 3) == 0;
}

/* TEXT_AUTO when the name says nothing. */
static enum text_form form_of_name(const char *path)
{
    static const struct {
        const char *ending;
        enum text_form form;
    } FORMS[] = {{"jsonl", TEXT_JSONL}, {"json", TEXT_JSONL}, {"ndjson", TEXT_JSONL},
                 {"csv", TEXT_CSV},     {"html", TEXT_HTML},  {"htm", TEXT_HTML},
                 {"xhtml", TEXT_HTML},  {"txt", TEXT_PLAIN},  {"text", TEXT_PLAIN}};
    char ending[8];
    ending_of(ending, path);
    for (size_t i = 0; i < sizeof FORMS / sizeof *FORMS; i++)
        if (strcmp(FORMS[i].ending, ending) == 0)
            return FORMS[i].form;
    return ending[0] >= '1' && ending[0] <= '9' && is_in_man_folder(path) ? TEXT_MAN : TEXT_AUTO;
}

/* By the first bytes: '{', a first line with the field, or plain text. */
static int guess_form(enum text_form *form, const char *path, const char *field, struct err *err)
{
    struct reader *r = NULL;
    char bytes[4097];
    size_t n = 0;
    int rc = reader_open(&r, path, err);
    if (!rc)
        rc = reader_read(r, bytes, &n, sizeof bytes - 1, err);
    reader_close(r);
    if (rc)
        return rc;
    bytes[n] = 0;
    const char *s = bytes + (n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0);
    s += strspn(s, " \t\r\n");
    size_t line = strcspn(s, "\r\n"), length = strlen(field);
    *form = *s == '{' ? TEXT_JSONL : TEXT_PLAIN;
    for (size_t i = 0; *s != '{' && i + length <= line; i++) {
        bool begins = i == 0 || s[i - 1] == ',' || s[i - 1] == '"';
        char after = s[i + length];
        if (begins && strncmp(s + i, field, length) == 0 && (after == ',' || after == '"') &&
            line < 200)
            *form = TEXT_CSV;
    }
    return 0;
}

static int add_file(struct text_source *s, const char *path, enum text_form form, int input_idx,
                    int64_t n_bytes, struct err *err)
{
    if (s->n_files == s->files_capacity) {
        size_t capacity = s->files_capacity ? 2 * s->files_capacity : 64;
        struct file_entry *grown = realloc(s->files, capacity * sizeof *grown);
        if (!grown)
            return err_set(err, MOE2_ELIMIT, "no memory for a list of %zu files", capacity);
        s->files = grown;
        s->files_capacity = capacity;
    }
    char *copy = path ? strdup(path) : NULL;
    if (path && !copy)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its name", path);
    s->files[s->n_files++] = (struct file_entry){copy, form, input_idx, n_bytes};
    s->total_bytes += n_bytes;
    return 0;
}

static int add_folder(struct text_source *s, const char *path, const struct text_input *in,
                      int input_idx, int depth, struct err *err)
{
    if (depth > TEXT_MAX_DEPTH)
        return err_set(err, MOE2_ELIMIT, "%s: lies deeper than %d folders", path, TEXT_MAX_DEPTH);
    char **names = NULL;
    size_t n = 0;
    int rc = dir_names(&names, &n, path, err);
    for (size_t i = 0; i < n && !rc; i++) {
        char *inside = path_join(path, names[i]);
        if (!inside) {
            rc = err_set(err, MOE2_ELIMIT, "%s: no memory for its names", path);
            break;
        }
        enum text_form form = s->options.form == TEXT_AUTO ? form_of_name(inside) : s->options.form;
        if (in->only != TEXT_AUTO && form != in->only)
            form = TEXT_AUTO;
        if (file_is_dir(inside))
            rc = add_folder(s, inside, in, input_idx, depth + 1, err);
        else if (form != TEXT_AUTO && names[i][0] != '.' && file_size(inside) >= 0)
            rc = add_file(s, inside, form, input_idx, file_size(inside), err);
        free(inside);
    }
    dir_names_free(names, n);
    return rc;
}

static int add_input(struct text_source *s, const struct text_input *in, int input_idx,
                     struct err *err)
{
    if (!in->path)
        return add_file(s, NULL, TEXT_PLAIN, input_idx, in->grammar_bytes, err);
    if (file_is_dir(in->path)) {
        size_t before = s->n_files;
        int rc = add_folder(s, in->path, in, input_idx, 0, err);
        if (!rc && s->n_files == before)
            rc = err_set(
                err, MOE2_ECONFIG,
                "%s: has no file to read, wanted .jsonl, .json, .csv, .html, .txt or manual "
                "pages (also .gz, .zst)",
                in->path);
        return rc;
    }
    if (!file_exists(in->path))
        return err_set(err, MOE2_EIO, "%s: is not there", in->path);
    enum text_form form = s->options.form;
    if (form == TEXT_AUTO)
        form = form_of_name(in->path);
    int rc = form == TEXT_AUTO ? guess_form(&form, in->path, s->options.field, err) : 0;
    return rc ? rc : add_file(s, in->path, form, input_idx, file_size(in->path), err);
}

int text_source_open(struct text_source **out, const struct text_input *inputs, int n_inputs,
                     const struct text_source_options *options, struct err *err)
{
    struct text_source *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, MOE2_ELIMIT, "no memory to read text");
    s->options = *options;
    s->raw.max_bytes = TEXT_MAX_DOCUMENT_BYTES;
    s->text.max_bytes = TEXT_MAX_DOCUMENT_BYTES;
    int rc = 0;
    for (int i = 0; i < n_inputs && !rc; i++)
        rc = add_input(s, &inputs[i], i, err);
    if (rc)
        text_source_close(s);
    else
        *out = s;
    return rc;
}

static void close_file(struct text_source *s)
{
    records_close(s->records);
    reader_close(s->reader);
    text_grammar_free(s->grammar);
    s->records = NULL;
    s->reader = NULL;
    s->grammar = NULL;
    if (s->open)
        s->done_bytes += s->open->n_bytes;
    s->open = NULL;
}

void text_source_close(struct text_source *s)
{
    if (!s)
        return;
    close_file(s);
    for (size_t i = 0; i < s->n_files; i++)
        free(s->files[i].path);
    free(s->files);
    buf_release(&s->raw);
    buf_release(&s->text);
    free(s);
}

/* ---- documents ---- */

static int open_file(struct text_source *s, struct err *err)
{
    struct file_entry *f = &s->files[s->next++];
    s->open = f;
    if (!f->path) {
        s->grammar_left = f->n_bytes;
        return text_grammar_new(&s->grammar, s->options.seed, err);
    }
    if (f->form != TEXT_JSONL && f->form != TEXT_CSV)
        return reader_open(&s->reader, f->path, err);
    struct records_options o = {.form = f->form == TEXT_JSONL ? RECORDS_JSONL : RECORDS_CSV,
                                .max_record_bytes = TEXT_MAX_DOCUMENT_BYTES};
    return records_open(&s->records, f->path, &o, err);
}

static int next_record(struct text_document *doc, bool *got, struct text_source *s, struct err *err)
{
    for (;;) {
        struct err broken = {0};
        int rc = records_next(s->records, got, &broken);
        if (rc == MOE2_EFORMAT && s->options.skip_broken &&
            records_form(s->records) == RECORDS_JSONL) {
            if (s->n_broken++ == 0)
                s->first_broken = broken;
            continue;
        }
        if (rc)
            return err_set(err, rc, "%s", broken.msg);
        return *got ? records_need(&doc->text, &doc->n, s->records, s->options.field, err) : 0;
    }
}

/* The rest of the file into raw. */
static int read_rest(struct text_source *s, struct err *err)
{
    enum { STEP = 1 << 16 };
    size_t n = STEP;
    int rc = 0;
    buf_clear(&s->raw);
    while (n == STEP && !rc) {
        rc = buf_reserve(&s->raw, STEP, err);
        if (rc)
            return err_prefix(err, "%s", s->open->path);
        rc = reader_read(s->reader, s->raw.bytes + s->raw.n, &n, STEP, err);
        if (!rc)
            s->raw.n += n;
    }
    if (!rc)
        s->raw.bytes[s->raw.n] = 0;
    return rc;
}

static int next_whole(struct text_document *doc, bool *got, struct text_source *s, struct err *err)
{
    int rc = read_rest(s, err);
    *got = s->raw.n > 0;
    if (rc || !*got)
        return rc;
    if (s->open->form == TEXT_PLAIN) {
        doc->text = s->raw.bytes;
        doc->n = s->raw.n;
        return 0;
    }
    buf_clear(&s->text);
    if (s->open->form == TEXT_HTML)
        rc = text_from_html(&s->text, s->raw.bytes, s->raw.n, err);
    else
        rc = text_from_man(&s->text, s->raw.bytes, s->raw.n, err);
    if (rc)
        return err_prefix(err, "%s", s->open->path);
    doc->text = s->text.bytes ? s->text.bytes : "";
    doc->n = s->text.n;
    return 0;
}

static bool is_blank(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r' && line[i] != '\f')
            return false;
    return true;
}

/* Paragraphs up to the wanted length, or one. */
static int next_paragraphs(struct text_document *doc, bool *got, struct text_source *s,
                           struct err *err)
{
    size_t wanted = s->options.unit == TEXT_BY_CHUNK ? TEXT_CHUNK_BYTES : 1;
    buf_clear(&s->text);
    for (;;) {
        const char *line = NULL;
        size_t n = 0;
        int rc = reader_line(s->reader, &line, &n, TEXT_MAX_DOCUMENT_BYTES, err);
        if (rc)
            return rc;
        if (!line || (is_blank(line, n) && s->text.n >= wanted))
            break;
        if (s->text.n == 0 && is_blank(line, n))
            continue;
        rc = buf_append(&s->text, line, n, err);
        if (!rc)
            rc = buf_append(&s->text, "\n", 1, err);
        if (rc)
            return err_prefix(err, "%s: the paragraph at line %lld", s->open->path,
                              (long long)reader_line_number(s->reader));
    }
    *got = s->text.n > 0;
    doc->text = s->text.bytes;
    doc->n = s->text.n;
    return 0;
}

static int next_sentences(struct text_document *doc, bool *got, struct text_source *s,
                          struct err *err)
{
    *got = s->grammar_left > 0;
    if (!*got)
        return 0;
    buf_clear(&s->text);
    int rc = text_grammar_document(&s->text, s->grammar, err);
    s->grammar_left -= (int64_t)s->text.n;
    doc->text = s->text.bytes;
    doc->n = s->text.n;
    return rc;
}

static int next_of_file(struct text_document *doc, bool *got, struct text_source *s,
                        struct err *err)
{
    if (s->grammar)
        return next_sentences(doc, got, s, err);
    if (s->records)
        return next_record(doc, got, s, err);
    if (s->open->form == TEXT_PLAIN && s->options.unit != TEXT_BY_FILE)
        return next_paragraphs(doc, got, s, err);
    return next_whole(doc, got, s, err);
}

int text_source_next(struct text_document *doc, bool *got, struct text_source *s, struct err *err)
{
    *got = false;
    while (s->open || s->next < s->n_files) {
        int rc = s->open ? 0 : open_file(s, err);
        if (!rc)
            rc = next_of_file(doc, got, s, err);
        if (rc)
            return rc;
        if (*got) {
            doc->input_idx = s->open->input_idx;
            return 0;
        }
        close_file(s);
    }
    return 0;
}

int64_t text_source_total_bytes(const struct text_source *s)
{
    return s->total_bytes;
}

int64_t text_source_done_bytes(const struct text_source *s)
{
    if (s->records)
        return s->done_bytes + reader_bytes_consumed(records_reader(s->records));
    if (s->reader)
        return s->done_bytes + reader_bytes_consumed(s->reader);
    return s->done_bytes + (s->grammar ? s->open->n_bytes - s->grammar_left : 0);
}

int64_t text_source_n_files(const struct text_source *s)
{
    return (int64_t)s->n_files;
}

int64_t text_source_n_broken(const struct text_source *s)
{
    return s->n_broken;
}

const char *text_source_first_broken(const struct text_source *s)
{
    return s->first_broken.msg;
}
