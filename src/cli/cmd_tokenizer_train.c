/* moe2 tokenizer train: a byte-level BPE of a chosen size from plain text, in Hugging Face's form.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"
#include "cli/cli.h"
#include "text/bpe_train.h"
#include "text/unicode.h"

enum {
    CHUNK_BYTES = 4 << 20,       /* read at once */
    MAX_UNCUT_BYTES = 256 << 20, /* text without a place to cut it */
    MAX_SPECIALS = 1024,
};

/* Files as one stream of texts, each cut behind an ASCII letter and before white space, where no
 * piece crosses: what comes out does not depend on the size of a chunk. */
struct reader {
    char **paths;
    int n_paths, path_idx;
    FILE *f;
    struct buf text;
    size_t n_given; /* of text: handed out by the last call */
    int64_t at;     /* place in the file of text's first byte */
};

/* The place to cut at, 0 if there is none. */
static size_t cut_place(const struct buf *b)
{
    for (size_t at = b->n; at-- > 1;) {
        char before = (char)(b->bytes[at - 1] | 0x20);
        if ((b->bytes[at] == ' ' || b->bytes[at] == '\n') && before >= 'a' && before <= 'z')
            return at;
    }
    return 0;
}

/* Reads one more chunk of the file; *end at its end. */
static int read_chunk(struct reader *r, bool *end, struct err *err)
{
    if (buf_reserve(&r->text, CHUNK_BYTES, NULL))
        return err_set(err, MOE2_ELIMIT, "%s: %d bytes without a word and a space",
                       r->paths[r->path_idx], MAX_UNCUT_BYTES);
    size_t n = fread(r->text.bytes + r->text.n, 1, CHUNK_BYTES, r->f);
    r->text.n += n;
    if (ferror(r->f))
        return err_set(err, MOE2_EIO, "%s: %s", r->paths[r->path_idx], strerror(errno));
    *end = n < CHUNK_BYTES;
    return 0;
}

/* Training says so too, but knows no files. */
static int check_utf8(const struct reader *r, struct err *err)
{
    const uint8_t *text = (const uint8_t *)r->text.bytes;
    size_t n = 1, n_bad;
    for (size_t at = 0; at < r->n_given; at += n) {
        n = text[at] < 0x80 ? 1 : utf8_check(text + at, r->n_given - at, &n_bad, NULL);
        if (n == 0)
            return err_set(err, MOE2_EFORMAT, "%s: the text is not UTF-8: byte %lld is 0x%02x",
                           r->paths[r->path_idx], (long long)(r->at + (int64_t)at), text[at]);
    }
    return 0;
}

static int next_text(void *ctx, const char **text, size_t *n_bytes, struct err *err)
{
    struct reader *r = ctx;
    if (r->n_given)
        memmove(r->text.bytes, r->text.bytes + r->n_given, r->text.n - r->n_given);
    r->text.n -= r->n_given;
    r->at = r->f ? r->at + (int64_t)r->n_given : 0;
    r->n_given = 0;
    while (!r->n_given) {
        bool end = false;
        if (!r->f) {
            if (r->path_idx == r->n_paths)
                return 0;
            r->f = fopen(r->paths[r->path_idx], "rb");
            if (!r->f)
                return err_set(err, MOE2_EIO, "%s: %s", r->paths[r->path_idx], strerror(errno));
        }
        int rc = read_chunk(r, &end, err);
        if (rc)
            return rc;
        r->n_given = end ? r->text.n : cut_place(&r->text);
        if ((rc = check_utf8(r, err)))
            return rc;
        if (end) {
            fclose(r->f);
            r->f = NULL;
            r->path_idx++;
        }
    }
    *text = r->text.bytes;
    *n_bytes = r->n_given;
    return 1;
}

/* "a,b" cut at its commas, in place. */
static int cut_names(const char **names, int *n, char *text, struct err *err)
{
    *n = 0;
    char *rest = NULL;
    for (char *name = strtok_r(text, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        if (*n == MAX_SPECIALS)
            return err_set(err, MOE2_ECONFIG, "--special names more than %d tokens", MAX_SPECIALS);
        names[(*n)++] = name;
    }
    return 0;
}

static int write_both(const char *dir, const struct buf *json, const struct buf *config,
                      struct err *err)
{
    char *json_path = path_join(dir, "tokenizer.json"),
         *config_path = path_join(dir, "tokenizer_config.json");
    int rc = json_path && config_path ? dir_make(dir, err)
                                      : err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!rc)
        rc = file_write(json_path, json->bytes, json->n, err);
    if (!rc)
        rc = file_write(config_path, config->bytes, config->n, err);
    free(json_path);
    free(config_path);
    return rc;
}

static int train(struct reader *r, const char *dir, const struct bpe_train_config *config,
                 struct err *err)
{
    struct buf json = {0}, config_json = {0};
    struct bpe_train_stats stats;
    int rc = bpe_train(&json, &config_json, &stats, next_text, r, config, err);
    if (!rc)
        rc = write_both(dir, &json, &config_json, err);
    if (!rc) {
        printf("%s/tokenizer.json: %d tokens, %d merges from %lld bytes, %lld pieces, %lld of them "
               "distinct; "
               "counted in %.3f s, merged in %.3f s\n",
               dir, stats.n_tokens, stats.n_merges, (long long)stats.n_bytes,
               (long long)stats.n_pieces, (long long)stats.n_distinct, stats.count_s,
               stats.merge_s);
        if (stats.n_too_long)
            fprintf(stderr, "%lld pieces of %d bytes and more were left out\n",
                    (long long)stats.n_too_long, BPE_TRAIN_MAX_PIECE_BYTES);
    }
    buf_release(&json);
    buf_release(&config_json);
    return rc;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    const char *input = NULL, *dir = NULL, *pre_tokenizer = "gpt2", *special = "<|bos|>,<|eos|>";
    int64_t vocab_size = 0, min_frequency = 2, n_threads = 2;
    const struct cli_flag flags[] = {
        {"--input", FLAG_TEXT, &input, true},
        {"--vocab-size", FLAG_INT, &vocab_size, true},
        {"--out", FLAG_TEXT, &dir, true},
        {"--min-frequency", FLAG_INT, &min_frequency, false},
        {"--pre-tokenizer", FLAG_TEXT, &pre_tokenizer, false},
        {"--threads", FLAG_INT, &n_threads, false},
        {"--special", FLAG_TEXT, &special, false},
    };
    int n_rest = 0, n_names = 0;
    const char *names[MAX_SPECIALS];
    char *special_copy = NULL;
    struct reader r = {.text.max_bytes = MAX_UNCUT_BYTES};
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), &n_rest, &err);
    if (!rc) {
        special_copy = strdup(special);
        r.paths = malloc(((size_t)n_rest + 1) * sizeof *r.paths);
        rc = special_copy && r.paths ? cut_names(names, &n_names, special_copy, &err)
                                     : err_set(&err, MOE2_ELIMIT, "no memory");
    }
    if (!rc && (vocab_size < 0 || vocab_size > INT32_MAX || n_threads < 1 || n_threads > INT32_MAX))
        rc = err_set(&err, MOE2_ECONFIG, "--vocab-size or --threads is out of range");
    if (!rc) {
        r.paths[r.n_paths++] = (char *)input;
        for (int i = 0; i < n_rest; i++)
            r.paths[r.n_paths++] = argv[i];
        struct bpe_train_config config = {
            .vocab_size = (int32_t)vocab_size,
            .min_frequency = min_frequency,
            .pre_tokenizer = pre_tokenizer,
            .specials = names,
            .n_specials = n_names,
            .bos = n_names > 0 ? names[0] : NULL,
            .eos = n_names > 0 ? names[n_names > 1] : NULL,
            .n_threads = (int)n_threads,
            .sink = cli_sink(),
            .stop = cli_stop_flag(),
        };
        rc = train(&r, dir, &config, &err);
    }
    if (r.f)
        fclose(r.f);
    buf_release(&r.text);
    free(r.paths);
    free(special_copy);
    return rc ? cli_fail("tokenizer train", &err) : 0;
}

const struct command cmd_tokenizer_train = {
    "tokenizer train",
    "a byte-level BPE of a chosen size from plain text",
    "usage: moe2 tokenizer train --input FILE... --vocab-size N --out DIR [--pre-tokenizer "
    "gpt2|qwen2|llama3|deepseek]\n"
    "                            [--min-frequency N] [--special TOKEN,...] [--threads N]\n\n"
    "Writes DIR/tokenizer.json and DIR/tokenizer_config.json, which Hugging Face's tokenizers and "
    "transformers load.\n"
    "Merges are those of HF's BpeTrainer: the most frequent pair first, of equal ones that with "
    "the smaller ids. The\n"
    "same text gives the same files, whatever the threads.\n\n"
    "  --input FILE...  plain UTF-8 text, of any size; read piece by piece, so that memory holds "
    "its distinct pieces only\n"
    "  --vocab-size N   special tokens, 256 bytes and merges together\n"
    "  --out DIR        made if it is not there\n"
    "  --pre-tokenizer  how text is cut before merging: gpt2 (default), qwen2 (with NFC), llama3, "
    "deepseek\n"
    "  --min-frequency  a pair seen less often is not merged (2)\n"
    "  --special        special tokens, separated by commas; the first is BOS, the second EOS "
    "(<|bos|>,<|eos|>); \"\"\n"
    "                   for none\n"
    "  --threads N      for counting (2)\n\n"
    "example:\n"
    "  moe2 tokenizer train --input corpus.txt --vocab-size 8192 --out tok\n",
    run,
};
