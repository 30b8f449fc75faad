/* moe2 chat: a conversation in the terminal. What was said stays in the session: a turn reads only what is new. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/generating.h"
#include "model/chat_template.h"
#include "text/chat.h"

struct job {
    struct generating g;
    const char *system;
    struct buf template_text, fallback;
    struct ids said; /* the whole conversation */
    struct chat chat;
};

static int open_chat(struct job *j, struct err *err)
{
    int rc = chat_template_read(&j->template_text, j->g.model, err);
    if (!rc)
        rc = chat_format_find(&j->chat.format, j->template_text.bytes, err);
    if (!rc)
        rc = generating_open(&j->g, true, err);
    if (rc)
        return rc;
    j->chat.tokenizer = j->g.tok;
    j->chat.ids = &j->said;
    if (!j->system) {
        rc = chat_default_system(&j->fallback, j->chat.format, j->template_text.bytes, err);
        j->system = j->fallback.n ? j->fallback.bytes : NULL;
    }
    return rc ? rc : chat_system(&j->chat, j->system, err);
}

/* Reads what the session has not read yet, answers, and closes the answer. */
static int answer(struct job *j, enum finish *finish, struct err *err)
{
    struct generator g;
    struct generated r = {0};
    int64_t known = session_length(j->g.session);
    int32_t end = chat_end_id(j->chat.format, j->g.tok);
    generating_setup(&j->g, &g, true);
    if (end >= 0 && g.n_ends < GENERATE_MAX_ENDS)
        g.ends[g.n_ends++] = end;
    int rc = generate(&g, j->said.v + known, (int64_t)j->said.n - known, &r, err);
    if (rc)
        return rc;
    *finish = r.finish;
    puts("");
    generating_report(&r);
    rc = ids_append(&j->said, r.ids.v, r.ids.n, err);
    if (!rc)
        rc = chat_answered(&j->chat, err);
    generated_release(&r);
    return rc;
}

static void ask(void)
{
    if (isatty(STDIN_FILENO)) {
        fputs("> ", stderr);
        fflush(stderr);
    }
}

static int converse(struct job *j, struct err *err)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    enum finish finish = FINISH_END;
    int rc = 0;
    for (ask(); !rc && finish != FINISH_TOLD && (n = getline(&line, &room, stdin)) >= 0; ask()) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = 0;
        if (n == 0)
            continue;
        rc = chat_user(&j->chat, line, err);
        if (!rc)
            rc = answer(j, &finish, err);
    }
    free(line);
    return rc;
}

static int run(int argc, char **argv)
{
    struct job j = {.g = GENERATING_INIT, .template_text = {.max_bytes = CHAT_TEMPLATE_MAX_BYTES}};
    const struct cli_flag flags[] = {GENERATING_FLAGS(&j.g),
                                     {"--system", FLAG_TEXT, &j.system, false}};
    struct err err = {0};
    j.g.max_tokens = 1024;
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = open_chat(&j, &err);
    if (!rc)
        rc = converse(&j, &err);
    chat_release(&j.chat);
    ids_release(&j.said);
    buf_release(&j.template_text);
    buf_release(&j.fallback);
    generating_close(&j.g);
    return rc ? cli_fail("chat", &err) : 0;
}

const struct command cmd_chat = {
    "chat",
    "a conversation with a language model",
    "usage: moe2 chat --model M [--system TEXT] [--max-tokens N] [--temperature X]\n\n"
    "A line of standard input is a turn, the answer comes to standard output as it is made; the "
    "end "
    "of the input (Ctrl-D) ends it.\n"
    "The model's chat template must be ChatML, Llama-3, Llama-2, Mistral or "
    "DeepSeek-V3.\n\n" GENERATING_HELP
    "  --system TEXT    a system prompt; without it the one that a ChatML template falls back to; "
    "\"\": none\n\n"
    "example:\n  moe2 chat --model SmolLM2-135M-Instruct.gguf --system \"Answer in Italian.\"\n",
    run,
};
