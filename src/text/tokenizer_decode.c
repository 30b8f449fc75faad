/* From ids to text, at once or id by id, and what a tokenizer tells of itself: see tokenizer.h.
 *
 * A token's bytes need not be whole characters, so the text is a stream of bytes that is checked as
 * it goes out: whole characters at once, the beginning of one when its rest has come, anything else
 * as U+FFFD (Rust's from_utf8_lossy, which HF uses).
 */
#include <string.h>

#include "text/tokenizer.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

int32_t tokenizer_n_vocab(const struct tokenizer *t)
{
    return t->vocab.n;
}

int32_t tokenizer_bos_id(const struct tokenizer *t)
{
    return t->bos_id;
}

int32_t tokenizer_eos_id(const struct tokenizer *t)
{
    return t->eos_id;
}

static bool has_token(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->vocab.n && t->vocab.flags[id] & VOCAB_PRESENT;
}

const char *tokenizer_token(const struct tokenizer *t, int32_t id, size_t *n_bytes)
{
    if (!has_token(t, id))
        return NULL;
    *n_bytes = t->vocab.bytes[id].n;
    return t->vocab.bytes[id].p;
}

int32_t tokenizer_id(const struct tokenizer *t, const char *token)
{
    return vocab_find(&t->vocab, token, strlen(token));
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    return has_token(t, id) && t->vocab.flags[id] & VOCAB_SPECIAL;
}

uint64_t tokenizer_fingerprint(const struct tokenizer *t)
{
    return t->fingerprint;
}

void token_stream_init(struct token_stream *s, const struct tokenizer *t, int flags)
{
    *s = (struct token_stream){.t = t, .flags = flags};
}

/* Appends what of the bytes is text by now, and keeps the beginning of a character for the next
 * call. */
static int put_bytes(struct token_stream *s, struct buf *out, const uint8_t *bytes, size_t n,
                     struct err *err)
{
    int rc = 0;
    while (s->n_pending && n && !rc) {
        /* The pending part and one byte more: a whole character, still a beginning, or a part that
         * is replaced. */
        uint8_t joined[5];
        memcpy(joined, s->pending, (size_t)s->n_pending);
        joined[s->n_pending] = *bytes;
        size_t n_bad = 0;
        bool cut = false;
        size_t length = utf8_check(joined, (size_t)s->n_pending + 1, &n_bad, &cut);
        if (!length && !cut) {
            rc = buf_append(out, "\xef\xbf\xbd", 3, err);
            s->n_pending = 0;
            break;
        }
        s->pending[s->n_pending++] = *bytes++;
        n--;
        if (length) {
            rc = buf_append(out, s->pending, length, err);
            s->n_pending = 0;
        }
    }
    size_t from = 0;
    for (size_t at = 0; at < n && !rc;) {
        size_t n_bad = 0;
        bool cut = false;
        size_t length = utf8_check(bytes + at, n - at, &n_bad, &cut);
        if (length) {
            at += length;
            continue;
        }
        rc = buf_append(out, bytes + from, at - from, err);
        if (!rc && cut) {
            s->n_pending = (int)(n - at);
            memcpy(s->pending, bytes + at, n - at);
            return 0;
        }
        if (!rc)
            rc = buf_append(out, "\xef\xbf\xbd", 3, err);
        at += n_bad;
        from = at;
    }
    return rc ? rc : buf_append(out, bytes + from, n - from, err);
}

/* Puts to in the place of each from in out->bytes [begin …); to is not longer. */
static void replace_tail(struct buf *out, size_t begin, const char *from, const char *to)
{
    size_t n_from = strlen(from), n_to = strlen(to);
    char *p = out->bytes + begin, *put = p, *end = out->bytes + out->n;
    while (p < end) {
        if ((size_t)(end - p) >= n_from && memcmp(p, from, n_from) == 0) {
            memcpy(put, to, n_to);
            put += n_to;
            p += n_from;
        } else {
            *put++ = *p++;
        }
    }
    *put = 0;
    out->n = (size_t)(put - out->bytes);
}

/* What HF's cleanup does, in its order, to each token with the space before it. */
static void clean_up(struct buf *out, size_t begin)
{
    static const char *const rules[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        replace_tail(out, begin, rules[i][0], rules[i][1]);
}

static int put_wordpiece(struct token_stream *s, struct buf *out, int32_t id, struct err *err)
{
    const struct token_decoder *d = &s->t->decoder;
    struct span token = s->t->vocab.bytes[id];
    size_t begin = out->n;
    bool joined =
        s->begun && token.n >= d->n_prefix && memcmp(token.p, d->prefix, d->n_prefix) == 0;
    int rc = s->begun && !joined ? buf_append(out, " ", 1, err) : 0;
    s->begun = true;
    size_t skip = joined ? d->n_prefix : 0;
    if (!rc)
        rc = buf_append(out, token.p + skip, token.n - skip, err);
    if (!rc && d->cleanup)
        clean_up(out, begin);
    return rc;
}

static int put_metaspace(struct token_stream *s, struct buf *out, int32_t id, struct err *err)
{
    const struct token_decoder *d = &s->t->decoder;
    struct span token = s->t->vocab.bytes[id];
    bool first = !s->begun && d->cleanup;
    s->begun = true;
    int rc = 0;
    for (size_t at = 0; at < token.n && !rc;) {
        const char *sign = memmem(token.p + at, token.n - at, d->prefix, d->n_prefix);
        size_t next = sign ? (size_t)(sign - token.p) : token.n;
        rc = buf_append(out, token.p + at, next - at, err);
        if (!rc && sign && !first)
            rc = buf_append(out, " ", 1, err);
        at = next + (sign ? d->n_prefix : 0);
    }
    return rc;
}

/* Bytes as they are, but for one space in front of the whole. */
static int put_sentencepiece(struct token_stream *s, struct buf *out, int32_t id, struct err *err)
{
    struct span token = s->t->vocab.bytes[id];
    bool strip = !s->begun && s->t->decoder.cleanup && token.n && token.p[0] == ' ';
    s->begun = true;
    if (strip)
        token.p++, token.n--;
    if (s->flags & TOKENIZER_RAW)
        return buf_append(out, token.p, token.n, err);
    return put_bytes(s, out, (const uint8_t *)token.p, token.n, err);
}

int token_stream_put(struct token_stream *s, struct buf *out, int32_t id, struct err *err)
{
    const struct tokenizer *t = s->t;
    if (!has_token(t, id))
        return err_set(err, MOE2_EFORMAT, "id %d has no token, wanted 0 to %d", id, t->vocab.n - 1);
    if (s->flags & TOKENIZER_SKIP_SPECIAL && t->vocab.flags[id] & VOCAB_SPECIAL)
        return 0;
    if (t->decoder.kind == DECODER_WORDPIECE)
        return put_wordpiece(s, out, id, err);
    if (t->decoder.kind == DECODER_METASPACE)
        return put_metaspace(s, out, id, err);
    if (t->decoder.kind == DECODER_SENTENCEPIECE)
        return put_sentencepiece(s, out, id, err);
    bool byte_level = t->decoder.kind == DECODER_BYTE_LEVEL;
    bool as_text = byte_level || t->vocab.plain;
    const struct span *span = as_text ? &t->vocab.bytes[id] : &t->vocab.written[id];
    int rc = !byte_level && s->begun ? buf_append(out, " ", 1, err) : 0;
    s->begun = true;
    if (rc)
        return rc;
    if (s->flags & TOKENIZER_RAW)
        return buf_append(out, span->p, span->n, err);
    return put_bytes(s, out, (const uint8_t *)span->p, span->n, err);
}

int token_stream_end(struct token_stream *s, struct buf *out, struct err *err)
{
    int rc = s->n_pending ? buf_append(out, "\xef\xbf\xbd", 3, err) : 0;
    s->n_pending = 0;
    return rc;
}

int tokenizer_decode(const struct tokenizer *t, struct buf *out, const int32_t *ids, size_t n,
                     int flags, struct err *err)
{
    struct token_stream s;
    token_stream_init(&s, t, flags);
    size_t n_before = out->n;
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++)
        rc = token_stream_put(&s, out, ids[i], err);
    if (!rc)
        rc = token_stream_end(&s, out, err);
    if (rc && out->bytes) {
        out->n = n_before;
        out->bytes[n_before] = 0;
    }
    return rc;
}
