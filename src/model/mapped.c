/* Weights used where a checkpoint has them: see mapped.h. Params that follow each other make a
 * group; a group lies in the file as one matrix, or it is copied. The copies are planned twice,
 * first over nothing to count the bytes.
 */
#include "model/mapped.h"

#include "model/source.h"

static bool is_product(const struct param *p)
{
    return p->kind == PARAM_MATRIX || p->kind == PARAM_HEAD || p->kind == PARAM_EMBED;
}

/* The one type of all products' weights that the decoder can read as it is, or −1. */
static int common_type(const struct param_list *list, const struct source *s, enum dtype compute)
{
    int type = -1;
    for (int64_t i = 0; i < list->n; i++) {
        if (!is_product(&list->params[i]))
            continue;
        const struct source_tensor *t = source_find(s, list->params[i].name);
        if (t->kind != STORED_PLAIN || (type >= 0 && (int)t->dtype != type))
            return -1;
        type = (int)t->dtype;
    }
    return type == DT_BF16 || (type == DT_F32 && compute == DT_F32) ? type : -1;
}

/* The end of the group that begins at i. */
static int64_t group_end(const struct param_list *list, int64_t i)
{
    int64_t end = i + 1;
    while (end < list->n && list->params[end].follows)
        end++;
    return end;
}

/* Whether params first … end−1 lie in the file without a gap, on an address fit for their type. */
static bool lies_together(const struct param_list *list, const struct source *s, int64_t first,
                          int64_t end, enum dtype type)
{
    const struct source_tensor *t = source_find(s, list->params[first].name);
    if ((uintptr_t)t->bytes % dtype_bytes(type) || t->head_rows)
        return false;
    for (int64_t i = first + 1; i < end; i++) {
        const struct source_tensor *next = source_find(s, list->params[i].name);
        if (next->head_rows || next->bytes != t->bytes + t->n_bytes)
            return false;
        t = next;
    }
    return true;
}

static void bind(struct param *p, const void *at, enum dtype type)
{
    if (type == DT_BF16)
        p->half = (uint16_t *)(uintptr_t)at;
    else
        p->data = (float *)(uintptr_t)at;
}

static int copy_one(struct param *p, char *to, enum dtype type, const struct source *s,
                    struct err *err)
{
    const struct source_tensor *t = source_find(s, p->name);
    bind(p, to, type);
    if (type == DT_BF16) {
        source_copy(to, t);
        return 0;
    }
    return source_read(p->data, t, 0, t->n_elements, err);
}

/* Binds all params; base NULL only counts the bytes of copies. */
static int bind_all(struct param_list *list, const struct source *s, enum dtype type, char *base,
                    size_t *n_bytes, struct err *err)
{
    int rc = 0;
    *n_bytes = 0;
    for (int64_t i = 0; i < list->n && !rc;) {
        int64_t end = group_end(list, i);
        enum dtype t = is_product(&list->params[i]) ? type : DT_F32;
        bool maps = is_product(&list->params[i]) && lies_together(list, s, i, end, type);
        for (; i < end && !rc; i++) {
            struct param *p = &list->params[i];
            if (maps) {
                bind(p, source_find(s, p->name)->bytes, t);
                continue;
            }
            if (base)
                rc = copy_one(p, base + *n_bytes, t, s, err);
            *n_bytes += (size_t)p->n * dtype_bytes(t);
        }
        *n_bytes = (*n_bytes + 63) / 64 * 64;
    }
    return rc;
}

static int64_t find_nonfinite(const struct param *p, struct device *dev)
{
    enum { EXPONENT = 0x7f80 };
    if (p->data)
        return dev->k->find_nonfinite(dev, p->data, p->n);
    for (int64_t i = 0; i < p->n; i++)
        if ((p->half[i] & EXPONENT) == EXPONENT)
            return i;
    return -1;
}

static int check_finite(const struct param_list *list, const struct source *s, struct device *dev,
                        const struct log_sink *log, struct err *err)
{
    int rc = 0;
    struct progress progress;
    progress_begin(&progress, log, "checking", (double)list->n_elements, "numbers");
    for (int64_t i = 0; i < list->n && !rc; i++) {
        int64_t bad = find_nonfinite(&list->params[i], dev);
        if (bad >= 0)
            rc = param_blame(s, &list->params[i], bad, err);
        progress_set(&progress, (double)(list->offset[i] + list->params[i].n));
    }
    progress_end(&progress);
    return rc;
}

static void unbind(struct param_list *list)
{
    for (int64_t i = 0; i < list->n; i++) {
        list->params[i].data = NULL;
        list->params[i].half = NULL;
    }
}

int mapped_weights_open(struct mapped_weights *out, struct param_list *list,
                        const struct decoder_options *o, const struct model_config *config,
                        struct device *dev, struct err *err)
{
    struct mapped_weights m = {0};
    if (!dev->host_memory)
        return 0;
    int rc = param_list_check(&m.source, list, o->dir, config, err);
    if (rc)
        return rc;
    int type = common_type(list, m.source, o->compute);
    if (type < 0) {
        mapped_weights_close(&m, dev);
        return 0;
    }
    rc = bind_all(list, m.source, (enum dtype)type, NULL, &m.n_copied, err);
    if (!rc && !(m.copied = device_alloc(dev, m.n_copied, err)))
        rc = MOE2_ELIMIT;
    if (!rc)
        rc = bind_all(list, m.source, (enum dtype)type, m.copied, &m.n_copied, err);
    if (!rc)
        rc = check_finite(list, m.source, dev, o->log, err);
    if (rc) {
        unbind(list);
        mapped_weights_close(&m, dev);
        return rc;
    }
    *out = m;
    return 0;
}

void mapped_weights_close(struct mapped_weights *m, struct device *dev)
{
    device_free(dev, m->copied, m->n_copied);
    source_close(m->source);
    *m = (struct mapped_weights){0};
}
