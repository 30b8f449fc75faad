/* INA3221 through hwmon: a chip that measures up to three rails, as on Jetson boards.
 *
 *     class/hwmon/hwmon3/name            ina3221
 *     class/hwmon/hwmon3/in1_label       VDD_GPU_SOC
 *     class/hwmon/hwmon3/in1_input       millivolts
 *     class/hwmon/hwmon3/curr1_input     milliamperes
 *
 * It tells watts, not joules: a thread looks every few milliseconds and adds the area between two looks (trapezoids). A rail that is
 * switched off (in1_enable 0, or the answer ENODATA) is left out. Source: Linux, Documentation/hwmon/ina3221.rst; NVIDIA's developer guide for VDD_IN.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "fleet/meter_sysfs.h"

enum { MAX_RAILS = 24, RAILS_A_CHIP = 3, MAX_DIR = 512, SAMPLE_MS = 10, MAX_MA = 1000000 };

struct rail {
    char dir[MAX_DIR], label[SYSFS_LINE];
    char volts[32], amperes[32]; /* names of files */
};

struct ina {
    struct rail all[MAX_RAILS];
    int n;
    pthread_t sampler;
    bool running;
    long nap_ns;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t stopped;
    bool stop;
    double joules, last_s, last_w;
    struct err failed; /* of the sampler; what was not seen can't be made good */
};

static int rail_watts(double *out, const struct rail *r, struct err *err)
{
    int64_t mv, ma;
    int rc = sysfs_number(&mv, r->dir, r->volts, 0, MAX_MA, err);
    if (!rc)
        rc = sysfs_number(&ma, r->dir, r->amperes, -MAX_MA, MAX_MA, err);
    if (!rc)
        *out = ma > 0 ? (double)mv * (double)ma * 1e-6 : 0; /* noise around zero */
    return rc;
}

static int watts(double *out, const struct ina *m, struct err *err)
{
    double sum = 0, one = 0;
    int rc = 0;
    for (int i = 0; i < m->n && !rc; i++) {
        rc = rail_watts(&one, &m->all[i], err);
        sum += one;
    }
    *out = sum;
    return rc;
}

/* Adds the area since the last look; under the lock. */
static void look(struct ina *m)
{
    double w;
    if (m->failed.code || watts(&w, m, &m->failed))
        return;
    double now_s = clock_s();
    m->joules += 0.5 * (w + m->last_w) * (now_s - m->last_s);
    m->last_s = now_s;
    m->last_w = w;
}

static void *sample(void *state)
{
    struct ina *m = state;
    pthread_mutex_lock(&m->lock);
    while (!m->stop) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += m->nap_ns;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&m->stopped, &m->lock, &until);
        look(m);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* ---- finding rails ---- */

static int add_rail(struct ina *m, const char *dir, int channel, struct err *err)
{
    struct rail r;
    struct err why = {0};
    double w;
    char label[32], enable[32];
    int64_t on = 1;
    snprintf(r.dir, sizeof r.dir, "%s", dir);
    snprintf(label, sizeof label, "in%d_label", channel);
    snprintf(enable, sizeof enable, "in%d_enable", channel);
    snprintf(r.volts, sizeof r.volts, "in%d_input", channel);
    snprintf(r.amperes, sizeof r.amperes, "curr%d_input", channel);
    if (!sysfs_has(dir, r.volts) || !sysfs_has(dir, r.amperes))
        return 0;
    if (!sysfs_number(&on, dir, enable, 0, 1, NULL) && !on)
        return 0;
    errno = 0;
    if (rail_watts(&w, &r, &why))
        return errno == ENODATA ? 0 : err_set(err, why.code, "%s", why.msg);
    if (!sysfs_has(dir, label) || sysfs_line(r.label, dir, label, NULL))
        snprintf(r.label, sizeof r.label, "rail %d", channel);
    if (m->n == MAX_RAILS)
        return err_set(err, MOE2_ELIMIT, "%s: more than %d rails", dir, MAX_RAILS);
    m->all[m->n++] = r;
    return 0;
}

static int add_chip(struct ina *m, const char *dir, struct err *err)
{
    char name[SYSFS_LINE];
    int rc = 0;
    if (sysfs_line(name, dir, "name", NULL) || strcmp(name, "ina3221") != 0)
        return 0;
    for (int channel = 1; channel <= RAILS_A_CHIP && !rc; channel++)
        rc = add_rail(m, dir, channel, err);
    return rc;
}

static int find_rails(struct ina *m, const char *sysfs, struct err *err)
{
    char root[MAX_DIR / 2], dir[MAX_DIR], **names = NULL;
    size_t n_names = 0;
    int rc = 0;
    if (snprintf(root, sizeof root, "%s/class/hwmon", sysfs) >= (int)sizeof root)
        return err_set(err, MOE2_ELIMIT, "%.60s…: the path is too long", root);
    if (dir_names(&names, &n_names, root, NULL))
        n_names = 0;
    for (size_t i = 0; i < n_names && !rc; i++)
        if (strncmp(names[i], "hwmon", 5) == 0 && strlen(names[i]) < 64) {
            snprintf(dir, sizeof dir, "%s/%.63s", root, names[i]);
            rc = add_chip(m, dir, err);
        }
    dir_names_free(names, n_names);
    if (!rc && m->n == 0)
        rc = err_set(err, MOE2_ECONFIG, "%s has no ina3221 with a rail that answers", root);
    return rc;
}

/* Where one rail feeds all others, only that one. */
static void keep_input(struct ina *m)
{
    for (int i = 0; i < m->n; i++)
        if (strcmp(m->all[i].label, "VDD_IN") == 0) {
            m->all[0] = m->all[i];
            m->n = 1;
        }
}

/* ---- the meter ---- */

static void ina_close(void *state)
{
    struct ina *m = state;
    if (!m)
        return;
    if (m->running) {
        pthread_mutex_lock(&m->lock);
        m->stop = true;
        pthread_cond_signal(&m->stopped);
        pthread_mutex_unlock(&m->lock);
        pthread_join(m->sampler, NULL);
    }
    pthread_cond_destroy(&m->stopped);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static int ina_open(void **state, char what[static METER_TEXT], const struct meter_options *o,
                    struct err *err)
{
    struct ina *m = calloc(1, sizeof *m);
    if (!m)
        return err_set(err, MOE2_ELIMIT, "no memory for a meter");
    pthread_mutex_init(&m->lock, NULL);
    pthread_condattr_t monotonic; /* a clock that is set back must not stop the sampling */
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&m->stopped, &monotonic);
    pthread_condattr_destroy(&monotonic);
    m->nap_ns = (o->sample_ms > 0 ? o->sample_ms : SAMPLE_MS) * 1000000L;
    int rc = find_rails(m, o->sysfs ? o->sysfs : "/sys", err);
    if (!rc) {
        keep_input(m);
        rc = watts(&m->last_w, m, err);
        m->last_s = clock_s();
    }
    if (!rc) {
        m->running = pthread_create(&m->sampler, NULL, sample, m) == 0;
        rc = m->running ? 0 : err_set(err, MOE2_ELIMIT, "no thread for a meter");
    }
    if (rc) {
        ina_close(m);
        return rc;
    }
    *what = 0;
    for (int i = 0; i < m->n; i++)
        sysfs_name_part(what, m->all[i].label);
    *state = m;
    return 0;
}

static int ina_joules(double *out, void *state, struct err *err)
{
    struct ina *m = state;
    pthread_mutex_lock(&m->lock);
    look(m);
    int rc = m->failed.code ? err_set(err, m->failed.code, "%s", m->failed.msg) : 0;
    if (!rc)
        *out = m->joules;
    pthread_mutex_unlock(&m->lock);
    return rc;
}

const struct meter_kind meter_ina3221 = {
    .name = "ina3221",
    .counts = "rails of the board (INA3221)",
    .settle_s = 0.1,
    .open = ina_open,
    .joules = ina_joules,
    .close = ina_close,
};
