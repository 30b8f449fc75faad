/* Byte-pair encoding of one piece: see bpe.h. */
#include "text/bpe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

/* ---- pairs ----
 *
 * Open addressing with a byte of the hash beside each entry (0: empty). The bytes of all slots fit
 * into a core's cache, the entries do not, and most pairs that are asked for are in no merge: those
 * cost no look at the entries. Eight bytes are compared at a time. */

enum { GROUP = 8 };

static inline uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)left << BPE_ID_BITS | (uint64_t)right;
}

static inline uint64_t pair_hash(uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static inline uint8_t pair_tag(uint64_t hash)
{
    return (uint8_t)(hash | 0x80);
}

/* 0x80 in the lowest byte of x that is 0; bytes above it may be wrong. */
static inline uint64_t zero_bytes(uint64_t x)
{
    return (x - 0x0101010101010101u) & ~x & 0x8080808080808080u;
}

static inline uint32_t pair_rank(const struct bpe *b, int32_t left, int32_t right)
{
    uint64_t key = pair_key(left, right), hash = pair_hash(key), tags;
    for (size_t at = hash >> b->pairs_shift;; at = (at + GROUP) & b->pairs_mask) {
        memcpy(&tags, b->tags + at, sizeof tags);
        uint64_t empty = zero_bytes(tags),
                 same = zero_bytes(tags ^ (0x0101010101010101u * pair_tag(hash)));
        for (; same; same &= same - 1) {
            if (empty && (empty & -empty) < (same & -same))
                break;
            uint64_t entry = b->pairs[(at + (size_t)__builtin_ctzll(same) / 8) & b->pairs_mask];
            if (entry >> 24 == key)
                return (uint32_t)entry & BPE_NO_RANK;
        }
        if (empty)
            return BPE_NO_RANK;
    }
}

/* What a merge gives. Most vocabularies list their merges in order, so that no look at memory is
 * needed. */
static inline int32_t merged_id(const struct bpe *b, uint32_t rank)
{
    return b->merged_first >= 0 ? b->merged_first + (int32_t)rank : b->merged[rank];
}

static void pair_put(struct bpe *b, int32_t left, int32_t right, uint32_t rank)
{
    uint64_t key = pair_key(left, right), hash = pair_hash(key);
    size_t at = hash >> b->pairs_shift;
    while (b->tags[at] && b->pairs[at] >> 24 != key)
        at = (at + 1) & b->pairs_mask;
    b->pairs[at] = key << 24 | rank;
    b->tags[at] = pair_tag(hash);
    if (at < GROUP)
        b->tags[b->pairs_mask + 1 + at] =
            pair_tag(hash); /* the first ones again behind the last, to be read past the end */
}

/* ---- making ---- */

static void find_bytes(struct bpe *b)
{
    b->has_all_bytes = true;
    for (int byte = 0; byte < 256; byte++) {
        uint8_t written[4];
        size_t n = utf8_put(written, byte_to_visible((uint8_t)byte));
        b->byte_id[byte] = vocab_find(b->vocab, (const char *)written, n);
        b->has_all_bytes &= b->byte_id[byte] >= 0;
    }
}

static void index_byte_pairs(struct bpe *b)
{
    for (int left = 0; left < 256; left++)
        for (int right = 0; right < 256; right++) {
            bool both = b->byte_id[left] >= 0 && b->byte_id[right] >= 0;
            b->byte_pair_rank[left << 8 | right] =
                both ? pair_rank(b, b->byte_id[left], b->byte_id[right]) : BPE_NO_RANK;
        }
}

static int index_bytes(struct bpe *b, struct err *err)
{
    const struct vocab *v = b->vocab;
    size_t n_slots = 16;
    while (n_slots < 2 * (size_t)v->n)
        n_slots *= 2;
    b->by_bytes = calloc(n_slots, sizeof *b->by_bytes);
    if (!b->by_bytes)
        return err_set(err, MOE2_ELIMIT, "no memory for an index of %d tokens", v->n);
    b->by_bytes_mask = n_slots - 1;
    for (int32_t id = 0; id < v->n; id++) {
        if (!(v->flags[id] & VOCAB_VISIBLE))
            continue;
        size_t at = hash_bytes(v->bytes[id].p, v->bytes[id].n) & b->by_bytes_mask;
        while (b->by_bytes[at])
            at = (at + 1) & b->by_bytes_mask;
        b->by_bytes[at] = (uint32_t)id + 1;
    }
    return 0;
}

static int32_t find_by_bytes(const struct bpe *b, const uint8_t *bytes, size_t n)
{
    size_t at = hash_bytes(bytes, n) & b->by_bytes_mask;
    for (; b->by_bytes[at]; at = (at + 1) & b->by_bytes_mask) {
        struct span s = b->vocab->bytes[b->by_bytes[at] - 1];
        if (s.n == n && memcmp(s.p, bytes, n) == 0)
            return (int32_t)b->by_bytes[at] - 1;
    }
    return -1;
}

static int alloc(struct bpe *b, int32_t n_merges, struct err *err)
{
    int bits = 4;
    while (((int64_t)1 << bits) * 5 < 8 * (int64_t)n_merges) /* at most 5 of 8 are taken */
        bits++;
    b->pairs_shift = 64 - bits;
    b->pairs_mask = ((size_t)1 << bits) - 1;
    b->pairs = malloc(sizeof *b->pairs << bits);
    b->tags = calloc(((size_t)1 << bits) + GROUP, 1);
    b->merged = malloc(((size_t)n_merges + 1) * sizeof *b->merged);
    b->byte_pair_rank = malloc(sizeof *b->byte_pair_rank << 16);
    if (b->pairs && b->tags && b->merged && b->byte_pair_rank)
        return 0;
    bpe_release(b);
    return err_set(err, MOE2_ELIMIT, "no memory for %d merges", n_merges);
}

static int init(struct bpe *b, const struct vocab *vocab, const struct bpe_merge *merges,
                int32_t n_merges, bool by_token, struct err *err)
{
    memset(b, 0, sizeof *b);
    b->vocab = vocab;
    b->unk_id = -1;
    int rc = alloc(b, n_merges, err);
    if (rc)
        return rc;
    bool in_order = true;
    int32_t rank = -1;
    for (int32_t i = 0; i < n_merges; i++) {
        if (!by_token || i == 0 || merges[i].merged != merges[i - 1].merged)
            rank++;
        pair_put(b, merges[i].left, merges[i].right, (uint32_t)rank);
        b->merged[rank] = merges[i].merged;
        in_order &= merges[i].merged == merges[0].merged + rank;
    }
    b->n_merges = rank + 1;
    b->merged_first = n_merges && in_order ? merges[0].merged : -1;
    find_bytes(b);
    index_byte_pairs(b);
    return 0;
}

int bpe_init(struct bpe *b, const struct vocab *vocab, const struct bpe_merge *merges,
             int32_t n_merges, bool ignore_merges, struct err *err)
{
    int rc = init(b, vocab, merges, n_merges, false, err);
    if (rc)
        return rc;
    b->ignore_merges = ignore_merges;
    rc = ignore_merges ? index_bytes(b, err) : 0;
    if (rc)
        bpe_release(b);
    return rc;
}

int bpe_init_by_token(struct bpe *b, const struct vocab *vocab, const struct bpe_merge *merges,
                      int32_t n_merges, struct err *err)
{
    return init(b, vocab, merges, n_merges, true, err);
}

void bpe_release(struct bpe *b)
{
    free(b->pairs);
    free(b->tags);
    free(b->byte_pair_rank);
    free(b->merged);
    free(b->by_bytes);
    memset(b, 0, sizeof *b);
}

/* ---- short pieces ---- */

enum { PLACE_BITS = 6, NO_KEY = INT32_MAX };

static_assert(BPE_SHORT <= 1 << PLACE_BITS, "a place fits into its bits");

/* Rank and place of a pair as one number: the smallest is the leftmost of the lowest rank. */
static inline int32_t place_key(uint32_t rank, size_t place)
{
    return rank == BPE_NO_RANK ? NO_KEY : (int32_t)(rank << PLACE_BITS | (uint32_t)place);
}

static inline int32_t smallest(const int32_t *key, size_t n)
{
    int32_t best[4] = {NO_KEY, NO_KEY, NO_KEY,
                       NO_KEY}; /* four columns, which the compiler makes one vector */
    for (size_t i = 0; i < n; i += 4)
        for (size_t k = 0; k < 4; k++)
            best[k] = key[i + k] < best[k] ? key[i + k] : best[k];
    int32_t a = best[0] < best[1] ? best[0] : best[1], b = best[2] < best[3] ? best[2] : best[3];
    return a < b ? a : b;
}

/* Symbols stay at the place of their first byte; next and prev chain those that are left. */
static size_t encode_short(int32_t *out, const struct bpe *b, const uint8_t *bytes, size_t n)
{
    int32_t key[BPE_SHORT + 4], id[BPE_SHORT];
    uint8_t next[BPE_SHORT + 1], prev[BPE_SHORT + 1];
    for (size_t i = 0; i < n; i++) {
        id[i] = b->byte_id[bytes[i]];
        next[i] = (uint8_t)(i + 1);
        prev[i + 1] = (uint8_t)i;
    }
    for (size_t i = 0; i + 1 < n; i++)
        key[i] = place_key(b->byte_pair_rank[bytes[i] << 8 | bytes[i + 1]], i);
    for (size_t i = n - 1; i < n + 3; i++)
        key[i] = NO_KEY;
    for (int32_t best; (best = smallest(key, n - 1)) != NO_KEY;) {
        size_t at = (size_t)best & (BPE_SHORT - 1), gone = next[at], after = next[gone];
        id[at] = merged_id(b, (uint32_t)best >> PLACE_BITS);
        key[gone] = NO_KEY;
        next[at] = (uint8_t)after;
        prev[after] = (uint8_t)at;
        key[at] = after < n ? place_key(pair_rank(b, id[at], id[after]), at) : NO_KEY;
        if (at > 0)
            key[prev[at]] = place_key(pair_rank(b, id[prev[at]], id[at]), prev[at]);
    }
    size_t n_ids = 0;
    for (size_t at = 0; at < n; at = next[at])
        out[n_ids++] = id[at];
    return n_ids;
}

/* ---- long pieces ---- */

struct bpe_symbol {
    int32_t id;
    uint32_t rank; /* of the pair with the next; BPE_NO_RANK at the end, and for one that is gone */
    uint32_t prev, next;
};

enum { NO_SYMBOL = UINT32_MAX };

static int heap_push(struct bpe_scratch *s, uint64_t key, struct err *err)
{
    if (s->n_heap == s->n_heap_max) {
        size_t n = s->n_heap_max ? 2 * s->n_heap_max : 1024;
        uint64_t *heap = realloc(s->heap, n * sizeof *heap);
        if (!heap)
            return err_set(err, MOE2_ELIMIT, "no memory for the %zu pairs of one long word", n);
        s->heap = heap;
        s->n_heap_max = n;
    }
    size_t at = s->n_heap++;
    for (size_t up; at > 0 && s->heap[up = (at - 1) / 2] > key; at = up)
        s->heap[at] = s->heap[up];
    s->heap[at] = key;
    return 0;
}

static uint64_t heap_pop(struct bpe_scratch *s)
{
    uint64_t top = s->heap[0], key = s->heap[--s->n_heap];
    size_t at = 0, n = s->n_heap;
    for (size_t down; (down = 2 * at + 1) < n; at = down) {
        down += down + 1 < n && s->heap[down + 1] < s->heap[down];
        if (s->heap[down] >= key)
            break;
        s->heap[at] = s->heap[down];
    }
    s->heap[at] = key;
    return top;
}

/* The rank of the pair that begins at a symbol changed: notes it, and the place to look at when its
 * turn comes. */
static int set_rank(struct bpe_scratch *s, uint32_t at, uint32_t rank, struct err *err)
{
    s->symbols[at].rank = rank;
    return rank == BPE_NO_RANK ? 0 : heap_push(s, (uint64_t)rank << 32 | at, err);
}

static int merge_at(struct bpe_scratch *s, const struct bpe *b, uint32_t at, struct err *err)
{
    struct bpe_symbol *left = &s->symbols[at], *right = &s->symbols[left->next];
    left->id = merged_id(b, left->rank);
    right->rank = BPE_NO_RANK;
    left->next = right->next;
    if (left->next != NO_SYMBOL)
        s->symbols[left->next].prev = at;
    uint32_t rank =
        left->next == NO_SYMBOL ? BPE_NO_RANK : pair_rank(b, left->id, s->symbols[left->next].id);
    int rc = set_rank(s, at, rank, err);
    if (rc || left->prev == NO_SYMBOL)
        return rc;
    return set_rank(s, left->prev, pair_rank(b, s->symbols[left->prev].id, left->id), err);
}

/* Merges the n ids of id by a heap of (rank, place); an entry whose pair has changed since is
 * passed over. */
static int merge_long(int32_t *id, size_t *n_ids, const struct bpe *b, struct bpe_scratch *s,
                      struct err *err)
{
    size_t n = *n_ids;
    if (n >= NO_SYMBOL)
        return err_set(err, MOE2_ELIMIT, "a word of %zu bytes is too long", n);
    if (n > s->n_symbols_max) {
        struct bpe_symbol *symbols = realloc(s->symbols, n * sizeof *symbols);
        if (!symbols)
            return err_set(err, MOE2_ELIMIT, "no memory for a word of %zu bytes", n);
        s->symbols = symbols;
        s->n_symbols_max = n;
    }
    s->n_heap = 0;
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        bool last = i + 1 == n;
        s->symbols[i] = (struct bpe_symbol){id[i], BPE_NO_RANK, i ? (uint32_t)i - 1 : NO_SYMBOL,
                                            last ? NO_SYMBOL : (uint32_t)i + 1};
        if (!last)
            rc = set_rank(s, (uint32_t)i, pair_rank(b, id[i], id[i + 1]), err);
    }
    while (s->n_heap && !rc) {
        uint64_t key = heap_pop(s);
        uint32_t at = (uint32_t)key;
        if (s->symbols[at].rank == key >> 32)
            rc = merge_at(s, b, at, err);
    }
    if (rc)
        return rc;
    *n_ids = 0;
    for (uint32_t at = 0; at != NO_SYMBOL; at = s->symbols[at].next)
        id[(*n_ids)++] = s->symbols[at].id;
    return 0;
}

int bpe_merge_ids(int32_t *ids, size_t *n_ids, const struct bpe *b, struct bpe_scratch *s,
                  struct err *err)
{
    return *n_ids ? merge_long(ids, n_ids, b, s, err) : 0;
}

/* The ids of single bytes where the vocabulary lacks some of them: nothing, or the unknown token,
 * once a run with fuse_unk. */
static size_t byte_ids_with_holes(int32_t *out, const struct bpe *b, const uint8_t *bytes, size_t n)
{
    size_t k = 0;
    bool unk_before = false;
    for (size_t i = 0; i < n; i++) {
        int32_t id = b->byte_id[bytes[i]];
        if (id >= 0)
            out[k++] = id;
        else if (b->unk_id >= 0 && !(b->fuse_unk && unk_before))
            out[k++] = b->unk_id;
        unk_before = id < 0;
    }
    return k;
}

void bpe_scratch_release(struct bpe_scratch *s)
{
    free(s->symbols);
    free(s->heap);
    memset(s, 0, sizeof *s);
}

int bpe_encode(int32_t *out, size_t *n_out, const struct bpe *b, struct bpe_scratch *s,
               const uint8_t *bytes, size_t n, struct err *err)
{
    if (b->ignore_merges && (out[0] = find_by_bytes(b, bytes, n)) >= 0) {
        *n_out = 1;
        return 0;
    }
    if (b->has_all_bytes && n <= BPE_SHORT) {
        *n_out = encode_short(out, b, bytes, n);
        return 0;
    }
    *n_out = byte_ids_with_holes(out, b, bytes, n);
    return *n_out ? merge_long(out, n_out, b, s, err) : 0;
}
