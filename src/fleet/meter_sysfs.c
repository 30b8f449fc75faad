/* Lines and numbers of sysfs: see meter_sysfs.h. They are read without stdio, so that a file that never ends costs one short read. */
#include "fleet/meter_sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PATH = 1024 };

static int path_of(char path[static MAX_PATH], const char *dir, const char *name, struct err *err)
{
    if (snprintf(path, MAX_PATH, "%s/%s", dir, name) >= MAX_PATH)
        return err_set(err, MOE2_ELIMIT, "%.60s…/%.60s: the path is longer than %d bytes", dir,
                       name, MAX_PATH - 1);
    return 0;
}

bool sysfs_has(const char *dir, const char *name)
{
    char path[MAX_PATH];
    return !path_of(path, dir, name, NULL) && access(path, F_OK) == 0;
}

int sysfs_line(char out[static SYSFS_LINE], const char *dir, const char *name, struct err *err)
{
    char path[MAX_PATH];
    int rc = path_of(path, dir, name, err);
    if (rc)
        return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, out, SYSFS_LINE);
    int why = errno;
    if (fd >= 0)
        close(fd);
    errno = why;
    if (n < 0) {
        rc = err_set(err, MOE2_EIO, "%s: can't be read: %s", path, strerror(why));
        errno = why;
        return rc;
    }
    if (n == SYSFS_LINE)
        return err_set(err, MOE2_EFORMAT, "%s: is longer than %d bytes", path, SYSFS_LINE - 1);
    out[n] = 0;
    out[strcspn(out, "\n")] = 0;
    return *out ? 0 : err_set(err, MOE2_EFORMAT, "%s: is empty", path);
}

int sysfs_number(int64_t *out, const char *dir, const char *name, int64_t min, int64_t max,
                 struct err *err)
{
    char line[SYSFS_LINE], *end = NULL;
    int rc = sysfs_line(line, dir, name, err);
    if (rc)
        return rc;
    errno = 0;
    long long value = strtoll(line, &end, 10);
    if (errno || end == line || *end || value < min || value > max)
        return err_set(err, MOE2_EFORMAT,
                       "%s/%s: is \"%.40s\", wanted a whole number from %lld to %lld", dir, name,
                       line, (long long)min, (long long)max);
    *out = value;
    return 0;
}

void sysfs_name_part(char what[static METER_TEXT], const char *part)
{
    size_t n = strlen(what);
    snprintf(what + n, METER_TEXT - n, "%s%s", n ? ", " : "", part);
}
