/* Sentence encoders: token ids to vectors of length 1.
 *
 *     struct encoder *e = NULL;
 *     encoder_open(&e, "models/all-MiniLM-L6-v2", dev, &(struct encoder_options){0}, err);
 *     encoder_forward(out, e, ids, offset, B, err);         out [B, hidden_size]
 *     encoder_close(e);
 *
 * Texts of one batch lie one behind the other, text b at ids offset[b] … offset[b+1]−1, with the special tokens of its tokenizer:
 * nothing is padded, so nothing is wasted and no text changes its neighbours' vectors.
 *
 * The matrices are packed once when the folder is opened; the embedding of tokens stays in the mapped file, of which only the
 * rows that are used are ever read. So an encoder takes the memory of its layers and little more. Looking up and adding up a token's
 * embeddings and bringing a vector to length 1 is the host's, all between is the device's.
 */
#ifndef MOE2_MODEL_ENCODER_H
#define MOE2_MODEL_ENCODER_H

#include "base/log.h"
#include "kernels/kernels.h"
#include "model/encoder_config.h"

struct encoder_options {
    enum dtype compute; /* DT_F32, or DT_BF16: products with both operands rounded to bf16 */
    int64_t max_tokens; /* of a batch; 0: 4096. At least max_seq_length is taken */
    bool
        keep_rows; /* the last layer does all rows where the first alone makes the vector: for encoder_hidden */
};

struct encoder;

/* Opens a folder (encoder_config.h). dev is borrowed until encoder_close and used by nobody else meanwhile. log may be NULL. Errors:
 * those of encoder_config_read; MOE2_EFORMAT naming tensors that are missing, unknown or of another shape; MOE2_ENUMERIC for a NaN or
 * an infinity in one; MOE2_ELIMIT. */
int encoder_open(struct encoder **out, const char *dir, struct device *dev,
                 const struct encoder_options *options, const struct log_sink *log,
                 struct err *err);
void encoder_close(struct encoder *e); /* NULL is fine */

const struct encoder_config *encoder_config(const struct encoder *e);

/* The folder of its weights and tokenizer, which modules.json may have put below the one that was opened. */
const char *encoder_dir(const struct encoder *e);

/* A number that differs between encoders that give different vectors: out of the configuration, the names and shapes of all tensors
 * and the first bytes of each. */
uint64_t encoder_fingerprint(const struct encoder *e);

int64_t encoder_max_tokens(const struct encoder *e);

/* Vectors of B texts into out [B, hidden_size], host memory. offset[0] = 0; offset[B] ≤ encoder_max_tokens; a text has
 * 1 … max_seq_length ids (all three asserted); one without ids gets zeros. MOE2_EFORMAT for an id outside the vocabulary, naming it. */
int encoder_forward(float *out, struct encoder *e, const int32_t *ids, const int32_t *offset,
                    int64_t B, struct err *err);

/* The last layer's rows of the last batch [offset[B], hidden_size], device memory, borrowed until the next forward: for tests. With
 * pooling by the first token only after keep_rows. */
const float *encoder_hidden(const struct encoder *e);

/* Multiply-adds times two of a text of n tokens: what its time is judged by. */
double encoder_flops(const struct encoder_config *config, int64_t n);

#endif
