/* What the tests of src/text share: files of tests/golden, and shared data where it is. */
#ifndef MOE2_TESTS_TEXT_FIXTURE_H
#define MOE2_TESTS_TEXT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

#define COUNT_OF(a) (sizeof(a) / sizeof *(a))

static inline void golden_path(char *out, size_t n, const char *name)
{
    snprintf(out, n, "%s/golden/%s", TEST_DIR, name);
}

/* The path of a shared file, or a skipped test. */
static inline void shared_path(char *out, size_t n, const char *name)
{
    const char *root = getenv("MOE2_DATA");
    int length = root ? snprintf(out, n, "%s/%s", root, name)
                      : snprintf(out, n, "%s/../shared/data/%s", SOURCE_DIR, name);
    assert_true(length > 0 && (size_t)length < n);
    if (!file_exists(out)) {
        print_message("skipped: no %s\n", out);
        skip();
    }
}

static inline struct buf file_of(const char *path)
{
    struct buf b = {0};
    struct err err = {0};
    if (file_read(&b, path, &err))
        fail_msg("%s", err.msg);
    return b;
}

static inline struct tokenizer *tokenizer_of(const char *path)
{
    struct tokenizer *t = NULL;
    struct err err = {0};
    if (tokenizer_open(&t, path, &err))
        fail_msg("%s", err.msg);
    return t;
}

/* n random characters that a tokenizer finds hard, as UTF-8; only code points below limit. Returns
 * the bytes. */
static inline size_t random_text(uint8_t *out, struct rng *r, int n, uint32_t limit)
{
    static const char *const bits[] = {"'s",
                                       "'LL",
                                       "'re",
                                       "\xc5\xbf",
                                       " ",
                                       "  ",
                                       "\n",
                                       "\r\n",
                                       "\t",
                                       " \n ",
                                       "don't",
                                       "1",
                                       "23",
                                       "456",
                                       "ciao",
                                       "XYZ",
                                       "perch\xc3\xa9",
                                       "!",
                                       "...",
                                       "(",
                                       "_",
                                       "\xe4\xbd\xa0\xe5\xa5\xbd",
                                       "\xe3\x82\xa2\xe3\x83\xbb",
                                       "e\xcc\x81",
                                       "\xc2\xa0",
                                       "\xe2\x80\xa8",
                                       "\xe3\x80\x80",
                                       "\xef\xbb\xbf",
                                       "\xc2\xbd",
                                       "\xf0\x9f\x99\x82"};
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        uint64_t kind = rng_below(r, 10);
        if (kind < 5) {
            const char *s = bits[rng_below(r, COUNT_OF(bits))];
            memcpy(out + at, s, strlen(s));
            at += strlen(s);
            continue;
        }
        static const uint32_t spans[] = {0x80, 0x80, 0x370, 0x3100, 0x110000};
        uint32_t c = (uint32_t)rng_below(r, spans[kind - 5] < limit ? spans[kind - 5] : limit);
        at += utf8_put(out + at, c >= 0xd800 && c < 0xe000 ? ' ' : c);
    }
    return at;
}

#endif
