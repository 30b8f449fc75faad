/* A BERT folder without tokenizer.json: vocab.txt, a token a line, its id the number of the line
 * from 0. */
#ifndef MOE2_TEXT_VOCAB_TXT_H
#define MOE2_TEXT_VOCAB_TXT_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

/* Makes what tokenizer.json would say of text [0 … n), a vocab.txt, and of config, the object of
 * tokenizer_config.json (do_lower_case, strip_accents, tokenize_chinese_chars, the special tokens'
 * names) or NULL: a new reference. MOE2_EFORMAT names the line that is not UTF-8, or the special
 * token that is missing; MOE2_ELIMIT: more than TOKENIZER_MAX_VOCAB lines, no memory. */
int vocab_txt_to_json(json_t **out, const char *text, size_t n, const json_t *config,
                      struct err *err);

#endif
