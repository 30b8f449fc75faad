/* Finding added tokens in a text: see added.h. A tree of bytes whose nodes are chained by siblings;
 * a set has few first bytes (often one, '<'), so a text is mostly skipped over by memchr or a
 * table. */
#include "text/added.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"

struct added_node {
    uint32_t child, sibling; /* 0: none */
    int32_t id;              /* −1: no token ends here */
    uint8_t byte, flags;
};

static uint32_t node_new(struct added_set *a, uint8_t byte, struct err *err)
{
    if (a->n_nodes + 1 >= a->n_nodes_max) {
        uint32_t n = a->n_nodes_max ? 2 * a->n_nodes_max : 256;
        struct added_node *nodes = realloc(a->nodes, n * sizeof *nodes);
        if (!nodes) {
            err_set(err, MOE2_ELIMIT, "no memory for the added tokens");
            return 0;
        }
        a->nodes = nodes;
        a->n_nodes_max = n;
    }
    uint32_t at = ++a->n_nodes; /* node 0 is "none" */
    a->nodes[at] = (struct added_node){.id = -1, .byte = byte};
    return at;
}

static uint32_t child_of(const struct added_set *a, uint32_t node, uint8_t byte)
{
    uint32_t at = a->nodes[node].child;
    while (at && a->nodes[at].byte != byte)
        at = a->nodes[at].sibling;
    return at;
}

int added_put(struct added_set *a, const char *bytes, size_t n, int32_t id, int flags,
              struct err *err)
{
    const uint8_t *p = (const uint8_t *)bytes;
    uint32_t node = a->root[p[0]];
    if (!node) {
        node = node_new(a, p[0], err);
        if (!node)
            return MOE2_ELIMIT;
        a->root[p[0]] = node;
        a->n_first++;
        a->first = p[0];
    }
    for (size_t i = 1; i < n; i++) {
        uint32_t next = child_of(a, node, p[i]);
        if (!next) {
            next = node_new(a, p[i], err);
            if (!next)
                return MOE2_ELIMIT;
            a->nodes[next].sibling = a->nodes[node].child;
            a->nodes[node].child = next;
        }
        node = next;
    }
    if (a->nodes[node].id < 0) {
        a->nodes[node].id = id;
        a->nodes[node].flags = (uint8_t)flags;
    }
    return 0;
}

void added_release(struct added_set *a)
{
    free(a->nodes);
    memset(a, 0, sizeof *a);
}

/* The first place from at on where a token could begin, or n. */
static size_t next_first(const struct added_set *a, const uint8_t *text, size_t at, size_t n)
{
    if (a->n_first == 1) {
        const uint8_t *p = memchr(text + at, a->first, n - at);
        return p ? (size_t)(p - text) : n;
    }
    while (at < n && !a->root[text[at]])
        at++;
    return at;
}

/* The node of the longest token that begins at text[0], or 0; its length in *length. */
static uint32_t longest(const struct added_set *a, const uint8_t *text, size_t n, size_t *length)
{
    uint32_t found = 0, node = a->root[text[0]];
    for (size_t i = 1; node; i++) {
        if (a->nodes[node].id >= 0) {
            found = node;
            *length = i;
        }
        node = i < n ? child_of(a, node, text[i]) : 0;
    }
    return found;
}

static bool is_single_word(const uint8_t *text, size_t begin, size_t end, size_t n)
{
    size_t length;
    if (begin > 0 && unicode_is_word(utf8_last(text, begin, &length)))
        return false;
    return end == n || !unicode_is_word(utf8_get(text + end, &length));
}

/* Not further than to taken, where the match before ended. */
static size_t strip_left(const uint8_t *text, size_t begin, size_t taken, const uint8_t *classes)
{
    size_t length;
    while (begin > taken && classes[utf8_last(text, begin, &length)] & UNICODE_SPACE)
        begin -= length;
    return begin;
}

static size_t strip_right(const uint8_t *text, size_t end, size_t n, const uint8_t *classes)
{
    size_t length;
    while (end < n && classes[utf8_get(text + end, &length)] & UNICODE_SPACE)
        end += length;
    return end;
}

bool added_next(struct added_match *out, struct added_search *search, const struct added_set *a,
                const uint8_t *text, size_t n, const uint8_t *classes)
{
    if (!a->n_first)
        return false;
    for (;;) {
        size_t at = next_first(a, text, search->at, n), length;
        if (at == n)
            return false;
        uint32_t node = longest(a, text + at, n - at, &length);
        search->at = at + (node ? length : 1);
        if (!node)
            continue;
        int flags = a->nodes[node].flags;
        size_t begin = at, end = at + length;
        if (flags & ADDED_SINGLE_WORD && !is_single_word(text, begin, end, n))
            continue;
        if (flags & ADDED_LSTRIP)
            begin = strip_left(text, begin, search->taken, classes);
        if (begin < search->taken) /* the match before took these spaces */
            begin = search->taken;
        if (flags & ADDED_RSTRIP)
            end = strip_right(text, end, n, classes);
        *out = (struct added_match){begin, end, a->nodes[node].id};
        search->taken = end;
        return true;
    }
}
