/* What moe2 data text and moe2 data italian say at the end. */
#ifndef MOE2_CLI_DATA_REPORT_H
#define MOE2_CLI_DATA_REPORT_H

#include "base/err.h"
#include "pipeline/step_text.h"

/* The options that both commands share, filled by data_text_flags' words. */
struct data_text_words {
    const char *tokenizer, *pre_tokenizer, *language, *form, *plain, *field;
    int64_t vocab_size, tokenizer_mb, min_chars, max_chars, threads, shard_tokens, dedup_mb, seed;
    double validation, test, min_language_share;
    bool keep_lines, keep_duplicates, unique_lines, skip_broken, force, json;
};

enum { DATA_TEXT_N_FLAGS = 23 };

struct cli_flag;

/* Fills the flags [DATA_TEXT_N_FLAGS] that write into w, and w with the defaults. */
void data_text_flags(struct cli_flag *flags, struct data_text_words *w);

/* The help text of those flags. */
#define DATA_TEXT_HELP                                                                             \
    "tokenizer:\n"                                                                                 \
    "  --tokenizer DIR|bytes     a folder with tokenizer.json, or bytes (the default)\n"           \
    "  --vocab-size N            instead: train a BPE of N ids on the train split first\n"         \
    "  --pre-tokenizer NAME      of that BPE: gpt2, qwen2 (default), llama3, deepseek\n"           \
    "  --tokenizer-mb N          train it on at most N MB (1024)\n"                                \
    "reading:\n"                                                                                   \
    "  --form NAME               jsonl, csv, html, man, text; by the files' endings unless said\n" \
    "  --field NAME              the text's field in JSON lines and CSV (text)\n"                  \
    "  --plain UNIT              a document of plain text is a chunk (paragraphs up to 4096 "      \
    "bytes,\n"                                                                                     \
    "                            the default), a paragraph, or a file\n"                           \
    "  --skip-broken             pass over broken JSON lines and count them, instead of "          \
    "stopping\n"                                                                                   \
    "cleaning:\n"                                                                                  \
    "  --language CODE           keep documents in it, en es de fr it pt; any: no filter\n"        \
    "  --min-language-share S    least share of a document's letters in it (0.5)\n"                \
    "  --min-chars N             shortest document (200)       --max-chars N  longest (1000000)\n" \
    "  --keep-lines              leave boilerplate, menus and foreign paragraphs in\n"             \
    "  --keep-duplicates         leave exact duplicates in\n"                                      \
    "  --unique-lines            also drop lines of 40 bytes and more that an earlier document "   \
    "had\n"                                                                                        \
    "  --dedup-mb N              memory against duplicates (512: 25 million documents)\n"          \
    "packing:\n"                                                                                   \
    "  --validation S --test S   shares of the documents (0.05 each)\n"                            \
    "  --seed N                  of the split (0)\n"                                               \
    "  --shard-tokens N          longest shard (134217728)\n"                                      \
    "  --threads N               (all cores)                   --force        replace OUT\n"       \
    "  --json                    the result as one JSON object\n"

/* Makes a step of the words; inputs, out_dir and stop are the caller's to set. MOE2_ECONFIG. */
int data_text_step(struct text_step *step, const struct data_text_words *w, struct err *err);

/* Prints the result on stdout. out_dir and note (or NULL) are shown. */
int data_text_print(const struct text_report *r, const struct text_step *step, const char *note,
                    bool json, struct err *err);

#endif
