/* The manifest of the step runner: what was done, by which key, and what it made.
 *
 *     {"format": "moe2 pipeline", "version": 1, "note": "…" or null, "steps": {"corpus": {"key": "32 hex digits",
 *      "finished": "2026-01-31T12:00:00Z", "seconds": 1.5, "said": "…", "outputs": [{"path", "hash", "bytes"}]}}}
 *
 * A manifest that is not there is an empty one.
 */
#ifndef MOE2_PIPELINE_STEPS_MANIFEST_H
#define MOE2_PIPELINE_STEPS_MANIFEST_H

#include "base/arena.h"
#include "pipeline/file_hash.h"

struct steps_output {
    const char *path;
    struct file_hash hash;
    int64_t n_bytes;
};

struct steps_entry {
    const char *name, *said; /* said NULL: nothing */
    struct file_hash key;
    double seconds;
    int64_t finished; /* seconds since 1970 */
    struct steps_output *outputs;
    int n_outputs;
};

enum { STEPS_MANIFEST_MAX = 256 };

struct steps_manifest {
    struct steps_entry entries[STEPS_MANIFEST_MAX];
    int n;
    struct arena arena; /* owns all texts and lists above */
};

/* Reads into a zeroed manifest; the caller releases it, also after an error. MOE2_EFORMAT for a file that is no manifest. */
int steps_manifest_read(struct steps_manifest *m, const char *path, struct err *err);
void steps_manifest_release(struct steps_manifest *m);

const struct steps_entry *steps_manifest_find(const struct steps_manifest *m, const char *name);
const struct steps_output *steps_entry_output(const struct steps_entry *e, const char *path);

/* Replaces or appends a copy of the entry. */
int steps_manifest_set(struct steps_manifest *m, const struct steps_entry *e, struct err *err);

/* Writes it as a whole; makes the folder. */
int steps_manifest_write(const struct steps_manifest *m, const char *path, const char *note,
                         struct err *err);

#endif
