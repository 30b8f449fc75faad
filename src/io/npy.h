/* npy: one NumPy array a file, mapped or written as a whole.
 *
 * Format (NEP 1, version 1.0): "\x93NUMPY", bytes 1 and 0, u16 little-endian N, N bytes of a Python
 * dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } padded with spaces and a
 * newline to a multiple of 64, then the array in row-major order. Version 2.0 (u32 N) is read too.
 */
#ifndef MOE2_IO_NPY_H
#define MOE2_IO_NPY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "tensor/dtype.h"

enum { NPY_MAX_DIMS = 8, NPY_MAX_HEADER_BYTES = 65536 };

struct npy {
    enum dtype dtype;
    int n_dims; /* 0 for a scalar */
    int64_t shape[NPY_MAX_DIMS];
    int64_t n_elements;
    bool
        fortran_order; /* the first index runs fastest; false unless npy_open_any_order was asked */
    const void
        *data; /* borrowed until npy_close; aligned to the type; NULL when there are no elements */
    struct file_map map;
};

/* Maps and checks an array of float32, float64, float16, bool or integers. Errors: MOE2_EIO,
 * MOE2_EFORMAT (also for fortran_order, big-endian and object arrays). */
int npy_open(struct npy *out, const char *path, struct err *err);

/* The same, arrays in Fortran order too. */
int npy_open_any_order(struct npy *out, const char *path, struct err *err);

/* A zeroed npy is fine. */
void npy_close(struct npy *a);

/* Writes data [shape] in one go, atomically. Every dtype but BF16 and F8_E4M3 has a NumPy name;
 * those are MOE2_EFORMAT. */
int npy_write(const char *path, enum dtype dtype, const int64_t *shape, int n_dims,
              const void *data, struct err *err);

/* Appends the header of such an array to out: for a file that is written by other means. */
int npy_header(struct buf *out, enum dtype dtype, const int64_t *shape, int n_dims,
               struct err *err);

/* The same in pieces, for arrays that never lie in memory as a whole: begin, put any number of
 * times, commit or abort. */
struct npy_writer {
    struct file_writer file;
    int64_t n_bytes_left;
};

int npy_begin(struct npy_writer *w, const char *path, enum dtype dtype, const int64_t *shape,
              int n_dims, struct err *err);
int npy_put(struct npy_writer *w, const void *data, int64_t n_bytes, struct err *err);
int npy_commit(struct npy_writer *w,
               struct err *err); /* an error, and nothing written, unless every byte was put */
void npy_abort(struct npy_writer *w);

#endif
