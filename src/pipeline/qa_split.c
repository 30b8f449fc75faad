/* The stratified split: see qa_split.h. */
#include "pipeline/qa_split.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "io/name_map.h"

struct group {
    int32_t subject;
    int32_t n_rows;
    bool is_test;
};

struct qa_split {
    int32_t *group_of; /* [n] */
    int64_t n, capacity;
    struct group *groups;
    int64_t n_groups, groups_capacity;
    struct text_index questions; /* group + 1 */
    struct name_map subjects;    /* names in arena */
    struct arena arena;
    struct text_seen *ids;
    struct buf scratch;
    int64_t n_test;
};

int qa_split_new(struct qa_split **out, struct err *err)
{
    struct qa_split *s = calloc(1, sizeof *s);
    int rc = s ? text_seen_new(&s->ids, (int64_t)256 << 20, err)
               : err_set(err, MOE2_ELIMIT, "no memory for a split");
    if (rc)
        qa_split_free(s);
    else
        *out = s;
    return rc;
}

void qa_split_free(struct qa_split *s)
{
    if (!s)
        return;
    free(s->group_of);
    free(s->groups);
    text_index_release(&s->questions);
    name_map_release(&s->subjects);
    arena_release(&s->arena);
    text_seen_free(s->ids);
    buf_release(&s->scratch);
    free(s);
}

/* ---- adding ---- */

static int grow(struct qa_split *s, struct err *err)
{
    if (s->n == QA_MAX_GATING_ROWS)
        return err_set(err, MOE2_ELIMIT, "the gating set has more than %d rows",
                       QA_MAX_GATING_ROWS);
    if (s->n == s->capacity) {
        int64_t capacity = s->capacity ? 2 * s->capacity : 1024;
        int32_t *grown = realloc(s->group_of, (size_t)capacity * sizeof *grown);
        if (!grown)
            return err_set(err, MOE2_ELIMIT, "no memory for %lld rows", (long long)capacity);
        s->group_of = grown;
        s->capacity = capacity;
    }
    if (s->n_groups == s->groups_capacity) {
        int64_t capacity = s->groups_capacity ? 2 * s->groups_capacity : 1024;
        struct group *grown = realloc(s->groups, (size_t)capacity * sizeof *grown);
        if (!grown)
            return err_set(err, MOE2_ELIMIT, "no memory for %lld questions", (long long)capacity);
        s->groups = grown;
        s->groups_capacity = capacity;
    }
    return 0;
}

static int subject_of(struct qa_split *s, int64_t *idx, const char *subject, struct err *err)
{
    bool is_new;
    *idx = name_map_find(&s->subjects, subject);
    if (*idx >= 0)
        return 0;
    const char *name = arena_strdup(&s->arena, subject, err);
    return name ? name_map_add(&s->subjects, idx, &is_new, name, err) : MOE2_ELIMIT;
}

static int check_id(struct qa_split *s, const struct qa_row *row, struct err *err)
{
    bool seen = false;
    int rc = text_seen_add(&seen, s->ids, qa_id_key(row->id), err);
    if (!rc && seen)
        rc = err_set(err, MOE2_EFORMAT, "the id \"%.80s\" stands twice in the gating set", row->id);
    return rc;
}

int qa_split_add(struct qa_split *s, const struct qa_row *row, struct err *err)
{
    struct text_hash h = {0};
    uint32_t *group = NULL;
    int64_t subject = 0;
    int rc = check_id(s, row, err);
    if (!rc)
        rc = grow(s, err);
    if (!rc)
        rc = qa_text_key(&h, NULL, &s->scratch, row->question, err);
    if (!rc)
        rc = subject_of(s, &subject, row->subject, err);
    if (!rc)
        rc = text_index_at(&group, &s->questions, h, err);
    if (rc)
        return rc;
    if (!*group) {
        s->groups[s->n_groups] = (struct group){.subject = (int32_t)subject};
        *group = (uint32_t)++s->n_groups;
    }
    s->groups[*group - 1].n_rows++;
    s->group_of[s->n++] = (int32_t)(*group - 1);
    return 0;
}

/* ---- dealing ---- */

/* order lists the groups of each subject behind each other, as they came; begin[s] is where subject s
 * begins. */
static void by_subject(int32_t *order, int64_t *begin, const struct qa_split *s)
{
    int64_t n_subjects = s->subjects.n;
    memset(begin, 0, (size_t)(n_subjects + 1) * sizeof *begin);
    for (int64_t g = 0; g < s->n_groups; g++)
        begin[s->groups[g].subject + 1]++;
    for (int64_t k = 0; k < n_subjects; k++)
        begin[k + 1] += begin[k];
    for (int64_t g = 0; g < s->n_groups; g++)
        order[begin[s->groups[g].subject]++] = (int32_t)g;
    for (int64_t k = n_subjects; k > 0; k--)
        begin[k] = begin[k - 1];
    begin[0] = 0;
}

static void shuffle(int32_t *order, int64_t n, const char *subject, uint64_t seed)
{
    struct rng rng;
    struct text_hash h = text_hash(subject, strlen(subject));
    rng_init(&rng, rng_at(seed, h.a, h.b, 0));
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t k = (int64_t)rng_below(&rng, (uint64_t)i + 1);
        int32_t swap = order[i];
        order[i] = order[k];
        order[k] = swap;
    }
}

static void deal_subject(struct qa_split *s, const int32_t *order, int64_t n, double test_share)
{
    int64_t n_rows = 0, n_test = 0;
    for (int64_t i = 0; i < n; i++)
        n_rows += s->groups[order[i]].n_rows;
    int64_t wanted = (int64_t)floor(test_share * (double)n_rows + 0.5);
    for (int64_t i = 0; i < n; i++) {
        struct group *g = &s->groups[order[i]];
        g->is_test = n_test + g->n_rows <= wanted;
        n_test += g->is_test ? g->n_rows : 0;
    }
    s->n_test += n_test;
}

int qa_split_deal(struct qa_split *s, double test_share, uint64_t seed, struct err *err)
{
    if (!(test_share > 0 && test_share < 1))
        return err_set(err, MOE2_ECONFIG, "the share of test rows is %g, wanted between 0 and 1",
                       test_share);
    int32_t *order = malloc((size_t)(s->n_groups + 1) * sizeof *order);
    int64_t *begin = malloc((size_t)(s->subjects.n + 1) * sizeof *begin);
    int rc = order && begin ? 0 : err_set(err, MOE2_ELIMIT, "no memory for a split");
    if (!rc) {
        s->n_test = 0;
        by_subject(order, begin, s);
    }
    for (int64_t k = 0; k < s->subjects.n && !rc; k++) {
        shuffle(order + begin[k], begin[k + 1] - begin[k], s->subjects.names[k], seed);
        deal_subject(s, order + begin[k], begin[k + 1] - begin[k], test_share);
    }
    free(order);
    free(begin);
    return rc;
}

bool qa_split_is_test(const struct qa_split *s, int64_t row)
{
    return s->groups[s->group_of[row]].is_test;
}

int64_t qa_split_n_rows(const struct qa_split *s)
{
    return s->n;
}

int64_t qa_split_n_test(const struct qa_split *s)
{
    return s->n_test;
}

int64_t qa_split_n_repeated(const struct qa_split *s)
{
    return s->n - s->n_groups;
}

int64_t qa_split_n_subjects(const struct qa_split *s)
{
    return s->subjects.n;
}
