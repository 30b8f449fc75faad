/* The row BPE of text_model.h for vocabularies of characters: SentencePiece's BPE as Llama 2 and Mistral
 * have it.
 *
 *     {"type": "BPE", "byte_fallback": true, "fuse_unk": true, "unk_token": "<unk>",
 *      "vocab": {"<unk>": 0, "<0x00>": 3, "▁the": 278, …}, "merges": […]}
 *
 * A piece begins as the ids of its characters; one that is no token becomes its bytes' tokens, or the
 * unknown token where one of those is missing. Then BPE's merges.
 */
#include <stdio.h>
#include <string.h>

#include "text/text_model.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_parts.h"
#include "text/unicode.h"

static int read_chars(struct tokenizer *t, json_t *model, json_t *added, struct err *err)
{
    bool ignore_merges = false;
    int rc = bpe_refuse_rest(model, err);
    if (!rc)
        rc = json_flag(&ignore_merges, model, "model", "ignore_merges", false, err);
    if (!rc && ignore_merges)
        rc = err_set(err, MOE2_EFORMAT,
                     "model.ignore_merges is true beside byte_fallback, wanted false");
    if (!rc)
        rc = read_vocab(t, json_object_get(model, "vocab"), added, err);
    if (!rc)
        rc = read_merges(t, json_object_get(model, "merges"), false, err);
    if (!rc)
        rc = json_flag(&t->bpe.fuse_unk, model, "model", "fuse_unk", false, err);
    if (rc)
        return rc;
    const char *unk = json_string_value(json_object_get(model, "unk_token"));
    t->bpe.unk_id = unk ? vocab_find(&t->vocab, unk, strlen(unk)) : -1;
    for (int byte = 0; byte < 256; byte++) {
        char name[8];
        int n = snprintf(name, sizeof name, "<0x%02X>", byte);
        t->bpe.byte_id[byte] = vocab_find(&t->vocab, name, (size_t)n);
    }
    vocab_sentencepiece(&t->vocab);
    return 0;
}

/* The tokens of a character's bytes, or false where one is missing. */
static bool put_bytes(int32_t *out, const struct bpe *b, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = b->byte_id[p[i]];
        if (out[i] < 0)
            return false;
    }
    return true;
}

static int encode(int32_t *out, size_t *n_out, const struct tokenizer *t,
                  struct tokenizer_scratch *s, const uint8_t *piece, size_t n, struct err *err)
{
    const struct bpe *b = &t->bpe;
    size_t k = 0, length;
    bool unk_before = false;
    for (size_t at = 0; at < n; at += length) {
        utf8_get(piece + at, &length);
        int32_t id = vocab_find(&t->vocab, (const char *)piece + at, length);
        bool unk = id < 0 && !put_bytes(out + k, b, piece + at, length);
        if (id >= 0)
            out[k++] = id;
        else if (!unk)
            k += length;
        else if (b->unk_id >= 0 && !(b->fuse_unk && unk_before))
            out[k++] = b->unk_id;
        unk_before = unk;
    }
    *n_out = k;
    return bpe_merge_ids(out, n_out, b, &s->bpe, err);
}

static void release(struct tokenizer *t)
{
    bpe_release(&t->bpe);
}

const struct text_model model_bpe_chars = {"BPE", false, read_chars, encode, release};
