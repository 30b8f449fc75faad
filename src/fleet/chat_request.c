/* Reading a chat request: see chat_request.h. */
#include "fleet/chat_request.h"

#include <stdlib.h>
#include <string.h>

#include "io/json_util.h"

static const char NAME[] = "request"; /* of the body in messages */

const char *const chat_role_names[CHAT_N_ROLES] = {"system", "user", "assistant"};

/* ---- messages ---- */

static int read_role(enum chat_role *role, const json_t *o, const char *where, struct err *err)
{
    const char *name = NULL;
    int rc = json_need_text(&name, o, where, "role", err);
    if (rc)
        return rc;
    for (int i = 0; i < CHAT_N_ROLES; i++)
        if (strcmp(name, chat_role_names[i]) == 0) {
            *role = (enum chat_role)i;
            return 0;
        }
    *role = CHAT_SYSTEM;
    if (strcmp(name, "developer") == 0)
        return 0;
    return err_set(err, MOE2_ECONFIG, "%s: role is \"%.40s\", wanted system, user or assistant",
                   where, name);
}

/* Appends the texts of an array of parts, and a NUL behind them. */
static int read_parts(struct buf *out, const json_t *parts, const char *where, struct err *err)
{
    size_t i;
    const json_t *part;
    int rc = 0;
    json_array_foreach((json_t *)(uintptr_t)parts, i, part)
    {
        const char *type = NULL, *text = NULL;
        rc = json_need_text(&type, part, where, "type", err);
        if (!rc && strcmp(type, "text") != 0)
            rc = err_set(err, MOE2_ECONFIG,
                         "%s: a part of content is of type \"%.40s\", wanted text", where, type);
        if (!rc)
            rc = json_need_text(&text, part, where, "text", err);
        if (!rc)
            rc = buf_puts(out, text, err);
        if (rc)
            return rc;
    }
    return buf_append(out, "", 1, err);
}

/* A message; where its content stood in parts, text stays NULL and the parts are appended to r->parts. */
static int read_message(struct chat_request *r, const json_t *o, int i, struct err *err)
{
    char where[40];
    struct chat_message *m = &r->messages[i];
    const json_t *content = json_is_object(o) ? json_object_get(o, "content") : NULL;
    snprintf(where, sizeof where, "messages[%d]", i);
    int rc = read_role(&m->role, o, where, err);
    if (rc)
        return rc;
    if (json_is_array(content))
        return read_parts(&r->parts, content, where, err);
    return json_need_text(&m->text, o, where, "content", err);
}

static int read_messages(struct chat_request *r, struct err *err)
{
    const json_t *list = NULL;
    int rc = json_need_array(&list, r->root, NAME, "messages", err);
    if (rc)
        return rc;
    size_t n = json_array_size(list), at = 0;
    if (n < 1 || n > CHAT_MAX_MESSAGES)
        return err_set(err, MOE2_ECONFIG, "%s: messages has %zu entries, wanted 1 to %d", NAME, n,
                       CHAT_MAX_MESSAGES);
    r->messages = calloc(n, sizeof *r->messages);
    if (!r->messages)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu messages", n);
    r->parts.max_bytes = 2 * CHAT_MAX_BODY_BYTES;
    r->n_messages = (int)n;
    for (int i = 0; i < r->n_messages && !rc; i++)
        rc = read_message(r, json_array_get(list, (size_t)i), i, err);
    for (int i = 0; i < r->n_messages && !rc; i++)
        if (!r->messages[i].text) { /* now that the buffer stays where it is */
            r->messages[i].text = r->parts.bytes + at;
            at += strlen(r->messages[i].text) + 1;
        }
    return rc;
}

/* ---- lists of strings ---- */

static int read_strings(const char **out, int *n_out, int most, const json_t *list, const char *key,
                        struct err *err)
{
    size_t n = json_array_size(list);
    if (n > (size_t)most)
        return err_set(err, MOE2_ECONFIG, "%s: %s has %zu entries, wanted at most %d", NAME, key, n,
                       most);
    for (size_t i = 0; i < n; i++) {
        out[i] = json_string_value(json_array_get(list, i));
        if (!out[i] || !*out[i])
            return err_set(err, MOE2_EFORMAT, "%s: %s[%zu] is no string with something in it", NAME,
                           key, i);
    }
    *n_out = (int)n;
    return 0;
}

static int read_stops(struct chat_request *r, struct err *err)
{
    const json_t *stop = json_object_get(r->root, "stop");
    int rc = 0;
    if (json_is_string(stop) && *json_string_value(stop))
        r->stops[r->n_stops++] = json_string_value(stop);
    else if (json_is_array(stop))
        rc = read_strings(r->stops, &r->n_stops, CHAT_MAX_STOPS, stop, "stop", err);
    else if (stop && !json_is_null(stop))
        rc = err_set(err, MOE2_EFORMAT, "%s: stop is no string and no array of strings", NAME);
    for (int i = 0; i < r->n_stops && !rc; i++)
        if (strlen(r->stops[i]) > CHAT_MAX_STOP_BYTES)
            rc = err_set(err, MOE2_ELIMIT, "%s: stop[%d] has %zu bytes, wanted at most %d", NAME, i,
                         strlen(r->stops[i]), CHAT_MAX_STOP_BYTES);
    return rc;
}

static int read_choices(struct chat_request *r, struct err *err)
{
    const json_t *list = NULL;
    int rc = json_opt_array(&list, r->root, NAME, "guided_choice", err);
    if (rc || !list)
        return rc;
    rc = read_strings(r->choices, &r->n_choices, CHAT_MAX_CHOICES, list, "guided_choice", err);
    if (!rc && r->n_choices < 2)
        rc = err_set(err, MOE2_ECONFIG, "%s: guided_choice has %d entries, wanted 2 to %d", NAME,
                     r->n_choices, CHAT_MAX_CHOICES);
    return rc;
}

/* ---- the rest ---- */

static int read_sampling(struct chat_request *r, struct err *err)
{
    const json_t *o = r->root;
    int rc = json_opt_real(&r->temperature, 1, o, NAME, "temperature", 0, 100, err);
    if (!rc)
        rc = json_opt_real(&r->top_p, 1, o, NAME, "top_p", 0, 1, err);
    if (!rc && r->top_p == 0)
        rc = err_set(err, MOE2_ECONFIG, "%s: top_p is 0, wanted a number above 0 up to 1", NAME);
    if (!rc)
        rc = json_opt_real(&r->min_p, 0, o, NAME, "min_p", 0, 1, err);
    if (!rc)
        rc =
            json_opt_real(&r->repetition_penalty, 1, o, NAME, "repetition_penalty", 0.01, 100, err);
    if (!rc)
        rc = json_opt_int(&r->top_k, 0, o, NAME, "top_k", -1, 1 << 30, err);
    if (!rc)
        rc = json_opt_int(&r->seed, -1, o, NAME, "seed", 0, INT64_MAX, err);
    r->top_k = r->top_k < 0 ? 0 : r->top_k;
    return rc;
}

/* max_tokens, or the same by its newer name. */
static int read_length(struct chat_request *r, struct err *err)
{
    int64_t newer = -1;
    int rc = json_opt_int(&r->max_tokens, -1, r->root, NAME, "max_tokens", 1, CHAT_MAX_TOKENS, err);
    if (!rc)
        rc = json_opt_int(&newer, -1, r->root, NAME, "max_completion_tokens", 1, CHAT_MAX_TOKENS,
                          err);
    if (!rc && newer > 0 && r->max_tokens > 0 && newer != r->max_tokens)
        rc = err_set(err, MOE2_ECONFIG,
                     "%s: max_tokens is %lld and max_completion_tokens %lld, wanted one of them",
                     NAME, (long long)r->max_tokens, (long long)newer);
    r->max_tokens = newer > 0 ? newer : r->max_tokens;
    return rc;
}

static int read_stream(struct chat_request *r, struct err *err)
{
    const json_t *options = NULL;
    int rc = json_opt_bool(&r->stream, false, r->root, NAME, "stream", err);
    if (!rc)
        rc = json_opt_object(&options, r->root, NAME, "stream_options", err);
    if (!rc && options)
        rc = json_opt_bool(&r->include_usage, false, options, "stream_options", "include_usage",
                           err);
    return rc;
}

static bool is_nothing(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) ||
           (json_is_number(v) && json_number_value(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

/* What is refused because leaving it out would change the answer behind the client's back. */
static int refuse(const struct chat_request *r, struct err *err)
{
    static const char *const keys[] = {"tools",         "functions",        "logprobs",
                                       "top_logprobs",  "logit_bias",       "frequency_penalty",
                                       "guided_json",   "presence_penalty", "guided_regex",
                                       "guided_grammar"};
    const char *format = NULL;
    int64_t n = 1;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!is_nothing(json_object_get(r->root, keys[i])))
            return err_set(err, MOE2_ECONFIG, "%s: %s is asked for and can't be done here", NAME,
                           keys[i]);
    int rc = json_opt_int(&n, 1, r->root, NAME, "n", 1, 1, err);
    const json_t *wanted = NULL;
    if (!rc)
        rc = json_opt_object(&wanted, r->root, NAME, "response_format", err);
    if (!rc && wanted)
        rc = json_need_text(&format, wanted, "response_format", "type", err);
    if (!rc && format && strcmp(format, "text") != 0)
        rc = err_set(err, MOE2_ECONFIG, "response_format: type is \"%.40s\", wanted text", format);
    return rc;
}

/* What a client wrote stands in messages; they stay one line. */
static void keep_one_line(struct err *err)
{
    for (char *p = err ? err->msg : NULL; p && *p; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            *p = ' ';
}

int chat_request_parse(struct chat_request *r, const void *body, size_t n_bytes, struct err *err)
{
    *r = (struct chat_request){0};
    if (n_bytes > CHAT_MAX_BODY_BYTES)
        return err_set(err, MOE2_ELIMIT, "%s: has %zu bytes, wanted at most %d", NAME, n_bytes,
                       CHAT_MAX_BODY_BYTES);
    int rc = json_read_bytes(&r->root, NAME, body, n_bytes, err);
    if (!rc)
        rc = json_need_text(&r->model, r->root, NAME, "model", err);
    if (!rc)
        rc = read_messages(r, err);
    if (!rc)
        rc = read_sampling(r, err);
    if (!rc)
        rc = read_length(r, err);
    if (!rc)
        rc = read_stops(r, err);
    if (!rc)
        rc = read_choices(r, err);
    if (!rc)
        rc = read_stream(r, err);
    if (!rc)
        rc = refuse(r, err);
    if (rc) {
        keep_one_line(err);
        chat_request_release(r);
    }
    return rc;
}

void chat_request_release(struct chat_request *r)
{
    json_decref(r->root);
    free(r->messages);
    buf_release(&r->parts);
    *r = (struct chat_request){0};
}

const char *chat_request_asked(const struct chat_request *r)
{
    for (int i = r->n_messages - 1; i >= 0; i--)
        if (r->messages[i].role == CHAT_USER)
            return r->messages[i].text;
    return NULL;
}
