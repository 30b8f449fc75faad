/* Files: see file.h. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int file_map(struct file_map *out, const char *path, struct err *err)
{
    int rc = 0;
    struct stat st;
    void *p = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, MOE2_EIO, "%s: can't be opened: %s", path, strerror(errno));
    if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        rc = err_set(err, MOE2_EIO, "%s: is not a regular file", path);
        goto done;
    }
    if (st.st_size > 0) {
        p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            rc = err_set(err, MOE2_EIO, "%s: can't be mapped: %s", path, strerror(errno));
            goto done;
        }
    }
    *out = (struct file_map){p, (size_t)st.st_size};
done:
    close(fd);
    return rc;
}

void file_unmap(struct file_map *m)
{
    if (m->bytes)
        munmap((void *)(uintptr_t)m->bytes, m->n_bytes);
    *m = (struct file_map){0};
}

int file_read(struct buf *b, const char *path, struct err *err)
{
    FILE *f = fopen(path, "rbe");
    if (!f)
        return err_set(err, MOE2_EIO, "%s: can't be opened: %s", path, strerror(errno));
    int rc = 0;
    for (;;) {
        rc = buf_reserve(b, 1 << 16, err);
        if (rc) {
            err_prefix(err, "%s", path);
            break;
        }
        size_t n = fread(b->bytes + b->n, 1, 1 << 16, f);
        b->n += n;
        b->bytes[b->n] = 0;
        if (n < 1 << 16)
            break;
    }
    if (!rc && ferror(f))
        rc = err_set(err, MOE2_EIO, "%s: can't be read: %s", path, strerror(errno));
    fclose(f);
    return rc;
}

int file_may_replace(const char *path, struct err *err)
{
    struct stat st;
    if (stat(path, &st) || S_ISREG(st.st_mode))
        return 0;
    return err_set(err, MOE2_EIO, "%s: is %s, wanted a file to write", path,
                   S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
}

int file_begin(struct file_writer *w, const char *path, struct err *err)
{
    *w = (struct file_writer){0};
    int refused = file_may_replace(path, err);
    if (refused)
        return refused;
    w->path = strdup(path);
    if (!w->path || asprintf(&w->temp_path, "%s.tmp-%ld", path, (long)getpid()) < 0) {
        free(w->path);
        *w = (struct file_writer){0};
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its name", path);
    }
    w->f = fopen(w->temp_path, "wbe");
    if (!w->f) {
        int rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", path, strerror(errno));
        free(w->path);
        free(w->temp_path);
        *w = (struct file_writer){0};
        return rc;
    }
    return 0;
}

int file_put(struct file_writer *w, const void *bytes, size_t n, struct err *err)
{
    if (n && fwrite(bytes, 1, n, w->f) != n)
        return err_set(err, MOE2_EIO, "%s: can't be written: %s", w->path, strerror(errno));
    return 0;
}

int file_commit(struct file_writer *w, struct err *err)
{
    int rc = 0;
    if (fflush(w->f) || ferror(w->f) || fsync(fileno(w->f)))
        rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", w->path, strerror(errno));
    if (!rc && rename(w->temp_path, w->path))
        rc = err_set(err, MOE2_EIO, "%s: can't be put in place: %s", w->path, strerror(errno));
    if (rc)
        unlink(w->temp_path);
    fclose(w->f); /* last, for it lets go of file_continue's lock; all bytes are on the disk */
    free(w->path);
    free(w->temp_path);
    *w = (struct file_writer){0};
    return rc;
}

void file_abort(struct file_writer *w)
{
    if (!w->path)
        return;
    unlink(w->temp_path);
    if (w->f)
        fclose(w->f);
    free(w->path);
    free(w->temp_path);
    *w = (struct file_writer){0};
}

/* Opens a file to go on with, or makes it, and takes it for this process. A file system without
 * locks goes without. Whoever had it before may have renamed it: then it is taken too. */
static int open_alone(FILE **out, const char *path, bool make, struct err *err)
{
    struct stat here, named;
    int rc = 0, fd = open(path, O_RDWR | O_CLOEXEC | (make ? O_CREAT : 0), 0666);
    if (fd < 0 || fstat(fd, &here))
        rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", path, strerror(errno));
    else if ((flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) || stat(path, &named) ||
             named.st_ino != here.st_ino)
        rc = err_set(err, MOE2_ECONFIG, "%s: is being written by another process", path);
    FILE *f = rc ? NULL : fdopen(fd, "r+b");
    if (!rc && !f)
        rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", path, strerror(errno));
    if (rc && fd >= 0)
        close(fd);
    *out = f;
    return rc;
}

int file_continue(struct file_writer *w, const char *path, const char *temp_path, int64_t n_keep,
                  struct err *err)
{
    struct stat st;
    *w = (struct file_writer){0};
    int rc = file_may_replace(path, err);
    if (rc)
        return rc;
    w->path = strdup(path);
    w->temp_path = strdup(temp_path);
    rc = w->path && w->temp_path ? open_alone(&w->f, temp_path, n_keep == 0, err)
                                 : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", path);
    if (!rc && fstat(fileno(w->f), &st))
        rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", temp_path, strerror(errno));
    else if (!rc && st.st_size < n_keep)
        rc = err_set(err, MOE2_EFORMAT, "%s: has %lld bytes, wanted at least %lld", temp_path,
                     (long long)st.st_size, (long long)n_keep);
    else if (!rc && (ftruncate(fileno(w->f), n_keep) || fseeko(w->f, n_keep, SEEK_SET)))
        rc = err_set(err, MOE2_EIO, "%s: can't be continued: %s", temp_path, strerror(errno));
    if (rc)
        file_leave(w, NULL);
    return rc;
}

int file_flush(struct file_writer *w, struct err *err)
{
    if (fflush(w->f) || ferror(w->f) || fdatasync(fileno(w->f)))
        return err_set(err, MOE2_EIO, "%s: can't be written: %s", w->temp_path, strerror(errno));
    return 0;
}

int file_leave(struct file_writer *w, struct err *err)
{
    int rc = 0;
    if (w->f && fclose(w->f))
        rc = err_set(err, MOE2_EIO, "%s: can't be written: %s", w->temp_path, strerror(errno));
    free(w->path);
    free(w->temp_path);
    *w = (struct file_writer){0};
    return rc;
}

int file_write(const char *path, const void *bytes, size_t n, struct err *err)
{
    struct file_writer w;
    int rc = file_begin(&w, path, err);
    if (rc)
        return rc;
    rc = file_put(&w, bytes, n, err);
    if (rc)
        file_abort(&w);
    else
        rc = file_commit(&w, err);
    return rc;
}

int file_copy(const char *to, const char *from, struct err *err)
{
    struct file_map m = {0};
    int rc = file_map(&m, from, err);
    if (!rc)
        rc = file_write(to, m.bytes, m.n_bytes, err);
    file_unmap(&m);
    return rc;
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int64_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

int64_t file_stamp(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return -1;
    return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

int dir_make(const char *path, struct err *err)
{
    char *p = strdup(path);
    if (!p)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its name", path);
    int rc = 0;
    for (char *s = *p ? p + 1 : p; !rc; s++) {
        bool end = *s == 0;
        if (*s == '/' || end) {
            *s = 0;
            if (mkdir(p, 0777) && errno != EEXIST)
                rc = err_set(err, MOE2_EIO, "%s: can't be made: %s", p, strerror(errno));
            else if (end && !file_is_dir(p))
                rc = err_set(err, MOE2_EIO, "%s: is not a folder", p);
            if (end)
                break;
            *s = '/';
        }
    }
    free(p);
    return rc;
}

int file_remove_all(const char *path, struct err *err)
{
    struct stat st;
    if (lstat(path, &st))
        return 0;
    int rc = 0;
    if (S_ISDIR(st.st_mode)) {
        char **names = NULL;
        size_t n = 0;
        rc = dir_names(&names, &n, path, err);
        for (size_t i = 0; i < n && !rc; i++) {
            char *p = path_join(path, names[i]);
            rc = p ? file_remove_all(p, err) : err_set(err, MOE2_ELIMIT, "%s: no memory", path);
            free(p);
        }
        dir_names_free(names, n);
    }
    if (!rc && remove(path))
        rc = err_set(err, MOE2_EIO, "%s: can't be removed: %s", path, strerror(errno));
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int dir_names(char ***names, size_t *n_names, const char *path, struct err *err)
{
    DIR *d = opendir(path);
    if (!d)
        return err_set(err, MOE2_EIO, "%s: can't be opened: %s", path, strerror(errno));
    char **list = NULL;
    size_t n = 0, capacity = 0;
    int rc = 0;
    for (struct dirent *e; !rc && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (n == capacity) {
            capacity = capacity ? 2 * capacity : 16;
            char **grown = realloc(list, capacity * sizeof *list);
            if (!grown) {
                rc = err_set(err, MOE2_ELIMIT, "%s: no memory for its names", path);
                break;
            }
            list = grown;
        }
        list[n] = strdup(e->d_name);
        if (!list[n])
            rc = err_set(err, MOE2_ELIMIT, "%s: no memory for its names", path);
        else
            n++;
    }
    closedir(d);
    if (rc) {
        dir_names_free(list, n);
        return rc;
    }
    if (n)
        qsort(list, n, sizeof *list, by_name);
    *names = list;
    *n_names = n;
    return 0;
}

void dir_names_free(char **names, size_t n_names)
{
    for (size_t i = 0; i < n_names; i++)
        free(names[i]);
    free(names);
}

const char *path_last(char *path)
{
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
        path[n - 1] = 0;
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

char *path_join(const char *dir, const char *name)
{
    char *p = NULL;
    size_t n = strlen(dir);
    if (asprintf(&p, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name) < 0)
        return NULL;
    return p;
}
