/* Asking several HTTP servers side by side, on libcurl's multi interface.
 *
 *     struct http_client *c;
 *     http_client_new(&c, err);
 *     struct http_call calls[2] = {{.url = a, .body = text, .n_body = n}, {.url = b, .body = text, .n_body = n}};
 *     http_client_ask(c, calls, 2, 30, stop, err);          each has its status and reply, or its error
 *     http_call_release(&calls[0]); …
 *     http_client_free(c);
 *
 * Connections are kept between calls. A client is one thread's at a time. Proxies of the environment are not used, redirections not
 * followed. begin, step and end are the same in pieces, for replies that are passed on while they come.
 */
#ifndef MOE2_FLEET_HTTP_CLIENT_H
#define MOE2_FLEET_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { HTTP_MAX_REPLY_BYTES = 16 << 20, HTTP_CONNECT_S = 5 };

struct http_client;

struct http_call {
    const char *url;  /* borrowed, as body */
    const char *body; /* of a POST of JSON; NULL: a GET */
    size_t n_body;
    struct buf reply; /* as much as came; http_call_release */
    int status;       /* of HTTP, from the first bytes of the reply on; 0: none came */
    bool done;
    double begun_s, seconds; /* from begin to the end */
    struct err
        err; /* why no whole reply came: MOE2_EIO, MOE2_ELIMIT for one too long; code 0: it came */
    void *handle, *headers; /* of libcurl, while it runs */
};

int http_client_new(struct http_client **out, struct err *err);
void http_client_free(struct http_client *c); /* NULL is fine */

/* Begins a call, which must stay where it is until its end. A call that can't begin is done, with its error. */
void http_client_begin(struct http_client *c, struct http_call *call, double timeout_s);

/* Moves all calls on, waiting at most wait_ms for something to happen. Returns how many are not done. */
int http_client_step(struct http_client *c, int wait_ms);

/* Takes a call out, done or not; what came of it stays. */
void http_client_end(struct http_client *c, struct http_call *call);

/* All of them to their end, or until *stop is 1 (NULL: never): then MOE2_ESTOP. A call's failure is the call's alone. */
int http_client_ask(struct http_client *c, struct http_call *calls, int n, double timeout_s,
                    const volatile int *stop, struct err *err);

void http_call_release(struct http_call *call); /* after its end; a zeroed one is fine */

const char *http_client_version(void); /* of libcurl; NULL: not built in */

#endif
