/* Packed text: a corpus as token ids in mapped files, with a manifest that says where they came
 * from.
 *
 * A folder holds manifest.json; {train,validation,test}-00000.bin, -00001.bin, …; validation.txt
 * and test.txt (the cleaned text of these splits, a blank line between documents, for compressors
 * and n-gram models); and tokenizer/ (a copy), unless the tokenizer is "bytes".
 *
 * Format of a shard, little-endian: a header of 64 bytes {char magic[8] "MOE2TOK1"; u32 version 1;
 * u32 id_bytes, 2 or 4; u64 n_tokens; u64 n_documents; u64 n_text_bytes; zeros}; n_tokens ids;
 * zeros up to a multiple of 8; n_documents u64, where each document begins, counted in tokens. The
 * first begins at 0, every document ends with EOS, and none is torn between two shards.
 *
 *     struct shards *s;
 *     shards_open(&s, "data/italian", "train", err);
 *     shards_read(ids, s, first, n, err);             first counts through all shards of the split
 *     shards_close(s);
 *
 * Invariant: the shards of a split, one behind the other, are one array of shards_n_tokens ids.
 */
#ifndef MOE2_IO_SHARDS_H
#define MOE2_IO_SHARDS_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

enum {
    SHARDS_HEADER_BYTES = 64,
    SHARDS_MAX_FILES = 99999, /* shards of a split: the number in the name has five digits */
    SHARDS_MAX_VOCAB = 1 << 24,
    SHARDS_MAX_MANIFEST_BYTES = 64 << 20,
};

enum shards_split { SHARDS_TRAIN, SHARDS_VALIDATION, SHARDS_TEST, SHARDS_N_SPLITS };

/* "train", "validation", "test". */
extern const char *const shards_split_names[SHARDS_N_SPLITS];

/* ---- reading ---- */

struct shards;

/* Maps all shards of a split ("train", "validation" or "test") of the folder dir and checks
 * headers, sizes, document starts and agreement with the manifest; ids are checked as they are
 * read. A split may be empty. The result is the caller's. Errors: MOE2_EIO, MOE2_EFORMAT (not a
 * packed folder, a broken or cut-off file), MOE2_ECONFIG (no such split). Reading is safe from any
 * number of threads. */
int shards_open(struct shards **out, const char *dir, const char *split, struct err *err);
void shards_close(struct shards *s); /* NULL is fine */

/* Ids [first, first + n) of the split into out [n]; the range lies inside (asserted). MOE2_EFORMAT
 * for an id that is not below the vocabulary's size, naming the file and the place. */
int shards_read(int32_t *out, const struct shards *s, int64_t first, int64_t n, struct err *err);

int64_t shards_n_tokens(const struct shards *s);
int64_t shards_n_documents(const struct shards *s);
int64_t shards_n_text_bytes(const struct shards *s); /* of UTF-8, without separators */

/* The token at which document i begins; i = n_documents gives n_tokens. */
int64_t shards_document(const struct shards *s, int64_t i);

int32_t shards_vocab_size(const struct shards *s);
int32_t shards_eos_id(const struct shards *s);
int32_t shards_bos_id(const struct shards *s); /* −1: none */

/* "bytes", or the path of the folder with the tokenizer's copy. */
const char *shards_tokenizer(const struct shards *s);

/* The path of the split's cleaned text, or NULL (train has none). */
const char *shards_text_path(const struct shards *s);

/* ---- the manifest ---- */

struct shards_file {
    char name[32]; /* "train-00000.bin" */
    int64_t n_tokens, n_documents, n_text_bytes;
};

struct shards_part {
    struct shards_file *files; /* owned by the manifest */
    int64_t n_files;
    int64_t n_tokens, n_documents, n_text_bytes; /* sums */
};

struct shards_manifest {
    char tokenizer[16];   /* "bytes", or "tokenizer": the folder beside the manifest */
    uint64_t fingerprint; /* of the tokenizer; 0 when not known */
    int32_t vocab_size, eos_id, bos_id;
    int id_bytes;
    int64_t seed;
    struct shards_part splits[SHARDS_N_SPLITS];
    json_t *more; /* owned, or NULL: further keys (options, sources, kept, dropped) */
};

/* Reads and checks dir/manifest.json. The result is the caller's, released by
 * shards_manifest_release, which accepts a zeroed one. MOE2_EIO, MOE2_EFORMAT. */
int shards_manifest_read(struct shards_manifest *out, const char *dir, struct err *err);
int shards_manifest_parse(struct shards_manifest *out, const char *name, const void *bytes,
                          size_t n, struct err *err);
void shards_manifest_release(struct shards_manifest *m);

/* Writes dir/manifest.json atomically. */
int shards_manifest_write(const char *dir, const struct shards_manifest *m, struct err *err);

/* ---- one shard ---- */

struct shard_view {
    const uint8_t *ids; /* borrowed from the bytes */
    const uint8_t *starts;
    int id_bytes;
    int64_t n_tokens, n_documents, n_text_bytes;
};

/* Checks n bytes (name stands in messages) and points into them. MOE2_EFORMAT. */
int shard_parse(struct shard_view *out, const char *name, const uint8_t *bytes, size_t n,
                struct err *err);

/* ---- writing ---- */

struct shards_writer;

/* Writes the shards of one split into dir, each atomically and closed before a document would make
 * it longer than max_tokens. id_bytes is 2 or 4. Memory: 8 bytes a document of the open shard. */
int shards_writer_new(struct shards_writer **out, const char *dir, enum shards_split split,
                      int id_bytes, int64_t max_tokens, struct err *err);

/* One document: n ids (n ≥ 1, the last is EOS, by the caller) that stand for n_text_bytes of text.
 * MOE2_EIO; MOE2_ELIMIT after SHARDS_MAX_FILES; an id that id_bytes can't hold is asserted. */
int shards_writer_put(struct shards_writer *w, const int32_t *ids, int64_t n, int64_t n_text_bytes,
                      struct err *err);

/* Closes the open shard and gives the list of all, for a manifest, which then owns it. Frees the
 * writer, whatever came out. */
int shards_writer_commit(struct shards_part *out, struct shards_writer *w, struct err *err);

/* Frees the writer and removes the open shard; closed ones stay. NULL is fine. */
void shards_writer_abort(struct shards_writer *w);

#endif
