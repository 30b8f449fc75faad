/* A kill at any moment leaves a checkpoint that opens: a child trains and saves without pause, and dies at a random moment. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

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

static void a_kill_at_any_moment_leaves_a_checkpoint_that_opens(void **state)
{
    (void)state;
    char *folder = fixture_folder("kill"), *last = path_join(folder, "last");
    struct rng rng;
    int64_t step = 0, n_kills = 30;
    rng_init(&rng, (uint64_t)time(NULL));
    for (int64_t i = 0; i < n_kills; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            train_for_ever(folder, last);
        if (i == 0)
            while (!file_exists(last))
                nanosleep(&(struct timespec){0, 1000000}, NULL);
        long wait_ns = (long)rng_below(&rng, 60000000);
        nanosleep(&(struct timespec){0, wait_ns}, NULL);
        int status = 0;
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status)); /* it was still at work, without an error */
        struct fixture f;
        struct train_state saved;
        assert_true(checkpoint_exists(last));
        assert_int_equal(0, checkpoint_read_state(&saved, NULL, last, NULL));
        assert_true(saved.step >= step);
        step = saved.step;
        fixture_open(&f, &(struct fixture_setting){
                             .steps = 1000000, .batch = 1, .micro_batch = 1, .from = last});
        assert_int_equal(optimizer_n_steps(f.opt), step);
        fixture_close(&f);
    }
    assert_true(step > n_kills / 4); /* it did get on */
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
