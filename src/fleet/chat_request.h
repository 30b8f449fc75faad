/* What a client asks of /v1/chat/completions, read out of JSON: OpenAI's schema, as far as a language model behind moe2 can do it.
 *
 *     struct chat_request r;
 *     chat_request_parse(&r, body, n_bytes, err);
 *     chat_request_release(&r);
 *
 * Read: model, messages (content a string or parts of type text), temperature, top_p, max_tokens or
 * max_completion_tokens, stop, seed, stream, stream_options.include_usage; and of the extensions that other servers have: top_k,
 * min_p, repetition_penalty (vLLM, llama.cpp) and guided_choice (vLLM: the answer is one of these strings). What would change the answer
 * and can't be done is refused by name (tools, n above 1, logprobs, …); keys that nobody knows are passed over, as others do.
 */
#ifndef MOE2_FLEET_CHAT_REQUEST_H
#define MOE2_FLEET_CHAT_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

enum {
    CHAT_MAX_BODY_BYTES = 4 << 20,
    CHAT_MAX_MESSAGES = 1024,
    CHAT_MAX_STOPS = 16,
    CHAT_MAX_STOP_BYTES = 256,
    CHAT_MAX_CHOICES = 26,
    CHAT_MAX_TOKENS = 1 << 20,
};

enum chat_role { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, CHAT_N_ROLES };
extern const char *const chat_role_names[CHAT_N_ROLES]; /* "developer" is read as system */

struct chat_message {
    enum chat_role role;
    const char *text; /* borrowed from the request; UTF-8 without NUL */
};

struct chat_request {
    const char *model; /* borrowed from root, as all texts */
    struct chat_message *messages;
    int n_messages;                                       /* ≥ 1 */
    double temperature, top_p, min_p, repetition_penalty; /* 1, 1, 0, 1 where not given */
    int64_t top_k;                                        /* 0: all */
    int64_t max_tokens;                                   /* −1: not given */
    int64_t seed;                                         /* −1: not given */
    const char *stops[CHAT_MAX_STOPS];
    int n_stops;
    const char *choices[CHAT_MAX_CHOICES];
    int n_choices; /* 0: free text; otherwise ≥ 2 */
    bool stream, include_usage;
    json_t *root;     /* owned */
    struct buf parts; /* owned: contents that stood in parts */
};

/* Fills r, the caller's to release after success only. Errors, one sentence each: MOE2_EFORMAT for what is no JSON, or no such object;
 * MOE2_ECONFIG for something that can't be done; MOE2_ELIMIT. */
int chat_request_parse(struct chat_request *r, const void *body, size_t n_bytes, struct err *err);
void chat_request_release(struct chat_request *r); /* a zeroed one is fine */

/* The last message of the user, or NULL: what a gate looks at. */
const char *chat_request_asked(const struct chat_request *r);

#endif
