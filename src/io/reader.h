/* Readers: bytes and lines of a plain, gzip or zstd file, with bounded memory.
 *
 * What a file is, its first bytes say, never its name. Several gzip members or zstd frames behind
 * each other are one stream. A stream that ends before its format allows is an error, so that half
 * a download is not taken for a whole one.
 *
 *     struct reader *r;
 *     reader_open(&r, "part-00.jsonl.gz", err);
 *     while (!(rc = reader_line(r, &line, &n, 1 << 20, err)) && line) …
 *     reader_close(r);
 */
#ifndef MOE2_IO_READER_H
#define MOE2_IO_READER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct reader;

enum reader_packing { READER_PLAIN, READER_GZIP, READER_ZSTD };

/* Opens path; the result is the caller's. A pipe or device is fine too. Errors: MOE2_EIO. */
int reader_open(struct reader **out, const char *path, struct err *err);

/* The same over bytes in memory, borrowed until reader_close; name stands in messages. */
int reader_open_bytes(struct reader **out, const char *name, const void *bytes, size_t n,
                      struct err *err);

void reader_close(struct reader *r); /* NULL is fine */

/* Reads up to n unpacked bytes; *n_read is smaller than n only at the end, and 0 behind it. Errors:
 * MOE2_EIO, MOE2_EFORMAT for packed data that is broken or cut off, MOE2_ELIMIT for a zstd window
 * above 128 MiB. */
int reader_read(struct reader *r, void *bytes, size_t *n_read, size_t n, struct err *err);

/* The next line without its LF or CR LF, NUL-ended; borrowed until the next call. *line is NULL at
 * the end. The last line needs no LF. MOE2_ELIMIT for a line above max_bytes, naming its number. A
 * line may hold NUL bytes: *n tells its length. */
int reader_line(struct reader *r, const char **line, size_t *n, size_t max_bytes, struct err *err);

/* The unpacked bytes that were not read yet, for scanners: at least one, or *n = 0 at the end.
 * Borrowed until the next call; reader_skip takes the first n of them. */
int reader_window(struct reader *r, const uint8_t **bytes, size_t *n, struct err *err);
void reader_skip(struct reader *r, size_t n);

const char *reader_path(const struct reader *r);
enum reader_packing reader_packing(const struct reader *r);
int64_t
reader_line_number(const struct reader *r); /* of the line that reader_line gave last, from 1 */
int64_t
reader_bytes_consumed(const struct reader *r); /* of the file as it lies on disk: for progress */
int64_t reader_file_bytes(const struct reader *r); /* the file's size on disk, 0 when not known */

#endif
