/* Nearest words and lists: see words.h. The optimal string alignment distance, three rows at a time. */
#include "base/words.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WORD = 63 };

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

static size_t distance(const char *a, const char *b)
{
    size_t n = strnlen(a, MAX_WORD), m = strnlen(b, MAX_WORD);
    size_t rows[3][MAX_WORD + 1];
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = min3(up[j] + 1, now[j - 1] + 1, up[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                up2[j - 2] + 1 < now[j])
                now[j] = up2[j - 2] + 1;
        }
    }
    return rows[n % 3][m];
}

const char *words_nearest(const char *word, const char *const *candidates, size_t n)
{
    size_t limit = strlen(word) / 3;
    if (limit < 2)
        limit = 2;
    const char *best = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, candidates[i]);
        if (d <= limit) {
            limit = d ? d - 1 : 0;
            best = candidates[i];
            if (!d)
                break;
        }
    }
    return best;
}

char *words_cut(char **rest)
{
    char *word = *rest, *comma = word ? strchr(word, ',') : NULL;
    if (comma)
        *comma = 0;
    *rest = comma ? comma + 1 : NULL;
    return word;
}

static int add_name(uint64_t *mask, const char *word, const char *const *names, int n,
                    const char *flag, const char *of, struct err *err)
{
    if (!*word)
        return err_set(err, MOE2_ECONFIG, "%s has an empty name, wanted names with commas between",
                       flag);
    int i = 0;
    while (i < n && strcmp(names[i], word) != 0)
        i++;
    if (i < n && *mask >> i & 1)
        return err_set(err, MOE2_ECONFIG, "%s names \"%.60s\" twice, wanted once", flag, word);
    if (i < n) {
        *mask |= UINT64_C(1) << i;
        return 0;
    }
    const char *nearest = words_nearest(word, names, (size_t)n);
    return err_set(err, MOE2_ECONFIG, "%s: %s has no \"%.60s\", %s\"%s\"%s", flag, of, word,
                   nearest ? "did you mean " : "wanted names such as ",
                   nearest ? nearest : names[0], nearest ? "?" : "");
}

int words_mask(uint64_t *mask, const char *list, const char *const *names, int n, const char *flag,
               const char *of, struct err *err)
{
    uint64_t chosen = 0;
    assert(n >= 1 && n <= 64);
    char *copy = strdup(list), *rest = copy;
    int rc = copy ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for its names", flag);
    for (char *word; !rc && (word = words_cut(&rest));)
        rc = add_name(&chosen, word, names, n, flag, of, err);
    free(copy);
    if (!rc)
        *mask = chosen;
    return rc;
}

bool words_end_in(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n >= m && strcmp(text + n - m, tail) == 0;
}
