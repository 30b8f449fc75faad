/* Readers: see reader.h. Two buffers of fixed size, one for bytes of the file and one for unpacked
 * bytes; what lies between them is a row of three (plain, gzip, zstd). */
#include "io/reader.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/buf.h"

enum { RAW_BYTES = 1 << 17, UNPACKED_BYTES = 1 << 18, WINDOW_LOG_MAX = 27 };

struct reader {
    char *path;
    int fd;             /* −1 when the bytes are in memory */
    const uint8_t *mem; /* borrowed */
    size_t n_mem;
    int64_t n_taken, n_file; /* bytes taken from the file or memory; of all */
    bool at_source_end;

    uint8_t *raw; /* as in the file, from raw_at on not unpacked yet */
    size_t raw_at, n_raw;
    enum reader_packing packing;
    z_stream z;
    bool has_z;
    ZSTD_DStream *zstd;
    bool in_frame; /* a gzip member or zstd frame has begun and not ended */

    uint8_t *unpacked; /* from at on not read yet; one spare byte behind for a NUL */
    size_t at, n_unpacked;
    struct buf line; /* a line that lay in two fills of the buffer */
    int64_t line_number;
};

/* ---- the file ---- */

/* Fills raw behind what is left in it. */
static int fill_raw(struct reader *r, struct err *err)
{
    memmove(r->raw, r->raw + r->raw_at, r->n_raw - r->raw_at);
    r->n_raw -= r->raw_at;
    r->raw_at = 0;
    size_t room = RAW_BYTES - r->n_raw;
    ssize_t n;
    if (r->fd < 0) {
        n = (ssize_t)(r->n_mem - (size_t)r->n_taken);
        n = n > (ssize_t)room ? (ssize_t)room : n;
        if (n)
            memcpy(r->raw + r->n_raw, r->mem + r->n_taken, (size_t)n);
    } else {
        do
            n = read(r->fd, r->raw + r->n_raw, room);
        while (n < 0 && errno == EINTR);
    }
    if (n < 0)
        return err_set(err, MOE2_EIO, "%s: can't be read: %s", r->path, strerror(errno));
    r->at_source_end = n == 0;
    r->n_raw += (size_t)n;
    r->n_taken += n;
    return 0;
}

/* The first four bytes decide. */
static int detect(struct reader *r, struct err *err)
{
    int rc = 0;
    while (!rc && r->n_raw < 4 && !r->at_source_end)
        rc = fill_raw(r, err);
    const uint8_t *b = r->raw;
    if (rc || r->n_raw < 2)
        return rc;
    if (b[0] == 0x1f && b[1] == 0x8b) {
        r->packing = READER_GZIP;
        r->has_z = inflateInit2(&r->z, 15 + 16) == Z_OK;
        if (!r->has_z)
            return err_set(err, MOE2_ELIMIT, "%s: no memory to unpack it", r->path);
    } else if (r->n_raw >= 4 &&
               ((b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd) ||
                ((b[0] & 0xf0) == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18))) {
        r->packing = READER_ZSTD;
        r->zstd = ZSTD_createDStream();
        if (!r->zstd ||
            ZSTD_isError(ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
            return err_set(err, MOE2_ELIMIT, "%s: no memory to unpack it", r->path);
    }
    return 0;
}

/* ---- unpacking: each fills unpacked with at least one byte, or leaves it empty at the end ---- */

static int unpack_plain(struct reader *r, struct err *err)
{
    int rc = r->raw_at == r->n_raw ? fill_raw(r, err) : 0;
    if (rc)
        return rc;
    r->n_unpacked = r->n_raw - r->raw_at;
    memcpy(r->unpacked, r->raw + r->raw_at, r->n_unpacked);
    r->raw_at = r->n_raw;
    return 0;
}

static int cut_off(const struct reader *r, const char *packing, struct err *err)
{
    return err_set(err, MOE2_EFORMAT, "%s: the %s data are cut off after %lld bytes", r->path,
                   packing, (long long)r->n_taken);
}

/* Between two members: *more is whether another begins. Zeros at the end of a file are padding, as
 * gzip itself takes them. */
static int next_member(struct reader *r, bool *more, struct err *err)
{
    int rc = 0;
    bool had_zeros = false;
    *more = false;
    while (!rc) {
        while (r->raw_at < r->n_raw && r->raw[r->raw_at] == 0) {
            had_zeros = true;
            r->raw_at++;
        }
        if (r->n_raw - r->raw_at >= 2 || r->at_source_end)
            break;
        rc = fill_raw(r, err);
    }
    if (rc || r->raw_at == r->n_raw)
        return rc;
    const uint8_t *b = r->raw + r->raw_at;
    if (had_zeros || r->n_raw - r->raw_at < 2 || b[0] != 0x1f || b[1] != 0x8b)
        return err_set(err, MOE2_EFORMAT,
                       "%s: something that is no gzip stands behind the gzip data", r->path);
    inflateReset(&r->z);
    *more = true;
    return 0;
}

static int unpack_gzip(struct reader *r, struct err *err)
{
    while (r->n_unpacked == 0) {
        int rc = 0;
        bool more = true;
        if (!r->in_frame)
            rc = next_member(r, &more, err);
        if (rc || !more)
            return rc;
        r->in_frame = true;
        if (r->raw_at == r->n_raw)
            rc = fill_raw(r, err);
        if (rc)
            return rc;
        if (r->raw_at == r->n_raw)
            return cut_off(r, "gzip", err);
        r->z.next_in = r->raw + r->raw_at;
        r->z.avail_in = (uInt)(r->n_raw - r->raw_at);
        r->z.next_out = r->unpacked;
        r->z.avail_out = UNPACKED_BYTES;
        int status = inflate(&r->z, Z_NO_FLUSH);
        r->raw_at = r->n_raw - r->z.avail_in;
        r->n_unpacked = UNPACKED_BYTES - r->z.avail_out;
        if (status == Z_STREAM_END)
            r->in_frame = false;
        else if (status == Z_MEM_ERROR)
            return err_set(err, MOE2_ELIMIT, "%s: no memory to unpack it", r->path);
        else if (status != Z_OK && status != Z_BUF_ERROR)
            return err_set(err, MOE2_EFORMAT, "%s: the gzip data are broken: %s", r->path,
                           r->z.msg ? r->z.msg : "a dictionary is missing");
    }
    return 0;
}

static int unpack_zstd(struct reader *r, struct err *err)
{
    while (r->n_unpacked == 0) {
        int rc = r->raw_at == r->n_raw ? fill_raw(r, err) : 0;
        if (rc)
            return rc;
        if (r->raw_at == r->n_raw && !r->in_frame)
            return 0;
        ZSTD_inBuffer in = {r->raw + r->raw_at, r->n_raw - r->raw_at, 0};
        ZSTD_outBuffer out = {r->unpacked, UNPACKED_BYTES, 0};
        size_t left = ZSTD_decompressStream(r->zstd, &out, &in);
        if (ZSTD_isError(left)) {
            if (ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge)
                return err_set(err, MOE2_ELIMIT,
                               "%s: the zstd data need more than %d MiB to unpack", r->path,
                               1 << (WINDOW_LOG_MAX - 20));
            return err_set(err, MOE2_EFORMAT, "%s: the zstd data are broken: %s", r->path,
                           ZSTD_getErrorName(left));
        }
        if (r->raw_at == r->n_raw && out.pos == 0)
            return cut_off(r, "zstd", err);
        r->raw_at += in.pos;
        r->n_unpacked = out.pos;
        r->in_frame = left != 0;
    }
    return 0;
}

int reader_window(struct reader *r, const uint8_t **bytes, size_t *n, struct err *err)
{
    int rc = 0;
    if (r->at == r->n_unpacked) {
        r->at = r->n_unpacked = 0;
        rc = r->packing == READER_PLAIN  ? unpack_plain(r, err)
             : r->packing == READER_GZIP ? unpack_gzip(r, err)
                                         : unpack_zstd(r, err);
    }
    if (rc)
        return rc;
    *bytes = r->unpacked + r->at;
    *n = r->n_unpacked - r->at;
    return 0;
}

void reader_skip(struct reader *r, size_t n)
{
    assert(n <= r->n_unpacked - r->at);
    r->at += n;
}

/* ---- the interface ---- */

static int reader_new(struct reader **out, const char *path, struct err *err)
{
    struct reader *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(err, MOE2_ELIMIT, "%s: no memory to read it", path);
    r->fd = -1;
    r->path = strdup(path);
    r->raw = malloc(RAW_BYTES);
    r->unpacked = malloc(UNPACKED_BYTES + 1);
    if (!r->path || !r->raw || !r->unpacked) {
        reader_close(r);
        return err_set(err, MOE2_ELIMIT, "%s: no memory to read it", path);
    }
    *out = r;
    return 0;
}

static int open_file(struct reader *r, struct err *err)
{
    struct stat st;
    r->fd = open(r->path, O_RDONLY | O_CLOEXEC);
    if (r->fd < 0)
        return err_set(err, MOE2_EIO, "%s: can't be opened: %s", r->path, strerror(errno));
    if (fstat(r->fd, &st))
        return err_set(err, MOE2_EIO, "%s: can't be read: %s", r->path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return err_set(err, MOE2_EIO, "%s: is a folder, wanted a file", r->path);
    r->n_file = S_ISREG(st.st_mode) ? (int64_t)st.st_size : 0;
    return 0;
}

int reader_open(struct reader **out, const char *path, struct err *err)
{
    struct reader *r = NULL;
    int rc = reader_new(&r, path, err);
    if (rc)
        return rc;
    rc = open_file(r, err);
    if (!rc)
        rc = detect(r, err);
    if (rc)
        reader_close(r);
    else
        *out = r;
    return rc;
}

int reader_open_bytes(struct reader **out, const char *name, const void *bytes, size_t n,
                      struct err *err)
{
    struct reader *r = NULL;
    int rc = reader_new(&r, name, err);
    if (rc)
        return rc;
    r->mem = bytes;
    r->n_mem = n;
    r->n_file = (int64_t)n;
    rc = detect(r, err);
    if (rc)
        reader_close(r);
    else
        *out = r;
    return rc;
}

void reader_close(struct reader *r)
{
    if (!r)
        return;
    if (r->fd >= 0)
        close(r->fd);
    if (r->has_z)
        inflateEnd(&r->z);
    ZSTD_freeDStream(r->zstd);
    buf_release(&r->line);
    free(r->unpacked);
    free(r->raw);
    free(r->path);
    free(r);
}

int reader_read(struct reader *r, void *bytes, size_t *n_read, size_t n, struct err *err)
{
    size_t done = 0;
    while (done < n) {
        const uint8_t *p;
        size_t have = 0;
        int rc = reader_window(r, &p, &have, err);
        if (rc)
            return rc;
        if (have == 0)
            break;
        have = have > n - done ? n - done : have;
        memcpy((char *)bytes + done, p, have);
        reader_skip(r, have);
        done += have;
    }
    *n_read = done;
    return 0;
}

static int line_too_long(const struct reader *r, size_t max_bytes, struct err *err)
{
    return err_set(err, MOE2_ELIMIT, "%s:%lld: a line has more than %zu bytes", r->path,
                   (long long)r->line_number + 1, max_bytes);
}

/* Ends a line of n bytes at p: a NUL in place of CR or LF, which lie in a buffer of ours. */
static void end_line(struct reader *r, char *p, size_t n_line, const char **line, size_t *n)
{
    if (n_line && p[n_line - 1] == '\r')
        n_line--;
    p[n_line] = 0;
    *line = p;
    *n = n_line;
    r->line_number++;
}

int reader_line(struct reader *r, const char **line, size_t *n, size_t max_bytes, struct err *err)
{
    buf_clear(&r->line);
    r->line.max_bytes = max_bytes + UNPACKED_BYTES;
    for (;;) {
        const uint8_t *p;
        size_t have = 0;
        int rc = reader_window(r, &p, &have, err);
        if (rc)
            return rc;
        if (have == 0 && r->line.n == 0) {
            *line = NULL;
            *n = 0;
            return 0;
        }
        const uint8_t *lf = have ? memchr(p, '\n', have) : NULL;
        size_t part = lf ? (size_t)(lf - p) : have, held = r->line.n;
        if (held + part > max_bytes + 1) /* one more for a CR */
            return line_too_long(r, max_bytes, err);
        char *whole = (char *)r->unpacked + r->at;
        if (held || !lf) {
            rc = buf_append(&r->line, p, part, err);
            if (rc)
                return rc;
            whole = r->line.bytes;
        }
        reader_skip(r, part + (lf != NULL));
        if (!lf && have)
            continue;
        const char *text;
        end_line(r, whole, held + part, &text, n);
        if (*n > max_bytes) {
            r->line_number--;
            return line_too_long(r, max_bytes, err);
        }
        *line = text;
        return 0;
    }
}

const char *reader_path(const struct reader *r)
{
    return r->path;
}

enum reader_packing reader_packing(const struct reader *r)
{
    return r->packing;
}

int64_t reader_line_number(const struct reader *r)
{
    return r->line_number;
}

int64_t reader_bytes_consumed(const struct reader *r)
{
    return r->n_taken - (int64_t)(r->n_raw - r->raw_at);
}

int64_t reader_file_bytes(const struct reader *r)
{
    return r->n_file;
}
