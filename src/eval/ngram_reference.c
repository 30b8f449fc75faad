/* Reference lines: see ngram_reference.h. The train text is decoded document by document, counted by
 * the 5-gram model and written to a file for xz at the same time. */
#include "eval/ngram_reference.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "eval/model_tokenizer.h"
#include "eval/ngram.h"
#include "io/shards.h"
#include "text/tokenizer.h"

static const int64_t XZ_REACH_BYTES = (int64_t)63 << 20;

struct measuring {
    const struct log_sink *sink;
    const volatile int *stop;
    struct shards *train;
    struct tokenizer *tokenizer;
    struct ngram *ngram;
    struct buf text;  /* of a document */
    struct buf test;  /* of the test split */
    char *train_path; /* temporary */
    int64_t n_train_bytes;
    FILE *train_file;
};

static int open_parts(struct measuring *m, const char *data_dir, const char *temp_dir,
                      struct err *err)
{
    struct shards *test = NULL;
    int rc = shards_open(&test, data_dir, "test", err);
    if (!rc)
        rc = file_read(&m->test, shards_text_path(test), err);
    if (!rc && m->test.n == 0)
        rc = err_set(err, MOE2_EFORMAT, "%s: the test text is empty", shards_text_path(test));
    if (!rc)
        rc = shards_open(&m->train, data_dir, "train", err);
    if (!rc && strcmp(shards_tokenizer(m->train), "bytes") == 0)
        rc = tokenizer_bytes_new(&m->tokenizer, err);
    else if (!rc)
        rc = model_tokenizer_open(&m->tokenizer, shards_tokenizer(m->train), err);
    shards_close(test);
    if (!rc)
        rc = ngram_new(&m->ngram, 0, err);
    if (rc)
        return rc;
    if (asprintf(&m->train_path, "%s/moe2-reference-%ld.txt", temp_dir, (long)getpid()) < 0)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for a name", temp_dir);
    m->train_file = fopen(m->train_path, "wbe");
    return m->train_file ? 0 : err_set(err, MOE2_EIO, "%s: can't be written", m->train_path);
}

static void close_parts(struct measuring *m)
{
    if (m->train_file)
        fclose(m->train_file);
    if (m->train_path)
        unlink(m->train_path);
    free(m->train_path);
    shards_close(m->train);
    tokenizer_free(m->tokenizer);
    ngram_free(m->ngram);
    buf_release(&m->text);
    buf_release(&m->test);
}

/* A document's text, behind an empty line unless it is the first. Without EOS. */
static int decode(struct measuring *m, int64_t document, int32_t **ids, int64_t *capacity,
                  struct err *err)
{
    int64_t first = shards_document(m->train, document);
    int64_t n = shards_document(m->train, document + 1) - first;
    if (n > *capacity) {
        int32_t *grown = realloc(*ids, (size_t)n * sizeof *grown);
        if (!grown)
            return err_set(err, MOE2_ELIMIT, "no memory for a document of %lld tokens",
                           (long long)n);
        *ids = grown;
        *capacity = n;
    }
    int rc = shards_read(*ids, m->train, first, n, err);
    buf_clear(&m->text);
    if (!rc && document > 0)
        rc = buf_puts(&m->text, "\n\n", err);
    return rc ? rc
              : tokenizer_decode(m->tokenizer, &m->text, *ids, (size_t)n,
                                 TOKENIZER_RAW | TOKENIZER_SKIP_SPECIAL, err);
}

/* Counts the train text and writes it; for xz only from skip on. */
static int go_over_train(struct measuring *m, struct err *err)
{
    struct progress progress;
    int32_t *ids = NULL;
    int64_t capacity = 0, n_documents = shards_n_documents(m->train);
    int64_t skip = shards_n_text_bytes(m->train) - XZ_REACH_BYTES;
    int rc = 0;
    progress_begin(&progress, m->sink, "5-gram", (double)shards_n_text_bytes(m->train), "B");
    for (int64_t i = 0; i < n_documents && !rc; i++) {
        rc = decode(m, i, &ids, &capacity, err);
        if (!rc)
            rc = ngram_count(m->ngram, m->text.bytes, m->text.n, err);
        if (!rc && m->n_train_bytes >= skip &&
            fwrite(m->text.bytes, 1, m->text.n, m->train_file) != m->text.n)
            rc = err_set(err, MOE2_EIO, "%s: can't be written", m->train_path);
        m->n_train_bytes += (int64_t)m->text.n;
        progress_set(&progress, (double)m->n_train_bytes);
        if (!rc && m->stop && *m->stop)
            rc = err_set(err, MOE2_ESTOP, "stopped");
    }
    progress_end(&progress);
    free(ids);
    if (!rc && fflush(m->train_file))
        rc = err_set(err, MOE2_EIO, "%s: can't be written", m->train_path);
    return rc ? rc : ngram_estimate(m->ngram, err);
}

/* Bytes of `xz -9` of a file; −1 when there is no xz or it fails. */
static int64_t xz_bytes(const struct measuring *m, const char *path)
{
    const char *argv[] = {"xz", "-9", "-T1", "--stdout", NULL};
    struct process p = {.argv = argv, .stdin_path = path, .stop = m->stop};
    struct process_result r;
    if (process_run(&r, NULL, &p, NULL) || r.status)
        return -1;
    return r.n_out_bytes;
}

static struct reference_line *add_line(struct reference *r, const char *label, double bits)
{
    struct reference_line *l = &r->lines[r->n_lines++];
    l->label = label;
    l->bits_per_byte = bits / (double)r->n_test_bytes;
    return l;
}

static int add_xz(struct reference *r, struct measuring *m, const char *test_path, struct err *err)
{
    int64_t alone = xz_bytes(m, test_path);
    if (alone < 0) {
        log_line(m->sink, LOG_INFO, "there is no xz here: its lines are left out");
        return 0;
    }
    struct reference_line *l = add_line(r, "xz -9", 8 * (double)alone);
    snprintf(l->note, sizeof l->note,
             "the test text alone, nothing read before: %lld bytes of %lld", (long long)alone,
             (long long)r->n_test_bytes);
    int64_t train = xz_bytes(m, m->train_path);
    bool begun = m->n_train_bytes > 0;
    if ((begun && fwrite("\n\n", 1, 2, m->train_file) != 2) ||
        fwrite(m->test.bytes, 1, m->test.n, m->train_file) != m->test.n || fflush(m->train_file))
        return err_set(err, MOE2_EIO, "%s: can't be written", m->train_path);
    int64_t both = xz_bytes(m, m->train_path);
    if (train < 0 || both < train)
        return 0;
    l = add_line(r, "xz -9 after train", 8 * (double)(both - train));
    snprintf(l->note, sizeof l->note,
             "what the test text adds behind the train text%s: %lld − %lld bytes",
             m->n_train_bytes > XZ_REACH_BYTES ? " (its last 63 MiB)" : "", (long long)both,
             (long long)train);
    return 0;
}

int reference_measure(struct reference *out, const char *data_dir, const char *temp_dir,
                      const struct log_sink *sink, const volatile int *stop, struct err *err)
{
    struct measuring m = {.sink = sink, .stop = stop};
    struct reference r = {0};
    double begun_s = clock_s();
    char *test_path = path_join(data_dir, "test.txt");
    int rc = test_path ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for a name", data_dir);
    if (!rc)
        rc = open_parts(&m, data_dir, temp_dir, err);
    if (!rc)
        rc = go_over_train(&m, err);
    if (!rc) {
        r.n_test_bytes = (int64_t)m.test.n;
        r.n_train_bytes = m.n_train_bytes;
        struct reference_line *l =
            add_line(&r, "5-gram", ngram_bits(m.ngram, m.test.bytes, m.test.n));
        snprintf(l->note, sizeof l->note,
                 "bytes, modified Kneser-Ney, trained on %s%lld bytes of the train split",
                 ngram_is_full(m.ngram) ? "the first " : "", (long long)ngram_n_bytes(m.ngram));
        rc = add_xz(&r, &m, test_path, err);
    }
    if (!rc && stop && *stop)
        rc = err_set(err, MOE2_ESTOP, "stopped");
    close_parts(&m);
    free(test_path);
    r.seconds = clock_s() - begun_s;
    if (!rc)
        *out = r;
    return rc;
}
