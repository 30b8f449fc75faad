/* latency.json and energy.json: what an answer of each expert costs on its device, against the lengths of prompt and answer.
 *
 * Format: one object, a key an expert:
 *     {"NAME": {"device": "agx-orin", "unit": "s", "source": "measured" | "estimated" | "published",
 *               "points": [{"prompt_tokens": 464, "output_tokens": 100, "value": 3.25, "spread": 0.8, "runs": 30}],
 *               "fit": {"t0": 0, "prefill": 0.0006, "decode": 0.0298},       value = t0 + prefill·prompt + decode·output
 *               "residual": {"rms": 0.02, "largest": 0.04}, "curve": "…", "stands_for": "…", "note": "…"}}
 * unit is "s" or "ms" for latency, "J" or "mJ" for energy. Only unit and fit are needed by those who read costs; keys that are not
 * known are passed over. A point's spread is in its unit: the standard deviation over its runs (whose median is the value) where runs were measured here, what
 * the note says otherwise; null where it isn't known.
 */
#ifndef MOE2_IO_CURVES_H
#define MOE2_IO_CURVES_H

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum { CURVES_MAX = 4096, CURVES_MAX_POINTS = 65536, CURVES_MAX_FILE_BYTES = 64 << 20 };

/* Where a curve comes from, in the words of the file. */
enum curve_source { CURVE_MEASURED, CURVE_ESTIMATED, CURVE_PUBLISHED, CURVE_N_SOURCES };
const char *curve_source_name(enum curve_source source);

/* How a figure or a table must call it: "measured", "estimated", "published, not measured here". */
const char *curve_source_label(enum curve_source source);

struct curve_point {
    double prompt_tokens, output_tokens;
    double value, spread; /* in the curve's unit; spread NaN: not known */
    int64_t runs;         /* 0: not known */
};

struct curve_fit {
    double t0, prefill, decode; /* unit, unit a prompt token, unit an output token; all ≥ 0 */
};

/* One expert's curve. Texts and points live as long as the arena of their set; texts may be NULL. */
struct curve {
    const char *expert, *device, *unit;
    const char *curve;      /* the curve of the source that was used, when the expert borrows one */
    const char *stands_for; /* the expert of the plan in whose place this one is taken */
    const char *note;
    enum curve_source source;
    struct curve_point *points;
    int64_t n_points;
    struct curve_fit fit;
    double rms, largest; /* of the residuals; NaN without points */
};

struct curves {
    struct arena memory;
    struct curve *list; /* [n]; in the arena */
    int n, capacity;
};

/* Appends an empty curve of that expert. MOE2_ECONFIG when it has one already. Pointers to earlier curves die. */
int curves_add(struct curve **out, struct curves *c, const char *expert, struct err *err);
const struct curve *curves_find(const struct curves *c, const char *expert); /* NULL: none */
void curves_release(struct curves *c); /* a zeroed one is fine */

/* t0 + prefill·p + decode·o. */
double curve_value(const struct curve_fit *fit, double prompt_tokens, double output_tokens);

/* Fits the curve to its points by non-negative least squares and fills fit, rms and largest. Where all prompts have one length, the constant
 * and the part a prompt token can't be told apart and all of it is counted to the prompt; where all answers have one length (and
 * prompts differ), the constant holds what the answer costs; where neither differs, all is counted to the answer's tokens. Without
 * points nothing is done. Errors: as nnls. */
int curve_fit_points(struct curve *c, struct err *err);

/* Writes the file, atomically. */
int curves_write(const char *path, const struct curves *c, struct err *err);

/* Reads one; c is zeroed before, and the caller's to release, also after an error. Errors: MOE2_EIO; MOE2_EFORMAT for a fit that is not
 * three numbers ≥ 0, an unknown unit or source; MOE2_ELIMIT. */
int curves_read(struct curves *c, const char *path, struct err *err);

#endif
