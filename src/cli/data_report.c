/* Words, table and JSON of the data commands: see data_report.h. */
#include "cli/data_report.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/process.h"
#include "base/table.h"
#include "base/words.h"
#include "cli/cli.h"
#include "io/json_util.h"

void data_text_flags(struct cli_flag *flags, struct data_text_words *w)
{
    struct text_step d = text_step_default();
    *w = (struct data_text_words){
        .tokenizer = d.tokenizer,
        .pre_tokenizer = d.pre_tokenizer,
        .form = text_form_names[TEXT_AUTO],
        .plain = text_unit_names[TEXT_BY_CHUNK],
        .field = d.stream.source.field,
        .tokenizer_mb = d.tokenizer_bytes >> 20,
        .min_chars = d.stream.clean.min_chars,
        .max_chars = d.stream.clean.max_chars,
        .shard_tokens = d.shard_tokens,
        .dedup_mb = d.stream.dedup_bytes >> 20,
        .validation = d.stream.validation,
        .test = d.stream.test,
        .min_language_share = d.stream.clean.min_language_share,
    };
    int cores = process_cores();
    w->threads = cores < TEXT_MAX_THREADS ? cores : TEXT_MAX_THREADS;
    const struct cli_flag all[DATA_TEXT_N_FLAGS] = {
        {"--tokenizer", FLAG_TEXT, &w->tokenizer, false},
        {"--vocab-size", FLAG_INT, &w->vocab_size, false},
        {"--pre-tokenizer", FLAG_TEXT, &w->pre_tokenizer, false},
        {"--tokenizer-mb", FLAG_INT, &w->tokenizer_mb, false},
        {"--form", FLAG_TEXT, &w->form, false},
        {"--field", FLAG_TEXT, &w->field, false},
        {"--plain", FLAG_TEXT, &w->plain, false},
        {"--skip-broken", FLAG_BOOL, &w->skip_broken, false},
        {"--language", FLAG_TEXT, &w->language, false},
        {"--min-language-share", FLAG_REAL, &w->min_language_share, false},
        {"--min-chars", FLAG_INT, &w->min_chars, false},
        {"--max-chars", FLAG_INT, &w->max_chars, false},
        {"--keep-lines", FLAG_BOOL, &w->keep_lines, false},
        {"--keep-duplicates", FLAG_BOOL, &w->keep_duplicates, false},
        {"--unique-lines", FLAG_BOOL, &w->unique_lines, false},
        {"--dedup-mb", FLAG_INT, &w->dedup_mb, false},
        {"--validation", FLAG_REAL, &w->validation, false},
        {"--test", FLAG_REAL, &w->test, false},
        {"--seed", FLAG_INT, &w->seed, false},
        {"--shard-tokens", FLAG_INT, &w->shard_tokens, false},
        {"--threads", FLAG_INT, &w->threads, false},
        {"--force", FLAG_BOOL, &w->force, false},
        {"--json", FLAG_BOOL, &w->json, false},
    };
    memcpy(flags, all, sizeof all);
}

/* The index of a word in a list of names. */
static int choose(int *out, const char *flag, const char *word, const char *const *names, int n,
                  struct err *err)
{
    for (*out = 0; *out < n; ++*out)
        if (strcmp(names[*out], word) == 0)
            return 0;
    const char *nearest = words_nearest(word, names, (size_t)n);
    if (nearest)
        return err_set(err, MOE2_ECONFIG, "%s is \"%s\", did you mean %s?", flag, word, nearest);
    char list[128] = "";
    for (int i = 0; i < n; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", names[i]);
    return err_set(err, MOE2_ECONFIG, "%s is \"%s\", wanted one of: %s", flag, word, list);
}

static int check_number(const char *flag, int64_t value, int64_t min, int64_t max, struct err *err)
{
    if (value >= min && value <= max)
        return 0;
    return err_set(err, MOE2_ECONFIG, "%s is %lld, wanted %lld to %lld", flag, (long long)value,
                   (long long)min, (long long)max);
}

int data_text_step(struct text_step *step, const struct data_text_words *w, struct err *err)
{
    int form = 0, unit = 0;
    int rc = choose(&form, "--form", w->form, text_form_names, TEXT_N_FORMS, err);
    if (!rc)
        rc = choose(&unit, "--plain", w->plain, text_unit_names, TEXT_N_UNITS, err);
    if (!rc)
        rc = check_number("--threads", w->threads, 1, TEXT_MAX_THREADS, err);
    if (!rc)
        rc = check_number("--dedup-mb", w->dedup_mb, 1, 1 << 20, err);
    if (!rc)
        rc = check_number("--tokenizer-mb", w->tokenizer_mb, 1, 1 << 20, err);
    if (!rc && w->vocab_size)
        rc = check_number("--vocab-size", w->vocab_size, 258, 1 << 20, err);
    if (rc)
        return rc;
    struct text_step s = text_step_default();
    s.tokenizer = w->tokenizer;
    s.vocab_size = w->vocab_size;
    s.pre_tokenizer = w->pre_tokenizer;
    s.tokenizer_bytes = w->tokenizer_mb << 20;
    s.shard_tokens = w->shard_tokens;
    s.replace = w->force;
    s.sink = cli_sink();
    s.stream.source.form = (enum text_form)form;
    s.stream.source.unit = (enum text_unit)unit;
    s.stream.source.field = w->field;
    s.stream.source.skip_broken = w->skip_broken;
    s.stream.source.seed = (uint64_t)w->seed;
    s.stream.clean.min_chars = w->min_chars;
    s.stream.clean.max_chars = w->max_chars;
    s.stream.clean.language = w->language && strcmp(w->language, "any") != 0 ? w->language : NULL;
    s.stream.clean.min_language_share = w->min_language_share;
    s.stream.clean.keep_lines = w->keep_lines;
    s.stream.validation = w->validation;
    s.stream.test = w->test;
    s.stream.seed = (uint64_t)w->seed;
    s.stream.keep_duplicates = w->keep_duplicates;
    s.stream.unique_lines = w->unique_lines;
    s.stream.dedup_bytes = w->dedup_mb << 20;
    s.stream.n_threads = (int)w->threads;
    s.stream.stop = cli_stop_flag();
    *step = s;
    return 0;
}

/* ---- the result ---- */

static int64_t n_read(const struct text_report *r)
{
    int64_t n = r->n_broken;
    for (int v = 0; v < TEXT_N_VERDICTS; v++)
        n += r->total.n_documents[v];
    return n;
}

static int split_table(struct buf *out, const struct text_report *r, struct err *err)
{
    struct table *t = NULL;
    int rc = table_new(&t,
                       (struct table_column[]){{"split", TABLE_LEFT},
                                               {"documents", TABLE_RIGHT},
                                               {"text bytes", TABLE_RIGHT},
                                               {"tokens", TABLE_RIGHT},
                                               {"bytes/token", TABLE_RIGHT},
                                               {"shards", TABLE_RIGHT}},
                       6, err);
    if (rc)
        return rc;
    for (int i = 0; i < SHARDS_N_SPLITS; i++) {
        table_cell(t, "%s", shards_split_names[i]);
        table_cell(t, "%lld", (long long)r->splits[i].n_documents);
        table_cell(t, "%lld", (long long)r->splits[i].n_text_bytes);
        table_cell(t, "%lld", (long long)r->splits[i].n_tokens);
        if (r->splits[i].n_tokens)
            table_cell(t, "%.3f",
                       (double)r->splits[i].n_text_bytes / (double)r->splits[i].n_tokens);
        else
            table_cell(t, "-");
        table_cell(t, "%lld", (long long)r->splits[i].n_shards);
    }
    rc = table_text(out, t, err);
    table_free(t);
    return rc;
}

static int print_text(struct buf *out, const struct text_report *r, const struct text_step *step,
                      const char *note, struct err *err)
{
    struct table *t = NULL;
    int rc = table_new(&t, (struct table_column[]){{"documents", TABLE_LEFT}, {"", TABLE_RIGHT}}, 2,
                       err);
    if (rc)
        return rc;
    table_cell(t, "read from %lld files", (long long)r->n_files);
    table_cell(t, "%lld", (long long)n_read(r));
    for (int v = 0; v < TEXT_N_VERDICTS; v++) {
        table_cell(t, "%s%s", v ? "dropped: " : "", text_verdict_names[v]);
        table_cell(t, "%lld", (long long)r->total.n_documents[v]);
    }
    if (r->n_broken) {
        table_cell(t, "dropped: broken");
        table_cell(t, "%lld", (long long)r->n_broken);
    }
    rc = table_text(out, t, err);
    table_free(t);
    if (!rc && r->n_broken)
        rc = buf_printf(out, err, "the first broken one: %s\n", r->first_broken.msg);
    if (!rc)
        rc =
            buf_printf(out, err,
                       "lines dropped: %lld boilerplate, %lld menu, %lld in another language, %lld "
                       "repeated\n\n",
                       (long long)r->lines.n_boilerplate, (long long)r->lines.n_menu,
                       (long long)r->lines.n_foreign, (long long)r->lines.n_repeated);
    if (!rc)
        rc = split_table(out, r, err);
    if (!rc && r->n_bytes_for_tokenizer)
        rc =
            buf_printf(out, err, "\ntokenizer: %d ids, trained on %.1f MB in %.2f s", r->vocab_size,
                       (double)r->n_bytes_for_tokenizer * 1e-6, r->train_tokenizer_s);
    double mb = (double)r->total.n_bytes_read * 1e-6;
    if (!rc)
        rc = buf_printf(
            out, err,
            "\nread, cleaned, tokenized and written: %.1f MB of text in %.2f s, %.1f MB/s "
            "with %d thread%s\n",
            mb, r->pack_s, r->pack_s > 0 ? mb / r->pack_s : 0, step->stream.n_threads,
            step->stream.n_threads == 1 ? "" : "s");
    if (!rc && r->dedup_full)
        rc = buf_puts(out,
                      "memory against duplicates was full: later documents were compared with "
                      "earlier ones only (--dedup-mb)\n",
                      err);
    if (!rc && note)
        rc = buf_printf(out, err, "%s\n", note);
    return rc ? rc : buf_printf(out, err, "%s is ready\n", step->out_dir);
}

static int print_json(struct buf *out, const struct text_report *r, const struct text_step *step,
                      const char *note, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 1);
    jw_object(&w, NULL);
    jw_text(&w, "out", step->out_dir);
    jw_int(&w, "files", r->n_files);
    jw_int(&w, "read", n_read(r));
    jw_int(&w, "kept", r->total.n_documents[TEXT_KEPT]);
    jw_object(&w, "dropped");
    for (int v = TEXT_KEPT + 1; v < TEXT_N_VERDICTS; v++)
        jw_int(&w, text_verdict_names[v], r->total.n_documents[v]);
    jw_int(&w, "broken", r->n_broken);
    jw_end(&w);
    if (r->n_broken)
        jw_text(&w, "first_broken", r->first_broken.msg);
    jw_object(&w, "dropped_lines");
    jw_int(&w, "boilerplate", r->lines.n_boilerplate);
    jw_int(&w, "menu", r->lines.n_menu);
    jw_int(&w, "foreign", r->lines.n_foreign);
    jw_int(&w, "repeated", r->lines.n_repeated);
    jw_end(&w);
    jw_int(&w, "bytes_read", r->total.n_bytes_read);
    jw_int(&w, "bytes_kept", r->total.n_bytes_kept);
    jw_int(&w, "vocab_size", r->vocab_size);
    jw_object(&w, "splits");
    for (int i = 0; i < SHARDS_N_SPLITS; i++) {
        jw_object(&w, shards_split_names[i]);
        jw_int(&w, "documents", r->splits[i].n_documents);
        jw_int(&w, "text_bytes", r->splits[i].n_text_bytes);
        jw_int(&w, "tokens", r->splits[i].n_tokens);
        jw_int(&w, "shards", r->splits[i].n_shards);
        jw_end(&w);
    }
    jw_end(&w);
    jw_bool(&w, "dedup_full", r->dedup_full);
    jw_real(&w, "train_tokenizer_s", r->train_tokenizer_s);
    jw_real(&w, "pack_s", r->pack_s);
    jw_real(&w, "mb_per_s", r->pack_s > 0 ? (double)r->total.n_bytes_read * 1e-6 / r->pack_s : 0);
    jw_int(&w, "threads", step->stream.n_threads);
    jw_int(&w, "peak_rss_bytes", peak_rss_bytes());
    if (note)
        jw_text(&w, "note", note);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n", err);
}

int data_text_print(const struct text_report *r, const struct text_step *step, const char *note,
                    bool json, struct err *err)
{
    struct buf out = {0};
    int rc = json ? print_json(&out, r, step, note, err) : print_text(&out, r, step, note, err);
    if (!rc)
        fwrite(out.bytes, 1, out.n, stdout);
    buf_release(&out);
    return rc;
}
