/* The questions of synth_family.h in Italian: the same cases in other words.
 *
 * The base models of the built-in fleet learn from these, and its experts from the English ones: what an expert learns is how its
 * cluster's questions are put, not how to count. Numbers, letters and names are what they were, months, days, units and animals
 * are translated, options too.
 */
#ifndef MOE2_PIPELINE_SYNTH_ITALIAN_H
#define MOE2_PIPELINE_SYNTH_ITALIAN_H

#include "pipeline/synth_family.h"

/* Question and options in place. */
void synth_italian(struct synth_item *item);

#endif
