/* Any bytes as the body of /v1/chat/completions: read, or refused in one sentence. What was read keeps the limits of chat_request.h, and
 * an answer to it can be written as JSON that reads back. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "fleet/chat_reply.h"
#include "fleet/chat_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_limits(const struct chat_request *r)
{
    assert(r->model && r->n_messages >= 1 && r->n_messages <= CHAT_MAX_MESSAGES);
    for (int i = 0; i < r->n_messages; i++)
        assert(r->messages[i].text && r->messages[i].role < CHAT_N_ROLES);
    assert(r->temperature >= 0 && r->top_p > 0 && r->top_p <= 1 && r->top_k >= 0);
    assert(r->max_tokens == -1 || (r->max_tokens >= 1 && r->max_tokens <= CHAT_MAX_TOKENS));
    assert(r->seed >= -1 && r->n_choices != 1);
    for (int i = 0; i < r->n_stops; i++)
        assert(*r->stops[i] && strlen(r->stops[i]) <= CHAT_MAX_STOP_BYTES);
    for (int i = 0; i < r->n_choices; i++)
        assert(*r->choices[i]);
}

/* The request's own text said back. */
static void check_reply(const struct chat_request *r)
{
    struct buf out = {0};
    json_t *root = NULL;
    const char *asked = chat_request_asked(r);
    struct chat_reply reply = {.model = r->model, .text = asked, .finish = "stop"};
    assert(chat_completion_json(&out, &reply, NULL) == 0);
    assert(json_read_bytes(&root, "reply", out.bytes, out.n, NULL) == 0);
    assert(strcmp(json_string_value(json_object_get(root, "model")), r->model) == 0);
    json_decref(root);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct chat_request r;
    struct err err = {0};
    int rc = chat_request_parse(&r, bytes, n, &err);
    assert(rc == err.code);
    if (rc) {
        assert(*err.msg && !strchr(err.msg, '\n') && chat_error_status(&err) == 400);
        return 0;
    }
    check_limits(&r);
    check_reply(&r);
    chat_request_release(&r);
    return 0;
}
