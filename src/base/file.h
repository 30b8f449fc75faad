/* Files: mapped for reading, replaced as a whole for writing.
 *
 * Nothing that moe2 writes is ever seen half written: file_begin opens a temporary neighbour of the target, file_commit syncs it and
 * renames it over the target, file_abort removes it. Errors name the path and what the system said.
 */
#ifndef MOE2_BASE_FILE_H
#define MOE2_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"

struct file_map {
    const uint8_t *bytes; /* owned by the map; NULL for an empty file */
    size_t n_bytes;
};

/* Maps a whole regular file read-only. file_unmap accepts a zeroed map. */
int file_map(struct file_map *out, const char *path, struct err *err);
void file_unmap(struct file_map *m);

/* Appends a whole file to b; MOE2_ELIMIT beyond b's limit. */
int file_read(struct buf *b, const char *path, struct err *err);

struct file_writer {
    FILE *f; /* write here */
    char *path, *temp_path;
};

int file_begin(struct file_writer *w, const char *path, struct err *err);
int file_put(struct file_writer *w, const void *bytes, size_t n, struct err *err);
int file_commit(struct file_writer *w,
                struct err *err);       /* the writer is empty afterwards, whatever came out */
void file_abort(struct file_writer *w); /* a zeroed or committed writer is fine */

/* For a file so long in the making that a run may be killed and go on later: opens temp_path, a neighbour of path that the caller
 * names, keeps its first n_keep bytes and writes behind them; 0 begins it anew. It is locked until commit, leave or abort: in the hands
 * of another writer it is MOE2_ECONFIG, and stays as it is. A file shorter than n_keep is MOE2_EFORMAT. */
int file_continue(struct file_writer *w, const char *path, const char *temp_path, int64_t n_keep,
                  struct err *err);
int file_flush(struct file_writer *w, struct err *err); /* all that was put is on the disk */
int file_leave(struct file_writer *w,
               struct err *err); /* closes it and leaves temp_path for a later file_continue */

/* file_begin, put, commit in one. */
int file_write(const char *path, const void *bytes, size_t n, struct err *err);

/* The bytes of a file under another name. */
int file_copy(const char *to, const char *from, struct err *err);

/* Whether writing path may replace what is there: nothing, or a regular file. A folder or a device is MOE2_EIO, so that nothing
 * ever renames a file over /dev/null. file_begin asks this itself. */
int file_may_replace(const char *path, struct err *err);

bool file_exists(const char *path);
bool file_is_dir(const char *path);
int64_t file_size(const char *path); /* −1 when there is none */
int64_t
file_stamp(const char *path); /* when it was last written, ns since 1970; −1 when there is none */

/* Makes a folder and the ones above it; one that is there already is fine. */
int dir_make(const char *path, struct err *err);

/* Removes a file, or a folder with all in it; nothing there is fine. */
int file_remove_all(const char *path, struct err *err);

/* The names in a folder (no "." and ".."), sorted; *names and each name are the caller's, to be freed with dir_names_free. */
int dir_names(char ***names, size_t *n_names, const char *path, struct err *err);
void dir_names_free(char **names, size_t n_names);

/* "dir/name" in a new string of the caller's, or NULL without memory. */
char *path_join(const char *dir, const char *name);

/* The last part of a path, whose closing slashes are cut off in place. */
const char *path_last(char *path);

#endif
