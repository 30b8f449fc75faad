/* Programs run a few at a time, shells in their place: who starts, who is told to stop and how often, what comes back. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/process.h"
#include "base/process_queue.h"

enum { MAX_SCRIPTS = 8, NEVER = -1 };

static const char FOLDER[] = "queue_test";

/* Scripts that say "ready" once they listen, $0 is where; both end within seconds, whatever happens. */
static const char PATIENT[] = /* notes that it was told, and ends in its own time */
    "trap 'echo told >>$0' INT; echo ready >>$0; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.05; done; "
    "exit 130",
                  OBEDIENT[] = /* ends when it is told */
                  "trap 'exit 130' INT; echo ready >>$0; i=0; while [ $i -lt 300 ]; do sleep 0.02; "
                  "i=$((i + 1)); done";

struct scene {
    const char *scripts[MAX_SCRIPTS];                               /* NULL: nothing to run */
    int64_t stop_at_start, stop_at_end, fail_at_start, fail_at_end; /* which number, or NEVER */
    volatile int stop;
    int64_t started[MAX_SCRIPTS], n_started, n_ended, most_running, n_told;
    int status[MAX_SCRIPTS];
    double seconds[MAX_SCRIPTS];
};

#define SCENE(...)                                                                                 \
    {                                                                                              \
        .scripts = {__VA_ARGS__}, .stop_at_start = NEVER, .stop_at_end = NEVER,                    \
        .fail_at_start = NEVER, .fail_at_end = NEVER                                               \
    }

static void wait_ready(const char *path)
{
    for (int i = 0; i < 2000 && file_size(path) <= 0; i++)
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    assert_true(file_size(path) > 0);
}

static int start(int64_t *pid, void *ctx, int64_t i, struct err *err)
{
    struct scene *s = ctx;
    char note[64], log[64];
    if (i == s->fail_at_start)
        return err_set(err, MOE2_EIO, "number %d can't be started", (int)i);
    if (!s->scripts[i])
        return 0;
    snprintf(note, sizeof note, "%s/%d", FOLDER, (int)i);
    snprintf(log, sizeof log, "%s/%d.log", FOLDER, (int)i);
    assert_int_equal(0, file_remove_all(note, NULL));
    const char *argv[] = {"sh", "-c", s->scripts[i], note, NULL};
    int rc = process_start(pid, argv, log, err);
    assert_int_equal(0, rc);
    if (strstr(s->scripts[i], "ready"))
        wait_ready(note);
    s->started[s->n_started++] = i;
    if (s->n_started - s->n_ended > s->most_running)
        s->most_running = s->n_started - s->n_ended;
    s->stop |= i == s->stop_at_start;
    return 0;
}

static int ended(void *ctx, int64_t i, int status, double seconds, struct err *err)
{
    struct scene *s = ctx;
    s->n_ended++;
    s->status[i] = status;
    s->seconds[i] = seconds;
    s->stop |= i == s->stop_at_end;
    return i == s->fail_at_end ? err_set(err, MOE2_EFORMAT, "number %d is no good", (int)i) : 0;
}

static void stopping(void *ctx, int64_t n_running)
{
    struct scene *s = ctx;
    assert_int_equal(s->n_told, 0);
    s->n_told += n_running;
}

static int run(bool *stopped, struct scene *s, int64_t n, int64_t at_once, struct err *err)
{
    const struct process_queue q = {.n = n,
                                    .at_once = at_once,
                                    .stop = &s->stop,
                                    .start = start,
                                    .ended = ended,
                                    .stopping = stopping,
                                    .ctx = s};
    assert_int_equal(0, dir_make(FOLDER, NULL));
    int rc = process_queue_run(stopped, &q, err);
    assert_int_equal(s->n_started, s->n_ended); /* nobody is left behind */
    return rc;
}

static bool exited(const struct scene *s, int64_t i, int code)
{
    return WIFEXITED(s->status[i]) && WEXITSTATUS(s->status[i]) == code;
}

static void expect_note(const char *name, const char *text)
{
    char path[64];
    struct buf b = {0};
    snprintf(path, sizeof path, "%s/%s", FOLDER, name);
    assert_int_equal(0, file_read(&b, path, NULL));
    assert_string_equal(b.bytes, text);
    buf_release(&b);
}

static void each_runs_once_in_turn_and_no_more_than_so_many_at_once(void **state)
{
    (void)state;
    struct scene s = SCENE("sleep 0.2; exit 3", "exit 4", NULL, "sleep 0.1", "exit 5");
    bool stopped = true;
    assert_int_equal(0, run(&stopped, &s, 5, 2, NULL));
    assert_false(stopped);
    assert_int_equal(s.most_running, 2);
    assert_int_equal(s.n_started, 4);
    assert_memory_equal(s.started, ((int64_t[]){0, 1, 3, 4}), 4 * sizeof(int64_t));
    assert_true(exited(&s, 0, 3) && exited(&s, 1, 4) && exited(&s, 3, 0) && exited(&s, 4, 5));
    assert_true(s.seconds[0] >= 0.2 && s.seconds[0] < 60);
}

static void a_stop_is_told_once_to_each_that_runs_and_no_other_starts(void **state)
{
    (void)state;
    struct scene s = SCENE(PATIENT, PATIENT, "exit 0");
    bool stopped = false;
    s.stop_at_start = 1;
    assert_int_equal(0, run(&stopped, &s, 3, 2, NULL));
    assert_true(stopped);
    assert_int_equal(s.n_started, 2);
    assert_int_equal(s.n_told, 2);
    expect_note("0", "ready\ntold\n");
    expect_note("1", "ready\ntold\n");
}

static void one_that_is_set_to_stop_before_it_begins_starts_nobody(void **state)
{
    (void)state;
    struct scene s = SCENE("exit 0", "exit 0");
    bool stopped = false;
    s.stop = 1;
    assert_int_equal(0, run(&stopped, &s, 2, 2, NULL));
    assert_true(stopped);
    assert_int_equal(s.n_started, 0);
    assert_int_equal(s.n_told, 0);
}

static void one_stopped_by_hand_lets_those_that_run_finish(void **state)
{
    (void)state;
    struct scene s = SCENE("exit 130", "sleep 0.3", "exit 0");
    bool stopped = false;
    assert_int_equal(0, run(&stopped, &s, 3, 2, NULL));
    assert_true(stopped);
    assert_int_equal(s.n_started, 2);
    assert_int_equal(s.n_told, 0);
    assert_true(exited(&s, 1, 0));
}

static void a_stop_reaches_them_after_one_was_stopped_by_hand(void **state)
{
    (void)state;
    struct scene s = SCENE("exit 130", OBEDIENT);
    bool stopped = false;
    s.stop_at_end = 0;
    assert_int_equal(0, run(&stopped, &s, 2, 2, NULL));
    assert_true(stopped);
    assert_int_equal(s.n_told, 1);
    assert_true(exited(&s, 1, PROCESS_STOPPED));
}

static void an_error_stops_the_others_and_comes_back(void **state)
{
    (void)state;
    struct scene s = SCENE("exit 1", OBEDIENT, "exit 0"), t = SCENE(OBEDIENT, "exit 0", "exit 0");
    struct err err = {0};
    s.fail_at_end = 0;
    assert_int_equal(MOE2_EFORMAT, run(&(bool){false}, &s, 3, 2, &err));
    assert_string_equal(err.msg, "number 0 is no good");
    assert_int_equal(s.n_started, 2);
    assert_true(exited(&s, 1, PROCESS_STOPPED));
    err = (struct err){0};
    t.fail_at_start = 1;
    assert_int_equal(MOE2_EIO, run(&(bool){false}, &t, 3, 2, &err));
    assert_string_equal(err.msg, "number 1 can't be started");
    assert_int_equal(t.n_started, 1);
    assert_true(exited(&t, 0, PROCESS_STOPPED));
}

static void an_ending_is_told_by_its_signal_or_its_last_words(void **state)
{
    (void)state;
    struct scene s = SCENE("kill -9 $$", "echo one; echo two; echo; exit 3", "exit 4");
    bool stopped = true;
    char line[256];
    assert_int_equal(0, run(&stopped, &s, 3, 3, NULL));
    assert_false(stopped);
    process_ending(line, s.status[0], "queue_test/0.log");
    assert_string_equal(line, "ended by signal 9");
    process_ending(line, s.status[1], "queue_test/1.log");
    assert_string_equal(line, "two");
    process_ending(line, s.status[2], "queue_test/2.log");
    assert_string_equal(line, "it said nothing");
}

static void one_that_dies_of_the_interrupt_itself_was_stopped(void **state)
{
    (void)state;
    struct scene s = SCENE("kill -INT $$; sleep 5", "sleep 0.3", "exit 0");
    bool stopped = false;
    assert_int_equal(0, run(&stopped, &s, 3, 2, NULL));
    assert_true(stopped);
    assert_true(process_was_stopped(s.status[0]));
    assert_false(process_was_stopped(s.status[1]));
    assert_int_equal(s.n_started, 2);
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_all(FOLDER, NULL);
}

int main(void)
{
    signal(SIGINT, SIG_DFL); /* a shell can't trap what it was started to ignore */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_runs_once_in_turn_and_no_more_than_so_many_at_once),
        cmocka_unit_test(a_stop_is_told_once_to_each_that_runs_and_no_other_starts),
        cmocka_unit_test(one_that_is_set_to_stop_before_it_begins_starts_nobody),
        cmocka_unit_test(one_stopped_by_hand_lets_those_that_run_finish),
        cmocka_unit_test(a_stop_reaches_them_after_one_was_stopped_by_hand),
        cmocka_unit_test(an_error_stops_the_others_and_comes_back),
        cmocka_unit_test(an_ending_is_told_by_its_signal_or_its_last_words),
        cmocka_unit_test(one_that_dies_of_the_interrupt_itself_was_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, remove_folder);
}
