/* RAPL through powercap: the kernel's counters of energy, a folder a domain.
 *
 *     class/powercap/intel-rapl:0/name                    package-0
 *     class/powercap/intel-rapl:0/energy_uj               microjoules, counting up
 *     class/powercap/intel-rapl:0/max_energy_range_uj     where it starts again at 0
 *
 * Folders with a second colon are parts of a package (core, uncore, dram), "psys" is the whole board and intel-rapl-mmio the
 * packages again: only packages are summed, each once. energy_uj belongs to root on most systems since CVE-2020-8694. A counter that is
 * read at least once a turn (an hour at 70 W) is never off. Source: Linux, Documentation/power/powercap/powercap.rst.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fleet/meter_sysfs.h"

enum { MAX_PACKAGES = 64, MAX_DIR = 512 };

struct package {
    char dir[MAX_DIR];
    int64_t range_uj, last_uj;
};

struct rapl {
    struct package all[MAX_PACKAGES];
    int n;
    int64_t total_uj;
};

static bool is_domain(const char *name)
{
    static const char prefix[] = "intel-rapl:";
    return strncmp(name, prefix, sizeof prefix - 1) == 0 && !strchr(name + sizeof prefix - 1, ':');
}

static int add_package(struct rapl *r, char what[static METER_TEXT], const char *dir,
                       struct err *err)
{
    char name[SYSFS_LINE];
    struct package *p = &r->all[r->n];
    int rc = sysfs_line(name, dir, "name", err);
    if (rc || strncmp(name, "package", 7) != 0)
        return rc;
    if (r->n == MAX_PACKAGES)
        return err_set(err, MOE2_ELIMIT, "%s: more than %d packages", dir, MAX_PACKAGES);
    snprintf(p->dir, sizeof p->dir, "%s", dir);
    rc = sysfs_number(&p->range_uj, dir, "max_energy_range_uj", 1, INT64_MAX / 2, err);
    if (!rc) {
        errno = 0;
        rc = sysfs_number(&p->last_uj, dir, "energy_uj", 0, INT64_MAX / 2, err);
        if (rc == MOE2_EIO && (errno == EACCES || errno == EPERM))
            err_prefix(err, "only root may read it, or whom root gives leave");
    }
    if (!rc) {
        sysfs_name_part(what, name);
        r->n++;
    }
    return rc;
}

static void rapl_close(void *state)
{
    free(state);
}

static int rapl_open(void **state, char what[static METER_TEXT], const struct meter_options *o,
                     struct err *err)
{
    char root[MAX_DIR / 2], dir[MAX_DIR], **names = NULL;
    size_t n_names = 0;
    struct rapl *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, MOE2_ELIMIT, "no memory for a meter");
    int rc = 0, n = snprintf(root, sizeof root, "%s/class/powercap", o->sysfs ? o->sysfs : "/sys");
    *what = 0;
    if (n >= (int)sizeof root)
        rc = err_set(err, MOE2_ELIMIT, "%.60s…: the path is too long", root);
    else if (dir_names(&names, &n_names, root, NULL))
        n_names = 0;
    for (size_t i = 0; i < n_names && !rc; i++)
        if (is_domain(names[i]) && strlen(names[i]) < 64) {
            snprintf(dir, sizeof dir, "%s/%.63s", root, names[i]);
            rc = add_package(r, what, dir, err);
        }
    dir_names_free(names, n_names);
    if (!rc && r->n == 0)
        rc = err_set(err, MOE2_ECONFIG, "%s has no intel-rapl package", root);
    if (rc)
        rapl_close(r);
    else
        *state = r;
    return rc;
}

static int rapl_joules(double *out, void *state, struct err *err)
{
    struct rapl *r = state;
    for (int i = 0; i < r->n; i++) {
        struct package *p = &r->all[i];
        int64_t now_uj;
        int rc = sysfs_number(&now_uj, p->dir, "energy_uj", 0, INT64_MAX / 2, err);
        if (rc)
            return rc;
        if (now_uj < p->last_uj && p->last_uj > p->range_uj)
            return err_set(err, MOE2_EFORMAT,
                           "%s/energy_uj: fell from %lld to %lld, beyond its range of %lld", p->dir,
                           (long long)p->last_uj, (long long)now_uj, (long long)p->range_uj);
        r->total_uj += now_uj - p->last_uj + (now_uj < p->last_uj ? p->range_uj : 0);
        p->last_uj = now_uj;
    }
    *out = (double)r->total_uj * 1e-6;
    return 0;
}

const struct meter_kind meter_rapl = {
    .name = "rapl",
    .counts = "processor packages (RAPL)",
    .settle_s = 0.05,
    .open = rapl_open,
    .joules = rapl_joules,
    .close = rapl_close,
};
