/* Processes that are kept up: one that is ended comes back, also when it could not be started at first.
 */
#include <setjmp.h>
#include <signal.h>
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
#include "fleet/children.h"

#define DIR "test_children.tmp"

static const char script[] = "#!/bin/sh\necho 'x listens on http://127.0.0.1:9'\nexec sleep 100\n";

struct seen {
    pid_t pid;
    int n_ready, n_gone, n_warned;
    char warning[300];
};

static void changed(void *ctx, int i, const char *url, pid_t pid, int n_restarts)
{
    struct seen *s = ctx;
    assert_int_equal(0, i);
    assert_int_equal(s->n_gone + !url, n_restarts);
    s->pid = pid;
    s->n_ready += url != NULL;
    s->n_gone += url == NULL;
}

static void line(void *ctx, enum log_level level, const char *text)
{
    struct seen *s = ctx;
    if (level != LOG_WARN)
        return;
    s->n_warned++;
    snprintf(s->warning, sizeof s->warning, "%s", text);
}

/* Looks at the children until *value is wanted; for twenty seconds at most. */
static void tick_until(struct children *c, const int *value, int wanted)
{
    for (int i = 0; i < 2000 && *value != wanted; i++) {
        assert_int_equal(0, children_tick(c, NULL));
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    assert_int_equal(wanted, *value);
}

static void put_script(void)
{
    assert_int_equal(0, file_write(DIR "/new", script, sizeof script - 1, NULL));
    assert_int_equal(0, chmod(DIR "/new", 0755));
    assert_int_equal(0, rename(DIR "/new", DIR "/child"));
}

static void one_that_can_not_be_started_again_is_tried_later(void **state)
{
    (void)state;
    struct seen seen = {0};
    struct log_sink sink = {.line = line, .ctx = &seen};
    struct err err = {0};
    struct children *c = NULL;
    char name[] = DIR "/child", *const argv[] = {name, NULL};
    if (children_new(&c, 1, changed, &seen, &sink, &err)) {
        print_message("skipped: %s\n", err.msg);
        skip();
    }
    put_script();
    assert_int_equal(0, children_start(c, 0, "ant", argv, NULL));
    tick_until(c, &seen.n_ready, 1);
    assert_int_equal(0, unlink(DIR "/child"));
    assert_int_equal(0, kill(seen.pid, SIGKILL));
    tick_until(c, &seen.n_warned, 3); /* it ended; twice it can't be started */
    assert_non_null(strstr(seen.warning, "ant: " DIR "/child: can't be started: No such file"));
    assert_non_null(strstr(seen.warning, "; is tried again in 0.75 s"));
    assert_false(children_all_ready(c));
    put_script();
    tick_until(c, &seen.n_ready, 2);
    assert_true(children_all_ready(c));
    children_free(c);
}

static int setup(void **state)
{
    (void)state;
    return file_remove_all(DIR, NULL) || dir_make(DIR, NULL);
}

static int teardown(void **state)
{
    (void)state;
    return file_remove_all(DIR, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_can_not_be_started_again_is_tried_later),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
