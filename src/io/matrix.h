/* Matrices out of npy files: float32 [rows, columns], every number finite.
 *
 *     struct matrix m;
 *     matrix_open(&m, "e.npy", 0, err);
 *     … m.x [m.rows, m.columns] …
 *     matrix_close(&m);
 *
 * A float32 file stays where it is, mapped; float64 and float16 are rounded or widened into a copy.
 */
#ifndef MOE2_IO_MATRIX_H
#define MOE2_IO_MATRIX_H

#include <stdint.h>

#include "base/err.h"
#include "io/npy.h"

#define MATRIX_MAX_COPY_BYTES ((int64_t)8 << 30) /* of a copy, unless said */

struct matrix {
    const float *x; /* [rows, columns], borrowed until matrix_close */
    int64_t rows, columns;
    struct npy file;
    float *copy; /* owned; NULL when x is the file itself */
};

/* Opens and checks path: two dimensions, at least one row and one column. max_copy_bytes 0: MATRIX_MAX_COPY_BYTES. Errors: as
 * npy_open; MOE2_EFORMAT for another shape or type; MOE2_ENUMERIC for NaN or infinity, naming row and column (a float64 too large for
 * float32 is one); MOE2_ELIMIT. */
int matrix_open(struct matrix *out, const char *path, int64_t max_copy_bytes, struct err *err);

void matrix_close(struct matrix *m); /* a zeroed one is fine */

#endif
