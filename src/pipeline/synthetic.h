/* Questions, recorded answers and curves of nobody: what the two-level build runs on where no real data lies. A seeded model of
 * ours: eight experts of unequal strength, each better in some of 32 topics, in 8 categories whose words differ, so that a gate has
 * something to learn and budgets something to cut. The same seed gives the same bytes. Everything made here says "synthetic".
 *
 *     DIR/questions.jsonl                        the gating set, in MMLU-Pro's form
 *     DIR/corpus.jsonl                           600 more, {query, choices, gold}
 *     DIR/outcomes.csv, predictions.csv, chars.csv   of the experts synthetic-0 … synthetic-7 on the gating set
 *     DIR/synthetic.json                         what they were made of; written last
 */
#ifndef MOE2_PIPELINE_SYNTHETIC_H
#define MOE2_PIPELINE_SYNTHETIC_H

#include <stdint.h>

#include "base/err.h"
#include "io/yaml.h"

enum { SYNTHETIC_EXPERTS = 8, SYNTHETIC_CORPUS_ROWS = 600 };

#define SYNTHETIC_NOTE "SYNTHETIC questions, answers and costs, made by moe2: no real data"

/* Makes the files unless DIR/synthetic.json says that they are there for this seed and number of rows. */
int synthetic_make(const char *dir, int64_t n_rows, uint64_t seed, struct err *err);

#define SYNTHETIC_CURVES_NOTE "SYNTHETIC costs, made by moe2: of no real device"

/* latency.json and energy.json of the named experts: the first three fast and hungry, the others slow and frugal. */
int synthetic_curves(const char *latency_path, const char *energy_path,
                     const struct yaml_texts *experts, struct err *err);

/* "synthetic-3" */
const char *synthetic_expert(int i);

#endif
