/* Which tensors get an adapter: the patterns of lora.h against the names of modules.
 *
 * PEFT's rules: a target is the module's whole name or its end behind a dot; a key of rank_pattern
 * or alpha_pattern is an expression for the end of the name, the first that matches wins; a single
 * text instead of a list is an expression for the whole name. A target here may be an expression
 * too. What matches nothing is an error: a run that silently trains less than was asked is worse.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/words.h"
#include "model/lora.h"

static const char ALL_LINEAR[] = "all-linear";

const char *lora_module(char text[LORA_MAX_NAME], const struct param *p, bool tied)
{
    if (p->kind == PARAM_EMBED)
        return tied ? "lm_head" : NULL;
    if (p->kind != PARAM_MATRIX && p->kind != PARAM_HEAD && p->kind != PARAM_ROUTER)
        return NULL;
    size_t n = strlen(p->name), tail = strlen(".weight");
    if (n >= LORA_MAX_NAME || !words_end_in(p->name, ".weight"))
        return NULL;
    snprintf(text, LORA_MAX_NAME, "%.*s", (int)(n - tail), p->name);
    return text;
}

/* A compiled pattern and how often it has matched. */
struct matcher {
    const char *text;
    pcre2_code *code;
    pcre2_match_data *data;
    int64_t n_hits;
    bool all_linear;
};

static int matcher_open(struct matcher *m, const char *text, bool whole, const char *what,
                        struct err *err)
{
    struct buf expression = {.max_bytes = 1 << 16};
    *m = (struct matcher){.text = text, .all_linear = !whole && strcmp(text, ALL_LINEAR) == 0};
    if (m->all_linear)
        return 0;
    int why = 0;
    PCRE2_SIZE at = 0;
    int rc = buf_printf(&expression, err, whole ? "^(?:%s)$" : "^(?:.*\\.)?(?:%s)$", text);
    if (!rc) {
        m->code =
            pcre2_compile((PCRE2_SPTR)expression.bytes, expression.n, PCRE2_UTF, &why, &at, NULL);
        m->data = m->code ? pcre2_match_data_create_from_pattern(m->code, NULL) : NULL;
    }
    if (!rc && !m->code) {
        unsigned char reason[128] = "";
        pcre2_get_error_message(why, reason, sizeof reason);
        rc = err_set(err, MOE2_ECONFIG, "%s \"%s\" is no regular expression: %s", what, text,
                     (const char *)reason);
    } else if (!rc && !m->data) {
        rc = err_set(err, MOE2_ELIMIT, "no memory for the pattern \"%s\"", text);
    }
    buf_release(&expression);
    return rc;
}

static bool matches(struct matcher *m, const char *module, const struct param *p)
{
    bool hit = m->all_linear ? p->kind == PARAM_MATRIX
                             : pcre2_match(m->code, (PCRE2_SPTR)module, strlen(module), 0, 0,
                                           m->data, NULL) > 0;
    m->n_hits += hit;
    return hit;
}

struct matchers {
    struct matcher *items;
    int64_t n;
};

static void matchers_close(struct matchers *ms)
{
    for (int64_t i = 0; ms->items && i < ms->n; i++) {
        pcre2_match_data_free(ms->items[i].data);
        pcre2_code_free(ms->items[i].code);
    }
    free(ms->items);
}

static int matchers_make(struct matchers *ms, int64_t n, struct err *err)
{
    *ms = (struct matchers){.items = calloc((size_t)n + 1, sizeof *ms->items), .n = n};
    return ms->items ? 0 : err_set(err, MOE2_ELIMIT, "no memory for %lld patterns", (long long)n);
}

static int open_rules(struct matchers *ms, const struct lora_rule *rules, int64_t n,
                      const char *what, struct err *err)
{
    int rc = matchers_make(ms, n, err);
    for (int64_t i = 0; i < n && !rc; i++)
        rc = matcher_open(&ms->items[i], rules[i].pattern, false, what, err);
    return rc;
}

/* The last words of some modules, so that the message says what there is. */
static void name_some(struct buf *out, const struct param *params, int64_t n, bool tied)
{
    char text[LORA_MAX_NAME];
    for (int64_t i = 0; i < n && out->n < 200; i++) {
        const char *module = lora_module(text, &params[i], tied);
        const char *word = module ? strrchr(module, '.') : NULL;
        word = word ? word + 1 : module;
        if (!word || (out->bytes && strstr(out->bytes, word)))
            continue;
        buf_printf(out, NULL, "%s%s", out->n ? ", " : "", word);
    }
}

static int check_hits(const struct matchers *ms, const char *what, const struct param *params,
                      int64_t n, bool tied, struct err *err)
{
    for (int64_t i = 0; i < ms->n; i++) {
        if (ms->items[i].n_hits)
            continue;
        struct buf words = {0};
        name_some(&words, params, n, tied);
        int rc = err_set(err, MOE2_ECONFIG, "%s \"%s\" matches no module of this model; it has %s",
                         what, ms->items[i].text, words.bytes ? words.bytes : "none");
        buf_release(&words);
        return rc;
    }
    return 0;
}

static int check_numbers(const struct lora_config *c, struct err *err)
{
    if (!c->n_targets && !c->train_router)
        return err_set(err, MOE2_ECONFIG,
                       "lora.target_modules is empty, wanted the modules that get an adapter");
    if (c->r < 1 || c->r > LORA_MAX_RANK)
        return err_set(err, MOE2_ECONFIG, "lora.r is %lld, wanted 1 to %d", (long long)c->r,
                       LORA_MAX_RANK);
    if (!(c->dropout >= 0 && c->dropout < 1))
        return err_set(err, MOE2_ECONFIG, "lora.dropout is %g, wanted 0 to below 1", c->dropout);
    for (int64_t i = 0; i < c->n_ranks; i++)
        if (!(c->ranks[i].value >= 1 && c->ranks[i].value <= LORA_MAX_RANK))
            return err_set(err, MOE2_ECONFIG, "lora.rank_pattern: %s is %g, wanted 1 to %d",
                           c->ranks[i].pattern, c->ranks[i].value, LORA_MAX_RANK);
    return 0;
}

/* The first rule that matches, or the fallback. */
static double ruled(struct matchers *ms, const struct lora_rule *rules, const char *module,
                    const struct param *p, double fallback)
{
    for (int64_t i = 0; i < ms->n; i++)
        if (matches(&ms->items[i], module, p))
            return rules[i].value;
    return fallback;
}

int lora_choose(struct lora_choice *out, const struct param *params, int64_t n, bool tied,
                const struct lora_config *c, struct err *err)
{
    struct matchers targets = {0}, ranks = {0}, alphas = {0};
    char text[LORA_MAX_NAME];
    int rc = check_numbers(c, err);
    if (!rc)
        rc = matchers_make(&targets, c->n_targets, err);
    for (int64_t i = 0; i < c->n_targets && !rc; i++)
        rc = matcher_open(&targets.items[i], c->targets[i], c->whole, "lora.target_modules", err);
    if (!rc)
        rc = open_rules(&ranks, c->ranks, c->n_ranks, "lora.rank_pattern", err);
    if (!rc)
        rc = open_rules(&alphas, c->alphas, c->n_alphas, "lora.alpha_pattern", err);
    for (int64_t i = 0; i < n && !rc; i++) {
        const char *module = lora_module(text, &params[i], tied);
        bool chosen = false;
        out[i] = (struct lora_choice){0};
        for (int64_t j = 0; j < targets.n && module; j++)
            chosen |= matches(&targets.items[j], module, &params[i]);
        if (chosen)
            out[i] = (struct lora_choice){
                (int64_t)ruled(&ranks, c->ranks, module, &params[i], (double)c->r),
                ruled(&alphas, c->alphas, module, &params[i], c->alpha)};
    }
    if (!rc && !c->lenient &&
        !(rc = check_hits(&targets, "lora.target_modules:", params, n, tied, err)) &&
        !(rc = check_hits(&ranks, "lora.rank_pattern:", params, n, tied, err)))
        rc = check_hits(&alphas, "lora.alpha_pattern:", params, n, tied, err);
    matchers_close(&targets);
    matchers_close(&ranks);
    matchers_close(&alphas);
    return rc;
}
