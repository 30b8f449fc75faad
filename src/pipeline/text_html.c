/* The running text of an HTML page: see text_markup.h.
 *
 * One pass over tags and text. An element that is skipped is remembered by name and depth, so that
 * its own end tag ends it; everything else about nesting is ignored, which is what makes broken
 * pages harmless. Element names and their roles: HTML Living Standard, sections 4 and 15.3.
 */
#include "pipeline/text_markup.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_BYTES = 16, VALUE_MAX_BYTES = 128 };

enum role {
    ROLE_INLINE,  /* as if it were not there */
    ROLE_BLOCK,   /* begins and ends a line */
    ROLE_HEADING, /* the same with a blank line before */
    ROLE_CELL,    /* a space */
    ROLE_SKIP,    /* with all that is in it */
    ROLE_RAW,     /* the same, and no tags inside */
};

static const struct element {
    const char *name;
    enum role role;
} ELEMENTS[] = {
    {"address", ROLE_BLOCK}, {"article", ROLE_BLOCK},    {"aside", ROLE_SKIP},
    {"audio", ROLE_SKIP},    {"blockquote", ROLE_BLOCK}, {"body", ROLE_BLOCK},
    {"br", ROLE_BLOCK},      {"button", ROLE_SKIP},      {"caption", ROLE_BLOCK},
    {"dd", ROLE_BLOCK},      {"details", ROLE_BLOCK},    {"div", ROLE_BLOCK},
    {"dl", ROLE_BLOCK},      {"dt", ROLE_BLOCK},         {"fieldset", ROLE_BLOCK},
    {"figure", ROLE_BLOCK},  {"footer", ROLE_SKIP},      {"form", ROLE_SKIP},
    {"h1", ROLE_HEADING},    {"h2", ROLE_HEADING},       {"h3", ROLE_HEADING},
    {"h4", ROLE_HEADING},    {"h5", ROLE_HEADING},       {"h6", ROLE_HEADING},
    {"head", ROLE_SKIP},     {"header", ROLE_SKIP},      {"hr", ROLE_BLOCK},
    {"iframe", ROLE_SKIP},   {"li", ROLE_BLOCK},         {"main", ROLE_BLOCK},
    {"math", ROLE_SKIP},     {"nav", ROLE_SKIP},         {"noscript", ROLE_SKIP},
    {"object", ROLE_SKIP},   {"ol", ROLE_BLOCK},         {"p", ROLE_BLOCK},
    {"pre", ROLE_SKIP},      {"script", ROLE_RAW},       {"section", ROLE_BLOCK},
    {"select", ROLE_SKIP},   {"style", ROLE_RAW},        {"summary", ROLE_BLOCK},
    {"svg", ROLE_SKIP},      {"table", ROLE_BLOCK},      {"td", ROLE_CELL},
    {"template", ROLE_SKIP}, {"textarea", ROLE_RAW},     {"th", ROLE_CELL},
    {"tr", ROLE_BLOCK},      {"ul", ROLE_BLOCK},         {"video", ROLE_SKIP},
};

/* Classes and ids of elements that carry no running text. A word of the attribute (cut at spaces,
 * '-' and '_') that begins with one of these marks the element, if it is one of SKIPPABLE. */
static const char *const BOILERPLATE_CLASSES[] = {
    "advert",        "backlink",   "breadcrumb",     "cookie",       "footer",
    "footnoteref",   "headerlink", "howtogetheader", "longdesc",     "menubar",
    "nav",           "newsletter", "relbar",         "search",       "share",
    "sidebar",       "social",     "sphinxsidebar",  "titlepagenav", "toc",
    "relatedtopics", "bugfooter",  "edithistory"};

static const char *const SKIPPABLE[] = {"a",       "div",  "dl",    "ol", "p",
                                        "section", "span", "table", "ul"};

#define COUNT(a) (sizeof(a) / sizeof *(a))

struct page {
    struct buf *out;
    size_t first; /* of this page in out */
    char skip[NAME_MAX_BYTES];
    int skip_depth;
    bool space; /* one is due before the next letter */
    struct err *err;
};

static enum role role_of(const char *name)
{
    for (size_t i = 0; i < COUNT(ELEMENTS); i++)
        if (strcmp(ELEMENTS[i].name, name) == 0)
            return ELEMENTS[i].role;
    return ROLE_INLINE;
}

/* ---- out ---- */

static int put_break(struct page *p, int n_lines)
{
    p->space = false;
    return text_put_break(p->out, p->first, n_lines, p->err);
}

static int put_text(struct page *p, const char *s, size_t n)
{
    int rc = 0;
    struct buf *out = p->out;
    for (size_t i = 0; i < n && !rc; i++) {
        bool blank = s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r' || s[i] == '\f';
        if (blank) {
            p->space = true;
            continue;
        }
        if (p->space && out->n > p->first && out->bytes[out->n - 1] != '\n')
            rc = buf_append(out, " ", 1, p->err);
        p->space = false;
        if (!rc)
            rc = buf_append(out, s + i, 1, p->err);
    }
    return rc;
}

/* ---- entities ---- */

static const struct entity {
    char name[8];
    uint16_t code;
} ENTITIES[] = {
    {"AElig", 198},   {"Aacute", 193},  {"Agrave", 192},  {"Auml", 196},   {"Ccedil", 199},
    {"Eacute", 201},  {"Egrave", 200},  {"Iacute", 205},  {"Igrave", 204}, {"Ntilde", 209},
    {"Oacute", 211},  {"Ograve", 210},  {"Ouml", 214},    {"Uacute", 218}, {"Ugrave", 217},
    {"Uuml", 220},    {"aacute", 225},  {"acirc", 226},   {"acute", 180},  {"aelig", 230},
    {"agrave", 224},  {"amp", 38},      {"apos", 39},     {"aring", 229},  {"atilde", 227},
    {"auml", 228},    {"bull", 8226},   {"ccedil", 231},  {"cent", 162},   {"copy", 169},
    {"dagger", 8224}, {"deg", 176},     {"divide", 247},  {"eacute", 233}, {"ecirc", 234},
    {"egrave", 232},  {"emsp", 8195},   {"ensp", 8194},   {"euml", 235},   {"euro", 8364},
    {"frac12", 189},  {"frac14", 188},  {"frac34", 190},  {"ge", 8805},    {"gt", 62},
    {"hellip", 8230}, {"iacute", 237},  {"icirc", 238},   {"iexcl", 161},  {"igrave", 236},
    {"infin", 8734},  {"iquest", 191},  {"iuml", 239},    {"laquo", 171},  {"larr", 8592},
    {"ldquo", 8220},  {"le", 8804},     {"lsaquo", 8249}, {"lsquo", 8216}, {"lt", 60},
    {"mdash", 8212},  {"micro", 181},   {"middot", 183},  {"minus", 8722}, {"nbsp", 160},
    {"ndash", 8211},  {"ne", 8800},     {"not", 172},     {"ntilde", 241}, {"oacute", 243},
    {"ocirc", 244},   {"oelig", 339},   {"ograve", 242},  {"ordf", 170},   {"ordm", 186},
    {"oslash", 248},  {"otilde", 245},  {"ouml", 246},    {"para", 182},   {"plusmn", 177},
    {"pound", 163},   {"quot", 34},     {"raquo", 187},   {"rarr", 8594},  {"rdquo", 8221},
    {"reg", 174},     {"rsaquo", 8250}, {"rsquo", 8217},  {"sbquo", 8218}, {"sect", 167},
    {"shy", 173},     {"sup1", 185},    {"sup2", 178},    {"sup3", 179},   {"szlig", 223},
    {"thinsp", 8201}, {"times", 215},   {"trade", 8482},  {"uacute", 250}, {"uarr", 8593},
    {"ucirc", 251},   {"ugrave", 249},  {"uml", 168},     {"uuml", 252},   {"yen", 165},
};

static int compare_entity(const void *name, const void *e)
{
    return strcmp(name, ((const struct entity *)e)->name);
}

/* The code point of the reference at s ("&amp;" or "&#233;"), and its length; 0 when it is none. */
static uint32_t entity_at(size_t *length, const char *s, size_t n)
{
    char name[12] = "";
    size_t i = 1;
    while (i < n && i < sizeof name && s[i] != ';' && s[i] > ' ' && s[i] != '&' && s[i] != '<') {
        name[i - 1] = s[i];
        i++;
    }
    if (i >= n || s[i] != ';' || i == 1)
        return 0;
    *length = i + 1;
    if (name[0] == '#') {
        bool hex = name[1] == 'x' || name[1] == 'X';
        const char *digits = name + (hex ? 2 : 1);
        char *end = NULL;
        unsigned long v = strtoul(digits, &end, hex ? 16 : 10);
        return *digits && !*end && v <= 0x10FFFF ? (uint32_t)v : 0;
    }
    const struct entity *e =
        bsearch(name, ENTITIES, COUNT(ENTITIES), sizeof *ENTITIES, compare_entity);
    return e ? e->code : 0;
}

static int put_entity(struct page *p, uint32_t c)
{
    int rc = 0;
    if (c == 160)
        return put_text(p, " ", 1);
    if (p->space && p->out->n > p->first && p->out->bytes[p->out->n - 1] != '\n')
        rc = buf_append(p->out, " ", 1, p->err);
    p->space = false;
    return rc ? rc : text_put_char(p->out, c, p->err);
}

/* ---- tags ---- */

struct tag {
    char name[NAME_MAX_BYTES];
    char words[VALUE_MAX_BYTES]; /* of class and id */
    bool end, empty;             /* </x>, <x/> */
};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void copy_lower(char *to, size_t size, const char *from, size_t n)
{
    size_t i = 0;
    for (; i < n && i + 1 < size; i++)
        to[i] = (char)(from[i] >= 'A' && from[i] <= 'Z' ? from[i] + 32 : from[i]);
    to[i] = 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r' || c == '\f';
}

/* One attribute from s[i] on; where it ends. */
static size_t read_attribute(struct tag *t, const char *s, size_t n, size_t i)
{
    size_t name = i;
    while (i < n && !is_blank(s[i]) && s[i] != '=' && s[i] != '>' && s[i] != '/')
        i++;
    size_t name_n = i - name;
    while (i < n && is_blank(s[i]))
        i++;
    if (i >= n || s[i] != '=')
        return i > name ? i : i + 1;
    i++;
    while (i < n && is_blank(s[i]))
        i++;
    char quote = i < n && (s[i] == '"' || s[i] == '\'') ? s[i++] : 0;
    size_t value = i;
    while (i < n && (quote ? s[i] != quote : !is_blank(s[i]) && s[i] != '>'))
        i++;
    if ((name_n == 5 && strncasecmp(s + name, "class", 5) == 0) ||
        (name_n == 2 && strncasecmp(s + name, "id", 2) == 0)) {
        size_t have = strlen(t->words);
        if (have && have + 1 < sizeof t->words)
            t->words[have++] = ' ';
        copy_lower(t->words + have, sizeof t->words - have, s + value, i - value);
    }
    return i + (quote && i < n);
}

/* The tag at s ('<' and a letter or "</"); its length. */
static size_t read_tag(struct tag *t, const char *s, size_t n)
{
    *t = (struct tag){.end = n > 1 && s[1] == '/'};
    size_t i = t->end ? 2 : 1, name = i;
    while (i < n && !is_blank(s[i]) && s[i] != '>' && s[i] != '/')
        i++;
    copy_lower(t->name, sizeof t->name, s + name, i - name);
    while (i < n && s[i] != '>') {
        if (is_blank(s[i]) || s[i] == '/') {
            t->empty = s[i] == '/';
            i++;
        } else {
            t->empty = false;
            i = read_attribute(t, s, n, i);
        }
    }
    return i < n ? i + 1 : n;
}

/* A class like "nav-header" or "toctree wrapper" in a kind of element that may be skipped. */
static bool is_boilerplate(const struct tag *t)
{
    bool skippable = false;
    for (size_t i = 0; i < COUNT(SKIPPABLE) && !skippable; i++)
        skippable = strcmp(SKIPPABLE[i], t->name) == 0;
    if (!skippable)
        return false;
    for (const char *w = t->words; *w;) {
        size_t n = strcspn(w, " -_");
        for (size_t i = 0; i < COUNT(BOILERPLATE_CLASSES); i++)
            if (n && strncmp(w, BOILERPLATE_CLASSES[i], strlen(BOILERPLATE_CLASSES[i])) == 0)
                return true;
        w += n + (w[n] != 0);
    }
    return false;
}

/* Inside a skipped element only its own name matters. A paragraph needs no end tag: the next one
 * ends it. False when the tag still has to be looked at. */
static bool skip_tag(struct page *p, const struct tag *t)
{
    if (strcmp(t->name, p->skip) != 0 || t->empty)
        return true;
    if (!t->end && strcmp(t->name, "p") == 0) {
        p->skip_depth = 0;
        return false;
    }
    p->skip_depth += t->end ? -1 : 1;
    return true;
}

static int do_tag(struct page *p, const struct tag *t)
{
    if (p->skip_depth && skip_tag(p, t))
        return 0;
    enum role role = role_of(t->name);
    if (!t->end && !t->empty && (role == ROLE_SKIP || role == ROLE_RAW || is_boilerplate(t))) {
        memcpy(p->skip, t->name, sizeof p->skip);
        p->skip_depth = 1;
        return role == ROLE_INLINE ? 0 : put_break(p, 1);
    }
    switch (role) {
    case ROLE_HEADING:
        return put_break(p, t->end ? 1 : 2);
    case ROLE_BLOCK:
        return put_break(p, 1);
    case ROLE_CELL:
        p->space = true;
        return 0;
    case ROLE_INLINE:
    case ROLE_SKIP:
    case ROLE_RAW:
        break;
    }
    return 0;
}

/* Where the text behind "<!", "<?" at s goes on. */
static size_t skip_declaration(const char *s, size_t n)
{
    const char *end = NULL;
    if (n >= 4 && memcmp(s, "<!--", 4) == 0) {
        end = memmem(s + 4, n - 4, "-->", 3);
        return end ? (size_t)(end - s) + 3 : n;
    }
    end = memchr(s, '>', n);
    return end ? (size_t)(end - s) + 1 : n;
}

/* From behind <script> or <style> to its end tag, which is left to be read. */
static size_t skip_raw(const char *s, size_t n, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i + 2 + length <= n; i++)
        if (s[i] == '<' && s[i + 1] == '/' && strncasecmp(s + i + 2, name, length) == 0)
            return i;
    return n;
}

static int walk(struct page *p, const char *s, size_t n)
{
    int rc = 0;
    for (size_t i = 0; i < n && !rc;) {
        char next = i + 1 < n ? s[i + 1] : 0;
        if (s[i] == '<' && (next == '!' || next == '?')) {
            i += skip_declaration(s + i, n - i);
        } else if (s[i] == '<' && (is_letter(next) || next == '/')) {
            struct tag t;
            i += read_tag(&t, s + i, n - i);
            rc = do_tag(p, &t);
            if (!t.end && !t.empty && role_of(t.name) == ROLE_RAW)
                i += skip_raw(s + i, n - i, t.name);
        } else {
            size_t length = 1;
            uint32_t c = s[i] == '&' ? entity_at(&length, s + i, n - i) : 0;
            if (!c) {
                length = 1;
                while (i + length < n && s[i + length] != '<' && s[i + length] != '&')
                    length++;
            }
            if (!p->skip_depth)
                rc = c ? put_entity(p, c) : put_text(p, s + i, length);
            i += length;
        }
    }
    return rc;
}

int text_from_html(struct buf *out, const char *html, size_t n, struct err *err)
{
    struct buf utf8 = {.max_bytes = out->max_bytes};
    struct page p = {.out = out, .first = out->n, .err = err};
    int rc = text_to_utf8(&utf8, html, n, err);
    if (!rc && utf8.n)
        rc = walk(&p, utf8.bytes, utf8.n);
    if (!rc)
        rc = put_break(&p, 1);
    buf_release(&utf8);
    return rc;
}
