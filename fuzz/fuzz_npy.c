/* Any bytes as an npy file and as a matrix in one. What opens must be readable to its last number, and finite as a matrix. */
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/matrix.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void read_matrix(const char *path)
{
    struct matrix m = {0};
    struct err err = {0};
    int rc = matrix_open(&m, path, 1 << 24, &err);
    assert(rc == err.code);
    for (int64_t i = 0; !rc && i < m.rows * m.columns; i++)
        assert(isfinite(m.x[i]));
    matrix_close(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct npy a = {0};
    struct err err = {0};
    char path[32];
    int fd = memfd_create("npy", 0);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n) {
        close(fd);
        return 0;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = npy_open(&a, path, &err);
    assert(rc == err.code);
    if (!rc && a.n_elements) {
        volatile uint8_t last =
            ((const uint8_t *)a.data)[a.n_elements * (int64_t)dtype_bytes(a.dtype) - 1];
        (void)last;
    }
    npy_close(&a);
    read_matrix(path);
    close(fd);
    return 0;
}
