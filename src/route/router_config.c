/* The configuration of a router: its words, its starting values, and what goes together. */
#include "route/router_parts.h"

#include <math.h>
#include <string.h>

#include "route/rd_esi.h"

static const char *const score_word[] = {"auto", "sigmoid", "softmax"};
static const char *const pick_word[] = {"auto", "topk", "group_topk", "expert_choice", "random"};
static const char *const combine_word[] = {"auto", "gate", "selection"};
static const char *const group_score_word[] = {"auto", "sum2", "max"};
static const char *const native_bias_word[] = {"auto", "replace", "keep", "freeze"};
static const char *const aux_form_word[] = {"auto", "batch", "global", "hf"};
static const char *const sequence_f_word[] = {"auto", "unbiased", "routed"};
const struct route_words score_words = {"score", score_word, 3};
const struct route_words pick_words = {"pick", pick_word, 5};
const struct route_words combine_words = {"combine", combine_word, 3};
const struct route_words group_score_words = {"group_score", group_score_word, 3};
const struct route_words native_bias_words = {"native_bias", native_bias_word, 4};
const struct route_words aux_form_words = {"form", aux_form_word, 4};
const struct route_words sequence_f_words = {"sequence_f", sequence_f_word, 3};

void router_config_init(struct router_config *config)
{
    *config = (struct router_config){
        .n_group = -1,
        .topk_group = -1,
        .norm_topk_prob = -1,
        .routed_scaling_factor = NAN,
        .native_bias_rate = NAN,
        .capacity_factor = NAN,
        .aux = {.coef = NAN, .sequence_coef = NAN, .z_coef = NAN},
    };
    incentive_config_init(&config->incentive);
}

static void start(float *value, float at)
{
    if (isnan(*value))
        *value = at;
}

void router_config_resolve(struct router_config *c, int64_t planned_steps)
{
    c->n_group = c->n_group < 0 ? 1 : c->n_group;
    c->topk_group = c->topk_group < 0 ? 1 : c->topk_group;
    if (!c->pick)
        c->pick = c->n_group > 1 ? PICK_GROUP_TOPK : PICK_TOPK;
    if (!c->score)
        c->score = c->pick == PICK_EXPERT_CHOICE ? SCORE_SOFTMAX : SCORE_SIGMOID;
    bool sigmoid = c->score == SCORE_SIGMOID;
    if (!c->group_score)
        c->group_score = sigmoid ? GROUP_SCORE_SUM2 : GROUP_SCORE_MAX;
    if (!c->native_bias)
        c->native_bias = NATIVE_BIAS_REPLACE;
    c->norm_topk_prob = c->norm_topk_prob < 0 ? sigmoid : c->norm_topk_prob;
    start(&c->routed_scaling_factor, 1);
    start(&c->native_bias_rate, 1e-3f);
    start(&c->capacity_factor, 0);
    float step_scale = sigmoid || c->n_experts < 1 ? 1 : 2.0f / (float)c->n_experts;
    incentive_config_resolve(&c->incentive, step_scale, planned_steps);
    if (!c->combine)
        c->combine = incentive_config_is_raw(&c->incentive) ? COMBINE_SELECTION : COMBINE_GATE;
    c->aux.form = c->aux.form ? c->aux.form : AUX_BATCH;
    c->aux.sequence_f = c->aux.sequence_f ? c->aux.sequence_f : SEQUENCE_F_UNBIASED;
    start(&c->aux.coef, strcmp(c->incentive.name, "aux") == 0 ? 1e-3f : 0);
    start(&c->aux.sequence_coef, 0);
    start(&c->aux.z_coef, 0);
}

static int whole(const char *key, int64_t value, int64_t low, int64_t high, struct err *err)
{
    if (value >= low && value <= high)
        return 0;
    return err_set(err, MOE2_ECONFIG, "router: %s is %lld, wanted %lld to %lld", key,
                   (long long)value, (long long)low, (long long)high);
}

static int check_sizes(const struct router_config *c, struct err *err)
{
    int rc = whole("n_experts", c->n_experts, 1, ROUTE_EXPERTS_MAX, err);
    if (!rc)
        rc = whole("n_picks", c->n_picks, 1,
                   c->n_experts < ROUTE_PICKS_MAX ? c->n_experts : ROUTE_PICKS_MAX, err);
    if (rc || c->pick != PICK_GROUP_TOPK)
        return rc;
    rc = whole("n_group", c->n_group, 1,
               c->n_experts < ROUTE_GROUPS_MAX ? c->n_experts : ROUTE_GROUPS_MAX, err);
    if (!rc)
        rc = whole("topk_group", c->topk_group, 1, c->n_group, err);
    if (rc)
        return rc;
    if (c->n_experts % c->n_group)
        return err_set(err, MOE2_ECONFIG, "router: %d experts in %d groups, wanted equal groups",
                       c->n_experts, c->n_group);
    int open = c->topk_group * (c->n_experts / c->n_group);
    if (c->n_picks > open)
        return err_set(err, MOE2_ECONFIG,
                       "router: n_picks is %d, wanted at most %d, the experts of %d of %d groups",
                       c->n_picks, open, c->topk_group, c->n_group);
    return 0;
}

static int check_numbers(const struct router_config *c, struct err *err)
{
    const struct {
        const char *key;
        float value, low, high;
    } ranges[] = {
        {"routed_scaling_factor", c->routed_scaling_factor, 1e-6f, 1e6f},
        {"native_bias_rate", c->native_bias_rate, 0, 1},
        {"capacity_factor", c->capacity_factor, 0, 1e6f},
        {"aux coef", c->aux.coef, 0, 1e3f},
        {"aux sequence_coef", c->aux.sequence_coef, 0, 1e3f},
        {"aux z_coef", c->aux.z_coef, 0, 1e3f},
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges && !rc; i++)
        rc = incentive_range("router", ranges[i].key, ranges[i].value, ranges[i].low,
                             ranges[i].high, err);
    return rc;
}

static int check_expert_choice(const struct router_config *c, struct err *err)
{
    if (c->score != SCORE_SOFTMAX)
        return err_set(err, MOE2_ECONFIG, "expert_choice: score is %s, wanted softmax",
                       score_words.words[c->score]);
    if (c->combine != COMBINE_GATE)
        return err_set(err, MOE2_ECONFIG, "expert_choice: combine is %s, wanted gate",
                       combine_words.words[c->combine]);
    if (c->capacity_factor > 0)
        return err_set(err, MOE2_ECONFIG,
                       "expert_choice: capacity_factor is %g, wanted 0: its loads are fixed",
                       (double)c->capacity_factor);
    if (c->aux.coef > 0 || c->aux.sequence_coef > 0)
        return err_set(err, MOE2_ECONFIG,
                       "expert_choice: a balance loss has nothing to do, its loads are equal");
    return 0;
}

static int check_pairs(const struct router_config *c, struct err *err)
{
    bool none = strcmp(c->incentive.name, "none") == 0;
    bool quantile = strcmp(c->incentive.name, "quantile") == 0;
    if (c->pick == PICK_EXPERT_CHOICE && !none)
        return err_set(err, MOE2_ECONFIG,
                       "expert_choice: incentive is %s, wanted none: a bias per expert can't "
                       "change the order of an expert's tokens",
                       c->incentive.name);
    if (c->pick == PICK_RANDOM && !none)
        return err_set(err, MOE2_ECONFIG,
                       "random: incentive is %s, wanted none: random picks see no score",
                       c->incentive.name);
    if (c->pick == PICK_EXPERT_CHOICE)
        return check_expert_choice(c, err);
    if (incentive_config_is_raw(&c->incentive) && c->combine != COMBINE_SELECTION)
        return err_set(err, MOE2_ECONFIG,
                       "%s: normalise: false weighs by its selection scores, wanted combine: "
                       "selection",
                       c->incentive.name);
    if (quantile && c->n_picks >= c->n_experts)
        return err_set(err, MOE2_ECONFIG, "quantile: n_picks is %d, wanted less than %d experts",
                       c->n_picks, c->n_experts);
    if (quantile && c->pick == PICK_GROUP_TOPK && c->topk_group < c->n_group)
        return err_set(err, MOE2_ECONFIG,
                       "quantile: a token sees only %d of %d groups, so that no threshold is "
                       "common to all experts; wanted pick: topk",
                       c->topk_group, c->n_group);
    return 0;
}

int router_config_check(const struct router_config *c, struct err *err)
{
    int rc = check_sizes(c, err);
    if (!rc)
        rc = check_numbers(c, err);
    if (!rc)
        rc = incentive_config_check(&c->incentive, c->n_experts, err);
    return rc ? rc : check_pairs(c, err);
}

const char *router_config_warning(const struct router_config *config, int64_t n_micro_batches)
{
    const struct incentive_config *c = &config->incentive;
    bool rd_esi = strncmp(c->name, "rd_esi", 6) == 0 && !incentive_config_is_raw(c);
    if (rd_esi && c->load == LOAD_QUEUE && n_micro_batches < 2)
        return "router.load: queue counts the earlier micro-batches of a step, so that the load is "
               "always 0 with one a step";
    return NULL;
}
