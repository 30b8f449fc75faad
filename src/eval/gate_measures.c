/* Routing and calibration figures of a gate: see gate_measures.h. */
#include "eval/gate_measures.h"

#include <math.h>
#include <string.h>

static const double z95 = 1.959963984540054;

struct counts {
    const float *scores;
    const int8_t *right;
    const bool *allowed;
    int64_t T, N;
};

static bool may(const struct counts *c, int64_t e)
{
    return !c->allowed || c->allowed[e];
}

static int called(const struct counts *c, int64_t t)
{
    int best = -1;
    for (int64_t e = 0; e < c->N; e++)
        if (may(c, e) && (best < 0 || c->scores[t * c->N + e] > c->scores[t * c->N + best]))
            best = (int)e;
    return best;
}

/* Accuracies of the experts, and who is best: in hindsight here, and by training. */
static void experts(struct gate_measures *m, const struct counts *c, const float *training,
                    int64_t *right)
{
    double all = 0;
    int64_t n = 0;
    m->single_expert = m->hindsight_expert = -1;
    for (int64_t e = 0; e < c->N; e++) {
        int64_t run = 0;
        right[e] = 0;
        for (int64_t t = 0; t < c->T; t++) {
            run += c->right[t * c->N + e] >= 0;
            right[e] += c->right[t * c->N + e] > 0;
        }
        m->accuracy[e] = run ? (double)right[e] / (double)run : NAN;
        if (!may(c, e))
            continue;
        n++;
        all += (double)right[e] / (double)c->T;
        m->cells += run;
        m->missing_cells += c->T - run;
        if (m->hindsight_expert < 0 || right[e] > right[m->hindsight_expert])
            m->hindsight_expert = (int)e;
        if (m->single_expert < 0 || training[e] > training[m->single_expert])
            m->single_expert = (int)e;
    }
    m->random = all / (double)n;
}

static void routing(struct gate_measures *m, const struct counts *c, const int64_t *right)
{
    int64_t top = 0, some = 0;
    double sum = 0, squares = 0, n = (double)c->T;
    for (int64_t t = 0; t < c->T; t++) {
        const int8_t *row = c->right + t * c->N;
        int who = called(c, t);
        bool any = false;
        for (int64_t e = 0; e < c->N; e++)
            any |= may(c, e) && row[e] > 0;
        double gain = (row[who] > 0) - (row[m->single_expert] > 0);
        top += row[who] > 0;
        some += any;
        m->called_missing += row[who] < 0;
        m->called[who] += 1 / n;
        sum += gain;
        squares += gain * gain;
    }
    m->top1 = stats_share95(top, c->T);
    m->oracle = stats_share95(some, c->T);
    m->single = stats_share95(right[m->single_expert], c->T);
    m->hindsight = stats_share95(right[m->hindsight_expert], c->T);
    double mean = sum / n, half = z95 * sqrt(fmax(0, squares / n - mean * mean) / n);
    m->gain = (struct stats_share){mean, mean - half, mean + half};
    double gap = m->oracle.value - m->single.value;
    m->gap_closed = gap > 0 ? mean / gap : NAN;
}

static void calibration(struct gate_measures *m, const struct counts *c, const float *training)
{
    int64_t run[GATE_MAX_EXPERTS] = {0};
    for (int64_t i = 0; i < c->T * c->N; i++) {
        int64_t e = i % c->N;
        if (!may(c, e) || c->right[i] < 0)
            continue;
        double p = c->scores[i], y = c->right[i], q = fmin(fmax(p, 1e-6), 1 - 1e-6);
        int b = (int)fmin(fmax(p * GATE_BINS, 0), GATE_BINS - 1);
        m->bins[b].n++;
        m->bins[b].score += p;
        m->bins[b].right += y;
        m->brier += (p - y) * (p - y);
        m->brier_expert[e] += (p - y) * (p - y);
        m->brier_constant += (training[e] - y) * (training[e] - y);
        m->log_loss -= log(y > 0 ? q : 1 - q);
        run[e]++;
    }
    double n = (double)m->cells;
    m->brier /= n, m->brier_constant /= n, m->log_loss /= n;
    for (int64_t e = 0; e < c->N; e++)
        m->brier_expert[e] = run[e] ? m->brier_expert[e] / (double)run[e] : NAN;
    for (int b = 0; b < GATE_BINS; b++) {
        struct gate_bin *bin = &m->bins[b];
        if (!bin->n)
            continue;
        m->ece += fabs(bin->score - bin->right) / n;
        bin->score /= (double)bin->n;
        bin->right /= (double)bin->n;
    }
}

int gate_measure(struct gate_measures *out, const float *scores, const int8_t *right, int64_t T,
                 int64_t N, const bool *allowed, const float *training_accuracy, bool probabilities,
                 struct err *err)
{
    struct counts c = {scores, right, allowed, T, N};
    struct gate_measures m = {.rows = T, .probabilities = probabilities};
    int64_t n_right[GATE_MAX_EXPERTS], n_allowed = 0;
    for (int64_t e = 0; e < N; e++)
        n_allowed += may(&c, e);
    if (T < 1 || !n_allowed)
        return err_set(err, MOE2_ECONFIG, "nothing to measure: %lld rows and %lld allowed experts",
                       (long long)T, (long long)n_allowed);
    experts(&m, &c, training_accuracy, n_right);
    routing(&m, &c, n_right);
    if (probabilities)
        calibration(&m, &c, training_accuracy);
    *out = m;
    return 0;
}
