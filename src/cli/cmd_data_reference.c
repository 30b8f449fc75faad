/* moe2 data reference: what a 5-gram model and xz make of a packed folder's test text. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/table.h"
#include "cli/cli.h"
#include "eval/ngram_reference.h"
#include "io/json_util.h"

static const char HELP[] =
    "usage: moe2 data reference --data DIR [--json]\n\n"
    "Bits per byte of the test text of a folder that moe2 data text made: an interpolated 5-gram "
    "model\n"
    "of bytes trained on the train split (modified Kneser-Ney), xz -9 of the test text alone, and "
    "what\n"
    "xz -9 adds for it behind the train text. The lines stand beside a model's bits per byte in\n"
    "reports. Temporary files go to $TMPDIR or /tmp.\n\n"
    "  --data DIR     the packed folder\n"
    "  --json         one JSON object: {references: [{label, bits_per_byte, note}], …}\n\n"
    "example:\n"
    "  moe2 data reference --data data/italian\n";

static int print_json(struct buf *out, const struct reference *r, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 1);
    jw_object(&w, NULL);
    jw_array(&w, "references");
    for (int i = 0; i < r->n_lines; i++) {
        jw_object(&w, NULL);
        jw_text(&w, "label", r->lines[i].label);
        jw_real(&w, "bits_per_byte", r->lines[i].bits_per_byte);
        jw_text(&w, "note", r->lines[i].note);
        jw_end(&w);
    }
    jw_end(&w);
    jw_int(&w, "test_bytes", r->n_test_bytes);
    jw_int(&w, "train_bytes", r->n_train_bytes);
    jw_real(&w, "seconds", r->seconds);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static int print_text(struct buf *out, const struct reference *r, struct err *err)
{
    struct table *t = NULL;
    int rc =
        table_new(&t,
                  (struct table_column[]){
                      {"reference", TABLE_LEFT}, {"bits per byte", TABLE_RIGHT}, {"", TABLE_LEFT}},
                  3, err);
    if (rc)
        return rc;
    for (int i = 0; i < r->n_lines; i++) {
        table_cell(t, "%s", r->lines[i].label);
        table_cell(t, "%.4f", r->lines[i].bits_per_byte);
        table_cell(t, "%s", r->lines[i].note);
    }
    rc = table_text(out, t, err);
    table_free(t);
    return rc;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    const char *data = NULL;
    bool json = false;
    const struct cli_flag flags[] = {
        {"--data", FLAG_TEXT, &data, true},
        {"--json", FLAG_BOOL, &json, false},
    };
    if (cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err))
        return cli_fail("data reference", &err);
    const char *temp = getenv("TMPDIR");
    struct reference r;
    struct buf out = {0};
    int rc = reference_measure(&r, data, temp && *temp ? temp : "/tmp", cli_sink(), cli_stop_flag(),
                               &err);
    if (!rc)
        rc = json ? print_json(&out, &r, &err) : print_text(&out, &r, &err);
    if (!rc)
        fwrite(out.bytes, 1, out.n, stdout);
    buf_release(&out);
    return rc ? cli_fail("data reference", &err) : 0;
}

const struct command cmd_data_reference = {
    "data reference",
    "bits per byte of a 5-gram model and of xz -9 on a test text",
    HELP,
    run,
};
