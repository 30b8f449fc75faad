/* A 128-bit hash of what lies in a file or a folder, to see whether it changed. Ours (two lanes of multiply and fold over
 * 8-byte words), not meant against an adversary. The same bytes give the same hash on every machine.
 */
#ifndef MOE2_PIPELINE_FILE_HASH_H
#define MOE2_PIPELINE_FILE_HASH_H

#include <stdint.h>

#include "base/err.h"

enum { FILE_HASH_TEXT = 33, FILE_HASH_MAX_FILES = 1 << 16 };

struct file_hash {
    uint64_t a, b;
};

/* Takes n more bytes in, whose number counts too. Begin with FILE_HASH_BEGIN. */
#define FILE_HASH_BEGIN ((struct file_hash){0x243F6A8885A308D3u, 0x13198A2E03707345u})
void file_hash_add(struct file_hash *h, const void *bytes, uint64_t n);

/* Takes a file's bytes in, or a folder's names and files, sorted, with all below it. *n_bytes (NULL is fine) grows by
 * their size. Errors: MOE2_EIO; MOE2_ELIMIT above FILE_HASH_MAX_FILES files. */
int file_hash_path(struct file_hash *h, int64_t *n_bytes, const char *path, struct err *err);

/* The same by names, sizes and times of the files, without reading them: for models, which are large. Folders in a folder are passed over. */
int file_hash_facts(struct file_hash *h, const char *path, struct err *err);

/* 32 hexadecimal digits. */
const char *file_hash_text(char text[FILE_HASH_TEXT], struct file_hash h);

#endif
