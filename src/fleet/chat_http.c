/* The common part of servers: see chat_http.h. */
#include "fleet/chat_http.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "fleet/chat_request.h"

void chat_http_json(struct http_exchange *x, struct buf *text, int rc)
{
    if (rc)
        chat_http_error(x, 500, "no memory for the answer");
    else
        http_reply(x, 200, "application/json", text->bytes, text->n);
    buf_release(text);
}

void chat_http_error(struct http_exchange *x, int status, const char *message)
{
    struct buf text = {0};
    if (status == 503)
        http_reply_header(x, "Retry-After", "1");
    if (chat_error_json(&text, status, message, NULL) == 0)
        http_reply(x, status, "application/json", text.bytes, text.n);
    buf_release(&text);
}

void chat_http_models(struct http_exchange *x, const char *const *names, int n, int64_t time_s)
{
    struct buf text = {0};
    chat_http_json(x, &text, chat_models_json(&text, names, n, time_s, NULL));
}

static bool is_json(const char *content_type)
{
    static const char wanted[] = "application/json";
    size_t n = sizeof wanted - 1;
    return content_type && strncasecmp(content_type, wanted, n) == 0 &&
           (!content_type[n] || content_type[n] == ';' || content_type[n] == ' ');
}

bool chat_http_accepts(struct http_exchange *x, const struct http_request *r)
{
    char text[200] = "";
    int status = 0;
    if (strcmp(r->method, "POST") != 0) {
        http_reply_header(x, "Allow", "POST");
        snprintf(text, sizeof text, "wanted POST here");
        status = 405;
    } else if (!is_json(r->content_type)) {
        snprintf(text, sizeof text, "Content-Type is \"%.60s\", wanted application/json",
                 r->content_type ? r->content_type : "");
        status = 415;
    } else if (r->too_long) {
        snprintf(text, sizeof text, "the request is too long, wanted at most %d bytes",
                 CHAT_MAX_BODY_BYTES);
        status = 413;
    }
    if (status)
        chat_http_error(x, status, text);
    return !status;
}

bool chat_http_gets(const struct http_request *r, const char *path)
{
    return (strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0) &&
           strcmp(r->path, path) == 0;
}

void chat_http_events(struct http_exchange *x, struct buf *text)
{
    http_reply(x, 200, CHAT_EVENTS_TYPE, text->bytes, text->n);
    buf_release(text);
}
