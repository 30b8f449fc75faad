/* Collecting what doesn't fit: see misfits.h. */
#include "model/misfits.h"

#include <stdbool.h>
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

static bool same_shape(const struct safetensor *t, const int64_t *shape, int n_dims)
{
    if (t->n_dims != n_dims)
        return false;
    for (int i = 0; i < n_dims; i++)
        if (t->shape[i] != shape[i])
            return false;
    return true;
}

void misfits_look(struct misfits *m, const struct safetensors *st, const char *name,
                  const int64_t *shape, int n_dims)
{
    const struct safetensor *t = safetensors_find(st, name);
    char text[300], seen[64], wanted[64];
    if (!t) {
        add(&m->missing, name);
    } else if (!same_shape(t, shape, n_dims)) {
        snprintf(text, sizeof text, "%s is %s, wanted %s", name,
                 safetensors_shape_text(seen, sizeof seen, t->shape, t->n_dims),
                 safetensors_shape_text(wanted, sizeof wanted, shape, n_dims));
        add(&m->shape, text);
    } else if (t->dtype != DT_F32 && t->dtype != DT_F16 && t->dtype != DT_BF16) {
        snprintf(text, sizeof text, "%s is %s", name, t->dtype_name);
        add(&m->type, text);
    }
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
    tell(text, sizeof text, &m->type, "tensor is of a type other than F32, F16 and BF16",
         "tensors are of types other than F32, F16 and BF16");
    return text[0] ? err_set(err, MOE2_EFORMAT, "%s: %s", dir, text) : 0;
}
