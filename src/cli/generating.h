/* What generate and chat share: flags, the model with its tokenizer, the way of the text to the terminal. */
#ifndef MOE2_CLI_GENERATING_H
#define MOE2_CLI_GENERATING_H

#include "cli/device_flags.h"
#include "model/generate.h"

struct generating {
    const char *model, *tokenizer_path, *compute, *stop; /* from the flags */
    struct device_flags device;
    int64_t threads, max_tokens, context, seed;
    struct sampling sampling;
    struct device *dev;
    struct session *session;
    struct tokenizer *tok; /* NULL: none was asked for */
    struct sampler *sampler;
};

#define GENERATING_INIT                                                                            \
    {                                                                                              \
        .compute = "auto", .max_tokens = 256, .sampling = sampling_default                         \
    }

#define GENERATING_FLAGS(g)                                                                        \
    {"--model", FLAG_TEXT, &(g)->model, true},                                                     \
        {"--tokenizer", FLAG_TEXT, &(g)->tokenizer_path, false},                                   \
        {"--max-tokens", FLAG_INT, &(g)->max_tokens, false},                                       \
        {"--temperature", FLAG_REAL, &(g)->sampling.temperature, false},                           \
        {"--top-k", FLAG_INT, &(g)->sampling.top_k, false},                                        \
        {"--top-p", FLAG_REAL, &(g)->sampling.top_p, false},                                       \
        {"--min-p", FLAG_REAL, &(g)->sampling.min_p, false},                                       \
        {"--repetition-penalty", FLAG_REAL, &(g)->sampling.repetition_penalty, false},             \
        {"--seed", FLAG_INT, &(g)->seed, false}, {"--stop", FLAG_TEXT, &(g)->stop, false},         \
        {"--context", FLAG_INT, &(g)->context, false},                                             \
        {"--compute", FLAG_TEXT, &(g)->compute, false}, DEVICE_FLAGS(&(g)->device),                \
    {                                                                                              \
        "--threads", FLAG_INT, &(g)->threads, false                                                \
    }

#define GENERATING_HELP                                                                            \
    "  --model M        a checkpoint folder (safetensors, NF4), a .gguf file, llama2.c's .bin\n"   \
    "  --tokenizer T    a tokenizer.json or its folder; without it the model's own\n"              \
    "  --max-tokens N   at most so many (256)\n"                                                   \
    "  --temperature X  0: greedy, the likeliest token always (1)\n"                               \
    "  --top-k N, --top-p X, --min-p X\n"                                                          \
    "                   sample from the N best; from the best that make up X; from those of X "    \
    "times the best one's probability\n"                                                           \
    "  --repetition-penalty X\n"                                                                   \
    "                   makes what was there before less likely (1: no)\n"                         \
    "  --seed N         another seed, another text (0)\n"                                          \
    "  --stop TEXT      ends where this comes up\n"                                                \
    "  --context N      tokens that it can keep (the model's, at most 4096)\n"                     \
    "  --compute C      f32, or bf16 for prompts on CPUs with units for it; auto takes bf16 "      \
    "where "                                                                                       \
    "weights are stored in 16 bits\n" DEVICE_FLAGS_HELP                                            \
    "  --threads N      0: every core this process may use\n"

/* Opens device, model, sampler and, where asked, the tokenizer; the sampler keeps to its vocabulary. The caller closes it, whatever
 * came out. */
int generating_open(struct generating *g, bool with_tokenizer, struct err *err);
void generating_close(struct generating *g);

/* A generator of all that: it shows text on standard output if show, and ends at the model's end tokens. */
void generating_setup(struct generating *g, struct generator *out, bool show);

/* Appends the ids of a text that is to be gone on from, with what the tokenizer puts before one. */
int generating_prompt(struct ids *out, const struct generating *g, const char *text,
                      struct err *err);

/* "prompt 512 tokens, 1,234.5 tokens/s; …" to stderr. */
void generating_report(const struct generated *r);

#endif
