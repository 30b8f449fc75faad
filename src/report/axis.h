/* Axes: from the values to a range, ticks and their texts, and labels pushed apart. Pure numbers.
 *
 *     struct axis a;
 *     axis_fit(&a, 2.31, 2.94, 6, false);          2.3 … 3.0, ticks every 0.1
 *     axis_place(&a, 2.5)                          0.286 of the way
 */
#ifndef MOE2_REPORT_AXIS_H
#define MOE2_REPORT_AXIS_H

#include <stdbool.h>
#include <stdint.h>

enum { AXIS_MAX_TICKS = 24, AXIS_TEXT_BYTES = 24 };

struct axis {
    double low, high; /* low < high; both > 0 when log */
    bool log;
    int n_ticks;
    double ticks[AXIS_MAX_TICKS];
    int decimals; /* of the ticks' texts on a linear axis */
};

/* The range that holds low … high with about n_wanted ticks. Linear: multiples of 1, 2 or 5 times a power of ten, and the range ends
 * on ticks. Logarithmic: decades, or their 1, 2, 5 where there are few. Values that aren't finite (or not positive, when log) give 0 … 1
 * (0.1 … 1). */
void axis_fit(struct axis *a, double low, double high, int n_wanted, bool log);

/* Where value lies, 0 at low and 1 at high, not clipped. */
double axis_place(const struct axis *a, double value);

/* The text of tick i, with a true minus sign: "0.25", "−3". Returned. */
char *axis_text(char text[AXIS_TEXT_BYTES], const struct axis *a, int i);

/* Moves n positions apart until neighbours (in the order of their values; equal ones in the order given) are at least gap apart within
 * [low, high], with the smallest sum of squared moves before the clamp. If they can't all fit, the gap shrinks. NaNs stay. */
void axis_spread(double *positions, int n, double gap, double low, double high);

#endif
