/* moe2 quantize: a model in fewer bits, and what that costs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "cli/cli.h"
#include "cli/scoring.h"
#include "io/json_util.h"
#include "quant/model_write.h"

struct job {
    const char *in, *out, *method, *text, *tokenizer;
    struct device_flags device; /* of the perplexities */
    bool report, json;
    enum weight_type type;
    struct write_report tensors;
    double before, after; /* perplexities; 0: not asked for */
};

static int parse_method(struct job *j, struct err *err)
{
    int type = weight_type_from_name(j->method);
    if (type != WEIGHT_NF4 && type != WEIGHT_Q8_0 && type != WEIGHT_Q4_0)
        return err_set(err, MOE2_ECONFIG, "--method is \"%s\", wanted nf4, q8_0 or q4_0",
                       j->method);
    j->type = (enum weight_type)type;
    return 0;
}

static int measure(double *out, const struct job *j, const char *model, const char *tokenizer,
                   struct err *err)
{
    struct scoring s = SCORING_INIT;
    struct ids ids = {0};
    struct perplexity p = {0};
    int64_t n_bytes = 0;
    s.model = model;
    s.tokenizer_path = tokenizer;
    s.device = j->device;
    int rc = scoring_open(&s, err);
    if (!rc)
        rc = scoring_read(&ids, &n_bytes, &s, j->text, err);
    if (!rc)
        rc = perplexity_run(&p, s.dec, &(struct tokens){.ids = ids.v, .n = (int64_t)ids.n},
                            &s.options, err);
    if (!rc)
        *out = exp(p.nll / (double)p.tokens);
    ids_release(&ids);
    scoring_close(&s);
    return rc;
}

static void sum(const struct job *j, int64_t bytes[2], int64_t *n)
{
    bytes[0] = bytes[1] = *n = 0;
    for (int64_t i = 0; i < j->tensors.n; i++) {
        bytes[0] += j->tensors.v[i].bytes_from;
        bytes[1] += j->tensors.v[i].bytes_to;
        *n += j->tensors.v[i].n;
    }
}

static int print_json(const struct job *j, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    int64_t bytes[2], n;
    sum(j, bytes, &n);
    json_writer_init(&w, &text, 2);
    jw_object(&w, NULL);
    jw_text(&w, "method", j->method);
    jw_text(&w, "out", j->out);
    jw_int(&w, "values", n);
    jw_int(&w, "bytes_before", bytes[0]);
    jw_int(&w, "bytes_after", bytes[1]);
    jw_real(&w, "bits_per_value", n ? 8.0 * (double)bytes[1] / (double)n : 0);
    if (j->text) {
        jw_real(&w, "ppl_before", j->before);
        jw_real(&w, "ppl_after", j->after);
    }
    jw_array(&w, "tensors");
    for (int64_t i = 0; i < j->tensors.n && j->report; i++) {
        const struct tensor_report *t = &j->tensors.v[i];
        jw_object(&w, NULL);
        jw_text(&w, "name", t->name);
        jw_text(&w, "from", t->from);
        jw_text(&w, "to", t->to);
        jw_int(&w, "bytes_before", t->bytes_from);
        jw_int(&w, "bytes_after", t->bytes_to);
        jw_real(&w, "relative_error", t->error);
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    if (!rc)
        puts(text.bytes);
    buf_release(&text);
    return rc;
}

static int print_table(const struct job *j, struct err *err)
{
    struct table *t = NULL;
    struct buf text = {0};
    int rc = table_new(&t,
                       (struct table_column[]){{"tensor", 0},
                                               {"from", 0},
                                               {"to", 0},
                                               {"MB before", TABLE_RIGHT},
                                               {"MB after", TABLE_RIGHT},
                                               {"relative error", TABLE_RIGHT}},
                       6, err);
    for (int64_t i = 0; i < j->tensors.n && !rc; i++) {
        const struct tensor_report *r = &j->tensors.v[i];
        table_cell(t, "%s", r->name);
        table_cell(t, "%s", r->from);
        table_cell(t, "%s", r->to);
        table_cell(t, "%.3f", (double)r->bytes_from / 1e6);
        table_cell(t, "%.3f", (double)r->bytes_to / 1e6);
        table_cell(t, "%.5f", r->error);
    }
    if (!rc)
        rc = table_text(&text, t, err);
    if (!rc)
        fputs(text.bytes, stdout);
    table_free(t);
    buf_release(&text);
    return rc;
}

static int print(const struct job *j, struct err *err)
{
    int64_t bytes[2], n;
    if (j->json)
        return print_json(j, err);
    int rc = j->report ? print_table(j, err) : 0;
    sum(j, bytes, &n);
    if (!rc)
        printf("%s: %.1f MB, was %.1f MB; %.3f bits a value\n", j->out, (double)bytes[1] / 1e6,
               (double)bytes[0] / 1e6, n ? 8.0 * (double)bytes[1] / (double)n : 0);
    if (!rc && j->text)
        printf("perplexity: %.4f, was %.4f\n", j->after, j->before);
    return rc;
}

static int run(int argc, char **argv)
{
    struct job j = {0};
    const struct cli_flag flags[] = {{"--in", FLAG_TEXT, &j.in, true},
                                     {"--out", FLAG_TEXT, &j.out, true},
                                     {"--method", FLAG_TEXT, &j.method, true},
                                     {"--text", FLAG_TEXT, &j.text, false},
                                     {"--tokenizer", FLAG_TEXT, &j.tokenizer, false},
                                     DEVICE_FLAGS(&j.device),
                                     {"--report", FLAG_BOOL, &j.report, false},
                                     {"--json", FLAG_BOOL, &j.json, false}};
    struct err err = {0};
    struct source *s = NULL;
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc && !j.text && (j.device.name || j.device.limit))
        rc = err_set(&err, MOE2_ECONFIG,
                     "--device is for --text: codes are found by the host, perplexities on a "
                     "device");
    if (!rc)
        rc = parse_method(&j, &err);
    if (!rc)
        rc = source_open(&s, j.in, &err);
    struct model_write_options o = {
        .type = j.type, .keep_parts = true, .log = cli_sink(), .report = &j.tensors};
    if (!rc)
        rc = model_write(j.out, s, &o, &err);
    if (!rc && j.text)
        rc = measure(&j.before, &j, j.in, j.tokenizer, &err);
    if (!rc && j.text)
        rc = measure(&j.after, &j, j.out, j.tokenizer ? j.tokenizer : j.in, &err);
    if (!rc)
        rc = print(&j, &err);
    source_close(s);
    free(j.tensors.v);
    return rc ? cli_fail("quantize", &err) : 0;
}

const struct command cmd_quantize = {
    "quantize",
    "a model in fewer bits, and what that costs",
    "usage: moe2 quantize --method nf4|q8_0|q4_0 --in MODEL --out X [--report] [--text FILE] "
    "[--tokenizer T] [--json]\n\n"
    "nf4 writes a folder as bitsandbytes does (blocks of 64, double quantisation: 4.13 bits a "
    "weight "
    "of the layers;\n"
    "embedding, head, routers and norms stay in 16 bits), q8_0 and q4_0 a GGUF file with ggml's "
    "codes (8.5 and 4.5 bits).\n"
    "A tensor at a time is in memory. What is done is kept in X.parts, so that the same command "
    "goes on where a killed one\n"
    "stopped; that folder goes when the model is whole.\n\n"
    "  --method M   nf4, q8_0 or q4_0\n"
    "  --in MODEL   a checkpoint folder, a .gguf file, or llama2.c's .bin\n"
    "  --out X      a folder for nf4, a name ending in .gguf for the others\n"
    "  --report     a table of the tensors: types, sizes, root of the squared error over the "
    "squared values\n"
    "  --text FILE  the model's perplexity on a text before and after\n"
    "  --tokenizer T  for --text: a tokenizer.json, its folder, a .gguf file, or bytes; without it "
    "the "
    "model's own\n" DEVICE_FLAGS_HELP
    "                   That is where --text is scored; codes are found by the host.\n"
    "  --json       one JSON object on standard output\n\n"
    "example:\n"
    "  moe2 quantize --method nf4 --in models/smollm2 --out models/smollm2-nf4 --report --text "
    "text.txt\n",
    run,
};
