/* moe2 inspect: what a model's file holds, and what moe2 would do with it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "base/words.h"
#include "cli/cli.h"
#include "eval/model_tokenizer.h"
#include "io/gguf.h"
#include "io/json_util.h"
#include "io/safetensors.h"
#include "model/params.h"
#include "model/source.h"

enum { MAX_VALUE = 60, MAX_USE = 640 };

/* One tensor as the file itself has it. */
struct row {
    const char *name, *type;
    const int64_t *shape;
    int n_dims;
    int64_t n_bytes;
};

struct file {
    const char *path;
    struct source *source;   /* NULL where the file is no model that source_open knows */
    struct safetensors *st;  /* one file, or the folder again for its own tensors */
    const struct gguf *gguf; /* the source's */
    struct model_config config;
    bool has_config;
    char use[MAX_USE], tokenizer[MAX_USE];
};

static int open_file(struct file *f, struct err *err)
{
    if (words_end_in(f->path, ".safetensors"))
        return safetensors_open(&f->st, f->path, err);
    int rc = source_open(&f->source, f->path, err);
    if (rc)
        return rc;
    f->gguf = source_gguf(f->source);
    return strcmp(source_format(f->source), "safetensors") == 0
               ? safetensors_open(&f->st, f->path, err)
               : 0;
}

static void close_file(struct file *f)
{
    source_close(f->source);
    safetensors_close(f->st);
}

static int64_t n_rows(const struct file *f)
{
    return f->gguf ? gguf_n_tensors(f->gguf)
           : f->st ? safetensors_count(f->st)
                   : source_count(f->source);
}

static struct row row_at(const struct file *f, int64_t i)
{
    if (f->gguf) {
        const struct gguf_tensor *t = gguf_at(f->gguf, i);
        return (struct row){t->name, t->layout->name, t->shape, t->n_dims, t->n_bytes};
    }
    if (f->st) {
        const struct safetensor *t = safetensors_at(f->st, i);
        return (struct row){t->name, t->dtype_name, t->shape, t->n_dims, t->n_bytes};
    }
    const struct source_tensor *t = source_at(f->source, i);
    return (struct row){t->name, t->stored, t->shape, t->n_dims, t->n_bytes};
}

/* ---- what moe2 would do ---- */

/* Whether products can read the weights where they lie: all of one type, bf16 or float32. */
static bool lies_ready(const struct source *s)
{
    int type = -1;
    for (int64_t i = 0; i < source_count(s); i++) {
        const struct source_tensor *t = source_at(s, i);
        if (t->n_dims < 2)
            continue;
        if (t->kind != STORED_PLAIN || (type >= 0 && (int)t->dtype != type))
            return false;
        type = (int)t->dtype;
    }
    return type == DT_BF16 || type == DT_F32;
}

static void find_use(struct file *f)
{
    struct err err = {0};
    struct param_list list = {0};
    struct source *checked = NULL;
    if (!f->source) {
        snprintf(f->use, sizeof f->use,
                 "nothing: a single safetensors file is no model without its "
                 "folder's config.json");
        return;
    }
    int rc = source_config(&f->config, f->source, &err);
    f->has_config = !rc;
    if (!rc)
        rc = param_list_make(&list, &f->config, &err);
    if (!rc)
        rc = param_list_check(&checked, &list, f->path, &f->config, &err);
    if (rc)
        snprintf(f->use, sizeof f->use, "refused: %.600s", err.msg);
    else if (lies_ready(f->source))
        snprintf(f->use, sizeof f->use, "opened: weights are read where they lie in the file");
    else
        snprintf(f->use, sizeof f->use, "opened: weights are decoded to float32, %.2f GB",
                 (double)list.n_elements * 4 / 1e9);
    source_close(checked);
    param_list_release(&list);
}

static void find_tokenizer(struct file *f)
{
    struct err err = {0};
    struct tokenizer *t = NULL;
    if (!f->source || model_tokenizer_open(&t, f->path, &err))
        snprintf(f->tokenizer, sizeof f->tokenizer, "none: %.600s",
                 f->source ? err.msg : "no folder");
    else
        snprintf(f->tokenizer, sizeof f->tokenizer, "%d ids", tokenizer_n_vocab(t));
    tokenizer_free(t);
}

/* ---- metadata ---- */

/* A short text of a key's value: UTF-8 cut at a character, control signs as spaces. */
static const char *value_text(char out[MAX_VALUE + 32], const struct file *f,
                              const struct gguf_key *k)
{
    double real = 0;
    int64_t whole = 0;
    bool flag = false;
    const char *text = NULL;
    if (k->type == GGUF_ARRAY) {
        snprintf(out, MAX_VALUE + 32, "%" PRId64 " items", k->n);
    } else if (!gguf_text(&text, f->gguf, k->name, NULL)) {
        size_t n = strlen(text), cut = n < MAX_VALUE ? n : MAX_VALUE;
        while (cut && cut < n && ((unsigned char)text[cut] & 0xc0) == 0x80)
            cut--;
        snprintf(out, MAX_VALUE + 32, "%.*s%s", (int)cut, text, cut < n ? "…" : "");
        for (char *p = out; *p; p++)
            *p = (unsigned char)*p < ' ' ? ' ' : *p;
    } else if (!gguf_bool(&flag, f->gguf, k->name, NULL)) {
        snprintf(out, MAX_VALUE + 32, "%s", flag ? "true" : "false");
    } else if (!gguf_int(&whole, f->gguf, k->name, INT64_MIN, INT64_MAX, NULL)) {
        snprintf(out, MAX_VALUE + 32, "%" PRId64, whole);
    } else if (!gguf_real(&real, f->gguf, k->name, NULL)) {
        snprintf(out, MAX_VALUE + 32, "%g", real);
    } else {
        snprintf(out, MAX_VALUE + 32, "?");
    }
    return out;
}

static int print_keys(const struct file *f, struct err *err)
{
    struct table *t = NULL;
    struct buf text = {0};
    char value[MAX_VALUE + 32];
    int rc = table_new(&t, (struct table_column[]){{"key", 0}, {"type", 0}, {"value", 0}}, 3, err);
    for (int64_t i = 0; i < gguf_n_keys(f->gguf) && !rc; i++) {
        const struct gguf_key *k = gguf_key_at(f->gguf, i);
        table_cell(t, "%s", k->name);
        table_cell(t, k->type == GGUF_ARRAY ? "%s[]" : "%s", gguf_type_name(k->item_type));
        table_cell(t, "%s", value_text(value, f, k));
    }
    if (!rc)
        rc = table_text(&text, t, err);
    if (!rc)
        printf("%s\n", text.bytes);
    table_free(t);
    buf_release(&text);
    return rc;
}

/* ---- tables ---- */

static int print_tensors(const struct file *f, struct err *err)
{
    struct table *t = NULL;
    struct buf text = {0};
    char shape[96];
    int rc = table_new(
        &t,
        (struct table_column[]){{"tensor", 0}, {"type", 0}, {"shape", 0}, {"bytes", TABLE_RIGHT}},
        4, err);
    for (int64_t i = 0; i < n_rows(f) && !rc; i++) {
        struct row r = row_at(f, i);
        table_cell(t, "%s", r.name);
        table_cell(t, "%s", r.type);
        table_cell(t, "%s", safetensors_shape_text(shape, sizeof shape, r.shape, r.n_dims));
        table_cell(t, "%" PRId64, r.n_bytes);
    }
    if (!rc)
        rc = table_text(&text, t, err);
    if (!rc)
        printf("%s\n", text.bytes);
    table_free(t);
    buf_release(&text);
    return rc;
}

static const char *format_of(const struct file *f)
{
    return f->source ? source_format(f->source) : "safetensors";
}

static int64_t total_bytes(const struct file *f)
{
    int64_t n = 0;
    for (int64_t i = 0; i < n_rows(f); i++)
        n += row_at(f, i).n_bytes;
    return n;
}

static void print_summary(const struct file *f)
{
    printf("%s: %s, %" PRId64 " tensors, %.1f MB\n", f->path, format_of(f), n_rows(f),
           (double)total_bytes(f) / 1e6);
    if (f->has_config) {
        const struct model_config *c = &f->config;
        struct model_size size = model_size(c);
        printf("model: %s, %" PRId64 " layers of width %" PRId64 ", %" PRId64
               " heads, vocabulary %" PRId64,
               c->model_type, c->num_hidden_layers, c->hidden_size, c->num_attention_heads,
               c->vocab_size);
        if (c->n_routed_experts)
            printf(", %" PRId64 " of %" PRId64 " experts a token", c->num_experts_per_tok,
                   c->n_routed_experts);
        printf("; %.1fM parameters, %.1fM active a token\n", (double)size.n_params / 1e6,
               (double)size.n_active_params / 1e6);
    }
    printf("tokenizer: %s\nmoe2 logits, grad, perplexity: %s\n", f->tokenizer, f->use);
}

/* ---- JSON ---- */

static void put_metadata(struct json_writer *w, const struct file *f)
{
    jw_object(w, "metadata");
    for (int64_t i = 0; f->gguf && i < gguf_n_keys(f->gguf); i++) {
        const struct gguf_key *k = gguf_key_at(f->gguf, i);
        double real = 0;
        int64_t whole = 0;
        bool flag = false;
        const char *text = NULL;
        if (k->type == GGUF_ARRAY)
            jw_int(w, k->name, k->n);
        else if (!gguf_text(&text, f->gguf, k->name, NULL))
            jw_text(w, k->name, text);
        else if (!gguf_bool(&flag, f->gguf, k->name, NULL))
            jw_bool(w, k->name, flag);
        else if (!gguf_int(&whole, f->gguf, k->name, INT64_MIN, INT64_MAX, NULL))
            jw_int(w, k->name, whole);
        else if (!gguf_real(&real, f->gguf, k->name, NULL))
            jw_real(w, k->name, real);
    }
    jw_end(w);
}

static int print_json(const struct file *f, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    json_writer_init(&w, &text, 2);
    jw_object(&w, NULL);
    jw_text(&w, "path", f->path);
    jw_text(&w, "format", format_of(f));
    jw_int(&w, "bytes", total_bytes(f));
    if (f->has_config) {
        struct model_size size = model_size(&f->config);
        jw_text(&w, "model_type", f->config.model_type);
        jw_int(&w, "parameters", size.n_params);
        jw_int(&w, "active_parameters", size.n_active_params);
    }
    jw_text(&w, "use", f->use);
    jw_text(&w, "tokenizer", f->tokenizer);
    put_metadata(&w, f);
    jw_array(&w, "tensors");
    for (int64_t i = 0; i < n_rows(f); i++) {
        struct row r = row_at(f, i);
        jw_object(&w, NULL);
        jw_text(&w, "name", r.name);
        jw_text(&w, "type", r.type);
        jw_ints(&w, "shape", r.shape, r.n_dims);
        jw_int(&w, "bytes", r.n_bytes);
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

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct file f = {0};
    bool json = false;
    int n = 0;
    const struct cli_flag flags[] = {{"--json", FLAG_BOOL, &json, false}};
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), &n, &err);
    if (!rc && n != 1)
        rc = err_set(&err, MOE2_ECONFIG, "wanted one FILE, there are %d", n);
    f.path = argv[0];
    if (!rc)
        rc = open_file(&f, &err);
    if (!rc) {
        find_use(&f);
        find_tokenizer(&f);
    }
    if (!rc && json)
        rc = print_json(&f, &err);
    if (!rc && !json && f.gguf)
        rc = print_keys(&f, &err);
    if (!rc && !json)
        rc = print_tensors(&f, &err);
    if (!rc && !json)
        print_summary(&f);
    close_file(&f);
    return rc ? cli_fail("inspect", &err) : 0;
}

const struct command cmd_inspect = {
    "inspect",
    "what a model's file holds, and what moe2 would do with it",
    "usage: moe2 inspect FILE [--json]\n\n"
    "A table of the metadata (GGUF), one of the tensors (name, type, shape, bytes), and a summary: "
    "architecture, parameters,\n"
    "tokenizer, and whether moe2 opens it as a model, how, or why not. FILE is a checkpoint "
    "folder, a "
    ".safetensors file,\n"
    "a .gguf file, or llama2.c's .bin.\n\n"
    "  --json   one JSON object on standard output; arrays of the metadata as their lengths\n\n"
    "example:\n  moe2 inspect SmolLM2-135M-Instruct.Q4_1.gguf\n",
    run,
};
