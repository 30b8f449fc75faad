/* The measures of balance.h: counting picks, and what the counts say. */
#include "route/balance.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/stats.h"
#include "route/router.h"

struct balance {
    int E, K;
    int64_t n_types, n_domains;
    int64_t *items; /* [E] */
    int64_t n_items, n_dropped, n_batches;
    double max_vio_sum;
    uint32_t *by_type, *by_domain; /* [n_types, E], [n_domains, E] */
};

#define FIELD(name)                                                                                \
    {                                                                                              \
#name, offsetof(struct balance_result, name)                                               \
    }
const struct balance_field balance_fields[] = {
    FIELD(max_vio_batch),    FIELD(max_vio_global), FIELD(load_variance),
    FIELD(load_cv),          FIELD(load_entropy),   FIELD(load_gini),
    FIELD(dead_experts),     FIELD(drop_rate),      FIELD(token_expert_mi),
    FIELD(domain_expert_mi), FIELD(matthew_load),   FIELD(matthew_reputation),
    FIELD(top_tenth_share),  FIELD(routing_share),
};
_Static_assert(sizeof balance_fields / sizeof *balance_fields == BALANCE_N_FIELDS, "one row each");

int balance_new(struct balance **out, int E, int K, int64_t n_types, int64_t n_domains,
                struct err *err)
{
    struct balance *b = calloc(1, sizeof *b);
    if (b) {
        *b = (struct balance){.E = E, .K = K, .n_types = n_types, .n_domains = n_domains};
        b->items = calloc((size_t)E, sizeof *b->items);
        b->by_type = calloc((size_t)(n_types * E + 1), sizeof *b->by_type);
        b->by_domain = calloc((size_t)(n_domains * E + 1), sizeof *b->by_domain);
    }
    if (!b || !b->items || !b->by_type || !b->by_domain) {
        balance_free(b);
        return err_set(err, MOE2_ELIMIT,
                       "no memory to count picks of %lld token types by %d experts",
                       (long long)n_types, E);
    }
    *out = b;
    return 0;
}

void balance_free(struct balance *b)
{
    if (!b)
        return;
    free(b->items);
    free(b->by_type);
    free(b->by_domain);
    free(b);
}

static double max_vio(const int64_t *picks, int64_t n_items, int E, int K)
{
    int64_t most = 0;
    for (int i = 0; i < E; i++)
        most = picks[i] > most ? picks[i] : most;
    return (double)most * E / ((double)K * (double)n_items) - 1;
}

void balance_add_counts(struct balance *b, const int64_t *picks, int64_t n_items, int64_t n_dropped)
{
    if (n_items <= 0)
        return;
    for (int i = 0; i < b->E; i++)
        b->items[i] += picks[i];
    b->max_vio_sum += max_vio(picks, n_items, b->E, b->K);
    b->n_items += n_items;
    b->n_dropped += n_dropped;
    b->n_batches++;
}

/* One pick of a token: as it was made, whether or not capacity dropped it. */
static void count_kind(uint32_t *table, const int32_t *kind, int64_t n_kinds, int64_t t, int i,
                       int E)
{
    if (kind && kind[t] >= 0 && kind[t] < n_kinds)
        table[kind[t] * (int64_t)E + i]++;
}

void balance_add(struct balance *b, const struct route *route, const int32_t *token_type,
                 const int32_t *domain)
{
    int E = b->E;
    balance_add_counts(b, route->picks, route->n_valid, route->n_dropped);
    if (!token_type && !domain)
        return;
    for (int64_t k = 0; route->idx && k < route->T * route->K; k++)
        if (route->idx[k] >= 0) {
            count_kind(b->by_type, token_type, b->n_types, k / route->K, route->idx[k], E);
            count_kind(b->by_domain, domain, b->n_domains, k / route->K, route->idx[k], E);
        }
    for (int64_t p = 0; !route->idx && p < route->n; p++) {
        count_kind(b->by_type, token_type, b->n_types, route->token[p], route->expert[p], E);
        count_kind(b->by_domain, domain, b->n_domains, route->token[p], route->expert[p], E);
    }
}

double mutual_information(const uint32_t *counts, int64_t rows, int64_t columns)
{
    double total = 0, sum = 0;
    double *column = calloc((size_t)(columns > 0 ? columns : 1), sizeof *column);
    if (!column)
        return NAN;
    for (int64_t i = 0; i < rows * columns; i++) {
        column[i % columns] += counts[i];
        total += counts[i];
    }
    /* Σ c/N·ln(c·N / (row·column)) = ln N + (Σ c·ln c − Σ row·ln row − Σ column·ln column) / N */
    for (int64_t r = 0; r < rows; r++) {
        double row = 0;
        for (int64_t c = 0; c < columns; c++) {
            double n = counts[r * columns + c];
            row += n;
            sum += n > 0 ? n * log(n) : 0;
        }
        sum -= row > 0 ? row * log(row) : 0;
    }
    for (int64_t c = 0; c < columns; c++)
        sum -= column[c] > 0 ? column[c] * log(column[c]) : 0;
    free(column);
    return total > 0 ? fmax(0, log(total) + sum / total) : NAN;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* Sorts load. */
static double top_tenth(double *load, int E)
{
    double top = 0, all = 0;
    qsort(load, (size_t)E, sizeof *load, by_size);
    for (int i = 0; i < E; i++) {
        all += load[i];
        top += i < (E + 9) / 10 ? load[i] : 0;
    }
    return all > 0 ? top / all : NAN;
}

int balance_result(struct balance_result *result, const struct balance *b, struct err *err)
{
    double *load = malloc(sizeof *load * (size_t)b->E), picks = 0;
    if (!load)
        return err_set(err, MOE2_ELIMIT, "no memory for the loads of %d experts", b->E);
    struct balance_result out = {0};
    for (int i = 0; i < BALANCE_N_FIELDS; i++)
        *(double *)((char *)&out + balance_fields[i].offset) = NAN;
    if (b->n_items) {
        balance_loads(load, b);
        out.dead_experts = 0;
        for (int i = 0; i < b->E; i++) {
            out.dead_experts += b->items[i] == 0;
            picks += (double)b->items[i];
        }
        out.max_vio_batch = b->max_vio_sum / (double)b->n_batches;
        out.max_vio_global = max_vio(b->items, b->n_items, b->E, b->K);
        out.load_variance = stats_variance(load, b->E);
        out.load_cv = stats_cv(load, b->E);
        out.load_entropy = stats_entropy(load, b->E);
        out.load_gini = stats_gini(load, b->E);
        out.top_tenth_share = top_tenth(load, b->E);
        out.drop_rate = picks > 0 ? (double)b->n_dropped / picks : 0;
        out.token_expert_mi = mutual_information(b->by_type, b->n_types, b->E);
        out.domain_expert_mi = mutual_information(b->by_domain, b->n_domains, b->E);
    }
    free(load);
    *result = out;
    return 0;
}

void balance_activation(double *frequency, const struct balance *b)
{
    for (int i = 0; i < b->E; i++)
        frequency[i] = b->n_items ? (double)b->items[i] / (double)b->n_items : NAN;
}

void balance_loads(double *load, const struct balance *b)
{
    double fair = (double)b->K * (double)b->n_items / b->E;
    for (int i = 0; i < b->E; i++)
        load[i] = b->n_items ? (double)b->items[i] / fair : NAN;
}

const uint32_t *balance_by_type(const struct balance *b)
{
    return b->n_types ? b->by_type : NULL;
}

const uint32_t *balance_by_domain(const struct balance *b)
{
    return b->n_domains ? b->by_domain : NULL;
}

void balance_mean(struct balance_result *mean, const struct balance_result *results, int n)
{
    for (int f = 0; f < BALANCE_N_FIELDS; f++) {
        double sum = 0;
        int known = 0;
        for (int i = 0; i < n; i++) {
            double value = balance_get(&results[i], f);
            if (isnan(value))
                continue;
            sum += value;
            known++;
        }
        *(double *)((char *)mean + balance_fields[f].offset) = known ? sum / known : NAN;
    }
}

/* ---- overlap ---- */

void route_token_experts(int32_t *experts, const struct route *route)
{
    for (int64_t j = 0; j < route->n; j++)
        experts[j] = route->expert[route->position[j]];
}

static int64_t common(const int32_t *a, int64_t n_a, const int32_t *b, int64_t n_b)
{
    int64_t i = 0, j = 0, n = 0;
    while (i < n_a && j < n_b) {
        n += a[i] == b[j];
        int32_t x = a[i], y = b[j];
        i += x <= y;
        j += y <= x;
    }
    return n;
}

double picks_overlap(const int64_t *offsets_a, const int32_t *experts_a, const int64_t *offsets_b,
                     const int32_t *experts_b, int64_t T)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t t = 0; t < T; t++) {
        int64_t n_a = offsets_a[t + 1] - offsets_a[t], n_b = offsets_b[t + 1] - offsets_b[t];
        int64_t most = n_a > n_b ? n_a : n_b;
        if (!most)
            continue;
        sum += (double)common(experts_a + offsets_a[t], n_a, experts_b + offsets_b[t], n_b) /
               (double)most;
        n++;
    }
    return n ? sum / (double)n : NAN;
}
