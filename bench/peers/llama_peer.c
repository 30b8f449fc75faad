/* llama.cpp as a peer, through its C library (llama.h): what llama-bench measures, what llama-quantize makes, greedy ids, logits and
 * perplexity. Made by llama.sh.
 *
 *     llama_peer bench MODEL ROUNDS THREADS PROMPT GENERATED     a line of JSON, tokens/s of every round after a warm-up
 *     llama_peer greedy MODEL THREADS N ID…                       N ids that it goes on with
 *     llama_peer quantize FROM TO FTYPE                           FTYPE: llama.h's number, 2 Q4_0, 7 Q8_0, 15 Q4_K_M
 *     llama_peer beside MODEL THREADS OURS.npy ID…                its logits of these ids beside ours [ids, vocabulary], as moe2 logits
 *         writes them: relative error (root of Σ(a − b)² / Σb²) of the median and of the worst token, tokens of the same best id
 *     llama_peer perplexity MODEL THREADS WINDOW                  of the ids on standard input, in windows as moe2 perplexity cuts them
 *     llama_peer same A.gguf B.gguf                               whether every tensor has the same type and bytes in both
 * Settings are llama-bench's own: batches of 2048 in pieces of 512, keys and values in float16, flash attention as it sees fit; greedy and
 * beside have them in float32.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gguf.h"
#include "llama.h"

enum { MAX_IDS = 1024 };

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

static void fail(const char *what, const char *path)
{
    fprintf(stderr, "llama_peer: %s %s\n", path, what);
    exit(1);
}

static struct llama_model *model;
static struct llama_context *ctx;
static int n_vocab;

/* precise: keys, values and attention in float32. */
static void open_model(const char *path, int n_threads, int n_ctx, bool precise)
{
    struct llama_model_params mp = llama_model_default_params();
    struct llama_context_params cp = llama_context_default_params();
    model = llama_model_load_from_file(path, mp);
    cp.n_ctx = (uint32_t)n_ctx;
    cp.n_batch = 2048;
    cp.n_ubatch = 512;
    cp.n_threads = cp.n_threads_batch = n_threads;
    if (precise) {
        cp.type_k = cp.type_v = GGML_TYPE_F32;
        cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    }
    ctx = model ? llama_init_from_model(model, cp) : NULL;
    if (!ctx)
        fail("can't be opened", path);
    n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
}

static void read_tokens(llama_token *ids, int n)
{
    if (llama_decode(ctx, llama_batch_get_one(ids, n)))
        fail("decoding failed", "");
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
    open_model(argv[0], atoi(argv[2]), n_prompt > n_generated ? n_prompt : n_generated, false);
    printf("{");
    rounds("prompt", prompt_round, n_rounds, n_prompt, ", ");
    rounds("decode", decode_round, n_rounds, n_generated, "}\n");
    return 0;
}

static llama_token best_of(const float *logits)
{
    llama_token best = 0;
    for (int v = 1; v < n_vocab; v++)
        if (logits[v] > logits[best])
            best = v;
    return best;
}

static int greedy(int argc, char **argv)
{
    llama_token ids[MAX_IDS] = {0};
    int n = argc - 3, more = atoi(argv[2]);
    open_model(argv[0], atoi(argv[1]), 2 * MAX_IDS, true);
    for (int i = 0; i < n; i++)
        ids[i] = atoi(argv[3 + i]);
    read_tokens(ids, n);
    for (int i = 0; i < more; i++) {
        llama_token best = best_of(llama_get_logits_ith(ctx, -1));
        printf("%s%d", i ? "," : "", best);
        read_tokens(&best, 1);
    }
    puts("");
    return 0;
}

/* The ids from an empty memory, logits of each kept: llama_get_logits_ith. */
static void read_all(const llama_token *ids, int n)
{
    struct llama_batch b = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; i++) {
        b.token[i] = ids[i];
        b.pos[i] = i;
        b.n_seq_id[i] = 1;
        b.seq_id[i][0] = 0;
        b.logits[i] = 1;
    }
    b.n_tokens = n;
    llama_memory_clear(llama_get_memory(ctx), false);
    if (llama_decode(ctx, b))
        fail("decoding failed", "");
    llama_batch_free(b);
}

/* The numbers of a NumPy file of float32. */
static float *read_npy(const char *path, size_t n)
{
    unsigned char head[10];
    float *v = malloc(n * sizeof *v);
    FILE *f = fopen(path, "rb");
    if (!f || fread(head, 1, 10, f) != 10 || fseek(f, 10 + head[8] + 256 * head[9], SEEK_SET) ||
        fread(v, sizeof *v, n, f) != n || fgetc(f) != EOF)
        fail("has not a float32 for each id and token", path);
    fclose(f);
    return v;
}

static double relative_error(const float *a, const float *b)
{
    double off = 0, all = 0;
    for (int v = 0; v < n_vocab; v++) {
        off += ((double)a[v] - b[v]) * ((double)a[v] - b[v]);
        all += (double)b[v] * b[v];
    }
    return sqrt(off / all);
}

static int beside(int argc, char **argv)
{
    llama_token ids[MAX_IDS] = {0};
    double errors[MAX_IDS];
    int n = argc - 3, same = 0;
    open_model(argv[0], atoi(argv[1]), MAX_IDS, true);
    float *ours = read_npy(argv[2], (size_t)n * n_vocab);
    for (int i = 0; i < n; i++)
        ids[i] = atoi(argv[3 + i]);
    read_all(ids, n);
    for (int i = 0; i < n; i++) {
        const float *theirs = llama_get_logits_ith(ctx, i), *mine = ours + (size_t)i * n_vocab;
        errors[i] = relative_error(mine, theirs);
        same += best_of(mine) == best_of(theirs);
    }
    qsort(errors, (size_t)n, sizeof *errors, ascending);
    printf("median %.6f worst %.6f same %d of %d\n", errors[n / 2], errors[n - 1], same, n);
    free(ours);
    return 0;
}

/* −ln p of an id. */
static double surprise(const float *logits, llama_token id)
{
    double sum = 0, top = logits[best_of(logits)];
    for (int v = 0; v < n_vocab; v++)
        sum += exp(logits[v] - top);
    return log(sum) + top - logits[id];
}

static int perplexity(char **argv)
{
    int window = atoi(argv[2]), n = 1;
    llama_token *ids = malloc(((size_t)window + 1) * sizeof *ids);
    double nll = 0;
    long scored = 0;
    open_model(argv[0], atoi(argv[1]), window, false);
    int more = scanf("%d,", ids) == 1;
    while (more) {
        for (n = 1; n <= window && (more = scanf("%d,", ids + n) == 1);)
            n++;
        if (n < 2)
            break;
        read_all(ids, n - 1);
        for (int i = 0; i < n - 1; i++)
            nll += surprise(llama_get_logits_ith(ctx, i), ids[i + 1]);
        scored += n - 1;
        ids[0] = ids[n - 1];
    }
    printf("{\"tokens\": %ld, \"nll\": %.4f, \"ppl\": %.4f}\n", scored, nll, exp(nll / scored));
    free(ids);
    return 0;
}

static int quantize(char **argv)
{
    struct llama_model_quantize_params p = llama_model_quantize_default_params();
    p.ftype = (enum llama_ftype)atoi(argv[2]);
    p.allow_requantize = true;
    return llama_model_quantize(argv[0], argv[1], &p) ? 1 : 0;
}

static void *read_tensor(const struct gguf_context *g, const char *path, int64_t i)
{
    size_t n = gguf_get_tensor_size(g, i);
    char *bytes = malloc(n);
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, (long)(gguf_get_data_offset(g) + gguf_get_tensor_offset(g, i)), SEEK_SET) ||
        fread(bytes, 1, n, f) != n)
        fail("can't be read", path);
    fclose(f);
    return bytes;
}

static int same(char **paths)
{
    struct gguf_init_params p = {.no_alloc = true};
    struct gguf_context *a = gguf_init_from_file(paths[0], p),
                        *b = gguf_init_from_file(paths[1], p);
    int differ = 0;
    if (!a || !b)
        fail("can't be opened", paths[a ? 1 : 0]);
    int64_t n = gguf_get_n_tensors(a);
    for (int64_t i = 0; i < n; i++) {
        int64_t j = gguf_find_tensor(b, gguf_get_tensor_name(a, i));
        if (j < 0 || gguf_get_tensor_type(a, i) != gguf_get_tensor_type(b, j) ||
            gguf_get_tensor_size(a, i) != gguf_get_tensor_size(b, j)) {
            differ++;
            continue;
        }
        void *x = read_tensor(a, paths[0], i), *y = read_tensor(b, paths[1], j);
        differ += memcmp(x, y, gguf_get_tensor_size(a, i)) != 0;
        free(x);
        free(y);
    }
    printf("%d of %lld tensors differ\n", differ, (long long)n);
    return differ || gguf_get_n_tensors(b) != n;
}

int main(int argc, char **argv)
{
    llama_log_set(quiet, NULL);
    llama_backend_init();
    if (argc == 7 && strcmp(argv[1], "bench") == 0)
        return bench(argv + 2);
    if (argc > 5 && argc - 5 <= MAX_IDS && strcmp(argv[1], "greedy") == 0)
        return greedy(argc - 2, argv + 2);
    if (argc > 5 && argc - 5 <= MAX_IDS && strcmp(argv[1], "beside") == 0)
        return beside(argc - 2, argv + 2);
    if (argc == 5 && strcmp(argv[1], "perplexity") == 0)
        return perplexity(argv + 2);
    if (argc == 4 && strcmp(argv[1], "same") == 0)
        return same(argv + 2);
    if (argc == 5 && strcmp(argv[1], "quantize") == 0)
        return quantize(argv + 2);
    fprintf(stderr,
            "usage: llama_peer bench|greedy|beside|perplexity|same|quantize … (see the file)\n");
    return 2;
}
