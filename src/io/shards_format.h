/* What the reader and the writer of packed text must agree on; the format itself is in shards.h. */
#ifndef MOE2_IO_SHARDS_FORMAT_H
#define MOE2_IO_SHARDS_FORMAT_H

#define SHARDS_MAGIC "MOE2TOK1"
#define SHARDS_MANIFEST_FORMAT "moe2 packed text"

enum { SHARDS_VERSION = 1 };

#endif
