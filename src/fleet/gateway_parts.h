/* Inside the gateway: what its two files share. gateway.c has the server and the table of experts, gateway_ask.c the way of a
 * request. */
#ifndef MOE2_FLEET_GATEWAY_PARTS_H
#define MOE2_FLEET_GATEWAY_PARTS_H

#include <pthread.h>
#include <stdbool.h>

#include "fleet/chat_http.h"
#include "fleet/chat_request.h"
#include "fleet/gateway.h"
#include "fleet/http_client.h"

enum { GATEWAY_MAX_IDLE_CLIENTS = 16, GATEWAY_TICK_MS = 50 };

struct gateway_expert {
    char url[GATEWAY_MAX_URL]; /* empty: not there */
    pid_t pid;
    int n_restarts;
    int64_t n_asked, n_failed;
};

struct gateway {
    struct gateway_options o;
    struct http_server *http;
    pthread_mutex_t lock, gate_lock;
    struct gateway_expert experts[GATEWAY_MAX_EXPERTS];
    struct http_client *idle[GATEWAY_MAX_IDLE_CLIENTS];
    int n_idle;
    int64_t n_requests, opened_s;
    volatile int closing;
};

/* The way of one request from parsing to reply. */
void gateway_answer(struct gateway *g, struct http_exchange *x, const struct http_request *r);

/* A client out of the idle ones, or a new one; and back. */
struct http_client *gateway_client(struct gateway *g, struct err *err);
void gateway_client_done(struct gateway *g, struct http_client *c);

#endif
