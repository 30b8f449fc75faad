/* A text from a stranger through a small WordPiece: every normal form and every cut. The first byte
 * of the input chooses the rules, the rest is the text, valid or not. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct tokenizer *make(uint8_t rules)
{
    static const char *const flag[] = {"false", "true"};
    char json[1024];
    int n = snprintf(json, sizeof json,
                     "{\"normalizer\":{\"type\":\"BertNormalizer\",\"clean_text\":%s,"
                     "\"handle_chinese_chars\":%s,\"strip_accents\":%s,\"lowercase\":%s},"
                     "\"pre_tokenizer\":{\"type\":\"%s\"},\"decoder\":{\"type\":\"WordPiece\"},"
                     "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\","
                     "\"max_input_chars_per_word\":20,\"vocab\":{\"[UNK]\":0,\"a\":1,\"##a\":2,"
                     "\"##\xc3\xa8\":3,\"\xe4\xb8\x80\":4,\".\":5}}}",
                     flag[rules & 1], flag[rules >> 1 & 1], flag[rules >> 2 & 1],
                     flag[rules >> 3 & 1], rules & 16 ? "WhitespaceSplit" : "BertPreTokenizer");
    struct tokenizer *t = NULL;
    if (tokenizer_parse(&t, json, (size_t)n, NULL, 0, NULL))
        abort();
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (!n)
        return 0;
    struct tokenizer *t = make(bytes[0]);
    struct ids ids = {0};
    struct buf back = {0};
    struct err err = {0};
    const char *text = (const char *)bytes + 1;
    if (tokenizer_encode(t, NULL, &ids, text, n - 1, TOKENIZER_REPLACE, &err) ||
        tokenizer_decode(t, &back, ids.v, ids.n, 0, &err))
        abort(); /* repaired text always has ids, and those have tokens */
    ids_release(&ids);
    buf_release(&back);
    tokenizer_free(t);
    return 0;
}
