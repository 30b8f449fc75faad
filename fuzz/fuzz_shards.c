/* Packed text from a stranger: a shard, or a manifest, of any bytes. The first byte chooses. */
#include <stdint.h>

#include "io/shards.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct err err = {0};
    if (n && bytes[0] == 's') {
        /* The writer's files are aligned by the map; a copy at offset 1 is not, and must do too. */
        struct shard_view v;
        if (!shard_parse(&v, "shard", bytes + 1, n - 1, &err)) {
            uint64_t sum = 0;
            for (int64_t i = 0; i < v.n_tokens * v.id_bytes; i++)
                sum += v.ids[i];
            for (int64_t i = 0; i < 8 * v.n_documents; i++)
                sum += v.starts[i];
            *(volatile uint64_t *)&sum = sum;
        }
        return 0;
    }
    struct shards_manifest m;
    if (!shards_manifest_parse(&m, "manifest.json", bytes, n, &err))
        shards_manifest_release(&m);
    return 0;
}
