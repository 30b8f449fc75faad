/* moe2 serve: one model behind OpenAI's endpoints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/expert_engine.h"
#include "fleet/expert_server.h"

static const char HELP[] =
    "usage: moe2 serve --model M [--port P] [options]\n\n"
    "Answers POST /v1/chat/completions (JSON, or server-sent events with \"stream\": true), GET "
    "/v1/models and GET\n"
    "/health. Prints the address it listens on once the model is open; Ctrl-C or SIGTERM ends it. "
    "One request at a\n"
    "time, the others wait in a bounded queue. A model without a chat template goes on with the "
    "message as it is.\n\n"
    "  --model M         a folder of safetensors or NF4, a .gguf or a llama2.c .bin\n"
    "  --tokenizer T     a tokenizer.json, its folder\n"
    "  --name NAME       what requests call it (the last part of M)\n"
    "  --host A          IPv4 address to listen on (127.0.0.1); there is no password\n"
    "  --port P          0: a free one (8080)\n"
    "  --queue N         requests that may wait (16); beyond them the answer is 503\n"
    "  --answers WHAT    text; choices: \"guided_choice\", by log-likelihood as moe2 answer; or "
    "both, with the\n"
    "                    weights twice in memory (text)\n"
    "  --adapter DIR     PEFT's on the model, for choices\n"
    "  --plain           never mind its chat template\n"
    "  --max-tokens N    where a request says nothing (256)\n"
    "  --seed N          where a request says nothing (0); each request then has its own\n"
    "  --latency F.json  hold answers back as long as the device of NAME's curve takes …\n"
    "  --energy F.json   … and tell its joules\n"
    "  --pace X          of the device's seconds (1); 0: don't wait\n"
    "  --context N       tokens that it can keep (the model's, at most 4096)\n"
    "  --compute C       auto, f32 or bf16\n" DEVICE_FLAGS_HELP
    "  --threads N       0: every core this process may use\n"
    "  --parent PID      end when that process, which started it, does\n\n"
    "More: moe2 help fleet\n\n"
    "example:\n"
    "  moe2 serve --model SmolLM2-135M-Instruct.gguf --name smol --port 8080 &\n"
    "  curl -s http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\\n"
    "      -d '{\"model\": \"smol\", \"messages\": [{\"role\": \"user\", \"content\": "
    "\"Ciao!\"}]}'\n";

struct words {
    struct expert_engine engine;
    struct expert_options server;
    const char *answers, *latency, *energy;
    int64_t port, queue, parent; /* parent 0: whoever it is */
    double pace;
    char *model; /* owned: a copy of --model, whose last part is the name */
};

static int read_words(struct words *w, int argc, char **argv, struct err *err)
{
    struct generating *g = &w->engine.g;
    const struct cli_flag flags[] = {
        {"--model", FLAG_TEXT, &g->model, true},
        {"--tokenizer", FLAG_TEXT, &g->tokenizer_path, false},
        {"--name", FLAG_TEXT, &w->server.name, false},
        {"--host", FLAG_TEXT, &w->server.host, false},
        {"--port", FLAG_INT, &w->port, false},
        {"--queue", FLAG_INT, &w->queue, false},
        {"--answers", FLAG_TEXT, &w->answers, false},
        {"--adapter", FLAG_TEXT, &w->engine.adapter, false},
        {"--plain", FLAG_BOOL, &w->engine.plain, false},
        {"--max-tokens", FLAG_INT, &g->max_tokens, false},
        {"--seed", FLAG_INT, &g->seed, false},
        {"--latency", FLAG_TEXT, &w->latency, false},
        {"--energy", FLAG_TEXT, &w->energy, false},
        {"--pace", FLAG_REAL, &w->pace, false},
        {"--context", FLAG_INT, &g->context, false},
        {"--compute", FLAG_TEXT, &g->compute, false},
        DEVICE_FLAGS(&g->device),
        {"--threads", FLAG_INT, &g->threads, false},
        {"--parent", FLAG_INT, &w->parent, false},
    };
    static const char *const names[] = {"", "text", "choices", "both"};
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, err);
    for (int i = ANSWERS_TEXT; i <= ANSWERS_BOTH && !rc; i++)
        if (strcmp(w->answers, names[i]) == 0)
            w->engine.answers = i;
    if (!rc && !w->engine.answers)
        rc = err_set(err, MOE2_ECONFIG, "--answers is \"%.40s\", wanted text, choices or both",
                     w->answers);
    if (!rc && !(w->pace >= 0 && w->pace <= 1000))
        rc = err_set(err, MOE2_ECONFIG, "--pace is %g, wanted 0 to 1000", w->pace);
    if (!rc && (w->queue < 1 || w->queue > EXPERT_MAX_QUEUE))
        rc = err_set(err, MOE2_ECONFIG, "--queue is %lld, wanted 1 to %d", (long long)w->queue,
                     EXPERT_MAX_QUEUE);
    if (!rc && (w->port < 0 || w->port > 65535))
        rc = err_set(err, MOE2_ECONFIG, "--port is %lld, wanted 0 to 65535", (long long)w->port);
    w->server.port = (int)w->port;
    w->server.queue_size = (int)w->queue;
    return rc;
}

/* Without --name the model is called as its file or folder is. */
static int name_model(struct words *w, struct err *err)
{
    if (w->server.name)
        return 0;
    w->model = strdup(w->engine.g.model);
    if (!w->model)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its name", w->engine.g.model);
    w->server.name = path_last(w->model);
    return 0;
}

static int serve(struct words *w, struct err *err)
{
    struct expert_server *s = NULL;
    const volatile int *stop = cli_stop_flag();
    int rc = name_model(w, err);
    if (!rc)
        rc = device_pace_read(&w->server.pace, w->latency, w->energy, w->server.name, w->pace, err);
    if (!rc)
        rc = expert_engine_open(&w->engine, err);
    w->server.engine = expert_engine_table(&w->engine);
    if (!rc && !*stop)
        rc = expert_server_open(&s, &w->server, err);
    if (rc || !s)
        return rc;
    printf("%s listens on http://%s:%d\n", w->server.name, w->server.host, expert_server_port(s));
    fflush(stdout);
    expert_server_run(s, stop);
    expert_server_close(s);
    return 0;
}

static int run(int argc, char **argv)
{
    struct words w = {.engine.g = GENERATING_INIT,
                      .server.host = "127.0.0.1",
                      .answers = "text",
                      .port = 8080,
                      .queue = 16,
                      .pace = 1};
    struct err err = {0};
    int rc = read_words(&w, argc, argv, &err);
    if (!rc && w.parent)
        rc = cli_tie_to_parent(w.parent, &err);
    if (!rc)
        rc = serve(&w, &err);
    expert_engine_close(&w.engine);
    free(w.model);
    return rc ? cli_fail("serve", &err) : 0;
}

const struct command cmd_serve = {
    "serve",
    "one model behind an OpenAI-compatible endpoint",
    HELP,
    run,
};
