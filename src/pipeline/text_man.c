/* The running text of a manual page: see text_markup.h.
 *
 * troff reads lines: one that begins with '.' or '\'' is a request or macro, the rest is text that
 * is filled into paragraphs. Here a paragraph becomes one line. The macros are those of man(7) and
 * mdoc(7), the escapes those of groff(7) and groff_char(7); what is not in the tables below is
 * passed over (an escape, a request) or gives its arguments (a macro).
 */
#include "pipeline/text_markup.h"

#include <string.h>

enum { ARGS_MAX = 32, MACRO_MAX_BYTES = 8 };

struct page {
    struct buf *out;
    size_t first;
    bool space;           /* one is due before the next word */
    bool joined;          /* \c: none is due, for once */
    bool unfilled;        /* between .nf and .fi */
    const char *skip_end; /* the macro that ends a passage without text; NULL outside */
    int skip_braces;      /* depth of \{ in a condition that does not hold */
    char name[64];        /* of the page, for mdoc's .Nm */
    struct err *err;
};

/* ---- out ---- */

static int put_break(struct page *p, int n_lines)
{
    p->space = false;
    return text_put_break(p->out, p->first, n_lines, p->err);
}

static int put_bytes(struct page *p, const char *s, size_t n)
{
    int rc = 0;
    if (p->space && !p->joined && p->out->n > p->first && p->out->bytes[p->out->n - 1] != '\n')
        rc = buf_append(p->out, " ", 1, p->err);
    p->space = p->joined = false;
    return rc ? rc : buf_append(p->out, s, n, p->err);
}

/* ---- escapes ---- */

static const struct glyph {
    char name[4];
    const char *text;
} GLYPHS[] = {
    {"em", "—"},  {"en", "–"},  {"hy", "-"}, {"lq", "“"}, {"rq", "”"}, {"oq", "‘"}, {"cq", "’"},
    {"aq", "'"},  {"dq", "\""}, {"bu", "•"}, {"co", "©"}, {"rg", "®"}, {"tm", "™"}, {"de", "°"},
    {"Fo", "«"},  {"Fc", "»"},  {"fo", "‹"}, {"fc", "›"}, {"sc", "§"}, {"mu", "×"}, {"di", "÷"},
    {"+-", "±"},  {"<=", "≤"},  {">=", "≥"}, {"!=", "≠"}, {"==", "≡"}, {"->", "→"}, {"<-", "←"},
    {"14", "¼"},  {"12", "½"},  {"34", "¾"}, {"Eu", "€"}, {"Po", "£"}, {"ha", "^"}, {"ti", "~"},
    {"rs", "\\"}, {"ga", "`"},  {"sl", "/"}, {"at", "@"}, {"sh", "#"}, {"Do", "$"}, {"lB", "["},
    {"rB", "]"},  {"lC", "{"},  {"rC", "}"}, {"la", "⟨"}, {"ra", "⟩"}, {"bv", "|"}, {"ba", "|"},
    {"br", "│"},  {"ul", "_"},  {"mi", "−"}, {"pl", "+"}, {"eq", "="}, {"ss", "ß"}, {",c", "ç"},
    {",C", "Ç"},  {"~n", "ñ"},  {"oa", "å"}, {"/o", "ø"}, {"ae", "æ"}, {"AE", "Æ"}, {"r!", "¡"},
    {"r?", "¿"},  {"*(", ""},   {"if", "∞"},
};

/* \(`a and the like: an accent and a letter, as one character. */
static const char ACCENTS[] = "`':^";
static const char *const ACCENTED[4][2] = {
    {"aeiouAEIOU", "àèìòùÀÈÌÒÙ"},
    {"aeiouAEIOU", "áéíóúÁÉÍÓÚ"},
    {"aeiouAEIOU", "äëïöüÄËÏÖÜ"},
    {"aeiouAEIOU", "âêîôûÂÊÎÔÛ"},
};

static int put_glyph(struct page *p, const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof GLYPHS / sizeof *GLYPHS; i++)
        if (strlen(GLYPHS[i].name) == n && memcmp(GLYPHS[i].name, name, n) == 0)
            return put_bytes(p, GLYPHS[i].text, strlen(GLYPHS[i].text));
    if (n == 2 && name[0] && strchr(ACCENTS, name[0])) {
        const char *const *row = ACCENTED[strchr(ACCENTS, name[0]) - ACCENTS];
        const char *at = name[1] ? strchr(row[0], name[1]) : NULL;
        return at ? put_bytes(p, row[1] + 2 * (at - row[0]), 2) : 0;
    }
    if (n >= 5 && n <= 7 && name[0] == 'u') {
        uint32_t c = 0;
        for (size_t i = 1; i < n; i++) {
            const char *digit = strchr("0123456789ABCDEF", name[i]);
            if (!digit || !name[i])
                return 0;
            c = 16 * c + (uint32_t)(digit - "0123456789ABCDEF");
        }
        int rc = put_bytes(p, "", 0);
        return rc ? rc : text_put_char(p->out, c, p->err);
    }
    return 0;
}

/* A name behind \f, \*, \n, \(: one character, (xx, or [any]. Where it is, its length; what follows
 * it is returned. */
static size_t read_name(const char **name, size_t *length, const char *s, size_t n, size_t i)
{
    if (i < n && s[i] == '(') {
        *name = s + i + 1;
        *length = i + 3 <= n ? 2 : 0;
        return i + 3 <= n ? i + 3 : n;
    }
    if (i < n && s[i] == '[') {
        const char *end = memchr(s + i, ']', n - i);
        *name = s + i + 1;
        *length = end ? (size_t)(end - *name) : 0;
        return end ? (size_t)(end - s) + 1 : n;
    }
    *name = s + i;
    *length = i < n;
    return i + (i < n);
}

/* \s: a sign and one or two digits, or a name. */
static size_t skip_size(const char *s, size_t n, size_t i)
{
    if (i < n && (s[i] == '+' || s[i] == '-'))
        i++;
    if (i < n && (s[i] == '(' || s[i] == '[')) {
        const char *name;
        size_t length;
        return read_name(&name, &length, s, n, i);
    }
    bool two = i < n && s[i] >= '1' && s[i] <= '3';
    i += i < n;
    return i + (two && i < n && s[i] >= '0' && s[i] <= '9');
}

/* \h'…' and its kind: an argument between two equal characters. */
static size_t skip_quoted(const char *s, size_t n, size_t i)
{
    if (i >= n)
        return n;
    const char *end = memchr(s + i + 1, s[i], n - i - 1);
    return end ? (size_t)(end - s) + 1 : n;
}

/* The escape at s[i] (behind the backslash); where it ends. */
static int put_escape(struct page *p, size_t *end, const char *s, size_t n, size_t i)
{
    const char *name = NULL;
    size_t length = 0;
    char c = s[i];
    *end = i + 1;
    switch (c) {
    case '(':
    case '[':
        *end = read_name(&name, &length, s, n, i);
        return put_glyph(p, name, length);
    case '*':
        *end = read_name(&name, &length, s, n, i + 1);
        return put_glyph(p, length == 1 && *name == 'R' ? "rg" : name, length == 1 ? 2 : length);
    case 'f':
    case 'F':
    case 'm':
    case 'M':
    case 'n':
    case 'g':
    case 'k':
        *end = read_name(&name, &length, s, n, i + 1);
        return 0;
    case 's':
        *end = skip_size(s, n, i + 1);
        return 0;
    case 'h':
    case 'v':
    case 'w':
    case 'l':
    case 'L':
    case 'D':
    case 'b':
    case 'o':
    case 'x':
    case 'X':
    case 'Z':
    case 'N':
    case 'A':
    case 'B':
        *end = skip_quoted(s, n, i + 1);
        return 0;
    case 'c':
        p->joined = true;
        return 0;
    case '"':
    case '#':
        *end = n;
        return 0;
    case '-':
        return put_bytes(p, "-", 1);
    case 'e':
    case '\\':
        return put_bytes(p, "\\", 1);
    case '~':
    case '0':
    case ' ':
    case 't':
        return put_bytes(p, " ", 1);
    case '.':
    case '\'':
    case '`':
    case '_':
        return put_bytes(p, &c, 1);
    default: /* \& \| \^ \/ \, \) \: \% \u \d \{ \} \p and what we don't know */
        return 0;
    }
}

/* The text of a line or of an argument. */
static int put_text(struct page *p, const char *s, size_t n)
{
    int rc = 0;
    for (size_t i = 0; i < n && !rc;) {
        if (s[i] == '\\' && i + 1 < n) {
            rc = put_escape(p, &i, s, n, i + 1);
            continue;
        }
        size_t run = 0;
        while (i + run < n && s[i + run] != '\\')
            run++;
        run += run == 0; /* a backslash at the end of the line */
        if (s[i] != '\\')
            rc = put_bytes(p, s + i, run);
        i += run;
    }
    return rc;
}

/* ---- macros ---- */

struct arg {
    const char *s;
    size_t n;
};

static int read_args(struct arg args[ARGS_MAX], const char *s, size_t n)
{
    int n_args = 0;
    for (size_t i = 0; n_args < ARGS_MAX;) {
        while (i < n && (s[i] == ' ' || s[i] == '\t'))
            i++;
        if (i >= n || (s[i] == '\\' && i + 1 < n && s[i + 1] == '"'))
            break;
        bool quoted = s[i] == '"';
        size_t begin = i += quoted;
        while (i < n && (quoted ? s[i] != '"' : s[i] != ' ' && s[i] != '\t'))
            i += 1 + (s[i] == '\\' && i + 1 < n);
        i = i < n ? i : n;
        args[n_args++] = (struct arg){s + begin, i - begin};
        i += quoted;
    }
    return n_args;
}

static int put_args(struct page *p, const struct arg *args, int n_args, bool apart)
{
    int rc = 0;
    p->space = true;
    for (int i = 0; i < n_args && !rc; i++) {
        rc = put_text(p, args[i].s, args[i].n);
        p->space = apart;
    }
    p->space = true;
    return rc;
}

static bool is_one_of(const char *macro, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(macro, *list) == 0)
            return true;
    return false;
}

static const char *const HEADINGS[] = {"SH", "SS", "Sh", "Ss", NULL};
static const char *const BREAKS[] = {"PP", "P",  "LP", "Pp", "HP", "sp", "br",
                                     "RS", "RE", "TP", "TQ", "Bl", "El", "Bd",
                                     "Ed", "ti", "in", "bp", "D1", "Dl", NULL};
static const char *const LABELLED[] = {"IP", "It", NULL};
static const char *const ALTERNATE[] = {"BR", "RB", "BI", "IB", "RI", "IR", NULL};
/* Requests and macros that give no text, whatever their arguments. */
static const char *const SILENT[] = {
    "TH", "Dd", "Dt", "Os", "UR", "UE", "MT", "ME", "nr",  "ds",  "so", "ad", "hy", "ft",
    "ta", "ne", "na", "ll", "ps", "vs", "pl", "po", "rm",  "rr",  "tm", "nh", "tr", "ev",
    "cc", "c2", "ec", "eo", "as", "rn", "lf", "ul", "cu",  "ce",  "mk", "rt", "ns", "rs",
    "os", "sv", "lt", "pc", "hw", "hc", "fp", "cs", "bd",  "ss",  "lg", "uf", "it", "OP",
    "SY", "YS", "AT", "UC", "DT", "PD", "TE", "EE", "EX",  "EN",  "nf", "fi", "el", "if",
    "ie", "..", "Ns", "Sm", "Bk", "Ek", "Rs", "Re", "pso", "mso", NULL};

static const struct passage {
    const char *begin, *end;
} PASSAGES[] = {{"TS", "TE"},  {"EQ", "EN"}, {"PS", "PE"}, {"de", ".."},
                {"de1", ".."}, {"am", ".."}, {"ig", ".."}};

/* mdoc's macros with marks of their own around or before the arguments. */
static const struct marked {
    const char *macro, *before, *after;
} MARKED[] = {{"Fl", "-", ""},  {"Op", "[", "]"}, {"Dq", "“", "”"}, {"Qq", "\"", "\""},
              {"Sq", "‘", "’"}, {"Pq", "(", ")"}, {"Aq", "<", ">"}, {"Bq", "[", "]"},
              {"Nd", "- ", ""}, {"Fn", "", "()"}, {"Brq", "{", "}"}};

static int put_marked(struct page *p, const struct marked *m, const struct arg *args, int n_args)
{
    p->space = true;
    int rc = put_bytes(p, m->before, strlen(m->before));
    for (int i = 0; i < n_args && !rc; i++) {
        rc = put_text(p, args[i].s, args[i].n);
        p->space = i + 1 < n_args;
    }
    if (!rc)
        rc = put_bytes(p, m->after, strlen(m->after));
    p->space = true;
    return rc;
}

/* .Nm NAME names the page the first time and stands for it without arguments. */
static int put_name(struct page *p, const struct arg *args, int n_args)
{
    if (n_args && !p->name[0] && args[0].n < sizeof p->name)
        memcpy(p->name, args[0].s, args[0].n);
    if (n_args)
        return put_args(p, args, n_args, true);
    struct arg own = {p->name, strlen(p->name)};
    return put_args(p, &own, 1, true);
}

/* Xr name 3 reads name(3), as BR name (3) does. */
static int put_reference(struct page *p, const struct arg *args, int n_args)
{
    int rc = put_args(p, args, n_args > 0, true);
    if (rc || n_args < 2)
        return rc;
    p->space = false;
    rc = put_bytes(p, "(", 1);
    if (!rc)
        rc = put_text(p, args[1].s, args[1].n);
    return rc ? rc : put_bytes(p, ")", 1);
}

static int do_macro(struct page *p, const char *macro, const struct arg *args, int n_args)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof PASSAGES / sizeof *PASSAGES; i++)
        if (strcmp(macro, PASSAGES[i].begin) == 0) {
            p->skip_end = PASSAGES[i].end;
            return put_break(p, 1);
        }
    if (strcmp(macro, "nf") == 0 || strcmp(macro, "EX") == 0 || strcmp(macro, "fi") == 0 ||
        strcmp(macro, "EE") == 0) {
        p->unfilled = macro[0] == 'n' || macro[1] == 'X';
        return put_break(p, 1);
    }
    if (is_one_of(macro, HEADINGS)) {
        p->unfilled = false;
        rc = put_break(p, 2);
        if (!rc)
            rc = put_args(p, args, n_args, true);
        return rc || n_args == 0 ? rc : put_break(p, 1);
    }
    if (is_one_of(macro, LABELLED)) {
        rc = put_break(p, 1);
        return rc ? rc : put_args(p, args, n_args > 0, true);
    }
    if (is_one_of(macro, BREAKS))
        return put_break(p, 1);
    if (is_one_of(macro, SILENT))
        return 0;
    if (is_one_of(macro, ALTERNATE))
        return put_args(p, args, n_args, false);
    if (strcmp(macro, "Nm") == 0)
        return put_name(p, args, n_args);
    if (strcmp(macro, "Xr") == 0)
        return put_reference(p, args, n_args);
    for (size_t i = 0; i < sizeof MARKED / sizeof *MARKED; i++)
        if (strcmp(macro, MARKED[i].macro) == 0)
            return put_marked(p, &MARKED[i], args, n_args);
    return put_args(p, args, n_args, true);
}

/* .if t \{ … \} is for a typesetter and passed over; .if n \{ … \} is for us. */
static bool is_condition_false(const char *macro, const char *rest, size_t n)
{
    if (strcmp(macro, "if") != 0 && strcmp(macro, "ie") != 0 && strcmp(macro, "el") != 0)
        return false;
    bool opens = n >= 2 && memmem(rest, n, "\\{", 2);
    while (n && (*rest == ' ' || *rest == '\t')) {
        rest++;
        n--;
    }
    return opens && !(n && *rest == 'n');
}

static int do_control(struct page *p, const char *s, size_t n)
{
    size_t i = 1, length = 0;
    while (i < n && (s[i] == ' ' || s[i] == '\t'))
        i++;
    char macro[MACRO_MAX_BYTES] = "";
    for (; i < n && s[i] != ' ' && s[i] != '\t' && s[i] != '\\'; i++)
        if (length + 1 < sizeof macro)
            macro[length++] = s[i];
    if (length == 0)
        return 0;
    if (is_condition_false(macro, s + i, n - i)) {
        p->skip_braces = 1;
        return 0;
    }
    struct arg args[ARGS_MAX];
    int n_args = read_args(args, s + i, n - i);
    return do_macro(p, macro, args, n_args);
}

static int do_line(struct page *p, const char *s, size_t n)
{
    if (n && s[n - 1] == '\r')
        n--;
    bool control = n && (s[0] == '.' || s[0] == '\'');
    if (p->skip_end) {
        size_t length = strlen(p->skip_end);
        if (control && n > length && memcmp(s + 1, p->skip_end, length) == 0)
            p->skip_end = NULL;
        else if (control && n == 2 && s[1] == '.' && strcmp(p->skip_end, "..") == 0)
            p->skip_end = NULL;
        return 0;
    }
    if (p->skip_braces) {
        if (n >= 2 && memmem(s, n, "\\}", 2))
            p->skip_braces = 0;
        return 0;
    }
    if (n >= 3 && control && s[1] == '\\' && (s[2] == '"' || s[2] == '}'))
        return 0;
    if (control)
        return do_control(p, s, n);
    if (n == 0)
        return put_break(p, 1);
    bool indented = s[0] == ' ' || s[0] == '\t';
    int rc = indented || p->unfilled ? put_break(p, 1) : 0;
    p->space = !p->unfilled;
    return rc ? rc : put_text(p, s, n);
}

int text_from_man(struct buf *out, const char *man, size_t n, struct err *err)
{
    struct buf utf8 = {.max_bytes = out->max_bytes};
    struct page p = {.out = out, .first = out->n, .err = err};
    int rc = text_to_utf8(&utf8, man, n, err);
    for (size_t i = 0; i < utf8.n && !rc;) {
        const char *end = memchr(utf8.bytes + i, '\n', utf8.n - i);
        size_t length = end ? (size_t)(end - utf8.bytes) - i : utf8.n - i;
        rc = do_line(&p, utf8.bytes + i, length);
        i += length + 1;
    }
    if (!rc)
        rc = put_break(&p, 1);
    buf_release(&utf8);
    return rc;
}
