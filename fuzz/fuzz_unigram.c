/* A table of replacements and a text from a stranger, through a small unigram model. The input is
 * base64 of the table up to a byte 0xff, if there is one, and the text behind it, valid or not. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const char HEAD[] = "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":["
                           "{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"";
static const char TAIL[] =
    "\"},{\"type\":\"Strip\",\"strip_left\":false,\"strip_right\":true},"
    "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" {2,}\"},\"content\":\" \"}]},"
    "\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\"},"
    "\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"\xe2\x96\x81\"},"
    "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1],"
    "[\"\xe2\x96\x81\",-2],[\"\xe2\x96\x81"
    "aa\",-2.5],[\"\xc3\xa8\",-3]]}}";

/* NULL if the table is refused, with a sentence. */
static struct tokenizer *make(const uint8_t *map, size_t n)
{
    struct buf json = {0};
    struct tokenizer *t = NULL;
    struct err err = {0};
    if (buf_puts(&json, HEAD, &err) || buf_append(&json, map, n, &err) ||
        buf_puts(&json, TAIL, &err))
        abort();
    if (tokenizer_parse(&t, json.bytes, json.n, NULL, 0, &err) && !err.msg[0])
        abort();
    buf_release(&json);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *cut = n ? memchr(bytes, 0xff, n) : NULL;
    const char *text = cut ? (const char *)cut + 1 : "a \xc3\xa8  aa\t";
    size_t n_map = cut ? (size_t)(cut - bytes) : n, n_text = cut ? n - n_map - 1 : strlen(text);
    struct tokenizer *t = make(bytes, n_map);
    struct ids ids = {0};
    struct buf back = {0};
    struct err err = {0};
    if (t && (tokenizer_encode(t, NULL, &ids, text, n_text, TOKENIZER_REPLACE, &err) ||
              tokenizer_decode(t, &back, ids.v, ids.n, 0, &err)))
        abort(); /* repaired text always has ids, and those have tokens */
    ids_release(&ids);
    buf_release(&back);
    tokenizer_free(t);
    return 0;
}
