/* Text from a stranger: any bytes as a page, a manual page or plain text, cleaned. The first byte
 * chooses. What comes out must be UTF-8 and stay as it is when its characters are cleaned again. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "pipeline/text_clean.h"
#include "pipeline/text_markup.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct text_clean_options options = {
        .min_chars = 1, .max_chars = 1 << 20, .language = "it", .min_language_share = 0.1};
    struct buf text = {0}, clean = {0}, again = {0};
    struct text_cleaner *cleaner = NULL;
    enum text_verdict verdict;
    char kind = n ? (char)bytes[0] : 't';
    const char *s = n ? (const char *)bytes + 1 : "";
    n -= n > 0;
    if (kind == 'h')
        text_from_html(&text, s, n, NULL);
    else if (kind == 'm')
        text_from_man(&text, s, n, NULL);
    else
        buf_append(&text, s, n, NULL);
    if (!text_cleaner_new(&cleaner, &options, NULL) &&
        !text_clean(&verdict, &clean, cleaner, text.bytes ? text.bytes : "", text.n, NULL, NULL) &&
        verdict == TEXT_KEPT) {
        text_clean_chars(&again, clean.bytes, clean.n, NULL);
        assert(again.n == clean.n && memcmp(again.bytes, clean.bytes, clean.n) == 0);
    }
    text_cleaner_free(cleaner);
    buf_release(&text);
    buf_release(&clean);
    buf_release(&again);
    return 0;
}
