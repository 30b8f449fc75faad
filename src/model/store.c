/* Inputs of blocks off the device: see store.h. */
#include "model/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int map_file(struct store *s, size_t n_bytes, struct err *err)
{
    int fd = open(s->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(err, MOE2_EIO, "%s: a file for activations can't be made there: %s", s->dir,
                       strerror(errno));
    int failed = posix_fallocate(fd, 0, (off_t)n_bytes);
    void *p = failed ? MAP_FAILED : mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    failed = failed ? failed : p == MAP_FAILED ? errno : 0;
    close(fd);
    if (failed)
        return err_set(err, MOE2_EIO, "%s: no room for %zu bytes of activations: %s", s->dir,
                       n_bytes, strerror(failed));
    s->bytes = p;
    return 0;
}

int store_reserve(struct store *s, int64_t n, size_t each, struct err *err)
{
    size_t n_bytes = (size_t)n * each;
    int rc = 0;
    if (n_bytes <= s->n_bytes) {
        s->each = each;
        return 0;
    }
    struct store empty = {.dev = s->dev, .dir = s->dir};
    store_release(s);
    *s = empty;
    if (s->dir)
        rc = map_file(s, n_bytes, err);
    else if (!(s->bytes = s->dev->ops->host_alloc(s->dev, n_bytes)))
        rc = err_set(err, MOE2_ELIMIT, "no memory of the host for %zu bytes of activations",
                     n_bytes);
    if (rc)
        return rc;
    s->n_bytes = n_bytes;
    s->each = each;
    return 0;
}

void store_release(struct store *s)
{
    if (s->bytes && s->dir)
        munmap(s->bytes, s->n_bytes);
    else if (s->bytes)
        s->dev->ops->host_free(s->dev, s->bytes, s->n_bytes);
    s->bytes = NULL;
    s->n_bytes = 0;
}

void store_put(struct store *s, int64_t i, const void *from, size_t n_bytes)
{
    s->dev->ops->stash(s->dev, s->bytes + (size_t)i * s->each, from, n_bytes);
}

void store_get(struct store *s, int64_t i, void *to, size_t n_bytes)
{
    s->dev->ops->write(s->dev, to, s->bytes + (size_t)i * s->each, n_bytes);
}
