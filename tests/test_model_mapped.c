/* What a decoder that only reads promises: it uses a checkpoint's bytes where they lie, computes the
 * same bits as one that widened them, and refuses the same broken files.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "io/safetensors.h"
#include "model/decoder.h"
#include "model/params.h"

#include "model_fixture.h"

enum { T = 24, V = 512 };

static char *dir;
static struct model_config config;

static int make_dir(void **state)
{
    struct err err = {0};
    (void)state;
    dir = strdup("/tmp/moe2_test_mapped_XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    return model_config_read(&config, SOURCE_DIR "/configs/model/tiny.json", &err);
}

static int remove_dir(void **state)
{
    (void)state;
    file_remove_all(dir, NULL);
    free(dir);
    return 0;
}

/* Logits of the checkpoint in dir, and the bytes of device memory that opening it took. */
static float *logits(bool train, enum dtype compute, size_t *opened_bytes)
{
    struct device *dev = NULL;
    struct decoder *dec = NULL;
    struct err err = {0};
    int32_t ids[T], offset[2] = {0, T};
    float *x = malloc((size_t)T * V * sizeof *x);
    for (int t = 0; t < T; t++)
        ids[t] = (t * 37 + 5) % V;
    struct batch batch = {.ids = ids, .offset = offset, .B = 1, .T = T};
    struct decoder_options o = {.dir = dir, .train = train, .compute = compute};
    must(device_open(&dev, "cpu", 2, &err), &err);
    must(decoder_open(&dec, &o, dev, &err), &err);
    *opened_bytes = dev->used_bytes;
    must(decoder_forward(dec, &batch, DECODER_EVAL, &err), &err);
    must(decoder_logits(dec, 0, T, x, &err), &err);
    decoder_free(dec);
    assert_true(dev->used_bytes == 0);
    device_close(dev);
    return x;
}

/* Bytes of all weights in float32. */
static size_t widened_bytes(void)
{
    return (size_t)model_size(&config).n_params * sizeof(float);
}

static void reading_equals_training(enum dtype stored, enum dtype compute, bool maps)
{
    struct err err = {0};
    size_t read_bytes = 0, train_bytes = 0;
    must(model_init_random(dir, &config, stored, 7, NULL, &err), &err);
    float *x = logits(false, compute, &read_bytes), *y = logits(true, compute, &train_bytes);
    assert_memory_equal(x, y, (size_t)T * V * sizeof *x);
    if (maps)
        assert_in_range(read_bytes, 1, widened_bytes() / 20);
    else
        assert_true(read_bytes >= widened_bytes());
    free(x);
    free(y);
}

static void bf16_weights_are_read_where_the_file_has_them(void **state)
{
    (void)state;
    reading_equals_training(DT_BF16, DT_F32, true);
    reading_equals_training(DT_BF16, DT_BF16, true);
}

static void float32_weights_are_read_where_the_file_has_them(void **state)
{
    (void)state;
    reading_equals_training(DT_F32, DT_F32, true);
}

static void weights_of_another_type_than_products_read_are_widened(void **state)
{
    (void)state;
    reading_equals_training(DT_F16, DT_F32, false);
    reading_equals_training(DT_F32, DT_BF16, false);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct safetensors_decl *)a)->name,
                  ((const struct safetensors_decl *)b)->name);
}

/* Writes the random checkpoint of seed 7 as bf16 with its tensors in the order of their names; one tensor may
 * be float32, or hold a NaN at element 5. */
static void write_by_name(const char *as_f32, const char *poisoned)
{
    struct param_list list;
    struct err err = {0};
    struct safetensors_writer *w = NULL;
    must(param_list_make(&list, &config, &err), &err);
    struct safetensors_decl *d = calloc((size_t)list.n, sizeof *d);
    for (int64_t i = 0; i < list.n; i++) {
        const struct param *p = &list.params[i];
        bool wide = p->kind == PARAM_BUFFER || (as_f32 && strcmp(p->name, as_f32) == 0);
        d[i] = (struct safetensors_decl){
            .name = p->name, .dtype = wide ? DT_F32 : DT_BF16, .n_dims = p->n_dims};
        memcpy(d[i].shape, p->shape, sizeof p->shape);
    }
    qsort(d, (size_t)list.n, sizeof *d, by_name);
    must(safetensors_create_folder(&w, dir, d, list.n, NULL, &err), &err);
    for (int64_t i = 0; i < list.n; i++) {
        int64_t k = 0;
        while (strcmp(list.params[k].name, d[i].name) != 0)
            k++;
        int64_t n = list.params[k].n;
        float *x = malloc((size_t)n * sizeof *x);
        param_random(x, &list.params[k], 0, n, &config, 7);
        if (poisoned && strcmp(d[i].name, poisoned) == 0)
            x[5] = NAN;
        must(safetensors_put_f32(w, x, n, &err), &err);
        free(x);
    }
    must(safetensors_commit(w, &err), &err);
    must(model_config_write(&config, DT_BF16, dir, &err), &err);
    free(d);
    param_list_release(&list);
}

static void neighbours_that_the_file_keeps_apart_are_joined(void **state)
{
    (void)state;
    size_t read_bytes = 0, train_bytes = 0;
    write_by_name(NULL, NULL);
    float *x = logits(false, DT_F32, &read_bytes), *y = logits(true, DT_F32, &train_bytes);
    assert_memory_equal(x, y, (size_t)T * V * sizeof *x);
    assert_in_range(read_bytes, 1, widened_bytes() / 4);
    free(x);
    free(y);
}

static void one_tensor_of_another_type_widens_them_all(void **state)
{
    (void)state;
    size_t read_bytes = 0, train_bytes = 0;
    write_by_name("lm_head.weight", NULL);
    float *x = logits(false, DT_F32, &read_bytes), *y = logits(true, DT_F32, &train_bytes);
    assert_memory_equal(x, y, (size_t)T * V * sizeof *x);
    assert_true(read_bytes >= widened_bytes());
    free(x);
    free(y);
}

static void a_nan_in_a_mapped_tensor_is_named(void **state)
{
    (void)state;
    static const char name[] = "model.layers.1.mlp.experts.3.down_proj.weight";
    struct device *dev = NULL;
    struct decoder *dec = NULL;
    struct err err = {0};
    char wanted[300];
    write_by_name(NULL, name);
    must(device_open(&dev, "cpu", 1, &err), &err);
    int rc = decoder_open(&dec, &(struct decoder_options){.dir = dir}, dev, &err);
    assert_int_equal(rc, MOE2_ENUMERIC);
    snprintf(wanted, sizeof wanted,
             "%s/model.safetensors: tensor %s holds a NaN or an infinity at element 5", dir, name);
    assert_string_equal(err.msg, wanted);
    assert_true(dev->used_bytes == 0);
    device_close(dev);
}

static void a_mapped_model_is_saved_as_it_was(void **state)
{
    (void)state;
    struct device *dev = NULL;
    struct decoder *dec = NULL;
    struct err err = {0};
    char *copy = path_join(dir, "copy"), *a = path_join(dir, "model.safetensors"),
         *b = path_join(copy, "model.safetensors");
    struct file_map before = {0}, after = {0};
    must(dir_make(copy, &err), &err);
    must(model_init_random(dir, &config, DT_BF16, 7, NULL, &err), &err);
    must(device_open(&dev, "cpu", 1, &err), &err);
    must(decoder_open(&dec, &(struct decoder_options){.dir = dir}, dev, &err), &err);
    must(decoder_save(dec, copy, DT_BF16, &err), &err);
    must(file_map(&before, a, &err), &err);
    must(file_map(&after, b, &err), &err);
    assert_int_equal(before.n_bytes, after.n_bytes);
    assert_memory_equal(before.bytes, after.bytes, before.n_bytes);
    file_unmap(&before);
    file_unmap(&after);
    decoder_free(dec);
    device_close(dev);
    free(copy);
    free(a);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bf16_weights_are_read_where_the_file_has_them),
        cmocka_unit_test(float32_weights_are_read_where_the_file_has_them),
        cmocka_unit_test(weights_of_another_type_than_products_read_are_widened),
        cmocka_unit_test(neighbours_that_the_file_keeps_apart_are_joined),
        cmocka_unit_test(one_tensor_of_another_type_widens_them_all),
        cmocka_unit_test(a_nan_in_a_mapped_tensor_is_named),
        cmocka_unit_test(a_mapped_model_is_saved_as_it_was),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
