/* Learned combinations on disk: see learned_file.h. */
#include "pipeline/learned_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/json_util.h"

static const char FORMAT[] = "moe2 learned combination 1";

static void write_names(struct json_writer *w, const char *key, const char *const *names, int n)
{
    jw_array(w, key);
    for (int i = 0; i < n; i++)
        jw_text(w, NULL, names[i]);
    jw_end(w);
}

static void write_all(struct json_writer *w, const struct learned_file *f)
{
    int E = f->shape.n_experts;
    jw_object(w, NULL);
    jw_text(w, "format", FORMAT);
    write_names(w, "experts", f->experts, E);
    write_names(w, "gates", f->gates, f->shape.n_gates);
    jw_array(w, "partitions");
    for (int p = 0; p < f->shape.n_partitions; p++) {
        jw_object(w, NULL);
        jw_text(w, "name", f->partitions[p]);
        write_names(w, "parts", f->parts[p], f->shape.n_parts[p]);
        jw_end(w);
    }
    jw_end(w);
    jw_int(w, "k", f->k);
    jw_array(w, "subset");
    for (int e = 0; e < E; e++)
        if (f->subset >> e & 1)
            jw_text(w, NULL, f->experts[e]);
    jw_end(w);
    jw_int(w, "trained_on", f->trained_on);
    jw_real(w, "loss", f->loss);
    jw_array(w, "theta");
    for (int64_t r = 0; r < vote_shape_rows(&f->shape); r++)
        jw_reals(w, NULL, f->theta + r * E, E);
    jw_end(w);
    jw_end(w);
}

int learned_file_write(const char *path, const struct learned_file *f, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    json_writer_init(&w, &text, 1);
    write_all(&w, f);
    int rc = json_writer_file(&w, path, err);
    buf_release(&text);
    return rc;
}

/* ---- reading ---- */

static int read_names(const char ***out, int *n, struct arena *memory, const json_t *o,
                      const char *path, const char *key, int most, struct err *err)
{
    const json_t *list = NULL;
    int rc = json_need_array(&list, o, path, key, err);
    if (rc)
        return rc;
    if (json_array_size(list) > (size_t)most)
        return err_set(err, MOE2_ELIMIT, "%s: %s has %zu entries, wanted at most %d", path, key,
                       json_array_size(list), most);
    *n = (int)json_array_size(list);
    *out = arena_alloc(memory, ((size_t)*n + 1) * sizeof **out, err);
    for (int i = 0; i < *n && *out; i++) {
        const char *text = json_string_value(json_array_get(list, (size_t)i));
        if (!text)
            return err_set(err, MOE2_EFORMAT, "%s: entry %d of %s is no text", path, i, key);
        (*out)[i] = arena_strdup(memory, text, err);
        if (!(*out)[i])
            return MOE2_ELIMIT;
    }
    return *out ? 0 : MOE2_ELIMIT;
}

static int read_partitions(struct learned_file *f, const json_t *o, const char *path,
                           struct err *err)
{
    const json_t *list = NULL;
    int rc = json_need_array(&list, o, path, "partitions", err);
    if (!rc && json_array_size(list) > VOTE_MAX_PARTITIONS)
        rc = err_set(err, MOE2_ELIMIT, "%s: %zu partitions, wanted at most %d", path,
                     json_array_size(list), VOTE_MAX_PARTITIONS);
    int n = rc ? 0 : (int)json_array_size(list);
    for (int p = 0; p < n && !rc; p++) {
        const json_t *one = json_array_get(list, (size_t)p);
        const char *name = NULL;
        rc = json_need_text(&name, one, path, "name", err);
        if (!rc)
            rc = read_names(&f->parts[p], &f->shape.n_parts[p], &f->memory, one, path, "parts",
                            VOTE_MAX_PARTS, err);
        if (!rc && !(f->partitions[p] = arena_strdup(&f->memory, name, err)))
            rc = MOE2_ELIMIT;
    }
    f->shape.n_partitions = n;
    return rc;
}

static int read_theta(struct learned_file *f, const json_t *o, const char *path, struct err *err)
{
    const json_t *rows = NULL;
    int64_t n = vote_shape_rows(&f->shape), E = f->shape.n_experts;
    int rc = json_need_array(&rows, o, path, "theta", err);
    if (!rc && json_array_size(rows) != (size_t)n)
        rc = err_set(err, MOE2_EFORMAT, "%s: theta has %zu rows, wanted %lld", path,
                     json_array_size(rows), (long long)n);
    if (rc)
        return rc;
    f->theta = arena_alloc(&f->memory, (size_t)(n * E) * sizeof *f->theta, err);
    if (!f->theta)
        return MOE2_ELIMIT;
    for (int64_t r = 0; r < n; r++) {
        const json_t *row = json_array_get(rows, (size_t)r);
        if (!json_is_array(row) || json_array_size(row) != (size_t)E)
            return err_set(err, MOE2_EFORMAT, "%s: row %lld of theta is no list of %lld numbers",
                           path, (long long)r, (long long)E);
        for (int64_t e = 0; e < E; e++) {
            const json_t *x = json_array_get(row, (size_t)e);
            if (!json_is_number(x) || !isfinite(json_number_value(x)))
                return err_set(err, MOE2_EFORMAT, "%s: theta[%lld][%lld] is no finite number", path,
                               (long long)r, (long long)e);
            f->theta[r * E + e] = json_number_value(x);
        }
    }
    return 0;
}

static int read_subset(struct learned_file *f, const json_t *o, const char *path, struct err *err)
{
    const char **names = NULL;
    int n = 0, rc = read_names(&names, &n, &f->memory, o, path, "subset", VOTE_MAX_EXPERTS, err);
    for (int i = 0; i < n && !rc; i++) {
        int e = 0;
        while (e < f->shape.n_experts && strcmp(f->experts[e], names[i]) != 0)
            e++;
        if (e == f->shape.n_experts)
            return err_set(err, MOE2_EFORMAT, "%s: subset names \"%.60s\", no expert of it", path,
                           names[i]);
        f->subset |= UINT64_C(1) << e;
    }
    return rc;
}

static int read_root(struct learned_file *f, const json_t *o, const char *path, struct err *err)
{
    const char *format = NULL;
    const char **gates = NULL;
    int64_t k = 0;
    int rc = json_need_text(&format, o, path, "format", err);
    if (!rc && strcmp(format, FORMAT) != 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: format is \"%.60s\", wanted \"%s\"", path, format,
                     FORMAT);
    if (!rc)
        rc = read_names(&f->experts, &f->shape.n_experts, &f->memory, o, path, "experts",
                        VOTE_MAX_EXPERTS, err);
    if (!rc && f->shape.n_experts == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: has no experts", path);
    if (!rc)
        rc = read_names(&gates, &f->shape.n_gates, &f->memory, o, path, "gates", VOTE_MAX_GATES,
                        err);
    for (int g = 0; g < f->shape.n_gates && !rc; g++)
        f->gates[g] = gates[g];
    if (!rc)
        rc = read_partitions(f, o, path, err);
    if (!rc)
        rc = json_need_int(&k, o, path, "k", 1, VOTE_MAX_EXPERTS, err);
    if (!rc)
        rc = read_subset(f, o, path, err);
    if (!rc)
        rc = json_opt_int(&f->trained_on, 0, o, path, "trained_on", 0, INT64_MAX / 2, err);
    if (!rc)
        rc = json_opt_real(&f->loss, NAN, o, path, "loss", 0, INFINITY, err);
    f->k = (int)k;
    return rc ? rc : read_theta(f, o, path, err);
}

int learned_file_read(struct learned_file *f, const char *path, struct err *err)
{
    json_t *root = NULL;
    *f = (struct learned_file){0};
    int rc = json_read_file(&root, path, LEARNED_MAX_FILE_BYTES, err);
    if (!rc)
        rc = read_root(f, root, path, err);
    json_decref(root);
    if (rc)
        learned_file_release(f);
    return rc;
}

void learned_file_release(struct learned_file *f)
{
    arena_release(&f->memory);
    *f = (struct learned_file){0};
}
