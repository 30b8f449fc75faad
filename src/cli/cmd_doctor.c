/* moe2 doctor: what this machine has, and what moe2 will use of it.
 *
 * Everything is a row (part, what, value), collected first and printed then as a table or as JSON. Nothing that is missing is an error
 * here: it is a row that says so. Optional libraries are looked for by opening them, as their users do.
 */
#include <dlfcn.h>
#include <jansson.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utf8proc.h>
#include <yaml.h>
#include <zlib.h>
#include <zstd.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/machine.h"
#include "base/table.h"
#include "cli/cli.h"
#include "fleet/http_client.h"
#include "fleet/http_server.h"
#include "kernels/kernels.h"
#include "kernels/limits.h"
#include "kernels/nvml.h"
#include "pipeline/meters.h"

enum { MAX_ROWS = 64, MAX_TEXT = 256 };

struct row {
    const char *part, *what;
    char value[MAX_TEXT];
};

struct rows {
    struct row all[MAX_ROWS];
    int n;
};

static void add(struct rows *r, const char *part, const char *what, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void add(struct rows *r, const char *part, const char *what, const char *fmt, ...)
{
    if (r->n == MAX_ROWS)
        return;
    struct row *row = &r->all[r->n++];
    row->part = part;
    row->what = what;
    va_list args;
    va_start(args, fmt);
    vsnprintf(row->value, sizeof row->value, fmt, args);
    va_end(args);
}

static void add_features(struct rows *r)
{
#if defined(__x86_64__)
    static const char *const words[] = {" avx2 ",        " fma ",         " f16c ",
                                        " avx512f ",     " avx512bw ",    " avx512vl ",
                                        " avx512_bf16 ", " avx512_vnni ", " amx_bf16 "};
    char line[8192], found[MAX_TEXT] = "";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "flags", 5) != 0)
            continue;
        line[strcspn(line, "\n")] = ' ';
        for (size_t i = 0; i < COUNT_OF(words); i++)
            if (strstr(line, words[i])) {
                size_t n = strlen(found);
                snprintf(found + n, sizeof found - n, "%s%.*s", n ? " " : "",
                         (int)strlen(words[i]) - 2, words[i] + 1);
            }
        break;
    }
    if (f)
        fclose(f);
    add(r, "cpu", "features", "%s", found[0] ? found : "none of those that kernels use");
#endif
}

/* The tables that this CPU runs, the best one last. */
static void add_tables(struct rows *r)
{
    static const char *const names[] = {"reference", "avx2", "avx512", "avx512vnni", "avx512bf16"};
    char all[MAX_TEXT] = "";
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char name[64];
        struct device *dev = NULL;
        snprintf(name, sizeof name, "cpu:%s", names[i]);
        if (device_open(&dev, name, 1, NULL) == 0) {
            size_t n = strlen(all);
            snprintf(all + n, sizeof all - n, "%s%s", n ? ", " : "", name);
        }
        device_close(dev);
    }
    add(r, "cpu", "kernels", "%s", device_cpu_best());
    add(r, "cpu", "kernels available", "%s", all);
}

static void add_cpu(struct rows *r)
{
    char value[MAX_TEXT];
    cpu_set_t set;
    machine_cpu(value, sizeof value);
    add(r, "cpu", "model", "%s", value);
    add_features(r);
    add_tables(r);
    int allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    add(r, "cpu", "cores", "%ld online, %d allowed to this process", sysconf(_SC_NPROCESSORS_ONLN),
        allowed);
}

static double kib_of(const char *key)
{
    char value[MAX_TEXT];
    return machine_says(value, sizeof value, "/proc/meminfo", key) ? strtod(value, NULL) : 0;
}

static void add_room(struct rows *r)
{
    struct statvfs v;
    add(r, "memory", "total", "%.1f GiB", kib_of("MemTotal") / (1 << 20));
    add(r, "memory", "available", "%.1f GiB", kib_of("MemAvailable") / (1 << 20));
    if (statvfs(".", &v) == 0)
        add(r, "disk", "free here", "%.1f GiB of %.1f",
            (double)v.f_bavail * (double)v.f_frsize / (1 << 30),
            (double)v.f_blocks * (double)v.f_frsize / (1 << 30));
    else
        add(r, "disk", "free here", "unknown");
}

static void add_gpu(struct rows *r)
{
    struct nvml *n = NULL;
    struct device *dev = NULL;
    struct err err = {0};
    int found = nvml_open(&n, NULL) ? 0 : nvml_n_gpus(n);
    for (int i = 0; i < found; i++) {
        char text[96];
        nvml_name(n, i, text, sizeof text);
        add(r, "gpu", "device", "%s", *text ? text : "unnamed");
    }
    if (!found)
        add(r, "gpu", "device", "none found");
    nvml_close(n);
    if (device_open(&dev, "cuda", 1, &err) == 0)
        add(r, "gpu", "--device cuda", "works, %.1f GiB are free",
            (double)dev->ops->room(dev) / (1 << 30));
    else
        add(r, "gpu", "--device cuda", "%s", err.msg);
    device_close(dev);
}

/* What counts joules here, each kind with its parts or why it does not. */
static void add_meters(struct rows *r, const char *sysfs)
{
    for (int i = 0; meter_kinds[i]; i++) {
        const struct meter_options o = {.sysfs = sysfs};
        struct meter m;
        struct err err = {0};
        if (meter_open(&m, meter_kinds[i]->name, false, &o, &err))
            add(r, "meter", meter_kinds[i]->name, "none: %s", err.msg);
        else
            add(r, "meter", meter_kinds[i]->name, "counts %s: %s", m.kind->counts, m.what);
        meter_close(&m);
    }
}

static bool on_path(const char *program)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        char name[4096];
        int n = (int)strcspn(path, ":");
        snprintf(name, sizeof name, "%.*s/%s", n, path, program);
        if (access(name, X_OK) == 0)
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

static void add_libraries(struct rows *r)
{
    char text[128];
    add(r, "library", "jansson", "%s", jansson_version_str());
    add(r, "library", "libyaml", "%s", yaml_get_version_string());
    pcre2_config(PCRE2_CONFIG_VERSION, text);
    add(r, "library", "PCRE2", "%s", text);
    add(r, "library", "utf8proc", "%s", utf8proc_version());
    add(r, "library", "zlib", "%s", zlibVersion());
    add(r, "library", "zstd", "%s", ZSTD_versionString());
    const char *server = http_server_version(), *client = http_client_version();
    add(r, "library", "libmicrohttpd", "%s", server ? server : "not built in (serve, fleet up)");
    add(r, "library", "libcurl", "%s", client ? client : "not built in (fleet up, forward --live)");
    add(r, "library", "OpenMP", "%d", _OPENMP);
    static const struct {
        const char *name, *what_for;
    } programs[] = {{"gnuplot", "figures"}, {"xz", "a yardstick in reports"}};
    for (size_t i = 0; i < COUNT_OF(programs); i++)
        add(r, "program", programs[i].name, "%s (%s)",
            on_path(programs[i].name) ? "found" : "missing", programs[i].what_for);
}

/* What this build holds, and libraries that no build needs: opened for a look and closed again. */
static void add_options(struct rows *r)
{
    static const struct {
        const char *name, *file, *what_for;
    } libraries[] = {{"CUDA driver", "libcuda.so.1", "products on a GPU"},
                     {"snappy", "libsnappy.so.1", "compressed Parquet"},
                     {"hiredis", "libhiredis.so.0.14", "state shared by gateways"},
                     {"MPI", "libmpi.so.40", "several machines"}};
    for (size_t i = 0; i < COUNT_OF(libraries); i++) {
        void *so = dlopen(libraries[i].file, RTLD_LAZY);
        add(r, "optional", libraries[i].name, "%s (%s)", so ? "found" : "missing",
            libraries[i].what_for);
        if (so)
            dlclose(so);
    }
#ifdef __SANITIZE_ADDRESS__
    add(r, "built with", "sanitizers", "yes");
#else
    add(r, "built with", "sanitizers", "no");
#endif
    add(r, "built with", "compiler", "%s", __VERSION__);
}

static int add_limits(struct rows *r, struct err *err)
{
    struct device *dev = NULL;
    struct limits l;
    int rc = device_open(&dev, "cpu", 0, err);
    if (rc == 0)
        rc = limits_measure(&l, dev->n_threads, err);
    if (rc == 0) {
        add(r, "measured", "threads", "%d", dev->n_threads);
        add(r, "measured", "float32", "%.1f GFLOP/s", l.f32_gflops);
        if (l.bf16_gflops > 0)
            add(r, "measured", "bf16", "%.1f GFLOP/s", l.bf16_gflops);
        else
            add(r, "measured", "bf16", "no units: products in float32");
        add(r, "measured", "memory read", "%.1f GB/s", l.read_gbs);
        add(r, "measured", "memory copy", "%.1f GB/s", l.copy_gbs);
    }
    device_close(dev);
    return rc;
}

static int print_table(const struct rows *r, struct err *err)
{
    struct table *t = NULL;
    struct buf b = {.max_bytes = 1 << 20};
    int rc = table_new(
        &t,
        (struct table_column[]){{"part", TABLE_LEFT}, {"what", TABLE_LEFT}, {"here", TABLE_LEFT}},
        3, err);
    for (int i = 0; rc == 0 && i < r->n; i++) {
        bool same = i > 0 && strcmp(r->all[i].part, r->all[i - 1].part) == 0;
        table_cell(t, "%s", same ? "" : r->all[i].part);
        table_cell(t, "%s", r->all[i].what);
        table_cell(t, "%s", r->all[i].value);
    }
    if (rc == 0)
        rc = table_text(&b, t, err);
    if (rc == 0)
        fputs(b.bytes, stdout);
    buf_release(&b);
    table_free(t);
    return rc;
}

/* {"part": {"what": value or [values]}} */
static int print_json(const struct rows *r, struct err *err)
{
    json_t *root = json_object();
    for (int i = 0; root && i < r->n; i++) {
        json_t *part = json_object_get(root, r->all[i].part);
        if (!part) {
            json_object_set_new(root, r->all[i].part, json_object());
            part = json_object_get(root, r->all[i].part);
        }
        json_t *known = json_object_get(part, r->all[i].what),
               *value = json_string(r->all[i].value);
        if (known && !json_is_array(known)) {
            json_t *list = json_array();
            json_array_append(list, known);
            json_object_set_new(part, r->all[i].what, list);
            known = list;
        }
        if (known)
            json_array_append_new(known, value);
        else
            json_object_set_new(part, r->all[i].what, value);
    }
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    if (text)
        puts(text);
    int rc = text ? 0 : err_set(err, MOE2_ELIMIT, "no memory for the report");
    free(text);
    json_decref(root);
    return rc;
}

static int run(int argc, char **argv)
{
    struct rows rows = {.n = 0};
    bool measure = false, json = false;
    const char *sysfs = NULL;
    struct err err = {0};
    const struct cli_flag flags[] = {{"--measure", FLAG_BOOL, &measure, false},
                                     {"--sysfs", FLAG_TEXT, &sysfs, false},
                                     {"--json", FLAG_BOOL, &json, false}};
    if (cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err))
        return cli_fail("doctor", &err);
    add(&rows, "moe2", "version", MOE2_VERSION);
    add_cpu(&rows);
    add_room(&rows);
    add_gpu(&rows);
    add_meters(&rows, sysfs);
    add_libraries(&rows);
    add_options(&rows);
    if ((measure && add_limits(&rows, &err)) ||
        (json ? print_json(&rows, &err) : print_table(&rows, &err)))
        return cli_fail("doctor", &err);
    return 0;
}

const struct command cmd_doctor = {
    "doctor",
    "what this machine has and which kernels moe2 will use",
    "usage: moe2 doctor [--measure] [--sysfs DIR] [--json]\n\n"
    "  --measure   also measures arithmetic and memory with all threads (a few seconds)\n"
    "  --sysfs DIR where sysfs lies, for energy meters (/sys)\n"
    "  --json      prints one JSON object instead of a table\n\n"
    "examples:\n"
    "  moe2 doctor\n"
    "  moe2 doctor --measure --json\n",
    run,
};
