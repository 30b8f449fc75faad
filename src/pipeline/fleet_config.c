/* Fleets: see fleet_config.h. */
#include "pipeline/fleet_config.h"

#include <string.h>

#define AT(field) offsetof(struct fleet_config, field)

static const struct yaml_key KEYS[] = {
    {"name", YAML_KEY_TEXT, AT(name), NULL, .help = "the fleet in a few words"},
    {"devices", YAML_KEY_TEXT_LIST, AT(devices), NULL, .help = "names of the devices"},
    {"kinds", YAML_KEY_TEXT_LIST, AT(kinds), NULL, .help = "what each device is"},
    {"experts", YAML_KEY_TEXT_LIST, AT(experts), NULL, .help = "names of the experts"},
    {"on", YAML_KEY_TEXT_LIST, AT(on), NULL, .help = "the device of each expert"},
    {"curves", YAML_KEY_TEXT_LIST, AT(curves), NULL, .help = "the imported curve of each expert"},
    {"outcomes", YAML_KEY_TEXT_LIST, AT(outcomes), "[]",
     .help = "the column of the outcomes that stands for each expert; empty: its own name"},
    {"bases", YAML_KEY_TEXT_LIST, AT(bases), "[]",
     .help = "the checkpoint folder that each expert is trained on (experts.train)"},
};

static int64_t find(const struct yaml_texts *list, const char *name)
{
    for (int64_t i = 0; i < list->n; i++)
        if (strcmp(list->values[i], name) == 0)
            return i;
    return -1;
}

static int same_length(const struct yaml_texts *list, const char *key, int64_t n, const char *of,
                       const char *path, struct err *err)
{
    if (list->n == n)
        return 0;
    return err_set(err, MOE2_ECONFIG, "%s: %s has %lld entries, wanted %lld, one for each of %s",
                   path, key, (long long)list->n, (long long)n, of);
}

static int once_each(const struct yaml_texts *list, const char *key, const char *path,
                     struct err *err)
{
    for (int64_t i = 0; i < list->n; i++)
        if (find(list, list->values[i]) != i)
            return err_set(err, MOE2_ECONFIG, "%s: %s names \"%.60s\" twice", path, key,
                           list->values[i]);
    return 0;
}

static int check(const struct fleet_config *f, const char *path, struct err *err)
{
    int64_t n = f->experts.n;
    if (n < 1 || n > FLEET_MAX_EXPERTS)
        return err_set(err, MOE2_ECONFIG, "%s: %lld experts, wanted 1 to %d", path, (long long)n,
                       FLEET_MAX_EXPERTS);
    int rc = once_each(&f->experts, "experts", path, err);
    if (!rc)
        rc = once_each(&f->devices, "devices", path, err);
    if (!rc)
        rc = once_each(&f->outcomes, "outcomes", path, err);
    if (!rc)
        rc = same_length(&f->kinds, "kinds", f->devices.n, "devices", path, err);
    if (!rc)
        rc = same_length(&f->on, "on", n, "experts", path, err);
    if (!rc)
        rc = same_length(&f->curves, "curves", n, "experts", path, err);
    if (!rc && f->outcomes.n)
        rc = same_length(&f->outcomes, "outcomes", n, "experts", path, err);
    if (!rc && f->bases.n)
        rc = same_length(&f->bases, "bases", n, "experts", path, err);
    for (int64_t i = 0; i < n && !rc; i++)
        if (find(&f->devices, f->on.values[i]) < 0)
            rc = err_set(err, MOE2_ECONFIG, "%s: expert \"%.60s\" is on \"%.60s\", no device of it",
                         path, f->experts.values[i], f->on.values[i]);
    return rc;
}

int fleet_config_read(struct fleet_config *f, const char *path, struct err *err)
{
    struct yaml_source source = {.path = path};
    *f = (struct fleet_config){0};
    int rc = yaml_read(&f->yaml, f, KEYS, sizeof KEYS / sizeof *KEYS, &source, err);
    if (!rc)
        rc = check(f, path, err);
    if (rc)
        fleet_config_release(f);
    return rc;
}

void fleet_config_release(struct fleet_config *f)
{
    yaml_config_free(f->yaml);
    *f = (struct fleet_config){0};
}

const char *fleet_column(const struct fleet_config *f, int64_t i)
{
    return f->outcomes.n ? f->outcomes.values[i] : f->experts.values[i];
}
