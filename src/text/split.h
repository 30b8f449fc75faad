/* Pre-tokenizers: cutting a text into the pieces that BPE works on, none of which it ever joins.
 *
 * A tokenizer.json describes them as a sequence of regular expressions. The well-known ones are
 * recognised by their literal text and cut by hand-written code over UTF-8 (split_fast.c); any
 * other goes to PCRE2's JIT (split_regex.c). Both give the same pieces, which tests/test_split.c
 * holds them to.
 */
#ifndef MOE2_TEXT_SPLIT_H
#define MOE2_TEXT_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* The end of the piece of valid UTF-8 text that begins at at < end. Nothing before at matters, and
 * nothing from end on is seen. classes is the table of unicode_table_new. */
typedef size_t split_next(const uint8_t *text, size_t at, size_t end, const uint8_t *classes);

split_next split_gpt2, split_qwen2, split_llama3, split_deepseek, split_digits_each,
    split_digits_runs, split_spaces,
    split_none; /* split_spaces: runs of white space and the rest */

/* The regular expressions as they stand in tokenizer.json. */
#define SPLIT_GPT2                                                                                 \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define SPLIT_QWEN2                                                                                \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "                          \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"                                                                \
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define SPLIT_LLAMA3                                                                               \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "                     \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"                                                                \
    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
/* DeepSeek-V3's three, one after the other: numbers; Han and kana, U+4E00–9FA5 and U+3040–30FF; the
 * rest. */
#define SPLIT_DEEPSEEK_NUMBERS "\\p{N}{1,3}"
#define SPLIT_DEEPSEEK_HAN                                                                         \
    "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+"
#define SPLIT_DEEPSEEK_REST                                                                        \
    "[!\"#$%&'()*+,\\-./"                                                                          \
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"                 \
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"

enum split_behavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS
};

struct split_regex;

enum { SPLIT_MAX_STAGES = 16, SPLIT_MAX_PATTERN_BYTES = 1 << 16 };

/* One step of a pre-tokenizer: hand-written code or a regular expression. */
struct split_stage {
    split_next *fast;          /* or NULL */
    const uint8_t *classes;    /* of fast, borrowed; NULL: those of the walk */
    uint8_t drops;             /* pieces of fast whose first character has such a class go */
    struct split_regex *regex; /* or NULL */
    enum split_behavior behavior;
    bool invert;
};

/* What makes the last pieces. */
enum split_last { SPLIT_LAST_NONE, SPLIT_LAST_BYTE_LEVEL, SPLIT_LAST_METASPACE };
enum split_prepend { SPLIT_PREPEND_ALWAYS, SPLIT_PREPEND_FIRST, SPLIT_PREPEND_NEVER };

/* Metaspace: spaces become a visible sign, one is put in front, and pieces begin at each. */
struct split_metaspace {
    char sign[4]; /* U+2581 as a rule */
    uint8_t n_sign;
    bool cut;
    enum split_prepend prepend;
};

/* The whole: the stages, one within the other, then ByteLevel, Metaspace or nothing. */
struct pretokenizer {
    struct split_stage stages[SPLIT_MAX_STAGES];
    int n_stages;
    enum split_last last;
    struct split_metaspace metaspace;
    bool add_prefix_space; /* ByteLevel: a space before each piece that comes to it without one */
    bool use_regex;        /* ByteLevel: cut by split_gpt2 */
};

/* The one hand-written splitter that does all that p does, or NULL. */
split_next *pretokenizer_fast(const struct pretokenizer *p);

/* Compiles a regular expression (or, if literal, a string). MOE2_EFORMAT names what is wrong with
 * it: its syntax, or something that Oniguruma, which HF uses, reads otherwise than PCRE2 (&& in a
 * class, \h). */
int split_regex_new(struct split_regex **out, const char *pattern, size_t n, bool literal,
                    struct err *err);
void split_regex_free(struct split_regex *r);

/* What one thread needs to match; made when first used. */
struct split_scratch {
    void *match, *context, *stack; /* of PCRE2 */
    struct buf prefixed;
};

void split_scratch_release(struct split_scratch *s);

/* Where a search stands. A zeroed one is at the beginning of the text. */
struct split_search {
    size_t at, last_end;
    bool begun;
};

/* The next match: 1 with [*begin, *end) filled, 0 when there is none, or negative with err filled.
 * It may be empty, but not right behind the one before. */
int split_regex_next(size_t *begin, size_t *end, struct split_search *search,
                     const struct split_regex *r, struct split_scratch *s, const uint8_t *text,
                     size_t n, struct err *err);

/* Gives every piece of text, in order, to take, which ends the walk by returning an error. first
 * says that text is the beginning of what is encoded. */
typedef int split_take(void *ctx, const uint8_t *piece, size_t n, struct err *err);
int pretokenize(const struct pretokenizer *p, struct split_scratch *s, const uint8_t *text,
                size_t n, bool first, const uint8_t *classes, split_take *take, void *ctx,
                struct err *err);

void pretokenizer_release(struct pretokenizer *p);

#endif
