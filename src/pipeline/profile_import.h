/* Curves from outside: published tables of devices, or a plain CSV of measurements.
 *
 * A folder holds published values: scorecard.csv and detail.csv (4-bit Qwen2.5 on a Jetson AGX Orin) and table.csv (decode speed and
 * wall power of local models on many machines, RTX 4090 among them), read as docs/costs.md says. A file is a CSV with a row a run:
 * expert, prompt_tokens, output_tokens, latency_s (or latency_ms), and where it was metered energy_j (or energy_mj), device, and latency_source, energy_source where a number was not measured, latency_note and
 * energy_note for the curves' notes (those of an expert's first row count). What is
 * published and what is derived stays apart in each curve's source.
 */
#ifndef MOE2_PIPELINE_PROFILE_IMPORT_H
#define MOE2_PIPELINE_PROFILE_IMPORT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "io/curves.h"
#include "io/records.h"

enum { PROFILE_MAX_ROWS = 1 << 20 };

/* The curves of a source, and what has to be said about them, a line each. Zero it before; release it also after errors. */
struct profile_set {
    struct curves latency, energy;
    struct buf notes;
};
void profile_set_release(struct profile_set *s);

/* Whichever path is. Errors: MOE2_EIO, MOE2_EFORMAT naming file and line, MOE2_ELIMIT. */
int profile_import(struct profile_set *s, const char *path, struct err *err);

/* The two kinds: see profile_published.c, profile_measured.c. */
int profile_import_published(struct profile_set *s, const char *dir, struct err *err);
int profile_import_measured(struct profile_set *s, const char *path, struct err *err);

/* 10⁹ parameters of a model of the published tables ("Qwen2.5-7B-Instruct"); 0: not known. */
double profile_params_b(const char *model);

/* A curve an expert for a file of models of known size (columns model, params_b, active_b), that of `base` in from times the share of
 * parameters read a token (active_b; params_b where that is empty): source estimated. A model without a size gets none and a note. base_params_b is the base's
 * size. Errors: MOE2_ECONFIG when from has no such curve; MOE2_EFORMAT. */
int profile_scale(struct profile_set *s, const struct profile_set *from, const char *base,
                  double base_params_b, const char *models_path, struct err *err);

/* A finite number ≥ min of a field of the current record, times scale. Errors name file, line, field and text. */
int profile_number(double *out, const struct records *r, const char *field, double min,
                   double scale, struct err *err);

#endif
