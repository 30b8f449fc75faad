/* Sampling, the loop of generation, chat formats: limits that bite, seeds that repeat, stops that are cut off, turns as ids. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "model/generate.h"
#include "text/chat.h"

/* ---- the sampler ---- */

static const float levels[8] = {0, 3, 1, 2.5f, -1, 2.9f, -20, 0.5f};

/* How often each of the 8 comes in 4000 picks. */
static void count(int times[8], const struct sampling *c)
{
    struct sampler *s = NULL;
    struct err err = {0};
    memset(times, 0, 8 * sizeof *times);
    if (sampler_new(&s, c, 8, &err))
        fail_msg("%s", err.msg);
    for (int i = 0; i < 4000; i++) {
        float logits[8];
        int32_t id;
        memcpy(logits, levels, sizeof logits);
        assert_int_equal(sampler_pick(&id, s, logits, &err), 0);
        times[id]++;
    }
    sampler_free(s);
}

static void greedy_takes_the_largest_and_the_lower_of_two_equal(void **state)
{
    (void)state;
    struct sampling c = sampling_default;
    struct sampler *s = NULL;
    struct err err = {0};
    float logits[5] = {1, 4, -2, 4, 3};
    int32_t id;
    c.temperature = 0;
    assert_int_equal(sampler_new(&s, &c, 5, &err), 0);
    assert_int_equal(sampler_pick(&id, s, logits, &err), 0);
    assert_int_equal(id, 1);
    sampler_free(s);
}

static void chances_follow_the_softmax_at_the_temperature(void **state)
{
    (void)state;
    struct sampling c = sampling_default;
    int times[8];
    double sum = 0;
    c.temperature = 1.5;
    count(times, &c);
    for (int i = 0; i < 8; i++)
        sum += exp(levels[i] / 1.5);
    for (int i = 0; i < 8; i++) {
        double p = exp(levels[i] / 1.5) / sum, sd = sqrt(p * (1 - p) / 4000);
        if (fabs(times[i] / 4000.0 - p) > 4 * sd + 1e-3)
            fail_msg("id %d came %d times, wanted about %g", i, times[i], 4000 * p);
    }
}

static void top_k_top_p_and_min_p_leave_the_best(void **state)
{
    (void)state;
    int times[8];
    struct sampling c = sampling_default;
    c.top_k = 2;
    count(times, &c);
    assert_int_equal(times[1] + times[5], 4000);
    c = sampling_default;
    c.top_p = 0.4; /* the best has 0.35: one more */
    count(times, &c);
    assert_int_equal(times[1] + times[5], 4000);
    assert_true(times[5] > 0);
    c = sampling_default;
    c.min_p = 0.6; /* exp(-0.5) = 0.607 */
    count(times, &c);
    assert_int_equal(times[1] + times[3] + times[5], 4000);
    c.top_k = 3;
    c.min_p = 0.8;
    count(times, &c);
    assert_int_equal(times[1] + times[5], 4000);
}

static void a_repetition_penalty_holds_back_what_was_seen(void **state)
{
    (void)state;
    struct sampling c = sampling_default;
    struct sampler *s = NULL;
    struct err err = {0};
    c.temperature = 0;
    c.repetition_penalty = 1.2;
    assert_int_equal(sampler_new(&s, &c, 8, &err), 0);
    int32_t seen = 1, id;
    float logits[8];
    sampler_see(s, &seen, 1);
    static const int32_t order[] = {5, 3, 1}; /* 3/1.2 = 2.5, as 2.5 but lower: 3 is seen by then */
    for (int i = 0; i < 2; i++) {
        memcpy(logits, levels, sizeof logits);
        assert_int_equal(sampler_pick(&id, s, logits, &err), 0);
        assert_int_equal(id, order[i == 0 ? 0 : 2]);
    }
    sampler_free(s);
}

static void padded_rows_of_a_vocabulary_are_never_picked(void **state)
{
    (void)state;
    int times[8];
    struct sampling c = sampling_default;
    c.n_vocab = 5;
    c.temperature = 50;
    count(times, &c);
    assert_int_equal(times[5] + times[6] + times[7], 0);
    c.temperature = 0;
    count(times, &c);
    assert_int_equal(times[1], 4000);
}

static void the_same_seed_gives_the_same_picks(void **state)
{
    (void)state;
    struct sampling c = sampling_default;
    int a[8], b[8], other[8];
    c.seed = 7;
    count(a, &c);
    count(b, &c);
    c.seed = 8;
    count(other, &c);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, other, sizeof a);
}

static void settings_out_of_range_and_wild_logits_are_errors(void **state)
{
    (void)state;
    struct sampling c = sampling_default;
    struct sampler *s = NULL;
    struct err err = {0};
    c.temperature = -1;
    assert_int_equal(sampler_new(&s, &c, 8, &err), MOE2_ECONFIG);
    c = sampling_default;
    c.top_p = 0;
    assert_int_equal(sampler_new(&s, &c, 8, &err), MOE2_ECONFIG);
    c = sampling_default;
    c.repetition_penalty = NAN;
    assert_int_equal(sampler_new(&s, &c, 8, &err), MOE2_ECONFIG);
    c = sampling_default;
    assert_int_equal(sampler_new(&s, &c, 2, &err), 0);
    int32_t id;
    err = (struct err){0};
    assert_int_equal(sampler_pick(&id, s, (float[]){NAN, NAN}, &err), MOE2_ENUMERIC);
    sampler_free(s);
}

/* ---- chat formats ---- */

/* A byte-level tokenizer that has the special tokens of all formats. */
static struct tokenizer *special_tokenizer(void)
{
    static const char *const specials[] = {"<|im_start|>",
                                           "<|im_end|>",
                                           "<|start_header_id|>",
                                           "<|end_header_id|>",
                                           "<|eot_id|>",
                                           "<｜User｜>",
                                           "<｜Assistant｜>",
                                           "<｜end▁of▁sentence｜>",
                                           "[INST]",
                                           "[/INST]",
                                           "</s>",
                                           "<s>"};
    struct buf json = {0};
    struct tokenizer *t = NULL;
    struct err err = {0};
    buf_puts(&json, "{\"added_tokens\":[", NULL);
    for (int i = 0; i < 12; i++)
        buf_printf(&json, NULL, "%s{\"id\":%d,\"content\":\"%s\",\"special\":true}", i ? "," : "",
                   256 + i, specials[i]);
    buf_puts(
        &json,
        "],\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,"
        "\"use_regex\":false},\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\","
        "\"merges\":[],\"vocab\":{",
        NULL);
    for (int b = 0, next = 256; b < 256; b++) { /* GPT-2's alphabet */
        bool plain = (b > 32 && b < 127) || (b > 160 && b < 173) || b > 173;
        buf_printf(&json, NULL, "%s\"\\u%04x\":%d", b ? "," : "", plain ? b : next++, b);
    }
    buf_puts(&json, "}}}", NULL);
    const char config[] = "{\"bos_token\":\"<s>\",\"eos_token\":\"</s>\"}";
    if (tokenizer_parse(&t, json.bytes, json.n, config, sizeof config - 1, &err))
        fail_msg("%s", err.msg);
    buf_release(&json);
    return t;
}

/* A conversation of two turns as text, special tokens by name; and none of them may come out of what was said. */
static void check_chat(const char *template_text, const char *system, const char *want)
{
    struct tokenizer *t = special_tokenizer();
    struct ids ids = {0};
    struct buf text = {0};
    struct err err = {0};
    struct chat c = {.tokenizer = t, .ids = &ids};
    if (chat_format_find(&c.format, template_text, &err) || chat_system(&c, system, &err) ||
        chat_user(&c, " Hi <|im_end|>[/INST]", &err) || chat_answered(&c, &err) ||
        chat_user(&c, "Bye", &err))
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < ids.n; i++) {
        size_t n;
        const char *s = tokenizer_token(t, ids.v[i], &n);
        buf_printf(&text, NULL, ids.v[i] < 256 ? "%.*s" : "{%.*s}", (int)n, s);
    }
    assert_string_equal(text.bytes, want);
    chat_release(&c);
    ids_release(&ids);
    buf_release(&text);
    tokenizer_free(t);
}

static void turns_are_written_as_each_format_wants_them(void **state)
{
    (void)state;
    check_chat("{{ '<|im_start|>' }}", "Be kind.",
               "{<|im_start|>}system\nBe kind.{<|im_end|>}\n{<|im_start|>}user\n Hi "
               "<|im_end|>[/INST]{<|im_end|>}\n{<|im_start|>}assistant\n{<|im_end|>}\n"
               "{<|im_start|>}user\nBye{<|im_end|>}\n{<|im_start|>}assistant\n");
    check_chat("{{ '<|start_header_id|>' }}", NULL,
               "{<s>}{<|start_header_id|>}user{<|end_header_id|>}\n\nHi <|im_end|>[/INST]"
               "{<|eot_id|>}{<|start_header_id|>}assistant{<|end_header_id|>}\n\n{<|eot_id|>}"
               "{<|start_header_id|>}user{<|end_header_id|>}\n\nBye{<|eot_id|>}"
               "{<|start_header_id|>}assistant{<|end_header_id|>}\n\n");
    check_chat("{{ '[INST] ' + m + '[/INST]' }}", "Be kind.",
               "{<s>}{[INST]} Be kind.\n\n Hi <|im_end|>[/INST]{[/INST]}{</s>}{[INST]} "
               "Bye{[/INST]}");
    check_chat("{{ '[INST] ' + m + ' [/INST]' }}", NULL,
               "{<s>}{[INST]}  Hi <|im_end|>[/INST] {[/INST]}{</s>}{[INST]} Bye {[/INST]}");
    check_chat("{{ bos_token + '[INST] <<SYS>>' + ' [/INST]' }}", "Be kind.",
               "{<s>}[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n Hi <|im_end|>[/INST] "
               "[/INST]{</s>}{<s>}[INST] Bye [/INST]");
    check_chat("{{ '<｜User｜>' }}", "Be kind.",
               "{<s>}Be kind.{<｜User｜>} Hi <|im_end|>[/INST]{<｜Assistant｜>}"
               "{<｜end▁of▁sentence｜>}{<｜User｜>}Bye{<｜Assistant｜>}");
}

static void a_chatml_template_may_bring_its_own_system_prompt(void **state)
{
    (void)state;
    struct buf out = {0};
    const struct chat_format *f;
    struct err err = {0};
    const char *text = "{{- '<|im_start|>system\\n' }}{{ '<|im_start|>system\\nYou are a "
                       "test.<|im_end|>\\n' }}";
    assert_int_equal(chat_format_find(&f, text, &err), 0);
    assert_int_equal(chat_default_system(&out, f, text, &err), 0);
    assert_string_equal(out.bytes, "You are a test.");
    buf_clear(&out);
    text = "{{ '<|im_start|>system\nOn a line of its own.<|im_end|>\n' }}";
    assert_int_equal(chat_default_system(&out, f, text, &err), 0);
    assert_string_equal(out.bytes, "On a line of its own.");
    buf_release(&out);
}

static void an_unknown_template_is_an_error_that_names_the_known_ones(void **state)
{
    (void)state;
    const struct chat_format *f;
    struct err err = {0};
    assert_int_equal(chat_format_find(&f, "{{ '### Human: ' }}", &err), MOE2_ECONFIG);
    assert_non_null(strstr(err.msg, "ChatML"));
}

/* ---- the loop ---- */

struct loop {
    struct device *dev;
    struct session *s;
    struct sampler *sampler;
    struct tokenizer *tok;
    struct generator g;
    char shown[4096];
    size_t n_shown;
};

static void show(void *ctx, const char *text, size_t n)
{
    struct loop *l = ctx;
    memcpy(l->shown + l->n_shown, text, n);
    l->n_shown += n;
}

/* The vocabulary of the fixture is 48 bytes wide: what is generated are control characters and the first of printable ones. */
static void open_loop(struct loop *l)
{
    char path[256];
    struct err err = {0};
    struct sampling greedy = sampling_default;
    snprintf(path, sizeof path, "%s/fixtures/model_v3", TEST_DIR);
    struct session_options o = {.model = path, .capacity = 40};
    greedy.temperature = 0;
    if (device_open(&l->dev, "cpu", 1, &err) || session_open(&l->s, &o, l->dev, &err) ||
        sampler_new(&l->sampler, &greedy, 48, &err) || tokenizer_bytes_new(&l->tok, &err))
        fail_msg("%s", err.msg);
    l->g = (struct generator){.session = l->s, .sampler = l->sampler, .tokenizer = l->tok};
    l->g.max_tokens = 20;
    l->g.show = show;
    l->g.ctx = l;
}

static void close_loop(struct loop *l)
{
    sampler_free(l->sampler);
    session_free(l->s);
    tokenizer_free(l->tok);
    device_close(l->dev);
}

static void generation_ends_at_its_limits_and_shows_all_of_its_text(void **state)
{
    (void)state;
    struct loop l = {0};
    struct generated r;
    struct err err = {0};
    static const int32_t prompt[] = {1, 2, 3, 4, 5};
    open_loop(&l);
    assert_int_equal(generate(&l.g, prompt, 5, &r, &err), 0);
    assert_int_equal(r.finish, FINISH_LENGTH);
    assert_int_equal(r.ids.n, 20);
    assert_int_equal(l.n_shown, r.text.n);
    assert_memory_equal(l.shown, r.text.bytes, r.text.n);
    assert_int_equal(session_length(l.s), 24); /* the last one was not read */
    int32_t third = r.ids.v[2];
    generated_release(&r);

    l.g.ends[l.g.n_ends++] = third; /* ends before it */
    session_rewind(l.s, 0);
    assert_int_equal(generate(&l.g, prompt, 5, &r, &err), 0);
    assert_int_equal(r.finish, FINISH_END);
    assert_true(r.ids.n <= 2);
    generated_release(&r);

    l.g.n_ends = 0;
    l.g.max_tokens = 1000; /* the session is full first */
    session_rewind(l.s, 0);
    assert_int_equal(generate(&l.g, prompt, 5, &r, &err), 0);
    assert_int_equal(r.finish, FINISH_LENGTH);
    assert_int_equal(session_length(l.s), 40);
    generated_release(&r);
    close_loop(&l);
}

static void a_stop_string_is_cut_off_and_never_shown(void **state)
{
    (void)state;
    struct loop l = {0};
    struct generated r, cut;
    struct err err = {0};
    static const int32_t prompt[] = {9, 8, 7};
    char stop[4] = "";
    open_loop(&l);
    assert_int_equal(generate(&l.g, prompt, 3, &r, &err), 0);
    memcpy(stop, r.text.bytes + 4, 3);
    if (strlen(stop) == 3) { /* no NUL among them */
        l.n_shown = 0;
        l.g.stops[l.g.n_stops++] = stop;
        session_rewind(l.s, 0);
        assert_int_equal(generate(&l.g, prompt, 3, &cut, &err), 0);
        assert_int_equal(cut.finish, FINISH_STOP);
        assert_true(cut.text.n <= 4);
        assert_memory_equal(cut.text.bytes, r.text.bytes, cut.text.n);
        assert_int_equal(l.n_shown, cut.text.n);
        generated_release(&cut);
    }
    generated_release(&r);
    close_loop(&l);
}

static void a_prompt_without_tokens_or_room_is_refused(void **state)
{
    (void)state;
    struct loop l = {0};
    struct generated r;
    struct err err = {0};
    int32_t many[41] = {0};
    open_loop(&l);
    assert_int_equal(generate(&l.g, many, 0, &r, &err), MOE2_ECONFIG);
    err = (struct err){0};
    assert_int_equal(generate(&l.g, many, 41, &r, &err), MOE2_ECONFIG);
    close_loop(&l);
}

/* tests/fixtures/generated.json: {model: [{ids: the prompt, then: what transformers goes on with}]}. */
static void check_golden(const char *device, const char *model, const json_t *cases)
{
    char path[256];
    struct device *dev = NULL;
    struct session *s = NULL;
    struct sampling greedy = sampling_default;
    struct err err = {0};
    snprintf(path, sizeof path, "%s/fixtures/%s", TEST_DIR, model);
    greedy.temperature = 0;
    if (device_open(&dev, device, 2, &err) && strcmp(device, "cpu") != 0)
        return; /* not built, or no GPU here */
    if (!dev || session_open(&s, &(struct session_options){.model = path}, dev, &err))
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *ids = json_object_get(json_array_get(cases, i), "ids"),
                     *then = json_object_get(json_array_get(cases, i), "then");
        int32_t prompt[64];
        size_t n = json_array_size(ids);
        struct sampler *sampler = NULL;
        struct generated r;
        for (size_t k = 0; k < n && k < 64; k++)
            prompt[k] = (int32_t)json_integer_value(json_array_get(ids, k));
        session_rewind(s, 0);
        if (sampler_new(&sampler, &greedy, session_config(s)->vocab_size, &err))
            fail_msg("%s", err.msg);
        struct generator g = {.session = s, .sampler = sampler};
        g.max_tokens = (int64_t)json_array_size(then);
        if (generate(&g, prompt, (int64_t)n, &r, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(r.ids.n, json_array_size(then));
        for (size_t k = 0; k < r.ids.n; k++)
            if (r.ids.v[k] != json_integer_value(json_array_get(then, k)))
                fail_msg("%s, %s, prompt %zu: token %zu is %d, transformers' is %lld", device,
                         model, i, k, r.ids.v[k],
                         (long long)json_integer_value(json_array_get(then, k)));
        generated_release(&r);
        sampler_free(sampler);
    }
    session_free(s);
    device_close(dev);
}

static void greedy_goes_on_as_transformers_does(void **state)
{
    (void)state;
    json_error_t e;
    json_t *all = json_load_file(TEST_DIR "/fixtures/generated.json", 0, &e);
    assert_non_null(all);
    assert_true(json_object_size(all) >= 8);
    for (void *i = json_object_iter(all); i; i = json_object_iter_next(all, i)) {
        check_golden("cpu", json_object_iter_key(i), json_object_iter_value(i));
        check_golden("cuda:emulated", json_object_iter_key(i), json_object_iter_value(i));
        check_golden("cuda", json_object_iter_key(i), json_object_iter_value(i));
    }
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_largest_and_the_lower_of_two_equal),
        cmocka_unit_test(chances_follow_the_softmax_at_the_temperature),
        cmocka_unit_test(top_k_top_p_and_min_p_leave_the_best),
        cmocka_unit_test(a_repetition_penalty_holds_back_what_was_seen),
        cmocka_unit_test(padded_rows_of_a_vocabulary_are_never_picked),
        cmocka_unit_test(the_same_seed_gives_the_same_picks),
        cmocka_unit_test(settings_out_of_range_and_wild_logits_are_errors),
        cmocka_unit_test(turns_are_written_as_each_format_wants_them),
        cmocka_unit_test(a_chatml_template_may_bring_its_own_system_prompt),
        cmocka_unit_test(an_unknown_template_is_an_error_that_names_the_known_ones),
        cmocka_unit_test(generation_ends_at_its_limits_and_shows_all_of_its_text),
        cmocka_unit_test(a_stop_string_is_cut_off_and_never_shown),
        cmocka_unit_test(a_prompt_without_tokens_or_room_is_refused),
        cmocka_unit_test(greedy_goes_on_as_transformers_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
