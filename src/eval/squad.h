/* How right an answer in words is: exact match and F1 over words, as SQuAD 1.1 is scored.
 *
 * Both texts are normalised first. Official: lower case, ASCII punctuation out, the English
 * articles a, an, the out, white space collapsed (the script of SQuAD 1.1; SQuAD-it's authors use
 * it unchanged). Italian: NFC, lower case, an apostrophe behind an elided word (l', un', dell', …)
 * ends the word, punctuation of Unicode out, the articles il lo la i gli le un uno una l out. A
 * word's borders are those of Python's \w and str.split.
 */
#ifndef MOE2_EVAL_SQUAD_H
#define MOE2_EVAL_SQUAD_H

#include "base/buf.h"

enum squad_rules { SQUAD_OFFICIAL, SQUAD_ITALIAN, SQUAD_N_RULES };
extern const char *const squad_rules_names[SQUAD_N_RULES];

enum { SQUAD_MAX_ANSWER_BYTES = 1 << 16 };

struct squad_score {
    double exact, f1; /* 0 … 1 */
};

/* Appends the normalised text. MOE2_EFORMAT for what is not UTF-8; MOE2_ELIMIT above
 * SQUAD_MAX_ANSWER_BYTES or without memory. */
int squad_normalise(struct buf *out, const char *text, enum squad_rules rules, struct err *err);

/* The best over the n answers that count as right, of each measure for itself; 0 for n = 0. */
int squad_score(struct squad_score *out, const char *answer, const char *const *right, int n,
                enum squad_rules rules, struct err *err);

#endif
