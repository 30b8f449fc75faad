/* Writing answers in OpenAI's shapes: see chat_reply.h. */
#include "fleet/chat_reply.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- parts ---- */

static void write_head(struct json_writer *w, const struct chat_reply *r, const char *object)
{
    char id[48];
    snprintf(id, sizeof id, "chatcmpl-%" PRId64 "-%" PRId64, r->time_s, r->number);
    jw_object(w, NULL);
    jw_text(w, "id", id);
    jw_text(w, "object", object);
    jw_int(w, "created", r->time_s);
    jw_text(w, "model", r->model);
}

static void write_usage(struct json_writer *w, const struct chat_reply *r)
{
    jw_object(w, "usage");
    jw_int(w, "prompt_tokens", r->prompt_tokens);
    jw_int(w, "completion_tokens", r->completion_tokens);
    jw_int(w, "total_tokens", r->prompt_tokens + r->completion_tokens);
    jw_end(w);
}

static void write_extra(struct json_writer *w, const struct chat_reply *r)
{
    if (!r->extra)
        return;
    jw_object(w, "moe2");
    r->extra(w, r->ctx);
    jw_end(w);
}

/* ---- a whole answer ---- */

int chat_completion_json(struct buf *out, const struct chat_reply *r, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 0);
    write_head(&w, r, "chat.completion");
    jw_array(&w, "choices");
    jw_object(&w, NULL);
    jw_int(&w, "index", 0);
    jw_object(&w, "message");
    jw_text(&w, "role", "assistant");
    jw_text(&w, "content", r->text ? r->text : "");
    jw_null(&w, "refusal");
    jw_end(&w);
    jw_null(&w, "logprobs");
    jw_text(&w, "finish_reason", r->finish);
    jw_end(&w);
    jw_end(&w);
    write_usage(&w, r);
    write_extra(&w, r);
    jw_end(&w);
    return json_writer_end(&w, err);
}

/* ---- events ---- */

/* An event with one choice: its delta, or the reason why it ended. */
static int write_chunk(struct buf *out, const struct chat_reply *r, const char *role,
                       const char *content, bool last, struct err *err)
{
    struct json_writer w;
    int rc = buf_puts(out, "data: ", err);
    json_writer_init(&w, out, 0);
    write_head(&w, r, "chat.completion.chunk");
    jw_array(&w, "choices");
    jw_object(&w, NULL);
    jw_int(&w, "index", 0);
    jw_object(&w, "delta");
    if (role)
        jw_text(&w, "role", role);
    if (content)
        jw_text(&w, "content", content);
    jw_end(&w);
    jw_null(&w, "logprobs");
    jw_text(&w, "finish_reason", last ? r->finish : NULL);
    jw_end(&w);
    jw_end(&w);
    if (last)
        write_extra(&w, r);
    jw_end(&w);
    if (!rc)
        rc = json_writer_end(&w, err);
    return rc ? rc : buf_puts(out, "\n\n", err);
}

int chat_begin_event(struct buf *out, const struct chat_reply *r, struct err *err)
{
    return write_chunk(out, r, "assistant", "", false, err);
}

int chat_chunk_event(struct buf *out, const struct chat_reply *r, const char *text, size_t n,
                     struct err *err)
{
    struct buf copy = {0};
    int rc = buf_append(&copy, text, n, err);
    if (!rc)
        rc = write_chunk(out, r, NULL, copy.bytes, false, err);
    buf_release(&copy);
    return rc;
}

int chat_end_events(struct buf *out, const struct chat_reply *r, bool usage, struct err *err)
{
    struct json_writer w;
    int rc = write_chunk(out, r, NULL, NULL, true, err);
    if (!rc && usage) {
        rc = buf_puts(out, "data: ", err);
        json_writer_init(&w, out, 0);
        write_head(&w, r, "chat.completion.chunk");
        jw_array(&w, "choices");
        jw_end(&w);
        write_usage(&w, r);
        jw_end(&w);
        if (!rc)
            rc = json_writer_end(&w, err);
        if (!rc)
            rc = buf_puts(out, "\n\n", err);
    }
    return rc ? rc : buf_puts(out, "data: [DONE]\n\n", err);
}

/* ---- errors and lists ---- */

static const char *error_type(int status)
{
    return status == 404   ? "not_found_error"
           : status < 500  ? "invalid_request_error"
           : status == 503 ? "overloaded_error"
                           : "server_error";
}

static const char *error_code(int status)
{
    return status == 404   ? "not_found"
           : status == 413 ? "too_long"
           : status == 503 ? "overloaded"
                           : NULL;
}

int chat_error_json(struct buf *out, int status, const char *message, struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 0);
    jw_object(&w, NULL);
    jw_object(&w, "error");
    jw_text(&w, "message", message);
    jw_text(&w, "type", error_type(status));
    jw_null(&w, "param");
    jw_text(&w, "code", error_code(status));
    jw_end(&w);
    jw_end(&w);
    return json_writer_end(&w, err);
}

int chat_error_event(struct buf *out, int status, const char *message, struct err *err)
{
    int rc = buf_puts(out, "data: ", err);
    if (!rc)
        rc = chat_error_json(out, status, message, err);
    return rc ? rc : buf_puts(out, "\n\ndata: [DONE]\n\n", err);
}

int chat_models_json(struct buf *out, const char *const *names, int n, int64_t time_s,
                     struct err *err)
{
    struct json_writer w;
    json_writer_init(&w, out, 0);
    jw_object(&w, NULL);
    jw_text(&w, "object", "list");
    jw_array(&w, "data");
    for (int i = 0; i < n; i++) {
        jw_object(&w, NULL);
        jw_text(&w, "id", names[i]);
        jw_text(&w, "object", "model");
        jw_int(&w, "created", time_s);
        jw_text(&w, "owned_by", "moe2");
        jw_end(&w);
    }
    jw_end(&w);
    jw_end(&w);
    return json_writer_end(&w, err);
}

int chat_error_status(const struct err *e)
{
    switch (e->code) {
    case MOE2_EFORMAT:
    case MOE2_ECONFIG:
    case MOE2_ELIMIT:
        return 400;
    case MOE2_ESTOP:
        return 503;
    default:
        return 500;
    }
}
