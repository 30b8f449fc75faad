/* A gate's report: gate.json, a table for a terminal, and the reliability diagram. */
#ifndef MOE2_PIPELINE_GATE_REPORT_H
#define MOE2_PIPELINE_GATE_REPORT_H

#include "base/buf.h"
#include "pipeline/step_gate.h"

int gate_report_json(struct buf *out, const struct gate_step_report *r, struct err *err);
int gate_report_text(struct buf *out, const struct gate_step_report *r, struct err *err);

/* Draws dir/reliability.{gp,svg,png}: the share of right answers against the score, by bins, and how many cells are in each. */
int gate_report_figure(const struct gate_step_report *r, const char *gnuplot, const char *dir,
                       struct err *err);

#endif
