/* Whether a question stands in the gating set: the leak filter of the corpus.
 *
 * Two questions are the same when their normalised texts are equal and one of these holds:
 *   words    the question has QA_LEAK_MIN_WORDS words or more,
 *   options  the two share at least QA_LEAK_MIN_OPTIONS options, normalised too (MMLU-Pro widened the options of
 *            MMLU, and "Which of these is true?" alone says nothing),
 *   src      the row names the gating set as where it was taken from ("ori_mmlu-marketing").
 * Normalised: Unicode NFKC, case folded, every run of anything but letters, marks and numbers one blank. A
 * text of which nothing is left so ("+", "≤") is compared as it stands, white space aside.
 *
 * Texts are kept as hashes (128 bits a question, 64 an option): about 120 bytes a question.
 */
#ifndef MOE2_PIPELINE_QA_LEAK_H
#define MOE2_PIPELINE_QA_LEAK_H

#include "pipeline/qa_row.h"
#include "pipeline/text_dedup.h"

enum {
    QA_LEAK_MIN_WORDS = 8,
    QA_LEAK_MIN_OPTIONS = 2,
    QA_MAX_GATING_ROWS = 1 << 22,
};

enum qa_leak { QA_LEAK_NONE, QA_LEAK_WORDS, QA_LEAK_OPTIONS, QA_LEAK_SRC, QA_N_LEAKS };
extern const char *const qa_leak_names[QA_N_LEAKS];

/* Appends the normalised text; *n_words (NULL is fine) counts its words. */
int qa_normalise(struct buf *out, int *n_words, const char *text, struct err *err);

/* The hash of the normalised text. scratch is overwritten. */
int qa_text_key(struct text_hash *key, int *n_words, struct buf *scratch, const char *text,
                struct err *err);

/* The hash of an id as it stands, byte for byte. */
struct text_hash qa_id_key(const char *id);

struct qa_index;

/* An empty index, the caller's. */
int qa_index_new(struct qa_index **out, struct err *err);
void qa_index_free(struct qa_index *x); /* NULL is fine */

/* Adds a question of the gating set. MOE2_ELIMIT beyond QA_MAX_GATING_ROWS. */
int qa_index_add(struct qa_index *x, const struct qa_row *row, struct err *err);

/* Why the row counts as one of the index's questions, the first reason of the order above. */
int qa_index_find(enum qa_leak *leak, struct qa_index *x, const struct qa_row *row,
                  struct err *err);

int64_t qa_index_size(const struct qa_index *x);

#endif
