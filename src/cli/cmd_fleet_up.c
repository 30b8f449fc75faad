/* moe2 fleet up: experts as processes of this machine, or servers elsewhere, behind one endpoint. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "cli/cli.h"
#include "cli/device_flags.h"
#include "cli/fleet_gate.h"
#include "fleet/children.h"
#include "fleet/live_config.h"

enum { MAX_WORDS = 48, MAX_SETS = 32, TICK_MS = 50 };

static const char HELP[] =
    "usage: moe2 fleet up --local --config FLEET.yaml [--set key=value …] [--port P]\n"
    "       moe2 fleet up --config FLEET.yaml          experts that run elsewhere (urls)\n\n"
    "Starts every expert as a process of its own (moe2 serve on a free port of 127.0.0.1), slowed "
    "and metered like the\n"
    "device of its curve where the configuration names curves, and answers for all of them on one "
    "endpoint of OpenAI's\n"
    "shape: the gate picks k experts in service, they are asked side by side, their answers become "
    "one; the answer's\n"
    "member \"moe2\" says who was asked and why. An expert that ends is started again, and routed "
    "around until it is\n"
    "ready. Ctrl-C or SIGTERM ends all.\n\n"
    "  --local           start the experts here; without it they are at the configuration's urls\n"
    "  --config F.yaml   the fleet\n"
    "  --set key=value   instead of what the file says; again for more\n"
    "  --port P          the same as --set port=P\n" DEVICE_FLAGS_HELP
    "                    of the encoder and the gate, and with --local of every expert by itself\n"
    "  --parent PID      end when that process, which started it, does\n"
    "  --help-config     all keys of the file\n\n"
    "More: moe2 help fleet\n\n"
    "example:\n"
    "  moe2 fleet up --local --config fleet.yaml &\n"
    "  curl -s http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json' \\\n"
    "      -d '{\"model\": \"moe2\", \"messages\": [{\"role\": \"user\", \"content\": "
    "\"Ciao!\"}]}'\n";

struct job {
    struct live_config config;
    struct fleet_gate gate;
    struct device_flags device;
    struct gateway *gateway;
    struct children *children;
    struct arena memory; /* of the children's words */
    int64_t parent;      /* 0: whoever it is */
    bool local;
};

/* ---- children ---- */

struct line {
    const char *words[MAX_WORDS]; /* NULL-ended */
    int n;
};

static void put(struct line *l, const char *flag, const char *value)
{
    l->words[l->n++] = flag;
    if (value)
        l->words[l->n++] = value;
}

static void put_number(struct line *l, const char *flag, double value, struct arena *a,
                       struct err *err)
{
    char text[40];
    snprintf(text, sizeof text, "%.17g", value);
    put(l, flag, arena_strdup(a, text, err));
}

/* The words that start expert i; in the arena. NULL with err filled. */
static struct line *expert_words(struct job *j, int64_t i, struct err *err)
{
    const struct live_config *c = &j->config;
    struct arena *a = &j->memory;
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    struct line *l = arena_calloc(a, sizeof *l, err);
    if (!l)
        return NULL;
    if (n <= 0) {
        err_set(err, MOE2_EIO, "this program's file can't be found: %s", strerror(errno));
        return NULL;
    }
    path[n] = 0;
    put(l, arena_strdup(a, path, err), "serve");
    put(l, "--model", c->models.values[i]);
    put(l, "--name", c->experts.values[i]);
    put(l, "--answers", live_answers[c->answers]);
    put_number(l, "--port", 0, a, err);
    put_number(l, "--parent", (double)getpid(), a, err);
    put_number(l, "--threads", (double)c->threads, a, err);
    put_number(l, "--max-tokens", (double)c->max_tokens, a, err);
    put_number(l, "--queue", (double)c->queue, a, err);
    put_number(l, "--context", (double)c->context, a, err);
    put_number(l, "--pace", c->pace, a, err);
    if (*c->latency)
        put(l, "--latency", c->latency);
    if (*c->energy)
        put(l, "--energy", c->energy);
    if (c->adapters.n && *c->adapters.values[i])
        put(l, "--adapter", c->adapters.values[i]);
    if (j->device.name)
        put(l, "--device", j->device.name);
    if (j->device.limit)
        put(l, "--memory-limit", j->device.limit);
    if (c->plain)
        put(l, "--plain", NULL);
    return err->code ? NULL : l;
}

static void on_changed(void *ctx, int i, const char *url, pid_t pid, int n_restarts)
{
    struct job *j = ctx;
    gateway_place(j->gateway, i, url, pid, n_restarts);
}

static int start_children(struct job *j, struct err *err)
{
    int n = (int)j->config.experts.n;
    int rc = children_new(&j->children, n, on_changed, j, cli_sink(), err);
    for (int i = 0; i < n && !rc; i++) {
        struct line *l = expert_words(j, i, err);
        rc = l ? children_start(j->children, i, j->config.experts.values[i],
                                (char *const *)(uintptr_t)l->words, err)
               : err->code;
    }
    return rc;
}

/* ---- the whole ---- */

static int open_gateway(struct job *j, struct err *err)
{
    const struct live_config *c = &j->config;
    struct gateway_options o = {.name = c->name,
                                .host = c->host,
                                .port = (int)c->port,
                                .n_experts = (int)c->experts.n,
                                .experts = c->experts.values,
                                .models = j->local ? NULL : c->models.values,
                                .subset = c->subset,
                                .k = (int)c->k,
                                .combine = (enum vote_kind)c->combine,
                                .timeout_s = c->timeout_s};
    struct device_choice device;
    int rc = device_flags_read(&device, &j->device, err);
    if (rc)
        return rc;
    if (!j->local && !c->urls.n)
        return err_set(err, MOE2_ECONFIG, "the configuration has no urls: wanted --local, or urls");
    if (*c->gate)
        rc = fleet_gate_open(&j->gate, c->gate, c->features, &device, c->experts.values,
                             o.n_experts, err);
    o.gate = fleet_gate_table(&j->gate);
    if (!rc)
        rc = gateway_open(&j->gateway, &o, err);
    for (int i = 0; i < o.n_experts && !rc && !j->local; i++)
        gateway_place(j->gateway, i, c->urls.values[i], 0, 0);
    return rc;
}

/* One look at the children, and a nap. */
static int tick(struct job *j, struct err *err)
{
    int rc = j->children ? children_tick(j->children, err) : 0;
    nanosleep(&(struct timespec){0, TICK_MS * 1000000L}, NULL);
    return rc;
}

static int work(struct job *j, struct err *err)
{
    const volatile int *stop = cli_stop_flag();
    int rc = open_gateway(j, err);
    if (!rc && j->local)
        rc = start_children(j, err);
    while (!rc && !*stop && j->children && !children_all_ready(j->children))
        rc = tick(j, err);
    if (!rc && !*stop) {
        printf("%s listens on http://%s:%d\n", j->config.name, j->config.host,
               gateway_port(j->gateway));
        fflush(stdout);
    }
    while (!rc && !*stop)
        rc = tick(j, err);
    return rc;
}

/* Takes every "--set key=value" and "--set=key=value" out of the words; returns how many words are left. */
static int take_sets(const char **sets, int *n_sets, int argc, char **argv)
{
    int n_left = 0;
    for (int i = 0; i < argc; i++) {
        bool apart = strcmp(argv[i], "--set") == 0 && i + 1 < argc;
        bool joined = strncmp(argv[i], "--set=", 6) == 0;
        if ((apart || joined) && *n_sets < MAX_SETS)
            sets[(*n_sets)++] = apart ? argv[++i] : argv[i] + 6;
        else
            argv[n_left++] = argv[i];
    }
    return n_left;
}

static int print_keys(struct err *err)
{
    struct buf text = {0};
    int rc = live_config_help(&text, err);
    if (!rc)
        fputs(text.bytes, stdout);
    buf_release(&text);
    return rc;
}

static int run(int argc, char **argv)
{
    struct job j = {0};
    struct err err = {0};
    const char *config = NULL, *port = NULL, *set = NULL, *sets[MAX_SETS + 1];
    char port_set[40];
    bool help_config = false;
    int n_sets = 0, n_left = take_sets(sets, &n_sets, argc, argv);
    const struct cli_flag flags[] = {{"--local", FLAG_BOOL, &j.local, false},
                                     {"--config", FLAG_TEXT, &config, false},
                                     {"--port", FLAG_TEXT, &port, false},
                                     {"--parent", FLAG_INT, &j.parent, false},
                                     DEVICE_FLAGS(&j.device),
                                     {"--set", FLAG_TEXT, &set, false}, /* one too many */
                                     {"--help-config", FLAG_BOOL, &help_config, false}};
    int rc = cli_parse(n_left, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc && set)
        rc = err_set(&err, MOE2_ECONFIG, "more than %d times --set", MAX_SETS);
    if (!rc && !help_config && !config)
        rc = err_set(&err, MOE2_ECONFIG, "--config is missing (see --help)");
    if (port) {
        snprintf(port_set, sizeof port_set, "port=%.30s", port);
        sets[n_sets++] = port_set;
    }
    if (!rc && help_config)
        rc = print_keys(&err);
    else if (!rc)
        rc = live_config_read(&j.config, config, sets, n_sets, &err);
    if (!rc && j.parent)
        rc = cli_tie_to_parent(j.parent, &err);
    if (!rc && !help_config)
        rc = work(&j, &err);
    gateway_close(j.gateway);
    children_free(j.children);
    fleet_gate_close(&j.gate);
    arena_release(&j.memory);
    live_config_release(&j.config);
    return rc ? cli_fail("fleet up", &err) : 0;
}

const struct command cmd_fleet_up = {
    "fleet up",
    "experts as processes behind one endpoint, a gate in front",
    HELP,
    run,
};
