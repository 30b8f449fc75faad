/* A tokenizer.json from a stranger: it is refused with a sentence, or it encodes and decodes. The
 * input is the file, and, behind a byte 0xff, a text for it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const uint8_t *cut = n ? memchr(bytes, 0xff, n) : NULL;
    const char *text = cut ? (const char *)cut + 1 : "[S] Ciao, l\xc3\xa0 e 123  \n<|bos|> x";
    size_t n_json = cut ? (size_t)(cut - bytes) : n, n_text = cut ? n - n_json - 1 : strlen(text);
    struct tokenizer *t = NULL;
    struct err err = {0};
    if (tokenizer_parse(&t, (const char *)bytes, n_json, NULL, 0, &err)) {
        if (!err.msg[0])
            abort();
        return 0;
    }
    struct ids ids = {0};
    struct buf back = {0};
    if (tokenizer_encode(t, NULL, &ids, text, n_text, TOKENIZER_SPECIAL | TOKENIZER_REPLACE,
                         &err) == 0 &&
        tokenizer_decode(t, &back, ids.v, ids.n, 0, &err))
        abort(); /* an id that encode gives has a token */
    ids_release(&ids);
    buf_release(&back);
    tokenizer_free(t);
    return 0;
}
