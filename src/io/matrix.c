/* Opening matrices: see matrix.h. */
#include "io/matrix.h"

#include <math.h>
#include <stdlib.h>

static int check_shape(const struct npy *a, const char *path, struct err *err)
{
    if (a->n_dims != 2)
        return err_set(err, MOE2_EFORMAT, "%s: has %d dimensions, wanted 2: rows and columns", path,
                       a->n_dims);
    if (a->shape[0] < 1 || a->shape[1] < 1)
        return err_set(err, MOE2_EFORMAT,
                       "%s: has %lld rows and %lld columns, wanted at least one of each", path,
                       (long long)a->shape[0], (long long)a->shape[1]);
    if (a->dtype != DT_F32 && a->dtype != DT_F64 && a->dtype != DT_F16)
        return err_set(err, MOE2_EFORMAT, "%s: holds %s, wanted float32, float64 or float16", path,
                       dtype_name(a->dtype));
    return 0;
}

static int copy_rounded(struct matrix *m, const char *path, int64_t max_bytes, struct err *err)
{
    int64_t n = m->file.n_elements;
    if (n > max_bytes / (int64_t)sizeof(float))
        return err_set(err, MOE2_ELIMIT,
                       "%s: %s needs a copy of %lld MiB, wanted at most %lld: save it as float32",
                       path, dtype_name(m->file.dtype), (long long)(n >> 18),
                       (long long)(max_bytes >> 20));
    m->copy = malloc((size_t)n * sizeof(float));
    if (!m->copy)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for %lld numbers", path, (long long)n);
    for (int64_t i = 0; i < n; i++)
        m->copy[i] = m->file.dtype == DT_F64 ? (float)((const double *)m->file.data)[i]
                                             : f16_to_f32(((const uint16_t *)m->file.data)[i]);
    m->x = m->copy;
    return 0;
}

static int check_numbers(const struct matrix *m, const char *path, struct err *err)
{
    for (int64_t r = 0; r < m->rows; r++) {
        const float *x = m->x + r * m->columns;
        float sum = 0;
        for (int64_t c = 0; c < m->columns; c++)
            sum += x[c] * 0; /* 0, or NaN as soon as one is not finite */
        for (int64_t c = 0; c < m->columns && sum != 0; c++)
            if (!isfinite(x[c]))
                return err_set(err, MOE2_ENUMERIC,
                               "%s: row %lld, column %lld is %s, wanted a number", path,
                               (long long)r, (long long)c, isnan(x[c]) ? "NaN" : "infinite");
    }
    return 0;
}

int matrix_open(struct matrix *out, const char *path, int64_t max_copy_bytes, struct err *err)
{
    struct matrix m = {0};
    int rc = npy_open(&m.file, path, err);
    if (!rc)
        rc = check_shape(&m.file, path, err);
    if (!rc) {
        m.rows = m.file.shape[0];
        m.columns = m.file.shape[1];
        m.x = m.file.data;
        if (m.file.dtype != DT_F32)
            rc = copy_rounded(&m, path, max_copy_bytes ? max_copy_bytes : MATRIX_MAX_COPY_BYTES,
                              err);
    }
    if (!rc)
        rc = check_numbers(&m, path, err);
    if (rc)
        matrix_close(&m);
    else
        *out = m;
    return rc;
}

void matrix_close(struct matrix *m)
{
    free(m->copy);
    npy_close(&m->file);
    *m = (struct matrix){0};
}
