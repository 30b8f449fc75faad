/* Figures 4 and 5: what an answer costs against the length of the prompt and of the answer. What was not measured here is called so in the
 * title and by the line: published values are dots on a full line, estimates are dashed.
 *
 * Experts that share a curve are one line. Each function returns whether it drew (report/figures.h).
 */
#ifndef MOE2_REPORT_FIGURES_PROFILE_H
#define MOE2_REPORT_FIGURES_PROFILE_H

#include "io/curves.h"
#include "report/figures.h"

/* figure4_latency.svg, .png: seconds. */
bool figure_latency_curves(struct figure_set *s, const struct curves *c);

/* figure5_energy.svg, .png: joules. */
bool figure_energy_curves(struct figure_set *s, const struct curves *c);

#endif
