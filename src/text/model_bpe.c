/* The row BPE of text_model.h: "model" of a byte-level tokenizer.json, and its pieces.
 *
 *     {"type": "BPE", "vocab": {"a": 0, …}, "merges": ["a b", …] or [["a", "b"], …],
 *      "ignore_merges": false, "unk_token": null, "fuse_unk": false}
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "text/text_model.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_parts.h"

/* The two parts of a merge: "a b", or ["a", "b"]. */
static int merge_parts(struct span part[2], const json_t *v, size_t idx, struct err *err)
{
    if (json_is_array(v) && json_array_size(v) == 2) {
        for (size_t i = 0; i < 2; i++) {
            const json_t *s = json_array_get(v, i);
            part[i] = (struct span){json_string_value(s), (uint32_t)json_string_length(s)};
        }
        if (part[0].p && part[1].p)
            return 0;
    }
    const char *text = json_string_value(v), *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return err_set(err, MOE2_EFORMAT, "merge %zu is not \"a b\" or [\"a\", \"b\"]", idx);
    part[0] = (struct span){text, (uint32_t)(space - text)};
    part[1] = (struct span){space + 1, (uint32_t)strlen(space + 1)};
    return 0;
}

static int find_part(int32_t *id, const struct vocab *v, struct span s, size_t idx, struct err *err)
{
    *id = vocab_find(v, s.p, s.n);
    if (*id < 0)
        return err_set(err, MOE2_EFORMAT, "merge %zu: \"%.*s\" is not in the vocabulary", idx,
                       s.n < 60 ? (int)s.n : 60, s.p);
    return 0;
}

static int read_merge(struct bpe_merge *m, struct buf *joined, const struct vocab *v,
                      const json_t *json, size_t idx, struct err *err)
{
    struct span part[2];
    int rc = merge_parts(part, json, idx, err);
    if (!rc)
        rc = find_part(&m->left, v, part[0], idx, err);
    if (!rc)
        rc = find_part(&m->right, v, part[1], idx, err);
    buf_clear(joined);
    for (int i = 0; i < 2 && !rc; i++)
        rc = buf_append(joined, part[i].p, part[i].n, err);
    return rc ? rc
              : find_part(&m->merged, v, (struct span){joined->bytes, (uint32_t)joined->n}, idx,
                          err);
}

int read_merges(struct tokenizer *t, json_t *merges, bool ignore_merges, struct err *err)
{
    if (!json_is_array(merges))
        return err_set(err, MOE2_EFORMAT, "model.merges is missing or no list");
    if (json_array_size(merges) > BPE_MAX_MERGES)
        return err_set(err, MOE2_ELIMIT, "model.merges has %zu entries, wanted at most %d",
                       json_array_size(merges), BPE_MAX_MERGES);
    struct bpe_merge *list = malloc((json_array_size(merges) + 1) * sizeof *list);
    if (!list)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu merges", json_array_size(merges));
    struct buf joined = {0};
    int32_t n = 0;
    int rc = 0;
    size_t i;
    json_t *value;
    json_array_foreach(merges, i, value)
    {
        const char *text = json_string_value(value);
        if (text && strncmp(text, "#version", 8) == 0)
            continue;
        rc = read_merge(&list[n++], &joined, &t->vocab, value, i, err);
        if (rc)
            break;
    }
    if (!rc)
        rc = t->ranks_by_token ? bpe_init_by_token(&t->bpe, &t->vocab, list, n, err)
                               : bpe_init(&t->bpe, &t->vocab, list, n, ignore_merges, err);
    buf_release(&joined);
    free(list);
    return rc;
}

/* A field that must be null or empty, because what it asks for is not understood. */
static int refuse_text(const json_t *model, const char *key, struct err *err)
{
    const char *text = json_string_value(json_object_get(model, key));
    if (text && *text)
        return err_set(err, MOE2_EFORMAT, "model.%s is \"%.60s\", wanted none", key, text);
    return 0;
}

static int read_unknown(struct tokenizer *t, const json_t *model, struct err *err)
{
    bool byte_fallback = false;
    int rc = json_flag(&t->bpe.fuse_unk, model, "model", "fuse_unk", false, err);
    if (!rc)
        rc = json_flag(&byte_fallback, model, "model", "byte_fallback", false, err);
    if (rc || t->bpe.has_all_bytes)
        return rc;
    if (byte_fallback)
        return err_set(err, MOE2_EFORMAT,
                       "model.byte_fallback is true and the vocabulary lacks bytes of its own");
    const char *unk = json_string_value(json_object_get(model, "unk_token"));
    if (!unk)
        return 0;
    t->bpe.unk_id = vocab_find(&t->vocab, unk, strlen(unk));
    if (t->bpe.unk_id < 0)
        return err_set(err, MOE2_EFORMAT, "model.unk_token \"%.60s\" is not in the vocabulary",
                       unk);
    return 0;
}

int bpe_refuse_rest(const json_t *model, struct err *err)
{
    int rc = refuse_text(model, "continuing_subword_prefix", err);
    if (!rc)
        rc = refuse_text(model, "end_of_word_suffix", err);
    if (!rc && json_number_value(json_object_get(model, "dropout")) != 0)
        rc = err_set(err, MOE2_EFORMAT, "model.dropout is %g, wanted none",
                     json_number_value(json_object_get(model, "dropout")));
    return rc;
}

static int read_bpe(struct tokenizer *t, json_t *model, json_t *added, struct err *err)
{
    bool ignore_merges = false;
    int rc = json_flag(&ignore_merges, model, "model", "ignore_merges", false, err);
    if (!rc)
        rc = bpe_refuse_rest(model, err);
    if (!rc)
        rc = read_vocab(t, json_object_get(model, "vocab"), added, err);
    if (!rc)
        rc = read_merges(t, json_object_get(model, "merges"), ignore_merges, err);
    return rc ? rc : read_unknown(t, model, err);
}

static int encode(int32_t *out, size_t *n_out, const struct tokenizer *t,
                  struct tokenizer_scratch *s, const uint8_t *piece, size_t n, struct err *err)
{
    return bpe_encode(out, n_out, &t->bpe, &s->bpe, piece, n, err);
}

static void release(struct tokenizer *t)
{
    bpe_release(&t->bpe);
}

const struct text_model model_bpe = {"BPE", true, read_bpe, encode, release};
