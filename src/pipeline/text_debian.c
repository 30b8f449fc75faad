/* Debian's Italian documentation: see text_debian.h. */
#include "pipeline/text_debian.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/process.h"

/* Where the text is in each, and in which form: other files of the packages repeat it (one page of all
 * chapters, plain text of the same book). */
static const struct package {
    const char *name, *folder;
    enum text_form form;
} PACKAGES[TEXT_DEBIAN_PACKAGES] = {
    {"libreoffice-help-it", "usr/share/libreoffice/help/it/text", TEXT_HTML},
    {"manpages-it", "usr/share/man/it", TEXT_MAN},
    {"debian-reference-it", "usr/share/debian-reference", TEXT_HTML},
    {"aptitude-doc-it", "usr/share/doc/aptitude/html/it", TEXT_HTML},
    {"developers-reference-it", "usr/share/developers-reference/it", TEXT_HTML},
};

/* The book on one page, beside its chapters: removed after unpacking. */
static const char *const REPEATED[] = {
    "developers-reference-it/usr/share/developers-reference/it/developers-reference.html"};

enum { OUTPUT_MAX_BYTES = 1 << 16, OPTIONS = 6 };

struct fetcher {
    const char *cache_dir;
    char *lists, *cache, *state; /* apt's options for lists of our own */
    bool own_lists;
    const struct log_sink *sink;
    const volatile int *stop;
};

/* Runs a program in the cache folder; MOE2_EIO with the last line it wrote when it fails. */
static int run(struct buf *out, const struct fetcher *f, const char *const *argv, bool with_stderr,
               struct err *err)
{
    struct process p = {argv, f->cache_dir, NULL, with_stderr, f->stop};
    struct process_result r;
    int rc = process_run(&r, out, &p, err);
    if (rc || r.status == 0)
        return rc;
    size_t n = out->n;
    while (n && out->bytes[n - 1] == '\n')
        n--;
    size_t first = n;
    while (first && out->bytes[first - 1] != '\n')
        first--;
    return err_set(err, MOE2_EIO, "%s ended with %d: %.*s", argv[0], r.status, (int)(n - first),
                   out->bytes ? out->bytes + first : "");
}

/* apt-get with the words of a command; with lists of our own where need be. */
static int apt_get(const struct fetcher *f, const char *command, const char *package,
                   struct err *err)
{
    const char *argv[24] = {"apt-get",           "-q", "-o", "Acquire::http::Timeout=20", "-o",
                            "Acquire::Retries=1"};
    int n = 6;
    if (f->own_lists) {
        const char *options[OPTIONS] = {"-o", f->lists, "-o", f->cache, "-o", f->state};
        for (int i = 0; i < OPTIONS; i++)
            argv[n++] = options[i];
    }
    argv[n++] = command;
    argv[n++] = package;
    struct buf out = {.max_bytes = OUTPUT_MAX_BYTES};
    int rc = run(&out, f, argv, true, err);
    buf_release(&out);
    return rc;
}

/* Package lists in the cache folder: what apt-get update does, but for us alone. */
static int update_own_lists(struct fetcher *f, struct err *err)
{
    static const char *const FOLDERS[] = {"apt/lists/partial", "apt/cache/archives/partial"};
    int rc = 0;
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS && !rc; i++) {
        char *path = path_join(f->cache_dir, FOLDERS[i]);
        rc = path ? dir_make(path, err) : err_set(err, MOE2_ELIMIT, "no memory for a name");
        free(path);
    }
    f->own_lists = true;
    log_line(f->sink, LOG_INFO, "fetching package lists into %s/apt", f->cache_dir);
    return rc ? rc : apt_get(f, "update", NULL, err);
}

/* The .deb of a package in the cache folder, or NULL: "NAME_…". */
static char *find_deb(const struct fetcher *f, const char *package)
{
    char **names = NULL, *found = NULL;
    size_t n = 0, length = strlen(package);
    if (dir_names(&names, &n, f->cache_dir, NULL))
        return NULL;
    for (size_t i = 0; i < n && !found; i++) {
        size_t name_n = strlen(names[i]);
        if (strncmp(names[i], package, length) == 0 && names[i][length] == '_' && name_n > 4 &&
            strcmp(names[i] + name_n - 4, ".deb") == 0)
            found = path_join(f->cache_dir, names[i]);
    }
    dir_names_free(names, n);
    return found;
}

static int download(char **deb, struct fetcher *f, const char *package, struct err *err)
{
    *deb = find_deb(f, package);
    if (*deb)
        return 0;
    log_line(f->sink, LOG_INFO, "fetching %s", package);
    struct err first = {0};
    int rc = apt_get(f, "download", package, &first);
    if (rc == MOE2_EIO && !f->own_lists) {
        struct err second = {0};
        if (!update_own_lists(f, &second))
            rc = apt_get(f, "download", package, &second);
    }
    if (rc)
        return err_set(err, rc, "%s: %s", package, first.msg);
    *deb = find_deb(f, package);
    return *deb ? 0 : err_set(err, MOE2_EIO, "%s: apt-get download brought no file", package);
}

static int read_version(char **version, const struct fetcher *f, const char *deb, struct err *err)
{
    struct buf out = {.max_bytes = OUTPUT_MAX_BYTES};
    const char *argv[] = {"dpkg-deb", "--field", deb, "Version", NULL};
    int rc = run(&out, f, argv, false, err);
    while (out.n && out.bytes[out.n - 1] == '\n')
        out.bytes[--out.n] = 0;
    if (!rc && (*version = strdup(out.bytes ? out.bytes : "")) == NULL)
        rc = err_set(err, MOE2_ELIMIT, "no memory for a version");
    buf_release(&out);
    return rc;
}

/* Unpacks beside its place and renames, so that half a package is never taken for one. */
static int unpack(const struct fetcher *f, const char *deb, const char *package, const char *folder,
                  struct err *err)
{
    if (file_is_dir(folder))
        return 0;
    char temp[128];
    snprintf(temp, sizeof temp, "unpacked/%s.tmp", package);
    char *path = path_join(f->cache_dir, temp);
    int rc = path ? file_remove_all(path, err) : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = dir_make(path, err);
    struct buf out = {.max_bytes = OUTPUT_MAX_BYTES};
    const char *argv[] = {"dpkg-deb", "--extract", deb, path, NULL};
    if (!rc)
        rc = run(&out, f, argv, true, err);
    if (!rc && rename(path, folder))
        rc = err_set(err, MOE2_EIO, "%s: can't be put in place", folder);
    buf_release(&out);
    free(path);
    return rc;
}

static int fetch_one(struct text_input *in, struct fetcher *f, const struct package *k,
                     struct err *err)
{
    char *deb = NULL, *version = NULL, *folder = NULL, *text = NULL;
    char place[128];
    snprintf(place, sizeof place, "unpacked/%s", k->name);
    folder = path_join(f->cache_dir, place);
    int rc = folder ? download(&deb, f, k->name, err)
                    : err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc)
        rc = read_version(&version, f, deb, err);
    if (!rc)
        rc = unpack(f, deb, k->name, folder, err);
    if (!rc && (text = path_join(folder, k->folder)) == NULL)
        rc = err_set(err, MOE2_ELIMIT, "no memory for a name");
    if (!rc && !file_is_dir(text))
        rc = err_set(err, MOE2_EIO, "%s: is not in package %s %s", k->folder, k->name, version);
    if (!rc) {
        *in = (struct text_input){text, k->name, version, 0, k->form};
        text = version = NULL;
    }
    free(deb);
    free(version);
    free(folder);
    free(text);
    return rc;
}

static void remove_repeated(const struct fetcher *f)
{
    for (size_t i = 0; i < sizeof REPEATED / sizeof *REPEATED; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/unpacked/%s", f->cache_dir, REPEATED[i]) < 0)
            return;
        file_remove_all(path, NULL);
        free(path);
    }
}

/* The whole path: dpkg-deb runs in the cache folder, so that a relative one would mean another. */
static int open_fetcher(struct fetcher *f, const char *cache_dir, struct err *err)
{
    int rc = dir_make(cache_dir, err);
    if (rc)
        return rc;
    char *whole = realpath(cache_dir, NULL);
    f->cache_dir = whole;
    if (!whole || asprintf(&f->lists, "Dir::State::lists=%s/apt/lists", whole) < 0 ||
        asprintf(&f->cache, "Dir::Cache=%s/apt/cache", whole) < 0 ||
        asprintf(&f->state, "Debug::NoLocking=1") < 0)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its name", cache_dir);
    char *unpacked = path_join(whole, "unpacked");
    rc = unpacked ? dir_make(unpacked, err) : err_set(err, MOE2_ELIMIT, "no memory for a name");
    free(unpacked);
    return rc;
}

int text_debian_fetch(struct text_debian *out, const char *cache_dir, const struct log_sink *sink,
                      const volatile int *stop, struct err *err)
{
    struct fetcher f = {.sink = sink, .stop = stop};
    struct text_debian d = {0};
    struct err first = {0};
    int rc = open_fetcher(&f, cache_dir, err);
    for (int i = 0; i < TEXT_DEBIAN_PACKAGES && !rc; i++) {
        struct err why = {0};
        int failed = fetch_one(&d.inputs[d.n_inputs], &f, &PACKAGES[i], &why);
        if (failed == MOE2_EIO) {
            size_t n = strlen(d.missing);
            snprintf(d.missing + n, sizeof d.missing - n, "%s%s", n ? ", " : "", PACKAGES[i].name);
            if (!first.code)
                first = why;
            if (d.n_inputs == 0 && i == 0 && f.own_lists)
                rc = err_set(err, MOE2_EIO, "%s",
                             why.msg); /* no mirror at all: don't wait for four more */
        } else if (failed) {
            rc = err_set(err, failed, "%s", why.msg);
        } else {
            d.n_inputs++;
        }
    }
    if (!rc && d.n_inputs == 0)
        rc = err_set(err, MOE2_EIO, "%s", first.msg);
    if (!rc)
        remove_repeated(&f);
    free((char *)(uintptr_t)f.cache_dir);
    free(f.lists);
    free(f.cache);
    free(f.state);
    if (rc)
        text_debian_release(&d);
    else
        *out = d;
    return rc;
}

void text_debian_release(struct text_debian *d)
{
    for (int i = 0; i < d->n_inputs; i++) {
        free((char *)(uintptr_t)d->inputs[i].path);
        free((char *)(uintptr_t)d->inputs[i].version);
    }
    *d = (struct text_debian){0};
}
