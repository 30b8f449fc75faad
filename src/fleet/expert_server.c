/* The server of one expert: see expert_server.h. A request becomes a job that two hold: the connection's thread, which waits for it,
 * and the worker. Whoever lets go of it last frees it. All that both touch is under the server's one lock. */
#include "fleet/expert_server.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "fleet/chat_http.h"

enum { DEFAULT_QUEUE = 16, TICK_MS = 50, KEEP_ALIVE_S = 10, MAX_TEXT_BYTES = 16 << 20 };

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_DONE };

struct job {
    struct expert_server *server;
    struct chat_request request;
    struct chat_reply reply; /* its texts are the answer's and the server's */
    enum job_state state;
    int n_holders;
    volatile int stop; /* the client is gone, or the server stops */
    int rc;
    struct err err;
    struct engine_answer answer;
    struct buf fresh; /* events for a stream that nobody has sent yet */
    size_t n_sent;
    bool begun, ended;
    int64_t prompt_tokens, n_pieces;
    double queued_s, begun_s, ended_s, held_s, device_s, energy_j;
    struct job *next;
};

struct expert_server {
    struct expert_options o;
    struct http_server *http;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *first, *last; /* that wait */
    int n_waiting;
    int64_t n_asked, n_answered;
    int64_t opened_s;
    bool closing;
    const volatile int *told; /* to stop, by the caller of run; NULL: nobody runs it yet */
};

/* ---- jobs ---- */

static void job_release(struct job *j)
{
    struct expert_server *s = j->server;
    pthread_mutex_lock(&s->lock);
    int left = --j->n_holders;
    pthread_mutex_unlock(&s->lock);
    if (left)
        return;
    chat_request_release(&j->request);
    engine_answer_release(&j->answer);
    buf_release(&j->fresh);
    free(j);
}

/* Waits for a change, a tick long. The lock is held. */
static void wait_a_tick(struct expert_server *s)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&s->changed, &s->lock, &until);
}

static bool is_closing(const struct expert_server *s)
{
    return s->closing || (s->told && *s->told);
}

static int job_put(struct expert_server *s, struct job *j, struct err *err)
{
    pthread_mutex_lock(&s->lock);
    int rc = 0;
    if (is_closing(s))
        rc = err_set(err, MOE2_ESTOP, "the server is shutting down");
    else if (s->n_waiting >= s->o.queue_size)
        rc = err_set(err, MOE2_ESTOP, "%d requests are waiting already, wanted fewer: try later",
                     s->n_waiting);
    if (!rc) {
        j->reply.number = ++s->n_asked;
        j->n_holders = 2;
        if (s->last)
            s->last->next = j;
        else
            s->first = j;
        s->last = j;
        s->n_waiting++;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* The next job, or NULL after a tick without one. */
static struct job *job_take(struct expert_server *s)
{
    pthread_mutex_lock(&s->lock);
    if (!s->first)
        wait_a_tick(s);
    struct job *j = s->first;
    if (j) {
        s->first = j->next;
        if (!s->first)
            s->last = NULL;
        s->n_waiting--;
        j->state = JOB_RUNNING;
    }
    pthread_mutex_unlock(&s->lock);
    return j;
}

/* Takes a job that nobody waits for any more out of the queue, if it still is in it. The lock is held. */
static void job_withdraw(struct job *j)
{
    struct expert_server *s = j->server;
    struct job **at = &s->first, *before = NULL;
    while (*at && *at != j) {
        before = *at;
        at = &(*at)->next;
    }
    if (!*at)
        return;
    *at = j->next;
    if (s->last == j)
        s->last = before;
    s->n_waiting--;
    j->n_holders--;
    j->rc = err_set(&j->err, MOE2_ESTOP, "nobody waits for it");
    j->state = JOB_DONE;
}

/* ---- the worker ---- */

static void on_begin(void *ctx, int64_t prompt_tokens)
{
    struct job *j = ctx;
    j->prompt_tokens = prompt_tokens;
}

/* A piece of text, not before the device would have had it. */
static void on_text(void *ctx, const char *bytes, size_t n)
{
    struct job *j = ctx;
    struct expert_server *s = j->server;
    j->n_pieces++;
    j->held_s += device_pace_hold(
        &s->o.pace, j->begun_s, device_pace_s(&s->o.pace, j->prompt_tokens, j->n_pieces), &j->stop);
    pthread_mutex_lock(&s->lock);
    if (!j->begun && chat_begin_event(&j->fresh, &j->reply, NULL) == 0)
        j->begun = true;
    if (chat_chunk_event(&j->fresh, &j->reply, bytes, n, NULL))
        j->stop = 1; /* no room: it will end in an error */
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void job_finish(struct job *j)
{
    struct expert_server *s = j->server;
    const struct engine_answer *a = &j->answer;
    j->device_s = device_pace_s(&s->o.pace, a->prompt_tokens, a->completion_tokens);
    j->energy_j = device_pace_j(&s->o.pace, a->prompt_tokens, a->completion_tokens);
    if (!j->rc)
        j->held_s += device_pace_hold(&s->o.pace, j->begun_s, j->device_s, &j->stop);
    if (!j->rc && j->stop)
        j->rc = err_set(&j->err, MOE2_ESTOP, "the answer was broken off");
    pthread_mutex_lock(&s->lock);
    j->ended_s = clock_s();
    j->reply.text = a->text.n ? a->text.bytes : "";
    j->reply.finish = a->finish;
    j->reply.prompt_tokens = a->prompt_tokens;
    j->reply.completion_tokens = a->completion_tokens;
    j->state = JOB_DONE;
    s->n_answered += !j->rc;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void job_run(struct job *j)
{
    struct expert_server *s = j->server;
    struct engine_sink sink = {.begin = on_begin, .ctx = j};
    if (j->request.stream && !j->request.n_choices)
        sink.text = on_text;
    j->begun_s = clock_s();
    if (j->stop)
        j->rc = err_set(&j->err, MOE2_ESTOP, "nobody waits for it");
    else
        j->rc = s->o.engine.complete(s->o.engine.ctx, &j->answer, &j->request, &sink, &j->stop,
                                     &j->err);
    job_finish(j);
    job_release(j);
}

/* Those that still wait learn that nobody will answer. */
static void drop_all(struct expert_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    struct job *j = s->first;
    s->first = s->last = NULL;
    s->n_waiting = 0;
    pthread_mutex_unlock(&s->lock);
    while (j) {
        struct job *next = j->next;
        j->stop = 1;
        j->rc = err_set(&j->err, MOE2_ESTOP, "the server is shutting down");
        job_finish(j);
        job_release(j);
        j = next;
    }
}

/* ---- what is told beside the answer ---- */

static void write_extra(struct json_writer *w, const void *ctx)
{
    const struct job *j = ctx;
    const struct device_pace *p = &j->server->o.pace;
    jw_text(w, "expert", j->server->o.name);
    jw_real(w, "queue_s", j->begun_s - j->queued_s);
    jw_real(w, "latency_s", j->ended_s - j->begun_s);
    if (*p->device)
        jw_text(w, "device", p->device);
    if (p->has_latency) {
        jw_real(w, "device_s", j->device_s);
        jw_real(w, "held_s", j->held_s);
        jw_text(w, "latency_source", curve_source_name(p->latency_source));
    }
    if (p->has_energy) {
        jw_real(w, "energy_j", j->energy_j);
        jw_text(w, "energy_source", curve_source_name(p->energy_source));
    }
    if (!j->request.n_choices)
        return;
    jw_int(w, "choice", j->answer.choice);
    jw_reals(w, "logprobs", j->answer.logprobs, j->request.n_choices);
}

/* ---- answering ---- */

/* Waits until the job is done, or (any) has something to send; sets its stop when the client hangs up or the server closes. */
static void job_wait(struct job *j, struct http_exchange *x, bool any)
{
    struct expert_server *s = j->server;
    http_thinking(x, true);
    pthread_mutex_lock(&s->lock);
    while (j->state != JOB_DONE && !(any && j->fresh.n)) {
        wait_a_tick(s);
        if (!is_closing(s) && !http_gone(x))
            continue;
        j->stop = 1;
        job_withdraw(j);
    }
    pthread_mutex_unlock(&s->lock);
    http_thinking(x, false);
}

static void reply_whole(struct http_exchange *x, struct job *j)
{
    struct buf text = {.max_bytes = MAX_TEXT_BYTES};
    struct err err = {0};
    job_wait(j, x, false);
    int rc = j->rc ? j->rc : chat_completion_json(&text, &j->reply, &err);
    if (rc)
        chat_http_error(x, chat_error_status(j->rc ? &j->err : &err), j->rc ? j->err.msg : err.msg);
    else
        http_reply(x, 200, "application/json", text.bytes, text.n);
    buf_release(&text);
    job_release(j);
}

/* The last events of a stream, once. */
static void put_end(struct job *j)
{
    if (!j->begun && !j->rc)
        j->rc = chat_begin_event(&j->fresh, &j->reply, &j->err);
    if (!j->rc && j->request.n_choices)
        j->rc =
            chat_chunk_event(&j->fresh, &j->reply, j->reply.text, strlen(j->reply.text), &j->err);
    if (!j->rc)
        j->rc = chat_end_events(&j->fresh, &j->reply, j->request.include_usage, &j->err);
    else
        chat_error_event(&j->fresh, chat_error_status(&j->err), j->err.msg, NULL);
}

static ssize_t stream_read(void *ctx, char *out, size_t room)
{
    struct job *j = ctx;
    struct expert_server *s = j->server;
    double begun_s = clock_s();
    pthread_mutex_lock(&s->lock);
    while (j->n_sent == j->fresh.n && j->state != JOB_DONE && clock_s() - begun_s < KEEP_ALIVE_S) {
        wait_a_tick(s);
        if (is_closing(s))
            j->stop = 1;
    }
    if (j->n_sent == j->fresh.n) {
        buf_clear(&j->fresh);
        j->n_sent = 0;
        if (j->state != JOB_DONE)
            buf_puts(&j->fresh, ": still at it\n\n", NULL);
        else if (!j->ended)
            put_end(j);
        j->ended = j->state == JOB_DONE;
    }
    size_t n = j->fresh.n - j->n_sent;
    n = n < room ? n : room;
    if (n)
        memcpy(out, j->fresh.bytes + j->n_sent, n);
    j->n_sent += n;
    pthread_mutex_unlock(&s->lock);
    return (ssize_t)n;
}

static void stream_close(void *ctx)
{
    struct job *j = ctx;
    j->stop = 1;
    job_release(j);
}

/* What goes wrong before the first event is an error of HTTP still. */
static void reply_stream(struct http_exchange *x, struct job *j)
{
    job_wait(j, x, true);
    if (!j->fresh.n && j->rc) {
        chat_http_error(x, chat_error_status(&j->err), j->err.msg);
        job_release(j);
        return;
    }
    http_reply_stream(x, 200, CHAT_EVENTS_TYPE,
                      &(struct http_stream){stream_read, stream_close, j});
}

/* A job for the request, in the queue; NULL when an error has been replied. */
static struct job *job_make(struct expert_server *s, struct http_exchange *x,
                            const struct http_request *r)
{
    struct err err = {0};
    struct job *j = calloc(1, sizeof *j);
    int rc = j ? chat_request_parse(&j->request, r->body, r->n_body, &err)
               : err_set(&err, MOE2_ELIMIT, "no memory for a request");
    int status = rc ? chat_error_status(&err) : 0;
    if (!rc && strcmp(j->request.model, s->o.name) != 0) {
        rc = err_set(&err, MOE2_ECONFIG, "the model \"%.60s\" is not here, wanted \"%s\"",
                     j->request.model, s->o.name);
        status = 404;
    }
    if (!rc) {
        j->server = s;
        j->queued_s = clock_s();
        j->fresh.max_bytes = MAX_TEXT_BYTES;
        j->reply = (struct chat_reply){
            .model = s->o.name, .time_s = (int64_t)time(NULL), .extra = write_extra, .ctx = j};
        rc = job_put(s, j, &err);
        status = 503;
    }
    if (!rc)
        return j;
    chat_http_error(x, status, err.msg);
    if (j)
        chat_request_release(&j->request);
    free(j);
    return NULL;
}

static void answer_chat(struct expert_server *s, struct http_exchange *x,
                        const struct http_request *r)
{
    if (!chat_http_accepts(x, r))
        return;
    struct job *j = job_make(s, x, r);
    if (j && j->request.stream)
        reply_stream(x, j);
    else if (j)
        reply_whole(x, j);
}

static void answer_health(struct expert_server *s, struct http_exchange *x)
{
    struct buf text = {0};
    struct json_writer w;
    pthread_mutex_lock(&s->lock);
    int n_waiting = s->n_waiting;
    int64_t n_answered = s->n_answered;
    pthread_mutex_unlock(&s->lock);
    json_writer_init(&w, &text, 0);
    jw_object(&w, NULL);
    jw_text(&w, "status", "ok");
    jw_text(&w, "model", s->o.name);
    jw_int(&w, "waiting", n_waiting);
    jw_int(&w, "answered", n_answered);
    jw_end(&w);
    chat_http_json(x, &text, json_writer_end(&w, NULL));
}

static void answer(void *ctx, struct http_exchange *x, const struct http_request *r)
{
    struct expert_server *s = ctx;
    if (strcmp(r->path, "/v1/chat/completions") == 0)
        answer_chat(s, x, r);
    else if (chat_http_gets(r, "/v1/models"))
        chat_http_models(x, &s->o.name, 1, s->opened_s);
    else if (chat_http_gets(r, "/health"))
        answer_health(s, x);
    else
        chat_http_error(x, 404, "wanted POST /v1/chat/completions, GET /v1/models or GET /health");
}

/* ---- the server ---- */

int expert_server_open(struct expert_server **out, const struct expert_options *o, struct err *err)
{
    if (o->queue_size < 0 || o->queue_size > EXPERT_MAX_QUEUE)
        return err_set(err, MOE2_ECONFIG, "a queue of %d, wanted 1 to %d", o->queue_size,
                       EXPERT_MAX_QUEUE);
    struct expert_server *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, MOE2_ELIMIT, "no memory for a server");
    s->o = *o;
    s->o.queue_size = o->queue_size ? o->queue_size : DEFAULT_QUEUE;
    s->opened_s = (int64_t)time(NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    struct http_options http = {.host = o->host,
                                .port = o->port,
                                .max_body_bytes = CHAT_MAX_BODY_BYTES,
                                .answer = answer,
                                .ctx = s};
    int rc = http_server_open(&s->http, &http, err);
    if (rc)
        expert_server_close(s);
    else
        *out = s;
    return rc;
}

int expert_server_port(const struct expert_server *s)
{
    return http_server_port(s->http);
}

void expert_server_run(struct expert_server *s, const volatile int *stop)
{
    s->told = stop;
    while (!*stop) {
        struct job *j = job_take(s);
        if (j)
            job_run(j);
    }
    drop_all(s);
}

void expert_server_close(struct expert_server *s)
{
    if (!s)
        return;
    drop_all(s);
    http_server_close(s->http);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
