/* Reading packed text: see shards.h for the format. A shard is mapped and never copied; what a file
 * claims is compared with its size before anything behind the header is looked at. */
#include "io/shards.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/shards_format.h"

const char *const shards_split_names[SHARDS_N_SPLITS] = {"train", "validation", "test"};

static uint32_t get_u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t get_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Magic, version, width of an id, and zeros to the end of the header. */
static int check_header(const char *name, const uint8_t *bytes, size_t n, struct err *err)
{
    if (n < SHARDS_HEADER_BYTES)
        return err_set(err, MOE2_EFORMAT, "%s: has %zu bytes, wanted at least the %d of a header",
                       name, n, SHARDS_HEADER_BYTES);
    if (memcmp(bytes, SHARDS_MAGIC, 8) != 0)
        return err_set(err, MOE2_EFORMAT, "%s: does not begin with \"%s\": not packed text", name,
                       SHARDS_MAGIC);
    if (get_u32(bytes + 8) != SHARDS_VERSION)
        return err_set(err, MOE2_EFORMAT, "%s: is of version %u, wanted %d", name,
                       get_u32(bytes + 8), SHARDS_VERSION);
    uint32_t id_bytes = get_u32(bytes + 12);
    if (id_bytes != 2 && id_bytes != 4)
        return err_set(err, MOE2_EFORMAT, "%s: an id has %u bytes, wanted 2 or 4", name, id_bytes);
    for (int i = 40; i < SHARDS_HEADER_BYTES; i++)
        if (bytes[i])
            return err_set(err, MOE2_EFORMAT, "%s: byte %d of the header is %d, wanted 0", name, i,
                           bytes[i]);
    return 0;
}

/* Documents begin at 0, later ones behind earlier ones, all inside. */
static int check_starts(const struct shard_view *v, const char *name, struct err *err)
{
    uint64_t last = 0;
    for (int64_t i = 0; i < v->n_documents; i++) {
        uint64_t start = get_u64(v->starts + 8 * i);
        if (i == 0 && start != 0)
            return err_set(err, MOE2_EFORMAT,
                           "%s: the first document begins at token %llu, wanted 0", name,
                           (unsigned long long)start);
        if (i > 0 && (start <= last || start >= (uint64_t)v->n_tokens))
            return err_set(
                err, MOE2_EFORMAT,
                "%s: document %lld begins at token %llu, wanted above %llu and below %lld", name,
                (long long)i, (unsigned long long)start, (unsigned long long)last,
                (long long)v->n_tokens);
        last = start;
    }
    return 0;
}

int shard_parse(struct shard_view *out, const char *name, const uint8_t *bytes, size_t n,
                struct err *err)
{
    int rc = check_header(name, bytes, n, err);
    if (rc)
        return rc;
    uint64_t id_bytes = get_u32(bytes + 12), n_tokens = get_u64(bytes + 16);
    uint64_t n_documents = get_u64(bytes + 24), n_text_bytes = get_u64(bytes + 32);
    uint64_t limit = (uint64_t)1 << 56; /* keeps the sums below from wrapping */
    if (n_tokens > limit || n_documents > n_tokens || n_text_bytes > limit)
        return err_set(
            err, MOE2_EFORMAT,
            "%s: claims %llu tokens, %llu documents and %llu bytes of text, which can't be", name,
            (unsigned long long)n_tokens, (unsigned long long)n_documents,
            (unsigned long long)n_text_bytes);
    if (n_tokens > 0 && n_documents == 0)
        return err_set(err, MOE2_EFORMAT, "%s: has %llu tokens but no document", name,
                       (unsigned long long)n_tokens);
    uint64_t ids_end = SHARDS_HEADER_BYTES + (n_tokens * id_bytes + 7) / 8 * 8;
    uint64_t wanted = ids_end + 8 * n_documents;
    if (n != wanted)
        return err_set(err, MOE2_EFORMAT,
                       "%s: has %zu bytes, wanted %llu for %llu tokens in %llu documents%s", name,
                       n, (unsigned long long)wanted, (unsigned long long)n_tokens,
                       (unsigned long long)n_documents, n < wanted ? ": it is cut off" : "");
    struct shard_view v = {
        bytes + SHARDS_HEADER_BYTES, bytes + ids_end,      (int)id_bytes,
        (int64_t)n_tokens,           (int64_t)n_documents, (int64_t)n_text_bytes};
    rc = check_starts(&v, name, err);
    if (!rc)
        *out = v;
    return rc;
}

/* ---- a split ---- */

struct mapped {
    struct file_map map;
    struct shard_view view;
    char *path;
    int64_t first_token, first_document; /* of the split */
};

struct shards {
    struct mapped *files;
    int64_t n_files, n_tokens, n_documents, n_text_bytes;
    int32_t vocab_size, eos_id, bos_id;
    char *tokenizer, *text_path;
};

static int map_file(struct mapped *m, const char *dir, const struct shards_file *wanted,
                    int id_bytes, struct err *err)
{
    m->path = path_join(dir, wanted->name);
    if (!m->path)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for its name", wanted->name);
    int rc = file_map(&m->map, m->path, err);
    if (!rc)
        rc = shard_parse(&m->view, m->path, m->map.bytes, m->map.n_bytes, err);
    if (rc)
        return rc;
    const struct shard_view *v = &m->view;
    if (v->n_tokens != wanted->n_tokens || v->n_documents != wanted->n_documents ||
        v->n_text_bytes != wanted->n_text_bytes || v->id_bytes != id_bytes)
        return err_set(
            err, MOE2_EFORMAT,
            "%s: has %lld ids of %d bytes, %lld documents and %lld bytes of text, wanted "
            "%lld, %d, %lld and %lld as in manifest.json",
            m->path, (long long)v->n_tokens, v->id_bytes, (long long)v->n_documents,
            (long long)v->n_text_bytes, (long long)wanted->n_tokens, id_bytes,
            (long long)wanted->n_documents, (long long)wanted->n_text_bytes);
    return 0;
}

static int open_split(struct shards *s, const char *dir, const struct shards_manifest *m, int split,
                      struct err *err)
{
    const struct shards_part *part = &m->splits[split];
    s->files = calloc((size_t)part->n_files + 1, sizeof *s->files);
    s->tokenizer =
        strcmp(m->tokenizer, "bytes") == 0 ? strdup("bytes") : path_join(dir, m->tokenizer);
    if (!s->files || !s->tokenizer)
        return err_set(err, MOE2_ELIMIT, "%s: no memory for %lld shards", dir,
                       (long long)part->n_files);
    for (; s->n_files < part->n_files; s->n_files++) {
        struct mapped *f = &s->files[s->n_files];
        f->first_token = s->n_tokens;
        f->first_document = s->n_documents;
        int rc = map_file(f, dir, &part->files[s->n_files], m->id_bytes, err);
        if (rc) {
            s->n_files++;
            return rc;
        }
        s->n_tokens += f->view.n_tokens;
        s->n_documents += f->view.n_documents;
        s->n_text_bytes += f->view.n_text_bytes;
    }
    s->vocab_size = m->vocab_size;
    s->eos_id = m->eos_id;
    s->bos_id = m->bos_id;
    if (split == SHARDS_TRAIN)
        return 0;
    char name[32];
    snprintf(name, sizeof name, "%s.txt", shards_split_names[split]);
    s->text_path = path_join(dir, name);
    return s->text_path ? 0 : err_set(err, MOE2_ELIMIT, "%s: no memory for its name", dir);
}

int shards_open(struct shards **out, const char *dir, const char *split, struct err *err)
{
    int which = 0;
    while (which < SHARDS_N_SPLITS && strcmp(shards_split_names[which], split) != 0)
        which++;
    if (which == SHARDS_N_SPLITS)
        return err_set(err, MOE2_ECONFIG,
                       "split \"%s\" is unknown, wanted train, validation or test", split);
    struct shards_manifest m = {0};
    struct shards *s = NULL;
    int rc = shards_manifest_read(&m, dir, err);
    if (rc)
        return rc;
    s = calloc(1, sizeof *s);
    rc = s ? open_split(s, dir, &m, which, err)
           : err_set(err, MOE2_ELIMIT, "%s: no memory to open it", dir);
    shards_manifest_release(&m);
    if (rc)
        shards_close(s);
    else
        *out = s;
    return rc;
}

void shards_close(struct shards *s)
{
    if (!s)
        return;
    for (int64_t i = 0; i < s->n_files; i++) {
        file_unmap(&s->files[i].map);
        free(s->files[i].path);
    }
    free(s->files);
    free(s->tokenizer);
    free(s->text_path);
    free(s);
}

/* The last file that begins at or before token first, or document first. */
static int64_t file_of_token(const struct shards *s, int64_t first)
{
    int64_t low = 0, high = s->n_files;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (s->files[middle].first_token <= first)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Widens n ids; the index of the first that is not below the vocabulary's size, or n. */
static int64_t widen(int32_t *out, const struct shard_view *v, int64_t first, int64_t n,
                     uint32_t vocab_size)
{
    uint32_t largest = 0;
    if (v->id_bytes == 2) {
        const uint8_t *from = v->ids + 2 * first;
        for (int64_t i = 0; i < n; i++) {
            uint16_t id;
            memcpy(&id, from + 2 * i, sizeof id);
            out[i] = id;
            largest = id > largest ? id : largest;
        }
    } else {
        memcpy(out, v->ids + 4 * first, 4 * (size_t)n);
        for (int64_t i = 0; i < n; i++)
            largest = (uint32_t)out[i] > largest ? (uint32_t)out[i] : largest;
    }
    if (largest < vocab_size)
        return n;
    int64_t bad = 0;
    while ((uint32_t)out[bad] < vocab_size)
        bad++;
    return bad;
}

int shards_read(int32_t *out, const struct shards *s, int64_t first, int64_t n, struct err *err)
{
    assert(first >= 0 && n >= 0 && first <= s->n_tokens && n <= s->n_tokens - first);
    for (int64_t i = n ? file_of_token(s, first) : 0; n > 0; i++) {
        const struct mapped *f = &s->files[i];
        int64_t inside = first - f->first_token;
        int64_t count = f->view.n_tokens - inside < n ? f->view.n_tokens - inside : n;
        int64_t good = widen(out, &f->view, inside, count, (uint32_t)s->vocab_size);
        if (good < count)
            return err_set(err, MOE2_EFORMAT, "%s: token %lld is %u, wanted below %d", f->path,
                           (long long)(inside + good), (uint32_t)out[good], s->vocab_size);
        out += count;
        first += count;
        n -= count;
    }
    return 0;
}

int64_t shards_document(const struct shards *s, int64_t i)
{
    assert(i >= 0 && i <= s->n_documents);
    if (i == s->n_documents)
        return s->n_tokens;
    int64_t low = 0, high = s->n_files;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (s->files[middle].first_document <= i)
            low = middle;
        else
            high = middle;
    }
    const struct mapped *f = &s->files[low];
    return f->first_token + (int64_t)get_u64(f->view.starts + 8 * (i - f->first_document));
}

int64_t shards_n_tokens(const struct shards *s)
{
    return s->n_tokens;
}

int64_t shards_n_documents(const struct shards *s)
{
    return s->n_documents;
}

int64_t shards_n_text_bytes(const struct shards *s)
{
    return s->n_text_bytes;
}

int32_t shards_vocab_size(const struct shards *s)
{
    return s->vocab_size;
}

int32_t shards_eos_id(const struct shards *s)
{
    return s->eos_id;
}

int32_t shards_bos_id(const struct shards *s)
{
    return s->bos_id;
}

const char *shards_tokenizer(const struct shards *s)
{
    return s->tokenizer;
}

const char *shards_text_path(const struct shards *s)
{
    return s->text_path;
}
