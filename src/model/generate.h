/* Generating: a session, a sampler and, where text is wanted, a tokenizer, until something says stop.
 *
 *     struct generator g = {.session = s, .sampler = sampler, .tokenizer = tok, .max_tokens = 100};
 *     generate(&g, prompt_ids, n, &result, &err);
 *
 * It ends with an id of `ends` (which is not part of the result), with one of the stop strings in
 * the text (which is cut off it), at max_tokens, where the session is full, or when told to.
 */
#ifndef MOE2_MODEL_GENERATE_H
#define MOE2_MODEL_GENERATE_H

#include "base/buf.h"
#include "model/sampler.h"
#include "model/session.h"
#include "text/tokenizer.h"

enum { GENERATE_MAX_ENDS = 8, GENERATE_MAX_STOPS = 16 };

struct generator {
    struct session *session;
    struct sampler *sampler;
    const struct tokenizer *tokenizer; /* NULL: ids only */
    int64_t max_tokens;
    int32_t ends[GENERATE_MAX_ENDS]; /* ids that end it */
    int n_ends;
    const char *stops[GENERATE_MAX_STOPS]; /* borrowed */
    int n_stops;
    const volatile int *stop_flag; /* turns 1 when it should end; NULL: never */
    /* What can be shown so far, as it comes; NULL: nobody looks. */
    void (*show)(void *ctx, const char *text, size_t n);
    void *ctx;
};

enum finish { FINISH_END, FINISH_STOP, FINISH_LENGTH, FINISH_TOLD };
const char *finish_name(enum finish f); /* "end", "stop", "length", "told" */

struct generated {
    struct ids ids;  /* without the one that ended it; the caller's: generated_release */
    struct buf text; /* of a tokenizer's */
    enum finish finish;
    int64_t n_prompt;
    double prompt_s, decode_s; /* decode: from the first token on */
};

/* Reads n ids behind what the session has and generates. Everything generated but the last token has been read by the session
 * afterwards. Errors: MOE2_ECONFIG (no prompt, no room), those of session_forward and sampler_pick. */
int generate(const struct generator *g, const int32_t *ids, int64_t n, struct generated *out,
             struct err *err);
void generated_release(struct generated *g);

#endif
