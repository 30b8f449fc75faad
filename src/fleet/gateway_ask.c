/* The way of a request through the gateway: order the experts, ask, replace those that fail, count, reply. Lives in the
 * connection's thread. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "fleet/gateway_parts.h"
#include "io/json_util.h"

enum { MAX_FAILURE_TEXT = 200 };

/* One expert's turn. */
struct turn {
    int expert;
    struct http_call call;
    char url[GATEWAY_MAX_URL + 32];
    char *body;       /* owned */
    json_t *reply;    /* owned; NULL: none that can be read */
    const char *text; /* the answer, of reply; NULL: it failed */
    char failure[MAX_FAILURE_TEXT];
    bool refused; /* with a 4xx: the request's fault */
    int64_t prompt_tokens, completion_tokens;
};

struct way {
    struct gateway *g;
    struct http_exchange *x;
    struct http_client *client;
    struct chat_request request;
    bool direct; /* to one expert by name */
    float scores[GATEWAY_MAX_EXPERTS];
    int order[GATEWAY_MAX_EXPERTS], n_order, n_begun; /* who is asked first, next, … */
    struct turn turns[GATEWAY_MAX_EXPERTS];
    int winner; /* of turns */
    int64_t number;
    double begun_s, gate_s, seconds;
    /* of a stream that is passed on */
    size_t n_sent;
};

static void way_free(struct way *w)
{
    for (int i = 0; i < w->n_begun; i++) {
        struct turn *t = &w->turns[i];
        if (w->client)
            http_client_end(w->client, &t->call);
        http_call_release(&t->call);
        json_decref(t->reply);
        free(t->body);
    }
    if (w->client)
        gateway_client_done(w->g, w->client);
    chat_request_release(&w->request);
    free(w);
}

/* ---- who ---- */

static int find_expert(const struct gateway *g, const char *name)
{
    for (int i = 0; i < g->o.n_experts; i++)
        if (strcmp(g->o.experts[i], name) == 0)
            return i;
    return -1;
}

/* Who is there. */
static uint64_t there(struct gateway *g)
{
    uint64_t mask = 0;
    pthread_mutex_lock(&g->lock);
    for (int i = 0; i < g->o.n_experts; i++)
        if (*g->experts[i].url)
            mask |= UINT64_C(1) << i;
    pthread_mutex_unlock(&g->lock);
    return mask;
}

static int score(struct way *w, struct err *err)
{
    struct gateway *g = w->g;
    const char *text = chat_request_asked(&w->request);
    if (!g->o.gate.score)
        return 0;
    double begun_s = clock_s();
    pthread_mutex_lock(&g->gate_lock);
    int rc = g->o.gate.score(g->o.gate.ctx, w->scores, text ? text : "", err);
    pthread_mutex_unlock(&g->gate_lock);
    w->gate_s = clock_s() - begun_s;
    return rc;
}

/* Fills order. Returns the status of HTTP for an error, 0 for none. */
static int choose(struct way *w, struct err *err)
{
    struct gateway *g = w->g;
    uint64_t ready = there(g);
    if (strcmp(w->request.model, g->o.name) == 0) {
        if (score(w, err))
            return 500;
        w->n_order =
            vote_call(w->order, w->scores, g->o.n_experts, g->o.subset & ready, g->o.n_experts);
        if (!w->n_order)
            err_set(err, MOE2_ESTOP, "none of the experts in service is there: try later");
        return w->n_order ? 0 : 503;
    }
    int e = find_expert(g, w->request.model);
    if (e < 0) {
        err_set(err, MOE2_ECONFIG,
                "the model \"%.60s\" is not here, wanted \"%s\" or an expert's name",
                w->request.model, g->o.name);
        return 404;
    }
    w->direct = true;
    w->order[w->n_order++] = e;
    if (!(ready >> e & 1))
        err_set(err, MOE2_ESTOP, "the expert \"%.60s\" is not there: try later", w->request.model);
    return ready >> e & 1 ? 0 : 503;
}

/* ---- asking ---- */

/* The client's own request, for another model, whole or as a stream. */
static char *body_for(const struct way *w, const char *model, bool stream)
{
    json_t *o = json_copy(w->request.root);
    char *text = NULL;
    if (!stream)
        json_object_del(o, "stream_options");
    if (o && json_object_set_new(o, "model", json_string(model)) == 0 &&
        json_object_set_new(o, "stream", json_boolean(stream)) == 0)
        text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

/* Begins the next in order. */
static void begin_turn(struct way *w, bool stream)
{
    struct gateway *g = w->g;
    struct turn *t = &w->turns[w->n_begun];
    t->expert = w->order[w->n_begun++];
    pthread_mutex_lock(&g->lock);
    snprintf(t->url, sizeof t->url, "%s/v1/chat/completions", g->experts[t->expert].url);
    g->experts[t->expert].n_asked++;
    pthread_mutex_unlock(&g->lock);
    t->body = body_for(w, g->o.models ? g->o.models[t->expert] : g->o.experts[t->expert], stream);
    t->call = (struct http_call){
        .url = t->url, .body = t->body ? t->body : "", .n_body = t->body ? strlen(t->body) : 0};
    http_client_begin(w->client, &t->call, g->o.timeout_s);
}

/* The error's message of a reply that is one. */
static void read_failure(struct turn *t)
{
    const json_t *message = json_object_get(json_object_get(t->reply, "error"), "message");
    if (t->call.err.code)
        snprintf(t->failure, sizeof t->failure, "%.*s", MAX_FAILURE_TEXT - 1, t->call.err.msg);
    else
        snprintf(t->failure, sizeof t->failure, "status %d: %.150s", t->call.status,
                 json_is_string(message) ? json_string_value(message) : "no completion");
    t->refused = t->call.status >= 400 && t->call.status < 500 && t->call.status != 429;
}

/* What came of a call that is done. */
static void end_turn(struct way *w, struct turn *t)
{
    http_client_end(w->client, &t->call);
    if (!t->call.err.code && t->call.reply.n)
        json_read_bytes(&t->reply, "reply", t->call.reply.bytes, t->call.reply.n, NULL);
    if (!t->call.err.code && t->call.status == 200) {
        const json_t *choice = json_array_get(json_object_get(t->reply, "choices"), 0);
        const json_t *usage = json_object_get(t->reply, "usage");
        t->text = json_string_value(json_object_get(json_object_get(choice, "message"), "content"));
        t->prompt_tokens = json_integer_value(json_object_get(usage, "prompt_tokens"));
        t->completion_tokens = json_integer_value(json_object_get(usage, "completion_tokens"));
    }
    if (t->text)
        return;
    read_failure(t);
    pthread_mutex_lock(&w->g->lock);
    w->g->experts[t->expert].n_failed++;
    pthread_mutex_unlock(&w->g->lock);
}

/* Asks the first k in order, and for each that fails the next. False when the client is gone or the gateway closes. */
static bool ask_all(struct way *w)
{
    int n_wanted = w->direct ? 1 : w->g->o.k, n_good = 0, n_open = 0;
    bool ended[GATEWAY_MAX_EXPERTS] = {false};
    for (;;) {
        while (n_good + n_open < n_wanted && w->n_begun < w->n_order) {
            begin_turn(w, false);
            n_open++;
        }
        if (!n_open)
            return true;
        http_client_step(w->client, GATEWAY_TICK_MS);
        if (w->g->closing || http_gone(w->x))
            return false;
        for (int i = 0; i < w->n_begun; i++) {
            if (ended[i] || !w->turns[i].call.done)
                continue;
            ended[i] = true;
            end_turn(w, &w->turns[i]);
            n_open--;
            n_good += w->turns[i].text != NULL;
        }
    }
}

/* ---- counting ---- */

/* The winner among those that answered, in called order; −1: nobody did. Equal texts are equal answers. */
static int count(struct way *w)
{
    int32_t answer[GATEWAY_MAX_EXPERTS];
    float scores[GATEWAY_MAX_EXPERTS];
    int place[GATEWAY_MAX_EXPERTS] = {0}, n = 0;
    for (int i = 0; i < w->n_begun; i++) {
        if (!w->turns[i].text)
            continue;
        answer[n] = n;
        for (int j = n - 1; j >= 0; j--)
            if (strcmp(w->turns[place[j]].text, w->turns[i].text) == 0)
                answer[n] = j;
        scores[n] = w->scores[w->turns[i].expert];
        place[n++] = i;
    }
    int winner = vote_by_answer(w->direct ? VOTE_TOP1 : w->g->o.combine, answer, scores, n);
    return winner < 0 ? -1 : place[winner];
}

/* ---- replying ---- */

static void copy_number(struct json_writer *w, const json_t *from, const char *key)
{
    const json_t *v = json_object_get(from, key);
    if (json_is_number(v))
        jw_real(w, key, json_number_value(v));
}

static void copy_text(struct json_writer *w, const json_t *from, const char *key)
{
    const json_t *v = json_object_get(from, key);
    if (json_is_string(v))
        jw_text(w, key, json_string_value(v));
}

static void write_turn(struct json_writer *j, const struct way *w, const struct turn *t)
{
    const json_t *own = json_object_get(t->reply, "moe2");
    jw_object(j, NULL);
    jw_text(j, "expert", w->g->o.experts[t->expert]);
    if (!w->direct)
        jw_f32(j, "score", w->scores[t->expert]);
    jw_text(j, "answer", t->text);
    if (!t->text)
        jw_text(j, "failure", t->failure);
    jw_real(j, "seconds", t->call.seconds);
    copy_number(j, own, "latency_s");
    copy_number(j, own, "device_s");
    copy_text(j, own, "device");
    copy_text(j, own, "latency_source");
    copy_number(j, own, "energy_j");
    copy_text(j, own, "energy_source");
    jw_int(j, "prompt_tokens", t->prompt_tokens);
    jw_int(j, "completion_tokens", t->completion_tokens);
    jw_end(j);
}

static void write_extra(struct json_writer *j, const void *ctx)
{
    const struct way *w = ctx;
    const struct gateway_options *o = &w->g->o;
    char why[160];
    if (w->direct)
        snprintf(why, sizeof why, "asked for by name");
    else
        snprintf(why, sizeof why, "the largest of %d gate scores, %d wanted", w->n_order, o->k);
    jw_text(j, "expert", o->experts[w->turns[w->winner].expert]);
    jw_text(j, "why", why);
    jw_text(j, "combine", w->direct ? "top1" : vote_name(o->combine));
    jw_real(j, "seconds", w->seconds);
    jw_real(j, "gate_s", w->gate_s);
    jw_array(j, "asked");
    for (int i = 0; i < w->n_begun; i++)
        write_turn(j, w, &w->turns[i]);
    jw_end(j);
}

/* Who was asked, in the headers. */
static void name_asked(struct way *w)
{
    struct buf names = {0};
    for (int i = 0; i < w->n_begun; i++)
        buf_printf(&names, NULL, "%s%s", i ? "," : "", w->g->o.experts[w->turns[i].expert]);
    if (names.n)
        http_reply_header(w->x, "x-moe2-asked", names.bytes);
    buf_release(&names);
}

static void reply_failure(struct way *w)
{
    const struct turn *t = &w->turns[0];
    char text[MAX_FAILURE_TEXT + 120];
    bool refused = true;
    for (int i = 0; i < w->n_begun; i++)
        refused &= w->turns[i].refused;
    const json_t *message = json_object_get(json_object_get(t->reply, "error"), "message");
    snprintf(text, sizeof text, "nobody of the %d asked answered; %.60s: %s", w->n_begun,
             w->g->o.experts[t->expert], t->failure);
    if (refused) /* the request's fault, in the expert's words */
        chat_http_error(w->x, t->call.status,
                        json_is_string(message) ? json_string_value(message) : text);
    else
        chat_http_error(w->x, 503, text);
}

/* The winner's answer in the gateway's name; tokens are those of all. */
static struct chat_reply make_reply(const struct way *w)
{
    const struct turn *t = &w->turns[w->winner];
    const json_t *choice = json_array_get(json_object_get(t->reply, "choices"), 0);
    const char *finish = json_string_value(json_object_get(choice, "finish_reason"));
    struct chat_reply r = {.model = w->request.model,
                           .number = w->number,
                           .time_s = (int64_t)time(NULL),
                           .text = t->text,
                           .finish = finish ? finish : "stop",
                           .extra = write_extra,
                           .ctx = w};
    for (int i = 0; i < w->n_begun; i++) {
        r.prompt_tokens += w->turns[i].prompt_tokens;
        r.completion_tokens += w->turns[i].completion_tokens;
    }
    return r;
}

static void reply_winner(struct way *w)
{
    struct buf text = {0};
    struct err err = {0};
    struct chat_reply r = make_reply(w);
    http_reply_header(w->x, "x-moe2-expert", w->g->o.experts[w->turns[w->winner].expert]);
    if (!w->request.stream) {
        chat_http_json(w->x, &text, chat_completion_json(&text, &r, &err));
        return;
    }
    int rc = chat_begin_event(&text, &r, &err);
    if (!rc && *r.text)
        rc = chat_chunk_event(&text, &r, r.text, strlen(r.text), &err);
    if (!rc)
        rc = chat_end_events(&text, &r, w->request.include_usage, &err);
    if (rc)
        chat_http_json(w->x, &text, rc);
    else
        chat_http_events(w->x, &text);
}

/* ---- passing a stream on ---- */

/* Moves a call on to its end, or to its first bytes. False when nobody waits for it any more. */
static bool wait_on(const struct way *w, const struct turn *t, bool first_bytes)
{
    while (!t->call.done && !(first_bytes && t->call.reply.n)) {
        http_client_step(w->client, GATEWAY_TICK_MS);
        if (w->g->closing || http_gone(w->x))
            return false;
    }
    return true;
}

/* Begins with the first in order whose answer begins with status 200 and no object of JSON; the others have failed. False when
 * there is none, or when one that was asked for a stream sent its answer whole. */
static bool begin_stream(struct way *w)
{
    bool whole = false;
    while (w->n_begun < w->n_order && !whole) {
        begin_turn(w, true);
        struct turn *t = &w->turns[w->n_begun - 1];
        if (!wait_on(w, t, true))
            return false;
        if (t->call.status == 200 && !t->call.err.code && t->call.reply.n &&
            t->call.reply.bytes[0] != '{')
            return true;
        if (!wait_on(w, t, false))
            return false;
        end_turn(w, t);
        whole = t->text != NULL;
    }
    return false;
}

static ssize_t relay_read(void *ctx, char *out, size_t room)
{
    struct way *w = ctx;
    struct turn *t = &w->turns[w->n_begun - 1];
    struct buf *got = &t->call.reply;
    double begun_s = clock_s();
    while (w->n_sent == got->n && !t->call.done && !w->g->closing &&
           clock_s() - begun_s < HTTP_IDLE_S / 2)
        http_client_step(w->client, GATEWAY_TICK_MS);
    if (w->g->closing)
        return -1;
    size_t n = got->n - w->n_sent;
    if (!n && t->call.done)
        return t->call.err.code ? -1 : 0;
    if (!n) {
        static const char waiting[] = ": still at it\n\n";
        n = sizeof waiting - 1 < room ? sizeof waiting - 1 : room;
        memcpy(out, waiting, n);
        return (ssize_t)n;
    }
    n = n < room ? n : room;
    memcpy(out, got->bytes + w->n_sent, n);
    w->n_sent += n;
    if (w->n_sent == got->n) { /* what was passed on need not be kept */
        buf_clear(got);
        w->n_sent = 0;
    }
    return (ssize_t)n;
}

static void relay_close(void *ctx)
{
    way_free(ctx);
}

/* ---- the whole ---- */

static struct way *way_new(struct gateway *g, struct http_exchange *x, const struct http_request *r)
{
    struct err err = {0};
    struct way *w = calloc(1, sizeof *w);
    int status = w ? 0 : 500;
    if (w) {
        w->g = g;
        w->x = x;
        w->begun_s = clock_s();
        pthread_mutex_lock(&g->lock);
        w->number = ++g->n_requests;
        pthread_mutex_unlock(&g->lock);
        if (chat_request_parse(&w->request, r->body, r->n_body, &err))
            status = chat_error_status(&err);
    }
    if (!status)
        status = choose(w, &err);
    if (!status && !(w->client = gateway_client(g, &err)))
        status = 500;
    if (!status)
        return w;
    chat_http_error(x, status, err.msg);
    if (w)
        way_free(w);
    return NULL;
}

void gateway_answer(struct gateway *g, struct http_exchange *x, const struct http_request *r)
{
    struct way *w = chat_http_accepts(x, r) ? way_new(g, x, r) : NULL;
    if (!w)
        return;
    http_thinking(x, true);
    bool relay = w->request.stream && (w->direct || g->o.k == 1) && !w->request.n_choices;
    bool begun = relay && begin_stream(w), answered = !relay && ask_all(w);
    http_thinking(x, false);
    w->seconds = clock_s() - w->begun_s;
    name_asked(w);
    if (begun) {
        http_reply_header(x, "x-moe2-expert", g->o.experts[w->turns[w->n_begun - 1].expert]);
        http_reply_stream(x, 200, CHAT_EVENTS_TYPE,
                          &(struct http_stream){relay_read, relay_close, w});
        return;
    }
    bool whole = relay && w->n_begun && w->turns[w->n_begun - 1].text;
    w->winner = whole ? w->n_begun - 1 : answered ? count(w) : -1;
    if (w->winner >= 0)
        reply_winner(w);
    else if (answered || (relay && !g->closing && !http_gone(x)))
        reply_failure(w);
    else
        chat_http_error(x, 503, "the answer was broken off");
    way_free(w);
}
