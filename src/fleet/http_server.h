/* A small HTTP/1.1 server on libmicrohttpd: one thread a connection, bodies and connections bounded, one function that answers.
 *
 *     struct http_server *s;
 *     http_server_open(&s, &(struct http_options){.host = "127.0.0.1", .port = 0, .answer = answer, .ctx = x}, err);
 *     … http_server_port(s) …
 *     http_server_close(s);             waits for those that are being answered
 *
 * answer is called from the connection's thread, with the whole body read, and may block: it calls http_reply or http_reply_stream
 * once. Whoever does not send for HTTP_IDLE_S, or takes longer than HTTP_BODY_S for a body, is hung up on.
 * Without libmicrohttpd at build time http_server_open says so.
 */
#ifndef MOE2_FLEET_HTTP_SERVER_H
#define MOE2_FLEET_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum {
    HTTP_IDLE_S = 30,
    HTTP_BODY_S = 60,
    HTTP_MAX_HEADER_BYTES = 32 << 10,
    HTTP_MAX_DRAINED_BYTES = 64 << 20, /* of a body that is too long anyway, before it is cut off */
    HTTP_MAX_CONNECTIONS = 256,
};

struct http_server;
struct http_exchange; /* one request being answered */

struct http_request {
    const char *method, *path,
        *content_type; /* borrowed until answer returns; content_type may be NULL */
    const char *body;  /* NUL-ended */
    size_t n_body;
    bool too_long; /* the body was longer than the server takes, and is not here */
};

struct http_options {
    const char *host; /* an IPv4 address */
    int port;         /* 0: a free one */
    size_t max_body_bytes;
    void (*answer)(void *ctx, struct http_exchange *x, const struct http_request *r);
    void *ctx;
};

/* Errors: MOE2_ECONFIG for a host that is no address or a port out of range, MOE2_EIO when it can't be had. */
int http_server_open(struct http_server **out, const struct http_options *o, struct err *err);
int http_server_port(const struct http_server *s);
void http_server_close(struct http_server *s); /* NULL is fine */

/* A header for the reply, before it. Control characters in value become blanks. */
void http_reply_header(struct http_exchange *x, const char *name, const char *value);

/* The whole reply: n bytes, copied. */
void http_reply(struct http_exchange *x, int status, const char *content_type, const void *bytes,
                size_t n);

/* A reply that comes bit by bit. read fills at most room bytes and says how many, 0 at the end, −1 to break off; it may block, for less
 * than HTTP_IDLE_S. close is called once, when the client has all or is gone. Both from the connection's thread. */
struct http_stream {
    ssize_t (*read)(void *ctx, char *out, size_t room);
    void (*close)(void *ctx);
    void *ctx;
};
void http_reply_stream(struct http_exchange *x, int status, const char *content_type,
                       const struct http_stream *stream);

/* Whether the client has hung up: to be asked now and then while it waits. */
bool http_gone(const struct http_exchange *x);

/* While an answer is being thought about, time does not count as idleness. */
void http_thinking(struct http_exchange *x, bool yes);

const char *http_server_version(void); /* of libmicrohttpd; NULL: not built in */

#endif
