/* What the three forms of records share: the reader, the limits and the fields of the current record.
 * Internal to io. */
#ifndef MOE2_IO_RECORDS_IMPL_H
#define MOE2_IO_RECORDS_IMPL_H

#include "base/buf.h"
#include "io/records.h"

/* A field of the current record, as places in text (which moves while it grows). */
struct record_field {
    size_t name_at; /* JSON only */
    size_t text_at, n;
    bool is_null;
};

struct records {
    struct reader *reader; /* owned */
    enum records_form form;
    size_t max_bytes;
    struct buf text; /* names and values of the current record, each NUL-ended */
    struct record_field *fields;
    int n_fields, fields_capacity;
    int64_t number, line_number; /* of the current record */
    int64_t next_line;           /* CSV, JSON array: of the next byte, from 1 */
    char **names;                /* CSV: the columns */
    int n_names;
    struct buf element; /* JSON array: the bytes of the current object */
    bool begun, ended;  /* JSON array: its brackets were passed */
    int failed;         /* an error after which nobody knows where a record begins */
};

/* Appends an empty field; MOE2_ELIMIT beyond RECORDS_MAX_FIELDS. */
int records_add_field(struct records *r, struct record_field **out, struct err *err);

/* The next record of each form. text and fields are empty before; *got is false at the end. */
int records_next_jsonl(struct records *r, bool *got, struct err *err);
int records_next_csv(struct records *r, bool *got, struct err *err);
int records_next_json(struct records *r, bool *got, struct err *err);

/* Reads one JSON object into the fields. Messages are without file and line. */
int records_read_object(struct records *r, const char *bytes, size_t n, struct err *err);

/* Reads the header row of a CSV file, or takes the given names. */
int records_begin_csv(struct records *r, const char *const *names, struct err *err);

#endif
