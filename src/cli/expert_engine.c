/* A model as an engine: see expert_engine.h. Text comes from a session as in moe2 generate and moe2 chat, choices from log-likelihoods
 * as in moe2 answer: the same functions, so the same answers. Nothing is kept from one request to the next. */
#include "cli/expert_engine.h"

#include <string.h>

#include "model/chat_template.h"

/* ---- opening ---- */

static int open_format(struct expert_engine *e, struct err *err)
{
    struct buf text = {.max_bytes = CHAT_TEMPLATE_MAX_BYTES};
    struct err none = {0};
    int rc = e->plain ? 0 : chat_template_read(&text, e->g.model, &none);
    if (rc && rc != MOE2_ECONFIG)
        rc = err_set(err, rc, "%s", none.msg);
    else if (rc || e->plain)
        rc = 0; /* it has none */
    else
        rc = chat_format_find(&e->format, text.bytes, err);
    if (!rc && e->format)
        rc = chat_default_system(&e->system, e->format, text.bytes, err);
    buf_release(&text);
    return rc;
}

static int open_scorer(struct expert_engine *e, struct err *err)
{
    struct answer_model_options o = {.dir = e->g.model,
                                     .adapter = e->adapter,
                                     .tokenizer = e->g.tokenizer_path,
                                     .n_threads = (int)e->g.threads,
                                     .window = e->g.context,
                                     .bf16 = e->g.compute && strcmp(e->g.compute, "bf16") == 0};
    int rc = device_flags_read(&o.device, &e->g.device, err);
    return rc ? rc : answer_model_open(&e->scorer, &o, err);
}

int expert_engine_open(struct expert_engine *e, struct err *err)
{
    int rc = 0;
    if (e->adapter && (e->answers & ANSWERS_TEXT))
        return err_set(err, MOE2_ECONFIG,
                       "an adapter answers choices only (--answers choices); moe2 merge makes a "
                       "model of it that answers with text");
    if (e->answers & ANSWERS_TEXT)
        rc = generating_open(&e->g, true, err);
    if (!rc && (e->answers & ANSWERS_TEXT))
        rc = open_format(e, err);
    if (!rc && (e->answers & ANSWERS_CHOICES))
        rc = open_scorer(e, err);
    return rc;
}

void expert_engine_close(struct expert_engine *e)
{
    generating_close(&e->g);
    answer_model_close(&e->scorer);
    buf_release(&e->system);
}

/* ---- prompts ---- */

/* The contents, a blank line between them. */
static int plain_text(struct buf *out, const struct chat_request *r, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < r->n_messages && !rc; i++) {
        rc = i ? buf_puts(out, "\n\n", err) : 0;
        if (!rc)
            rc = buf_puts(out, r->messages[i].text, err);
    }
    return rc;
}

static int plain_prompt(struct ids *out, const struct expert_engine *e,
                        const struct chat_request *r, struct err *err)
{
    struct buf text = {.max_bytes = CHAT_MAX_BODY_BYTES};
    int rc = plain_text(&text, r, err);
    if (!rc)
        rc = generating_prompt(out, &e->g, text.n ? text.bytes : "", err);
    buf_release(&text);
    return rc;
}

/* Which role may stand at place i: a system prompt first, then user and assistant by turns, the user last. */
static int check_turns(const struct chat_request *r, struct err *err)
{
    int first = r->messages[0].role == CHAT_SYSTEM;
    for (int i = first; i < r->n_messages; i++) {
        enum chat_role wanted = (i - first) % 2 ? CHAT_ASSISTANT : CHAT_USER;
        if (r->messages[i].role != wanted)
            return err_set(err, MOE2_ECONFIG, "messages[%d]: role is %s, wanted %s", i,
                           chat_role_names[r->messages[i].role], chat_role_names[wanted]);
    }
    if (r->messages[r->n_messages - 1].role == CHAT_USER)
        return 0;
    return err_set(err, MOE2_ECONFIG, "the last message is of the %s, wanted one of the user",
                   chat_role_names[r->messages[r->n_messages - 1].role]);
}

static int chat_prompt(struct ids *out, const struct expert_engine *e, const struct chat_request *r,
                       struct err *err)
{
    struct chat c = {.format = e->format, .tokenizer = e->g.tok, .ids = out};
    bool given = r->messages[0].role == CHAT_SYSTEM;
    int rc = check_turns(r, err);
    if (!rc)
        rc = chat_system(&c, given ? r->messages[0].text : e->system.bytes, err);
    for (int i = given; i < r->n_messages && !rc; i++) {
        const char *text = r->messages[i].text;
        if (r->messages[i].role == CHAT_USER) {
            rc = chat_user(&c, text, err);
            continue;
        }
        rc = tokenizer_encode(e->g.tok, NULL, out, text, strlen(text), TOKENIZER_PLAIN, err);
        if (!rc)
            rc = chat_answered(&c, err);
    }
    chat_release(&c);
    return rc;
}

/* ---- text ---- */

static int with_sampler(struct expert_engine *e, const struct chat_request *r, struct sampler **out,
                        struct err *err)
{
    struct sampling s = {.temperature = r->temperature,
                         .top_k = r->top_k,
                         .top_p = r->top_p,
                         .min_p = r->min_p,
                         .repetition_penalty = r->repetition_penalty,
                         .seed =
                             r->seed >= 0 ? (uint64_t)r->seed : (uint64_t)e->g.seed + e->n_answered,
                         .n_vocab = e->g.sampling.n_vocab};
    return sampler_new(out, &s, session_config(e->g.session)->vocab_size, err);
}

static int run_generator(struct expert_engine *e, struct engine_answer *out,
                         const struct ids *prompt, struct generator *g, struct err *err)
{
    struct generated made = {0};
    session_rewind(e->g.session, 0);
    int rc = generate(g, prompt->v, (int64_t)prompt->n, &made, err);
    if (!rc && made.finish == FINISH_TOLD)
        rc = err_set(err, MOE2_ESTOP, "the answer was broken off");
    if (!rc) {
        out->text = made.text;
        made.text = (struct buf){0};
        out->finish = made.finish == FINISH_LENGTH ? "length" : "stop";
        out->prompt_tokens = made.n_prompt;
        out->completion_tokens = (int64_t)made.ids.n;
    }
    generated_release(&made);
    return rc;
}

static int answer_text(struct expert_engine *e, struct engine_answer *out,
                       const struct chat_request *r, const struct engine_sink *sink,
                       const volatile int *stop, struct err *err)
{
    struct ids prompt = {0};
    struct generator g;
    struct sampler *sampler = NULL;
    int rc = e->format ? chat_prompt(&prompt, e, r, err) : plain_prompt(&prompt, e, r, err);
    if (!rc)
        rc = with_sampler(e, r, &sampler, err);
    if (!rc) {
        generating_setup(&e->g, &g, false);
        g.sampler = sampler;
        g.max_tokens = r->max_tokens > 0 ? r->max_tokens : e->g.max_tokens;
        g.stop_flag = stop;
        g.show = sink->text;
        g.ctx = sink->ctx;
        int32_t end = e->format ? chat_end_id(e->format, e->g.tok) : -1;
        if (end >= 0 && g.n_ends < GENERATE_MAX_ENDS)
            g.ends[g.n_ends++] = end;
        for (int i = 0; i < r->n_stops; i++)
            g.stops[g.n_stops++] = r->stops[i];
        sink->begin(sink->ctx, (int64_t)prompt.n);
        rc = run_generator(e, out, &prompt, &g, err);
    }
    sampler_free(sampler);
    ids_release(&prompt);
    return rc;
}

/* ---- choices ---- */

static int answer_choice(struct expert_engine *e, struct engine_answer *out,
                         const struct chat_request *r, const struct engine_sink *sink,
                         struct err *err)
{
    struct choice_score scores[CHAT_MAX_CHOICES];
    struct buf text = {.max_bytes = CHAT_MAX_BODY_BYTES};
    int rc = plain_text(&text, r, err);
    const struct choice_ask ask = {text.n ? text.bytes : "", r->choices, r->n_choices};
    if (!rc)
        rc = choice_score(scores, e->scorer.choice, &ask, 1, err);
    buf_release(&text);
    if (rc)
        return rc;
    out->choice = choice_best(scores, r->choices, r->n_choices, CHOICE_SUM);
    for (int i = 0; i < r->n_choices; i++) {
        out->logprobs[i] = scores[i].ll;
        out->choice_tokens[i] = scores[i].n_tokens;
    }
    out->finish = "stop";
    out->prompt_tokens = scores[out->choice].n_context;
    out->completion_tokens = scores[out->choice].n_tokens;
    sink->begin(sink->ctx, out->prompt_tokens);
    return buf_puts(&out->text, r->choices[out->choice], err);
}

static int complete(void *ctx, struct engine_answer *out, const struct chat_request *r,
                    const struct engine_sink *sink, const volatile int *stop, struct err *err)
{
    struct expert_engine *e = ctx;
    int wanted = r->n_choices ? ANSWERS_CHOICES : ANSWERS_TEXT;
    if (!(e->answers & wanted))
        return err_set(err, MOE2_ECONFIG,
                       "this expert was started with --answers %s and gives no %s",
                       r->n_choices ? "text" : "choices", r->n_choices ? "choices" : "text");
    int rc = r->n_choices ? answer_choice(e, out, r, sink, err)
                          : answer_text(e, out, r, sink, stop, err);
    e->n_answered++;
    return rc;
}

struct engine expert_engine_table(struct expert_engine *e)
{
    return (struct engine){complete, e};
}
