/* A kill at any moment leaves a checkpoint that opens: a child trains and saves without pause, and
 * dies at a random moment. */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "train/folder.h"
#include "train_fixture.h"

/* The child: goes on from what is there, saves after each step until it is killed. */
static void train_for_ever(const char *folder, const char *last)
{
    struct fixture f;
    fixture_open(&f, &(struct fixture_setting){.steps = 1000000,
                                               .batch = 1,
                                               .micro_batch = 1,
                                               .checkpoints = folder,
                                               .from = checkpoint_exists(last) ? last : NULL});
    for (;;)
        if (trainer_step(&f.trainer, NULL) || trainer_save(&f.trainer, NULL))
            _exit(1);
}

/* Which folder lies there now: every save puts another in its place. 0: none. */
static ino_t identity(const char *folder)
{
    struct stat st;
    return stat(folder, &st) ? 0 : st.st_ino;
}

static void wait_for_another(const char *folder, ino_t before)
{
    for (int i = 0; i < 20000; i++) {
        ino_t now = identity(folder);
        if (now && now != before)
            return;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    fail_msg("%s", "the child saved nothing in 20 seconds");
}

static void a_kill_at_any_moment_leaves_a_checkpoint_that_opens(void **state)
{
    (void)state;
    char *folder = fixture_folder("kill"), *last = path_join(folder, "last");
    struct rng rng;
    int64_t step = 0, n_kills = 30;
    rng_init(&rng, (uint64_t)time(NULL));
    for (int64_t i = 0; i < n_kills; i++) {
        ino_t before = identity(last);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            train_for_ever(folder, last);
        wait_for_another(last, before);
        nanosleep(&(struct timespec){0, (long)rng_below(&rng, 30000000)}, NULL);
        int status = 0;
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status)); /* it was still at work, without an error */
        struct fixture f;
        struct train_state saved;
        assert_int_equal(0, folder_recover(last, NULL));
        assert_true(checkpoint_exists(last));
        assert_int_equal(0, checkpoint_read_state(&saved, NULL, last, NULL));
        assert_true(saved.step >= step);
        step = saved.step;
        fixture_open(&f, &(struct fixture_setting){
                             .steps = 1000000, .batch = 1, .micro_batch = 1, .from = last});
        assert_int_equal(optimizer_n_steps(f.opt), step);
        fixture_close(&f);
    }
    assert_true(step >= n_kills); /* each life got on by a step at least */
    assert_int_equal(0, file_remove_all(folder, NULL));
    free(last);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_at_any_moment_leaves_a_checkpoint_that_opens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
