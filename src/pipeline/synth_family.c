/* The table of families, and the two ways to options: see synth_family.h. */
#include "pipeline/synth_family.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DRAWS = 10000, MAX_MEMBERS = 16 };

const struct synth_family synth_families[SYNTH_N_FAMILIES] = {
    {"arithmetic", synth_arithmetic}, {"sequences", synth_sequences}, {"sorting", synth_sorting},
    {"dates", synth_dates},           {"units", synth_units},         {"bases", synth_bases},
    {"strings", synth_strings},       {"logic", synth_logic},
};

int64_t synth_between(struct rng *rng, int64_t first, int64_t last)
{
    return first + (int64_t)rng_below(rng, (uint64_t)(last - first) + 1);
}

void synth_shuffle(int *out, int n, struct rng *rng)
{
    for (int i = 0; i < n; i++)
        out[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int k = (int)rng_below(rng, (uint64_t)i + 1), swap = out[i];
        out[i] = out[k];
        out[k] = swap;
    }
}

void synth_put(char *text, size_t bytes, const char *fmt, ...)
{
    size_t n = strlen(text);
    va_list args;
    va_start(args, fmt);
    vsnprintf(text + n, bytes - n, fmt, args);
    va_end(args);
}

static bool all_differ(const struct synth_item *x)
{
    for (int i = 1; i < SYNTH_OPTIONS; i++)
        for (int k = 0; k < i; k++)
            if (strcmp(x->options[i], x->options[k]) == 0)
                return false;
    return true;
}

/* Four cases are thrown away together when two have the same answer: that favours none of them. */
void synth_of_kinds(struct synth_item *out, struct rng *rng, const struct synth_kind *kinds, int n)
{
    const struct synth_kind *kind = &kinds[rng_below(rng, (uint64_t)n)];
    struct synth_case cases[SYNTH_OPTIONS];
    int n_draws = 0;
    do {
        struct synth_case centre = {0};
        kind->centre(&centre, rng);
        for (int i = 0; i < SYNTH_OPTIONS; i++) {
            cases[i] = centre;
            kind->near(&cases[i], rng);
            out->options[i][0] = 0;
            kind->answer(out->options[i], &cases[i]);
        }
        n_draws++;
        assert(n_draws < MAX_DRAWS);
    } while (!all_differ(out));
    out->answer = (int)rng_below(rng, SYNTH_OPTIONS);
    out->question[0] = 0;
    kind->ask(out->question, &cases[out->answer]);
}

int synth_of_members(struct synth_item *out, struct rng *rng, const char *const *members, int n)
{
    int order[MAX_MEMBERS];
    assert(n >= SYNTH_OPTIONS && n <= MAX_MEMBERS);
    synth_shuffle(order, n, rng);
    for (int i = 0; i < SYNTH_OPTIONS; i++)
        snprintf(out->options[i], SYNTH_OPTION_BYTES, "%s", members[order[i]]);
    out->answer = (int)rng_below(rng, SYNTH_OPTIONS);
    return order[out->answer];
}
