/* Routing statistics: what the routers of a model did with a text, layer by layer, in every measure
 * of the routing specification.
 *
 *     routing_stats_new(&s, dec, tok, n_domains, err);
 *     perplexity_run(…, {.seen = routing_stats_seen, .seen_ctx = s}, …);     scores and measures
 *     routing_stats_result(&r, s, i, err);
 *
 * Windows must not overlap (stride = window), or tokens count twice.
 */
#ifndef MOE2_EVAL_ROUTING_STATS_H
#define MOE2_EVAL_ROUTING_STATS_H

#include "eval/tokens.h"
#include "io/json_util.h"
#include "model/decoder.h"
#include "route/balance.h"

/* Above this size of the tables of picks by token the mutual information of token and expert is
 * left out (null). */
enum { ROUTING_STATS_MAX_BYTES = 1 << 29 };

struct routing_stats;

/* dec and tok are borrowed until routing_stats_free; tok NULL: no token types. n_domains 0: no
 * domains. */
int routing_stats_new(struct routing_stats **out, struct decoder *dec, const struct tokenizer *tok,
                      int n_domains, struct err *err);
void routing_stats_free(struct routing_stats *s); /* NULL is fine */

/* The domain of the tokens seen from here on. */
void routing_stats_domain(struct routing_stats *s, int domain);

/* Counts the picks of dec's last forward: perplexity_options.seen, with s as its context. */
int routing_stats_seen(void *s, struct decoder *dec, const struct batch *batch, struct err *err);

int64_t routing_stats_n_layers(const struct routing_stats *s); /* MoE layers */
int64_t routing_stats_layer(const struct routing_stats *s,
                            int64_t i); /* the model's number of MoE layer i */

/* The measures of MoE layer i, to be completed by whoever knows training (matthew_…) and time
 * (routing_share). */
int routing_stats_result(struct balance_result *out, const struct routing_stats *s, int64_t i,
                         struct err *err);

/* Writes an object {"tokens", means, "layers": [{"layer", measures, "activation_frequency",
 * "load"}]} under key, or its members into the object that w is in where key is NULL; then
 * "token_types": {"names", "tokens", "layers"}. results [n_layers] as routing_stats_result gave
 * them, perhaps completed. */
void routing_stats_print(struct json_writer *w, const char *key, const struct routing_stats *s,
                         const struct balance_result *results);

#endif
