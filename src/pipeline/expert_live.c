/* Live experts: see expert_live.h. */
#include "pipeline/expert_live.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fleet/http_client.h"
#include "io/csv_write.h"
#include "io/json_util.h"
#include "pipeline/answer_tables.h"

enum { MAX_URL = 300, MAX_HEALTH_BYTES = 1 << 20, MAX_ANSWER_TOKENS = 64, MAX_FAILURE = 300 };

struct live_expert {
    int64_t n_asked, n_failed;
    char failure[MAX_FAILURE]; /* the first one */
};

struct expert_live {
    struct http_client *client;
    struct answers *a; /* borrowed */
    struct answer_set questions;
    char url[MAX_URL]; /* of completions */
    enum answer_form form;
    double timeout_s;
    const struct log_sink *sink;
    const volatile int *stop;
    struct live_expert *experts; /* [a->n_experts] owned */
    int32_t *prompt_tokens;      /* [a->n] owned, as the next */
    int32_t *tokens;             /* [a->n, a->n_experts] */
    struct buf runs;             /* rows of runs.csv */
    struct answer_prompt prompt;
};

/* ---- who is there ---- */

static int get_health(json_t **out, struct expert_live *l, const char *base, struct err *err)
{
    char url[MAX_URL];
    snprintf(url, sizeof url, "%s/health", base);
    struct http_call call = {.url = url, .reply.max_bytes = MAX_HEALTH_BYTES};
    int rc = http_client_ask(l->client, &call, 1, 10, l->stop, err);
    if (!rc && call.err.code)
        rc = err_set(err, call.err.code, "%s", call.err.msg);
    else if (!rc && call.status != 200)
        rc = err_set(err, MOE2_EFORMAT, "%s: status %d, wanted a running moe2 fleet up or serve",
                     url, call.status);
    if (!rc)
        rc = json_read_bytes(out, url, call.reply.bytes, call.reply.n, err);
    http_call_release(&call);
    return rc;
}

/* The names into the arena of answers. */
static int read_experts(struct answers *a, const json_t *health, const char *url, struct err *err)
{
    const json_t *list = NULL;
    const char *name = NULL;
    int rc = json_opt_array(&list, health, url, "experts", err);
    if (!rc && !list)
        rc = json_need_text(&name, health, url, "model", err);
    size_t n = list ? json_array_size(list) : 1;
    if (!rc && (n < 1 || n > ANSWERS_MAX_EXPERTS))
        rc = err_set(err, MOE2_EFORMAT, "%s: names %zu experts, wanted 1 to %d", url, n,
                     ANSWERS_MAX_EXPERTS);
    a->names = rc ? NULL : arena_alloc(&a->memory, n * sizeof *a->names, err);
    if (!rc && !a->names)
        rc = MOE2_ELIMIT;
    a->n_experts = (int)n;
    for (size_t i = 0; i < n && !rc; i++) {
        if (list)
            rc = json_need_text(&name, json_array_get(list, i), url, "name", err);
        if (!rc && !(a->names[i] = arena_strdup(&a->memory, name, err)))
            rc = MOE2_ELIMIT;
    }
    return rc;
}

/* ---- what is asked ---- */

/* The number of a category's name, in order of first appearance; −1 for none. */
static int category_of(int32_t *out, struct answers *a, const char *name, struct err *err)
{
    int c = 0;
    *out = -1;
    if (!*name)
        return 0;
    while (c < a->n_categories && strcmp(a->categories[c], name) != 0)
        c++;
    if (c == ANSWERS_MAX_CATEGORIES)
        return err_set(err, MOE2_ELIMIT, "more than %d subjects", ANSWERS_MAX_CATEGORIES);
    if (c == a->n_categories)
        a->categories[a->n_categories++] = name;
    *out = c;
    return 0;
}

static int fill_answers(struct answers *a, const struct answer_set *s, const char *path,
                        struct err *err)
{
    size_t n = (size_t)s->n, cells = n * (size_t)a->n_experts;
    int rc = s->n ? 0 : err_set(err, MOE2_EFORMAT, "%s: has no question with options", path);
    a->n = s->n;
    a->ids = arena_alloc(&a->memory, (n + 1) * sizeof *a->ids, err);
    a->categories = arena_alloc(&a->memory, ANSWERS_MAX_CATEGORIES * sizeof *a->categories, err);
    a->category = arena_alloc(&a->memory, (n + 1) * sizeof *a->category, err);
    a->right = arena_alloc(&a->memory, n + 1, err);
    a->outcomes = arena_alloc(&a->memory, cells + 1, err);
    a->options = arena_alloc(&a->memory, cells + 1, err);
    if (!rc &&
        (!a->ids || !a->categories || !a->category || !a->right || !a->outcomes || !a->options))
        rc = MOE2_ELIMIT;
    if (rc)
        return rc;
    memset(a->outcomes, -1, cells);
    memset(a->options, -1, cells);
    for (int64_t i = 0; i < s->n && !rc; i++) {
        a->ids[i] = s->v[i].id;
        a->right[i] = (int8_t)s->v[i].answer;
        rc = category_of(&a->category[i], a, s->v[i].subject, err);
    }
    return rc;
}

static int open_all(struct expert_live *l, const char *url, const char *questions,
                    const struct expert_live_options *o, struct err *err)
{
    struct answers *a = l->a;
    json_t *health = NULL;
    size_t n = strlen(url);
    char base[MAX_URL - 40];
    if (n && url[n - 1] == '/')
        n--;
    if (n >= sizeof base || strncmp(url, "http", 4) != 0)
        return err_set(err, MOE2_ECONFIG, "--live is \"%.60s\", wanted http://host:port", url);
    snprintf(base, sizeof base, "%.*s", (int)n, url);
    snprintf(l->url, sizeof l->url, "%s/v1/chat/completions", base);
    int rc = http_client_new(&l->client, err);
    if (!rc)
        rc = get_health(&health, l, base, err);
    if (!rc)
        rc = read_experts(a, health, base, err);
    json_decref(health);
    if (!rc)
        rc = answer_set_read(&l->questions, questions, o->limit, o->sink, o->stop, err);
    if (!rc)
        rc = fill_answers(a, &l->questions, questions, err);
    if (rc)
        return rc;
    size_t cells = (size_t)(a->n * a->n_experts);
    l->experts = calloc((size_t)a->n_experts, sizeof *l->experts);
    l->prompt_tokens = malloc((size_t)a->n * sizeof *l->prompt_tokens);
    l->tokens = malloc(cells * sizeof *l->tokens);
    if (!l->experts || !l->prompt_tokens || !l->tokens)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu answers", cells);
    memset(l->prompt_tokens, -1, (size_t)a->n * sizeof *l->prompt_tokens);
    memset(l->tokens, -1, cells * sizeof *l->tokens);
    return 0;
}

int expert_live_open(struct expert_live **out, struct answers *answers, const char *url,
                     const char *questions, const struct expert_live_options *o, struct err *err)
{
    struct expert_live *l = calloc(1, sizeof *l);
    if (!l)
        return err_set(err, MOE2_ELIMIT, "no memory for live experts");
    l->a = answers;
    l->timeout_s = o->timeout_s > 0 ? o->timeout_s : 120;
    l->form = o->form;
    l->sink = o->sink;
    l->stop = o->stop;
    int rc = open_all(l, url, questions, o, err);
    if (rc)
        expert_live_free(l);
    else
        *out = l;
    return rc;
}

void expert_live_free(struct expert_live *l)
{
    if (!l)
        return;
    http_client_free(l->client);
    answer_set_release(&l->questions);
    answer_prompt_release(&l->prompt);
    buf_release(&l->runs);
    free(l->experts);
    free(l->prompt_tokens);
    free(l->tokens);
    free(l);
}

/* ---- asking ---- */

static int write_body(struct buf *out, const struct expert_live *l, const char *model,
                      int n_options, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 0);
    jw_object(&w, NULL);
    jw_text(&w, "model", model);
    jw_array(&w, "messages");
    jw_object(&w, NULL);
    jw_text(&w, "role", "user");
    jw_text(&w, "content", l->prompt.context.bytes);
    jw_end(&w);
    jw_end(&w);
    jw_array(&w, "guided_choice");
    for (int i = 0; i < n_options; i++)
        jw_text(&w, NULL, l->prompt.options[i]);
    jw_end(&w);
    jw_int(&w, "temperature", 0);
    jw_int(&w, "max_tokens", MAX_ANSWER_TOKENS);
    jw_end(&w);
    return json_writer_end(&w, err);
}

static const char *after_blanks(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

/* The option that a text is, or as a letter begins with: " B", "B.", "B) because". −1: none. */
static int option_of(const struct expert_live *l, const char *text, int n_options)
{
    text = after_blanks(text);
    for (int i = 0; i < n_options; i++)
        if (strcmp(text, after_blanks(l->prompt.options[i])) == 0)
            return i;
    bool letter = l->form == ANSWER_LETTER && *text >= 'A' && *text < 'A' + n_options &&
                  !isalnum((unsigned char)text[1]);
    return letter ? *text - 'A' : -1;
}

static int put_number(struct buf *out, const json_t *o, const char *key, double least,
                      struct err *err)
{
    const json_t *v = json_object_get(o, key);
    char text[32];
    if (!json_is_number(v) && least < 0)
        return buf_puts(out, ",", err);
    double value = json_is_number(v) ? json_number_value(v) : least;
    return buf_printf(out, err, ",%s", json_real_text(text, value > least ? value : least));
}

static int put_text(struct buf *out, const json_t *o, const char *key, const char *fallback,
                    struct err *err)
{
    const char *v = json_string_value(json_object_get(o, key));
    v = v ? v : fallback;
    return csv_cell(out, v, strlen(v), false, err);
}

/* A row of runs.csv. own: the expert's remarks; without them the time is what was seen from here, and
 * nothing is known of joules. */
static int put_run(struct expert_live *l, int e, const json_t *usage, const json_t *own,
                   double seconds, struct err *err)
{
    struct buf *out = &l->runs;
    const json_t *latency = json_object_get(own, "latency_s");
    bool metered = json_is_number(json_object_get(own, "energy_j"));
    double took_s = json_is_number(latency) ? json_number_value(latency) : seconds;
    int rc = csv_cell(out, l->a->names[e], strlen(l->a->names[e]), true, err);
    if (!rc)
        rc = put_number(out, usage, "prompt_tokens", 0, err);
    if (!rc)
        rc = put_number(out, usage, "completion_tokens", 0, err);
    if (!rc)
        rc = put_number(out, own, "device_s", took_s, err);
    if (!rc)
        rc = put_number(out, own, "energy_j", -1, err);
    if (!rc)
        rc = put_text(out, own, "device", "", err);
    if (!rc)
        rc = put_text(out, own, "latency_source", "measured", err);
    if (!rc)
        rc = put_text(out, metered ? own : NULL, "energy_source", metered ? "measured" : "", err);
    return rc ? rc : buf_puts(out, "\n", err);
}

static void note_failure(struct expert_live *l, int e, const struct http_call *call,
                         const json_t *reply)
{
    struct live_expert *x = &l->experts[e];
    const char *message =
        json_string_value(json_object_get(json_object_get(reply, "error"), "message"));
    if (x->n_failed++ == 0)
        snprintf(x->failure, sizeof x->failure, "%.*s", MAX_FAILURE - 1,
                 call->err.code ? call->err.msg
                 : message      ? message
                                : "no completion came back");
}

/* What came back from expert e on question q. */
static int take_reply(struct expert_reply *out, struct expert_live *l, int64_t q, int e,
                      const struct http_call *call, struct err *err)
{
    struct answers *a = l->a;
    json_t *reply = NULL;
    int64_t at = q * a->n_experts + e;
    int rc = 0;
    *out = (struct expert_reply){-1, -1};
    l->experts[e].n_asked++;
    if (!call->err.code && call->reply.n)
        json_read_bytes(&reply, "reply", call->reply.bytes, call->reply.n, NULL);
    const json_t *choice = json_array_get(json_object_get(reply, "choices"), 0);
    const json_t *usage = json_object_get(reply, "usage");
    const json_t *own = json_object_get(reply, "moe2");
    const json_t *asked = json_array_get(json_object_get(own, "asked"), 0);
    const char *text =
        json_string_value(json_object_get(json_object_get(choice, "message"), "content"));
    if (call->err.code || call->status != 200 || !text) {
        note_failure(l, e, call, reply);
    } else {
        out->option = (int8_t)option_of(l, text, l->questions.v[q].n_choices);
        out->right = out->option == a->right[q];
        a->options[at] = out->option;
        a->outcomes[at] = out->right;
        l->tokens[at] = (int32_t)json_integer_value(json_object_get(usage, "completion_tokens"));
        if (l->prompt_tokens[q] < 0)
            l->prompt_tokens[q] =
                (int32_t)json_integer_value(json_object_get(usage, "prompt_tokens"));
        rc = put_run(l, e, usage, asked ? asked : own, call->seconds, err);
    }
    json_decref(reply);
    return rc;
}

/* Nobody answered: the fleet is gone, not one expert unwell. */
static int check_all(const struct expert_reply *replies, const struct expert_live *l,
                     const int *experts, int n, struct err *err)
{
    for (int i = 0; i < n; i++)
        if (replies[i].right >= 0)
            return 0;
    return err_set(err, MOE2_EIO, "none of the %d experts asked answered; %.60s: %s", n,
                   l->a->names[experts[0]], l->experts[experts[0]].failure);
}

static int ask_live(struct expert_reply *replies, void *ctx, int64_t question, const int *experts,
                    int n, struct err *err)
{
    struct expert_live *l = ctx;
    const struct answer_question *q = &l->questions.v[question];
    const struct answer_form_options form = {.form = l->form};
    struct http_call calls[ANSWERS_MAX_EXPERTS] = {{0}};
    struct buf bodies[ANSWERS_MAX_EXPERTS] = {{0}};
    int rc = answer_prompt_make(&l->prompt, q, &form, err);
    for (int i = 0; i < n && !rc; i++) {
        rc = write_body(&bodies[i], l, l->a->names[experts[i]], q->n_choices, err);
        calls[i] =
            (struct http_call){.url = l->url, .body = bodies[i].bytes, .n_body = bodies[i].n};
    }
    if (!rc)
        rc = http_client_ask(l->client, calls, n, l->timeout_s, l->stop, err);
    for (int i = 0; i < n && !rc; i++)
        rc = take_reply(&replies[i], l, question, experts[i], &calls[i], err);
    for (int i = 0; i < n; i++) {
        http_call_release(&calls[i]);
        buf_release(&bodies[i]);
    }
    return rc ? rc : check_all(replies, l, experts, n, err);
}

struct expert_source expert_source_live(struct expert_live *l)
{
    return (struct expert_source){ask_live, l};
}

/* ---- what is left behind ---- */

int expert_live_write(const struct expert_live *l, const char *dir, struct err *err)
{
    static const char header[] = "expert,prompt_tokens,output_tokens,latency_s,energy_j,device,"
                                 "latency_source,energy_source\n";
    const struct answer_tables tables = {.questions = &l->questions,
                                         .experts = l->a->names,
                                         .n_experts = l->a->n_experts,
                                         .options = l->a->options,
                                         .outcomes = l->a->outcomes,
                                         .prompt_tokens = l->prompt_tokens,
                                         .tokens = l->tokens};
    struct file_writer w = {0};
    char *path = path_join(dir, "runs.csv");
    int rc = path ? answer_tables_write(dir, &tables, err)
                  : err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!rc)
        rc = file_begin(&w, path, err);
    if (!rc)
        rc = file_put(&w, header, sizeof header - 1, err);
    if (!rc && l->runs.n)
        rc = file_put(&w, l->runs.bytes, l->runs.n, err);
    if (!rc)
        rc = file_commit(&w, err);
    file_abort(&w);
    free(path);
    return rc;
}

void expert_live_tell(const struct expert_live *l)
{
    for (int e = 0; e < l->a->n_experts; e++) {
        const struct live_expert *x = &l->experts[e];
        if (x->n_failed)
            log_line(l->sink, LOG_WARN, "%s failed on %lld of %lld questions, first: %s",
                     l->a->names[e], (long long)x->n_failed, (long long)x->n_asked, x->failure);
    }
}
