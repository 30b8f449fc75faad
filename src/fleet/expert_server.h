/* One expert behind HTTP: an engine, a queue before it, and OpenAI's endpoints.
 *
 *     struct expert_server *s;
 *     expert_server_open(&s, &(struct expert_options){.name = "tiny", .engine = engine, .host = "127.0.0.1"}, err);
 *     … expert_server_port(s) …
 *     expert_server_run(s, stop_flag);        answers until it is told to stop
 *     expert_server_close(s);
 *
 *     POST /v1/chat/completions      chat_request.h; JSON, or server-sent events with "stream": true
 *     GET  /v1/models                its one name
 *     GET  /health                   {"status": "ok", "model": …, "waiting": …, "answered": …}
 *
 * The engine works in expert_server_run's thread, one request after the other; connections wait in their own. Beyond queue_size
 * waiting ones the answer is 503. A client that hangs up ends its generation.
 */
#ifndef MOE2_FLEET_EXPERT_SERVER_H
#define MOE2_FLEET_EXPERT_SERVER_H

#include "fleet/device_pace.h"
#include "fleet/engine.h"

enum { EXPERT_MAX_QUEUE = 192 }; /* below HTTP_MAX_CONNECTIONS, so that /health is always heard */

struct expert_options {
    const char *name; /* of the model; borrowed, as host */
    struct engine engine;
    struct device_pace pace;
    const char *host;
    int port;       /* 0: a free one */
    int queue_size; /* that wait at most; 0: 16 */
};

struct expert_server;

/* Listens from here on. Errors: those of http_server_open; MOE2_ECONFIG for a queue out of range. */
int expert_server_open(struct expert_server **out, const struct expert_options *o, struct err *err);
int expert_server_port(const struct expert_server *s);

/* Answers until *stop is 1: then the answer at hand is broken off, those that wait get 503. */
void expert_server_run(struct expert_server *s, const volatile int *stop);
void expert_server_close(struct expert_server *s); /* NULL is fine */

#endif
