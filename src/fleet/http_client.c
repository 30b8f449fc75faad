/* HTTP by libcurl: see http_client.h. */
#include "fleet/http_client.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#ifdef MOE2_HTTP

#include <curl/curl.h>

enum { TICK_MS = 100 };

struct http_client {
    CURLM *multi;
};

int http_client_new(struct http_client **out, struct err *err)
{
    struct http_client *c = calloc(1, sizeof *c);
    if (c && curl_global_init(CURL_GLOBAL_DEFAULT) == 0)
        c->multi = curl_multi_init();
    if (!c || !c->multi) {
        free(c);
        return err_set(err, MOE2_ELIMIT, "no memory for an HTTP client");
    }
    *out = c;
    return 0;
}

void http_client_free(struct http_client *c)
{
    if (!c)
        return;
    curl_multi_cleanup(c->multi);
    curl_global_cleanup();
    free(c);
}

static int status_of(const struct http_call *call)
{
    long status = 0;
    curl_easy_getinfo(call->handle, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

static size_t take(char *bytes, size_t size, size_t n, void *ctx)
{
    struct http_call *call = ctx;
    if (!call->status)
        call->status = status_of(call);
    return buf_append(&call->reply, bytes, size * n, &call->err) ? 0 : size * n;
}

static bool set_up(CURL *h, struct http_call *call, double timeout_s)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct curl_slist *more = headers ? curl_slist_append(headers, "Expect:") : NULL;
    if (!more) {
        curl_slist_free_all(headers);
        return false;
    }
    call->headers = headers;
    if (call->body) {
        curl_easy_setopt(h, CURLOPT_POSTFIELDS, call->body);
        curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->n_body);
        curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    }
    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(h, CURLOPT_PROXY, "");
    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, (long)HTTP_CONNECT_S);
    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)(timeout_s * 1e3));
    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(h, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(h, CURLOPT_PRIVATE, call);
    return curl_easy_setopt(h, CURLOPT_URL, call->url) == CURLE_OK;
}

void http_client_begin(struct http_client *c, struct http_call *call, double timeout_s)
{
    CURL *h = curl_easy_init();
    call->begun_s = clock_s();
    call->reply.max_bytes = call->reply.max_bytes ? call->reply.max_bytes : HTTP_MAX_REPLY_BYTES;
    call->handle = h;
    if (h && set_up(h, call, timeout_s) && curl_multi_add_handle(c->multi, h) == CURLM_OK)
        return;
    call->done = true;
    err_set(&call->err, MOE2_ELIMIT, "%s: no memory for a call", call->url);
    curl_easy_cleanup(h);
    call->handle = NULL;
}

static void finish(struct http_call *call, CURLcode code)
{
    call->status = status_of(call);
    call->done = true;
    call->seconds = clock_s() - call->begun_s;
    if (code != CURLE_OK)
        err_set(&call->err, MOE2_EIO, "%s: %s", call->url, curl_easy_strerror(code));
}

int http_client_step(struct http_client *c, int wait_ms)
{
    int n_running = 0, n_left = 0;
    curl_multi_perform(c->multi, &n_running);
    if (n_running) {
        curl_multi_poll(c->multi, NULL, 0, wait_ms, NULL);
        curl_multi_perform(c->multi, &n_running);
    }
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &n_left));) {
        char *call = NULL;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
        if (m->msg == CURLMSG_DONE)
            finish((struct http_call *)(void *)call, m->data.result);
    }
    return n_running;
}

void http_client_end(struct http_client *c, struct http_call *call)
{
    if (call->handle) {
        curl_multi_remove_handle(c->multi, call->handle);
        curl_easy_cleanup(call->handle);
    }
    curl_slist_free_all(call->headers);
    call->handle = call->headers = NULL;
}

int http_client_ask(struct http_client *c, struct http_call *calls, int n, double timeout_s,
                    const volatile int *stop, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < n; i++)
        http_client_begin(c, &calls[i], timeout_s);
    while (http_client_step(c, TICK_MS) && !rc)
        if (stop && *stop)
            rc = err_set(err, MOE2_ESTOP, "stopped while asking");
    for (int i = 0; i < n; i++)
        http_client_end(c, &calls[i]);
    return rc;
}

const char *http_client_version(void)
{
    return curl_version_info(CURLVERSION_NOW)->version;
}

#else

int http_client_new(struct http_client **out, struct err *err)
{
    (void)out;
    return err_set(err, MOE2_ECONFIG,
                   "this moe2 was built without libmicrohttpd and libcurl: tools/install-deps.sh "
                   "installs them, then build again");
}

void http_client_free(struct http_client *c)
{
    (void)c;
}

void http_client_begin(struct http_client *c, struct http_call *call, double timeout_s)
{
    (void)c, (void)timeout_s;
    call->done = true;
}

int http_client_step(struct http_client *c, int wait_ms)
{
    (void)c, (void)wait_ms;
    return 0;
}

void http_client_end(struct http_client *c, struct http_call *call)
{
    (void)c, (void)call;
}

int http_client_ask(struct http_client *c, struct http_call *calls, int n, double timeout_s,
                    const volatile int *stop, struct err *err)
{
    (void)c, (void)calls, (void)n, (void)timeout_s, (void)stop, (void)err;
    return 0;
}

const char *http_client_version(void)
{
    return NULL;
}

#endif

void http_call_release(struct http_call *call)
{
    buf_release(&call->reply);
    *call = (struct http_call){0};
}
