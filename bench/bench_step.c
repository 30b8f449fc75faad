/* One training step of a model, timed: forward, backward, optimizer, tokens/s, GFLOP/s, peak
 * memory.
 *
 *     bench_step [--config configs/model/medium.json] [--device cpu] [--threads N] [--dtype
 * f32|bf16] [--batch 8] [--seq 256]
 *                [--steps 6] [--warm 2] [--incentive NAME] [--checkpointing] [--json] [--profile]
 *                [--lora R [--base f32|bf16|nf4] [--router]] [--adam8] [--layers N] [--memory-limit GIB] [--offload]
 *
 * --lora trains adapters of rank R on every product but the head (with --router also on the routers), over frozen random weights.
 * --profile also prints the time of every kernel (step_profile.h).
 * The same work as bench/peers/moe_train.py: Zipf tokens, every id but a sequence's first a target,
 * AdamW (betas 0.9 and 0.95, decay 0.1), no clipping. Useful work a step is 3 · (2 · parameters in
 * products · tokens + the causal half of attention); with adapters 2 · that, since frozen weights have no gradient. A recomputed
 * forward is not counted as useful. Energy is the whole card's, by NVML.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/rng.h"
#include "base/stats.h"
#include "kernels/nvml.h"
#include "model/decoder.h"
#include "model/lora.h"
#include "quant/nf4_encode.h"
#include "train/optimizer.h"

#include "step_profile.h"

struct options {
    const char *config, *device, *dtype, *incentive, *base;
    int threads, batch, seq, steps, warm, lora, layers, memory_limit;
    bool checkpointing, json, profile, router, adam8, offload;
};

struct bench {
    struct options o;
    struct device *dev;
    struct decoder *dec;
    struct optimizer *opt;
    int32_t *ids, *targets, *offset;
    double *cumulated;  /* Zipf */
    struct nvml *meter; /* NULL: none */
    double joules;      /* of the timed steps */
    struct rng rng;
};

enum { TOTAL, FORWARD, BACKWARD, OPTIMIZER, ROUTING, N_TIMES };

static void die(const struct err *err)
{
    fprintf(stderr, "bench_step: %s\n", err->msg);
    exit(1);
}

static void parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){.config = "configs/model/medium.json",
                          .device = "cpu",
                          .dtype = "f32",
                          .base = "f32",
                          .batch = 8,
                          .seq = 256,
                          .steps = 6,
                          .warm = 2};
    for (int i = 1; i < argc; i++) {
        const struct {
            const char *name;
            const char **text;
            int *number;
            bool *flag;
        } known[] = {{"--config", &o->config, 0, 0},   {"--device", &o->device, 0, 0},
                     {"--dtype", &o->dtype, 0, 0},     {"--incentive", &o->incentive, 0, 0},
                     {"--threads", 0, &o->threads, 0}, {"--batch", 0, &o->batch, 0},
                     {"--seq", 0, &o->seq, 0},         {"--steps", 0, &o->steps, 0},
                     {"--warm", 0, &o->warm, 0},       {"--checkpointing", 0, 0, &o->checkpointing},
                     {"--json", 0, 0, &o->json},       {"--profile", 0, 0, &o->profile},
                     {"--base", &o->base, 0, 0},       {"--lora", 0, &o->lora, 0},
                     {"--layers", 0, &o->layers, 0},   {"--memory-limit", 0, &o->memory_limit, 0},
                     {"--router", 0, 0, &o->router},   {"--adam8", 0, 0, &o->adam8},
                     {"--offload", 0, 0, &o->offload}};
        size_t k = 0, n = sizeof known / sizeof *known;
        while (k < n && strcmp(argv[i], known[k].name) != 0)
            k++;
        if (k == n || (!known[k].flag && i + 1 == argc)) {
            fprintf(stderr, "bench_step: what is %s?\n", argv[i]);
            exit(2);
        }
        if (known[k].flag)
            *known[k].flag = true;
        else if (known[k].text)
            *known[k].text = argv[++i];
        else
            *known[k].number = atoi(argv[++i]);
    }
}

static void bench_open(struct bench *b)
{
    struct err err = {0};
    struct model_config config;
    struct router_config router;
    if (model_config_read(&config, b->o.config, &err) ||
        device_open(&b->dev, b->o.device, b->o.threads, &err))
        die(&err);
    if (b->o.profile)
        profile_open(b->dev);
    if (b->o.layers)
        config.num_hidden_layers = b->o.layers;
    b->dev->limit_bytes = (size_t)b->o.memory_limit << 30;
    if (strncmp(b->o.device, "cuda", 4) == 0)
        nvml_open(&b->meter, NULL);
    model_router_config(&router, &config);
    if (b->o.incentive) {
        router.incentive.name = b->o.incentive;
        router.native_bias = NATIVE_BIAS_REPLACE;
    }
    if (config.n_routed_experts)
        router_config_resolve(&router, 1000);
    static const struct nf4_maker maker = {nf4_encode, nf4_nest};
    static const char *const targets[] = {"all-linear", "mlp.gate"};
    struct lora_config lora = {.targets = targets,
                               .n_targets = b->o.router ? 2 : 1,
                               .r = b->o.lora,
                               .alpha = 2 * b->o.lora};
    struct decoder_options o = {.config = &config,
                                .router = config.n_routed_experts ? &router : NULL,
                                .lora = b->o.lora ? &lora : NULL,
                                .base = strcmp(b->o.base, "nf4") == 0    ? BASE_NF4
                                        : strcmp(b->o.base, "bf16") == 0 ? BASE_BF16
                                                                         : BASE_F32,
                                .maker = &maker,
                                .offload = b->o.offload ? OFFLOAD_MEMORY : OFFLOAD_NONE,
                                .compute = strcmp(b->o.dtype, "bf16") == 0 ? DT_BF16 : DT_F32,
                                .train = true,
                                .checkpoint_activations = b->o.checkpointing};
    struct optimizer_config oc = {.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};
    oc.eight_bits = b->o.adam8;
    int64_t n = 0;
    if (decoder_open(&b->dec, &o, b->dev, &err))
        die(&err);
    struct param *params = decoder_trained(b->dec, &n);
    if (optimizer_new(&b->opt, params, n, &oc, b->dev, &err))
        die(&err);
    int T = b->o.batch * b->o.seq, V = (int)config.vocab_size;
    b->ids = calloc((size_t)T, sizeof *b->ids);
    b->targets = calloc((size_t)T, sizeof *b->targets);
    b->offset = calloc((size_t)b->o.batch + 1, sizeof *b->offset);
    b->cumulated = calloc((size_t)V, sizeof *b->cumulated);
    if (!b->ids || !b->targets || !b->offset || !b->cumulated)
        exit(1);
    double sum = 0;
    for (int i = 0; i < V; i++)
        b->cumulated[i] = sum += 1.0 / (i + 1);
    rng_init(&b->rng, 1);
}

static int32_t zipf(struct bench *b, int V)
{
    double u = rng_uniform(&b->rng) * b->cumulated[V - 1];
    int low = 0, high = V - 1;
    while (low < high) {
        int mid = (low + high) / 2;
        if (b->cumulated[mid] < u)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static double step(struct bench *b, int i, double times[N_TIMES])
{
    struct err err = {0};
    const struct model_config *c = decoder_config(b->dec);
    int T = b->o.batch * b->o.seq;
    for (int t = 0; t < T; t++)
        b->ids[t] = zipf(b, (int)c->vocab_size);
    for (int t = 0; t < T; t++)
        b->targets[t] = t % b->o.seq == b->o.seq - 1 ? -1 : b->ids[t + 1];
    for (int s = 0; s <= b->o.batch; s++)
        b->offset[s] = s * b->o.seq;
    struct batch batch = {.ids = b->ids,
                          .targets = b->targets,
                          .offset = b->offset,
                          .B = b->o.batch,
                          .T = T,
                          .step = i};
    struct loss_result loss = {0};
    float scale = 1.0f / (float)(T - b->o.batch);
    decoder_take_times(b->dec);
    profile_step(i > b->o.warm);
    double begun_s = clock_s();
    decoder_zero_grad(b->dec);
    if (decoder_forward(b->dec, &batch, DECODER_TRAIN, &err) ||
        decoder_loss(b->dec, &batch, scale, &loss, &err) ||
        decoder_backward(b->dec, &batch, scale, &err))
        die(&err);
    for (int64_t l = 0; l < c->num_hidden_layers; l++)
        if (decoder_router(b->dec, l))
            router_step(decoder_router(b->dec, l), NULL);
    double optimizer_s = clock_s();
    optimizer_step(b->opt, 3e-4, 0);
    device_sync(b->dev);
    if (device_check(b->dev, &err))
        die(&err);
    double end_s = clock_s();
    struct decoder_times dt = decoder_take_times(b->dec);
    times[TOTAL] = end_s - begun_s;
    times[FORWARD] = dt.forward_s;
    times[BACKWARD] = dt.backward_s;
    times[ROUTING] = dt.routing_s;
    times[OPTIMIZER] = end_s - optimizer_s;
    return loss.nll / (double)loss.n_targets;
}

static void report(const struct bench *b, double *times, int n, double loss)
{
    double ms[N_TIMES], *column = calloc((size_t)n, sizeof *column), least = 1e9, most = 0;
    if (!column)
        exit(1);
    for (int k = 0; k < N_TIMES; k++) {
        for (int i = 0; i < n; i++)
            column[i] = times[i * N_TIMES + k] * 1e3;
        ms[k] = stats_median(column, n);
        if (k == TOTAL) {
            least = column[0];
            most = column[n - 1];
        }
    }
    free(column);
    int T = b->o.batch * b->o.seq;
    double flop = (b->o.lora ? 2 : 3) * T * model_forward_flops(decoder_config(b->dec), b->o.seq),
           tok_s = T / ms[TOTAL] * 1e3;
    double gflops = flop / ms[TOTAL] * 1e-6, peak_mb = (double)peak_rss_bytes() / (1 << 20);
    if (b->o.json)
        printf("{\"engine\": \"moe2\", \"kernels\": \"%s\", \"dtype\": \"%s\", \"threads\": %d, "
               "\"batch\": %d, \"seq\": %d, "
               "\"steps\": %d, \"tok_s\": %.1f, \"ms_step\": %.1f, \"ms_least\": %.1f, "
               "\"ms_most\": %.1f, \"ms_forward\": %.1f, "
               "\"ms_backward\": %.1f, \"ms_optimizer\": %.1f, \"ms_routing\": %.2f, "
               "\"gflop_step\": %.2f, \"gflops\": %.1f, "
               "\"rss_peak_mb\": %.0f, \"device_peak_mb\": %.0f, \"joules_step\": %.2f, "
               "\"card_used_mb\": %.0f, \"config\": \"%s\", \"lora\": %d, \"base\": \"%s\", "
               "\"offload\": %s, "
               "\"loss_last\": %.4f}\n",
               b->dev->k->name, b->o.dtype, b->dev->n_threads, b->o.batch, b->o.seq, n, tok_s,
               ms[TOTAL], least, most, ms[FORWARD], ms[BACKWARD], ms[OPTIMIZER], ms[ROUTING],
               flop * 1e-9, gflops, peak_mb, (double)b->dev->peak_bytes / (1 << 20),
               b->meter ? b->joules / n : 0,
               b->meter ? (double)nvml_used_bytes(b->meter, 0) / (1 << 20) : 0, b->o.config,
               b->o.lora, b->o.base, b->o.offload ? "true" : "false", loss);
    else
        printf("%s, %s, %d threads, %d x %d tokens, %d steps\n"
               "step      %8.1f ms  (%.1f – %.1f)   %.0f tokens/s   %.1f GFLOP/s\n"
               "forward   %8.1f ms\nbackward  %8.1f ms\noptimizer %8.1f ms\nother     %8.1f ms\n"
               "routing   %8.2f ms  %.2f %% of the step\npeak      %8.0f MB  (%.0f of them the "
               "device's)   loss %.4f\n",
               b->dev->k->name, b->o.dtype, b->dev->n_threads, b->o.batch, b->o.seq, n, ms[TOTAL],
               least, most, tok_s, gflops, ms[FORWARD], ms[BACKWARD], ms[OPTIMIZER],
               ms[TOTAL] - ms[FORWARD] - ms[BACKWARD] - ms[OPTIMIZER], ms[ROUTING],
               100 * ms[ROUTING] / ms[TOTAL], peak_mb, (double)b->dev->peak_bytes / (1 << 20),
               loss);
    if (b->meter && !b->o.json)
        printf("energy    %8.1f J a step, %.1f mJ a token, %.0f W\n", b->joules / n,
               1e3 * b->joules / n / T, b->joules / n / ms[TOTAL] * 1e3);
    if (b->o.profile)
        profile_print();
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    parse(&b.o, argc, argv);
    if (b.o.batch < 1 || b.o.seq < 2 || b.o.steps < 1 || b.o.batch > 1 << 12 || b.o.seq > 1 << 20) {
        fprintf(stderr,
                "bench_step: wanted --batch 1 or more, --seq 2 or more, --steps 1 or more\n");
        return 2;
    }
    bench_open(&b);
    double *times = calloc((size_t)b.o.steps * N_TIMES, sizeof *times), loss = 0;
    if (!times)
        return 1;
    for (int i = 0; i < b.o.warm + b.o.steps; i++) {
        if (i == b.o.warm)
            b.joules = -nvml_energy_j(b.meter, 0);
        loss = step(&b, i, times + (i < b.o.warm ? 0 : i - b.o.warm) * N_TIMES);
    }
    b.joules += nvml_energy_j(b.meter, 0);
    report(&b, times, b.o.steps, loss);
    free(times);
    free(b.ids);
    free(b.targets);
    free(b.offset);
    free(b.cumulated);
    optimizer_free(b.opt);
    decoder_free(b.dec);
    device_close(b.dev);
    nvml_close(b.meter);
    return 0;
}
