/* Training a byte-level BPE: counting the pieces of a text in threads, learning merges, writing
 * both files. See bpe_train.h.
 *
 * Texts are gathered to batches and cut into tasks between an ASCII letter and a space, where every
 * pre-tokenizer here begins a new piece whatever stands around, so that threads share even one long
 * text and the counts are those of the whole.
 */
#include "text/bpe_train.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/bpe_learn.h"
#include "text/split.h"
#include "text/unicode.h"

/* ---- pre-tokenizers ---- */

struct row {
    const char *name;
    split_next *split;
    bool nfc;
    const char *patterns[3]; /* as Split, isolated; none: ByteLevel's own */
};

static const struct row rows[] = {
    {"gpt2", split_gpt2, false, {NULL}},
    {"qwen2", split_qwen2, true, {SPLIT_QWEN2}},
    {"llama3", split_llama3, false, {SPLIT_LLAMA3}},
    {"deepseek",
     split_deepseek,
     false,
     {SPLIT_DEEPSEEK_NUMBERS, SPLIT_DEEPSEEK_HAN, SPLIT_DEEPSEEK_REST}},
};

static const struct row *find_row(const char *name, struct err *err)
{
    char known[128];
    int n = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && n < (int)sizeof known; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
        n += snprintf(known + n, sizeof known - (size_t)n, "%s%s", i ? ", " : "", rows[i].name);
    }
    err_set(err, MOE2_ECONFIG, "pre-tokenizer \"%.40s\" is unknown, wanted one of: %s", name,
            known);
    return NULL;
}

/* ---- counting ---- */

enum { BATCH_BYTES = 8 << 20, TASK_BYTES = 128 << 10, MAX_THREADS = 256 };

struct counter {
    const struct row *row;
    const uint8_t *classes;
    struct piece_counts counts; /* of one thread */
    struct buf normalized;
    int64_t n_pieces, n_too_long;
    struct err err;
};

struct task {
    size_t begin, end; /* in the batch */
};

struct batch {
    struct buf text;
    struct task *tasks;
    size_t n_tasks, n_tasks_max;
};

static int count_task(struct counter *c, const uint8_t *text, size_t n)
{
    uint8_t seen = 0;
    if (c->row->nfc)
        utf8_scan(text, n, c->classes, &seen);
    if (seen & UNICODE_NFC_SLOW) {
        buf_clear(&c->normalized);
        int rc = unicode_nfc(&c->normalized, text, n, c->classes, &c->err);
        if (rc)
            return rc;
        text = (const uint8_t *)c->normalized.bytes;
        n = c->normalized.n;
    }
    split_next *split = c->row->split;
    for (size_t at = 0, next; at < n; at = next) {
        next = split(text, at, n, c->classes);
        if (next - at >= BPE_TRAIN_MAX_PIECE_BYTES) {
            c->n_too_long++;
            continue;
        }
        c->n_pieces++;
        int rc = piece_counts_add(&c->counts, text + at, next - at, n - at, 1, &c->err);
        if (rc)
            return rc;
    }
    return 0;
}

static bool is_ascii_letter(uint8_t c)
{
    return (uint8_t)((c | 0x20) - 'a') < 26;
}

/* Appends a text to the batch, cut into tasks. */
static int batch_add(struct batch *b, const char *text, size_t n, struct err *err)
{
    size_t begin = b->text.n, end = begin + n;
    int rc = buf_append(&b->text, text, n, err);
    while (!rc && begin < end) {
        size_t cut = begin + TASK_BYTES < end ? begin + TASK_BYTES : end;
        while (cut < end &&
               !(b->text.bytes[cut] == ' ' && is_ascii_letter((uint8_t)b->text.bytes[cut - 1])))
            cut++;
        if (b->n_tasks == b->n_tasks_max) {
            size_t n_max = b->n_tasks_max ? 2 * b->n_tasks_max : 256;
            struct task *tasks = realloc(b->tasks, n_max * sizeof *tasks);
            if (!tasks)
                return err_set(err, MOE2_ELIMIT, "no memory for %zu texts", n_max);
            b->tasks = tasks;
            b->n_tasks_max = n_max;
        }
        b->tasks[b->n_tasks++] = (struct task){begin, cut};
        begin = cut;
    }
    return rc;
}

static int batch_count(struct batch *b, struct counter *counters, int n_threads, struct err *err)
{
    const uint8_t *text = (const uint8_t *)b->text.bytes;
    int64_t n = (int64_t)b->n_tasks;
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        int thread = omp_get_thread_num();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < n; i++)
            if (!counters[thread].err.code)
                count_task(&counters[thread], text + b->tasks[i].begin,
                           b->tasks[i].end - b->tasks[i].begin);
    }
    b->n_tasks = 0;
    buf_clear(&b->text);
    for (int i = 0; i < n_threads; i++)
        if (counters[i].err.code)
            return err_set(err, counters[i].err.code, "%s", counters[i].err.msg);
    return 0;
}

struct source {
    bpe_train_next *next;
    void *ctx;
    int64_t n_bytes;
};

/* Reads all texts and counts them. */
static int count_all(struct source *source, struct batch *b, struct counter *counters,
                     const struct bpe_train_config *config, struct progress *progress,
                     struct err *err)
{
    const char *text;
    size_t n;
    int rc, got;
    while ((got = source->next(source->ctx, &text, &n, err)) > 0) {
        uint8_t seen;
        size_t good = utf8_scan((const uint8_t *)text, n, counters[0].classes, &seen);
        if (good < n)
            return err_set(err, MOE2_EFORMAT, "the text is not UTF-8: byte %lld is 0x%02x",
                           (long long)(source->n_bytes + (int64_t)good), (uint8_t)text[good]);
        source->n_bytes += (int64_t)n;
        rc = batch_add(b, text, n, err);
        if (!rc && b->text.n >= BATCH_BYTES)
            rc = batch_count(b, counters, config->n_threads, err);
        if (!rc && config->stop && *config->stop)
            rc = err_set(err, MOE2_ESTOP, "stopped while counting; nothing is written");
        if (rc)
            return rc;
        progress_set(progress, (double)source->n_bytes);
    }
    return got ? got : batch_count(b, counters, config->n_threads, err);
}

/* The counts of all threads in the first. */
static int join_counts(struct counter *counters, int n_threads, struct bpe_train_stats *stats,
                       struct err *err)
{
    int rc = 0;
    for (int i = 0; i < n_threads; i++) {
        stats->n_pieces += counters[i].n_pieces;
        stats->n_too_long += counters[i].n_too_long;
        if (i > 0 && !rc)
            rc = piece_counts_join(&counters[0].counts, &counters[i].counts, err);
        if (i > 0)
            piece_counts_release(&counters[i].counts);
    }
    stats->n_distinct = (int64_t)counters[0].counts.n;
    return rc;
}

static int count_pieces(struct piece_counts *out, struct bpe_train_stats *stats,
                        struct source *source, const struct row *row,
                        const struct bpe_train_config *config, struct err *err)
{
    struct counter counters[MAX_THREADS] = {0};
    struct batch batch = {.text.max_bytes = SIZE_MAX};
    struct progress progress;
    uint8_t *classes = NULL;
    int n_threads = config->n_threads;
    progress_begin(&progress, config->sink, "counting", 0, "B");
    int rc = unicode_table_new(&classes, err);
    for (int i = 0; i < n_threads && !rc; i++) {
        counters[i].row = row;
        counters[i].classes = classes;
        rc = piece_counts_init(&counters[i].counts, BPE_TRAIN_MAX_PIECES, err);
    }
    if (!rc)
        rc = count_all(source, &batch, counters, config, &progress, err);
    if (!rc)
        rc = join_counts(counters, n_threads, stats, err);
    progress_end(&progress);
    for (int i = 0; i < n_threads; i++) {
        buf_release(&counters[i].normalized);
        if (i > 0 || rc)
            piece_counts_release(&counters[i].counts);
    }
    if (!rc)
        *out = counters[0].counts;
    buf_release(&batch.text);
    free(batch.tasks);
    free(classes);
    return rc;
}

/* ---- writing ---- */

/* A JSON string; text is UTF-8. */
static int put_string(struct buf *out, const char *text, size_t n, struct err *err)
{
    int rc = buf_append(out, "\"", 1, err);
    for (size_t i = 0; i < n && !rc; i++) {
        char c = text[i];
        if (c == '"' || c == '\\')
            rc = buf_printf(out, err, "\\%c", c);
        else if (c == '\r' || c == '\n' || c == '\t')
            rc = buf_puts(out, c == '\r' ? "\\r" : c == '\n' ? "\\n" : "\\t", err);
        else if ((uint8_t)c < 0x20)
            rc = buf_printf(out, err, "\\u%04x", c);
        else
            rc = buf_append(out, &c, 1, err);
    }
    return rc ? rc : buf_append(out, "\"", 1, err);
}

static int put_text(struct buf *out, const char *text, struct err *err)
{
    return put_string(out, text, strlen(text), err);
}

static int put_added(struct buf *out, const struct bpe_train_config *config, struct err *err)
{
    int rc = buf_puts(out, "  \"added_tokens\": [", err);
    for (int i = 0; i < config->n_specials && !rc; i++) {
        rc = buf_printf(out, err, "%s\n    {\"id\": %d, \"content\": ", i ? "," : "", i);
        if (!rc)
            rc = put_text(out, config->specials[i], err);
        if (!rc)
            rc = buf_puts(out,
                          ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                          "\"normalized\": false, \"special\": true}",
                          err);
    }
    return rc ? rc : buf_puts(out, config->n_specials ? "\n  ],\n" : "],\n", err);
}

static int put_pretokenizer(struct buf *out, const struct row *row, struct err *err)
{
    static const char byte_level[] =
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, "
        "\"use_regex\": ";
    if (!row->patterns[0])
        return buf_printf(out, err, "  \"pre_tokenizer\": %strue},\n", byte_level);
    int rc =
        buf_puts(out, "  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n", err);
    for (int i = 0; i < 3 && row->patterns[i] && !rc; i++) {
        rc = buf_puts(out, "    {\"type\": \"Split\", \"pattern\": {\"Regex\": ", err);
        if (!rc)
            rc = put_text(out, row->patterns[i], err);
        if (!rc)
            rc = buf_puts(out, "}, \"behavior\": \"Isolated\", \"invert\": false},\n", err);
    }
    return rc ? rc : buf_printf(out, err, "    %sfalse}\n  ]},\n", byte_level);
}

/* BOS in front of each text, where there is a BOS. */
static int put_post(struct buf *out, const struct bpe_train_config *config, int bos_id,
                    struct err *err)
{
    static const char byte_level[] =
        "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, "
        "\"use_regex\": false}";
    int rc = buf_puts(out, "  \"post_processor\": ", err);
    if (rc || !config->bos)
        return rc ? rc : buf_printf(out, err, "%s,\n", byte_level);
    struct buf name = {0};
    rc = put_text(&name, config->bos, err);
    if (!rc)
        rc = buf_printf(out, err,
                        "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": "
                        "{\"id\": %s, \"type_id\": 0}}, "
                        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}],\n    \"pair\": "
                        "[{\"SpecialToken\": {\"id\": %s, "
                        "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
                        "{\"SpecialToken\": {\"id\": %s, "
                        "\"type_id\": 1}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}],\n    "
                        "\"special_tokens\": {%s: "
                        "{\"id\": %s, \"ids\": [%d], \"tokens\": [%s]}}},\n",
                        name.bytes, name.bytes, name.bytes, name.bytes, name.bytes, bos_id,
                        name.bytes);
    buf_release(&name);
    return rc;
}

static int put_model(struct buf *out, const struct token_list *tokens,
                     const struct bpe_merge *merges, int32_t n_merges, struct err *err)
{
    int rc = buf_puts(
        out,
        "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
        "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, "
        "\"byte_fallback\": false, \"ignore_merges\": false,\n    \"vocab\": {",
        err);
    for (int32_t id = 0; id < tokens->n && !rc; id++) {
        rc = buf_puts(out, id ? ",\n      " : "\n      ", err);
        if (!rc)
            rc = put_string(out, tokens->written[id].p, tokens->written[id].n, err);
        if (!rc)
            rc = buf_printf(out, err, ": %d", id);
    }
    if (!rc)
        rc = buf_puts(out, "\n    },\n    \"merges\": [", err);
    for (int32_t i = 0; i < n_merges && !rc; i++) {
        struct span left = tokens->written[merges[i].left],
                    right = tokens->written[merges[i].right];
        rc = buf_puts(out, i ? ",\n      [" : "\n      [", err);
        if (!rc)
            rc = put_string(out, left.p, left.n, err);
        if (!rc)
            rc = buf_puts(out, ", ", err);
        if (!rc)
            rc = put_string(out, right.p, right.n, err);
        if (!rc)
            rc = buf_puts(out, "]", err);
    }
    return rc ? rc : buf_puts(out, "\n    ]\n  }\n}\n", err);
}

static int put_json(struct buf *out, const struct token_list *tokens,
                    const struct bpe_merge *merges, int32_t n_merges, const struct row *row,
                    const struct bpe_train_config *config, int bos_id, struct err *err)
{
    int rc = buf_puts(
        out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n", err);
    if (!rc)
        rc = put_added(out, config, err);
    if (!rc)
        rc = buf_printf(out, err, "  \"normalizer\": %s,\n",
                        row->nfc ? "{\"type\": \"NFC\"}" : "null");
    if (!rc)
        rc = put_pretokenizer(out, row, err);
    if (!rc)
        rc = put_post(out, config, bos_id, err);
    if (!rc)
        rc = buf_puts(out,
                      "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                      "\"trim_offsets\": false, "
                      "\"use_regex\": false},\n",
                      err);
    return rc ? rc : put_model(out, tokens, merges, n_merges, err);
}

static int put_config_name(struct buf *out, const char *key, const char *name, struct err *err)
{
    int rc = buf_printf(out, err, "  \"%s\": ", key);
    if (!rc)
        rc = name ? put_text(out, name, err) : buf_puts(out, "null", err);
    return rc ? rc : buf_puts(out, ",\n", err);
}

static int put_config(struct buf *out, const struct bpe_train_config *config, struct err *err)
{
    int rc = buf_puts(out, "{\n", err);
    if (!rc)
        rc = put_config_name(out, "bos_token", config->bos, err);
    if (!rc)
        rc = put_config_name(out, "eos_token", config->eos, err);
    return rc ? rc
              : buf_puts(out,
                         "  \"clean_up_tokenization_spaces\": false,\n"
                         "  \"model_max_length\": 1000000000000000019884624838656,\n"
                         "  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n",
                         err);
}

/* ---- the whole ---- */

static int check(const struct bpe_train_config *c, struct err *err)
{
    int64_t least = 256 + (int64_t)c->n_specials;
    if (c->vocab_size < least || c->vocab_size > BPE_TRAIN_MAX_VOCAB)
        return err_set(err, MOE2_ECONFIG,
                       "vocabulary size is %d, wanted %lld (specials and bytes) to %d",
                       c->vocab_size, (long long)least, BPE_TRAIN_MAX_VOCAB);
    if (c->min_frequency < 1)
        return err_set(err, MOE2_ECONFIG, "minimum frequency is %lld, wanted at least 1",
                       (long long)c->min_frequency);
    if (c->n_threads < 1 || c->n_threads > MAX_THREADS)
        return err_set(err, MOE2_ECONFIG, "threads are %d, wanted 1 to %d", c->n_threads,
                       MAX_THREADS);
    return 0;
}

/* The id of a special by name: −1 for none. */
static int special_id(int *id, const char *what, const char *name, const struct bpe_train_config *c,
                      struct err *err)
{
    *id = -1;
    for (int i = 0; i < c->n_specials && name; i++)
        if (strcmp(c->specials[i], name) == 0)
            *id = i;
    if (name && *id < 0)
        return err_set(err, MOE2_ECONFIG, "%s \"%.60s\" is none of the special tokens", what, name);
    return 0;
}

static bool is_utf8(const char *text, size_t n)
{
    size_t n_bad, length;
    for (size_t at = 0; at < n; at += length) {
        length = utf8_check((const uint8_t *)text + at, n - at, &n_bad, NULL);
        if (!length)
            return false;
    }
    return true;
}

static int add_special(struct token_list *tokens, const char *name, struct err *err)
{
    int32_t id;
    bool added;
    size_t n = strlen(name);
    if (n == 0 || !is_utf8(name, n))
        return err_set(err, MOE2_ECONFIG, "a special token is %s", n ? "not UTF-8" : "empty");
    int rc = token_list_add(&id, &added, tokens, name, n, NULL, 0, err);
    if (!rc && !added)
        rc = err_set(err, MOE2_ECONFIG, "special token \"%.60s\" stands there twice", name);
    return rc;
}

/* Specials first, then the bytes by their code points in the alphabet. */
static int first_tokens(struct token_list *tokens, int32_t *byte_id,
                        const struct bpe_train_config *c, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < c->n_specials && !rc; i++)
        rc = add_special(tokens, c->specials[i], err);
    for (uint32_t visible = 33; visible < 256 + 68 && !rc; visible++) {
        int byte = visible_to_byte(visible);
        char text[4];
        if (byte >= 0)
            rc = token_list_add(&byte_id[byte], NULL, tokens, text,
                                utf8_put((uint8_t *)text, visible), NULL, 0, err);
    }
    return rc;
}

int bpe_train(struct buf *json, struct buf *config_json, struct bpe_train_stats *stats,
              bpe_train_next *next, void *ctx, const struct bpe_train_config *config,
              struct err *err)
{
    const struct row *row = find_row(config->pre_tokenizer, err);
    if (!row)
        return MOE2_ECONFIG;
    struct bpe_train_stats own = {0};
    struct source source = {.next = next, .ctx = ctx};
    struct piece_counts counts = {0};
    struct token_list tokens = {0};
    struct bpe_merge *merges = NULL;
    int32_t byte_id[256];
    int bos_id, eos_id;
    size_t n_json = json->n, n_config = config_json->n;
    struct bpe_learn_limits limits = {config->vocab_size, config->min_frequency, config->sink,
                                      config->stop};
    double begun_s = clock_s(), counted_s = 0;
    int rc = check(config, err);
    if (!rc)
        rc = special_id(&bos_id, "BOS", config->bos, config, err);
    if (!rc)
        rc = special_id(&eos_id, "EOS", config->eos, config, err);
    if (!rc)
        rc = token_list_init(&tokens, config->vocab_size, err);
    if (!rc)
        rc = first_tokens(&tokens, byte_id, config, err);
    if (!rc)
        rc = count_pieces(&counts, &own, &source, row, config, err);
    counted_s = clock_s();
    if (!rc)
        rc = bpe_learn(&merges, &own.n_merges, &tokens, byte_id, &counts, &limits, err);
    if (!rc)
        rc = put_json(json, &tokens, merges, own.n_merges, row, config, bos_id, err);
    if (!rc)
        rc = put_config(config_json, config, err);
    piece_counts_release(&counts);
    int32_t n_tokens = tokens.n;
    token_list_release(&tokens);
    free(merges);
    if (rc) {
        json->n = n_json;
        config_json->n = n_config;
        return rc;
    }
    own.n_bytes = source.n_bytes;
    own.n_tokens = n_tokens;
    own.count_s = counted_s - begun_s;
    own.merge_s = clock_s() - counted_s;
    if (stats)
        *stats = own;
    return 0;
}
