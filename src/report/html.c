/* One HTML page: see html.h. */
#include "report/html.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/file.h"

/* The lines of charts on white paper: CHART_COLORS. */
#define LIGHT_LINES                                                                                \
    "--c1:#0072b2;--c2:#d55e00;--c3:#009e73;--c4:#cf8a00;--c5:#4aa3df;--c6:#c566a0;--c7:#7a5aa6;"  \
    "--c8:#8f8a2a;--c9:#8b6b57"

static const char HEAD[] =
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<style>\n"
    ":root{color-scheme:light dark;--page:#fff;--card:#fff;--ink:#24292f;--muted:#5f666d;"
    "--grid:#e2e4e7;--axis:#9aa0a6;--line:#d9dce0;--soft:#f5f6f8;--accent:#0072b2;" LIGHT_LINES
    "}\n"
    "@media (prefers-color-scheme:dark){:root{--page:#15181c;--card:#15181c;--ink:#e4e6e9;"
    "--muted:#a3a9b1;--grid:#30353b;--axis:#6d747c;--line:#363b42;--soft:#1d2126;"
    "--accent:#62b3e8;--c1:#4b9fe3;--c2:#f0804a;--c3:#35c498;--c4:#eeb03f;--c5:#8accf5;"
    "--c6:#e497c6;--c7:#ab92dc;--c8:#c3bd58;--c9:#c2a48f}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:64rem;background:var(--page);"
    "color:var(--ink);font:16px/1.55 system-ui,-apple-system,\"Segoe UI\",Roboto,\"DejaVu Sans\","
    "sans-serif;overflow-wrap:break-word}\n"
    "h1{font-size:1.6rem;line-height:1.25;margin:0 0 1rem}\n"
    "h2{font-size:1.2rem;margin:2.6rem 0 .6rem;padding-top:.6rem;border-top:1px solid "
    "var(--line)}\n"
    "p{margin:.6rem 0;max-width:46rem}\n"
    ".lead{font-size:1.15rem;line-height:1.45;padding:.8rem 1rem;background:var(--soft);"
    "border-left:4px solid var(--accent);border-radius:2px;max-width:none}\n"
    "nav{font-size:.9rem;line-height:1.9}\n"
    "nav a{margin-right:1rem;white-space:nowrap}\n"
    "a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}\n"
    ".scroll{overflow-x:auto;margin:1rem 0}\n"
    "table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;"
    "white-space:nowrap}\n"
    "th,td{padding:.3rem .45rem;border-bottom:1px solid var(--line);text-align:left}\n"
    "th{color:var(--muted);font-weight:600;border-bottom:2px solid var(--line);"
    "vertical-align:bottom;white-space:normal}\n"
    "td:last-child:not([style]){white-space:normal}\n" /* a list, or a sentence */
    "td:first-child,th:first-child{position:sticky;left:0;background:var(--page)}\n"
    "figure{margin:1.4rem 0}\n"
    "figure svg{display:block;width:100%;min-width:34rem;height:auto;font-family:inherit}\n"
    "figcaption,.label,.note{color:var(--muted);font-size:.88rem;line-height:1.45}\n"
    ".note{margin-top:-.4rem}\n"
    "details{margin:.7rem 0;border:1px solid var(--line);border-radius:4px;padding:.4rem .8rem}\n"
    "summary{cursor:pointer;font-weight:600}\n"
    "pre{margin:.6rem 0;font:.82rem/1.5 ui-monospace,\"DejaVu Sans Mono\",monospace;"
    "white-space:pre-wrap;overflow-wrap:anywhere}\n"
    "pre.quote{padding:.7rem .9rem;background:var(--soft);border-radius:4px}\n"
    "@media print{body{max-width:none;font-size:10pt;padding:0}nav{display:none}"
    "figure,table,pre.quote{break-inside:avoid}h2{break-after:avoid}"
    "figure svg{min-width:0}.scroll{overflow:visible}table{white-space:normal;font-size:7.5pt}"
    "th,td{padding:.2rem .35rem}"
    ":root{--page:#fff;--ink:#000;--muted:#444;--grid:#ddd;--line:#ccc;--soft:#fff;" LIGHT_LINES
    "}}\n"
    "</style>\n";

int html_escape(struct buf *out, const char *text, struct err *err)
{
    const unsigned char *s = (const unsigned char *)text;
    int rc = 0;
    while (!rc && *s) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate(s, -1, &c);
        if (n < 1) {
            rc = buf_puts(out, "\xEF\xBF\xBD", err);
            n = 1;
        } else if (c == '&') {
            rc = buf_puts(out, "&amp;", err);
        } else if (c == '<') {
            rc = buf_puts(out, "&lt;", err);
        } else if (c == '>') {
            rc = buf_puts(out, "&gt;", err);
        } else if (c == '"') {
            rc = buf_puts(out, "&quot;", err);
        } else if (c == '\'') {
            rc = buf_puts(out, "&#39;", err);
        } else if (!((c < 32 && c != '\n' && c != '\t') || (c >= 127 && c < 160))) {
            rc = buf_append(out, s, (size_t)n, err);
        }
        s += n;
    }
    return rc;
}

static void put(struct html *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct html *h, const char *fmt, ...)
{
    if (h->rc)
        return;
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    h->rc = buf_append(&h->body, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1, h->err);
}

static void put_escaped(struct html *h, const char *text)
{
    if (!h->rc)
        h->rc = html_escape(&h->body, text, h->err);
}

static void put_block(struct html *h, const char *open, const char *close, const char *fmt,
                      va_list args)
{
    char *text = NULL;
    if (h->rc)
        return;
    if (vasprintf(&text, fmt, args) < 0) {
        h->rc = err_set(h->err, MOE2_ELIMIT, "no memory for a paragraph");
        return;
    }
    put(h, "%s", open);
    put_escaped(h, text);
    put(h, "%s\n", close);
    free(text);
}

void html_begin(struct html *h, struct buf *out, struct err *err)
{
    *h = (struct html){.out = out, .err = err};
}

void html_section(struct html *h, const char *title)
{
    h->n_sections++;
    put(h, "%s<section>\n<h2 id=\"s%d\">", h->n_sections > 1 ? "</section>\n" : "", h->n_sections);
    put_escaped(h, title);
    put(h, "</h2>\n");
    if (!h->rc)
        h->rc = buf_printf(&h->contents, h->err, "<a href=\"#s%d\">", h->n_sections);
    if (!h->rc)
        h->rc = html_escape(&h->contents, title, h->err);
    if (!h->rc)
        h->rc = buf_puts(&h->contents, "</a>\n", h->err);
}

void html_lead(struct html *h, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    put_block(h, "<p class=\"lead\">", "</p>", fmt, args);
    va_end(args);
}

void html_paragraph(struct html *h, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    put_block(h, "<p>", "</p>", fmt, args);
    va_end(args);
}

void html_table(struct html *h, const struct table *t, const char *caption)
{
    if (h->rc || table_n_rows(t) == 0)
        return;
    struct buf html = {0};
    put(h, "<div class=\"scroll\">\n");
    h->rc = h->rc ? h->rc : table_html(&html, t, h->err);
    if (!h->rc)
        h->rc = buf_append(&h->body, html.bytes, html.n, h->err);
    put(h, "</div>\n");
    if (caption) {
        put(h, "<p class=\"note\">");
        put_escaped(h, caption);
        put(h, "</p>\n");
    }
    buf_release(&html);
}

void html_figure(struct html *h, const char *svg_path, const char *caption)
{
    struct buf svg = {.max_bytes = (size_t)16 << 20};
    char prefix[24];
    if (h->rc)
        return;
    snprintf(prefix, sizeof prefix, "f%d-", ++h->n_figures);
    put(h, "<figure><div class=\"scroll\">");
    size_t before = h->body.n;
    if (file_read(&svg, svg_path, NULL) == 0 &&
        svg_inline(&h->body, svg.bytes ? svg.bytes : "", prefix, caption, NULL) == 0) {
        put(h, "</div>\n<figcaption><b>Figure %d.</b> ", h->n_figures);
    } else {
        h->body.n = before;
        put(h, "</div>\n<figcaption><b>Figure %d</b> was not drawn. ", h->n_figures);
    }
    put_escaped(h, caption);
    put(h, "</figcaption></figure>\n");
    buf_release(&svg);
}

void html_details(struct html *h, const char *summary, const char *text)
{
    put(h, "<details><summary>");
    put_escaped(h, summary);
    put(h, "</summary><pre>");
    put_escaped(h, text);
    put(h, "</pre></details>\n");
}

void html_quote(struct html *h, const char *label, const char *text)
{
    put(h, "<p class=\"label\">");
    put_escaped(h, label);
    put(h, "</p>\n<pre class=\"quote\">");
    put_escaped(h, text);
    put(h, "</pre>\n");
}

int html_end(struct html *h, const char *title)
{
    struct buf name = {0};
    if (h->n_sections)
        put(h, "</section>\n");
    if (!h->rc)
        h->rc = html_escape(&name, title, h->err);
    if (!h->rc)
        h->rc = buf_printf(h->out, h->err,
                           "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<title>%s</title>\n%s"
                           "</head>\n<body>\n<h1>%s</h1>\n",
                           name.bytes, HEAD, name.bytes);
    if (!h->rc && h->contents.n)
        h->rc = buf_printf(h->out, h->err, "<nav>\n%s</nav>\n", h->contents.bytes);
    if (!h->rc && h->body.n)
        h->rc = buf_append(h->out, h->body.bytes, h->body.n, h->err);
    if (!h->rc)
        h->rc = buf_puts(h->out, "</body>\n</html>\n", h->err);
    buf_release(&h->body);
    buf_release(&h->contents);
    buf_release(&name);
    return h->rc;
}
