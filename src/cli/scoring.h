/* What perplexity and route share: a model folder, its tokenizer, and text files as ids. */
#ifndef MOE2_CLI_SCORING_H
#define MOE2_CLI_SCORING_H

#include "cli/device_flags.h"
#include "eval/perplexity.h"

enum { SCORING_WINDOW = 2048 }; /* unless --window says more: attention's work grows with it */

#define SCORING_UNSAID INT64_MIN /* a --window or --stride that nobody gave */
#define SCORING_INIT                                                                               \
    {                                                                                              \
        .window = SCORING_UNSAID, .stride = SCORING_UNSAID                                         \
    }

struct scoring {                                         /* begins as SCORING_INIT */
    const char *model, *adapter, *text, *tokenizer_path; /* from the flags */
    struct device_flags device;
    int64_t window, stride, threads;
    bool bf16, json;
    struct device *dev;
    struct decoder *dec;
    struct tokenizer *tokenizer;
    struct perplexity_options options;
};

#define SCORING_FLAGS(s)                                                                           \
    {"--model", FLAG_TEXT, &(s)->model, true}, {"--text", FLAG_TEXT, &(s)->text, true},            \
        {"--tokenizer", FLAG_TEXT, &(s)->tokenizer_path, false},                                   \
        {"--adapter", FLAG_TEXT, &(s)->adapter, false},                                            \
        {"--window", FLAG_INT, &(s)->window, false}, DEVICE_FLAGS(&(s)->device),                   \
        {"--threads", FLAG_INT, &(s)->threads, false}, {"--bf16", FLAG_BOOL, &(s)->bf16, false},   \
    {                                                                                              \
        "--json", FLAG_BOOL, &(s)->json, false                                                     \
    }

#define SCORING_HELP                                                                               \
    "  --model DIR      a checkpoint folder; a router_state.safetensors in it is used\n"           \
    "  --adapter DIR    with the adapters of this folder (PEFT's layout) on it\n"                  \
    "  --tokenizer T    a tokenizer.json, its folder, or bytes; without it the model folder's\n"   \
    "  --window W       tokens seen at once: max_position_embeddings and at most 2,048 unless "    \
    "said\n"                                                                                       \
    "  --bf16           products in bf16 instead of float32\n" DEVICE_FLAGS_HELP                   \
    "  --threads N      0: every core this process may use\n"                                      \
    "  --json           one JSON object on standard output\n"

/* Opens device, model and tokenizer, and fills the options: window and stride, prefix (BOS, else
 * EOS, of the tokenizer, else of config.json). */
int scoring_open(struct scoring *s, struct err *err);
void scoring_close(struct scoring *s); /* a zeroed one is fine */

/* The ids of a text file, to be released by the caller, and its size. */
int scoring_read(struct ids *ids, int64_t *n_bytes, const struct scoring *s, const char *path,
                 struct err *err);

#endif
