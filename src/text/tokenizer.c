/* Encoding: added tokens, normal form, pieces, BPE, post-processor. See tokenizer.h; reading a
 * tokenizer.json is tokenizer_json.c's, the way back is tokenizer_decode.c's. */
#include "text/tokenizer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

/* ---- lists of ids ---- */

/* Room for n more. */
static int ids_reserve(struct ids *ids, size_t n, struct err *err)
{
    if (ids->capacity - ids->n >= n)
        return 0;
    size_t capacity = ids->capacity < 64 ? 64 : ids->capacity;
    while (capacity - ids->n < n)
        capacity += capacity / 2;
    int32_t *v = realloc(ids->v, capacity * sizeof *v);
    if (!v)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu token ids", capacity);
    ids->v = v;
    ids->capacity = capacity;
    return 0;
}

int ids_append(struct ids *ids, const int32_t *v, size_t n, struct err *err)
{
    int rc = ids_reserve(ids, n, err);
    if (rc)
        return rc;
    if (n)
        memcpy(ids->v + ids->n, v, n * sizeof *v);
    ids->n += n;
    return 0;
}

void ids_release(struct ids *ids)
{
    free(ids->v);
    *ids = (struct ids){0};
}

/* ---- life ---- */

static int read_text(struct tokenizer **out, const char *text, size_t n, bool is_vocab_txt,
                     const char *config, size_t n_config, struct err *err)
{
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, MOE2_ELIMIT, "no memory for a tokenizer");
    int rc = tokenizer_read(t, text, n, is_vocab_txt, config, n_config, err);
    if (rc) {
        tokenizer_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

int tokenizer_parse(struct tokenizer **out, const char *json, size_t n_json, const char *config,
                    size_t n_config, struct err *err)
{
    return read_text(out, json, n_json, false, config, n_config, err);
}

int tokenizer_parse_vocab_txt(struct tokenizer **out, const char *vocab, size_t n_vocab,
                              const char *config, size_t n_config, struct err *err)
{
    return read_text(out, vocab, n_vocab, true, config, n_config, err);
}

/* The files of a tokenizer: new strings. */
struct files {
    char *text, *config; /* config may not exist */
    bool is_vocab_txt;
};

static void files_release(struct files *f)
{
    free(f->text);
    free(f->config);
}

/* The folder of a path with its slash, or "." for the current one; a new string. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
}

static int find_files(struct files *f, const char *path, struct err *err)
{
    bool is_dir = file_is_dir(path);
    char *dir = is_dir ? strdup(path) : folder_of(path);
    f->text = is_dir ? path_join(path, "tokenizer.json") : strdup(path);
    f->config = dir ? path_join(dir, "tokenizer_config.json") : NULL;
    free(dir);
    if (!f->text || !f->config)
        return err_set(err, MOE2_ELIMIT, "no memory for a path");
    if (!is_dir || file_exists(f->text))
        return 0;
    free(f->text);
    f->text = path_join(path, "vocab.txt");
    f->is_vocab_txt = true;
    if (!f->text)
        return err_set(err, MOE2_ELIMIT, "no memory for a path");
    return file_exists(f->text)
               ? 0
               : err_set(err, MOE2_EIO, "%s holds no tokenizer.json and no vocab.txt", path);
}

int tokenizer_open(struct tokenizer **out, const char *path, struct err *err)
{
    struct buf text = {.max_bytes = TOKENIZER_MAX_FILE_BYTES},
               config = {.max_bytes = TOKENIZER_MAX_FILE_BYTES};
    struct files f = {0};
    int rc = find_files(&f, path, err);
    if (!rc)
        rc = file_read(&text, f.text, err);
    if (!rc && file_exists(f.config))
        rc = file_read(&config, f.config, err);
    if (!rc) {
        rc = read_text(out, text.bytes ? text.bytes : "", text.n, f.is_vocab_txt, config.bytes,
                       config.n, err);
        if (rc)
            err_prefix(err, "%s", path);
    }
    buf_release(&text);
    buf_release(&config);
    files_release(&f);
    return rc;
}

int tokenizer_bytes_new(struct tokenizer **out, struct err *err)
{
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, MOE2_ELIMIT, "no memory for a tokenizer");
    t->is_bytes = true;
    t->decoder.kind = DECODER_BYTE_LEVEL;
    t->bos_id = t->before[0] = TOKENIZER_BYTES_BOS;
    t->eos_id = TOKENIZER_BYTES_EOS;
    t->n_before = 1;
    t->fingerprint = 0x6d6f653262797465u;
    int rc = vocab_init(&t->vocab, 258, 256 * 2 + 14, err);
    for (int byte = 0; byte < 256 && !rc; byte++) {
        char written[4];
        size_t n = utf8_put((uint8_t *)written, byte_to_visible((uint8_t)byte));
        rc = vocab_add(&t->vocab, byte, written, n, 0, err);
    }
    if (!rc)
        rc = vocab_add(&t->vocab, TOKENIZER_BYTES_BOS, "<|bos|>", 7, VOCAB_ADDED | VOCAB_SPECIAL,
                       err);
    if (!rc)
        rc = vocab_add(&t->vocab, TOKENIZER_BYTES_EOS, "<|eos|>", 7, VOCAB_ADDED | VOCAB_SPECIAL,
                       err);
    if (rc) {
        tokenizer_free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t)
        return;
    char_tables_release(&t->tables);
    normalizer_release(&t->normalizer);
    if (t->model)
        t->model->release(t);
    vocab_release(&t->vocab);
    added_release(&t->added_raw);
    added_release(&t->added_normalized);
    pretokenizer_release(&t->pre);
    free(t);
}

int tokenizer_scratch_new(struct tokenizer_scratch **out, const struct tokenizer *t,
                          struct err *err)
{
    struct tokenizer_scratch *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, MOE2_ELIMIT, "no memory for a tokenizer's scratch");
    s->t = t;
    int rc = t->is_bytes ? 0 : piece_cache_init(&s->cache, err);
    if (rc) {
        free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void tokenizer_scratch_free(struct tokenizer_scratch *s)
{
    if (!s)
        return;
    piece_cache_release(&s->cache);
    bpe_scratch_release(&s->bpe);
    unigram_scratch_release(&s->unigram);
    split_scratch_release(&s->split);
    buf_release(&s->repaired);
    buf_release(&s->normalized[0]);
    buf_release(&s->normalized[1]);
    free(s);
}

/* ---- pieces ---- */

struct encoder {
    const struct tokenizer *t;
    struct tokenizer_scratch *s;
    struct ids *out;
    bool plain;           /* TOKENIZER_PLAIN */
    uint8_t seen;         /* classes of the non-ASCII characters of the whole text */
    const uint8_t *begin; /* of the whole text, and where it has become its normal form or NULL */
    const uint8_t *first;
};

/* The ids of a piece that the cache does not have; there is room for it in out. key is NULL for a long
 * one. */
static int encode_new(const struct encoder *e, const uint64_t *key, uint64_t hash, const uint8_t *p,
                      size_t n, bool keep, struct err *err)
{
    int32_t *ids = e->out->v + e->out->n;
    size_t n_ids;
    int rc = e->t->model->encode(ids, &n_ids, e->t, e->s, p, n, err);
    if (rc)
        return rc;
    if (keep)
        piece_keep(&e->s->cache, key, hash, p, n, ids, n_ids);
    e->out->n += n_ids;
    return 0;
}

static int take_found(const struct encoder *e, const struct piece *found)
{
    memcpy(e->out->v + e->out->n, piece_ids(&e->s->cache, found), found->n_ids * sizeof(int32_t));
    e->out->n += found->n_ids;
    return 0;
}

static int encode_long(const struct encoder *e, const uint8_t *p, size_t n, struct err *err)
{
    int rc = ids_reserve(e->out, n, err);
    if (rc)
        return rc;
    if (n > PIECE_MAX)
        return encode_new(e, NULL, 0, p, n, false, err);
    uint64_t hash;
    const struct piece *found = piece_find_long(&e->s->cache, p, n, &hash);
    return found ? take_found(e, found) : encode_new(e, NULL, hash, p, n, true, err);
}

/* Appends the ids of a piece of up to PIECE_INLINE bytes. */
static inline int encode_keyed(const struct encoder *e, const uint64_t key[2], uint64_t hash,
                               const uint8_t *p, size_t n, struct err *err)
{
    if (e->out->capacity - e->out->n < PIECE_INLINE + 1) {
        int rc = ids_reserve(e->out, PIECE_INLINE + 1, err);
        if (rc)
            return rc;
    }
    const struct piece *found = piece_find(&e->s->cache, key, hash);
    if (!found)
        return encode_new(e, key, hash, p, n, true, err);
    if (found->n_ids > PIECE_INLINE_IDS)
        return take_found(e, found);
    memcpy(e->out->v + e->out->n, found->ids, sizeof found->ids);
    e->out->n += found->n_ids;
    return 0;
}

static int take_piece(void *ctx, const uint8_t *piece, size_t n, struct err *err)
{
    if (n > PIECE_INLINE)
        return encode_long(ctx, piece, n, err);
    uint64_t key[2];
    piece_key(key, piece, n, n);
    return encode_keyed(ctx, key, piece_hash(key), piece, n, err);
}

/* Text without added tokens, in its normal form. Pieces are cut some at a time, and their entries
 * of the cache asked for, before the first of them is looked up: by then the entries have come. */
static int encode_text(struct encoder *e, const uint8_t *text, size_t n, struct err *err)
{
    enum { AHEAD = 32 };
    struct {
        uint64_t key[2], hash;
        size_t begin, n;
    } ahead[AHEAD];
    const struct tokenizer *t = e->t;
    if (!t->fast)
        return pretokenize(&t->pre, &e->s->split, text, n, text == e->first, t->tables.classes,
                           take_piece, e, err);
    int rc = 0;
    for (size_t at = 0; at < n && !rc;) {
        int n_ahead = 0;
        while (n_ahead < AHEAD && at < n) {
            size_t next = t->fast(text, at, n, t->fast_classes), length;
            if (t->fast_drops && t->fast_classes[utf8_get(text + at, &length)] & t->fast_drops) {
                at = next;
                continue;
            }
            ahead[n_ahead].begin = at;
            ahead[n_ahead].n = next - at;
            if (next - at <= PIECE_INLINE) {
                piece_key(ahead[n_ahead].key, text + at, next - at, n - at);
                ahead[n_ahead].hash = piece_hash(ahead[n_ahead].key);
                piece_prefetch(&e->s->cache, ahead[n_ahead].hash);
            }
            at = next;
            n_ahead++;
        }
        for (int i = 0; i < n_ahead && !rc; i++)
            rc = ahead[i].n <= PIECE_INLINE
                     ? encode_keyed(e, ahead[i].key, ahead[i].hash, text + ahead[i].begin,
                                    ahead[i].n, err)
                     : encode_long(e, text + ahead[i].begin, ahead[i].n, err);
    }
    return rc;
}

/* ---- added tokens and normal form ---- */

typedef int encode_between(struct encoder *e, const uint8_t *text, size_t n, struct err *err);

/* The added tokens of one set as their ids, and what lies between them by way of between. */
static int encode_added(struct encoder *e, const struct added_set *set, encode_between *between,
                        const uint8_t *text, size_t n, struct err *err)
{
    struct added_search search = {0};
    struct added_match found;
    size_t done = 0;
    while (added_next(&found, &search, set, text, n, e->t->tables.classes)) {
        int rc = done < found.begin ? between(e, text + done, found.begin - done, err) : 0;
        if (!rc)
            rc = ids_append(e->out, &found.id, 1, err);
        if (rc)
            return rc;
        done = found.end;
    }
    return done < n ? between(e, text + done, n - done, err) : 0;
}

/* Text between the added tokens of the first set: normalised, then cut by the second set. */
static int encode_normalized(struct encoder *e, const uint8_t *text, size_t n, struct err *err)
{
    bool begins = text == e->begin;
    int rc = normalizer_run(&text, &n, &e->t->normalizer, e->s->normalized, e->seen, err);
    if (rc || !n)
        return rc;
    e->first = begins ? text : NULL;
    return e->plain ? encode_text(e, text, n, err)
                    : encode_added(e, &e->t->added_normalized, encode_text, text, n, err);
}

static int encode_bytes(struct ids *out, const uint8_t *text, size_t n, struct err *err)
{
    int rc = ids_reserve(out, n, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        out->v[out->n++] = text[i];
    return 0;
}

/* Valid UTF-8 in *text and *n, or an error. */
static int make_valid(struct encoder *e, const uint8_t **text, size_t *n, int flags,
                      struct err *err)
{
    size_t good = utf8_scan(*text, *n, e->t->tables.classes, &e->seen);
    if (good == *n)
        return 0;
    if (!(flags & TOKENIZER_REPLACE))
        return err_set(err, MOE2_EFORMAT, "the text is not UTF-8: byte %zu is 0x%02x", good,
                       (*text)[good]);
    struct buf *b = &e->s->repaired;
    buf_clear(b);
    int rc = utf8_repair(b, *text, *n, err);
    if (rc)
        return rc;
    *text = (const uint8_t *)b->bytes;
    *n = b->n;
    utf8_scan(*text, *n, e->t->tables.classes, &e->seen);
    return 0;
}

static int encode_all(struct encoder *e, const uint8_t *text, size_t n, int flags, struct err *err)
{
    const struct tokenizer *t = e->t;
    int rc =
        flags & TOKENIZER_SPECIAL ? ids_append(e->out, t->before, (size_t)t->n_before, err) : 0;
    if (!rc && t->is_bytes)
        rc = encode_bytes(e->out, text, n, err);
    if (!rc && !t->is_bytes)
        rc = make_valid(e, &text, &n, flags, err);
    e->begin = text;
    if (!rc && !t->is_bytes)
        rc = e->plain ? encode_normalized(e, text, n, err)
                      : encode_added(e, &t->added_raw, encode_normalized, text, n, err);
    if (!rc && flags & TOKENIZER_SPECIAL)
        rc = ids_append(e->out, t->after, (size_t)t->n_after, err);
    return rc;
}

int tokenizer_encode(const struct tokenizer *t, struct tokenizer_scratch *s, struct ids *out,
                     const char *text, size_t n_bytes, int flags, struct err *err)
{
    if (n_bytes > TOKENIZER_MAX_TEXT_BYTES)
        return err_set(err, MOE2_ELIMIT, "a text of %zu bytes, wanted at most %d in one piece",
                       n_bytes, TOKENIZER_MAX_TEXT_BYTES);
    struct tokenizer_scratch *own = NULL;
    int rc = s ? 0 : tokenizer_scratch_new(&own, t, err);
    if (rc)
        return rc;
    size_t n_before = out->n;
    struct encoder e = {.t = t, .s = s ? s : own, .out = out, .plain = flags & TOKENIZER_PLAIN};
    assert(e.s->t == t);
    rc = encode_all(&e, (const uint8_t *)text, n_bytes, flags, err);
    if (rc)
        out->n = n_before;
    tokenizer_scratch_free(own);
    return rc;
}
