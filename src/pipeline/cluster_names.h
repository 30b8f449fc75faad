/* What a cluster is about: its most typical words, sources and subjects, for people.
 *
 *     struct cluster_names *c;
 *     cluster_names_new(&c, k, err);
 *     cluster_names_add(c, row, label, err);             every row of the file, in order
 *     cluster_names_finish(c, err);
 *     … cluster_names_of(c, j)->words[0] …
 *     cluster_names_free(c);
 *
 * A word counts once a row. It is typical of a cluster by p·ln(p/q): p the share of the cluster's rows that hold it, q that of all
 * rows. Words are runs of letters and digits, lower-cased, 3 to 32 characters long, not all digits. Sources come from the field
 * "source" or "src", subjects from "subject" or "category"; texts from "text", "question", "choices" and "options".
 */
#ifndef MOE2_PIPELINE_CLUSTER_NAMES_H
#define MOE2_PIPELINE_CLUSTER_NAMES_H

#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

enum {
    CLUSTER_WORDS = 8, /* shown of each */
    CLUSTER_SOURCES = 4,
    CLUSTER_MAX_WORDS = 1 << 20,  /* different ones; later new ones are not counted */
    CLUSTER_MAX_COUNTS = 1 << 26, /* words × clusters */
};

struct cluster_term {
    const char *text; /* borrowed until cluster_names_free */
    int64_t n_rows;   /* of the cluster that hold it */
};

struct cluster_about {
    struct cluster_term words[CLUSTER_WORDS], sources[CLUSTER_SOURCES], subjects[CLUSTER_SOURCES];
    int n_words, n_sources, n_subjects;
    char name[160]; /* "law, court, defendant (law)" */
};

struct cluster_names;

int cluster_names_new(struct cluster_names **out, int64_t k, struct err *err);
void cluster_names_free(struct cluster_names *c); /* NULL is fine */

/* Counts a row, a JSON object. MOE2_ELIMIT without memory. */
int cluster_names_add(struct cluster_names *c, const json_t *row, int64_t label, struct err *err);

int cluster_names_finish(struct cluster_names *c, struct err *err);
const struct cluster_about *cluster_names_of(const struct cluster_names *c, int64_t cluster);

#endif
