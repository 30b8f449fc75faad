/* A source of no file: random weights, made when they are read. So that a model of any size can be
 * written in any form without lying anywhere as a whole.
 */
#include <stdlib.h>
#include <string.h>

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
