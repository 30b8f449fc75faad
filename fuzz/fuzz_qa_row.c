/* Any bytes as rows of each set of questions: JSON lines, a JSON array or CSV. The first byte chooses the set. What
 * was read must be writable and read back as the same line. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "io/json_scan.h"
#include "pipeline/qa_forms.h"
#include "pipeline/qa_leak.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int next_row(struct qa_row *row, struct records *r, enum qa_source source, bool *got,
                    struct err *err)
{
    struct qa_context c = {source, "stem", 1};
    int rc = records_next(r, got, err);
    return rc || !*got ? rc : qa_read_row(row, r, &c, err);
}

static void open_bytes(struct records **r, const void *bytes, size_t n)
{
    struct records_options o = {.max_record_bytes = 1 << 16};
    struct reader *reader = NULL;
    if (!reader_open_bytes(&reader, "x", bytes, n, NULL))
        records_open_reader(r, reader, &o, NULL);
}

static void check_row(struct qa_row *row)
{
    struct buf line = {0}, again = {0};
    struct qa_row copy = {0};
    struct records *r = NULL;
    bool got = false;
    row->id = row->id && *row->id ? row->id : "id";
    assert(qa_row_json(&line, row, NULL) == 0);
    assert(utf8_valid_bytes((const uint8_t *)line.bytes, line.n) == line.n);
    open_bytes(&r, line.bytes, line.n);
    if (line.n < 1 << 16 && *row->source && *row->subject) {
        assert(next_row(&copy, r, QA_MMLU, &got, NULL) == 0 && got);
        assert(qa_row_json(&again, &copy, NULL) == 0);
        assert(again.n == line.n && memcmp(again.bytes, line.bytes, line.n) == 0);
    }
    records_close(r);
    qa_row_release(&copy);
    buf_release(&line);
    buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct records *r = NULL;
    struct qa_index *x = NULL;
    struct qa_row row = {0};
    if (n < 1)
        return 0;
    enum qa_source source = (enum qa_source)(bytes[0] % QA_N_SOURCES);
    open_bytes(&r, bytes + 1, n - 1);
    if (!r)
        return 0;
    assert(qa_index_new(&x, NULL) == 0);
    for (int k = 0, n_errors = 0; k < 1000 && n_errors < 20; k++) {
        bool got = false;
        struct err err = {0};
        int rc = next_row(&row, r, source, &got, &err);
        assert(rc == err.code);
        n_errors += rc != 0;
        if (!rc && !got)
            break;
        if (rc)
            continue;
        enum qa_leak leak = QA_LEAK_NONE;
        assert(qa_index_add(x, &row, NULL) == 0);
        assert(qa_index_find(&leak, x, &row, NULL) == 0);
        assert(leak != QA_LEAK_NONE || row.n_choices == 0);
        check_row(&row);
    }
    qa_row_release(&row);
    qa_index_free(x);
    records_close(r);
    return 0;
}
