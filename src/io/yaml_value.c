/* Values of a configuration: see yaml_value.h. */
#include "io/yaml_value.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool yaml_is_list(enum yaml_key_type type)
{
    return type == YAML_KEY_INT_LIST || type == YAML_KEY_REAL_LIST || type == YAML_KEY_TEXT_LIST;
}

size_t yaml_field_bytes(enum yaml_key_type type)
{
    switch (type) {
    case YAML_KEY_INT:
        return sizeof(int64_t);
    case YAML_KEY_REAL:
        return sizeof(double);
    case YAML_KEY_BOOL:
        return sizeof(bool);
    case YAML_KEY_TEXT:
        return sizeof(const char *);
    case YAML_KEY_CHOICE:
        return sizeof(int);
    case YAML_KEY_INT_LIST:
        return sizeof(struct yaml_ints);
    case YAML_KEY_REAL_LIST:
        return sizeof(struct yaml_reals);
    case YAML_KEY_TEXT_LIST:
        return sizeof(struct yaml_texts);
    }
    assert(0);
    return 0;
}

static bool has_limits(const struct yaml_key *key)
{
    return key->min != 0 || key->max != 0;
}

static void wanted_choice(char *text, size_t n_text, const struct yaml_key *key)
{
    size_t n = (size_t)snprintf(text, n_text, "one of ");
    for (int i = 0; key->choices[i] && n < n_text; i++)
        n += (size_t)snprintf(text + n, n_text - n, "%s%s", i ? ", " : "", key->choices[i]);
}

const char *yaml_wanted(char *text, size_t n_text, const struct yaml_key *key)
{
    static const char *const nouns[] = {
        [YAML_KEY_INT] = "a whole number",
        [YAML_KEY_REAL] = "a number",
        [YAML_KEY_BOOL] = "true or false",
        [YAML_KEY_TEXT] = "a text",
        [YAML_KEY_CHOICE] = "",
        [YAML_KEY_INT_LIST] = "a list of whole numbers",
        [YAML_KEY_REAL_LIST] = "a list of numbers",
        [YAML_KEY_TEXT_LIST] = "a list of texts",
    };
    const char *noun = nouns[key->type];
    if (key->type == YAML_KEY_CHOICE)
        wanted_choice(text, n_text, key);
    else if (!has_limits(key))
        snprintf(text, n_text, "%s", noun);
    else if (isinf(key->max))
        snprintf(text, n_text, "%s of at least %.15g", noun, key->min);
    else if (isinf(key->min))
        snprintf(text, n_text, "%s of at most %.15g", noun, key->max);
    else
        snprintf(text, n_text, "%s from %.15g to %.15g", noun, key->min, key->max);
    return text;
}

/* "key is "seen", wanted …"; idx −1 for a value that stands alone. */
static int unwanted(const struct yaml_key *key, const struct yaml_item *item, int64_t idx,
                    struct err *err)
{
    char wanted[300], at[32] = "";
    yaml_wanted(wanted, sizeof wanted, key);
    if (idx >= 0)
        snprintf(at, sizeof at, "[%lld]", (long long)idx);
    if (!item->quoted && !*item->text)
        return err_set(err, MOE2_ECONFIG, "%s%s has no value, wanted %s", key->name, at, wanted);
    return err_set(err, MOE2_ECONFIG, "%s%s is \"%.60s\"%s, wanted %s", key->name, at, item->text,
                   item->quoted && key->type != YAML_KEY_CHOICE ? " in quotes" : "", wanted);
}

static bool in_limits(const struct yaml_key *key, double v)
{
    return !has_limits(key) || (v >= key->min && v <= key->max);
}

static bool parse_int(int64_t *out, const struct yaml_item *item)
{
    const char *s = item->text;
    size_t n_sign = *s == '-' || *s == '+', n = strlen(s);
    if (item->quoted || n == n_sign || strspn(s + n_sign, "0123456789") != n - n_sign)
        return false;
    errno = 0;
    *out = strtoll(s, NULL, 10);
    return errno == 0;
}

static bool parse_real(double *out, const struct yaml_item *item)
{
    char *end = NULL;
    if (item->quoted || !*item->text || strspn(item->text, "0123456789+-.eE") != strlen(item->text))
        return false;
    *out = strtod(item->text, &end);
    return *end == 0 && isfinite(*out);
}

static bool parse_bool(bool *out, const struct yaml_item *item)
{
    static const char *const words[] = {"false", "true", "False", "True", "FALSE", "TRUE"};
    for (int i = 0; i < 6 && !item->quoted; i++)
        if (strcmp(words[i], item->text) == 0) {
            *out = i % 2;
            return true;
        }
    return false;
}

static bool parse_choice(int *out, const struct yaml_key *key, const struct yaml_item *item)
{
    for (int i = 0; key->choices[i]; i++)
        if (strcmp(key->choices[i], item->text) == 0) {
            *out = i;
            return true;
        }
    return false;
}

/* A text may not be null: "~" and "null" in quotes are texts, bare they are nothing. */
static bool parse_text(const struct yaml_item *item)
{
    return item->quoted || (strcmp(item->text, "~") != 0 && strcmp(item->text, "null") != 0);
}

static int store_int(int64_t *out, const struct yaml_key *key, const struct yaml_item *item,
                     int64_t idx, struct err *err)
{
    return parse_int(out, item) && in_limits(key, (double)*out) ? 0 : unwanted(key, item, idx, err);
}

static int store_real(double *out, const struct yaml_key *key, const struct yaml_item *item,
                      int64_t idx, struct err *err)
{
    return parse_real(out, item) && in_limits(key, *out) ? 0 : unwanted(key, item, idx, err);
}

static int store_text(const char **out, const struct yaml_key *key, const struct yaml_item *item,
                      int64_t idx, struct arena *arena, struct err *err)
{
    if (!parse_text(item))
        return unwanted(key, item, idx, err);
    *out = arena_strdup(arena, item->text, err);
    return *out ? 0 : MOE2_ELIMIT;
}

static int store_list(void *field, const struct yaml_key *key, const struct yaml_item *items,
                      int64_t n, struct arena *arena, struct err *err)
{
    void *list = arena_alloc(arena, (size_t)(n ? n : 1) * 8, err);
    int rc = list ? 0 : MOE2_ELIMIT;
    _Static_assert(sizeof(char *) <= 8, "a list element has 8 bytes");
    for (int64_t i = 0; i < n && !rc; i++) {
        if (key->type == YAML_KEY_INT_LIST)
            rc = store_int((int64_t *)list + i, key, &items[i], i, err);
        else if (key->type == YAML_KEY_REAL_LIST)
            rc = store_real((double *)list + i, key, &items[i], i, err);
        else
            rc = store_text((const char **)list + i, key, &items[i], i, arena, err);
    }
    if (rc)
        return rc;
    if (key->type == YAML_KEY_INT_LIST)
        *(struct yaml_ints *)field = (struct yaml_ints){list, n};
    else if (key->type == YAML_KEY_REAL_LIST)
        *(struct yaml_reals *)field = (struct yaml_reals){list, n};
    else
        *(struct yaml_texts *)field = (struct yaml_texts){list, n};
    return 0;
}

static int store_one(void *field, const struct yaml_key *key, const struct yaml_item *item,
                     struct arena *arena, struct err *err)
{
    int64_t i = 0;
    double x = 0;
    bool b = false;
    int choice = 0, rc = 0;
    const char *text = NULL;
    switch (key->type) {
    case YAML_KEY_INT:
        if (!(rc = store_int(&i, key, item, -1, err)))
            *(int64_t *)field = i;
        return rc;
    case YAML_KEY_REAL:
        if (!(rc = store_real(&x, key, item, -1, err)))
            *(double *)field = x;
        return rc;
    case YAML_KEY_BOOL:
        if (!parse_bool(&b, item))
            return unwanted(key, item, -1, err);
        *(bool *)field = b;
        return 0;
    case YAML_KEY_CHOICE:
        if (!parse_choice(&choice, key, item))
            return unwanted(key, item, -1, err);
        *(int *)field = choice;
        return 0;
    default:
        if (!(rc = store_text(&text, key, item, -1, arena, err)))
            *(const char **)field = text;
        return rc;
    }
}

int yaml_store(void *values, const struct yaml_key *key, const struct yaml_item *items, int64_t n,
               bool is_list, struct arena *arena, struct err *err)
{
    char wanted[300];
    void *field = (char *)values + key->offset;
    if (is_list != yaml_is_list(key->type)) {
        if (!is_list)
            return unwanted(key, items, -1, err);
        return err_set(err, MOE2_ECONFIG, "%s is a list, wanted %s", key->name,
                       yaml_wanted(wanted, sizeof wanted, key));
    }
    return is_list ? store_list(field, key, items, n, arena, err)
                   : store_one(field, key, items, arena, err);
}
