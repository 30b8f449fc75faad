/* Random weights, in memory or streamed into a checkpoint.
 *
 * A tensor is drawn in blocks of 4,096 numbers, each from a stream of its own that is seeded by
 * (seed, name, block): the numbers do not depend on which other tensors there are, on the order, or
 * on the threads, and a model of any size is written one block at a time.
 */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/rng.h"
#include "io/safetensors.h"
#include "model/params.h"

enum { BLOCK = 4096, PIECE = 256 * BLOCK };

/* FNV-1a, 64 bits. */
static uint64_t name_hash(const char *s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    return h;
}

/* Normal numbers in pairs: Box & Muller (1958), both halves of it. */
static void draw_block(float *out, int64_t first, int64_t n, double deviation, uint64_t seed,
                       uint64_t name)
{
    struct rng r;
    rng_init(&r, rng_at(seed, name, (uint64_t)(first / BLOCK), 0));
    for (int64_t i = 0; i < n; i += 2) {
        double radius = deviation * sqrt(-2 * log(1 - rng_uniform(&r))), s, c;
        sincos(2 * M_PI * rng_uniform(&r), &s, &c);
        out[i] = (float)(radius * c);
        if (i + 1 < n)
            out[i + 1] = (float)(radius * s);
    }
}

void param_random(float *out, const struct param *p, int64_t first, int64_t n,
                  const struct model_config *config, uint64_t seed)
{
    if (p->kind == PARAM_NORM || p->kind == PARAM_BIAS || p->kind == PARAM_BUFFER) {
        for (int64_t i = 0; i < n; i++)
            out[i] = p->kind == PARAM_NORM ? 1 : 0;
        return;
    }
    uint64_t name = name_hash(p->name);
#pragma omp parallel for schedule(static) if (n >= 1 << 18)
    for (int64_t b = 0; b < (n + BLOCK - 1) / BLOCK; b++) {
        int64_t left = n - b * BLOCK;
        draw_block(out + b * BLOCK, first + b * BLOCK, left < BLOCK ? left : BLOCK,
                   config->initializer_range, seed, name);
    }
}

int64_t param_list_bytes(const struct param_list *list, enum dtype dtype)
{
    int64_t n_bytes = 0;
    for (int64_t i = 0; i < list->n; i++) {
        enum dtype t = list->params[i].kind == PARAM_BUFFER ? DT_F32 : dtype;
        n_bytes += list->params[i].n * (int64_t)dtype_bytes(t);
    }
    return n_bytes;
}

static int check_room(const char *dir, int64_t n_bytes, struct err *err)
{
    struct statvfs fs;
    if (statvfs(dir, &fs))
        return err_set(err, MOE2_EIO, "%s: its disk can't be asked for room: %s", dir,
                       strerror(errno));
    double room = (double)fs.f_bavail * (double)fs.f_frsize;
    if ((double)n_bytes > room)
        return err_set(err, MOE2_ELIMIT,
                       "%s: the checkpoint takes %.1f GB, the disk has room for %.1f GB", dir,
                       (double)n_bytes * 1e-9, room * 1e-9);
    return 0;
}

static int put_random(struct safetensors_writer *w, int64_t idx, const struct param *p,
                      const struct model_config *config, enum dtype dtype, uint64_t seed,
                      float *piece, void *narrow, struct progress *progress, struct err *err)
{
    enum dtype t = p->kind == PARAM_BUFFER ? DT_F32 : dtype;
    int64_t size = (int64_t)dtype_bytes(t);
    for (int64_t first = 0; first < p->n; first += PIECE) {
        int64_t n = p->n - first < PIECE ? p->n - first : PIECE;
        param_random(piece, p, first, n, config, seed);
        dtype_from_f32(narrow, piece, t, n);
        int rc = safetensors_put_piece(w, idx, first * size, narrow, n * size, err);
        if (rc)
            return rc;
        progress_set(progress, progress->done + (double)(n * size));
    }
    return 0;
}

int model_init_random(const char *dir, const struct model_config *config, enum dtype dtype,
                      uint64_t seed, const struct log_sink *log, struct err *err)
{
    struct param_list list = {0};
    struct safetensors_writer *w = NULL;
    float *piece = malloc(PIECE * sizeof *piece);
    void *narrow = malloc(PIECE * sizeof(float));
    int rc = piece && narrow ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a piece of a tensor");
    if (rc || (rc = param_list_make(&list, config, err)) || (rc = dir_make(dir, err)) ||
        (rc = check_room(dir, param_list_bytes(&list, dtype), err)) ||
        (rc = param_list_create(&w, &list, dir, dtype, err)))
        goto done;
    struct progress progress;
    progress_begin(&progress, log, "init", (double)param_list_bytes(&list, dtype), "B");
    for (int64_t i = 0; i < list.n && !rc; i++)
        rc = put_random(w, i, &list.params[i], config, dtype, seed, piece, narrow, &progress, err);
    progress_end(&progress);
    if (!rc) {
        rc = safetensors_commit(w, err);
        w = NULL;
    }
    if (!rc)
        rc = model_config_write(config, dtype, dir, err);
done:
    safetensors_abort(w);
    param_list_release(&list);
    free(piece);
    free(narrow);
    return rc;
}
