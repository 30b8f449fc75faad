/* Collecting what doesn't fit: see misfits.h. */
#include "model/misfits.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NAMED = 3 };

static void add(struct misfit *t, const char *what)
{
    size_t used = strlen(t->named);
    if (t->n++ < MAX_NAMED && used + strlen(what) + 3 < sizeof t->named)
        snprintf(t->named + used, sizeof t->named - used, "%s%s", used ? ", " : "", what);
}

void misfits_unknown(struct misfits *m, const char *name)
{
    add(&m->unknown, name);
}

static bool same_shape(const struct misfit_seen *t, const int64_t *shape, int n_dims)
{
    if (t->n_dims != n_dims)
        return false;
    for (int i = 0; i < n_dims; i++)
        if (t->shape[i] != shape[i])
            return false;
    return true;
}

void misfits_look(struct misfits *m, const char *name, const int64_t *shape, int n_dims,
                  const struct misfit_seen *seen)
{
    char text[300], is[64], wanted[64];
    if (!seen) {
        add(&m->missing, name);
    } else if (!same_shape(seen, shape, n_dims)) {
        snprintf(text, sizeof text, "%s is %s, wanted %s", name,
                 safetensors_shape_text(is, sizeof is, seen->shape, seen->n_dims),
                 safetensors_shape_text(wanted, sizeof wanted, shape, n_dims));
        add(&m->shape, text);
    } else if (!seen->readable) {
        snprintf(text, sizeof text, "%s is %s", name, seen->type);
        add(&m->type, text);
    }
}

void misfits_look_in(struct misfits *m, const struct safetensors *st, const char *name,
                     const int64_t *shape, int n_dims)
{
    const struct safetensor *t = safetensors_find(st, name);
    struct misfit_seen seen = {0};
    if (t)
        seen = (struct misfit_seen){.shape = t->shape,
                                    .n_dims = t->n_dims,
                                    .type = t->dtype_name,
                                    .readable = t->dtype == DT_F32 || t->dtype == DT_F16 ||
                                                t->dtype == DT_BF16};
    misfits_look(m, name, shape, n_dims, t ? &seen : NULL);
}

static void tell(char *text, size_t n_text, const struct misfit *t, const char *one,
                 const char *many)
{
    size_t used = strlen(text);
    if (t->n)
        snprintf(text + used, n_text - used, "%s%lld %s (%s%s)", used ? "; " : "", (long long)t->n,
                 t->n == 1 ? one : many, t->named, t->n > MAX_NAMED ? ", …" : "");
}

int misfits_tell(const struct misfits *m, const char *dir, struct err *err)
{
    char text[460] = "";
    tell(text, sizeof text, &m->missing, "tensor is missing", "tensors are missing");
    tell(text, sizeof text, &m->unknown, "tensor is unknown", "tensors are unknown");
    tell(text, sizeof text, &m->shape, "tensor has another shape", "tensors have another shape");
    tell(text, sizeof text, &m->type, "tensor is of a type that can't be read here",
         "tensors are of types that can't be read here");
    return text[0] ? err_set(err, MOE2_EFORMAT, "%s: %s", dir, text) : 0;
}
