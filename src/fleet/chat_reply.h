/* What a server says: chat completions, their chunks as server-sent events, errors and lists of models, in OpenAI's shapes.
 *
 *     chat_completion_json(&out, &reply, err);            {"id": "chatcmpl-…", "object": "chat.completion", …}
 *     chat_chunk_event(&out, &reply, "Hel", 3, err);      data: {… "delta": {"content": "Hel"} …}
 *     chat_end_events(&out, &reply, usage, err);          the finish_reason, the usage if asked for, data: [DONE]
 *
 * What OpenAI's schema has no place for stands in one member "moe2", which other clients pass over: who answered, what it
 * took, and why.
 */
#ifndef MOE2_FLEET_CHAT_REPLY_H
#define MOE2_FLEET_CHAT_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "io/json_util.h"

#define CHAT_EVENTS_TYPE "text/event-stream; charset=utf-8"

struct chat_reply {
    const char *model;      /* who answers */
    int64_t number, time_s; /* of the request, of this process; seconds since 1970 */
    const char *text;       /* NUL-ended; NULL: "" */
    const char *finish;     /* "stop" or "length" */
    int64_t prompt_tokens, completion_tokens;
    /* Writes the members of "moe2" into the open object; NULL: there is no such member. */
    void (*extra)(struct json_writer *w, const void *ctx);
    const void *ctx;
};

/* All append to out. Errors: MOE2_ELIMIT. */
int chat_completion_json(struct buf *out, const struct chat_reply *r, struct err *err);
int chat_begin_event(struct buf *out, const struct chat_reply *r, struct err *err);
int chat_chunk_event(struct buf *out, const struct chat_reply *r, const char *text, size_t n,
                     struct err *err);
int chat_end_events(struct buf *out, const struct chat_reply *r, bool usage, struct err *err);

/* An error as an event, and the end: for what goes wrong behind the first byte. */
int chat_error_event(struct buf *out, int status, const char *message, struct err *err);

/* {"error": {"message": …, "type": …, "param": null, "code": …}} for a status of HTTP. */
int chat_error_json(struct buf *out, int status, const char *message, struct err *err);

/* {"object": "list", "data": [{"id": …, "object": "model", …}]} */
int chat_models_json(struct buf *out, const char *const *names, int n, int64_t time_s,
                     struct err *err);

/* The status of HTTP for an error of reading or answering a request. */
int chat_error_status(const struct err *e);

#endif
