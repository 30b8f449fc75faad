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

int token_stream_put(struct token_stream *s, struct buf *out, int32_t id, struct err *err)
{
    const struct tokenizer *t = s->t;
    if (!has_token(t, id))
        return err_set(err, MOE2_EFORMAT, "id %d has no token, wanted 0 to %d", id, t->vocab.n - 1);
    if (s->flags & TOKENIZER_SKIP_SPECIAL && t->vocab.flags[id] & VOCAB_SPECIAL)
        return 0;
    const struct span *span = t->byte_decoder ? &t->vocab.bytes[id] : &t->vocab.written[id];
    int rc = !t->byte_decoder && s->begun ? buf_append(out, " ", 1, err) : 0;
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
