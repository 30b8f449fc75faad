/* What the base room and the element types promise, one sentence a test. */
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/rng.h"
#include "base/words.h"
#include "tensor/dtype.h"

#define DIR "test_base.tmp"
#include "folder_fixture.h"

/* ---- errors ---- */

static void the_first_error_is_kept_and_prefixes_go_before_it(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(MOE2_EIO, err_set(&err, MOE2_EIO, "disk %d", 7));
    assert_int_equal(MOE2_EIO, err_set(&err, MOE2_EFORMAT, "later"));
    assert_int_equal(MOE2_EIO, err_prefix(&err, "file %s", "x"));
    assert_string_equal("file x: disk 7", err.msg);
    assert_int_equal(MOE2_ELIMIT, err_set(NULL, MOE2_ELIMIT, "nobody listens"));
    assert_int_equal(0, err_prefix(NULL, "x"));
    struct err none = {0};
    assert_int_equal(0, err_prefix(&none, "x"));
    assert_string_equal("", none.msg);
}

static void a_message_longer_than_its_room_is_cut(void **state)
{
    (void)state;
    struct err err = {0};
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    err_set(&err, MOE2_EIO, "%s", text);
    assert_int_equal(sizeof err.msg - 1, strlen(err.msg));
    err_prefix(&err, "%s", text);
    assert_true(strlen(err.msg) < sizeof err.msg);
}

/* ---- arenas ---- */

static void arena_memory_is_aligned_apart_and_reused_after_a_reset(void **state)
{
    (void)state;
    struct arena a = {0};
    struct rng r;
    rng_init(&r, 1);
    char *parts[300];
    size_t sizes[300];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 300; i++) {
            sizes[i] = (size_t)rng_below(&r, 5000);
            parts[i] = arena_alloc(&a, sizes[i], NULL);
            assert_non_null(parts[i]);
            assert_int_equal(0, (uintptr_t)parts[i] % 64);
            memset(parts[i], i, sizes[i]);
        }
        for (int i = 0; i < 300; i++)
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal((char)i, parts[i][k]);
        size_t peak = a.peak_bytes;
        arena_reset(&a);
        assert_int_equal(0, a.used_bytes);
        assert_int_equal(peak, a.peak_bytes);
    }
    void *first = arena_alloc(&a, 10, NULL);
    arena_reset(&a);
    assert_ptr_equal(first, arena_alloc(&a, 10, NULL));
    char *zeros = arena_calloc(&a, 3000, NULL);
    for (int i = 0; i < 3000; i++)
        assert_int_equal(0, zeros[i]);
    assert_string_equal("copied", arena_strdup(&a, "copied", NULL));
    arena_release(&a);
    arena_release(&a);
}

static void an_arena_keeps_its_limit(void **state)
{
    (void)state;
    struct arena a = {.limit_bytes = 1024};
    struct err err = {0};
    assert_non_null(arena_alloc(&a, 1000, &err));
    assert_null(arena_alloc(&a, 1, &err));
    assert_int_equal(MOE2_ELIMIT, err.code);
    assert_string_equal("64 bytes more than the 1024 in use pass the limit of 1024 bytes", err.msg);
    memset(&err, 0, sizeof err);
    assert_null(arena_alloc(&a, SIZE_MAX, &err));
    assert_int_equal(MOE2_ELIMIT, err.code);
    arena_release(&a);
}

/* ---- buffers ---- */

static void a_buffer_grows_to_its_limit_and_not_beyond(void **state)
{
    (void)state;
    struct buf b = {.max_bytes = 1000};
    struct err err = {0};
    for (int i = 0; i < 100; i++)
        assert_int_equal(0, buf_printf(&b, NULL, "%s%08d!", "x", i));
    assert_int_equal(1000, b.n);
    assert_string_equal("x00000099!", b.bytes + 990);
    assert_int_equal(MOE2_ELIMIT, buf_append(&b, "y", 1, &err));
    assert_string_equal("a buffer of 1000 bytes would grow by 1, past its limit of 1000", err.msg);
    assert_int_equal(1000, b.n);
    assert_int_equal(MOE2_ELIMIT, buf_printf(&b, NULL, "y"));
    assert_int_equal(MOE2_ELIMIT, buf_reserve(&b, SIZE_MAX, NULL));
    buf_clear(&b);
    assert_string_equal("", b.bytes);
    assert_int_equal(0, buf_append(&b, NULL, 0, NULL));
    assert_int_equal(0, buf_puts(&b, "again", NULL));
    assert_string_equal("again", b.bytes);
    buf_release(&b);
    buf_release(&b);
}

/* ---- files ---- */

static size_t count_names(void)
{
    char **names = NULL;
    size_t n = 0;
    assert_int_equal(0, dir_names(&names, &n, DIR, NULL));
    dir_names_free(names, n);
    return n;
}

static void a_file_is_replaced_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    struct file_writer w;
    struct buf b = {0};
    assert_int_equal(0, file_write(DIR "/f", "old", 3, NULL));
    assert_int_equal(0, file_begin(&w, DIR "/f", NULL));
    assert_int_equal(0, file_put(&w, "new!", 4, NULL));
    assert_int_equal(3, file_size(DIR "/f"));
    file_abort(&w);
    file_abort(&w);
    assert_int_equal(1, count_names());
    assert_int_equal(0, file_begin(&w, DIR "/f", NULL));
    assert_int_equal(0, file_put(&w, "new!", 4, NULL));
    assert_int_equal(0, file_commit(&w, NULL));
    assert_int_equal(0, file_read(&b, DIR "/f", NULL));
    assert_string_equal("new!", b.bytes);
    assert_int_equal(1, count_names());
    buf_release(&b);
}

static void a_file_in_the_making_has_one_writer(void **state)
{
    (void)state;
    struct file_writer a, b;
    struct err err = {0};
    struct buf text = {0};
    assert_int_equal(0, file_continue(&a, DIR "/g", DIR "/g.part", 0, NULL));
    assert_int_equal(0, file_put(&a, "abc", 3, NULL));
    assert_int_equal(0, file_flush(&a, NULL));
    assert_int_equal(MOE2_ECONFIG, file_continue(&b, DIR "/g", DIR "/g.part", 0, &err));
    assert_string_equal(DIR "/g.part: is being written by another process", err.msg);
    assert_int_equal(0, file_leave(&a, NULL));
    assert_int_equal(MOE2_EFORMAT, file_continue(&b, DIR "/g", DIR "/g.part", 4, NULL));
    assert_int_equal(0, file_continue(&b, DIR "/g", DIR "/g.part", 2, NULL));
    assert_int_equal(0, file_put(&b, "d", 1, NULL));
    assert_int_equal(0, file_commit(&b, NULL));
    assert_int_equal(0, file_read(&text, DIR "/g", NULL));
    assert_string_equal("abd", text.bytes);
    assert_false(file_exists(DIR "/g.part"));
    buf_release(&text);
}

static void a_map_shows_the_bytes_and_an_empty_file_has_none(void **state)
{
    (void)state;
    struct file_map m = {0};
    assert_int_equal(0, file_write(DIR "/f", "abc", 3, NULL));
    assert_int_equal(0, file_map(&m, DIR "/f", NULL));
    assert_int_equal(3, m.n_bytes);
    assert_memory_equal("abc", m.bytes, 3);
    file_unmap(&m);
    file_unmap(&m);
    assert_int_equal(0, file_write(DIR "/f", NULL, 0, NULL));
    assert_int_equal(0, file_map(&m, DIR "/f", NULL));
    assert_null(m.bytes);
    assert_int_equal(0, m.n_bytes);
}

static void expect_message(int rc, struct err *err, const char *message)
{
    assert_int_equal(MOE2_EIO, rc);
    assert_string_equal(message, err->msg);
    memset(err, 0, sizeof *err);
}

static void what_the_system_refuses_is_said_in_one_sentence(void **state)
{
    (void)state;
    struct err err = {0};
    struct file_map m;
    struct buf b = {0};
    char **names;
    size_t n;
    expect_message(file_map(&m, DIR "/none", &err), &err,
                   DIR "/none: can't be opened: No such file or directory");
    expect_message(file_map(&m, DIR, &err), &err, DIR ": is not a regular file");
    expect_message(file_read(&b, DIR "/none", &err), &err,
                   DIR "/none: can't be opened: No such file or directory");
    expect_message(file_read(&b, DIR, &err), &err, DIR ": can't be read: Is a directory");
    expect_message(file_write(DIR "/no/f", "x", 1, &err), &err,
                   DIR "/no/f: can't be written: No such file or directory");
    expect_message(file_write(DIR, "x", 1, &err), &err,
                   DIR ": is a folder, wanted a file to write");
    expect_message(file_write("/dev/null", "x", 1, &err), &err,
                   "/dev/null: is a device or pipe, wanted a file to write");
    expect_message(dir_names(&names, &n, DIR "/none", &err), &err,
                   DIR "/none: can't be opened: No such file or directory");
    assert_int_equal(0, file_write(DIR "/f", "x", 1, NULL));
    expect_message(dir_make(DIR "/f/g", &err), &err, DIR "/f/g: can't be made: Not a directory");
    expect_message(dir_make(DIR "/f", &err), &err, DIR "/f: is not a folder");
    buf_release(&b);
}

static void a_full_disk_leaves_the_old_file_and_nothing_else(void **state)
{
    (void)state;
    struct err err = {0};
    char temp[200], large[10000] = {0};
    assert_int_equal(0, file_write(DIR "/f", "old", 3, NULL));
    snprintf(temp, sizeof temp, DIR "/f.tmp-%ld", (long)getpid());
    assert_int_equal(0, symlink("/dev/full", temp));
    expect_message(file_write(DIR "/f", large, sizeof large, &err), &err,
                   DIR "/f: can't be written: No space left on device");
    assert_int_equal(3, file_size(DIR "/f"));
    assert_int_equal(1, count_names());
}

static void a_limit_on_file_sizes_is_an_error_too(void **state)
{
    (void)state;
    struct err err = {0};
    struct rlimit old, small;
    char large[10000] = {0};
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 100;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    int rc = file_write(DIR "/f", large, sizeof large, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    expect_message(rc, &err, DIR "/f: can't be written: File too large");
    assert_int_equal(0, count_names());
}

static void without_permission_nothing_is_written(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(0, file_write(DIR "/f", "old", 3, NULL));
    bool was_root = geteuid() == 0;
    if (was_root && seteuid(65534))
        skip();
    if (!was_root)
        assert_int_equal(0, chmod(DIR, 0555));
    int rc = file_write(DIR "/f", "new", 3, &err);
    if (was_root && seteuid(0))
        fail();
    if (!was_root)
        assert_int_equal(0, chmod(DIR, 0755));
    expect_message(rc, &err, DIR "/f: can't be written: Permission denied");
    assert_int_equal(1, count_names());
}

static void folders_are_made_listed_and_removed_with_all_in_them(void **state)
{
    (void)state;
    assert_int_equal(MOE2_EIO, dir_make("", NULL));
    char **names = NULL;
    size_t n = 0;
    assert_int_equal(0, dir_make(DIR "/a/b/c", NULL));
    assert_int_equal(0, dir_make(DIR "/a/b/c", NULL));
    assert_int_equal(0, dir_make(DIR "/a/d/", NULL));
    assert_int_equal(0, file_write(DIR "/a/f", "", 0, NULL));
    assert_int_equal(0, dir_names(&names, &n, DIR "/a", NULL));
    assert_int_equal(3, n);
    assert_string_equal("b", names[0]);
    assert_string_equal("d", names[1]);
    assert_string_equal("f", names[2]);
    dir_names_free(names, n);
    assert_true(file_exists(DIR "/a/f") && file_is_dir(DIR "/a/b") && !file_is_dir(DIR "/a/f"));
    assert_int_equal(-1, file_size(DIR "/none"));
    assert_int_equal(0, file_remove_all(DIR "/a", NULL));
    assert_int_equal(0, file_remove_all(DIR "/a", NULL));
    assert_false(file_exists(DIR "/a"));
    char *joined = path_join("x/", "y");
    assert_string_equal("x/y", joined);
    free(joined);
}

/* ---- random numbers ---- */

static void the_stream_is_xoshiro_seeded_by_splitmix(void **state)
{
    (void)state;
    struct rng r;
    rng_init(&r, 0); /* the first outputs of the authors' splitmix64.c from 0 */
    assert_true(r.s[0] == 0xe220a8397b1dcdafu && r.s[1] == 0x6e789e6aa1b965f4u);
    assert_true(r.s[2] == 0x06c45d188009454fu && r.s[3] == 0xf88bb8a8724c81ecu);
    r = (struct rng){{1, 2, 3, 4}}; /* and of xoshiro256starstar.c from that state */
    assert_true(rng_next(&r) == 11520 && rng_next(&r) == 0);
    assert_true(rng_next(&r) == 1509978240 && rng_next(&r) == 1215971899390074240u);
}

static void uniform_below_and_normal_have_their_moments(void **state)
{
    (void)state;
    enum { N = 200000 };
    struct rng r;
    double sum = 0, squares = 0, uniform = 0;
    int64_t counts[7] = {0};
    rng_init(&r, 42);
    for (int i = 0; i < N; i++) {
        double x = rng_normal(&r), u = rng_uniform(&r);
        assert_true(u >= 0 && u < 1);
        sum += x;
        squares += x * x;
        uniform += u;
        counts[rng_below(&r, 7)]++;
    }
    /* five standard errors each */
    assert_true(fabs(sum / N) < 5 / sqrt(N));
    assert_true(fabs(squares / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(uniform / N - 0.5) < 5 * sqrt(1.0 / 12 / N));
    for (int i = 0; i < 7; i++)
        assert_true(fabs((double)counts[i] - N / 7.0) < 5 * sqrt(N * (1 / 7.0) * (6 / 7.0)));
    assert_int_equal(0, rng_below(&r, 1));
}

static void a_position_has_one_number_and_neighbours_have_others(void **state)
{
    (void)state;
    assert_true(rng_at(1, 2, 3, 4) == rng_at(1, 2, 3, 4));
    assert_true(rng_at(1, 2, 3, 4) != rng_at(1, 2, 4, 3));
    assert_true(rng_at(1, 2, 3, 4) != rng_at(2, 1, 3, 4));
    double sum = 0;
    for (uint64_t i = 0; i < 10000; i++)
        sum += rng_to_uniform(rng_at(7, 0, 0, i));
    assert_true(fabs(sum / 10000 - 0.5) < 5 * sqrt(1.0 / 12 / 10000));
}

/* ---- words ---- */

static void the_nearest_word_is_the_one_that_was_meant(void **state)
{
    (void)state;
    static const char *const words[] = {"steps", "seed", "lr", "warmup", "weight_decay"};
    assert_string_equal("steps",
                        words_nearest("stpes", words, 5)); /* neighbours swapped: one edit */
    assert_string_equal("steps", words_nearest("steps", words, 5));
    assert_string_equal("seed", words_nearest("sed", words, 5));
    assert_string_equal("weight_decay", words_nearest("wieght_dcay", words, 5));
    assert_null(words_nearest("optimizer", words, 5));
    assert_null(words_nearest("x", words, 0));
    assert_string_equal("steps", words_nearest("step", words, 1));
}

static void a_list_is_cut_at_its_commas(void **state)
{
    (void)state;
    char list[] = "a,,b=c", empty[] = "", *rest = list, *none = empty;
    assert_string_equal("a", words_cut(&rest));
    assert_string_equal("", words_cut(&rest));
    assert_string_equal("b=c", words_cut(&rest));
    assert_null(words_cut(&rest));
    assert_string_equal("", words_cut(&none));
    assert_null(words_cut(&none));
}

static void a_list_of_names_is_a_set_of_them(void **state)
{
    (void)state;
    static const char *const names[] = {"ant", "bee", "cat"};
    static const struct {
        const char *list, *message;
    } broken[] = {
        {"bee,cart", "--in: a.csv has no \"cart\", did you mean \"cat\"?"},
        {"elephants", "--in: a.csv has no \"elephants\", wanted names such as \"ant\""},
        {"bee,cat,bee", "--in names \"bee\" twice, wanted once"},
        {"bee,", "--in has an empty name, wanted names with commas between"},
        {"", "--in has an empty name, wanted names with commas between"},
    };
    uint64_t mask = 0;
    assert_int_equal(0, words_mask(&mask, "cat,ant", names, 3, "--in", "a.csv", NULL));
    assert_int_equal(5, mask);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        struct err err = {0};
        assert_int_equal(MOE2_ECONFIG,
                         words_mask(&mask, broken[i].list, names, 3, "--in", "a.csv", &err));
        assert_string_equal(broken[i].message, err.msg);
        assert_int_equal(5, mask);
    }
}

static void a_name_ends_in_its_tail_or_is_it(void **state)
{
    (void)state;
    assert_true(words_end_in("model.gguf", ".gguf"));
    assert_true(words_end_in(".gguf", ".gguf"));
    assert_true(words_end_in("x", ""));
    assert_false(words_end_in("gguf", ".gguf"));
    assert_false(words_end_in("model.gguf.parts", ".gguf"));
}

static void the_last_part_of_a_path_is_found(void **state)
{
    (void)state;
    char deep[] = "a/b.c//", plain[] = "name", root[] = "/";
    assert_string_equal("b.c", path_last(deep));
    assert_string_equal("a/b.c", deep);
    assert_string_equal("name", path_last(plain));
    assert_string_equal("/", path_last(root));
}

static void words_of_any_length_are_compared_safely(void **state)
{
    (void)state;
    char longest[500];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    const char *words[] = {longest, ""};
    assert_non_null(words_nearest(longest, words, 2));
    assert_non_null(words_nearest("", words, 2));
}

/* ---- log ---- */

struct heard {
    char line[64];
    int n_progress, n_last;
    double done;
};

static void hear_line(void *ctx, enum log_level level, const char *text)
{
    snprintf(((struct heard *)ctx)->line, 64, "%d %s", level, text);
}

static void hear_progress(void *ctx, const char *what, double done, double total, const char *unit,
                          double seconds, int last)
{
    struct heard *h = ctx;
    assert_string_equal("packing", what);
    assert_string_equal("B", unit);
    assert_true(total == 10 && seconds >= 0);
    h->n_progress++;
    h->n_last += last;
    h->done = done;
}

static void lines_and_progress_reach_the_sink_and_no_sink_is_fine(void **state)
{
    (void)state;
    struct heard h = {.done = -1};
    struct log_sink sink = {hear_line, hear_progress, &h};
    struct progress p;
    log_line(&sink, LOG_WARN, "%d left", 3);
    assert_string_equal("1 3 left", h.line);
    progress_begin(&p, &sink, "packing", 10, "B");
    for (int i = 0; i < 1000; i++)
        progress_set(&p, 7);
    assert_true(h.n_progress < 1000);
    progress_end(&p);
    assert_int_equal(1, h.n_last);
    assert_true(h.done == 7);
    log_line(NULL, LOG_WARN, "nobody");
    progress_begin(&p, NULL, "packing", 10, "B");
    progress_set(&p, 7);
    progress_end(&p);
}

/* ---- element types ---- */

static void names_and_sizes_of_types_are_those_of_safetensors(void **state)
{
    (void)state;
    for (int t = 0; t < DT_COUNT; t++)
        assert_int_equal(t, dtype_from_name(dtype_name((enum dtype)t)));
    assert_int_equal(-1, dtype_from_name("F33"));
    assert_int_equal(2, dtype_bytes(DT_BF16));
    assert_int_equal(8, dtype_bytes(DT_I64));
    assert_int_equal(1, dtype_bytes(DT_F8_E4M3));
}

static void every_half_survives_float32_and_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = f16_to_f32((uint16_t)h), b = bf16_to_f32((uint16_t)h);
        if (isnan(f))
            assert_true((f32_to_f16(f) & 0x7c00) == 0x7c00 && (f32_to_f16(f) & 0x3ff));
        else
            assert_int_equal(h, f32_to_f16(f));
        if (isnan(b))
            assert_true(isnan(bf16_to_f32(f32_to_bf16(b))));
        else
            assert_int_equal(h, f32_to_bf16(b));
    }
}

/* The nearest of the neighbours, ties to even, decided in double: rounding is checked at and around
 * every midpoint. */
static void rounding_to_halves_is_to_the_nearest_and_ties_go_to_even(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float low = f16_to_f32((uint16_t)h), high = f16_to_f32((uint16_t)(h + 1));
        float middle = (float)(0.5 * ((double)low + (double)high)); /* exact */
        uint32_t even = h % 2 ? h + 1 : h;
        assert_int_equal(even, f32_to_f16(middle));
        assert_int_equal(0x8000 | even, f32_to_f16(-middle));
        assert_int_equal(h, f32_to_f16(nextafterf(middle, 0)));
        assert_int_equal(h + 1, f32_to_f16(nextafterf(middle, INFINITY)));
    }
    for (uint32_t h = 0; h < 0x7f7f; h++) {
        float low = bf16_to_f32((uint16_t)h), high = bf16_to_f32((uint16_t)(h + 1));
        float middle = (float)(0.5 * ((double)low + (double)high));
        assert_int_equal(h % 2 ? h + 1 : h, f32_to_bf16(middle));
        assert_int_equal(h, f32_to_bf16(nextafterf(middle, 0)));
        assert_int_equal(h + 1, f32_to_bf16(nextafterf(middle, INFINITY)));
    }
    assert_int_equal(0x7bff, f32_to_f16(65519.996f));
    assert_int_equal(0x7c00, f32_to_f16(65520));
    assert_int_equal(0x7c00, f32_to_f16(1e30f));
    assert_int_equal(0xfc00, f32_to_f16(-INFINITY));
    assert_int_equal(0x7f80, f32_to_bf16(3.4e38f));
}

static void arrays_of_every_type_are_widened(void **state)
{
    (void)state;
    float out[4];
    dtype_to_f32(out, (uint8_t[]){0x7e, 0x01, 0x88, 0x7f}, DT_F8_E4M3, 4);
    assert_true(out[0] == 448 && out[1] == 0x1p-9f && out[2] == -0x1p-6f && isnan(out[3]));
    dtype_to_f32(out, (int8_t[]){-128, 127}, DT_I8, 2);
    assert_true(out[0] == -128 && out[1] == 127);
    dtype_to_f32(out, (uint8_t[]){255, 0}, DT_U8, 2);
    assert_true(out[0] == 255 && out[1] == 0);
    dtype_to_f32(out, (int64_t[]){-3, 1 << 20}, DT_I64, 2);
    assert_true(out[0] == -3 && out[1] == 1 << 20);
    dtype_to_f32(out, (double[]){0.1, -2}, DT_F64, 2);
    assert_true(out[0] == 0.1f && out[1] == -2);
    uint16_t h[2];
    dtype_from_f32(h, (float[]){1, -2}, DT_BF16, 2);
    assert_true(h[0] == 0x3f80 && h[1] == 0xc000);
    dtype_from_f32(h, (float[]){1, -2}, DT_F16, 2);
    assert_true(h[0] == 0x3c00 && h[1] == 0xc000);
}

/* ---- process.h ---- */

static void threads_are_shared_out_and_cores_are_those_that_the_process_may_use(void **state)
{
    (void)state;
    cpu_set_t all, one;
    int first = 0;
    assert_int_equal(process_share(8, 3), 2);
    assert_int_equal(process_share(8, 1), 8);
    assert_int_equal(process_share(2, 5), 1);
    assert_int_equal(process_share(0, 1), process_cores());
    assert_int_equal(0, sched_getaffinity(0, sizeof all, &all));
    assert_int_equal(process_cores(), CPU_COUNT(&all));
    while (!CPU_ISSET(first, &all))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(0, sched_setaffinity(0, sizeof one, &one));
    assert_int_equal(process_cores(), 1);
    assert_int_equal(process_share(0, 1), 1);
    assert_int_equal(0, sched_setaffinity(0, sizeof all, &all));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_is_kept_and_prefixes_go_before_it),
        cmocka_unit_test(a_message_longer_than_its_room_is_cut),
        cmocka_unit_test(arena_memory_is_aligned_apart_and_reused_after_a_reset),
        cmocka_unit_test(an_arena_keeps_its_limit),
        cmocka_unit_test(a_buffer_grows_to_its_limit_and_not_beyond),
        cmocka_unit_test_setup_teardown(a_file_is_replaced_as_a_whole_or_not_at_all, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_file_in_the_making_has_one_writer, setup, teardown),
        cmocka_unit_test_setup_teardown(a_map_shows_the_bytes_and_an_empty_file_has_none, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_the_system_refuses_is_said_in_one_sentence, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_the_old_file_and_nothing_else, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_limit_on_file_sizes_is_an_error_too, setup, teardown),
        cmocka_unit_test_setup_teardown(without_permission_nothing_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(folders_are_made_listed_and_removed_with_all_in_them, setup,
                                        teardown),
        cmocka_unit_test(the_stream_is_xoshiro_seeded_by_splitmix),
        cmocka_unit_test(uniform_below_and_normal_have_their_moments),
        cmocka_unit_test(a_position_has_one_number_and_neighbours_have_others),
        cmocka_unit_test(the_nearest_word_is_the_one_that_was_meant),
        cmocka_unit_test(words_of_any_length_are_compared_safely),
        cmocka_unit_test(a_list_is_cut_at_its_commas),
        cmocka_unit_test(a_list_of_names_is_a_set_of_them),
        cmocka_unit_test(a_name_ends_in_its_tail_or_is_it),
        cmocka_unit_test(the_last_part_of_a_path_is_found),
        cmocka_unit_test(lines_and_progress_reach_the_sink_and_no_sink_is_fine),
        cmocka_unit_test(threads_are_shared_out_and_cores_are_those_that_the_process_may_use),
        cmocka_unit_test(names_and_sizes_of_types_are_those_of_safetensors),
        cmocka_unit_test(every_half_survives_float32_and_back),
        cmocka_unit_test(rounding_to_halves_is_to_the_nearest_and_ties_go_to_even),
        cmocka_unit_test(arrays_of_every_type_are_widened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
