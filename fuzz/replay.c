/* Runs a fuzz target over the files of its corpus folder, as a test: every input that once found a fault stays found. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]);
        return 2;
    }
    struct err err = {0};
    char **names = NULL;
    size_t n = 0;
    if (dir_names(&names, &n, argv[1], &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        char *path = path_join(argv[1], names[i]);
        struct buf b = {0};
        if (!path || file_read(&b, path, &err)) {
            fprintf(stderr, "%s\n", err.msg);
            return 1;
        }
        uint8_t *exact = malloc(
            b.n ? b.n
                : 1); /* no spare byte behind the input, so that a sanitizer sees an overrun */
        if (b.n)
            memcpy(exact, b.bytes, b.n);
        LLVMFuzzerTestOneInput(exact, b.n);
        free(exact);
        buf_release(&b);
        free(path);
    }
    printf("%zu inputs replayed\n", n);
    dir_names_free(names, n);
    return n ? 0 : 1;
}
