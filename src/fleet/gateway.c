/* The server before a fleet: see gateway.h. */
#include "fleet/gateway.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fleet/gateway_parts.h"

/* ---- experts ---- */

void gateway_place(struct gateway *g, int expert, const char *url, pid_t pid, int n_restarts)
{
    pthread_mutex_lock(&g->lock);
    struct gateway_expert *e = &g->experts[expert];
    snprintf(e->url, sizeof e->url, "%s", url ? url : "");
    e->pid = pid;
    e->n_restarts = n_restarts;
    pthread_mutex_unlock(&g->lock);
}

struct http_client *gateway_client(struct gateway *g, struct err *err)
{
    struct http_client *c = NULL;
    pthread_mutex_lock(&g->lock);
    if (g->n_idle)
        c = g->idle[--g->n_idle];
    pthread_mutex_unlock(&g->lock);
    return c || http_client_new(&c, err) == 0 ? c : NULL;
}

void gateway_client_done(struct gateway *g, struct http_client *c)
{
    pthread_mutex_lock(&g->lock);
    if (g->n_idle < GATEWAY_MAX_IDLE_CLIENTS) {
        g->idle[g->n_idle++] = c;
        c = NULL;
    }
    pthread_mutex_unlock(&g->lock);
    http_client_free(c);
}

/* ---- endpoints ---- */

static void write_experts(struct json_writer *w, struct gateway *g)
{
    jw_array(w, "experts");
    for (int i = 0; i < g->o.n_experts; i++) {
        const struct gateway_expert *e = &g->experts[i];
        jw_object(w, NULL);
        jw_text(w, "name", g->o.experts[i]);
        jw_bool(w, "in_service", g->o.subset >> i & 1);
        jw_bool(w, "ready", *e->url);
        jw_text(w, "url", *e->url ? e->url : NULL);
        jw_int(w, "pid", e->pid);
        jw_int(w, "restarts", e->n_restarts);
        jw_int(w, "asked", e->n_asked);
        jw_int(w, "failed", e->n_failed);
        jw_end(w);
    }
    jw_end(w);
}

static void answer_health(struct gateway *g, struct http_exchange *x)
{
    struct buf text = {0};
    struct json_writer w;
    int n_ready = 0;
    json_writer_init(&w, &text, 0);
    jw_object(&w, NULL);
    pthread_mutex_lock(&g->lock);
    for (int i = 0; i < g->o.n_experts; i++)
        n_ready += (g->o.subset >> i & 1) && *g->experts[i].url;
    jw_text(&w, "status", n_ready ? "ok" : "nobody is there");
    jw_text(&w, "model", g->o.name);
    jw_int(&w, "k", g->o.k);
    jw_text(&w, "combine", vote_name(g->o.combine));
    jw_int(&w, "requests", g->n_requests);
    write_experts(&w, g);
    pthread_mutex_unlock(&g->lock);
    jw_end(&w);
    chat_http_json(x, &text, json_writer_end(&w, NULL));
}

static void answer_models(const struct gateway *g, struct http_exchange *x)
{
    const char *names[GATEWAY_MAX_EXPERTS + 1] = {g->o.name};
    for (int i = 0; i < g->o.n_experts; i++)
        names[i + 1] = g->o.experts[i];
    chat_http_models(x, names, g->o.n_experts + 1, g->opened_s);
}

static void answer(void *ctx, struct http_exchange *x, const struct http_request *r)
{
    struct gateway *g = ctx;
    if (strcmp(r->path, "/v1/chat/completions") == 0)
        gateway_answer(g, x, r);
    else if (chat_http_gets(r, "/v1/models"))
        answer_models(g, x);
    else if (chat_http_gets(r, "/health"))
        answer_health(g, x);
    else
        chat_http_error(x, 404, "wanted POST /v1/chat/completions, GET /v1/models or GET /health");
}

/* ---- opening and closing ---- */

static int check(const struct gateway_options *o, struct err *err)
{
    if (o->n_experts < 1 || o->n_experts > GATEWAY_MAX_EXPERTS)
        return err_set(err, MOE2_ECONFIG, "%d experts, wanted 1 to %d", o->n_experts,
                       GATEWAY_MAX_EXPERTS);
    uint64_t all = vote_everyone(o->n_experts);
    if (!(o->subset & all) || o->subset & ~all)
        return err_set(err, MOE2_ECONFIG, "nobody of the %d experts is in service", o->n_experts);
    if (o->k < 1 || o->k > o->n_experts)
        return err_set(err, MOE2_ECONFIG, "k is %d, wanted 1 to %d", o->k, o->n_experts);
    if (o->combine == VOTE_TOP1 && o->k != 1)
        return err_set(err, MOE2_ECONFIG, "combine top1 asks one expert, k is %d", o->k);
    for (int i = 0; i < o->n_experts; i++)
        if (strcmp(o->experts[i], o->name) == 0)
            return err_set(err, MOE2_ECONFIG,
                           "an expert is called \"%.60s\", as the whole fleet is", o->name);
    return 0;
}

int gateway_open(struct gateway **out, const struct gateway_options *o, struct err *err)
{
    int rc = check(o, err);
    struct gateway *g = rc ? NULL : calloc(1, sizeof *g);
    if (!g)
        return rc ? rc : err_set(err, MOE2_ELIMIT, "no memory for a gateway");
    g->o = *o;
    g->opened_s = (int64_t)time(NULL);
    pthread_mutex_init(&g->lock, NULL);
    pthread_mutex_init(&g->gate_lock, NULL);
    struct http_options http = {.host = o->host,
                                .port = o->port,
                                .max_body_bytes = CHAT_MAX_BODY_BYTES,
                                .answer = answer,
                                .ctx = g};
    rc = http_server_open(&g->http, &http, err);
    if (rc)
        gateway_close(g);
    else
        *out = g;
    return rc;
}

int gateway_port(const struct gateway *g)
{
    return http_server_port(g->http);
}

void gateway_close(struct gateway *g)
{
    if (!g)
        return;
    g->closing = 1;
    http_server_close(g->http);
    for (int i = 0; i < g->n_idle; i++)
        http_client_free(g->idle[i]);
    pthread_mutex_destroy(&g->gate_lock);
    pthread_mutex_destroy(&g->lock);
    free(g);
}
