/* llama.cpp as a peer, through its C library (llama.h): what llama-bench measures, what llama-quantize makes, and greedy ids.
 *
 *     llama_peer bench MODEL ROUNDS THREADS PROMPT GENERATED     a line of JSON, tokens/s of every round after a warm-up
 *     llama_peer greedy MODEL THREADS N ID…                       N ids that it goes on with
 *     llama_peer quantize FROM TO FTYPE                           FTYPE: llama.h's number, 2 Q4_0, 7 Q8_0, 15 Q4_K_M
 * Settings are llama-bench's own: batches of 2048 in pieces of 512, keys and values in float16, flash attention as it sees fit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "llama.h"

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void quiet(enum ggml_log_level level, const char *text, void *ctx)
{
    (void)ctx;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

static struct llama_model *model;
static struct llama_context *ctx;
static int n_vocab;

static void open_model(const char *path, int n_threads, int n_ctx)
{
    struct llama_model_params mp = llama_model_default_params();
    struct llama_context_params cp = llama_context_default_params();
    model = llama_model_load_from_file(path, mp);
    cp.n_ctx = (uint32_t)n_ctx;
    cp.n_batch = 2048;
    cp.n_ubatch = 512;
    cp.n_threads = cp.n_threads_batch = n_threads;
    ctx = model ? llama_init_from_model(model, cp) : NULL;
    if (!ctx) {
        fprintf(stderr, "llama_peer: %s can't be opened\n", path);
        exit(1);
    }
    n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
}

static void read_tokens(llama_token *ids, int n)
{
    if (llama_decode(ctx, llama_batch_get_one(ids, n))) {
        fprintf(stderr, "llama_peer: decoding failed\n");
        exit(1);
    }
    llama_synchronize(ctx);
}

static double prompt_round(int n)
{
    llama_token *ids = malloc((size_t)n * sizeof *ids);
    for (int i = 0; i < n; i++)
        ids[i] = rand() % n_vocab;
    llama_memory_clear(llama_get_memory(ctx), false);
    double begun_s = now_s();
    read_tokens(ids, n);
    double per_s = n / (now_s() - begun_s);
    free(ids);
    return per_s;
}

static double decode_round(int n)
{
    llama_memory_clear(llama_get_memory(ctx), false);
    double begun_s = now_s();
    for (int i = 0; i < n; i++) {
        llama_token id = rand() % n_vocab;
        read_tokens(&id, 1);
    }
    return n / (now_s() - begun_s);
}

static int ascending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void rounds(const char *name, double (*round)(int), int n_rounds, int n, const char *end)
{
    double v[100];
    round(n);
    printf("\"%s\": [", name);
    for (int r = 0; r < n_rounds; r++) {
        v[r] = round(n);
        printf("%s%.1f", r ? ", " : "", v[r]);
    }
    qsort(v, (size_t)n_rounds, sizeof *v, ascending);
    printf("], \"%s_median\": %.1f%s", name,
           n_rounds % 2 ? v[n_rounds / 2] : (v[n_rounds / 2 - 1] + v[n_rounds / 2]) / 2, end);
}

static int bench(char **argv)
{
    int n_rounds = atoi(argv[1]), n_prompt = atoi(argv[3]), n_generated = atoi(argv[4]);
    open_model(argv[0], atoi(argv[2]), n_prompt > n_generated ? n_prompt : n_generated);
    printf("{");
    rounds("prompt", prompt_round, n_rounds, n_prompt, ", ");
    rounds("decode", decode_round, n_rounds, n_generated, "}\n");
    return 0;
}

static int greedy(int argc, char **argv)
{
    llama_token ids[512];
    int n = argc - 3, more = atoi(argv[2]);
    open_model(argv[0], atoi(argv[1]), 1024);
    for (int i = 0; i < n; i++)
        ids[i] = atoi(argv[3 + i]);
    read_tokens(ids, n);
    for (int i = 0; i < more; i++) {
        const float *logits = llama_get_logits_ith(ctx, -1);
        llama_token best = 0;
        for (int v = 1; v < n_vocab; v++)
            if (logits[v] > logits[best])
                best = v;
        printf("%s%d", i ? "," : "", best);
        read_tokens(&best, 1);
    }
    puts("");
    return 0;
}

static int quantize(char **argv)
{
    struct llama_model_quantize_params p = llama_model_quantize_default_params();
    p.ftype = (enum llama_ftype)atoi(argv[2]);
    p.allow_requantize = true;
    return llama_model_quantize(argv[0], argv[1], &p) ? 1 : 0;
}

int main(int argc, char **argv)
{
    llama_log_set(quiet, NULL);
    llama_backend_init();
    if (argc == 7 && strcmp(argv[1], "bench") == 0)
        return bench(argv + 2);
    if (argc > 5 && strcmp(argv[1], "greedy") == 0)
        return greedy(argc - 2, argv + 2);
    if (argc == 5 && strcmp(argv[1], "quantize") == 0)
        return quantize(argv + 2);
    fprintf(stderr, "usage: llama_peer bench|greedy|quantize … (see the file)\n");
    return 2;
}
