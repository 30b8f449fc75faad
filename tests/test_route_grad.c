/* Gradients of the router against central differences of a forward in double precision. Picks are
 * constants of both. The limit is that of float32 sums of a few dozen terms. */
#include "test_route_common.h"

enum { E = 12, K = 3, T = 21 };
static const double limit = 2e-5;

/* Scores of one row in double. */
static void scores64(double *s, const double *x, enum score_kind kind)
{
    double sum = 0;
    for (int i = 0; i < E; i++)
        sum += s[i] = kind == SCORE_SIGMOID ? 1 / (1 + exp(-x[i])) : exp(x[i]);
    for (int i = 0; i < E && kind == SCORE_SOFTMAX; i++)
        s[i] /= sum;
}

/* Σ over the picks of token t of v·w, dropped ones left out of the sum but not of the norm. */
static double weighted64(const double *x, const struct bench *b, const float *v, int64_t t)
{
    double s[E], sum = 0, out = 0;
    scores64(s, x, b->config.score);
    if (b->route.idx && b->route.idx[t * K] < 0)
        return 0;
    if (b->config.pick == PICK_EXPERT_CHOICE) {
        for (int64_t j = b->route.token_offsets[t]; j < b->route.token_offsets[t + 1]; j++) {
            int32_t p = b->route.position[j];
            out += v[p] * s[b->route.expert[p]] * b->config.routed_scaling_factor;
        }
        return out;
    }
    bool selection = b->config.combine == COMBINE_SELECTION;
    for (int k = 0; k < K; k++) {
        int i = b->route.idx[t * K + k];
        sum += selection ? exp(s[i] + b->route.bias[i]) : s[i];
    }
    for (int k = 0; k < K; k++) {
        int i = b->route.idx[t * K + k], p = b->route.pick_position[t * K + k];
        double w = selection ? exp(s[i] + b->route.bias[i]) / sum
                             : s[i] / (b->config.norm_topk_prob ? sum + 1e-20 : 1);
        out += p < 0 ? 0 : v[p] * w * b->config.routed_scaling_factor;
    }
    return out;
}

static void check_weights(struct router_config config, const uint8_t *valid)
{
    struct bench b;
    float v[T * E], dlogits[T * E];
    config.native_bias = NATIVE_BIAS_FREEZE;
    config.routed_scaling_factor = 1.7f;
    bench_open(&b, &config, T);
    float bias[E];
    for (int i = 0; i < E; i++)
        bias[i] = 0.1f * (float)(i % 4);
    router_set_native_bias(b.router, bias, NULL);
    bench_pick(&b, (struct route_batch){.mode = ROUTE_TRAIN, .valid = valid});
    for (int k = 0; k < T * E; k++) {
        v[k] = (float)sin(3.0 * k + 1);
        dlogits[k] = 0.5f; /* it must add */
    }
    router_backward(b.router, dlogits, v, &b.route, 1);
    for (int64_t t = 0; t < T; t++)
        for (int i = 0; i < E; i++) {
            double x[E], h = 1e-5, up, down;
            for (int j = 0; j < E; j++)
                x[j] = b.logits[t * E + j];
            x[i] += h;
            up = weighted64(x, &b, v, t);
            x[i] -= 2 * h;
            down = weighted64(x, &b, v, t);
            assert_near(dlogits[t * E + i] - 0.5, (up - down) / (2 * h), limit);
            assert_true(!valid || valid[t] || dlogits[t * E + i] == 0.5f);
        }
    bench_close(&b);
}

static void the_way_back_through_the_weights_is_the_derivative(void **state)
{
    (void)state;
    for (int kind = 0; kind < 6; kind++) {
        struct router_config config = config_of(E, K, "none");
        config.score = kind % 2 ? SCORE_SOFTMAX : SCORE_SIGMOID;
        config.norm_topk_prob = kind / 2 == 1;
        config.combine = kind / 2 == 2 ? COMBINE_SELECTION : COMBINE_GATE;
        check_weights(config, NULL);
    }
}

static void a_dropped_pick_gives_no_gradient_of_its_own(void **state)
{
    (void)state;
    struct router_config config = config_of(E, K, "none");
    config.capacity_factor = 0.7f;
    check_weights(config, NULL);
}

static void padding_gets_no_gradient(void **state)
{
    (void)state;
    struct router_config config = config_of(E, K, "none");
    uint8_t valid[T];
    for (int t = 0; t < T; t++)
        valid[t] = t % 3 != 1;
    check_weights(config, valid);
    config.pick = PICK_EXPERT_CHOICE;
    check_weights(config, valid);
}

static void expert_choice_goes_back_through_every_pick(void **state)
{
    (void)state;
    struct router_config config = config_of(E, K, "none");
    config.pick = PICK_EXPERT_CHOICE;
    check_weights(config, NULL);
}

static void experts_that_nobody_chose_and_tokens_that_nobody_took_stay_finite(void **state)
{
    (void)state;
    struct router_config config = config_of(E, 1, "rd_esi");
    struct bench b;
    float v[T], dlogits[T * E] = {0};
    bench_open(&b, &config, T);
    for (int k = 0; k < T * E; k++)
        b.logits[k] = k % E == 4 ? 80 : -80; /* s is 1 or 1e-35 */
    bench_mode(&b, ROUTE_TRAIN);
    assert_int_equal(b.route.picks[4], T);
    for (int t = 0; t < T; t++)
        v[t] = 1e6f;
    router_backward(b.router, dlogits, v, &b.route, 1);
    router_step(b.router, NULL);
    float bias[E];
    router_bias(b.router, bias);
    for (int k = 0; k < T * E; k++)
        assert_true(isfinite(dlogits[k]));
    for (int i = 0; i < E; i++)
        assert_true(isfinite(bias[i]));
    bench_close(&b);
}

/* ---- losses on the router ---- */

static int unbiased_pick(const double *s, int i)
{
    int before = 0;
    for (int j = 0; j < E; j++)
        before += s[j] > s[i] || (s[j] == s[i] && j < i);
    return before < K;
}

/* f [E] that a sequence (or the whole forward) is multiplied with. */
static void shares(double *f, const struct bench *b, const double *s, int64_t first, int64_t end,
                   const uint8_t *valid, bool unbiased)
{
    double n = 0;
    memset(f, 0, sizeof *f * E);
    for (int64_t t = first; t < end; t++) {
        if (valid && !valid[t])
            continue;
        n++;
        for (int i = 0; i < E && unbiased; i++)
            f[i] += unbiased_pick(s + t * E, i);
        for (int k = 0; k < K && !unbiased; k++)
            f[b->route.idx[t * K + k]]++;
    }
    for (int i = 0; i < E; i++)
        f[i] /= n > 0 ? K * n : 1;
}

/* The losses by their definitions, for logits x [T, E]; f from the scores at the start s0. */
static void losses64(double out[3], const double *x, const double *s0, const struct bench *b,
                     const uint8_t *valid, const int64_t *seqs, int n_seqs)
{
    double s[T * E], f[E], P[E] = {0}, n = 0;
    const struct aux_config *c = &b->config.aux;
    memset(out, 0, 3 * sizeof *out);
    for (int t = 0; t < T; t++) {
        scores64(s + t * E, x + t * E, b->config.score);
        n += !valid || valid[t];
    }
    for (int q = -1; q < n_seqs; q++) {
        int64_t first = q < 0 ? 0 : seqs[q], end = q < 0 ? T : seqs[q + 1];
        double here = 0;
        shares(f, b, s0, first, end, valid, q >= 0 && c->sequence_f == SEQUENCE_F_UNBIASED);
        memset(P, 0, sizeof P);
        for (int64_t t = first; t < end; t++) {
            double S = 0, e = 0;
            if (valid && !valid[t])
                continue;
            here++;
            for (int i = 0; i < E; i++) {
                S += s[t * E + i];
                e += exp(x[t * E + i]);
            }
            for (int i = 0; i < E; i++)
                P[i] += s[t * E + i] / S;
            if (q < 0)
                out[2] += c->z_coef * log(e) * log(e) / n;
        }
        for (int i = 0; i < E && here > 0; i++) {
            if (q < 0)
                out[0] += c->coef * E * f[i] * P[i] / here;
            else
                out[1] += c->sequence_coef * E * f[i] * (P[i] / here) * here / n;
        }
    }
}

static void check_aux(struct router_config config, const uint8_t *valid)
{
    struct bench b;
    const int64_t seqs[] = {0, 9, 9, 10, T};
    float dlogits[T * E];
    double x[T * E], s0[T * E], value[3], up[3], down[3];
    config.native_bias = NATIVE_BIAS_FREEZE;
    bench_open(&b, &config, T);
    float bias[E];
    for (int i = 0; i < E; i++)
        bias[i] = 0.2f * (float)(i % 4);
    router_set_native_bias(b.router, bias, NULL);
    struct route_batch batch = {
        .mode = ROUTE_TRAIN, .valid = valid, .seq_offsets = seqs, .n_seqs = 4};
    bench_pick(&b, batch);
    for (int k = 0; k < T * E; k++) {
        x[k] = b.logits[k];
        dlogits[k] = 0.5f;
    }
    for (int t = 0; t < T; t++)
        scores64(s0 + t * E, x + t * E, config.score);
    struct aux_losses losses;
    router_aux(b.router, dlogits, &losses, &b.route, b.logits, &batch, NULL, 3);
    losses64(value, x, s0, &b, valid, seqs, 4);
    assert_near(losses.balance, value[0], 1e-6);
    assert_near(losses.sequence, value[1], 1e-6);
    assert_near(losses.z, value[2], 1e-5);
    for (int k = 0; k < T * E; k++) {
        double h = 1e-5, kept = x[k];
        x[k] = kept + h;
        losses64(up, x, s0, &b, valid, seqs, 4);
        x[k] = kept - h;
        losses64(down, x, s0, &b, valid, seqs, 4);
        x[k] = kept;
        double wanted = (up[0] + up[1] + up[2] - down[0] - down[1] - down[2]) / (2 * h);
        assert_near(dlogits[k] - 0.5, 3 * wanted, limit);
    }
    bench_close(&b);
}

static struct router_config losing(enum score_kind score, float coef, float sequence, float z)
{
    struct router_config config = config_of(E, K, "aux");
    config.score = score;
    config.aux.coef = coef;
    config.aux.sequence_coef = sequence;
    config.aux.z_coef = z;
    return config;
}

static void losses_and_their_gradients_are_their_definitions(void **state)
{
    (void)state;
    uint8_t valid[T];
    for (int t = 0; t < T; t++)
        valid[t] = t % 4 != 2;
    for (int k = 0; k < 4; k++) {
        enum score_kind score = k % 2 ? SCORE_SOFTMAX : SCORE_SIGMOID;
        const uint8_t *mask = k / 2 ? valid : NULL;
        check_aux(losing(score, 1, 0, 0), mask);
        check_aux(losing(score, 0, 1, 0), mask);
        check_aux(losing(score, 0, 0, 0.3f), mask);
        struct router_config all = losing(score, 0.5f, 0.7f, 0.1f);
        all.aux.sequence_f = SEQUENCE_F_ROUTED;
        check_aux(all, mask);
    }
}

static void a_balanced_layer_has_the_smallest_loss_a(void **state)
{
    (void)state;
    struct router_config config = losing(SCORE_SOFTMAX, 0.01f, 0, 0);
    struct bench b;
    struct aux_losses losses;
    bench_open(&b, &config, E); /* token t is for experts t, t+1, t+2 */
    for (int t = 0; t < E; t++)
        for (int i = 0; i < E; i++)
            b.logits[t * E + i] = (i - t + E) % E < K ? 3 : 0;
    bench_mode(&b, ROUTE_TRAIN);
    router_aux(b.router, NULL, &losses, &b.route, b.logits, &(struct route_batch){0}, NULL, 1);
    assert_near(losses.balance, 0.01, 1e-8);
    bench_close(&b);
}

static void the_global_form_counts_the_step_so_far(void **state)
{
    (void)state;
    struct router_config config = losing(SCORE_SIGMOID, 0.01f, 0, 0);
    struct bench b;
    struct aux_losses losses;
    struct route_batch batch = {.mode = ROUTE_TRAIN};
    int64_t items[E] = {0};
    config.aux.form = AUX_GLOBAL;
    bench_open(&b, &config, T);
    for (int part = 1; part <= 3; part++) {
        fill_logits(b.logits, T, E, (uint64_t)part, 5);
        bench_pick(&b, batch);
        double wanted = 0, P[E] = {0};
        for (int64_t t = 0; t < T; t++) {
            double S = 0;
            for (int i = 0; i < E; i++)
                S += b.route.scores[t * E + i];
            for (int i = 0; i < E; i++)
                P[i] += b.route.scores[t * E + i] / S / T;
        }
        for (int i = 0; i < E; i++) {
            items[i] += b.route.picks[i];
            wanted += 0.01 * E * P[i] * (double)items[i] / (K * T * part);
        }
        router_aux(b.router, NULL, &losses, &b.route, b.logits, &batch, NULL, 1);
        assert_near(losses.balance, wanted, 1e-8);
    }
    bench_close(&b);
}

/* Two layers whose imbalances cancel: transformers' pooled loss does not see them. */
static void the_hf_form_pools_all_layers_and_so_misses_what_cancels(void **state)
{
    (void)state;
    enum { TOKENS = 8 };
    struct router_config config = losing(SCORE_SOFTMAX, 1, 0, 0);
    struct bench layer[2];
    double picks[E] = {0}, p[E] = {0}, sum = 0;
    struct aux_pool pool = {.E = E, .picks = picks, .p = p};
    struct route_batch batch = {.mode = ROUTE_TRAIN};
    struct aux_losses losses;
    config.aux.form = AUX_HF;
    config.n_picks = E / 2;
    for (int l = 0; l < 2; l++) {
        bench_open(&layer[l], &config, TOKENS);
        for (int k = 0; k < TOKENS * E; k++)
            layer[l].logits[k] = (k % E < E / 2) == (l == 0) ? 4 : 0;
        bench_pick(&layer[l], batch);
        router_aux_pool(&pool, layer[l].router, &layer[l].route, &batch);
    }
    for (int l = 0; l < 2; l++) {
        router_aux(layer[l].router, NULL, &losses, &layer[l].route, layer[l].logits, &batch, &pool,
                   1);
        sum += losses.balance;
    }
    assert_int_equal(pool.n_tokens, 2 * TOKENS);
    assert_near(aux_pool_loss(&pool, 1), E / 2, 1e-5); /* its minimum: K, not 1 */
    assert_near(sum, aux_pool_loss(&pool, 1), 1e-5);
    for (int l = 0; l < 2; l++)
        bench_close(&layer[l]);
}

static void the_hf_forms_gradient_is_that_of_the_pool(void **state)
{
    (void)state;
    struct router_config config = losing(SCORE_SOFTMAX, 0.5f, 0, 0);
    struct bench layer[2];
    double picks[E] = {0}, p[E] = {0};
    struct aux_pool pool = {.E = E, .picks = picks, .p = p};
    struct route_batch batch = {.mode = ROUTE_TRAIN};
    struct aux_losses losses;
    float dlogits[T * E] = {0};
    config.aux.form = AUX_HF;
    for (int l = 0; l < 2; l++) {
        bench_open(&layer[l], &config, T);
        fill_logits(layer[l].logits, T, E, (uint64_t)l, 3);
        bench_pick(&layer[l], batch);
        router_aux_pool(&pool, layer[l].router, &layer[l].route, &batch);
    }
    router_aux(layer[1].router, dlogits, &losses, &layer[1].route, layer[1].logits, &batch, &pool,
               1);
    for (int k = 0; k < T * E; k++) {
        double s[E], x[E], value[2], h = 1e-5;
        int64_t t = k / E;
        for (int side = 0; side < 2; side++) {
            for (int i = 0; i < E; i++)
                x[i] = layer[1].logits[t * E + i] + (i == k % E ? (side ? -h : h) : 0);
            scores64(s, x, SCORE_SOFTMAX);
            value[side] = 0;
            for (int i = 0; i < E; i++)
                value[side] += 0.5 * E * picks[i] / (2 * T) * s[i] / (2 * T);
        }
        assert_near(dlogits[k], (value[0] - value[1]) / (2 * h), limit);
    }
    for (int l = 0; l < 2; l++)
        bench_close(&layer[l]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_way_back_through_the_weights_is_the_derivative),
        cmocka_unit_test(a_dropped_pick_gives_no_gradient_of_its_own),
        cmocka_unit_test(padding_gets_no_gradient),
        cmocka_unit_test(expert_choice_goes_back_through_every_pick),
        cmocka_unit_test(experts_that_nobody_chose_and_tokens_that_nobody_took_stay_finite),
        cmocka_unit_test(losses_and_their_gradients_are_their_definitions),
        cmocka_unit_test(a_balanced_layer_has_the_smallest_loss_a),
        cmocka_unit_test(the_global_form_counts_the_step_so_far),
        cmocka_unit_test(the_hf_form_pools_all_layers_and_so_misses_what_cancels),
        cmocka_unit_test(the_hf_forms_gradient_is_that_of_the_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
