/* Hashes of files and folders: see file_hash.h. */
#include "pipeline/file_hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t p = (__uint128_t)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static void add_word(struct file_hash *h, uint64_t word)
{
    h->a = fold(h->a ^ word, 0x9E3779B97F4A7C15u);
    h->b = fold(h->b + word, 0xD1B54A32D192ED03u ^ h->b) + 0x8CB92BA72F3D8DD7u;
}

void file_hash_add(struct file_hash *h, const void *bytes, uint64_t n)
{
    const uint8_t *p = bytes;
    uint64_t left = n, word;
    for (; left >= 8; left -= 8, p += 8) {
        memcpy(&word, p, 8);
        add_word(h, __builtin_bswap64(word));
    }
    word = 0;
    for (uint64_t i = 0; i < left; i++)
        word = word << 8 | p[i];
    add_word(h, word);
    add_word(h, n);
}

static int add_file(struct file_hash *h, int64_t *n_bytes, const char *path, struct err *err)
{
    struct file_map map = {0};
    int rc = file_map(&map, path, err);
    if (rc)
        return rc;
    file_hash_add(h, map.bytes, map.n_bytes);
    if (n_bytes)
        *n_bytes += (int64_t)map.n_bytes;
    file_unmap(&map);
    return 0;
}

static int add_folder(struct file_hash *h, int64_t *n_bytes, const char *path, int *n_files,
                      struct err *err)
{
    char **names = NULL;
    size_t n = 0;
    int rc = dir_names(&names, &n, path, err);
    for (size_t i = 0; i < n && !rc; i++) {
        char *below = path_join(path, names[i]);
        if (!below)
            rc = err_set(err, MOE2_ELIMIT, "no memory for a path");
        else if (++*n_files > FILE_HASH_MAX_FILES)
            rc = err_set(err, MOE2_ELIMIT, "%s: more than %d files", path, FILE_HASH_MAX_FILES);
        if (!rc) {
            file_hash_add(h, names[i], strlen(names[i]));
            rc = file_is_dir(below) ? add_folder(h, n_bytes, below, n_files, err)
                                    : add_file(h, n_bytes, below, err);
        }
        free(below);
    }
    dir_names_free(names, n);
    return rc;
}

int file_hash_path(struct file_hash *h, int64_t *n_bytes, const char *path, struct err *err)
{
    int n_files = 0;
    return file_is_dir(path) ? add_folder(h, n_bytes, path, &n_files, err)
                             : add_file(h, n_bytes, path, err);
}

int file_hash_facts(struct file_hash *h, const char *path, struct err *err)
{
    char **names = NULL;
    size_t n = 0;
    struct stat st;
    if (stat(path, &st))
        return err_set(err, MOE2_EIO, "%s: is not there", path);
    int rc = S_ISDIR(st.st_mode) ? dir_names(&names, &n, path, err) : 0;
    file_hash_add(h, path, strlen(path));
    for (size_t i = 0; i <= n && !rc; i++) {
        char *file = i < n ? path_join(path, names[i]) : strdup(path);
        if (!file)
            rc = err_set(err, MOE2_ELIMIT, "no memory for a path");
        else if (stat(file, &st) == 0 && S_ISREG(st.st_mode)) {
            int64_t facts[3] = {st.st_size, st.st_mtim.tv_sec, st.st_mtim.tv_nsec};
            file_hash_add(h, file, strlen(file));
            file_hash_add(h, facts, sizeof facts);
        }
        free(file);
    }
    dir_names_free(names, n);
    return rc;
}

const char *file_hash_text(char text[FILE_HASH_TEXT], struct file_hash h)
{
    snprintf(text, FILE_HASH_TEXT, "%016llx%016llx", (unsigned long long)h.a,
             (unsigned long long)h.b);
    return text;
}
