/* A model written in another form: a source's tensors, one after the other, as a safetensors folder (F32,
 * F16, BF16, or bitsandbytes' NF4) or a GGUF file (F32, F16, BF16, Q8_0, Q4_0), with configuration,
 * tokenizer and chat template.
 *
 * A piece of a tensor is in memory at a time; for NF4 one tensor's codes. Nothing appears at the
 * target before all of it is there. With a folder for parts every tensor that is done is kept there,
 * so that a run that was killed goes on where it stopped; the folder goes when the model is whole.
 */
#ifndef MOE2_QUANT_MODEL_WRITE_H
#define MOE2_QUANT_MODEL_WRITE_H

#include "base/log.h"
#include "model/source.h"

enum weight_type {
    WEIGHT_KEEP, /* what the source has; float16 for what is quantised there */
    WEIGHT_F32,
    WEIGHT_F16,
    WEIGHT_BF16,
    WEIGHT_Q8_0,
    WEIGHT_Q4_0,
    WEIGHT_NF4,
    WEIGHT_N_TYPES
};

/* "f32", "q8_0", …; or −1. */
int weight_type_from_name(const char *name);
extern const char *const weight_type_names[WEIGHT_N_TYPES];

/* What became of a tensor. */
struct tensor_report {
    char name[160];
    const char *from, *to; /* "BF16", "Q8_0" */
    int64_t n, bytes_from, bytes_to;
    double error; /* root of Σ(x̂ − x)² / Σx² */
};

struct write_report {
    struct tensor_report *v; /* owned; free */
    int64_t n, capacity;
};

struct model_write_options {
    enum weight_type type;
    bool keep_parts; /* OUT.parts holds what is done */
    const struct log_sink *log;
    struct write_report *report; /* or NULL */
};

/* Writes out: a GGUF file where the name ends in .gguf, otherwise a folder, made if need be. Errors:
 * MOE2_ECONFIG for a type that the form doesn't have; MOE2_EFORMAT for a tensor that has no place in
 * it or a number that the type can't hold; MOE2_EIO, MOE2_ELIMIT. */
int model_write(const char *out, const struct source *s, const struct model_write_options *options,
                struct err *err);

#endif
