/* Filling a struct err: see moe2/err.h, which the users of the library see too. */
#ifndef MOE2_BASE_ERR_H
#define MOE2_BASE_ERR_H

#include "moe2/err.h"

/* Fills err and returns code, so that a caller can return it in one line. err may be NULL. Keeps the first error: a second call on
 * a filled err only returns that err's code, so that cleaning up can't hide the cause. Safe from any thread on its own err. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the message of a filled err, where a caller knows more than the callee did (a file's name, a line). Returns
 * err's code; 0 and NULL pass through. */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
