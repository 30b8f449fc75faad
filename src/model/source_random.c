/* A source of no file: random weights, made when they are read. So that a model of any size can be
 * written in any form without lying anywhere as a whole.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/source_parts.h"

void source_random_free(struct source_random *r)
{
    if (!r)
        return;
    param_list_release(&r->list);
    free(r);
}

void source_read_random(float *out, const struct source_tensor *t, int64_t first, int64_t n)
{
    const struct source_random *r = t->random;
    param_random(out, &r->list.params[t->param_idx], first, n, &r->config, r->seed);
}

/* The absmax of blocks whose numbers have deviation 1. */
static double unit_absmax(void)
{
    double squares = 0;
    for (int i = 0; i < NF4_LEVELS; i++)
        squares += (double)nf4_levels[i] * nf4_levels[i] / NF4_LEVELS;
    return 1 / sqrt(squares);
}

void source_draw_nf4(uint8_t *codes, float *absmax, const struct source_tensor *t)
{
    enum { PIECE = 1 << 18 }; /* bytes of one stream */
    const struct source_random *r = t->random;
    int64_t n_bytes = (t->n_elements + 1) / 2, n_pieces = (n_bytes + PIECE - 1) / PIECE;
    uint64_t name = 0;
    for (const char *c = t->name; *c; c++)
        name = rng_at(name, (uint8_t)*c, 0, 0);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n_pieces; i++) {
        int64_t first = i * PIECE, n = n_bytes - first < PIECE ? n_bytes - first : PIECE;
        struct rng rng;
        rng_init(&rng, rng_at(r->seed, name, (uint64_t)i, 0));
        for (int64_t j = 0; j < n; j += 8) {
            uint64_t bits = rng_next(&rng);
            memcpy(codes + first + j, &bits, (size_t)(n - j < 8 ? n - j : 8));
        }
    }
    float most = (float)(r->config.initializer_range * unit_absmax());
    for (int64_t i = 0; i < (t->n_elements + NF4_BLOCK_SIZE - 1) / NF4_BLOCK_SIZE; i++)
        absmax[i] = most;
}

static int add(struct source *s, int64_t i, struct err *err)
{
    const struct param *p = &s->random->list.params[i];
    struct source_tensor *t = NULL;
    int rc = source_add(&t, s, p->name, err);
    if (rc)
        return rc;
    t->kind = STORED_RANDOM;
    t->stored = "F32";
    t->random = s->random;
    t->param_idx = i;
    rc = source_set_shape(t, p->shape, p->n_dims, err);
    t->n_bytes = t->n_elements * (int64_t)sizeof(float);
    return rc;
}

int source_open_random(struct source **out, const struct model_config *config, uint64_t seed,
                       struct err *err)
{
    struct source *s = calloc(1, sizeof *s);
    struct source_random *r = calloc(1, sizeof *r);
    if (!s || !r || !(s->path = strdup("random weights"))) {
        free(s);
        free(r);
        return err_set(err, MOE2_ELIMIT, "no memory for random weights");
    }
    s->format = "random";
    s->random = r;
    r->config = *config;
    r->seed = seed;
    int rc = param_list_make(&r->list, config, err);
    for (int64_t i = 0; i < r->list.n && !rc; i++)
        rc = add(s, i, err);
    if (rc) {
        source_close(s);
        return rc;
    }
    *out = s;
    return 0;
}
