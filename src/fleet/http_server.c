/* HTTP by libmicrohttpd: see http_server.h. The library calls on_request three times and more: with the headers, with each piece of the
 * body, and once behind it, which is when the answer is made. */
#include "fleet/http_server.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"

#ifdef MOE2_HTTP

#include <microhttpd.h>

enum { STACK_BYTES = 2 << 20, STREAM_BLOCK_BYTES = 16 << 10, MAX_HEADERS = 8 };

struct http_server {
    struct MHD_Daemon *daemon;
    struct http_options o;
    int port;
};

struct header {
    const char *name; /* a literal */
    char value[256];
};

struct http_exchange {
    struct MHD_Connection *connection;
    struct buf body;
    size_t n_drained; /* bytes behind the limit */
    double begun_s;
    struct header headers[MAX_HEADERS];
    int n_headers;
    enum MHD_Result queued;
};

/* ---- replies ---- */

void http_reply_header(struct http_exchange *x, const char *name, const char *value)
{
    if (x->n_headers == MAX_HEADERS)
        return;
    struct header *h = &x->headers[x->n_headers++];
    h->name = name;
    size_t n = strlen(value);
    n = n < sizeof h->value ? n : sizeof h->value - 1;
    for (size_t i = 0; i < n; i++)
        h->value[i] = (char)(value[i] < ' ' || value[i] == 127 ? ' ' : value[i]);
    h->value[n] = 0;
}

static void queue(struct http_exchange *x, int status, const char *content_type,
                  struct MHD_Response *response)
{
    if (!response)
        return;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    for (int i = 0; i < x->n_headers; i++)
        MHD_add_response_header(response, x->headers[i].name, x->headers[i].value);
    x->queued = MHD_queue_response(x->connection, (unsigned int)status, response);
    MHD_destroy_response(response);
}

void http_reply(struct http_exchange *x, int status, const char *content_type, const void *bytes,
                size_t n)
{
    void *copy = (void *)(uintptr_t)(n ? bytes : "");
    queue(x, status, content_type, MHD_create_response_from_buffer(n, copy, MHD_RESPMEM_MUST_COPY));
}

static ssize_t read_stream(void *ctx, uint64_t at, char *out, size_t room)
{
    const struct http_stream *s = ctx;
    (void)at;
    ssize_t n = s->read(s->ctx, out, room);
    return n > 0    ? n
           : n == 0 ? MHD_CONTENT_READER_END_OF_STREAM
                    : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void close_stream(void *ctx)
{
    struct http_stream *s = ctx;
    s->close(s->ctx);
    free(s);
}

void http_reply_stream(struct http_exchange *x, int status, const char *content_type,
                       const struct http_stream *stream)
{
    struct http_stream *copy = malloc(sizeof *copy);
    struct MHD_Response *response = NULL;
    if (copy) {
        *copy = *stream;
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
                                                     read_stream, copy, close_stream);
    }
    if (!response) {
        stream->close(stream->ctx);
        free(copy);
        return;
    }
    http_reply_header(x, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    queue(x, status, content_type, response);
}

bool http_gone(const struct http_exchange *x)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd p = {.fd = info ? info->connect_fd : -1, .events = POLLRDHUP};
    return info && poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

void http_thinking(struct http_exchange *x, bool yes)
{
    MHD_set_connection_option(x->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                              (unsigned int)(yes ? 0 : HTTP_IDLE_S));
}

/* ---- requests ---- */

static bool take_body(struct http_server *s, struct http_exchange *x, const char *bytes, size_t n)
{
    if (clock_s() - x->begun_s > HTTP_BODY_S)
        return false;
    if (!x->n_drained && x->body.n + n <= s->o.max_body_bytes)
        return buf_append(&x->body, bytes, n, NULL) == 0;
    buf_release(&x->body);
    x->n_drained += n;
    return x->n_drained <= HTTP_MAX_DRAINED_BYTES;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *path,
                                  const char *method, const char *version, const char *bytes,
                                  size_t *n_bytes, void **memory)
{
    struct http_server *s = ctx;
    struct http_exchange *x = *memory;
    (void)version;
    if (!x) {
        x = calloc(1, sizeof *x);
        if (!x)
            return MHD_NO;
        x->connection = c;
        x->begun_s = clock_s();
        *memory = x;
        return MHD_YES;
    }
    if (*n_bytes) {
        bool taken = take_body(s, x, bytes, *n_bytes);
        *n_bytes = 0;
        return taken ? MHD_YES : MHD_NO;
    }
    struct http_request r = {.method = method,
                             .path = path,
                             .content_type = MHD_lookup_connection_value(
                                 c, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_TYPE),
                             .body = x->body.n ? x->body.bytes : "",
                             .n_body = x->body.n,
                             .too_long = x->n_drained > 0};
    x->queued = MHD_NO;
    s->o.answer(s->o.ctx, x, &r);
    return x->queued;
}

static void on_completed(void *ctx, struct MHD_Connection *c, void **memory,
                         enum MHD_RequestTerminationCode why)
{
    struct http_exchange *x = *memory;
    (void)ctx, (void)c, (void)why;
    if (x)
        buf_release(&x->body);
    free(x);
    *memory = NULL;
}

/* The library's own remarks (a client that broke off) are nobody's business. */
static void say_nothing(void *ctx, const char *format, va_list args)
{
    (void)ctx, (void)format, (void)args;
}

/* ---- the server ---- */

static int start(struct http_server *s, const struct sockaddr_in *address, struct err *err)
{
    s->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        (uint16_t)s->o.port, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, say_nothing,
        NULL, MHD_OPTION_SOCK_ADDR, (const struct sockaddr *)address, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT, (unsigned int)HTTP_MAX_CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)HTTP_IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_MAX_HEADER_BYTES,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U,
        MHD_OPTION_END);
    if (!s->daemon)
        return err_set(err, MOE2_EIO, "%s:%d can't be listened on, wanted a free port of this host",
                       s->o.host, s->o.port);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    s->port = info ? info->port : s->o.port;
    return 0;
}

int http_server_open(struct http_server **out, const struct http_options *o, struct err *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
    if (o->port < 0 || o->port > 65535)
        return err_set(err, MOE2_ECONFIG, "port %d, wanted 0 to 65535", o->port);
    if (inet_pton(AF_INET, o->host, &address.sin_addr) != 1)
        return err_set(err, MOE2_ECONFIG, "host \"%.60s\" is no IPv4 address", o->host);
    struct http_server *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, MOE2_ELIMIT, "no memory for a server");
    s->o = *o;
    int rc = start(s, &address, err);
    if (rc)
        free(s);
    else
        *out = s;
    return rc;
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

void http_server_close(struct http_server *s)
{
    if (!s)
        return;
    MHD_stop_daemon(s->daemon);
    free(s);
}

const char *http_server_version(void)
{
    return MHD_get_version();
}

#else

int http_server_open(struct http_server **out, const struct http_options *o, struct err *err)
{
    (void)out, (void)o;
    return err_set(err, MOE2_ECONFIG,
                   "this moe2 was built without libmicrohttpd and libcurl: tools/install-deps.sh "
                   "installs them, then build again");
}

int http_server_port(const struct http_server *s)
{
    (void)s;
    return 0;
}

void http_server_close(struct http_server *s)
{
    (void)s;
}

void http_reply_header(struct http_exchange *x, const char *name, const char *value)
{
    (void)x, (void)name, (void)value;
}

void http_reply(struct http_exchange *x, int status, const char *content_type, const void *bytes,
                size_t n)
{
    (void)x, (void)status, (void)content_type, (void)bytes, (void)n;
}

void http_reply_stream(struct http_exchange *x, int status, const char *content_type,
                       const struct http_stream *stream)
{
    (void)x, (void)status, (void)content_type;
    stream->close(stream->ctx);
}

bool http_gone(const struct http_exchange *x)
{
    (void)x;
    return true;
}

void http_thinking(struct http_exchange *x, bool yes)
{
    (void)x, (void)yes;
}

const char *http_server_version(void)
{
    return NULL;
}

#endif
