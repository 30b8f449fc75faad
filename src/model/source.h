/* A model's weights and configuration, whatever file holds them.
 *
 *     struct source *s;
 *     source_open(&s, "SmolLM2-135M-Instruct.Q4_1.gguf", err);
 *     const struct source_tensor *t = source_find(s, "model.layers.0.self_attn.q_proj.weight");
 *     source_read(out, t, 0, t->n_elements, err);                    float32
 *     source_close(s);
 *
 * What opens: a safetensors folder (F32, F16, BF16; FP8 with scales of 128 × 128 tiles; bitsandbytes'
 * NF4 layers), a .gguf file (architectures llama, qwen2, qwen3, deepseek2), llama2.c's .bin.
 * Tensors have the names, shapes and row order of Hugging Face's checkpoints, however they are
 * stored: rows that GGUF permutes are read in their place, stacked experts are one tensor each,
 * attn_k_b and attn_v_b are one kv_b_proj. Files stay mapped; nothing is decoded before it is read.
 */
#ifndef MOE2_MODEL_SOURCE_H
#define MOE2_MODEL_SOURCE_H

#include "base/buf.h"
#include "model/config.h"
#include "tensor/block.h"
#include "tensor/fp8.h"
#include "tensor/nf4.h"

struct gguf;
struct source;

enum stored_kind {
    STORED_PLAIN,  /* dtype, a number after the other */
    STORED_BLOCKS, /* block */
    STORED_NF4,    /* nf4 */
    STORED_FP8,    /* fp8 */
    STORED_JOINED, /* out of several of the file's tensors; only source_read reads it */
    STORED_RANDOM, /* in no file: made when it is read */
};

enum { SOURCE_MAX_DIMS = 4 };

struct source_tensor {
    const char *name;   /* Hugging Face's */
    const char *stored; /* "BF16", "Q4_K", "NF4", "FP8": for tables and messages */
    enum stored_kind kind;
    enum dtype dtype; /* of PLAIN; of JOINED one that holds its numbers */
    enum block_type block;
    int n_dims;
    int64_t shape[SOURCE_MAX_DIMS], n_elements;
    /* The stored bytes of a PLAIN or BLOCKS tensor, of any alignment, row after row of row_bytes
     * bytes; NULL for the others. Where head_rows is not 0, the rows of each head of that many lie
     * in GGUF's order: row r is row source_stored_row(t, r). */
    const uint8_t *bytes;
    int64_t n_bytes, row_bytes; /* n_bytes: all that it takes in the file, scales included */
    int64_t head_rows;
    struct nf4 nf4; /* of STORED_NF4, STORED_FP8; arrays aligned, borrowed until source_close */
    struct fp8 fp8;
    const struct source_joined *joined;
    const struct source_random *random;
    int64_t param_idx; /* of STORED_RANDOM */
    const char *file;  /* for messages */
};

/* Opens path; what it is, its bytes say. The configuration is read when it is asked for. The result
 * is the caller's; any number of threads may read it. Errors: MOE2_EIO; MOE2_EFORMAT with what was
 * seen and what was wanted; MOE2_ELIMIT. */
int source_open(struct source **out, const char *path, struct err *err);
void source_close(struct source *s); /* NULL is fine */

/* A source of no file: the random weights of a configuration (copied) that model_init_random would
 * write, as float32. */
int source_open_random(struct source **out, const struct model_config *config, uint64_t seed,
                       struct err *err);

/* Whether path is a single file that source_open understands (.gguf, llama2.c's .bin). */
bool source_is_file(const char *path);

const char *source_path(const struct source *s);
const char *source_format(const struct source *s);      /* "safetensors", "gguf", "llama2.c" */
const struct gguf *source_gguf(const struct source *s); /* borrowed; NULL: no GGUF file */

/* The text of its config.json: the folder's own, or made from the file's metadata; and the same
 * parsed. */
int source_config_text(struct buf *out, const struct source *s, struct err *err);
int source_config(struct model_config *out, const struct source *s, struct err *err);

/* Whether the weights of the products of the model at path are stored in 16 bits or less, so that rounding the other operand to bf16
 * costs little. What doesn't open: false. */
bool source_is_narrow(const char *path);

/* The same of a single file, opened for this alone. */
int source_file_config(struct model_config *out, const char *path, struct err *err);

int64_t source_count(const struct source *s);
const struct source_tensor *source_at(const struct source *s, int64_t i);
const struct source_tensor *source_find(const struct source *s, const char *name); /* or NULL */
int64_t source_total_bytes(const struct source *s);                                /* stored */

/* What was read of t is held in another form now: the pages of its file may go; reading it again is
 * fine. */
void source_let_go(const struct source_tensor *t);

/* A STORED_RANDOM matrix in NF4, codes [(n_elements + 1) / 2] and absmax [blocks of NF4_BLOCK_SIZE]: the
 * levels are quantiles of the normal distribution, so that codes drawn evenly are normal numbers, and
 * 16 billion of them are there in seconds. They depend on seed and name only, and are not those that
 * source_read gives; every block has the absmax that makes the configuration's deviation. */
void source_draw_nf4(uint8_t *codes, float *absmax, const struct source_tensor *t);

/* Elements [first, first + n) of t in Hugging Face's order as float32. MOE2_EFORMAT for a type that
 * moe2 can't read. Asserts that the range lies inside. */
int source_read(float *out, const struct source_tensor *t, int64_t first, int64_t n,
                struct err *err);

/* Where row r lies among the stored rows of a tensor that has bytes. */
static inline int64_t source_stored_row(const struct source_tensor *t, int64_t row)
{
    if (!t->head_rows)
        return row;
    int64_t half = t->head_rows / 2, head = row / t->head_rows, in = row % t->head_rows;
    return head * t->head_rows + 2 * (in % half) + in / half;
}

/* The stored bytes of row r of such a tensor. */
static inline const uint8_t *source_row(const struct source_tensor *t, int64_t row)
{
    return t->bytes + source_stored_row(t, row) * t->row_bytes;
}

/* All stored bytes in Hugging Face's order, to out of n rows · row_bytes. */
void source_copy(void *out, const struct source_tensor *t);

#endif
