/* Normalizers: the steps that a tokenizer.json puts a text through before it is cut.
 *
 * Each kind of step is a row of a table (normalizer_kinds): its name in the file, how its settings
 * are read, what it does. Steps run in order, from one buffer into the other; one that would change
 * nothing, by the classes of the characters, is passed over.
 */
#ifndef MOE2_TEXT_NORMALIZER_H
#define MOE2_TEXT_NORMALIZER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "text/bert.h"
#include "text/charsmap.h"
#include "text/split.h"

enum { NORMALIZER_MAX_STEPS = 16 };

struct normalizer;
struct normalizer_step;

struct normalizer_kind {
    const char *name;
    /* Classes of unicode.h of which a text must have some, or the step changes nothing; 0: always
     * runs. */
    uint8_t needs;
    /* Settings of a zeroed step from its JSON; NULL where there are none. */
    int (*read)(struct normalizer_step *step, struct normalizer *n, const json_t *json,
                struct err *err);
    /* Appends the normal form of valid UTF-8. */
    int (*run)(struct buf *out, const struct normalizer_step *step, const struct normalizer *n,
               const uint8_t *text, size_t n_text, struct err *err);
};

struct normalizer_step {
    const struct normalizer_kind *kind;
    struct bert_rules bert;    /* of a BertNormalizer */
    struct charsmap map;       /* of a Precompiled */
    struct split_regex *regex; /* of a Replace; NULL: this byte, or if it is 0, " {2,}" */
    char byte;
    struct buf content; /* of a Replace: what comes in the place of its matches; of a Prepend */
    bool left, right;   /* of a Strip */
    bool moves_begin; /* what it leaves first need not stand for the first character of the text */
};

struct normalizer {
    struct normalizer_step steps[NORMALIZER_MAX_STEPS];
    int n_steps;
    struct char_tables *tables; /* borrowed from the tokenizer */
};

/* Fills a zeroed normalizer, whose tables are set, from the field "normalizer"; the caller
 * releases it whatever comes out. */
int read_normalizer(struct normalizer *n, const json_t *json, struct err *err);
void normalizer_release(struct normalizer *n);

/* Puts *text, valid UTF-8, through all steps: it becomes a borrowed part of scratch, or stays. seen
 * are classes that the text has at most (utf8_scan), 0xff for not known. */
int normalizer_run(const uint8_t **text, size_t *n_text, const struct normalizer *n,
                   struct buf scratch[2], uint8_t seen, struct err *err);

#endif
