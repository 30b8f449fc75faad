/* What every server of chat completions answers alike: errors, the list of models, and whether a POST may be read. */
#ifndef MOE2_FLEET_CHAT_HTTP_H
#define MOE2_FLEET_CHAT_HTTP_H

#include "fleet/chat_reply.h"
#include "fleet/http_server.h"

/* An error in OpenAI's shape. */
void chat_http_error(struct http_exchange *x, int status, const char *message);

/* Replies with what is in text, JSON, and releases it; an error if rc is not 0. */
void chat_http_json(struct http_exchange *x, struct buf *text, int rc);

void chat_http_models(struct http_exchange *x, const char *const *names, int n, int64_t time_s);

/* Whether r is a POST of JSON that is not too long; if not, that is replied. */
bool chat_http_accepts(struct http_exchange *x, const struct http_request *r);

/* GET or HEAD of path. */
bool chat_http_gets(const struct http_request *r, const char *path);

/* Events that are all there already; text is released. */
void chat_http_events(struct http_exchange *x, struct buf *text);

#endif
