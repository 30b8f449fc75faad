/* Inside the encoder: what encoder.c (the pass) and encoder_weights.c (loading) share. */
#ifndef MOE2_MODEL_ENCODER_PARTS_H
#define MOE2_MODEL_ENCODER_PARTS_H

#include "io/safetensors.h"
#include "model/encoder.h"

struct encoder_layer {
    struct dense_weight qkv, o, up, down;           /* up is gated for GTE */
    float *qkv_bias, *o_bias, *up_bias, *down_bias; /* up_bias NULL for GTE */
    float *attn_norm, *attn_norm_bias, *ffn_norm, *ffn_norm_bias;
};

struct encoder_weights {
    struct safetensors *file;
    /* What the host reads: */
    const struct safetensor *words; /* [vocab_size, D], in the file */
    float *positions;               /* [max_position_embeddings, D], or NULL */
    float *type;                    /* [D]: the row of type 0, which every token gets */
    /* What kernels read: */
    float *norm, *norm_bias;
    float *cos, *sin;      /* [max_seq_length, d/2], or NULL */
    size_t rotation_bytes; /* of each */
    struct encoder_layer *layers;
    /* Two allocations of the device. */
    float *vectors;
    size_t vectors_bytes;
    float *near; /* vectors in the host's memory: the same, or a copy that is owned */
    uint8_t *packed;
    size_t packed_bytes;
};

/* Loads dir. On an error w holds what encoder_weights_release frees. */
int encoder_weights_load(struct encoder_weights *w, const struct encoder_config *config,
                         const char *dir, struct device *dev, enum dtype compute,
                         const struct log_sink *log, struct err *err);
void encoder_weights_release(struct encoder_weights *w, struct device *dev);

#endif
