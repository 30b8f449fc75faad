/* Reading configurations: see yaml.h. libyaml's events are walked once; nothing is built but the
 * values. Values go into a copy of the caller's fields first, so that a file with an error changes
 * nothing. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "base/file.h"
#include "base/words.h"
#include "io/json_scan.h"
#include "io/yaml.h"
#include "io/yaml_value.h"

struct yaml_config {
    const struct yaml_key *keys; /* borrowed */
    int n_keys;
    bool *given;
    int *lines; /* where the file gave a key, 0: not */
    struct arena arena;
};

/* A walk over the events of one text. */
struct walk {
    struct yaml_config *c;
    void *stage;
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
    const char *label; /* of messages: the file's name or the override */
    bool is_file;      /* then messages have a line */
};

/* ---- messages ---- */

/* Puts "file:line" before the message, line counted from 0 as libyaml does. */
static int at_line(const struct walk *w, size_t line, struct err *err)
{
    return w->is_file ? err_prefix(err, "%s:%zu", w->label, line + 1) : err->code;
}

static int at_event(const struct walk *w, struct err *err)
{
    return at_line(w, w->event.start_mark.line, err);
}

static const char *last_word(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot + 1 : name;
}

/* The key that somebody meant: the same last word in another section, else the nearest whole
 * name. */
static const char *meant(const struct yaml_config *c, const char *name)
{
    const char *names[YAML_MAX_KEYS];
    for (int i = 0; i < c->n_keys; i++) {
        names[i] = c->keys[i].name;
        if (strcmp(last_word(name), last_word(names[i])) == 0)
            return names[i];
    }
    return words_nearest(name, names, (size_t)c->n_keys);
}

static int unknown(const struct yaml_config *c, const char *name, struct err *err)
{
    const char *nearest = meant(c, name);
    if (nearest)
        return err_set(err, MOE2_ECONFIG, "%s is no key, did you mean %s?", name, nearest);
    return err_set(err, MOE2_ECONFIG, "%s is no key (--help-config lists them)", name);
}

/* The section that somebody meant, made of the keys' own sections. */
static int unknown_section(const struct yaml_config *c, const char *name, struct err *err)
{
    char sections[YAML_MAX_KEYS][YAML_MAX_NAME];
    const char *list[YAML_MAX_KEYS];
    int n = 0;
    for (int i = 0; i < c->n_keys; i++) {
        size_t length = (size_t)(last_word(c->keys[i].name) - c->keys[i].name);
        if (length == 0 || length > YAML_MAX_NAME)
            continue;
        memcpy(sections[n], c->keys[i].name, length);
        sections[n][length - 1] = 0;
        list[n] = sections[n];
        n++;
    }
    const char *nearest = words_nearest(name, list, (size_t)n);
    if (nearest)
        return err_set(err, MOE2_ECONFIG, "%s is no section, did you mean %s?", name, nearest);
    return err_set(err, MOE2_ECONFIG, "%s is no section (--help-config lists the keys)", name);
}

/* ---- the table ---- */

static const struct yaml_key *find(const struct yaml_config *c, const char *name)
{
    for (int i = 0; i < c->n_keys; i++)
        if (strcmp(c->keys[i].name, name) == 0)
            return &c->keys[i];
    return NULL;
}

static bool is_section(const struct yaml_config *c, const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; i < c->n_keys; i++)
        if (strncmp(c->keys[i].name, name, n) == 0 && c->keys[i].name[n] == '.')
            return true;
    return false;
}

/* A table with a mistake is ours, not the user's. */
static void check_table(const struct yaml_config *c)
{
    assert(c->n_keys > 0 && c->n_keys <= YAML_MAX_KEYS);
    for (int i = 0; i < c->n_keys; i++) {
        const struct yaml_key *k = &c->keys[i];
        assert(strlen(k->name) < YAML_MAX_NAME);
        assert(find(c, k->name) == k && !is_section(c, k->name));
        assert((k->type == YAML_KEY_CHOICE) == (k->choices != NULL));
    }
}

static size_t stage_bytes(const struct yaml_config *c)
{
    size_t n = 0;
    for (int i = 0; i < c->n_keys; i++) {
        size_t end = c->keys[i].offset + yaml_field_bytes(c->keys[i].type);
        n = end > n ? end : n;
    }
    return n;
}

static void copy_field(void *to, const void *from, const struct yaml_key *k)
{
    memcpy((char *)to + k->offset, (const char *)from + k->offset, yaml_field_bytes(k->type));
}

/* ---- events ---- */

static void drop_event(struct walk *w)
{
    if (w->has_event)
        yaml_event_delete(&w->event);
    w->has_event = false;
}

/* What the subset leaves out: anchors, aliases, tags. */
static int check_event(const struct walk *w, struct err *err)
{
    const yaml_event_t *e = &w->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    if (anchor || e->type == YAML_ALIAS_EVENT)
        err_set(err, MOE2_EFORMAT, "has an anchor or alias, wanted the value itself");
    else if (tag)
        err_set(err, MOE2_EFORMAT, "has the tag %.40s, wanted none", (const char *)tag);
    else if (e->type == YAML_SCALAR_EVENT &&
             strlen((const char *)e->data.scalar.value) != e->data.scalar.length)
        err_set(err, MOE2_EFORMAT, "has a NUL byte in a text");
    return err->code ? at_event(w, err) : 0;
}

/* Goes to the next event. err is filled and never NULL. */
static int next(struct walk *w, struct err *err)
{
    drop_event(w);
    if (yaml_parser_parse(&w->parser, &w->event)) {
        w->has_event = true;
        return check_event(w, err);
    }
    const yaml_parser_t *p = &w->parser;
    int code = p->error == YAML_MEMORY_ERROR ? MOE2_ELIMIT : MOE2_EFORMAT;
    if (!w->is_file)
        return err_set(err, code, "%s is no YAML: %s", w->label,
                       p->problem ? p->problem : "no memory");
    err_set(err, code, "is no YAML: %s", p->problem ? p->problem : "no memory");
    return at_line(w, p->problem_mark.line, err);
}

static struct yaml_item scalar(const struct walk *w)
{
    return (struct yaml_item){(const char *)w->event.data.scalar.value,
                              w->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE};
}

/* The scalars behind a sequence's start into items, which has room for YAML_MAX_LIST; texts are
 * copied into the arena. */
static int read_items(struct walk *w, struct yaml_item *items, int64_t *n, const char *name,
                      struct err *err)
{
    int rc;
    for (*n = 0; !(rc = next(w, err)) && w->event.type != YAML_SEQUENCE_END_EVENT; *n += 1) {
        if (w->event.type != YAML_SCALAR_EVENT)
            err_set(err, MOE2_ECONFIG, "%s[%lld] is a list or section, wanted one value", name,
                    (long long)*n);
        else if (*n == YAML_MAX_LIST)
            err_set(err, MOE2_ELIMIT, "%s has more than %d values", name, YAML_MAX_LIST);
        if (err->code)
            return at_event(w, err);
        items[*n] = scalar(w);
        items[*n].text = arena_strdup(&w->c->arena, items[*n].text, err);
        if (!items[*n].text)
            return err->code;
    }
    return rc;
}

static int read_list(struct walk *w, const struct yaml_key *k, struct err *err)
{
    size_t line = w->event.start_mark.line;
    int64_t n = 0;
    struct yaml_item *items = malloc(YAML_MAX_LIST * sizeof *items);
    if (!items)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for the list %s", w->label, k->name);
    int rc = read_items(w, items, &n, k->name, err);
    if (!rc && yaml_store(w->stage, k, items, n, true, &w->c->arena, err))
        rc = at_line(w, line, err);
    free(items);
    return rc;
}

/* The value of a key: a scalar or a list. The event is its first. */
static int read_value(struct walk *w, const char *name, size_t line, struct err *err)
{
    const struct yaml_key *k = find(w->c, name);
    if (!k) {
        bool is_empty = w->event.type == YAML_SCALAR_EVENT && !*scalar(w).text && !scalar(w).quoted;
        if (is_section(w->c, name) && is_empty)
            return 0; /* "train:" with all its keys commented out */
        if (is_section(w->c, name))
            err_set(err, MOE2_ECONFIG, "%s has a value, wanted the keys of that section", name);
        else
            unknown(w->c, name, err);
        return at_line(w, line, err);
    }
    int *first = &w->c->lines[k - w->c->keys];
    if (*first) {
        err_set(err, MOE2_ECONFIG, "%s stands twice, first in line %d", name, *first);
        return at_line(w, line, err);
    }
    *first = (int)line + 1;
    w->c->given[k - w->c->keys] = true;
    if (w->event.type == YAML_SEQUENCE_START_EVENT)
        return read_list(w, k, err);
    struct yaml_item item = scalar(w);
    return yaml_store(w->stage, k, &item, 1, false, &w->c->arena, err) ? at_event(w, err) : 0;
}

/* The pairs behind a mapping's start. prefix is "" or "train.". */
static int read_mapping(struct walk *w, const char *prefix, int depth, struct err *err)
{
    char name[YAML_MAX_NAME], inner[YAML_MAX_NAME + 1], wanted[300];
    int rc;
    while (!(rc = next(w, err)) && w->event.type != YAML_MAPPING_END_EVENT) {
        size_t line = w->event.start_mark.line;
        if (w->event.type != YAML_SCALAR_EVENT)
            err_set(err, MOE2_ECONFIG, "a list or section stands where a key must stand");
        else if (snprintf(name, sizeof name, "%s%s", prefix, scalar(w).text) >= (int)sizeof name)
            err_set(err, MOE2_ELIMIT, "a key has more than %d bytes", YAML_MAX_NAME - 1);
        if (err->code)
            return at_event(w, err);
        rc = next(w, err);
        if (rc)
            return rc;
        if (w->event.type != YAML_MAPPING_START_EVENT) {
            rc = read_value(w, name, line, err);
            if (rc)
                return rc;
            continue;
        }
        const struct yaml_key *k = find(w->c, name);
        if (k)
            err_set(err, MOE2_ECONFIG, "%s is a section, wanted %s", name,
                    yaml_wanted(wanted, sizeof wanted, k));
        else if (!is_section(w->c, name))
            unknown_section(w->c, name, err);
        else if (depth == YAML_MAX_DEPTH)
            err_set(err, MOE2_ELIMIT, "%s is nested deeper than %d levels", name, YAML_MAX_DEPTH);
        if (err->code)
            return at_line(w, line, err);
        snprintf(inner, sizeof inner, "%s.", name);
        rc = read_mapping(w, inner, depth + 1, err);
        if (rc)
            return rc;
    }
    return rc;
}

/* Stream, document, one mapping or nothing, the end. */
static int read_stream(struct walk *w, struct err *err)
{
    int rc = next(w, err);
    if (!rc)
        rc = next(w, err);
    if (rc || w->event.type == YAML_STREAM_END_EVENT)
        return rc;
    rc = next(w, err);
    if (rc)
        return rc;
    bool is_empty = w->event.type == YAML_SCALAR_EVENT && !*scalar(w).text;
    if (w->event.type != YAML_MAPPING_START_EVENT && !is_empty) {
        err_set(err, MOE2_EFORMAT, "does not begin with \"key: value\"");
        return at_event(w, err);
    }
    if (!is_empty)
        rc = read_mapping(w, "", 1, err);
    if (!rc)
        rc = next(w, err);
    if (!rc)
        rc = next(w, err);
    if (!rc && w->event.type != YAML_STREAM_END_EVENT) {
        err_set(err, MOE2_EFORMAT, "begins a second document, wanted one");
        return at_event(w, err);
    }
    return rc;
}

static int walk_begin(struct walk *w, const char *text, size_t n, struct err *err)
{
    if (!yaml_parser_initialize(&w->parser))
        return err_set(err, MOE2_ELIMIT, "%s: no memory to parse it", w->label);
    yaml_parser_set_input_string(&w->parser, (const unsigned char *)text, n);
    return 0;
}

static void walk_end(struct walk *w)
{
    drop_event(w);
    yaml_parser_delete(&w->parser);
}

static int read_text(struct yaml_config *c, void *stage, const char *label, const char *text,
                     size_t n, struct err *err)
{
    struct walk w = {.c = c, .stage = stage, .label = label, .is_file = true};
    if (n > YAML_MAX_FILE_BYTES)
        return err_set(err, MOE2_ELIMIT, "%s: has more than %d bytes", label, YAML_MAX_FILE_BYTES);
    int rc = walk_begin(&w, text, n, err);
    if (rc)
        return rc;
    rc = read_stream(&w, err);
    walk_end(&w);
    return rc;
}

static int read_source(struct yaml_config *c, void *stage, const struct yaml_source *s,
                       struct err *err)
{
    if (s->text)
        return read_text(c, stage, s->path ? s->path : "config", s->text, s->n_text, err);
    if (!s->path)
        return 0;
    struct buf b = {.max_bytes = YAML_MAX_FILE_BYTES + (1 << 17)};
    if (file_size(s->path) > YAML_MAX_FILE_BYTES)
        return err_set(err, MOE2_ELIMIT, "%s: has more than %d bytes", s->path,
                       YAML_MAX_FILE_BYTES);
    int rc = file_read(&b, s->path, err);
    if (!rc)
        rc = read_text(c, stage, s->path, b.n ? b.bytes : "", b.n, err);
    buf_release(&b);
    return rc;
}

/* ---- "key=value" ---- */

/* A list as one types it: "1,2" or "[1, 2]". */
static int set_list(struct yaml_config *c, void *stage, const struct yaml_key *k, const char *value,
                    struct err *err)
{
    struct walk w = {.c = c, .stage = stage, .label = k->name};
    struct buf b = {.max_bytes = YAML_MAX_FILE_BYTES};
    bool has_brackets = value[strspn(value, " ")] == '[';
    int rc = buf_printf(&b, err, has_brackets ? "%s" : "[%s]", value);
    if (!rc)
        rc = walk_begin(&w, b.bytes, b.n, err);
    if (rc)
        goto done;
    for (int i = 0; i < 3 && !rc; i++) /* stream, document, sequence */
        rc = next(&w, err);
    if (!rc && w.event.type == YAML_SEQUENCE_START_EVENT)
        rc = read_list(&w, k, err);
    else if (!rc)
        rc = err_set(err, MOE2_ECONFIG, "%s is \"%.60s\", wanted a list", k->name, value);
    if (!rc)
        rc = next(&w, err);
    if (!rc)
        rc = next(&w, err);
    if (!rc && w.event.type != YAML_STREAM_END_EVENT)
        rc = err_set(err, MOE2_ECONFIG, "%s is \"%.60s\", wanted one list", k->name, value);
    walk_end(&w);
done:
    buf_release(&b);
    return rc;
}

static int set_value(struct yaml_config *c, void *stage, const struct yaml_key *k,
                     const char *value, struct err *err)
{
    if (yaml_is_list(k->type))
        return set_list(c, stage, k, value, err);
    struct yaml_item item = {value, k->type == YAML_KEY_TEXT};
    return yaml_store(stage, k, &item, 1, false, &c->arena, err);
}

static int set_override(struct yaml_config *c, void *stage, const char *override,
                        const struct yaml_key **key, struct err *err)
{
    char name[YAML_MAX_NAME];
    const char *equals = strchr(override, '=');
    size_t n = strlen(override);
    if (!equals || equals == override)
        return err_set(err, MOE2_ECONFIG, "\"%.60s\" is no override, wanted key=value", override);
    if (utf8_valid_bytes((const uint8_t *) override, n) < n)
        return err_set(err, MOE2_ECONFIG, "an override is not UTF-8");
    if (equals - override >= YAML_MAX_NAME)
        return err_set(err, MOE2_ELIMIT, "a key has more than %d bytes", YAML_MAX_NAME - 1);
    snprintf(name, sizeof name, "%.*s", (int)(equals - override), override);
    *key = find(c, name);
    if (!*key && is_section(c, name))
        return err_set(err, MOE2_ECONFIG, "%s is a section, wanted one of its keys", name);
    if (!*key)
        return unknown(c, name, err);
    return set_value(c, stage, *key, equals + 1, err);
}

/* ---- the interface ---- */

/* The default of every key that was not given; one without default is an error. */
static int set_defaults(struct yaml_config *c, void *stage, const char *path, struct err *err)
{
    char wanted[300];
    for (int i = 0; i < c->n_keys; i++) {
        const struct yaml_key *k = &c->keys[i];
        if (c->given[i])
            continue;
        if (!k->initial)
            return err_set(err, MOE2_ECONFIG, "%s%s%s is missing, wanted %s", path ? path : "",
                           path ? ": " : "", k->name, yaml_wanted(wanted, sizeof wanted, k));
        int rc = set_value(c, stage, k, k->initial, err);
        assert(rc == 0 || rc == MOE2_ELIMIT); /* a default outside its own range is our mistake */
        if (rc)
            return rc;
    }
    return 0;
}

static int read_all(struct yaml_config *c, void *stage, const struct yaml_source *source,
                    struct err *err)
{
    int rc = read_source(c, stage, source, err);
    for (int i = 0; i < source->n_overrides && !rc; i++) {
        const struct yaml_key *k = NULL;
        rc = set_override(c, stage, source->overrides[i], &k, err);
        if (!rc)
            c->given[k - c->keys] = true;
    }
    return rc ? rc : set_defaults(c, stage, source->path, err);
}

int yaml_read(struct yaml_config **out, void *values, const struct yaml_key *keys, int n_keys,
              const struct yaml_source *source, struct err *err)
{
    struct err own = {
        0}; /* the walk asks err what happened, so there must be one, and an empty one */
    struct yaml_config *c = calloc(1, sizeof *c);
    void *stage = NULL;
    if (!c)
        return err_set(err, MOE2_ELIMIT, "no memory for a configuration");
    c->keys = keys;
    c->n_keys = n_keys;
    check_table(c);
    c->given = calloc((size_t)n_keys, sizeof *c->given);
    c->lines = calloc((size_t)n_keys, sizeof *c->lines);
    stage = calloc(1, stage_bytes(c));
    int rc = c->given && c->lines && stage
                 ? read_all(c, stage, source, &own)
                 : err_set(&own, MOE2_ELIMIT, "no memory for a configuration");
    for (int i = 0; i < n_keys && !rc; i++)
        copy_field(values, stage, &keys[i]);
    free(stage);
    if (!rc) {
        *out = c;
        return 0;
    }
    yaml_config_free(c);
    return err_set(err, rc, "%s", own.msg);
}

int yaml_set(struct yaml_config *c, void *values, const char *override, struct err *err)
{
    struct err own = {0};
    const struct yaml_key *k = NULL;
    void *stage = calloc(1, stage_bytes(c));
    int rc = stage ? set_override(c, stage, override, &k, &own)
                   : err_set(&own, MOE2_ELIMIT, "no memory for a configuration");
    if (!rc) {
        copy_field(values, stage, k);
        c->given[k - c->keys] = true;
    }
    free(stage);
    return rc ? err_set(err, rc, "%s", own.msg) : 0;
}

void yaml_config_free(struct yaml_config *c)
{
    if (!c)
        return;
    free(c->given);
    free(c->lines);
    arena_release(&c->arena);
    free(c);
}

bool yaml_given(const struct yaml_config *c, const char *key)
{
    const struct yaml_key *k = find(c, key);
    assert(k);
    return c->given[k - c->keys];
}
