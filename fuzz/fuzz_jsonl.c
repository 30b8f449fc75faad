/* Any bytes, plain or packed, as JSON lines. Every field that is given must be a NUL-ended text. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "io/json_scan.h"
#include "io/records.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const names[] = {"text", "timestamp", "url", "a", ""};
    struct records_options o = {.form = RECORDS_JSONL, .max_record_bytes = 1 << 16};
    struct reader *reader = NULL;
    struct records *r = NULL;
    struct err err = {0};
    if (reader_open_bytes(&reader, "x", bytes, n, &err) ||
        records_open_reader(&r, reader, &o, &err))
        return 0;
    for (int k = 0, n_errors = 0; k < 10000 && n_errors < 100; k++) {
        bool got = false;
        memset(&err, 0, sizeof err);
        int rc = records_next(r, &got, &err);
        assert(rc == err.code && !(rc && got));
        n_errors += rc != 0;
        if (!rc && !got)
            break;
        for (int i = 0; i < 5; i++) {
            size_t length = 0;
            const char *s = records_field(r, names[i], &length);
            assert(!s || (got && strlen(s) == length &&
                          utf8_valid_bytes((const uint8_t *)s, length) == length));
        }
    }
    records_close(r);
    return 0;
}
