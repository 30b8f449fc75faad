/* What energy meters promise, on a sysfs tree of our own: files that count, wrap, are missing, may not be read or hold nonsense. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "fleet/meter_sysfs.h"
#include "pipeline/meters.h"

enum { NOBODY = 65534 };

#define POWERCAP "class/powercap/intel-rapl"

static char root[] = "/tmp/moe2-meters-XXXXXX";

/* Files of sysfs are changed in place. */
static void put(const char *name, const char *text)
{
    char path[512], *slash;
    snprintf(path, sizeof path, "%s/%s", root, name);
    slash = strrchr(path, '/');
    *slash = 0;
    assert_int_equal(0, dir_make(path, NULL));
    *slash = '/';
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int clear(void **state)
{
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s/class", root);
    return file_remove_all(path, NULL);
}

static int make_root(void **state)
{
    (void)state;
    return mkdtemp(root) ? chmod(root, 0755) : -1;
}

static int remove_root(void **state)
{
    (void)state;
    return file_remove_all(root, NULL);
}

static void package(int i, const char *name, const char *energy, const char *range)
{
    char path[128];
    snprintf(path, sizeof path, POWERCAP ":%d/name", i);
    put(path, name);
    snprintf(path, sizeof path, POWERCAP ":%d/energy_uj", i);
    put(path, energy);
    snprintf(path, sizeof path, POWERCAP ":%d/max_energy_range_uj", i);
    put(path, range);
}

static void rail(int chip, int channel, const char *label, const char *mv, const char *ma)
{
    char path[128];
    snprintf(path, sizeof path, "class/hwmon/hwmon%d/name", chip);
    put(path, "ina3221\n");
    snprintf(path, sizeof path, "class/hwmon/hwmon%d/in%d_label", chip, channel);
    put(path, label);
    snprintf(path, sizeof path, "class/hwmon/hwmon%d/in%d_input", chip, channel);
    put(path, mv);
    snprintf(path, sizeof path, "class/hwmon/hwmon%d/curr%d_input", chip, channel);
    put(path, ma);
}

static int open_one(struct meter *m, const char *name, struct err *err)
{
    return meter_open(m, name, false, &(struct meter_options){.sysfs = root, .sample_ms = 2}, err);
}

static void opened(struct meter *m, const char *name)
{
    struct err err = {0};
    if (open_one(m, name, &err))
        fail_msg("%s: %s", name ? name : "auto", err.msg);
}

static void refused(const char *name, int code, const char *why)
{
    struct meter m;
    struct err err = {0};
    assert_int_equal(code, open_one(&m, name, &err));
    if (!strstr(err.msg, why))
        fail_msg("\"%s\", wanted \"%s\"", err.msg, why);
    meter_close(&m);
}

static double joules(struct meter *m)
{
    double j = -1;
    struct err err = {0};
    if (meter_joules(&j, m, &err))
        fail_msg("%s", err.msg);
    return j;
}

static void broken(struct meter *m, const char *why)
{
    double j;
    struct err err = {0};
    assert_int_not_equal(0, meter_joules(&j, m, &err));
    if (!strstr(err.msg, why))
        fail_msg("\"%s\", wanted \"%s\"", err.msg, why);
}

static void nap(int ms)
{
    nanosleep(&(struct timespec){0, ms * 1000000L}, NULL);
}

static void packages_are_summed_and_their_parts_and_the_board_are_not(void **state)
{
    (void)state;
    struct meter m;
    package(0, "package-0\n", "1000000\n", "262143328850\n");
    package(1, "package-1\n", "5000000\n", "262143328850\n");
    package(2, "psys\n", "7\n", "9\n");
    put(POWERCAP ":0:0/name", "core\n");
    put(POWERCAP ":0:0/energy_uj", "1\n");
    put(POWERCAP "-mmio:0/name", "package-0\n");
    opened(&m, "rapl");
    assert_string_equal("package-0, package-1", m.what);
    assert_true(joules(&m) == 0);
    package(0, "package-0\n", "3500000\n", "262143328850\n");
    package(1, "package-1\n", "5250000\n", "262143328850\n");
    package(2, "psys\n", "9000000\n", "9\n");
    assert_true(fabs(joules(&m) - 2.75) < 1e-12);
    meter_close(&m);
}

static void a_counter_that_begins_again_at_its_range_goes_on_counting(void **state)
{
    (void)state;
    struct meter m;
    package(0, "package-0", "9500000", "10000000");
    opened(&m, "rapl");
    package(0, "package-0", "250000", "10000000");
    assert_true(fabs(joules(&m) - 0.75) < 1e-12);
    package(0, "package-0", "100000", "10000000"); /* nearly a whole turn */
    assert_true(fabs(joules(&m) - 10.6) < 1e-12);
    meter_close(&m);
}

static void what_is_no_counter_is_refused_by_its_path(void **state)
{
    (void)state;
    struct meter m;
    refused("rapl", MOE2_ECONFIG, "class/powercap has no intel-rapl package");
    package(0, "psys", "1", "2");
    refused("rapl", MOE2_ECONFIG, "has no intel-rapl package");
    package(0, "package-0", "many", "10");
    refused("rapl", MOE2_EFORMAT, "intel-rapl:0/energy_uj: is \"many\", wanted a whole number");
    package(0, "package-0", "-5", "10");
    refused("rapl", MOE2_EFORMAT, "energy_uj: is \"-5\"");
    package(0, "package-0", "99999999999999999999", "10");
    refused("rapl", MOE2_EFORMAT, "energy_uj: is \"99999999999999999999\"");
    package(0, "package-0", "", "10");
    refused("rapl", MOE2_EFORMAT, "energy_uj: is empty");
    package(0, "package-0", "1", "0");
    refused("rapl", MOE2_EFORMAT, "max_energy_range_uj: is \"0\"");
    char longest[4000];
    memset(longest, '1', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    package(0, "package-0", longest, "10");
    refused("rapl", MOE2_EFORMAT, "energy_uj: is longer than 127 bytes");
    package(0, "package-0", "5", "10");
    opened(&m, "rapl");
    package(0, "package-0", "x", "10");
    broken(&m, "energy_uj: is \"x\"");
    meter_close(&m);
    package(0, "package-0", "50", "10"); /* beyond its range, and then lower */
    opened(&m, "rapl");
    package(0, "package-0", "40", "10");
    broken(&m, "fell from 50 to 40, beyond its range of 10");
    meter_close(&m);
}

static void a_counter_that_vanishes_or_is_forbidden_is_told(void **state)
{
    (void)state;
    struct meter m;
    char path[256];
    package(0, "package-0", "5", "10");
    snprintf(path, sizeof path, "%s/" POWERCAP ":0/energy_uj", root);
    opened(&m, "rapl");
    assert_int_equal(0, unlink(path));
    broken(&m, "energy_uj: can't be read: No such file");
    meter_close(&m);
    refused("rapl", MOE2_EIO, "energy_uj: can't be read: No such file");
    put(POWERCAP ":0/energy_uj", "5");
    assert_int_equal(0, chmod(path, 0));
    bool is_root = geteuid() == 0; /* who may read everything */
    if (is_root && seteuid(NOBODY)) {
        print_message("skipped: root can't become nobody here\n");
        return;
    }
    refused("rapl", MOE2_EIO, "only root may read it, or whom root gives leave: ");
    refused("rapl", MOE2_EIO, "Permission denied");
    if (is_root)
        assert_int_equal(0, seteuid(0));
}

static void watts_become_joules_over_time_and_rails_are_summed(void **state)
{
    (void)state;
    struct meter m;
    rail(3, 1, "VDD_GPU_SOC\n", "5000\n", "2000\n"); /* 10 W */
    rail(3, 2, "VDD_CPU_CV\n", "12000\n", "500\n");  /* 6 W */
    rail(3, 3, "OFF\n", "12000\n", "500\n");
    put("class/hwmon/hwmon3/in3_enable", "0\n");
    rail(4, 1, "VIN_SYS_5V0\n", "5000\n", "-8\n"); /* nothing */
    put("class/hwmon/hwmon1/name", "coretemp\n");
    put("class/hwmon/hwmon1/in1_input", "nonsense");
    put("class/hwmon/hwmon1/curr1_input", "nonsense");
    double before_s = clock_s();
    opened(&m, "ina3221");
    double after_s = clock_s();
    assert_string_equal("VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0", m.what);
    nap(40);
    double least_s = clock_s() - after_s, j = joules(&m), most_s = clock_s() - before_s;
    if (!(j >= 16 * least_s - 1e-9 && j <= 16 * most_s + 1e-9))
        fail_msg("%g J, wanted 16 W for %g to %g s", j, least_s, most_s);
    assert_true(joules(&m) >= j);
    meter_close(&m);
}

static void a_rise_of_watts_between_readings_is_seen_by_the_sampler(void **state)
{
    (void)state;
    struct meter m;
    rail(0, 1, "VDD_IN", "1000", "0");
    rail(0, 2, "VDD_SOC", "1000", "1000000"); /* inside VDD_IN: not added */
    opened(&m, "ina3221");
    assert_string_equal("VDD_IN", m.what);
    put("class/hwmon/hwmon0/curr1_input.new", "1000000"); /* 1 kW */
    char from[256], to[256];
    snprintf(from, sizeof from, "%s/class/hwmon/hwmon0/curr1_input.new", root);
    snprintf(to, sizeof to, "%s/class/hwmon/hwmon0/curr1_input", root);
    assert_int_equal(0, rename(from, to));
    nap(60);
    put("class/hwmon/hwmon0/curr1_input.new", "0");
    assert_int_equal(0, rename(from, to));
    nap(20);
    double j = joules(&m);
    assert_true(j > 20); /* one look at the end would see nothing */
    meter_close(&m);
}

static void rails_that_hold_nonsense_are_told_at_once_or_when_they_begin_to(void **state)
{
    (void)state;
    struct meter m;
    refused("ina3221", MOE2_ECONFIG, "class/hwmon has no ina3221 with a rail that answers");
    rail(0, 1, "A", "5000", "much");
    refused("ina3221", MOE2_EFORMAT, "hwmon0/curr1_input: is \"much\", wanted a whole number");
    rail(0, 1, "A", "-5", "1");
    refused("ina3221", MOE2_EFORMAT, "hwmon0/in1_input: is \"-5\"");
    rail(0, 1, "", "5000", "1000");
    opened(&m, "ina3221");
    assert_string_equal("rail 1", m.what);
    put("class/hwmon/hwmon0/in1_input", "gone");
    nap(20);
    put("class/hwmon/hwmon0/in1_input", "5000"); /* the gap stays */
    broken(&m, "hwmon0/in1_input: is ");
    meter_close(&m);
}

static void auto_takes_the_first_that_answers_and_says_why_none_does(void **state)
{
    (void)state;
    struct meter m;
    opened(&m, "auto");
    assert_null(m.kind);
    assert_non_null(strstr(m.what, "rapl: "));
    assert_non_null(strstr(m.what, "; ina3221: "));
    assert_true(isnan(joules(&m)));
    meter_close(&m);
    rail(0, 1, "A", "5000", "1000");
    opened(&m, "auto");
    assert_ptr_equal(&meter_ina3221, m.kind);
    meter_close(&m);
    package(0, "package-0", "5", "10");
    opened(&m, NULL);
    assert_ptr_equal(&meter_rapl, m.kind);
    meter_close(&m);
    opened(&m, "none");
    assert_null(m.kind);
    refused("amperes", MOE2_ECONFIG, "there is no meter \"amperes\", wanted auto, rapl, ina3221");
}

static void a_path_that_is_too_long_is_refused(void **state)
{
    (void)state;
    static char longest[2000];
    struct meter m;
    memset(longest, 'a', sizeof longest - 1);
    const struct meter_options o = {.sysfs = longest};
    for (int i = 0; i < 2; i++) {
        struct err err = {0};
        assert_int_equal(MOE2_ELIMIT, meter_open(&m, meter_kinds[i]->name, false, &o, &err));
        assert_non_null(strstr(err.msg, "too long"));
    }
}

int main(void)
{
#define ON_A_NEW_TREE(test) cmocka_unit_test_setup(test, clear)
    const struct CMUnitTest tests[] = {
        ON_A_NEW_TREE(packages_are_summed_and_their_parts_and_the_board_are_not),
        ON_A_NEW_TREE(a_counter_that_begins_again_at_its_range_goes_on_counting),
        ON_A_NEW_TREE(what_is_no_counter_is_refused_by_its_path),
        ON_A_NEW_TREE(a_counter_that_vanishes_or_is_forbidden_is_told),
        ON_A_NEW_TREE(watts_become_joules_over_time_and_rails_are_summed),
        ON_A_NEW_TREE(a_rise_of_watts_between_readings_is_seen_by_the_sampler),
        ON_A_NEW_TREE(rails_that_hold_nonsense_are_told_at_once_or_when_they_begin_to),
        ON_A_NEW_TREE(auto_takes_the_first_that_answers_and_says_why_none_does),
        ON_A_NEW_TREE(a_path_that_is_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
