/* The stream of clean documents: see text_stream.h. A batch goes through three hands: the reader
 * (maybe a thread of its own) fills raw, the workers clean each document into their own buffer, and
 * the caller's thread goes over the results in order. */
#include "pipeline/text_stream.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/rng.h"
#include "pipeline/text_dedup.h"

/* One document on its way. */
struct parcel {
    size_t first, n; /* in the batch's raw bytes */
    int input_idx;
    enum text_verdict verdict;
    int worker; /* whose buffer holds the clean text */
    size_t clean_first, clean_n;
    struct text_hash hash;
    struct text_clean_counts lines;
    int rc; /* of the worker on this document */
};

struct batch {
    struct buf raw;
    struct parcel *parcels; /* [TEXT_BATCH_DOCUMENTS] */
    size_t n;
    bool last;
    int rc; /* of the reader; the parcels before it are good */
    struct err err;
    int64_t done_bytes, n_broken;
};

struct worker {
    struct text_cleaner *cleaner;
    struct buf clean;
    struct err err;
};

struct text_stream {
    struct text_stream_options options;
    struct text_source *source;
    struct text_seen *seen, *seen_lines;
    struct batch batches[2];
    int current; /* the batch that the next call takes */
    bool reading, read_ahead, ended;
    pthread_t reader;
    struct worker *workers;   /* [n_threads] */
    struct text_item *items;  /* [TEXT_BATCH_DOCUMENTS] */
    struct text_tally *tally; /* [n_inputs] */
    struct text_clean_counts lines;
    int64_t done_bytes, n_broken;
};

/* ---- reading ---- */

static void fill(struct text_stream *s, struct batch *b)
{
    b->n = 0;
    b->last = false;
    b->rc = 0;
    b->err = (struct err){0};
    buf_clear(&b->raw);
    while (!b->rc && b->n < TEXT_BATCH_DOCUMENTS && b->raw.n < TEXT_BATCH_BYTES) {
        struct text_document doc = {0};
        bool got = false;
        if (s->options.stop && *s->options.stop)
            b->rc = err_set(&b->err, MOE2_ESTOP, "stopped; nothing was kept");
        else
            b->rc = text_source_next(&doc, &got, s->source, &b->err);
        if (b->rc || !got) {
            b->last = !b->rc;
            break;
        }
        b->parcels[b->n] =
            (struct parcel){.first = b->raw.n, .n = doc.n, .input_idx = doc.input_idx};
        b->rc = buf_append(&b->raw, doc.text, doc.n, &b->err);
        b->n += b->rc == 0;
    }
    b->done_bytes = text_source_done_bytes(s->source);
    b->n_broken = text_source_n_broken(s->source);
}

static void *read_ahead(void *p)
{
    struct text_stream *s = p;
    fill(s, &s->batches[s->current]);
    return NULL;
}

/* The batch at hand, and the next one on its way. */
static struct batch *take_batch(struct text_stream *s)
{
    struct batch *b = &s->batches[s->current];
    if (s->reading)
        pthread_join(s->reader, NULL);
    else
        fill(s, b);
    s->reading = false;
    s->current = !s->current;
    if (s->read_ahead && !b->last && !b->rc)
        s->reading = pthread_create(&s->reader, NULL, read_ahead, s) == 0;
    return b;
}

/* ---- life ---- */

static int make_parts(struct text_stream *s, int n_inputs, struct err *err)
{
    int n_threads = s->options.n_threads;
    s->workers = calloc((size_t)n_threads, sizeof *s->workers);
    s->items = calloc(TEXT_BATCH_DOCUMENTS, sizeof *s->items);
    s->tally = calloc((size_t)n_inputs, sizeof *s->tally);
    bool ok = s->workers && s->items && s->tally;
    for (int i = 0; i < 2; i++) {
        s->batches[i].parcels = calloc(TEXT_BATCH_DOCUMENTS, sizeof *s->batches[i].parcels);
        ok = ok && s->batches[i].parcels;
    }
    if (!ok)
        return err_set(err, MOE2_ELIMIT, "no memory for a batch of text");
    for (int i = 0; i < n_threads; i++) {
        int rc = text_cleaner_new(&s->workers[i].cleaner, &s->options.clean, err);
        if (rc)
            return rc;
    }
    int rc = text_seen_new(&s->seen, s->options.dedup_bytes, err);
    return rc ? rc : text_seen_new(&s->seen_lines, s->options.dedup_bytes, err);
}

int text_stream_open(struct text_stream **out, const struct text_input *inputs, int n_inputs,
                     const struct text_stream_options *options, struct err *err)
{
    assert(n_inputs > 0 && options->n_threads >= 1 && options->n_threads <= TEXT_MAX_THREADS);
    struct text_stream *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, MOE2_ELIMIT, "no memory to read text");
    s->options = *options;
    s->read_ahead = options->n_threads > 1;
    int rc = make_parts(s, n_inputs, err);
    if (!rc)
        rc = text_source_open(&s->source, inputs, n_inputs, &options->source, err);
    if (rc)
        text_stream_close(s);
    else
        *out = s;
    return rc;
}

void text_stream_close(struct text_stream *s)
{
    if (!s)
        return;
    if (s->reading)
        pthread_join(s->reader, NULL);
    for (int i = 0; i < s->options.n_threads && s->workers; i++) {
        text_cleaner_free(s->workers[i].cleaner);
        buf_release(&s->workers[i].clean);
    }
    for (int i = 0; i < 2; i++) {
        buf_release(&s->batches[i].raw);
        free(s->batches[i].parcels);
    }
    text_source_close(s->source);
    text_seen_free(s->seen);
    text_seen_free(s->seen_lines);
    free(s->workers);
    free(s->items);
    free(s->tally);
    free(s);
}

/* ---- cleaning and judging ---- */

struct cleaning {
    struct text_stream *stream;
    struct batch *batch;
};

static void clean_one(void *ctx, int thread_idx, size_t i)
{
    struct cleaning *job = ctx;
    struct worker *w = &job->stream->workers[thread_idx];
    struct parcel *p = &job->batch->parcels[i];
    p->worker = thread_idx;
    p->clean_first = w->clean.n;
    const char *raw = p->n ? job->batch->raw.bytes + p->first : "";
    p->rc = text_clean(&p->verdict, &w->clean, w->cleaner, raw, p->n, &p->lines, &w->err);
    p->clean_n = w->clean.n - p->clean_first;
    if (!p->rc && p->verdict == TEXT_KEPT)
        p->hash = text_hash(w->clean.bytes + p->clean_first, p->clean_n);
}

static enum shards_split deal(const struct text_stream *s, struct text_hash h)
{
    double u = rng_to_uniform(rng_at(s->options.seed, h.a, h.b, 0));
    if (u < s->options.test)
        return SHARDS_TEST;
    return u < s->options.test + s->options.validation ? SHARDS_VALIDATION : SHARDS_TRAIN;
}

/* The number of characters of valid UTF-8. */
static int64_t count_chars(const char *text, size_t n)
{
    int64_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((uint8_t)text[i] & 0xC0) != 0x80;
    return count;
}

/* The lines between two empty ones. */
struct block {
    size_t first; /* of what is kept of it */
    size_t n_kept, n_lost;
};

/* A heading that lost all that stood under it goes too. */
static size_t end_block(struct block *b, size_t kept)
{
    bool bare = b->n_lost && b->n_kept == 1 && kept - b->first <= TEXT_UNIQUE_BYTES;
    kept = bare ? b->first : kept;
    *b = (struct block){.first = kept};
    return kept;
}

/* Takes the lines out of a clean document that an earlier one had, in place. What is left may be too
 * short. */
static int drop_seen_lines(struct text_stream *s, struct parcel *p, char *text, struct err *err)
{
    size_t kept = 0;
    struct block block = {0};
    for (size_t i = 0; i < p->clean_n;) {
        const char *end = memchr(text + i, '\n', p->clean_n - i);
        size_t n = end ? (size_t)(end - text) - i : p->clean_n - i;
        bool seen = false;
        if (n >= TEXT_UNIQUE_BYTES) {
            int rc = text_seen_add(&seen, s->seen_lines, text_hash(text + i, n), err);
            if (rc)
                return rc;
        }
        if (n == 0)
            kept = end_block(&block, kept);
        /* no empty line at the beginning or behind another */
        bool spare = n == 0 && (kept == 0 || (kept >= 2 && text[kept - 2] == '\n'));
        if (!seen && !spare) {
            memmove(text + kept, text + i, n);
            kept += n;
            if (end) /* behind the last line the next document may begin */
                text[kept++] = '\n';
        }
        if (n == 0)
            block.first = kept;
        block.n_kept += !seen && n > 0;
        block.n_lost += seen;
        s->lines.n_repeated += seen;
        i += n + 1;
    }
    kept = end_block(&block, kept);
    while (kept && text[kept - 1] == '\n')
        kept--;
    p->clean_n = kept;
    if (count_chars(text, kept) < s->options.clean.min_chars)
        p->verdict = TEXT_TOO_SHORT;
    return 0;
}

static int judge_in_order(struct text_stream *s, struct batch *b, size_t *n, struct err *err)
{
    *n = 0;
    for (size_t i = 0; i < b->n; i++) {
        struct parcel *p = &b->parcels[i];
        struct worker *w = &s->workers[p->worker];
        if (p->rc)
            return err_set(err, p->rc, "%s", w->err.msg);
        if (p->verdict == TEXT_KEPT && !s->options.keep_duplicates) {
            bool seen = false;
            int rc = text_seen_add(&seen, s->seen, p->hash, err);
            if (rc)
                return rc;
            if (seen)
                p->verdict = TEXT_DUPLICATE;
        }
        if (p->verdict == TEXT_KEPT && s->options.unique_lines) {
            int rc = drop_seen_lines(s, p, w->clean.bytes + p->clean_first, err);
            if (rc)
                return rc;
        }
        struct text_tally *t = &s->tally[p->input_idx];
        t->n_documents[p->verdict]++;
        t->n_bytes_read += (int64_t)p->n;
        s->lines.n_boilerplate += p->lines.n_boilerplate;
        s->lines.n_menu += p->lines.n_menu;
        s->lines.n_foreign += p->lines.n_foreign;
        if (p->verdict != TEXT_KEPT)
            continue;
        t->n_bytes_kept += (int64_t)p->clean_n;
        s->items[(*n)++] = (struct text_item){w->clean.bytes + p->clean_first, p->clean_n,
                                              deal(s, p->hash), p->input_idx};
    }
    return 0;
}

int text_stream_next(const struct text_item **items, size_t *n, bool *more, struct text_stream *s,
                     struct err *err)
{
    *n = 0;
    *more = false;
    if (s->ended)
        return 0;
    struct batch *b = take_batch(s);
    for (int i = 0; i < s->options.n_threads; i++)
        buf_clear(&s->workers[i].clean);
    text_parallel(s->options.n_threads, b->n, clean_one, &(struct cleaning){s, b});
    int rc = judge_in_order(s, b, n, err);
    if (!rc && b->rc)
        rc = err_set(err, b->rc, "%s", b->err.msg);
    s->ended = rc || b->last;
    s->done_bytes = b->done_bytes;
    s->n_broken = b->n_broken;
    if (rc)
        return rc;
    *items = s->items;
    *more = !s->ended || *n > 0;
    return 0;
}

const struct text_tally *text_stream_tally(const struct text_stream *s, int input_idx)
{
    return &s->tally[input_idx];
}

struct text_clean_counts text_stream_lines(const struct text_stream *s)
{
    return s->lines;
}

bool text_stream_dedup_is_full(const struct text_stream *s)
{
    return text_seen_is_full(s->seen) || text_seen_is_full(s->seen_lines);
}

int64_t text_stream_done_bytes(const struct text_stream *s)
{
    return s->done_bytes;
}

int64_t text_stream_total_bytes(const struct text_stream *s)
{
    return text_source_total_bytes(s->source);
}

int64_t text_stream_n_files(const struct text_stream *s)
{
    return text_source_n_files(s->source);
}

int64_t text_stream_n_broken(const struct text_stream *s)
{
    return s->n_broken;
}

/* The source keeps the message of the first one as it is, so that a reader ahead does not change it. */
const char *text_stream_first_broken(const struct text_stream *s)
{
    return s->n_broken ? text_source_first_broken(s->source) : "";
}
