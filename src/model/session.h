/* A model that answers: packed weights and what it keeps of the tokens it has read, for generation.
 *
 *     session_open(&s, &(struct session_options){.model = "model.gguf", .capacity = 4096}, dev, &err);
 *     session_forward(s, ids, n, logits, 1, &err);         reads n more tokens; logits behind the last
 *     session_rewind(s, 12);                               forgets all but the first 12
 *     session_free(s);
 *
 * The same numbers as decoder_forward gives, in another order of work: weights are packed once when
 * the model is opened (kernels.h), keys and values of grouped-query attention, or MLA's latent and
 * its shared rotary key (R + dr numbers a token), are kept, and experts are read only where they are
 * chosen. Forward only, on any device: ids and logits are host memory. Router state does not move. One thread drives a session.
 */
#ifndef MOE2_MODEL_SESSION_H
#define MOE2_MODEL_SESSION_H

#include "base/log.h"
#include "kernels/kernels.h"
#include "model/config.h"

struct session;

struct session_options {
    const char *model; /* whatever source_open takes */
    /* In place of a model: random weights of that configuration, kept in that form where rows are whole groups of it, else in bf16. For
     * measuring: nothing is read, and numbers are only of the size of real ones. */
    const struct model_config *random;
    enum packed_form form;
    int64_t capacity;   /* positions that it can keep; 0: the model's own, at most 4096 */
    int64_t rows;       /* tokens that pass through the layers together; 0: 512 */
    enum dtype compute; /* of float weights and attention, with many rows: DT_F32, or DT_BF16 */
    bool plain_latent;  /* MLA without weight absorption, for tests */
    const struct log_sink *log;
};

/* Reads and packs the model. It belongs to the caller. Errors: those of source_open and of its configuration; MOE2_EFORMAT for a
 * tensor that is missing or has another shape; MOE2_ELIMIT. */
int session_open(struct session **out, const struct session_options *o, struct device *dev,
                 struct err *err);
void session_free(struct session *s); /* NULL is fine */

const struct model_config *session_config(const struct session *s);
int64_t session_length(const struct session *s); /* tokens kept */
int64_t session_capacity(const struct session *s);

/* Reads n tokens behind those that are kept. logits [n_last, V] (host, may be NULL with n_last 0) are those of the last n_last ≤ n
 * of them. Errors: MOE2_ECONFIG for an id outside the vocabulary or more tokens than there is room for; then nothing is kept. */
int session_forward(struct session *s, const int32_t *ids, int64_t n, float *logits, int64_t n_last,
                    struct err *err);

/* Keeps the first n tokens only, n ≤ session_length. */
void session_rewind(struct session *s, int64_t n);

/* Bytes of the packed weights; of those that one token reads (a mean over the experts); of what is kept a token. */
struct session_bytes {
    int64_t weights, read, kept;
};
struct session_bytes session_bytes(const struct session *s);

#endif
