/* Text to ids and back: byte-level BPE and WordPiece as a tokenizer.json describes them, with the
 * ids that Hugging Face's tokenizers gives; and a plain "bytes" tokenizer that needs no file.
 *
 *     struct tokenizer *tok = NULL;
 *     if (tokenizer_open(&tok, "model/", err)) …     a folder with tokenizer.json, or that file
 *     struct tokenizer_scratch *scratch = NULL;
 *     if (tokenizer_scratch_new(&scratch, tok, err)) …      one for each thread
 *     struct ids ids = {0};
 *     if (tokenizer_encode(tok, scratch, &ids, text, n_bytes, TOKENIZER_SPECIAL, err)) …
 *     ids_release(&ids);
 *
 * Understood: models BPE (merges as "a b" or ["a", "b"], ignore_merges, unk_token; of bytes, or of
 * characters with byte_fallback), WordPiece and Unigram (byte_fallback); normalizers none, NFC, NFKC,
 * BertNormalizer, Lowercase, Precompiled, Replace, Strip, Prepend, Sequence; pre-tokenizers Split (regular expression or string, every behaviour, invert),
 * Digits, BertPreTokenizer, WhitespaceSplit, ByteLevel (last), Metaspace (last), Sequence;
 * post-processors ByteLevel, TemplateProcessing, RobertaProcessing, BertProcessing, Sequence;
 * decoders none, ByteLevel, WordPiece, Metaspace, the Sequence of SentencePiece models. Anything else is refused by name. truncation and
 * padding are not applied.
 *
 * Threads: a tokenizer never changes once made, so any number of threads may use it; each needs its
 * own scratch. Work on documents in parallel is the caller's: one scratch and one struct ids a
 * thread.
 *
 * Invalid UTF-8 is refused with the offset of its first byte, or, with TOKENIZER_REPLACE, read as
 * U+FFFD, one for each maximal part of a character (as Python's errors="replace"). The bytes
 * tokenizer takes any bytes.
 */
#ifndef MOE2_TEXT_TOKENIZER_H
#define MOE2_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    TOKENIZER_MAX_FILE_BYTES = 256 << 20, /* tokenizer.json */
    TOKENIZER_MAX_VOCAB = 1 << 20,
    TOKENIZER_MAX_TEXT_BYTES = 1 << 30, /* one call of tokenizer_encode */
    TOKENIZER_BYTES_BOS = 256,          /* of the bytes tokenizer */
    TOKENIZER_BYTES_EOS = 257,
};

enum {
    /* Encoding: add what the post-processor adds; where that is nothing, BOS and EOS as add_bos_token
     * and add_eos_token of tokenizer_config.json say. */
    TOKENIZER_SPECIAL = 1,
    /* Encoding: don't look for added tokens in the text; "<|im_end|>" is text like any other. */
    TOKENIZER_PLAIN = 2,
    /* Encoding: U+FFFD for invalid UTF-8. */
    TOKENIZER_REPLACE = 4,
    /* Decoding: leave special tokens out. */
    TOKENIZER_SKIP_SPECIAL = 8,
    /* Decoding: the tokens' bytes as they are; without it invalid UTF-8 becomes U+FFFD. */
    TOKENIZER_RAW = 16,
};

/* A list of ids that grows. A zeroed one is empty. */
struct ids {
    int32_t *v; /* owned */
    size_t n, capacity;
};

/* MOE2_ELIMIT without memory. */
int ids_append(struct ids *ids, const int32_t *v, size_t n, struct err *err);
void ids_release(struct ids *ids);

struct tokenizer;
struct tokenizer_scratch;

/* Opens path: a tokenizer.json, or a folder that holds one or a vocab.txt; a tokenizer_config.json beside it is
 * read too, if there is one. The result is the caller's, to be freed with tokenizer_free. Errors:
 * MOE2_EIO, MOE2_EFORMAT (broken, or something that is not understood), MOE2_ELIMIT. */
int tokenizer_open(struct tokenizer **out, const char *path, struct err *err);

/* The same from memory. config may be NULL. Nothing is kept of either text. */
int tokenizer_parse(struct tokenizer **out, const char *json, size_t n_json, const char *config,
                    size_t n_config, struct err *err);

/* The same from a BERT's vocab.txt, a token a line; a folder without tokenizer.json is opened so. */
int tokenizer_parse_vocab_txt(struct tokenizer **out, const char *vocab, size_t n_vocab,
                              const char *config, size_t n_config, struct err *err);

/* The bytes tokenizer: ids 0–255 are the bytes, 256 is BOS, 257 EOS; TOKENIZER_SPECIAL puts BOS in
 * front. */
int tokenizer_bytes_new(struct tokenizer **out, struct err *err);

/* NULL is fine. */
void tokenizer_free(struct tokenizer *t);

/* What one thread needs to encode with t: buffers and a bounded cache of words seen (at most about
 * 8 MiB). Speed only: ids never depend on it. t must outlive it. */
int tokenizer_scratch_new(struct tokenizer_scratch **out, const struct tokenizer *t,
                          struct err *err);
void tokenizer_scratch_free(struct tokenizer_scratch *s);

/* Appends the ids of n_bytes of UTF-8 to out. flags: TOKENIZER_SPECIAL, _PLAIN, _REPLACE. s is a
 * scratch of t's; NULL makes one for this call, which is slow for short texts. On an error out is
 * as before. Errors: MOE2_EFORMAT (not UTF-8), MOE2_ELIMIT. */
int tokenizer_encode(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out,
                     const char *text, size_t n_bytes, int flags, struct err *err);

/* Appends the text of n ids to out. flags: TOKENIZER_SKIP_SPECIAL, _RAW. An id without a token is
 * MOE2_EFORMAT and leaves out as it was. */
int tokenizer_decode(const struct tokenizer *t, struct buf *out, const int32_t *ids, size_t n,
                     int flags, struct err *err);

/* Decoding id by id, for text that is shown while it is generated: put never appends half a UTF-8
 * character; all puts and the end together append exactly what tokenizer_decode does. A plain
 * value; nothing to free. */
struct token_stream {
    const struct tokenizer *t; /* borrowed */
    int flags;
    int n_pending;
    uint8_t pending[4]; /* the beginning of a character whose rest has not come yet */
    bool begun;
};

void token_stream_init(struct token_stream *s, const struct tokenizer *t, int flags);
int token_stream_put(struct token_stream *s, struct buf *out, int32_t id, struct err *err);
int token_stream_end(struct token_stream *s, struct buf *out, struct err *err);

/* The largest id plus one: what an embedding needs at least. Some ids below it may have no
 * token. */
int32_t tokenizer_n_vocab(const struct tokenizer *t);

/* −1 where tokenizer_config.json names none. */
int32_t tokenizer_bos_id(const struct tokenizer *t);
int32_t tokenizer_eos_id(const struct tokenizer *t);

/* The bytes that id stands for in a text, borrowed from t, and their number; NULL when id has no
 * token. */
const char *tokenizer_token(const struct tokenizer *t, int32_t id, size_t *n_bytes);

/* The id of a token written as in the vocabulary or the list of added tokens ("Ġciao",
 * "<|im_end|>"); −1 if there is none. */
int32_t tokenizer_id(const struct tokenizer *t, const char *token);

bool tokenizer_is_special(const struct tokenizer *t, int32_t id);

/* A 64-bit number that differs between tokenizers that give different ids: a hash of vocabulary,
 * merges and rules, for manifests. */
uint64_t tokenizer_fingerprint(const struct tokenizer *t);

#endif
