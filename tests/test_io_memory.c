/* What the file formats promise when memory ends: whichever allocation fails, one sentence, nothing
 * lost and nothing half written.
 *
 * This program replaces malloc and counts: the k-th allocation of an operation fails, and all
 * behind it, for k = 1, 2, … until the operation succeeds. A sanitizer's allocator can't be
 * replaced, so under one the tests are skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/file.h"
#include "base/stats.h"
#include "base/table.h"
#include "io/json_util.h"
#include "io/npy.h"
#include "io/records.h"
#include "io/safetensors.h"
#include "io/yaml.h"
#include "model/router_file.h"
#include "route/router.h"

#define DIR "test_io_memory.tmp"
#include "folder_fixture.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define CAN_FAIL 0
static bool armed;
static int64_t left, n_live;
#else
#define CAN_FAIL 1

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
void __libc_free(void *p);

static bool armed;           /* whether allocations are counted and fail */
static int64_t left, n_live; /* allocations until the first failure; made and not freed */

static bool refuse(void)
{
    return armed && left-- <= 0;
}

static void *count(void *p)
{
    n_live += armed && p;
    return p;
}

void *malloc(size_t n)
{
    return refuse() ? NULL : count(__libc_malloc(n));
}

void *calloc(size_t n, size_t size)
{
    return refuse() ? NULL : count(__libc_calloc(n, size));
}

void *realloc(void *p, size_t n)
{
    if (refuse())
        return NULL;
    void *q = __libc_realloc(p, n);
    return p ? q : count(q);
}

void *aligned_alloc(size_t align, size_t n)
{
    return refuse() ? NULL : count(__libc_memalign(align, n));
}

void free(void *p)
{
    n_live -= armed && p;
    __libc_free(p);
}
#endif

/* Runs operation with ever more memory until it succeeds. Without enough it must fail with
 * MOE2_ELIMIT and a sentence; a few system calls report their own lack of memory as MOE2_EIO. */
static void starve(int (*operation)(struct err *))
{
    if (!CAN_FAIL) {
        print_message("skipped: a sanitizer's allocator can't be made to fail\n");
        skip();
    }
    struct err err = {0};
    int rc = -1;
    for (int64_t k = 0; k < 5000 && rc; k++) {
        memset(&err, 0, sizeof err);
        left = k;
        n_live = 0;
        armed = true;
        rc = operation(&err);
        armed = false;
        int64_t lost = n_live;
        assert_int_equal(0, lost);
        assert_int_equal(rc, err.code);
        assert_true(rc == 0 || rc == MOE2_ELIMIT || (rc == MOE2_EIO && strstr(err.msg, "memory")));
        assert_true(rc == 0 || *err.msg);
    }
    assert_int_equal(0, rc);
}

/* ---- the operations ---- */

static const struct safetensors_decl DECLS[] = {
    {"a", DT_F32, 1, {2}}, {"b", DT_U8, 1, {3}}, {"c", DT_F16, 1, {1}}};

static int write_checkpoint(struct err *err)
{
    struct safetensors_writer *w = NULL;
    const char *metadata[] = {"k", "v", NULL};
    struct safetensors_options o = {.max_shard_bytes = 4, .metadata = metadata};
    int rc = safetensors_create_folder(&w, DIR "/m", DECLS, 3, &o, err);
    if (rc)
        return rc;
    rc = safetensors_put(w, "12345678", 8, err);
    if (!rc)
        rc = safetensors_put(w, "123", 3, err);
    if (!rc)
        rc = safetensors_put(w, "12", 2, err);
    if (!rc)
        return safetensors_commit(w, err);
    safetensors_abort(w);
    return rc;
}

static int open_checkpoint(struct err *err)
{
    struct safetensors *st = NULL;
    int rc = safetensors_open(&st, DIR "/m", err);
    safetensors_close(st);
    return rc;
}

static int write_npy(struct err *err)
{
    return npy_write(DIR "/x.npy", DT_U8, (int64_t[]){3}, 1, "abc", err);
}

struct values {
    int64_t i;
    const char *t;
    struct yaml_texts ts;
};

static int read_yaml(struct err *err)
{
    static const struct yaml_key keys[] = {
        {"a.i", YAML_KEY_INT, offsetof(struct values, i), "1", .help = "…"},
        {"a.t", YAML_KEY_TEXT, offsetof(struct values, t), "x", .help = "…"},
        {"l", YAML_KEY_TEXT_LIST, offsetof(struct values, ts), "a,b", .help = "…"},
    };
    static const char text[] = "a:\n  i: 3\n  t: \"y\"\n";
    const char *override = "l=[c, d]";
    struct yaml_source s = {
        .text = text, .n_text = sizeof text - 1, .overrides = &override, .n_overrides = 1};
    struct yaml_config *c = NULL;
    struct values v;
    struct buf b = {0};
    int rc = yaml_read(&c, &v, keys, 3, &s, err);
    if (!rc)
        rc = yaml_set(c, &v, "a.t=z", err);
    if (!rc)
        rc = yaml_dump(&b, &v, keys, 3, err);
    if (!rc)
        rc = yaml_help(&b, keys, 3, err);
    buf_release(&b);
    yaml_config_free(c);
    return rc;
}

static int read_records(const char *path, struct err *err)
{
    struct records *r = NULL;
    bool got = true;
    int rc = records_open(&r, path, NULL, err);
    while (!rc && got)
        rc = records_next(r, &got, err);
    records_close(r);
    return rc;
}

static int read_csv(struct err *err)
{
    return read_records(DIR "/x.csv", err);
}

static int read_jsonl_gz(struct err *err)
{
    return read_records(DIR "/x.jsonl.gz", err);
}

static struct router *router;

static int load_router(struct err *err)
{
    return router_file_load_layer(router, DIR "/r.safetensors", 0, err);
}

static int render_table(struct err *err)
{
    struct table *t = NULL;
    struct buf b = {0};
    int rc = table_new(&t, (struct table_column[]){{"a", TABLE_LEFT}, {"b", TABLE_RIGHT}}, 2, err);
    for (int i = 0; i < 100 && !rc; i++)
        table_cell(t, "%d", i);
    rc = rc ? rc : table_text(&b, t, err);
    buf_release(&b);
    table_free(t);
    return rc;
}

static int rank(struct err *err)
{
    double rho;
    return stats_spearman(&rho, (double[]){1, 2, 3}, (double[]){1, 3, 2}, 3, err);
}

/* ---- the tests ---- */

static void checkpoints_survive_a_lack_of_memory(void **state)
{
    (void)state;
    starve(write_checkpoint);
    starve(open_checkpoint);
    char **names = NULL;
    size_t n = 0;
    assert_int_equal(0, dir_names(&names, &n, DIR "/m", NULL));
    assert_int_equal(4, n); /* three shards and the index, no temporary file of any failed try */
    dir_names_free(names, n);
}

static void arrays_survive_a_lack_of_memory(void **state)
{
    (void)state;
    starve(write_npy);
    struct npy a = {0};
    assert_int_equal(0, npy_open(&a, DIR "/x.npy", NULL));
    npy_close(&a);
}

static void configurations_survive_a_lack_of_memory(void **state)
{
    (void)state;
    starve(read_yaml);
}

static void records_survive_a_lack_of_memory(void **state)
{
    (void)state;
    static const char csv[] = "a,b\n1,\"2\n3\"\n", jsonl[] = "{\"a\": \"1\", \"b\": [2]}\n{}\n";
    assert_int_equal(0, file_write(DIR "/x.csv", csv, sizeof csv - 1, NULL));
    gzFile f = gzopen(DIR "/x.jsonl.gz", "wb");
    assert_int_equal(sizeof jsonl - 1, gzwrite(f, jsonl, sizeof jsonl - 1));
    gzclose(f);
    starve(read_csv);
    starve(read_jsonl_gz);
}

/* Makes router, and a file of its state. */
static void open_router(void)
{
    struct router_config config;
    struct route_state_item items[ROUTE_STATE_MAX];
    struct safetensors_decl decls[ROUTE_STATE_MAX];
    char names[ROUTE_STATE_MAX][64];
    struct safetensors_writer *w = NULL;
    router_config_init(&config);
    config.n_experts = 4;
    config.n_picks = 2;
    config.incentive.name = "rd_esi";
    router_config_resolve(&config, 10);
    assert_int_equal(0, router_new(&router, &config, 0, NULL));
    int n = router_state(router, items);
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "layers.0.%s", items[i].name);
        decls[i] = (struct safetensors_decl){
            .name = names[i], .dtype = DT_F32, .n_dims = 1, .shape = {items[i].n}};
    }
    struct safetensors_options options = {0};
    assert_true(n > 1);
    assert_int_equal(0, safetensors_create(&w, DIR "/r.safetensors", decls, n, &options, NULL));
    for (int i = 0; i < n; i++)
        assert_int_equal(0, safetensors_put_f32(w, items[i].values, items[i].n, NULL));
    assert_int_equal(0, safetensors_commit(w, NULL));
}

static void routers_survive_a_lack_of_memory(void **state)
{
    (void)state;
    open_router();
    starve(load_router);
    router_free(router);
}

static void tables_and_ranks_survive_a_lack_of_memory(void **state)
{
    (void)state;
    starve(render_table);
    starve(rank);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(checkpoints_survive_a_lack_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(arrays_survive_a_lack_of_memory, setup, teardown),
        cmocka_unit_test(configurations_survive_a_lack_of_memory),
        cmocka_unit_test_setup_teardown(records_survive_a_lack_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(routers_survive_a_lack_of_memory, setup, teardown),
        cmocka_unit_test(tables_and_ranks_survive_a_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
