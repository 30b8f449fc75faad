/* Folders that are replaced as a whole: whatever moment the process dies at, the folder is there as
 * it was, or as it is meant to be.
 *
 *     folder_begin(&tmp, "checkpoints/last", err);    an empty neighbour "last.tmp" to write into
 *     folder_commit("checkpoints/last", err);         sync, and exchange the two
 *     folder_recover("checkpoints/last", err);        before reading: puts right what a death left
 *
 * The exchange is one system call (renameat2 with RENAME_EXCHANGE). Where a file system has none,
 * the old folder first steps aside to "last.old"; folder_recover brings it back if the death came
 * between the two renames. A commit touches "last.old" only there. Slashes at dir's end are as none.
 */
#ifndef MOE2_TRAIN_FOLDER_H
#define MOE2_TRAIN_FOLDER_H

#include "base/err.h"

/* Makes dir.tmp, empty; its path, the caller's to free, in *temp. */
int folder_begin(char **temp, const char *dir, struct err *err);

/* Puts dir.tmp in dir's place and removes what was there. */
int folder_commit(const char *dir, struct err *err);

/* The same without the exchange, as on file systems that can't do it. */
int folder_commit_by_steps(const char *dir, struct err *err);

/* Removes dir.tmp. */
void folder_abort(const char *dir);

/* Makes dir.tmp a copy of from that shares its files on disk (hard links, copies where there are
 * none), ready for folder_commit. */
int folder_begin_like(const char *dir, const char *from, struct err *err);

/* Leaves dir complete if it ever was, and no neighbour. Nothing there is fine. */
int folder_recover(const char *dir, struct err *err);

#endif
