/* Checkpoints: a folder that goes on where it was left.
 *
 *     config.json, model.safetensors   as Hugging Face lays them out, float32, DeepSeek-V3's own bias
 *                                      unfolded
 *     adapter_config.json, adapter_model.safetensors   in their place where adapters trained
 *     router_state.safetensors         the routers' configuration and state
 *     optimizer.safetensors            AdamW's moments and step count
 *     measures.safetensors             sums that measures over the whole of training need
 *     train_state.json                 step, place in the data, seed, best evaluation so far, and the
 *                                      run's configuration
 *     tokenizer.json, …                what the run's tokenizer came with, if it came with files
 *
 * All random numbers of a run are functions of (seed, step, place): so seed, step and place are its
 * whole random state, and a resumed run has the bits of one that never stopped. A folder is
 * replaced as a whole (folder.h).
 */
#ifndef MOE2_TRAIN_CHECKPOINT_H
#define MOE2_TRAIN_CHECKPOINT_H

#include "base/buf.h"
#include "model/decoder.h"
#include "train/measures.h"
#include "train/optimizer.h"

struct evaluation {
    int64_t step;
    double loss; /* nats a token; infinity: none yet */
    double bits_per_byte;
};

struct train_state {
    int64_t step;              /* optimizer steps done */
    int64_t samples;           /* windows read: the next one's number */
    int64_t tokens;            /* targets scored */
    double seconds;            /* spent in steps */
    double loss;               /* of the last step, nats a token */
    double joules;             /* of all steps, by NVML; NaN: not metered */
    int64_t peak_device_bytes; /* on a device of its own memory, 0 otherwise */
    int64_t peak_rss_bytes;    /* largest so far, of all processes that took part */
    uint64_t seed;
    struct evaluation best;
};

enum { CHECKPOINT_MAX_STATE_BYTES = 1 << 22 };

/* What a checkpoint is made of. */
struct checkpoint_parts {
    struct decoder *dec;
    const struct optimizer *opt;
    const struct measures *measures;
    const struct train_state *state;
    const char *config;    /* the run's configuration as text */
    const char *tokenizer; /* a folder or file whose tokenizer files are copied in, or NULL */
    const char *base;      /* of adapters, for adapter_config.json */
};

/* Writes a checkpoint in place of dir. Errors leave what was there. */
int checkpoint_save(const char *dir, const struct checkpoint_parts *parts, struct err *err);

/* Copies tokenizer.json and what may lie beside it, where it is there, from a folder (or the file
 * itself) into to_dir, so that others can open the checkpoint with their own tools. */
int checkpoint_copy_tokenizer(const char *to_dir, const char *from, struct err *err);

/* Makes dir the same checkpoint as from, sharing its files. */
int checkpoint_copy(const char *dir, const char *from, struct err *err);

/* A run that was killed between writing last, which says that it is the best so far, and making best
 * the same: makes it so. Nothing else is changed. */
int checkpoint_mend_best(const char *best, const char *last, struct err *err);

/* Whether there is a checkpoint to go on from. Only looks: who trains there calls folder_recover first. */
bool checkpoint_exists(const char *dir);

/* Reads train_state.json. config (may be NULL) is appended to. */
int checkpoint_read_state(struct train_state *state, struct buf *config, const char *dir,
                          struct err *err);

/* The optimizer's part and the measures'; the model's and the routers' is decoder_open(dir). */
int checkpoint_read_optimizer(struct optimizer *opt, const char *dir, struct err *err);
int checkpoint_read_measures(struct measures *m, const char *dir, struct err *err);

#endif
