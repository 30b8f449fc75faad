/* An SVG of gnuplot's inside an HTML page. One pass over the text: what stands in the table below is exchanged, the rest is copied. The
 * namespaces go because HTML knows them, the ids get a prefix because a page has many figures, and the colours of charts become the
 * page's, so that a dark page shows light ink. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/chart_script.h"
#include "report/html.h"

/* What a page calls the colours of charts: the quiet ones, then enum chart_color by its numbers. */
static const struct page_color {
    const char *hex, *name;
} PAGE_COLORS[] = {
    {CHART_INK_COLOR, "var(--ink)"},
    {CHART_MUTED_COLOR, "var(--muted)"},
    {CHART_GRID_COLOR, "var(--grid)"},
    {CHART_GREY_COLOR, "var(--axis)"},
};
static const char *const PAGE_NAMES[CHART_N_COLORS] = {
    "var(--ink)", "var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)",
    "var(--c5)",  "var(--c6)", "var(--c7)", "var(--c8)", "var(--c9)",
};

/* The page's colour for "rgb(r, g, b" at s, NULL for one that stays. */
static const char *page_color(const char *s)
{
    unsigned r, g, b;
    char hex[8];
    if (sscanf(s, "rgb(%u ,%u ,%u", &r, &g, &b) != 3 || r > 255 || g > 255 || b > 255)
        return NULL;
    snprintf(hex, sizeof hex, "#%02X%02X%02X", r, g, b);
    for (size_t i = 0; i < sizeof PAGE_COLORS / sizeof *PAGE_COLORS; i++)
        if (strcmp(PAGE_COLORS[i].hex, hex) == 0)
            return PAGE_COLORS[i].name;
    for (int i = 0; i < CHART_N_COLORS; i++)
        if (strcmp(CHART_COLORS[i], hex) == 0)
            return PAGE_NAMES[i];
    return NULL;
}

static bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* The place behind the next `end` after s, or the end of the text. */
static const char *behind(const char *s, const char *end)
{
    const char *at = strstr(s, end);
    return at ? at + strlen(end) : s + strlen(s);
}

/* Something to exchange at s: what to write in its place goes to out, and the place to go on from is returned; NULL: nothing here. */
static const char *exchange(struct buf *out, const char *s, const char *prefix, struct err *err)
{
    static const char white[] = "fill=\"#ffffff\"/>";
    const char *color;
    if (starts(s, "<title>"))
        return behind(s, "</title>");
    if (starts(s, "<desc>"))
        return behind(s, "</desc>");
    if (starts(s, "<rect x=\"0\" y=\"0\"")) {
        const char *end = behind(s, "/>");
        bool is_paper = end - s > (long)sizeof white && starts(end - sizeof white + 1, white);
        return is_paper ? end : NULL;
    }
    if (starts(s, " id=\"") || starts(s, " id='")) {
        buf_printf(out, err, "%.5s%s", s, prefix);
        return s + 5;
    }
    if (starts(s, "xlink:href='#")) {
        buf_printf(out, err, "href='#%s", prefix);
        return s + strlen("xlink:href='#");
    }
    if (starts(s, "rgb(") && (color = page_color(s))) {
        buf_puts(out, color, err);
        return behind(s, ")");
    }
    if (starts(s, " font-family=\"sans-serif\""))
        return s + strlen(" font-family=\"sans-serif\"");
    if (*s == '\t' || (*s == '\n' && s[1] == '\n'))
        return s + 1;
    return NULL;
}

static int write_head(struct buf *out, const char *svg, const char *end, const char *label,
                      struct err *err)
{
    double box[4];
    const char *view = strstr(svg, "viewBox=\"");
    if (!view || view > end ||
        sscanf(view, "viewBox=\"%lf %lf %lf %lf\"", &box[0], &box[1], &box[2], &box[3]) != 4)
        return err_set(err, MOE2_EFORMAT, "the SVG has no viewBox of four numbers");
    int rc = buf_printf(out, err, "<svg viewBox=\"%g %g %g %g\" role=\"img\" aria-label=\"", box[0],
                        box[1], box[2], box[3]);
    if (!rc)
        rc = html_escape(out, label, err);
    return rc ? rc : buf_puts(out, "\">", err);
}

int svg_inline(struct buf *out, const char *svg, const char *prefix, const char *label,
               struct err *err)
{
    const char *s = strstr(svg, "<svg");
    const char *end = s ? strchr(s, '>') : NULL;
    if (!end || !strstr(end, "</svg>"))
        return err_set(err, MOE2_EFORMAT, "this is no whole SVG");
    int rc = write_head(out, s, end, label, err);
    for (s = end + 1; !rc && *s;) {
        const char *next = exchange(out, s, prefix, err);
        if (!next) { /* copy up to the next byte at which something may begin */
            size_t n = 1 + strcspn(s + 1, "< xr\t\n");
            rc = buf_append(out, s, n, err);
            next = s + n;
        }
        s = next;
    }
    return rc ? rc : err ? err->code : 0;
}
