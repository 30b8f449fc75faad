/* Checkpoints: see checkpoint.h. */
#include "train/checkpoint.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/json_util.h"
#include "model/lora_file.h"
#include "model/router_file.h"
#include "train/folder.h"

static int write_state(const char *path, const struct train_state *s, const char *config,
                       struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    char seed[32];
    snprintf(seed, sizeof seed, "%" PRIu64, s->seed);
    json_writer_init(&w, &text, 2);
    jw_object(&w, NULL);
    jw_text(&w, "format", "moe2 train state");
    jw_int(&w, "version", 1);
    jw_int(&w, "step", s->step);
    jw_int(&w, "samples", s->samples);
    jw_int(&w, "tokens", s->tokens);
    jw_real(&w, "seconds", s->seconds);
    jw_real(&w, "loss", s->loss);
    jw_int(&w, "peak_rss_bytes", s->peak_rss_bytes);
    jw_int(&w, "peak_device_bytes", s->peak_device_bytes);
    if (isfinite(s->joules))
        jw_real(&w, "joules", s->joules);
    jw_text(&w, "seed", seed); /* as text: JSON numbers end at 2^53 in many readers */
    jw_object(&w, "best");
    jw_int(&w, "step", s->best.step);
    jw_real(&w, "loss", s->best.loss);
    jw_real(&w, "bits_per_byte", s->best.bits_per_byte);
    jw_end(&w);
    jw_text(&w, "config", config);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    if (!rc)
        rc = file_write(path, text.bytes, text.n, err);
    buf_release(&text);
    return rc;
}

int checkpoint_copy_tokenizer(const char *to_dir, const char *from, struct err *err)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json",
                                        "special_tokens_map.json", "vocab.json", "merges.txt"};
    int rc = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && !rc; i++) {
        bool is_dir = file_is_dir(from);
        char *source = is_dir ? path_join(from, names[i]) : i == 0 ? strdup(from) : NULL;
        char *target = path_join(to_dir, names[i]);
        if (source && target && file_exists(source))
            rc = file_copy(target, source, err);
        free(source);
        free(target);
    }
    return rc;
}

static int write_parts(const char *temp, const struct checkpoint_parts *p, struct err *err)
{
    char *routers = path_join(temp, "router_state.safetensors"),
         *moments = path_join(temp, "optimizer.safetensors");
    char *sums = path_join(temp, "measures.safetensors"),
         *progress = path_join(temp, "train_state.json");
    int rc = routers && moments && sums && progress
                 ? 0
                 : err_set(err, MOE2_ELIMIT, "%s: no memory for its names", temp);
    if (!rc)
        rc = decoder_lora(p->dec) ? lora_file_write(p->dec, temp, p->base ? p->base : "", err)
                                  : decoder_save(p->dec, temp, DT_F32, err);
    if (!rc)
        rc = router_file_save(routers, p->dec, err);
    if (!rc)
        rc = optimizer_save(p->opt, moments, err);
    if (!rc)
        rc = measures_save(p->measures, sums, err);
    if (!rc)
        rc = write_state(progress, p->state, p->config, err);
    if (!rc && p->tokenizer)
        rc = checkpoint_copy_tokenizer(temp, p->tokenizer, err);
    free(routers);
    free(moments);
    free(sums);
    free(progress);
    return rc;
}

int checkpoint_save(const char *dir, const struct checkpoint_parts *parts, struct err *err)
{
    char *temp = NULL;
    int rc = folder_begin(&temp, dir, err);
    if (!rc) {
        rc = write_parts(temp, parts, err);
        if (!rc) /* what was read from a lost device is not to be kept */
            rc = device_check(decoder_device(parts->dec), err);
        if (!rc)
            rc = folder_commit(dir, err);
        if (rc)
            folder_abort(dir);
    }
    free(temp);
    if (rc)
        err_prefix(err, "the checkpoint could not be written");
    return rc;
}

int checkpoint_copy(const char *dir, const char *from, struct err *err)
{
    int rc = folder_begin_like(dir, from, err);
    if (!rc)
        rc = folder_commit(dir, err);
    if (rc)
        err_prefix(err, "the checkpoint could not be written");
    return rc;
}

bool checkpoint_exists(const char *dir)
{
    char *path = path_join(dir, "train_state.json");
    bool found = path && file_exists(path);
    free(path);
    return found;
}

static int parse_state(struct train_state *out, struct buf *config, const char *path,
                       const json_t *root, struct err *err)
{
    struct train_state s = {0};
    const char *format = NULL, *seed = NULL, *text = NULL;
    const json_t *best = NULL;
    int64_t version = 0;
    int rc = json_need_text(&format, root, path, "format", err);
    if (!rc && strcmp(format, "moe2 train state") != 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: format is \"%.40s\", wanted \"moe2 train state\"",
                     path, format);
    if (rc || (rc = json_need_int(&version, root, path, "version", 1, 1, err)) ||
        (rc = json_need_int(&s.step, root, path, "step", 0, INT64_MAX, err)) ||
        (rc = json_need_int(&s.samples, root, path, "samples", 0, INT64_MAX, err)) ||
        (rc = json_need_int(&s.tokens, root, path, "tokens", 0, INT64_MAX, err)) ||
        (rc = json_need_real(&s.seconds, root, path, "seconds", 0, INFINITY, err)) ||
        (rc = json_opt_real(&s.loss, NAN, root, path, "loss", -INFINITY, INFINITY, err)) ||
        (rc =
             json_opt_int(&s.peak_rss_bytes, 0, root, path, "peak_rss_bytes", 0, INT64_MAX, err)) ||
        (rc = json_opt_int(&s.peak_device_bytes, 0, root, path, "peak_device_bytes", 0, INT64_MAX,
                           err)) ||
        (rc = json_opt_real(&s.joules, NAN, root, path, "joules", 0, INFINITY, err)) ||
        (rc = json_need_text(&seed, root, path, "seed", err)) ||
        (rc = json_need_object(&best, root, path, "best", err)) ||
        (rc = json_need_int(&s.best.step, best, path, "step", 0, INT64_MAX, err)) ||
        (rc =
             json_opt_real(&s.best.loss, INFINITY, best, path, "loss", -INFINITY, INFINITY, err)) ||
        (rc = json_opt_real(&s.best.bits_per_byte, NAN, best, path, "bits_per_byte", -INFINITY,
                            INFINITY, err)) ||
        (rc = json_need_text(&text, root, path, "config", err)))
        return rc;
    char *end = NULL;
    s.seed = strtoull(seed, &end, 10);
    if (!*seed || *end)
        return err_set(err, MOE2_EFORMAT, "%s: seed is \"%.40s\", wanted a whole number", path,
                       seed);
    rc = config ? buf_puts(config, text, err) : 0;
    if (!rc)
        *out = s;
    return rc;
}

int checkpoint_read_state(struct train_state *state, struct buf *config, const char *dir,
                          struct err *err)
{
    char *path = path_join(dir, "train_state.json");
    json_t *root = NULL;
    int rc = path ? json_read_file(&root, path, CHECKPOINT_MAX_STATE_BYTES, err)
                  : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
    if (!rc)
        rc = parse_state(state, config, path, root, err);
    json_decref(root);
    free(path);
    return rc;
}

int checkpoint_mend_best(const char *best, const char *last, struct err *err)
{
    struct train_state newest, kept;
    int rc = checkpoint_read_state(&newest, NULL, last, err);
    if (rc || newest.step == 0 || newest.best.step != newest.step)
        return rc;
    if (!checkpoint_read_state(&kept, NULL, best, NULL) && kept.step == newest.step)
        return 0;
    return checkpoint_copy(best, last, err);
}

int checkpoint_read_optimizer(struct optimizer *opt, const char *dir, struct err *err)
{
    char *path = path_join(dir, "optimizer.safetensors");
    int rc = path ? optimizer_load(opt, path, err)
                  : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
    free(path);
    return rc;
}

int checkpoint_read_measures(struct measures *m, const char *dir, struct err *err)
{
    char *path = path_join(dir, "measures.safetensors");
    int rc = path ? measures_load(m, path, err)
                  : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
    free(path);
    return rc;
}
