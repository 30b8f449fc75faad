/* moe2 tokenize: text in on standard input, ids out, line by line, or back. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "eval/model_tokenizer.h"
#include "text/tokenizer.h"

enum { MAX_LINE_BYTES = 1 << 30, CHUNK_BYTES = 1 << 16 };

struct job {
    struct tokenizer *tok;
    struct tokenizer_scratch *scratch;
    struct ids ids;
    struct buf out;
    bool json_lines, decode;
    int flags;
};

/* "[1, 2]" and a newline. */
static int put_ids(struct buf *out, const struct ids *ids, struct err *err)
{
    int rc = buf_reserve(out, 13 * ids->n + 3, err);
    if (rc)
        return rc;
    char *p = out->bytes + out->n;
    *p++ = '[';
    for (size_t i = 0; i < ids->n; i++) {
        char digits[12];
        int n = 0;
        for (uint32_t v = (uint32_t)ids->v[i]; v || !n; v /= 10)
            digits[n++] = (char)('0' + v % 10);
        if (i) {
            *p++ = ',';
            *p++ = ' ';
        }
        while (n)
            *p++ = digits[--n];
    }
    *p++ = ']';
    *p++ = '\n';
    out->n = (size_t)(p - out->bytes);
    return 0;
}

static int encode_line(struct job *j, const char *line, size_t n, struct err *err)
{
    json_t *string = NULL;
    if (j->json_lines) {
        json_error_t e;
        string = json_loadb(line, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
        if (!json_is_string(string)) {
            json_decref(string);
            return err_set(err, MOE2_EFORMAT, "no JSON string%s%s", string ? "" : ": ",
                           string ? "" : e.text);
        }
        line = json_string_value(string);
        n = json_string_length(string);
    }
    j->ids.n = 0;
    int rc = tokenizer_encode(j->tok, j->scratch, &j->ids, line, n, j->flags, err);
    json_decref(string);
    return rc ? rc : put_ids(&j->out, &j->ids, err);
}

static int read_ids(struct ids *ids, const json_t *list, struct err *err)
{
    ids->n = 0;
    int rc = json_is_array(list) ? 0 : err_set(err, MOE2_EFORMAT, "no JSON array of ids");
    for (size_t i = 0; i < json_array_size(list) && !rc; i++) {
        const json_t *v = json_array_get(list, i);
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id > INT32_MAX)
            return err_set(err, MOE2_EFORMAT, "element %zu of the array is no id", i);
        int32_t id32 = (int32_t)id;
        rc = ids_append(ids, &id32, 1, err);
    }
    return rc;
}

static int decode_line(struct job *j, const char *line, size_t n, struct err *err)
{
    json_error_t e;
    json_t *list = json_loadb(line, n, JSON_DECODE_ANY, &e);
    if (!list)
        return err_set(err, MOE2_EFORMAT, "no JSON array of ids: %s", e.text);
    int rc = read_ids(&j->ids, list, err);
    json_decref(list);
    size_t from = j->out.n;
    if (!rc)
        rc = tokenizer_decode(j->tok, &j->out, j->ids.v, j->ids.n, j->flags, err);
    if (!rc && j->json_lines) {
        json_t *string = json_stringn(j->out.bytes ? j->out.bytes + from : "", j->out.n - from);
        char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
        json_decref(string);
        j->out.n = from;
        rc = quoted ? buf_puts(&j->out, quoted, err)
                    : err_set(err, MOE2_ELIMIT, "no memory for a line");
        free(quoted);
    }
    return rc ? rc : buf_append(&j->out, "\n", 1, err);
}

static int flush(struct buf *out, struct err *err)
{
    if (out->n && fwrite(out->bytes, 1, out->n, stdout) != out->n)
        return err_set(err, MOE2_EIO, "standard output: %s", strerror(errno));
    buf_clear(out);
    return 0;
}

static int do_line(struct job *j, const char *line, size_t n, int64_t number, struct err *err)
{
    int rc = j->decode ? decode_line(j, line, n, err) : encode_line(j, line, n, err);
    if (rc)
        return err_prefix(err, "line %lld", (long long)number);
    return j->out.n > CHUNK_BYTES ? flush(&j->out, err) : 0;
}

static int do_lines(struct job *j, FILE *in, struct err *err)
{
    struct buf b = {.max_bytes = MAX_LINE_BYTES};
    int64_t number = 1;
    size_t done = 0, seen = 0, n_read;
    int rc = 0;
    do {
        rc = buf_reserve(&b, CHUNK_BYTES, NULL);
        if (rc) {
            rc = err_set(err, MOE2_ELIMIT, "line %lld is longer than %d bytes", (long long)number,
                         MAX_LINE_BYTES);
            break;
        }
        n_read = fread(b.bytes + b.n, 1, CHUNK_BYTES, in);
        b.n += n_read;
        const char *end;
        while (!rc && (end = memchr(b.bytes + seen, '\n', b.n - seen))) {
            rc = do_line(j, b.bytes + done, (size_t)(end - b.bytes) - done, number++, err);
            done = seen = (size_t)(end - b.bytes) + 1;
        }
        memmove(b.bytes, b.bytes + done, b.n - done);
        b.n -= done;
        done = 0;
        seen = b.n;
        if (!rc && n_read == 0 && b.n)
            rc = do_line(j, b.bytes, b.n, number, err);
    } while (!rc && n_read > 0);
    if (!rc && ferror(in))
        rc = err_set(err, MOE2_EIO, "standard input: %s", strerror(errno));
    if (!rc)
        rc = flush(&j->out, err);
    if (!rc && fflush(stdout))
        rc = err_set(err, MOE2_EIO, "standard output: %s", strerror(errno));
    buf_release(&b);
    return rc;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    const char *path = NULL;
    bool special = false, skip_special = false, plain = false, replace = false;
    struct job j = {0};
    const struct cli_flag flags[] = {
        {"--tokenizer", FLAG_TEXT, &path, true},
        {"--json-lines", FLAG_BOOL, &j.json_lines, false},
        {"--decode", FLAG_BOOL, &j.decode, false},
        {"--special", FLAG_BOOL, &special, false},
        {"--skip-special", FLAG_BOOL, &skip_special, false},
        {"--plain", FLAG_BOOL, &plain, false},
        {"--replace", FLAG_BOOL, &replace, false},
    };
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    j.flags = (special ? TOKENIZER_SPECIAL : 0) | (plain ? TOKENIZER_PLAIN : 0) |
              (replace ? TOKENIZER_REPLACE : 0) | (skip_special ? TOKENIZER_SKIP_SPECIAL : 0);
    if (!rc)
        rc = strcmp(path, "bytes") == 0 ? tokenizer_bytes_new(&j.tok, &err)
                                        : model_tokenizer_open(&j.tok, path, &err);
    if (!rc)
        rc = tokenizer_scratch_new(&j.scratch, j.tok, &err);
    if (!rc)
        rc = do_lines(&j, stdin, &err);
    tokenizer_scratch_free(j.scratch);
    tokenizer_free(j.tok);
    ids_release(&j.ids);
    buf_release(&j.out);
    return rc ? cli_fail("tokenize", &err) : 0;
}

const struct command cmd_tokenize = {
    "tokenize",
    "text to token ids, line by line, or back",
    "usage: moe2 tokenize --tokenizer DIR [--json-lines] [--special] [--plain] [--replace] < TEXT\n"
    "       moe2 tokenize --tokenizer DIR --decode [--json-lines] [--skip-special] < IDS\n\n"
    "Reads lines from standard input and writes one line for each: the ids of its text as a JSON "
    "array, or, with\n"
    "--decode, the text of an array of ids. Added tokens that stand in the text (\"<|im_end|>\") "
    "are found, as HF does.\n\n"
    "  --tokenizer DIR  a folder with tokenizer.json, or that file, or a .gguf file; \"bytes\" is "
    "the tokenizer of plain\n                   bytes\n"
    "  --json-lines     each line of text is a JSON string, so that it may hold anything\n"
    "  --special        add what tokenizer.json's post-processor adds; where that is nothing, BOS "
    "and EOS as\n"
    "                   tokenizer_config.json's add_bos_token and add_eos_token say\n"
    "  --plain          don't look for added tokens in the text\n"
    "  --replace        read invalid UTF-8 as U+FFFD instead of refusing it\n"
    "  --skip-special   leave special tokens out of the decoded text\n\n"
    "A line is at most 1 GiB.\n\n"
    "example:\n"
    "  echo 'Quel ramo del lago di Como' | moe2 tokenize --tokenizer models/qwen2\n",
    run,
};
