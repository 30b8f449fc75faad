/* Folders that are replaced as a whole: see folder.h. */
#include "train/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

/* dir + suffix, without slashes at dir's end; the caller's. */
static char *beside(const char *dir, const char *suffix, struct err *err)
{
    char *path = NULL;
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    if (asprintf(&path, "%.*s%s", (int)n, dir, suffix) < 0) {
        err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
        return NULL;
    }
    return path;
}

/* Makes the entries of a folder last through a crash of the machine. */
static int sync_folder(const char *dir, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    if (fd < 0 || (fsync(fd) && errno != EINVAL))
        rc = err_set(err, MOE2_EIO, "%s: can't be synced: %s", dir, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

static int sync_parent(const char *dir, struct err *err)
{
    char *parent = beside(dir, "", err);
    if (!parent)
        return MOE2_ELIMIT;
    char *slash = strrchr(parent, '/');
    if (slash && slash > parent)
        *slash = 0;
    int rc = sync_folder(slash ? parent : ".", err);
    free(parent);
    return rc;
}

int folder_begin(char **temp, const char *dir, struct err *err)
{
    char *path = beside(dir, ".tmp", err);
    if (!path)
        return MOE2_ELIMIT;
    int rc = file_remove_all(path, err);
    if (!rc)
        rc = dir_make(path, err);
    if (rc)
        free(path);
    else
        *temp = path;
    return rc;
}

/* temp becomes dir: 0, or −1 with errno. *spare is where dir's old content lies then; NULL: there was
 * none. The steps are taken only where the two can't be exchanged. */
static int put_in_place(const char **spare, const char *dir, const char *temp, const char *old,
                        bool may_exchange)
{
    *spare = NULL;
    if (!file_is_dir(dir))
        return rename(temp, dir);
    *spare = temp;
    if (may_exchange && renameat2(AT_FDCWD, temp, AT_FDCWD, dir, RENAME_EXCHANGE) == 0)
        return 0;
    if (may_exchange && errno != EINVAL && errno != ENOSYS)
        return -1;
    *spare = old;
    return file_remove_all(old, NULL) || rename(dir, old) || rename(temp, dir) ? -1 : 0;
}

static int commit(const char *dir, bool may_exchange, struct err *err)
{
    char *temp = beside(dir, ".tmp", err), *old = beside(dir, ".old", err);
    const char *spare = NULL;
    int rc = temp && old ? sync_folder(temp, err) : MOE2_ELIMIT;
    if (!rc && put_in_place(&spare, dir, temp, old, may_exchange)) {
        rc = err_set(err, MOE2_EIO, "%s: can't be put in place: %s", dir, strerror(errno));
        if (spare == old)
            folder_recover(dir, NULL);
        else
            folder_abort(dir);
    }
    if (!rc)
        rc = sync_parent(dir, err);
    if (!rc && spare)
        rc = file_remove_all(spare, err);
    free(temp);
    free(old);
    return rc;
}

int folder_commit(const char *dir, struct err *err)
{
    return commit(dir, true, err);
}

int folder_commit_by_steps(const char *dir, struct err *err)
{
    return commit(dir, false, err);
}

void folder_abort(const char *dir)
{
    char *temp = beside(dir, ".tmp", NULL);
    if (temp)
        file_remove_all(temp, NULL);
    free(temp);
}

int folder_begin_like(const char *dir, const char *from, struct err *err)
{
    char *temp = NULL, **names = NULL;
    size_t n = 0;
    int rc = folder_begin(&temp, dir, err);
    if (!rc)
        rc = dir_names(&names, &n, from, err);
    for (size_t i = 0; i < n && !rc; i++) {
        char *source = path_join(from, names[i]), *target = path_join(temp, names[i]);
        if (!source || !target)
            rc = err_set(err, MOE2_ELIMIT, "%s: no memory for its names", dir);
        else if (link(source, target))
            rc = file_copy(target, source, err);
        free(source);
        free(target);
    }
    dir_names_free(names, n);
    if (rc)
        folder_abort(dir);
    free(temp);
    return rc;
}

int folder_recover(const char *dir, struct err *err)
{
    char *temp = beside(dir, ".tmp", err), *old = beside(dir, ".old", err);
    int rc = temp && old ? 0 : MOE2_ELIMIT;
    if (!rc && !file_is_dir(dir) && file_is_dir(old) && rename(old, dir))
        rc = err_set(err, MOE2_EIO, "%s: can't be put in place: %s", dir, strerror(errno));
    if (!rc)
        rc = file_remove_all(old, err);
    if (!rc)
        rc = file_remove_all(temp, err);
    free(temp);
    free(old);
    return rc;
}
