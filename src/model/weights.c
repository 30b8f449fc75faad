/* A checkpoint against the list of tensors: checking, reading, writing.
 *
 * What doesn't fit is told in one message (model/misfits.h). Left out without
 * a word: the tensors of multi-token-prediction layers (they stand behind the last layer), rotary
 * tables that old files store, and a head that the configuration ties to the embedding.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/words.h"
#include "io/safetensors.h"
#include "model/misfits.h"
#include "model/params.h"
#include "model/source.h"

enum { MAX_PIECE = 1 << 20 };

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct param *const *)a)->name, (*(const struct param *const *)b)->name);
}

/* Whether a tensor that the list doesn't know may be left out. */
static bool left_out(const char *name, const struct model_config *config)
{
    static const char layers[] = "model.layers.";
    if (config->tie_word_embeddings && strcmp(name, "lm_head.weight") == 0)
        return true;
    if (words_end_in(name, ".rotary_emb.inv_freq"))
        return true;
    if (strncmp(name, layers, sizeof layers - 1) != 0)
        return false;
    char *end = NULL;
    long long layer = strtoll(name + sizeof layers - 1, &end, 10);
    int64_t extra = config->num_nextn_predict_layers > 1 ? config->num_nextn_predict_layers : 1;
    return *end == '.' && layer >= config->num_hidden_layers &&
           layer < config->num_hidden_layers + extra;
}

static void find_unknown(struct misfits *m, const struct source *s,
                         const struct param *const *sorted, int64_t n,
                         const struct model_config *config)
{
    for (int64_t i = 0; i < source_count(s); i++) {
        struct param key = {.name = source_at(s, i)->name}, *key_at = &key;
        if (!bsearch(&key_at, sorted, (size_t)n, sizeof *sorted, by_name) &&
            !left_out(key.name, config))
            misfits_unknown(m, key.name);
    }
}

/* Anything that reads as numbers; integers are no weights. */
static bool is_readable(const struct source_tensor *t)
{
    bool real = t->dtype == DT_F32 || t->dtype == DT_F16 || t->dtype == DT_BF16;
    return t->kind == STORED_PLAIN ? (t->bytes || !t->n_bytes) && real
                                   : t->kind != STORED_BLOCKS || t->bytes || !t->n_bytes;
}

static void look(struct misfits *m, const struct source *s, const struct param *p)
{
    const struct source_tensor *t = source_find(s, p->name);
    struct misfit_seen seen = {0};
    if (t)
        seen = (struct misfit_seen){
            .shape = t->shape, .n_dims = t->n_dims, .type = t->stored, .readable = is_readable(t)};
    misfits_look(m, p->name, p->shape, p->n_dims, t ? &seen : NULL);
}

static int check_names(const struct source *s, const struct param_list *list,
                       const struct model_config *config, const char *dir, struct err *err)
{
    struct misfits m = {0};
    const struct param **sorted = malloc((size_t)list->n * sizeof *sorted);
    if (!sorted)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for the names of %lld tensors", dir,
                       (long long)list->n);
    for (int64_t i = 0; i < list->n; i++)
        sorted[i] = &list->params[i];
    qsort(sorted, (size_t)list->n, sizeof *sorted, by_name);
    find_unknown(&m, s, sorted, list->n, config);
    free(sorted);
    for (int64_t i = 0; i < list->n; i++)
        look(&m, s, &list->params[i]);
    return misfits_tell(&m, dir, err);
}

static int load_one(const struct param *p, const struct source *s, struct device *dev, float *piece,
                    struct err *err)
{
    const struct source_tensor *t = source_find(s, p->name);
    int rc = 0;
    for (int64_t first = 0; first < p->n && !rc; first += MAX_PIECE) {
        int64_t n = p->n - first < MAX_PIECE ? p->n - first : MAX_PIECE;
        float *to = dev->host_memory ? p->data + first : piece;
        rc = source_read(to, t, first, n, err);
        if (!rc && !dev->host_memory)
            dev->ops->write(dev, p->data + first, piece, (size_t)n * sizeof *piece);
    }
    return rc;
}

int param_blame(const struct source *s, const struct param *p, int64_t element, struct err *err)
{
    const struct source_tensor *t = source_find(s, p->name);
    return err_set(err, MOE2_ENUMERIC, "%s: tensor %s holds a NaN or an infinity at element %lld",
                   t->file, t->name, (long long)element);
}

/* One look over the whole allocation; what lies between tensors is zero. */
static int check_finite(const struct param_list *list, const struct source *s, struct device *dev,
                        struct err *err)
{
    int64_t bad = dev->k->find_nonfinite(dev, list->params[0].data, list->n_elements), i = 0;
    if (bad < 0)
        return 0;
    while (i + 1 < list->n && list->offset[i + 1] <= bad)
        i++;
    return param_blame(s, &list->params[i], bad - list->offset[i], err);
}

int param_list_check(struct source **out, const struct param_list *list, const char *path,
                     const struct model_config *config, struct err *err)
{
    struct source *s = NULL;
    int rc = source_open(&s, path, err);
    if (!rc)
        rc = check_names(s, list, config, path, err);
    if (rc) {
        source_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

int param_list_load(struct param_list *list, const char *dir, const struct model_config *config,
                    struct device *dev, const struct log_sink *log, struct err *err)
{
    struct source *s = NULL;
    float *piece = NULL;
    int rc = param_list_check(&s, list, dir, config, err);
    if (rc)
        goto done;
    if (!dev->host_memory && !(piece = malloc(MAX_PIECE * sizeof *piece))) {
        rc = err_set(err, MOE2_ELIMIT, "%s: no memory for a piece of a tensor", dir);
        goto done;
    }
    struct progress progress;
    progress_begin(&progress, log, "loading", (double)list->n_elements, "numbers");
    for (int64_t i = 0; i < list->n && !rc; i++) {
        rc = load_one(&list->params[i], s, dev, piece, err);
        progress_set(&progress, (double)(list->offset[i] + list->params[i].n));
    }
    progress_end(&progress);
    if (!rc)
        rc = check_finite(list, s, dev, err);
done:
    free(piece);
    source_close(s);
    return rc;
}

int param_list_create(struct safetensors_writer **out, const struct param_list *list,
                      const char *dir, enum dtype dtype, struct err *err)
{
    struct safetensors_decl *decls = calloc((size_t)list->n, sizeof *decls);
    if (!decls)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for the names of %lld tensors", dir,
                       (long long)list->n);
    for (int64_t i = 0; i < list->n; i++) {
        const struct param *p = &list->params[i];
        decls[i] = (struct safetensors_decl){.name = p->name,
                                             .dtype = p->kind == PARAM_BUFFER ? DT_F32 : dtype,
                                             .n_dims = p->n_dims};
        memcpy(decls[i].shape, p->shape, sizeof p->shape);
    }
    int rc = safetensors_create_folder(out, dir, decls, list->n, NULL, err);
    free(decls);
    return rc;
}

int model_config_write(const struct model_config *config, enum dtype dtype, const char *dir,
                       struct err *err)
{
    struct model_config c = *config;
    c.dtype = dtype;
    c.num_nextn_predict_layers = 0; /* their tensors are not written */
    struct buf text = {0};
    char *path = path_join(dir, "config.json");
    int rc =
        path ? model_config_print(&text, &c, err) : err_set(err, MOE2_ELIMIT, "%s: no memory", dir);
    if (!rc)
        rc = file_write(path, text.bytes, text.n, err);
    buf_release(&text);
    free(path);
    return rc;
}
