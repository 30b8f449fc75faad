/* Reading requests of /v1/chat/completions, and writing answers: every field, every truncation, what is refused and how. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "fleet/chat_reply.h"
#include "fleet/chat_request.h"
#include "fleet/device_pace.h"

static const char EVERYTHING[] =
    "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":\"Be brief.\"},"
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\","
    "\"text\":\"b\"}]},{\"role\":\"assistant\",\"content\":\"\"},{\"role\":\"user\",\"content\":["
    "]},{\"role\":\"user\",\"content\":\"c\"}],\"temperature\":0.5,\"top_p\":0.9,\"top_k\":-1,"
    "\"min_p\":0.1,\"repetition_penalty\":1.5,\"max_completion_tokens\":7,\"max_tokens\":7,"
    "\"seed\":3,\"stop\":[\"x\",\"y\"],\"stream\":true,\"stream_options\":{\"include_usage\":true},"
    "\"user\":\"u\",\"n\":1,\"tools\":[],\"logprobs\":false,\"presence_penalty\":0,"
    "\"response_format\":{\"type\":\"text\"},\"guided_choice\":[\" A\",\" B\"]}";

static int parse(struct chat_request *r, const char *text, struct err *err)
{
    *err = (struct err){0};
    return chat_request_parse(r, text, strlen(text), err);
}

static void every_field_is_read(void **state)
{
    struct chat_request r;
    struct err err;
    (void)state;
    assert_int_equal(0, parse(&r, EVERYTHING, &err));
    assert_string_equal("m", r.model);
    assert_int_equal(5, r.n_messages);
    assert_int_equal(CHAT_SYSTEM, r.messages[0].role);
    assert_string_equal("ab", r.messages[1].text);
    assert_string_equal("", r.messages[2].text);
    assert_string_equal("", r.messages[3].text);
    assert_string_equal("c", chat_request_asked(&r));
    assert_true(r.temperature == 0.5 && r.top_p == 0.9 && r.min_p == 0.1);
    assert_true(r.repetition_penalty == 1.5 && r.top_k == 0);
    assert_int_equal(7, r.max_tokens);
    assert_int_equal(3, r.seed);
    assert_int_equal(2, r.n_stops);
    assert_string_equal("y", r.stops[1]);
    assert_int_equal(2, r.n_choices);
    assert_true(r.stream && r.include_usage);
    chat_request_release(&r);
    assert_int_equal(0, parse(&r,
                              "{\"model\":\"m\",\"messages\":[{\"role\":\"user\","
                              "\"content\":\"x\"}],\"stop\":\"s\"}",
                              &err));
    assert_true(r.temperature == 1 && r.top_p == 1 && r.max_tokens == -1 && r.seed == -1);
    assert_true(r.n_stops == 1 && !r.stream && !r.n_choices);
    chat_request_release(&r);
}

static void every_truncation_is_refused(void **state)
{
    struct chat_request r;
    (void)state;
    for (size_t n = 0; n < sizeof EVERYTHING - 1; n++) {
        struct err err = {0};
        assert_int_equal(MOE2_EFORMAT, chat_request_parse(&r, EVERYTHING, n, &err));
        assert_null(strchr(err.msg, '\n'));
    }
}

static void what_cannot_be_done_is_refused_by_name(void **state)
{
    static const char *const rest[] = {
        "\"tools\":[1]",
        "\"functions\":[1]",
        "\"logprobs\":true",
        "\"logit_bias\":{\"1\":2}",
        "\"frequency_penalty\":0.1",
        "\"presence_penalty\":-1",
        "\"n\":2",
        "\"response_format\":{\"type\":\"json_object\"}",
        "\"max_tokens\":0",
        "\"max_tokens\":1.5",
        "\"max_tokens\":99999999",
        "\"temperature\":-1",
        "\"temperature\":101",
        "\"top_p\":0",
        "\"seed\":-1",
        "\"stop\":7",
        "\"stop\":[1]",
        "\"stream\":\"yes\"",
        "\"stream_options\":7",
        "\"guided_choice\":[\"a\"]",
        "\"guided_choice\":\"a\"",
        "\"max_tokens\":3,\"max_completion_tokens\":4",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        char text[400], key[40];
        struct chat_request r;
        struct err err;
        snprintf(text, sizeof text,
                 "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],%s}",
                 rest[i]);
        sscanf(rest[i], "\"%39[a-z_]", key);
        assert_true(parse(&r, text, &err) < 0);
        assert_non_null(strstr(err.msg, key));
        assert_int_equal(400, chat_error_status(&err));
    }
}

static void an_answer_is_json_whatever_it_says(void **state)
{
    struct chat_reply r = {.model = "m\"",
                           .number = 1,
                           .time_s = 2,
                           .finish = "stop",
                           .text = "a\n\"b\"\\\x01\xc3\xa8\xff",
                           .prompt_tokens = 3,
                           .completion_tokens = 4};
    struct buf out = {0};
    json_t *root = NULL;
    (void)state;
    assert_int_equal(0, chat_completion_json(&out, &r, NULL));
    assert_int_equal(0, json_read_bytes(&root, "reply", out.bytes, out.n, NULL));
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    assert_string_equal(
        "a\n\"b\"\\\x01\xc3\xa8\xef\xbf\xbd",
        json_string_value(json_object_get(json_object_get(choice, "message"), "content")));
    assert_int_equal(
        7, json_integer_value(json_object_get(json_object_get(root, "usage"), "total_tokens")));
    json_decref(root);
    buf_clear(&out);
    assert_int_equal(0, chat_end_events(&out, &r, true, NULL));
    assert_non_null(strstr(out.bytes, "\n\ndata: [DONE]\n\n"));
    buf_release(&out);
}

static void a_device_takes_what_its_curve_says(void **state)
{
    const volatile int never = 0, now = 1;
    struct device_pace p = {.has_latency = true, .latency_s = {0.02, 0.001, 0.002}, .pace = 1};
    (void)state;
    assert_true(device_pace_s(&p, 10, 5) > 0.0399 && device_pace_s(&p, 10, 5) < 0.0401);
    assert_true(device_pace_j(&p, 10, 5) == 0);
    double begun_s = clock_s();
    device_pace_hold(&p, begun_s, 0.04, &never);
    assert_true(clock_s() - begun_s >= 0.04);
    begun_s = clock_s();
    assert_true(device_pace_hold(&p, begun_s, 1000, &now) < 1);
    p.pace = 0;
    assert_true(device_pace_hold(&p, begun_s, 1000, &never) < 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_is_read),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(what_cannot_be_done_is_refused_by_name),
        cmocka_unit_test(an_answer_is_json_whatever_it_says),
        cmocka_unit_test(a_device_takes_what_its_curve_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
