/* Learning merges: see bpe_learn.h.
 *
 * Distinct pieces ("words") are kept as lists of ids. A heap has the pairs by count, each with the
 * words where it was seen; popping one whose count has fallen since puts it back with the true
 * count. Merging a pair in its words changes the counts of its neighbours only, so the whole work
 * is proportional to the symbols that merging removes.
 *
 * To give HF's merges the bookkeeping is HF's, quirks included: an entry of the heap merges only in
 * the words it came with, the count of the merged pair itself is not taken back, and a merge whose
 * text is a token already gives that token again, without a new id.
 */
#include "text/bpe_learn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- tokens ---- */

int token_list_init(struct token_list *t, int32_t n_max, struct err *err)
{
    memset(t, 0, sizeof *t);
    size_t n_slots = 1024;
    while (n_slots < 2 * (size_t)n_max)
        n_slots *= 2;
    t->n_max = n_max;
    t->mask = n_slots - 1;
    t->written = malloc((size_t)n_max * sizeof *t->written);
    t->slots = calloc(n_slots, sizeof *t->slots);
    if (t->written && t->slots)
        return 0;
    token_list_release(t);
    return err_set(err, MOE2_ELIMIT, "no memory for %d tokens", n_max);
}

void token_list_release(struct token_list *t)
{
    for (size_t i = 0; i < t->n_blocks; i++)
        free(t->blocks[i]);
    free(t->blocks);
    free(t->written);
    free(t->slots);
    memset(t, 0, sizeof *t);
}

/* n bytes that stay where they are. */
static char *token_text(struct token_list *t, size_t n)
{
    if (t->n_block + n > t->n_block_max) {
        size_t size = n > 1 << 16 ? n : 1 << 16;
        char **blocks = realloc(t->blocks, (t->n_blocks + 1) * sizeof *blocks);
        if (!blocks)
            return NULL;
        t->blocks = blocks;
        t->blocks[t->n_blocks] = malloc(size);
        if (!t->blocks[t->n_blocks])
            return NULL;
        t->n_blocks++;
        t->n_block = 0;
        t->n_block_max = size;
    }
    char *p = t->blocks[t->n_blocks - 1] + t->n_block;
    t->n_block += n;
    return p;
}

int token_list_add(int32_t *id, bool *added, struct token_list *t, const char *a, size_t n_a,
                   const char *b, size_t n_b, struct err *err)
{
    size_t n = n_a + n_b;
    char *text = token_text(t, n);
    if (!text || t->n == t->n_max)
        return err_set(err, MOE2_ELIMIT, "no memory for %d tokens", t->n + 1);
    memcpy(text, a, n_a);
    if (n_b)
        memcpy(text + n_a, b, n_b);
    size_t at = hash_bytes(text, n) & t->mask;
    for (; t->slots[at]; at = (at + 1) & t->mask) {
        struct span s = t->written[t->slots[at] - 1];
        if (s.n == n && memcmp(s.p, text, n) == 0)
            break;
    }
    bool is_new = !t->slots[at];
    if (is_new) {
        t->written[t->n++] = (struct span){text, (uint32_t)n};
        t->slots[at] = (uint32_t)t->n;
    } else {
        t->n_block -= n;
    }
    if (added)
        *added = is_new;
    *id = (int32_t)t->slots[at] - 1;
    return 0;
}

/* ---- what learning works on ---- */

struct word {
    size_t first; /* in symbols */
    uint32_t n;
    int64_t count;
};

/* A pair and how often it stands in the text; head and n chain the words where this step made it
 * (steps[]). */
struct pair {
    uint64_t key; /* left << 32 | right */
    int64_t count;
    uint32_t head, n;
};

struct step_place {
    uint32_t word, next;
};

/* An entry of the heap: the largest count first, then the smallest key. */
struct candidate {
    int64_t count;
    uint64_t key;
    uint32_t *words;
    size_t n_words;
};

enum { NO_PAIR = -1, NO_PLACE = UINT32_MAX, SMALL_LIST = 64, LIST_BLOCK = 1 << 16 };

struct learner {
    struct word *words;
    size_t n_words;
    uint32_t *symbols;
    struct pair *pairs; /* open addressing; key NO_PAIR is empty */
    size_t pairs_mask, n_pairs;
    struct candidate *heap;
    size_t n_heap, n_heap_max;
    struct candidate
        *rare; /* below min_frequency, not in the heap as long as no id is given again */
    size_t n_rare, n_rare_max;
    bool keep_rare;
    uint64_t *touched; /* keys of the pairs that this step made */
    size_t n_touched, n_touched_max;
    struct step_place *places;
    size_t n_places, n_places_max;
    uint32_t **lists; /* blocks of short lists of words */
    size_t n_lists, n_list, n_list_max;
    int64_t min_frequency;
};

static void learner_release(struct learner *l)
{
    for (size_t i = 0; i < l->n_heap; i++)
        if (l->heap[i].n_words > SMALL_LIST)
            free(l->heap[i].words);
    for (size_t i = 0; i < l->n_rare; i++)
        if (l->rare[i].n_words > SMALL_LIST)
            free(l->rare[i].words);
    for (size_t i = 0; i < l->n_lists; i++)
        free(l->lists[i]);
    free(l->lists);
    free(l->words);
    free(l->symbols);
    free(l->pairs);
    free(l->heap);
    free(l->rare);
    free(l->touched);
    free(l->places);
}

/* Makes the array that array points to, of elements of size bytes, large enough for n. */
static int grow_to(void *array, size_t *n_max, size_t n, size_t size, struct err *err)
{
    if (n <= *n_max)
        return 0;
    size_t want = *n_max ? *n_max : 1024;
    while (want < n)
        want *= 2;
    void *p;
    memcpy(&p, array, sizeof p);
    p = realloc(p, want * size);
    if (!p)
        return err_set(err, MOE2_ELIMIT, "no memory to learn merges");
    memcpy(array, &p, sizeof p);
    *n_max = want;
    return 0;
}

/* ---- pairs ---- */

static inline size_t pair_place(const struct learner *l, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    return (size_t)(h ^ h >> 32) & l->pairs_mask;
}

static int pairs_grow(struct learner *l, struct err *err)
{
    size_t n = l->pairs ? 2 * (l->pairs_mask + 1) : (size_t)1 << 16,
           n_old = l->pairs ? l->pairs_mask + 1 : 0;
    struct pair *old = l->pairs, *pairs = malloc(n * sizeof *pairs);
    if (!pairs)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu pairs", l->n_pairs);
    memset(pairs, 0xff, n * sizeof *pairs);
    l->pairs = pairs;
    l->pairs_mask = n - 1;
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].key == (uint64_t)NO_PAIR)
            continue;
        size_t at = pair_place(l, old[i].key);
        while (pairs[at].key != (uint64_t)NO_PAIR)
            at = (at + 1) & l->pairs_mask;
        pairs[at] = old[i];
    }
    free(old);
    return 0;
}

/* The pair of two ids, made if it is new; valid until the next call. NULL without memory. */
static inline struct pair *pair_of(struct learner *l, uint64_t key, struct err *err)
{
    for (;;) {
        size_t at = pair_place(l, key);
        while (l->pairs[at].key != key && l->pairs[at].key != (uint64_t)NO_PAIR)
            at = (at + 1) & l->pairs_mask;
        if (l->pairs[at].key == key)
            return &l->pairs[at];
        if (l->n_pairs <= l->pairs_mask / 2) {
            l->n_pairs++;
            l->pairs[at] = (struct pair){key, 0, NO_PLACE, 0};
            return &l->pairs[at];
        }
        if (pairs_grow(l, err))
            return NULL;
    }
}

static uint64_t key_of(uint32_t left, uint32_t right)
{
    return (uint64_t)left << 32 | right;
}

/* count more of a pair in a word, which this step made. */
static int pair_gain(struct learner *l, uint64_t key, uint32_t word, int64_t count, struct err *err)
{
    struct pair *p = pair_of(l, key, err);
    if (!p)
        return MOE2_ELIMIT;
    p->count += count;
    if (p->head != NO_PLACE && l->places[p->head].word == word)
        return 0;
    int rc = p->head == NO_PLACE ? grow_to(&l->touched, &l->n_touched_max, l->n_touched + 1,
                                           sizeof *l->touched, err)
                                 : 0;
    if (!rc)
        rc = grow_to(&l->places, &l->n_places_max, l->n_places + 1, sizeof *l->places, err);
    if (rc)
        return rc;
    if (p->head == NO_PLACE)
        l->touched[l->n_touched++] = key;
    l->places[l->n_places] = (struct step_place){word, p->head};
    p->head = (uint32_t)l->n_places++;
    p->n++;
    return 0;
}

static int pair_lose(struct learner *l, uint64_t key, int64_t count, struct err *err)
{
    struct pair *p = pair_of(l, key, err);
    if (!p)
        return MOE2_ELIMIT;
    p->count -= count;
    return 0;
}

/* ---- the heap ---- */

static inline bool before(const struct candidate *a, const struct candidate *b)
{
    return a->count != b->count ? a->count > b->count : a->key < b->key;
}

static int heap_push(struct learner *l, struct candidate c, struct err *err)
{
    int rc = grow_to(&l->heap, &l->n_heap_max, l->n_heap + 1, sizeof *l->heap, err);
    if (rc)
        return rc;
    size_t at = l->n_heap++;
    for (size_t up; at > 0 && before(&c, &l->heap[up = (at - 1) / 2]); at = up)
        l->heap[at] = l->heap[up];
    l->heap[at] = c;
    return 0;
}

/* Puts c at the top and lets it sink to its place. */
static void heap_sink(struct learner *l, struct candidate c)
{
    size_t at = 0;
    for (size_t down; (down = 2 * at + 1) < l->n_heap; at = down) {
        down += down + 1 < l->n_heap && before(&l->heap[down + 1], &l->heap[down]);
        if (!before(&l->heap[down], &c))
            break;
        l->heap[at] = l->heap[down];
    }
    l->heap[at] = c;
}

static struct candidate heap_pop(struct learner *l)
{
    struct candidate top = l->heap[0], last = l->heap[--l->n_heap];
    if (l->n_heap)
        heap_sink(l, last);
    return top;
}

static uint32_t *list_new(struct learner *l, size_t n)
{
    if (n > SMALL_LIST)
        return malloc(n * sizeof(uint32_t));
    if (l->n_list + n > l->n_list_max) {
        uint32_t **lists = realloc(l->lists, (l->n_lists + 1) * sizeof *lists);
        if (!lists)
            return NULL;
        l->lists = lists;
        l->lists[l->n_lists] = malloc(LIST_BLOCK * sizeof **lists);
        if (!l->lists[l->n_lists])
            return NULL;
        l->n_lists++;
        l->n_list = 0;
        l->n_list_max = LIST_BLOCK;
    }
    uint32_t *p = l->lists[l->n_lists - 1] + l->n_list;
    l->n_list += n;
    return p;
}

/* Makes candidates of the pairs that this step made. */
static int push_touched(struct learner *l, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < l->n_touched && !rc; i++) {
        struct pair *p = pair_of(l, l->touched[i], err);
        uint32_t head = p->head, n = p->n;
        p->head = NO_PLACE;
        p->n = 0;
        if (p->count <= 0)
            continue;
        struct candidate c = {p->count, p->key, list_new(l, n), n};
        if (!c.words)
            return err_set(err, MOE2_ELIMIT, "no memory to learn merges");
        for (size_t k = n; k-- > 0; head = l->places[head].next)
            c.words[k] = l->places[head].word;
        if (c.count >= l->min_frequency || l->keep_rare) {
            rc = heap_push(l, c, err);
        } else {
            rc = grow_to(&l->rare, &l->n_rare_max, l->n_rare + 1, sizeof *l->rare, err);
            if (!rc)
                l->rare[l->n_rare++] = c;
        }
        if (rc && n > SMALL_LIST)
            free(c.words);
    }
    l->n_touched = l->n_places = 0;
    return rc;
}

/* From now on a pair may become more frequent again: every candidate must be in the heap, as HF has
 * it. */
static int keep_rare(struct learner *l, struct err *err)
{
    l->keep_rare = true;
    while (l->n_rare) {
        int rc = heap_push(l, l->rare[l->n_rare - 1], err);
        if (rc)
            return rc;
        l->n_rare--;
    }
    return 0;
}

/* ---- words ---- */

static int add_words(struct learner *l, const struct piece_counts *counts, const int32_t *byte_id,
                     struct err *err)
{
    size_t n_symbols = 0, n;
    for (size_t i = 0; i <= counts->mask; i++)
        if (counts->entries[i].count) {
            counted_bytes(counts, &counts->entries[i], &n);
            n_symbols += n > 1 ? n : 0;
        }
    l->words = malloc((counts->n + 1) * sizeof *l->words);
    l->symbols = malloc((n_symbols + 1) * sizeof *l->symbols);
    if (!l->words || !l->symbols)
        return err_set(err, MOE2_ELIMIT, "no memory for %zu distinct pieces", counts->n);
    size_t at = 0;
    for (size_t i = 0; i <= counts->mask; i++) {
        const struct counted *e = &counts->entries[i];
        if (!e->count)
            continue;
        const uint8_t *p = counted_bytes(counts, e, &n);
        if (n < 2)
            continue;
        l->words[l->n_words++] = (struct word){at, (uint32_t)n, e->count};
        for (size_t k = 0; k < n; k++)
            l->symbols[at++] = (uint32_t)byte_id[p[k]];
    }
    return 0;
}

static int count_pairs(struct learner *l, struct err *err)
{
    for (size_t i = 0; i < l->n_words; i++) {
        const struct word *w = &l->words[i];
        const uint32_t *s = l->symbols + w->first;
        for (uint32_t k = 0; k + 1 < w->n; k++) {
            int rc = pair_gain(l, key_of(s[k], s[k + 1]), (uint32_t)i, w->count, err);
            if (rc)
                return rc;
        }
    }
    return push_touched(l, err);
}

/* Replaces every pair (left, right) of one word by id, from left to right. */
static int merge_in_word(struct learner *l, uint32_t word, uint32_t left, uint32_t right,
                         uint32_t id, struct err *err)
{
    struct word *w = &l->words[word];
    uint32_t *s = l->symbols + w->first;
    uint32_t read = 0, write = 0;
    int rc = 0;
    while (read < w->n && !rc) {
        if (s[read] != left || read + 1 == w->n || s[read + 1] != right) {
            s[write++] = s[read++];
            continue;
        }
        if (write > 0) {
            rc = pair_lose(l, key_of(s[write - 1], left), w->count, err);
            if (!rc)
                rc = pair_gain(l, key_of(s[write - 1], id), word, w->count, err);
        }
        read += 2;
        if (read < w->n && !rc) {
            rc = pair_lose(l, key_of(right, s[read]), w->count, err);
            if (!rc)
                rc = pair_gain(l, key_of(id, s[read]), word, w->count, err);
        }
        s[write++] = id;
    }
    w->n = write;
    return rc;
}

/* One merge of the most frequent pair; *done when there is none that is frequent enough. */
static int learn_one(bool *done, struct bpe_merge *merge, struct learner *l,
                     struct token_list *tokens, struct err *err)
{
    struct candidate top;
    for (;;) {
        if (!l->n_heap) {
            *done = true;
            return 0;
        }
        top = l->heap[0];
        int64_t count = pair_of(l, top.key, err)->count; /* known, so never without memory */
        if (count == top.count)
            break;
        top.count = count;
        heap_sink(l, top);
    }
    if (top.count < 1 || top.count < l->min_frequency) {
        *done = true;
        return 0;
    }
    heap_pop(l);
    uint32_t left = (uint32_t)(top.key >> 32), right = (uint32_t)top.key;
    struct span a = tokens->written[left], b = tokens->written[right];
    bool added;
    int32_t id;
    int rc = token_list_add(&id, &added, tokens, a.p, a.n, b.p, b.n, err);
    if (!rc && !added && !l->keep_rare)
        rc = keep_rare(l, err);
    for (size_t i = 0; i < top.n_words && !rc; i++)
        rc = merge_in_word(l, top.words[i], left, right, (uint32_t)id, err);
    if (top.n_words > SMALL_LIST)
        free(top.words);
    *merge = (struct bpe_merge){(int32_t)left, (int32_t)right, id};
    return rc ? rc : push_touched(l, err);
}

int bpe_learn(struct bpe_merge **merges, int32_t *n_merges, struct token_list *tokens,
              const int32_t *byte_id, const struct piece_counts *counts,
              const struct bpe_learn_limits *limits, struct err *err)
{
    struct learner l = {.min_frequency = limits->min_frequency};
    struct bpe_merge *list = NULL;
    struct progress progress;
    size_t n = 0, n_max = 0;
    bool done = false;
    progress_begin(&progress, limits->sink, "merging", limits->n_tokens, "tokens");
    int rc = pairs_grow(&l, err);
    if (!rc)
        rc = add_words(&l, counts, byte_id, err);
    if (!rc)
        rc = count_pairs(&l, err);
    while (!rc && tokens->n < limits->n_tokens) {
        rc = grow_to(&list, &n_max, n + 1, sizeof *list, err);
        if (!rc)
            rc = learn_one(&done, &list[n], &l, tokens, err);
        if (done)
            break;
        n++;
        if (n % 64 == 0)
            progress_set(&progress, tokens->n);
        if (limits->stop && *limits->stop && !rc)
            rc = err_set(err, MOE2_ESTOP, "stopped while learning merges; nothing is written");
    }
    progress_end(&progress);
    learner_release(&l);
    if (rc) {
        free(list);
        return rc;
    }
    *merges = list;
    *n_merges = (int32_t)n;
    return 0;
}
