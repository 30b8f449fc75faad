/* What a configuration promises the person who writes it, one sentence a test. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "io/yaml.h"

static const char *const DTYPES[] = {"f32", "bf16", NULL};

struct config {
    double lr;
    int64_t steps;
    bool resume;
    const char *path, *name;
    int dtype;
    struct yaml_ints seeds;
    struct yaml_reals betas;
    struct yaml_texts files;
    int64_t depth;
};

static const struct yaml_key KEYS[] = {
    {"name", YAML_KEY_TEXT, offsetof(struct config, name), "run", .help = "the run's name"},
    {"train.lr", YAML_KEY_REAL, offsetof(struct config, lr), "1e-3", 0, 1,
     .help = "peak learning rate"},
    {"train.steps", YAML_KEY_INT, offsetof(struct config, steps), "200", 1, 1e9, .help = "…"},
    {"train.resume", YAML_KEY_BOOL, offsetof(struct config, resume), "false", .help = "…"},
    {"train.dtype", YAML_KEY_CHOICE, offsetof(struct config, dtype), "f32", .choices = DTYPES,
     .help = "…"},
    {"train.seeds", YAML_KEY_INT_LIST, offsetof(struct config, seeds), "[1, 2, 3]", 0, INFINITY,
     .help = "…"},
    {"train.betas", YAML_KEY_REAL_LIST, offsetof(struct config, betas), "0.9,0.999", 0, 1,
     .help = "…"},
    {"data.files", YAML_KEY_TEXT_LIST, offsetof(struct config, files), "", .help = "…"},
    {"data.path", YAML_KEY_TEXT, offsetof(struct config, path), NULL, .help = "…"},
    {"a.b.c.depth", YAML_KEY_INT, offsetof(struct config, depth), "-5", .help = "…"},
};

enum { N_KEYS = sizeof KEYS / sizeof *KEYS };

static int read_text(struct yaml_config **c, struct config *values, const char *text,
                     struct err *err)
{
    struct yaml_source s = {.path = "run.yaml", .text = text, .n_text = strlen(text)};
    return yaml_read(c, values, KEYS, N_KEYS, &s, err);
}

static void what_is_not_given_has_its_default(void **state)
{
    (void)state;
    struct config v;
    struct yaml_config *c = NULL;
    assert_int_equal(0, read_text(&c, &v, "data: {path: /tmp/x}\n", NULL));
    assert_true(v.lr == 1e-3);
    assert_int_equal(200, v.steps);
    assert_int_equal(0, v.dtype);
    assert_false(v.resume);
    assert_string_equal("run", v.name);
    assert_string_equal("/tmp/x", v.path);
    assert_int_equal(3, v.seeds.n);
    assert_int_equal(3, v.seeds.values[2]);
    assert_true(v.betas.n == 2 && v.betas.values[1] == 0.999);
    assert_int_equal(0, v.files.n);
    assert_int_equal(-5, v.depth);
    assert_true(yaml_given(c, "data.path"));
    assert_false(yaml_given(c, "train.lr"));
    yaml_config_free(c);
}

static void sections_dots_lists_and_quotes_are_understood(void **state)
{
    (void)state;
    struct config v;
    struct yaml_config *c = NULL;
    assert_int_equal(0, read_text(&c, &v,
                                  "# a comment\n"
                                  "name: \"perché # no\"\n"
                                  "train:\n"
                                  "  lr: .5\n"
                                  "  resume: true\n"
                                  "  dtype: bf16\n"
                                  "  seeds:\n    - 7\n    - 8\n"
                                  "train.steps: 12\n"
                                  "data:\n  path: 123\n  files: [a b, 'c, d', \"\"]\n"
                                  "a:\n  b:\n    c: {depth: +4}\n",
                                  NULL));
    assert_string_equal("perché # no", v.name);
    assert_true(v.lr == 0.5 && v.resume && v.dtype == 1);
    assert_true(v.seeds.n == 2 && v.seeds.values[1] == 8);
    assert_int_equal(12, v.steps);
    assert_string_equal("123", v.path);
    assert_int_equal(3, v.files.n);
    assert_string_equal("c, d", v.files.values[1]);
    assert_string_equal("", v.files.values[2]);
    assert_int_equal(4, v.depth);
    yaml_config_free(c);
}

static const struct {
    const char *text;
    int code;
    const char *message;
} BROKEN[] = {
    {"train:\n  lr: abc\n", MOE2_ECONFIG,
     "run.yaml:2: train.lr is \"abc\", wanted a number from 0 to 1"},
    {"train:\n\n  lr: 1.5\n", MOE2_ECONFIG,
     "run.yaml:3: train.lr is \"1.5\", wanted a number from 0 to 1"},
    {"train: {lr: '0.5'}", MOE2_ECONFIG,
     "run.yaml:1: train.lr is \"0.5\" in quotes, wanted a number from 0 to 1"},
    {"train: {lr: .nan}", MOE2_ECONFIG,
     "run.yaml:1: train.lr is \".nan\", wanted a number from 0 to 1"},
    {"train: {lr: 1e999}", MOE2_ECONFIG,
     "run.yaml:1: train.lr is \"1e999\", wanted a number from 0 to 1"},
    {"train: {lr: 0x1p-3}", MOE2_ECONFIG,
     "run.yaml:1: train.lr is \"0x1p-3\", wanted a number from 0 to 1"},
    {"train: {lr: }", MOE2_ECONFIG,
     "run.yaml:1: train.lr has no value, wanted a number from 0 to 1"},
    {"train: {lr: [1]}", MOE2_ECONFIG,
     "run.yaml:1: train.lr is a list, wanted a number from 0 to 1"},
    {"train: {lr: {x: 1}}", MOE2_ECONFIG,
     "run.yaml:1: train.lr is a section, wanted a number from 0 to 1"},
    {"train: {steps: 1.0}", MOE2_ECONFIG,
     "run.yaml:1: train.steps is \"1.0\", wanted a whole number from 1 to 1000000000"},
    {"train: {steps: 99999999999999999999}", MOE2_ECONFIG,
     "run.yaml:1: train.steps is \"99999999999999999999\", wanted a whole number from 1 to "
     "1000000000"},
    {"train: {resume: yes}", MOE2_ECONFIG,
     "run.yaml:1: train.resume is \"yes\", wanted true or false"},
    {"train: {dtype: fp32}", MOE2_ECONFIG,
     "run.yaml:1: train.dtype is \"fp32\", wanted one of f32, bf16"},
    {"train:\n  seeds: 4\n", MOE2_ECONFIG,
     "run.yaml:2: train.seeds is \"4\", wanted a list of whole numbers of at least 0"},
    {"train:\n  seeds: [4,\n    -1]\n", MOE2_ECONFIG,
     "run.yaml:2: train.seeds[1] is \"-1\", wanted a list of whole numbers of at least 0"},
    {"train:\n  seeds: [4, [5]]\n", MOE2_ECONFIG,
     "run.yaml:2: train.seeds[1] is a list or section, wanted one value"},
    {"data: {path: null}", MOE2_ECONFIG, "run.yaml:1: data.path is \"null\", wanted a text"},
    {"train:\n  lr: 1\n  lr: 1\n", MOE2_ECONFIG,
     "run.yaml:3: train.lr stands twice, first in line 2"},
    {"train:\n  lr: 1\ntrain.lr: 1\n", MOE2_ECONFIG,
     "run.yaml:3: train.lr stands twice, first in line 2"},
    {"train:\n  stesp: 1\n", MOE2_ECONFIG,
     "run.yaml:2: train.stesp is no key, did you mean train.steps?"},
    {"lr: 1\n", MOE2_ECONFIG, "run.yaml:1: lr is no key, did you mean train.lr?"},
    {"name: x\ntrian:\n  lr: 1\n", MOE2_ECONFIG,
     "run.yaml:2: trian is no section, did you mean train?"},
    {"zzzzzz: 1\n", MOE2_ECONFIG, "run.yaml:1: zzzzzz is no key (--help-config lists them)"},
    {"train: 3\n", MOE2_ECONFIG, "run.yaml:1: train has a value, wanted the keys of that section"},
    {"train:\n  ? [1]\n  : 2\n", MOE2_ECONFIG,
     "run.yaml:2: a list or section stands where a key must stand"},
    {"name: &x y\n", MOE2_EFORMAT, "run.yaml:1: has an anchor or alias, wanted the value itself"},
    {"name: *x\n", MOE2_EFORMAT, "run.yaml:1: has an anchor or alias, wanted the value itself"},
    {"name: !!str y\n", MOE2_EFORMAT, "run.yaml:1: has the tag tag:yaml.org,2002:str, wanted none"},
    {"name: \"a\\0b\"\n", MOE2_EFORMAT, "run.yaml:1: has a NUL byte in a text"},
    {"- 1\n", MOE2_EFORMAT, "run.yaml:1: does not begin with \"key: value\""},
    {"abc\n", MOE2_EFORMAT, "run.yaml:1: does not begin with \"key: value\""},
    {"name: x\n---\nname: y\n", MOE2_EFORMAT, "run.yaml:2: begins a second document, wanted one"},
    {"name: [x\n", MOE2_EFORMAT, "run.yaml:2: is no YAML: did not find expected ',' or ']'"},
    {"name: \xff\n", MOE2_EFORMAT, "run.yaml:1: is no YAML: invalid leading UTF-8 octet"},
    {"name: x\n", MOE2_ECONFIG, "run.yaml: data.path is missing, wanted a text"},
    {"", MOE2_ECONFIG, "run.yaml: data.path is missing, wanted a text"},
};

static void every_mistake_is_named_with_its_line_its_key_and_what_was_wanted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof BROKEN / sizeof *BROKEN; i++) {
        struct config v, untouched;
        struct yaml_config *c = NULL;
        struct err err = {0};
        memset(&v, 0x5a, sizeof v);
        memset(&untouched, 0x5a, sizeof v);
        int rc = read_text(&c, &v, BROKEN[i].text, &err);
        assert_string_equal(BROKEN[i].message, err.msg);
        assert_int_equal(BROKEN[i].code, rc);
        assert_null(c);
        assert_memory_equal(&v, &untouched, sizeof v);
    }
}

static void limits_of_size_are_named(void **state)
{
    (void)state;
    struct config v;
    struct yaml_config *c = NULL;
    struct err err = {0};
    struct buf b = {0};
    buf_puts(&b, "train: {seeds: [0", NULL);
    for (int i = 0; i < YAML_MAX_LIST; i++)
        buf_puts(&b, ",1", NULL);
    buf_puts(&b, "]}", NULL);
    assert_int_equal(MOE2_ELIMIT, read_text(&c, &v, b.bytes, &err));
    assert_string_equal(err.msg, "run.yaml:1: train.seeds has more than 4096 values");
    buf_clear(&b);
    for (int i = 0; i < 200; i++)
        buf_puts(&b, "x", NULL);
    buf_puts(&b, ": 1", NULL);
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_ELIMIT, read_text(&c, &v, b.bytes, &err));
    assert_string_equal(err.msg, "run.yaml:1: a key has more than 127 bytes");
    buf_clear(&b);
    while (b.n <= YAML_MAX_FILE_BYTES)
        buf_puts(&b, "# a long comment\n", NULL);
    memset(&err, 0, sizeof err);
    assert_int_equal(MOE2_ELIMIT, read_text(&c, &v, b.bytes, &err));
    assert_string_equal(err.msg, "run.yaml: has more than 1048576 bytes");
    buf_release(&b);
}

static int read_overrides(struct yaml_config **c, struct config *v, const char *a, const char *b,
                          struct err *err)
{
    const char *words[] = {a, b};
    struct yaml_source s = {.path = "run.yaml",
                            .text = "data: {path: x}\ntrain: {lr: 0.5}",
                            .n_text = 33,
                            .overrides = words,
                            .n_overrides = b ? 2 : 1};
    s.n_text = strlen(s.text);
    return yaml_read(c, v, KEYS, N_KEYS, &s, err);
}

static void overrides_win_over_the_file_and_the_last_wins(void **state)
{
    (void)state;
    struct config v;
    struct yaml_config *c = NULL;
    assert_int_equal(0, read_overrides(&c, &v, "train.lr=0.25", "train.lr=0.125", NULL));
    assert_true(v.lr == 0.125);
    yaml_config_free(c);
    assert_int_equal(0, read_overrides(&c, &v, "train.seeds=5", "data.files=[a, 'b, c']", NULL));
    assert_true(v.seeds.n == 1 && v.seeds.values[0] == 5);
    assert_int_equal(2, v.files.n);
    assert_string_equal("b, c", v.files.values[1]);
    assert_true(yaml_given(c, "train.seeds"));
    yaml_config_free(c);
    assert_int_equal(0, read_overrides(&c, &v, "name=a: b #c = d", "data.path=", NULL));
    assert_string_equal("a: b #c = d", v.name);
    assert_string_equal("", v.path);
    yaml_config_free(c);
}

static void a_bad_override_is_named_like_a_bad_line(void **state)
{
    (void)state;
    static const struct {
        const char *override, *message;
    } bad[] = {
        {"train.lr=2", "train.lr is \"2\", wanted a number from 0 to 1"},
        {"train.lr=", "train.lr has no value, wanted a number from 0 to 1"},
        {"train.lr", "\"train.lr\" is no override, wanted key=value"},
        {"=3", "\"=3\" is no override, wanted key=value"},
        {"train.rl=3", "train.rl is no key, did you mean train.lr?"},
        {"train=3", "train is a section, wanted one of its keys"},
        {"train.seeds=1,x",
         "train.seeds[1] is \"x\", wanted a list of whole numbers of at least 0"},
        {"train.seeds=[1", "train.seeds is no YAML: did not find expected ',' or ']'"},
        {"train.seeds=[1] 2", "train.seeds is no YAML: did not find expected <document start>"},
        {"train.seeds=&a 1", "has an anchor or alias, wanted the value itself"},
        {"name=\xff", "an override is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct config v;
        struct yaml_config *c = NULL;
        struct err err = {0};
        read_overrides(&c, &v, bad[i].override, NULL, &err);
        assert_string_equal(bad[i].message, err.msg);
        assert_null(c);
    }
}

static void setting_a_value_later_goes_through_the_same_checks(void **state)
{
    (void)state;
    struct config v;
    struct yaml_config *c = NULL;
    struct err err = {0};
    assert_int_equal(0, read_text(&c, &v, "data: {path: x}", NULL));
    assert_int_equal(0, yaml_set(c, &v, "train.steps=77", NULL));
    assert_int_equal(77, v.steps);
    assert_true(yaml_given(c, "train.steps"));
    assert_int_equal(MOE2_ECONFIG, yaml_set(c, &v, "train.steps=0", &err));
    assert_string_equal(err.msg,
                        "train.steps is \"0\", wanted a whole number from 1 to 1000000000");
    assert_int_equal(77, v.steps);
    yaml_config_free(c);
}

static void a_dump_reads_back_to_the_same_values(void **state)
{
    (void)state;
    struct config v, again;
    struct yaml_config *c = NULL, *d = NULL;
    struct buf b = {0}, second = {0};
    assert_int_equal(
        0, read_text(&c, &v,
                     "data: {path: \"null\", files: [a, \"true\", \"x: y\", \"q\\\"\\n\\u2028\"]}\n"
                     "train: {lr: 0.1, betas: [0.3333333333333333, 1e-7]}\nname: ''\n",
                     NULL));
    assert_int_equal(0, yaml_dump(&b, &v, KEYS, N_KEYS, NULL));
    assert_string_equal(b.bytes, "name: \"\"\n"
                                 "train:\n"
                                 "  lr: 0.1\n"
                                 "  steps: 200\n"
                                 "  resume: false\n"
                                 "  dtype: f32\n"
                                 "  seeds: [1, 2, 3]\n"
                                 "  betas: [0.3333333333333333, 1e-07]\n"
                                 "data:\n"
                                 "  files: [a, \"true\", \"x: y\", \"q\\\"\\u000a\\u2028\"]\n"
                                 "  path: \"null\"\n"
                                 "a:\n"
                                 "  b:\n"
                                 "    c:\n"
                                 "      depth: -5\n");
    assert_int_equal(0, read_text(&d, &again, b.bytes, NULL));
    assert_int_equal(0, yaml_dump(&second, &again, KEYS, N_KEYS, NULL));
    assert_string_equal(b.bytes, second.bytes);
    buf_release(&b);
    buf_release(&second);
    yaml_config_free(c);
    yaml_config_free(d);
}

static void the_table_documents_itself(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(0, yaml_help(&b, KEYS, 2, NULL));
    assert_string_equal(b.bytes, "key       wanted                default  meaning\n"
                                 "────────  ────────────────────  ───────  ──────────────────\n"
                                 "name      a text                run      the run's name\n"
                                 "train.lr  a number from 0 to 1  1e-3     peak learning rate\n");
    buf_release(&b);
}

static void a_file_that_is_not_there_is_named(void **state)
{
    (void)state;
    struct config v;
    struct yaml_config *c = NULL;
    struct err err = {0};
    struct yaml_source s = {.path = "none.yaml"};
    assert_int_equal(MOE2_EIO, yaml_read(&c, &v, KEYS, N_KEYS, &s, &err));
    assert_string_equal(err.msg, "none.yaml: can't be opened: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_given_has_its_default),
        cmocka_unit_test(sections_dots_lists_and_quotes_are_understood),
        cmocka_unit_test(every_mistake_is_named_with_its_line_its_key_and_what_was_wanted),
        cmocka_unit_test(limits_of_size_are_named),
        cmocka_unit_test(overrides_win_over_the_file_and_the_last_wins),
        cmocka_unit_test(a_bad_override_is_named_like_a_bad_line),
        cmocka_unit_test(setting_a_value_later_goes_through_the_same_checks),
        cmocka_unit_test(a_dump_reads_back_to_the_same_values),
        cmocka_unit_test(the_table_documents_itself),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
