/* Any bytes as a gate's file. What opens must score a row, or say why not. */
#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/gate.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void score(const struct gate *g)
{
    struct device *dev = NULL;
    struct err err = {0};
    float *x = calloc((size_t)g->D, sizeof *x), scores[GATE_MAX_EXPERTS];
    int32_t category = (int32_t)g->n_categories - 1;
    struct gate_input in = {x, &category, 1};
    if (device_open(&dev, "cpu", 1, NULL) == 0) {
        int rc = gate_score(scores, dev, g, &in, &err);
        assert(rc == err.code && (rc || isfinite(scores[g->N - 1])));
    }
    device_close(dev);
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct gate *g = NULL;
    struct err err = {0};
    char path[32];
    int fd = memfd_create("gate", 0);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n) {
        close(fd);
        return 0;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = gate_open(&g, path, &err);
    assert(rc == err.code && !rc == !!g);
    if (g)
        score(g);
    gate_free(g);
    close(fd);
    return 0;
}
