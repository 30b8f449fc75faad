/* The documents of files and folders, one after the other, whatever form they have.
 *
 * A folder is walked in the order of names; files of unknown endings are passed over. The ending says
 * the form (behind it .gz or .zst, which the first bytes decide): .jsonl .json .ndjson are JSON
 * lines and .csv is CSV, with a document in the field "text"; .html .htm .xhtml a page; NAME.1 … NAME.9
 * in a folder man* a manual page; .txt .text plain text. A file that was named itself and has none of
 * these endings is JSON lines when it begins with '{', CSV when its first line has the field, and
 * plain text otherwise.
 *
 * Memory: one document, at most TEXT_MAX_DOCUMENT_BYTES.
 */
#ifndef MOE2_PIPELINE_TEXT_SOURCE_H
#define MOE2_PIPELINE_TEXT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { TEXT_MAX_DOCUMENT_BYTES = 64 << 20, TEXT_CHUNK_BYTES = 4096, TEXT_MAX_DEPTH = 32 };

enum text_form { TEXT_AUTO, TEXT_JSONL, TEXT_CSV, TEXT_HTML, TEXT_MAN, TEXT_PLAIN, TEXT_N_FORMS };

/* "auto", "jsonl", "csv", "html", "man", "text". */
extern const char *const text_form_names[TEXT_N_FORMS];

/* What a document is in plain text: paragraphs (an empty line between) gathered to TEXT_CHUNK_BYTES;
 * each paragraph; the whole file. */
enum text_unit { TEXT_BY_CHUNK, TEXT_BY_PARAGRAPH, TEXT_BY_FILE, TEXT_N_UNITS };

/* "chunk", "paragraph", "file". */
extern const char *const text_unit_names[TEXT_N_UNITS];

/* One thing to read; strings are borrowed until text_source_close. */
struct text_input {
    const char *path;              /* NULL: text of our grammar (text_grammar.h) */
    const char *package, *version; /* for the manifest, or NULL */
    int64_t grammar_bytes;         /* how much of it */
    enum text_form only; /* of a folder, only files of that ending; TEXT_AUTO: all known */
};

struct text_source_options {
    enum text_form form; /* TEXT_AUTO: as above */
    enum text_unit unit;
    const char *field; /* of records; "text" */
    bool skip_broken;  /* pass over broken JSON lines and count them, instead of failing */
    uint64_t seed;     /* of the grammar */
};

struct text_document {
    const char *text; /* borrowed until the next call; not cleaned, maybe not UTF-8 */
    size_t n;
    int input_idx;
};

struct text_source;

/* Lists the files; opens none yet but those whose form must be guessed. The result is the caller's.
 * MOE2_EIO when an input is not there; MOE2_ECONFIG when a folder has nothing to read; MOE2_ELIMIT. */
int text_source_open(struct text_source **out, const struct text_input *inputs, int n_inputs,
                     const struct text_source_options *options, struct err *err);
void text_source_close(struct text_source *s); /* NULL is fine */

/* The next document; *got is false at the end. Errors name file and line: those of records_next and
 * reader_read, and MOE2_EFORMAT for records without the field. */
int text_source_next(struct text_document *doc, bool *got, struct text_source *s, struct err *err);

/* For progress: bytes on disk of all files, and of those read so far. */
int64_t text_source_total_bytes(const struct text_source *s);
int64_t text_source_done_bytes(const struct text_source *s);

int64_t text_source_n_files(const struct text_source *s);
int64_t text_source_n_broken(const struct text_source *s);
const char *text_source_first_broken(const struct text_source *s); /* its message, or "" */

#endif
