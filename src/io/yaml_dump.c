/* Writing configurations and documenting their table: see yaml.h. */
#include <ctype.h>
#include <string.h>

#include <utf8proc.h>

#include "base/table.h"
#include "io/json_util.h"
#include "io/yaml.h"
#include "io/yaml_value.h"

/* Whether a text may stand without quotes for any YAML reader: it looks like a word or a path, and
 * like nothing else. */
static bool is_plain(const char *s)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no",
                                        "on",   "off",   "y",    "n"};
    if (!isalpha((unsigned char)*s) && *s != '/')
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(s, words[i]) == 0)
            return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("_./-", *s))
            return false;
    return true;
}

/* Whether a code point may stand in a YAML text as it is. */
static bool is_printable(utf8proc_int32_t c)
{
    if (c < 0x20 || (c >= 0x7f && c < 0xa0) || c == '"' || c == '\\')
        return false;
    return c != 0x2028 && c != 0x2029 && c != 0xfeff && c != 0xfffe && c != 0xffff;
}

static int put_text(struct buf *out, const char *s, struct err *err)
{
    if (is_plain(s))
        return buf_puts(out, s, err);
    int rc = buf_puts(out, "\"", err);
    while (*s && !rc) {
        utf8proc_int32_t c = 0xfffd;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)s, -1, &c);
        if (n <= 0)
            rc = buf_puts(out, "\xef\xbf\xbd", err);
        else if (is_printable(c))
            rc = buf_append(out, s, (size_t)n, err);
        else if (c == '"' || c == '\\')
            rc = buf_printf(out, err, "\\%c", (char)c);
        else
            rc = buf_printf(out, err, "\\u%04x", (unsigned)c);
        s += n > 0 ? n : 1;
    }
    return rc ? rc : buf_puts(out, "\"", err);
}

static int put_list(struct buf *out, const void *field, enum yaml_key_type type, struct err *err)
{
    const struct yaml_ints *ints = field;
    const struct yaml_reals *reals = field;
    const struct yaml_texts *texts = field;
    char number[32];
    int64_t n = type == YAML_KEY_INT_LIST    ? ints->n
                : type == YAML_KEY_REAL_LIST ? reals->n
                                             : texts->n;
    int rc = buf_puts(out, "[", err);
    for (int64_t i = 0; i < n && !rc; i++) {
        rc = i ? buf_puts(out, ", ", err) : 0;
        if (rc)
            break;
        if (type == YAML_KEY_INT_LIST)
            rc = buf_printf(out, err, "%lld", (long long)ints->values[i]);
        else if (type == YAML_KEY_REAL_LIST)
            rc = buf_puts(out, json_real_text(number, reals->values[i]), err);
        else
            rc = put_text(out, texts->values[i], err);
    }
    return rc ? rc : buf_puts(out, "]", err);
}

int yaml_dump_value(struct buf *out, const void *values, const struct yaml_key *key,
                    struct err *err)
{
    const void *field = (const char *)values + key->offset;
    char number[32];
    switch (key->type) {
    case YAML_KEY_INT:
        return buf_printf(out, err, "%lld", (long long)*(const int64_t *)field);
    case YAML_KEY_REAL:
        return buf_puts(out, json_real_text(number, *(const double *)field), err);
    case YAML_KEY_BOOL:
        return buf_puts(out, *(const bool *)field ? "true" : "false", err);
    case YAML_KEY_CHOICE:
        return put_text(out, key->choices[*(const int *)field], err);
    case YAML_KEY_TEXT:
        return put_text(out, *(const char *const *)field, err);
    default:
        return put_list(out, field, key->type, err);
    }
}

/* Bytes of the sections that two names share, to a dot: 6 of "train.lr" and "train.steps". */
static size_t shared_sections(const char *a, const char *b)
{
    size_t shared = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '.')
            shared = i + 1;
    return shared;
}

static int put_indent(struct buf *out, int depth, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < depth && !rc; i++)
        rc = buf_puts(out, "  ", err);
    return rc;
}

/* The sections of name that the row before did not have yet, then "key: ". */
static int put_name(struct buf *out, const char *name, const char *before, struct err *err)
{
    size_t shared = shared_sections(name, before);
    int depth = 0, rc = 0;
    for (size_t i = 0; i < shared; i++)
        depth += name[i] == '.';
    for (const char *s = name + shared; !rc; depth++) {
        size_t n = strcspn(s, ".");
        rc = put_indent(out, depth, err);
        if (!rc)
            rc = buf_printf(out, err, s[n] ? "%.*s:\n" : "%.*s: ", (int)n, s);
        if (!s[n])
            break;
        s += n + 1;
    }
    return rc;
}

int yaml_dump(struct buf *out, const void *values, const struct yaml_key *keys, int n_keys,
              struct err *err)
{
    int rc = 0;
    for (int i = 0; i < n_keys && !rc; i++) {
        rc = put_name(out, keys[i].name, i ? keys[i - 1].name : "", err);
        if (!rc)
            rc = yaml_dump_value(out, values, &keys[i], err);
        if (!rc)
            rc = buf_puts(out, "\n", err);
    }
    return rc;
}

int yaml_help(struct buf *out, const struct yaml_key *keys, int n_keys, struct err *err)
{
    static const struct table_column columns[] = {{"key", TABLE_LEFT},
                                                  {"wanted", TABLE_LEFT},
                                                  {"default", TABLE_LEFT},
                                                  {"meaning", TABLE_LEFT}};
    struct table *t = NULL;
    char wanted[300];
    int rc = table_new(&t, columns, 4, err);
    if (rc)
        return rc;
    for (int i = 0; i < n_keys; i++) {
        const char *initial = keys[i].initial;
        table_cell(t, "%s", keys[i].name);
        table_cell(t, "%s", yaml_wanted(wanted, sizeof wanted, &keys[i]));
        table_cell(t, "%s", !initial ? "(must be given)" : *initial ? initial : "\"\"");
        table_cell(t, "%s", keys[i].help ? keys[i].help : "");
    }
    rc = table_text(out, t, err);
    table_free(t);
    return rc;
}
