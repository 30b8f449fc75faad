/* The life of an incentive: finding its row, owning its state, guarding what all kinds have in
 * common; and the starting values of its keys. See incentive.h. */
#include "route/incentive.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/words.h"
#include "route/rd_esi.h"

enum { N_ARRAYS_MAX = 10 };

struct incentive {
    const struct incentive_kind *kind;
    struct incentive_config config;
    int n_experts;
    float *state[N_ARRAYS_MAX]; /* into memory */
    float memory[];
};

/* A name in a configuration: which row it is, and where it starts. */
struct named {
    const char *name;
    const struct incentive_kind *kind;
    float gamma, integral;
};

static const struct named names[] = {
    {"none", &incentive_none, 0, 0},           {"aux", &incentive_aux, 0, 0},
    {"loss_free", &incentive_loss_free, 0, 0}, {"quantile", &incentive_quantile, 0, 0},
    {"rd_esi", &incentive_rd_esi, 0.5f, 0},    {"rd_esi_integral", &incentive_rd_esi, 0.2f, 0.01f},
};
enum { N_NAMES = sizeof names / sizeof *names };

static const char *const performance_word[] = {"auto", "loss", "norm", "accuracy"};
static const char *const load_word[] = {"auto", "ema", "queue", "capacity"};
static const char *const explore_word[] = {"auto", "ucb", "epsilon", "noise"};
static const char *const decay_word[] = {"auto", "time", "inactivity"};
const struct route_words performance_words = {"performance", performance_word, 4};
const struct route_words load_words = {"load", load_word, 4};
const struct route_words explore_words = {"exploration", explore_word, 4};
const struct route_words decay_words = {"decay", decay_word, 3};

int route_word_parse(int *out, const struct route_words *words, const char *word, struct err *err)
{
    for (int i = 0; i < words->n; i++)
        if (strcmp(words->words[i], word) == 0) {
            *out = i;
            return 0;
        }
    char known[256] = "";
    for (size_t i = 0, n = 0; i < (size_t)words->n && n < sizeof known; i++)
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", words->words[i]);
    return err_set(err, MOE2_ECONFIG, "%s is \"%.40s\", wanted one of: %s", words->key, word,
                   known);
}

void incentive_config_init(struct incentive_config *config)
{
    *config = (struct incentive_config){
        .name = "none",
        .update_rate = NAN,
        .recentre = -1,
        .quantile_rate = NAN,
        .normalise = -1,
        .alpha = NAN,
        .beta = NAN,
        .gamma = NAN,
        .C = NAN,
        .decay_rate = NAN,
        .load_ema_alpha = NAN,
        .integral = NAN,
        .load_capacity_factor = NAN,
        .epsilon = NAN,
        .noise_std = NAN,
        .exploration_until = NAN,
        .min_tokens = -1,
        .decay_after = -1,
    };
}

static const struct named *named_find(const char *name)
{
    for (size_t i = 0; i < N_NAMES; i++)
        if (strcmp(names[i].name, name) == 0)
            return &names[i];
    return NULL;
}

bool incentive_config_is_raw(const struct incentive_config *config)
{
    const struct named *named = named_find(config->name);
    return named && named->kind == &incentive_rd_esi && config->normalise == 0;
}

static void start(float *value, float at)
{
    if (isnan(*value))
        *value = at;
}

void incentive_config_resolve(struct incentive_config *c, float step_scale, int64_t planned_steps)
{
    const struct named *named = named_find(c->name);
    c->normalise = c->normalise < 0 ? 1 : c->normalise;
    c->recentre = c->recentre < 0 ? 0 : c->recentre;
    bool raw = incentive_config_is_raw(c);
    if (!c->performance)
        c->performance = raw ? PERFORMANCE_NORM : PERFORMANCE_LOSS;
    c->load = c->load ? c->load : LOAD_EMA;
    c->exploration = c->exploration ? c->exploration : EXPLORE_UCB;
    c->decay = c->decay ? c->decay : DECAY_TIME;
    start(&c->update_rate, 1e-3f * step_scale);
    start(&c->quantile_rate, 1);
    start(&c->alpha, 0.1f);
    start(&c->beta, 0.01f * step_scale);
    start(&c->gamma, (named ? named->gamma : 0) * step_scale);
    start(&c->C, 0.01f * step_scale);
    start(&c->decay_rate, 0.99f);
    start(&c->load_ema_alpha, 0.1f);
    start(&c->integral, (named && !raw ? named->integral : 0) * step_scale);
    start(&c->load_capacity_factor, 1.25f);
    start(&c->epsilon, 0.05f);
    start(&c->noise_std, 0.01f * step_scale);
    start(&c->exploration_until, (float)(planned_steps / 2));
    c->min_tokens = c->min_tokens < 0 ? 1 : c->min_tokens;
    c->decay_after = c->decay_after < 0 ? 100 : c->decay_after;
}

static int unknown_name(const char *name, struct err *err)
{
    char known[256] = "";
    const char *list[N_NAMES];
    for (size_t i = 0, n = 0; i < N_NAMES; i++) {
        list[i] = names[i].name;
        if (n < sizeof known)
            n +=
                (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", names[i].name);
    }
    const char *near = words_nearest(name, list, N_NAMES);
    return err_set(err, MOE2_ECONFIG, "incentive is \"%.40s\", wanted one of: %s%s%s%s", name,
                   known, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static int kind_find(const struct incentive_kind **out, const struct incentive_config *config,
                     int n_experts, struct err *err)
{
    const struct named *named = named_find(config->name);
    if (!named)
        return unknown_name(config->name, err);
    const struct incentive_kind *kind =
        incentive_config_is_raw(config) ? &incentive_rd_esi_raw : named->kind;
    int rc = kind->check ? kind->check(config, n_experts, err) : 0;
    if (rc)
        return rc;
    *out = kind;
    return 0;
}

int incentive_config_check(const struct incentive_config *config, int n_experts, struct err *err)
{
    const struct incentive_kind *kind;
    return kind_find(&kind, config, n_experts, err);
}

static size_t array_floats(const struct incentive_array *array, int n_experts)
{
    return array->per_expert ? (size_t)n_experts : 1;
}

int incentive_new(struct incentive **out, const struct incentive_config *config, int n_experts,
                  struct err *err)
{
    assert(n_experts >= 1);
    const struct incentive_kind *kind;
    int rc = kind_find(&kind, config, n_experts, err);
    if (rc)
        return rc;
    assert(kind->n_arrays <= N_ARRAYS_MAX);
    size_t n_floats = 0;
    for (int a = 0; a < kind->n_arrays; a++)
        n_floats += array_floats(&kind->arrays[a], n_experts);
    struct incentive *inc = calloc(1, sizeof *inc + sizeof(float) * n_floats);
    if (!inc)
        return err_set(err, MOE2_ELIMIT, "no memory for the state of %d experts", n_experts);
    inc->kind = kind;
    inc->config = *config;
    inc->n_experts = n_experts;
    n_floats = 0;
    for (int a = 0; a < kind->n_arrays; a++) {
        inc->state[a] = inc->memory + n_floats;
        n_floats += array_floats(&kind->arrays[a], n_experts);
    }
    if (kind->init)
        kind->init(inc->state, config, n_experts);
    *out = inc;
    return 0;
}

void incentive_free(struct incentive *inc)
{
    free(inc);
}

void incentive_bias(const struct incentive *inc, float *bias, const struct incentive_now *now)
{
    if (inc->kind->bias)
        inc->kind->bias(bias, inc->state, &inc->config, inc->n_experts, now);
    else
        memset(bias, 0, sizeof *bias * (size_t)inc->n_experts);
}

struct incentive_draw incentive_draw(const struct incentive *inc)
{
    struct incentive_draw draw = {0};
    if (inc->kind == &incentive_rd_esi)
        rd_esi_draw(&draw, inc->state, &inc->config);
    return draw;
}

enum performance_kind incentive_performance(const struct incentive *inc)
{
    bool learns = inc->kind == &incentive_rd_esi || inc->kind == &incentive_rd_esi_raw;
    return learns ? inc->config.performance : PERFORMANCE_AUTO;
}

bool incentive_has_bias(const struct incentive *inc)
{
    return inc->kind->bias != NULL;
}

bool incentive_wants_margins(const struct incentive *inc)
{
    return inc->kind == &incentive_quantile;
}

bool incentive_is_raw(const struct incentive *inc)
{
    return inc->kind == &incentive_rd_esi_raw;
}

void incentive_update(struct incentive *inc, const struct route_feedback *feedback)
{
    if (feedback->n_items > 0 && inc->kind->update)
        inc->kind->update(inc->state, &inc->config, inc->n_experts, feedback);
}

int incentive_state(struct incentive *inc, struct route_state_item items[ROUTE_STATE_MAX])
{
    for (int a = 0; a < inc->kind->n_arrays; a++) {
        const struct incentive_array *array = &inc->kind->arrays[a];
        items[a] = (struct route_state_item){array->name, inc->state[a],
                                             (int64_t)array_floats(array, inc->n_experts)};
    }
    return inc->kind->n_arrays;
}

const float *incentive_state_find(const struct incentive *inc, const char *name)
{
    for (int a = 0; a < inc->kind->n_arrays; a++)
        if (strcmp(strchr(inc->kind->arrays[a].name, '.') + 1, name) == 0)
            return inc->state[a];
    return NULL;
}

int incentive_range(const char *kind, const char *key, float value, float low, float high,
                    struct err *err)
{
    if (value >= low && value <= high)
        return 0;
    return err_set(err, MOE2_ECONFIG, "%s: %s is %g, wanted %g to %g", kind, key, (double)value,
                   (double)low, (double)high);
}
