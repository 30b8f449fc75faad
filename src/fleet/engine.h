/* What stands behind an expert's endpoint, as a table of functions that the program fills in: fleet knows nothing of tensors. */
#ifndef MOE2_FLEET_ENGINE_H
#define MOE2_FLEET_ENGINE_H

#include "fleet/chat_request.h"

/* An answer as an engine gives it; zeroed before, engine_answer_release after. */
struct engine_answer {
    struct buf text;
    const char *finish; /* "stop", "length"; a literal */
    int64_t prompt_tokens, completion_tokens;
    int choice;                              /* of the request's choices, where it has some */
    double logprobs[CHAT_MAX_CHOICES];       /* Σ ln p of each choice's tokens, nats */
    int32_t choice_tokens[CHAT_MAX_CHOICES]; /* their number */
};

static inline void engine_answer_release(struct engine_answer *a)
{
    buf_release(&a->text);
}

/* Where text goes while it is made. */
struct engine_sink {
    /* Once, before the first text: the prompt has been counted. */
    void (*begin)(void *ctx, int64_t prompt_tokens);
    void (*text)(void *ctx, const char *bytes, size_t n);
    void *ctx;
};

struct engine {
    /* Answers r; called from one thread. Ends early, with MOE2_ESTOP, once *stop is 1. Errors: MOE2_ECONFIG, MOE2_EFORMAT, MOE2_ELIMIT
     * for a request that it can't do, in one sentence; others are the engine's own trouble. */
    int (*complete)(void *ctx, struct engine_answer *out, const struct chat_request *r,
                    const struct engine_sink *sink, const volatile int *stop, struct err *err);
    void *ctx;
};

#endif
