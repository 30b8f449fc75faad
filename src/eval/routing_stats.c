/* Routing statistics: see routing_stats.h. Counting is route/balance.h's; this file knows which
 * tokens were routed and what they are. */
#include "eval/routing_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct layer_stats {
    int64_t layer;
    struct balance *balance;
    int64_t *by_class; /* [TOKEN_N_TYPES, E] picks */
};

struct routing_stats {
    struct decoder *dec;
    const struct tokenizer *tok;
    struct layer_stats *layers;
    int64_t n_layers, n_seen;
    int E, domain;
    bool has_types;                 /* of the vocabulary, for mutual information */
    int64_t n_class[TOKEN_N_TYPES]; /* tokens of each type */
    int32_t *domains;               /* [capacity] of the last forward's tokens, all the same */
    uint8_t *classes;
    int64_t capacity;
};

static int new_layer(struct routing_stats *s, int64_t layer, int n_domains, struct err *err)
{
    const struct router_config *c = router_config(decoder_router(s->dec, layer));
    struct layer_stats *l = &s->layers[s->n_layers++];
    l->layer = layer;
    l->by_class = calloc((size_t)(TOKEN_N_TYPES * c->n_experts), sizeof *l->by_class);
    if (!l->by_class)
        return err_set(err, MOE2_ELIMIT, "no memory to count picks");
    int64_t n_types = s->has_types ? decoder_config(s->dec)->vocab_size : 0;
    return balance_new(&l->balance, c->n_experts, c->n_picks, n_types, n_domains, err);
}

int routing_stats_new(struct routing_stats **out, struct decoder *dec, const struct tokenizer *tok,
                      int n_domains, struct err *err)
{
    const struct model_config *c = decoder_config(dec);
    struct routing_stats *s = calloc(1, sizeof *s);
    int rc = 0;
    if (!s || !(s->layers = calloc((size_t)c->num_hidden_layers, sizeof *s->layers))) {
        free(s);
        return err_set(err, MOE2_ELIMIT, "no memory to count picks");
    }
    s->dec = dec;
    s->tok = tok;
    s->E = (int)c->n_routed_experts;
    s->has_types =
        c->vocab_size * c->n_routed_experts * c->num_hidden_layers * 4 <= ROUTING_STATS_MAX_BYTES;
    for (int64_t l = 0; l < c->num_hidden_layers && !rc; l++)
        if (decoder_router(dec, l))
            rc = new_layer(s, l, n_domains, err);
    if (rc)
        routing_stats_free(s);
    else
        *out = s;
    return rc;
}

void routing_stats_free(struct routing_stats *s)
{
    if (!s)
        return;
    for (int64_t i = 0; i < s->n_layers; i++) {
        balance_free(s->layers[i].balance);
        free(s->layers[i].by_class);
    }
    free(s->layers);
    free(s->domains);
    free(s->classes);
    free(s);
}

void routing_stats_domain(struct routing_stats *s, int domain)
{
    s->domain = domain;
}

static int reserve(struct routing_stats *s, int64_t T, struct err *err)
{
    if (T <= s->capacity)
        return 0;
    int32_t *domains = realloc(s->domains, (size_t)T * sizeof *domains);
    s->domains = domains ? domains : s->domains;
    uint8_t *classes = realloc(s->classes, (size_t)T * sizeof *classes);
    s->classes = classes ? classes : s->classes;
    if (!domains || !classes)
        return err_set(err, MOE2_ELIMIT, "no memory for the types of %lld tokens", (long long)T);
    s->capacity = T;
    return 0;
}

/* The type of every token of the batch, and how many there are of each. */
static void classify(struct routing_stats *s, const struct batch *batch)
{
    bool inside = false;
    for (int64_t t = 0; t < batch->T; t++) {
        size_t n = 0;
        const char *bytes = NULL;
        if (s->tok && !tokenizer_is_special(s->tok, batch->ids[t]))
            bytes = tokenizer_token(s->tok, batch->ids[t], &n);
        enum token_type type = bytes ? token_type(bytes, n, inside) : TOKEN_OTHER;
        inside = bytes && token_ends_in_letter(bytes, n);
        s->classes[t] = (uint8_t)type;
        s->n_class[type]++;
        s->domains[t] = s->domain;
    }
}

int routing_stats_seen(void *ctx, struct decoder *dec, const struct batch *batch, struct err *err)
{
    struct routing_stats *s = ctx;
    int rc = reserve(s, batch->T, err);
    if (rc)
        return rc;
    classify(s, batch);
    for (int64_t i = 0; i < s->n_layers; i++) {
        struct layer_stats *l = &s->layers[i];
        const struct route *route = decoder_picks(dec, l->layer);
        balance_add(l->balance, route, s->has_types ? batch->ids : NULL, s->domains);
        for (int e = 0; e < route->E; e++)
            for (int64_t p = route->expert_offsets[e]; p < route->expert_offsets[e + 1]; p++)
                l->by_class[s->classes[route->token[p]] * route->E + e]++;
    }
    s->n_seen += batch->T;
    return 0;
}

int64_t routing_stats_n_layers(const struct routing_stats *s)
{
    return s->n_layers;
}

int64_t routing_stats_layer(const struct routing_stats *s, int64_t i)
{
    return s->layers[i].layer;
}

int routing_stats_result(struct balance_result *out, const struct routing_stats *s, int64_t i,
                         struct err *err)
{
    int rc = balance_result(out, s->layers[i].balance, err);
    if (!rc && !s->has_types)
        out->token_expert_mi = NAN;
    return rc;
}

static void print_measures(struct json_writer *w, const struct balance_result *r)
{
    for (int f = 0; f < BALANCE_N_FIELDS; f++)
        jw_real(w, balance_fields[f].key, balance_get(r, f));
}

static void print_layer(struct json_writer *w, const struct routing_stats *s, int64_t i,
                        const struct balance_result *r)
{
    double values[s->E];
    jw_object(w, NULL);
    jw_int(w, "layer", s->layers[i].layer);
    print_measures(w, r);
    balance_activation(values, s->layers[i].balance);
    jw_reals(w, "activation_frequency", values, s->E);
    balance_loads(values, s->layers[i].balance);
    jw_reals(w, "load", values, s->E);
    jw_end(w);
}

/* layers[i][type][e]: the share of a type's tokens that expert e of MoE layer i works on; null for
 * a type that did not occur. */
static void print_types(struct json_writer *w, const struct routing_stats *s)
{
    double values[s->E];
    jw_object(w, "token_types");
    jw_array(w, "names");
    for (int c = 0; c < TOKEN_N_TYPES; c++)
        jw_text(w, NULL, token_type_names[c]);
    jw_end(w);
    jw_ints(w, "tokens", s->n_class, TOKEN_N_TYPES);
    jw_array(w, "layers");
    for (int64_t i = 0; i < s->n_layers; i++) {
        jw_array(w, NULL);
        for (int c = 0; c < TOKEN_N_TYPES; c++) {
            for (int e = 0; e < s->E; e++)
                values[e] = s->n_class[c] ? (double)s->layers[i].by_class[c * s->E + e] /
                                                (double)s->n_class[c]
                                          : NAN;
            jw_reals(w, NULL, values, s->E);
        }
        jw_end(w);
    }
    jw_end(w);
    jw_end(w);
}

void routing_stats_print(struct json_writer *w, const char *key, const struct routing_stats *s,
                         const struct balance_result *results)
{
    struct balance_result mean;
    balance_mean(&mean, results, (int)s->n_layers);
    if (key)
        jw_object(w, key);
    jw_int(w, "tokens", s->n_seen);
    if (s->n_layers)
        print_measures(w, &mean);
    jw_array(w, "layers");
    for (int64_t i = 0; i < s->n_layers; i++)
        print_layer(w, s, i, &results[i]);
    jw_end(w);
    if (key)
        jw_end(w);
    if (s->tok)
        print_types(w, s);
}
