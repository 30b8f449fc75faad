/* Sections that the pages share: see page_parts.h. */
#include "report/page_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/json_util.h"

char *page_count(char text[48], double n)
{
    char digits[32];
    if (!isfinite(n) || fabs(n) >= 1e15) {
        snprintf(text, 48, "–");
        return text;
    }
    if (fabs(n) >= 1e9 || (fabs(n) >= 1e6 && fmod(n, 1000) != 0)) {
        bool milliards = fabs(n) >= 1e9;
        snprintf(text, 48, "%.3g %s", n / (milliards ? 1e9 : 1e6),
                 milliards ? "billion" : "million");
        return text;
    }
    int len = snprintf(digits, sizeof digits, "%.0f", n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && digits[i - 1] != '-' && (len - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = 0;
    return text;
}

static int put_line(struct buf *out, const char *name, const json_t *v, struct err *err)
{
    char number[32];
    int rc = buf_printf(out, err, "%s: ", name);
    if (rc)
        return rc;
    if (json_is_string(v))
        return buf_printf(out, err, "%s\n", json_string_value(v));
    if (json_is_real(v))
        return buf_printf(out, err, "%s\n", json_real_text(number, json_real_value(v)));
    char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    rc = text ? buf_printf(out, err, "%s\n", text)
              : err_set(err, MOE2_ELIMIT, "no memory for %s", name);
    free(text);
    return rc;
}

static int put_lines(struct buf *out, const char *prefix, const json_t *v, int depth,
                     struct err *err)
{
    void *it = json_object_iter((json_t *)(uintptr_t)v); /* jansson's iterator takes no const */
    int rc = 0;
    for (; it && !rc; it = json_object_iter_next((json_t *)(uintptr_t)v, it)) {
        char name[256];
        const json_t *value = json_object_iter_value(it);
        snprintf(name, sizeof name, "%.120s%s%.120s", prefix, *prefix ? "." : "",
                 json_object_iter_key(it));
        rc = json_is_object(value) && depth < 8 ? put_lines(out, name, value, depth + 1, err)
                                                : put_line(out, name, value, err);
    }
    return rc;
}

int page_json_lines(struct buf *out, const json_t *v, struct err *err)
{
    return put_lines(out, "", v, 0, err);
}

static void details_json(struct html *h, const char *summary, const json_t *v)
{
    struct buf lines = {0};
    if (!h->rc)
        h->rc = page_json_lines(&lines, v, h->err);
    if (lines.n)
        html_details(h, summary, lines.bytes);
    buf_release(&lines);
}

void page_machine(struct html *h, const struct run_metrics *m)
{
    const json_t *machine = json_value_at(m->summary, "machine");
    if (json_is_object(machine))
        details_json(h, "Machine and versions", machine);
}

bool page_has_sample(const struct run_metrics *m)
{
    return json_text_at(m->summary, "samples.after") != NULL;
}

void page_sample(struct html *h, const struct run_metrics *m)
{
    const char *prompt = json_text_at(m->summary, "samples.prompt");
    const char *before = json_text_at(m->summary, "samples.before");
    const char *after = json_text_at(m->summary, "samples.after");
    if (prompt)
        html_quote(h, "The prompt:", prompt);
    if (before)
        html_quote(h, "Before training the model goes on:", before);
    if (after)
        html_quote(h, "After training:", after);
}

void page_config(struct html *h, const struct run_metrics *m)
{
    const json_t *config = json_value_at(m->summary, "config");
    const json_t *commands = json_value_at(m->summary, "commands");
    struct buf lines = {0};
    for (size_t i = 0; i < json_array_size(commands) && !h->rc; i++) {
        const char *line = json_string_value(json_array_get(commands, i));
        if (line)
            h->rc = buf_printf(&lines, h->err, "%s\n", line);
    }
    if (lines.n)
        html_details(h, "Exact commands", lines.bytes);
    buf_release(&lines);
    if (json_is_object(config))
        details_json(h, "Resolved configuration", config);
}

void page_setup(struct html *h, const struct run_metrics *m)
{
    char all[48], active[48], tokens[48], steps[48], flops[48];
    double n_params = run_number(m, "model.n_params");
    if (isfinite(n_params))
        html_paragraph(
            h,
            "The model has %s parameters, of which %s work on a token (%s FLOPs a token, "
            "forward). It was trained on %s tokens in %s steps.",
            page_count(all, n_params), page_count(active, run_number(m, "model.n_active_params")),
            page_count(flops, run_number(m, "model.flops_per_token")),
            page_count(tokens, run_number(m, "train.tokens")),
            page_count(steps, run_number(m, "train.steps")));
}

void page_figure(struct html *h, const char *dir, const char *name, const char *caption)
{
    char *path = NULL;
    if (h->rc)
        return;
    if (asprintf(&path, "%s/figures/%s.svg", dir, name) < 0) {
        h->rc = err_set(h->err, MOE2_ELIMIT, "%s: no memory for its name", name);
        return;
    }
    html_figure(h, path, caption);
    free(path);
}
