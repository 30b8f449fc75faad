/* Running fleets: see live_config.h. */
#include "fleet/live_config.h"

#include <string.h>

#define AT(field) offsetof(struct live_config, field)

const char *const live_answers[] = {"text", "choices", "both", NULL};
static const char *const COMBINES[] = {"top1", "vote", "weighted", NULL};

static const struct yaml_key KEYS[] = {
    {"name", YAML_KEY_TEXT, AT(name), "moe2", .help = "what requests call the whole fleet"},
    {"experts", YAML_KEY_TEXT_LIST, AT(experts), NULL,
     .help = "names of the experts, in the gate's order"},
    {"models", YAML_KEY_TEXT_LIST, AT(models), NULL,
     .help = "what each is: a checkpoint's folder or file; with urls, its name there"},
    {"adapters", YAML_KEY_TEXT_LIST, AT(adapters), "[]",
     .help = "PEFT's on each model, for choices; \"\": none"},
    {"urls", YAML_KEY_TEXT_LIST, AT(urls), "[]",
     .help = "servers of OpenAI's API that run elsewhere, http://host:port; empty: --local"},
    {"answers", YAML_KEY_CHOICE, AT(answers), "text", .choices = live_answers,
     .help = "what experts are opened for"},
    {"plain", YAML_KEY_BOOL, AT(plain), "false", .help = "never mind chat templates"},
    {"threads", YAML_KEY_INT, AT(threads), "1", 0, 256, .help = "of each expert; 0: every core"},
    {"context", YAML_KEY_INT, AT(context), "0", 0, 1 << 20,
     .help = "tokens that each can keep; 0: the model's"},
    {"max_tokens", YAML_KEY_INT, AT(max_tokens), "256", 1, 1 << 20,
     .help = "where a request says nothing"},
    {"queue", YAML_KEY_INT, AT(queue), "16", 1, 192, .help = "requests that may wait, each"},
    {"latency", YAML_KEY_TEXT, AT(latency), "",
     .help = "latency.json: every expert answers at its device's pace"},
    {"energy", YAML_KEY_TEXT, AT(energy), "", .help = "energy.json: and tells its joules"},
    {"pace", YAML_KEY_REAL, AT(pace), "1", 0, 1000,
     .help = "of the device's seconds; 0: nobody is held back"},
    {"gate", YAML_KEY_TEXT, AT(gate), "",
     .help = "gating.safetensors or its folder; empty: all are equal"},
    {"features", YAML_KEY_TEXT, AT(features), "",
     .help = "the gate's embedder: a file of hashed features, or an encoder's folder"},
    {"in_service", YAML_KEY_TEXT_LIST, AT(in_service), "[]",
     .help = "experts that the gate may pick; empty: all"},
    {"k", YAML_KEY_INT, AT(k), "1", 1, GATEWAY_MAX_EXPERTS, .help = "asked a request"},
    {"combine", YAML_KEY_CHOICE, AT(combine), "vote", .choices = COMBINES,
     .help = "how k answers become one"},
    {"host", YAML_KEY_TEXT, AT(host), "127.0.0.1", .help = "IPv4 address to listen on"},
    {"port", YAML_KEY_INT, AT(port), "8080", 0, 65535, .help = "0: a free one"},
    {"timeout_s", YAML_KEY_REAL, AT(timeout_s), "120", 0.1, 86400,
     .help = "of one expert's answer"},
};

static int64_t find(const struct yaml_texts *list, const char *name)
{
    for (int64_t i = 0; i < list->n; i++)
        if (strcmp(list->values[i], name) == 0)
            return i;
    return -1;
}

static int check_list(const struct yaml_texts *list, const char *key, int64_t n, const char *path,
                      struct err *err)
{
    if (list->n == n || (list->n == 0 && strcmp(key, "models") != 0))
        return 0;
    return err_set(err, MOE2_ECONFIG,
                   "%s: %s has %lld entries, wanted %lld, one for each of experts", path, key,
                   (long long)list->n, (long long)n);
}

static int check_names(struct live_config *c, const char *path, struct err *err)
{
    int64_t n = c->experts.n;
    if (n < 1 || n > GATEWAY_MAX_EXPERTS)
        return err_set(err, MOE2_ECONFIG, "%s: %lld experts, wanted 1 to %d", path, (long long)n,
                       GATEWAY_MAX_EXPERTS);
    for (int64_t i = 0; i < n; i++)
        if (!*c->experts.values[i] || find(&c->experts, c->experts.values[i]) != i)
            return err_set(err, MOE2_ECONFIG, "%s: experts has \"%.60s\" twice, or without a name",
                           path, c->experts.values[i]);
    for (int64_t i = 0; i < c->in_service.n; i++) {
        int64_t e = find(&c->experts, c->in_service.values[i]);
        if (e < 0)
            return err_set(err, MOE2_ECONFIG, "%s: in_service has \"%.60s\", no expert of it", path,
                           c->in_service.values[i]);
        c->subset |= UINT64_C(1) << e;
    }
    if (!c->in_service.n)
        c->subset = vote_everyone((int)n);
    return 0;
}

static int check(struct live_config *c, const char *path, struct err *err)
{
    int64_t n = c->experts.n;
    int rc = check_names(c, path, err);
    if (!rc)
        rc = check_list(&c->models, "models", n, path, err);
    if (!rc)
        rc = check_list(&c->adapters, "adapters", n, path, err);
    if (!rc)
        rc = check_list(&c->urls, "urls", n, path, err);
    if (!rc && !*c->gate != !*c->features)
        rc = err_set(err, MOE2_ECONFIG, "%s: %s is given and %s is not, wanted both or none", path,
                     *c->gate ? "gate" : "features", *c->gate ? "features" : "gate");
    if (!rc && !*c->gate && c->k < __builtin_popcountll(c->subset))
        rc = err_set(err, MOE2_ECONFIG,
                     "%s: without a gate all %d in service are asked, and k is %lld", path,
                     __builtin_popcountll(c->subset), (long long)c->k);
    if (!rc && c->k == 1 && !yaml_given(c->yaml, "combine"))
        c->combine = VOTE_TOP1;
    return rc;
}

int live_config_read(struct live_config *c, const char *path, const char *const *overrides,
                     int n_overrides, struct err *err)
{
    struct yaml_source source = {.path = path, .overrides = overrides, .n_overrides = n_overrides};
    *c = (struct live_config){0};
    int rc = yaml_read(&c->yaml, c, KEYS, sizeof KEYS / sizeof *KEYS, &source, err);
    if (!rc)
        rc = check(c, path, err);
    if (rc)
        live_config_release(c);
    return rc;
}

void live_config_release(struct live_config *c)
{
    yaml_config_free(c->yaml);
    *c = (struct live_config){0};
}

int live_config_help(struct buf *out, struct err *err)
{
    return yaml_help(out, KEYS, sizeof KEYS / sizeof *KEYS, err);
}
