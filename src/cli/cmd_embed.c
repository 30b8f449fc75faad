/* moe2 embed: a vector for every text or question of a file. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/device_flags.h"
#include "io/json_util.h"
#include "pipeline/step_embed.h"

static const char HELP[] =
    "usage: moe2 embed --model DIR --in FILE --out FILE.npy [--compute f32|bf16] [--batch-tokens "
    "N] [--threads N]\n"
    "                  [--device NAME] [--memory-limit S] [--json]\n"
    "       moe2 embed --features hashed --in FILE --out FILE.npy [--fit FILE] [--state FILE] "
    "[--dim N]\n"
    "                  [--seed N] [--threads N] [--json]\n\n"
    "A vector of length 1 for every row of a file: {\"text\": …}, or a question {\"question\": …, "
    "\"choices\"\n"
    "or \"options\": […]}, whose text is the question, then its options one a line. Rows in, rows "
    "out in the\n"
    "same order. A run that was stopped or killed goes on where it was when the same command is "
    "given again.\n\n"
    "  --in FILE         JSON lines or CSV, plain, gzip or zstd\n"
    "  --out FILE.npy    float32 [rows, dimensions]\n"
    "  --model DIR       an encoder as transformers or sentence-transformers save it: BERT "
    "(MiniLM), XLM-R (e5),\n"
    "                    gte-multilingual; texts are cut at its max_seq_length, and how many is "
    "told\n"
    "  --compute T       f32, or bf16: faster where the processor has units for it, cosines of "
    "about 0.999\n"
    "  --batch-tokens N  tokens of a batch (4096)\n"
    "  --features hashed hashed words, pairs of words and runs of characters, TF-IDF, a random "
    "projection:\n"
    "                    no model needed\n"
    "  --fit FILE        rows that the IDF is counted on: the training side, never what is tested "
    "on\n"
    "  --state FILE      the features, written after --fit and read without it "
    "(OUT.hashed.safetensors)\n"
    "  --dim N           dimensions of hashed features (768)\n"
    "  --seed N          of their projection (1)\n"
    "  --threads N       all cores unless said\n" DEVICE_FLAGS_HELP
    "                   With --model: all of the encoder's layers run there; the host cuts texts "
    "into tokens and\n"
    "                   looks up their embeddings.\n"
    "  --json            one JSON object instead of lines\n\n"
    "examples:\n"
    "  moe2 embed --model models/all-MiniLM-L6-v2 --in q.jsonl --out e.npy\n"
    "  moe2 embed --features hashed --fit gating_train.jsonl --state f.safetensors --in "
    "gating_train.jsonl --out train.npy\n"
    "  moe2 embed --features hashed --state f.safetensors --in gating_test.jsonl --out test.npy\n";

static int print_json(const struct embed_report *r, const char *out, struct err *err)
{
    struct buf text = {0};
    struct json_writer w;
    json_writer_init(&w, &text, 2);
    jw_object(&w, NULL);
    jw_text(&w, "out", out);
    jw_text(&w, "embedder", r->embedder);
    jw_int(&w, "rows", r->n_rows);
    jw_int(&w, "dim", r->dim);
    jw_int(&w, "resumed_rows", r->n_resumed);
    jw_int(&w, "tokens", r->tally.n_tokens);
    jw_int(&w, "cut_texts", r->tally.n_cut);
    jw_int(&w, "cut_tokens", r->tally.n_cut_tokens);
    jw_real(&w, "open_s", r->open_s);
    jw_real(&w, "embed_s", r->embed_s);
    jw_end(&w);
    int rc = json_writer_end(&w, err);
    if (!rc)
        puts(text.bytes);
    buf_release(&text);
    return rc;
}

static void print_lines(const struct embed_report *r, const char *out)
{
    int64_t n_new = r->n_rows - r->n_resumed;
    printf("%s: %lld rows of %lld numbers, %s\n", out, (long long)r->n_rows, (long long)r->dim,
           r->embedder);
    if (r->n_resumed)
        printf("%lld rows were there from a run that had stopped\n", (long long)r->n_resumed);
    if (r->tally.n_cut)
        printf("%lld texts were longer than the encoder takes and lost %lld of their tokens\n",
               (long long)r->tally.n_cut, (long long)r->tally.n_cut_tokens);
    printf("%lld texts in %.2f s, %.0f a second\n", (long long)n_new, r->embed_s,
           r->embed_s > 0 ? (double)n_new / r->embed_s : 0.0);
}

static int run(int argc, char **argv)
{
    struct embed_step step = embed_step_default();
    struct embed_report report;
    struct err err = {0};
    const char *features = NULL, *compute = "f32";
    bool json = false;
    int64_t threads = 0, seed = (int64_t)step.seed;
    struct device_flags device = {0};
    const struct cli_flag flags[] = {
        {"--in", FLAG_TEXT, &step.in, true},
        {"--out", FLAG_TEXT, &step.out, true},
        {"--model", FLAG_TEXT, &step.model, false},
        {"--compute", FLAG_TEXT, &compute, false},
        {"--batch-tokens", FLAG_INT, &step.batch_tokens, false},
        {"--features", FLAG_TEXT, &features, false},
        {"--fit", FLAG_TEXT, &step.fit, false},
        {"--state", FLAG_TEXT, &step.state, false},
        {"--dim", FLAG_INT, &step.dim, false},
        {"--seed", FLAG_INT, &seed, false},
        {"--threads", FLAG_INT, &threads, false},
        DEVICE_FLAGS(&device),
        {"--json", FLAG_BOOL, &json, false},
    };
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc && features && strcmp(features, "hashed") != 0)
        rc = err_set(&err, MOE2_ECONFIG, "--features is \"%s\", wanted hashed", features);
    if (!rc && strcmp(compute, "f32") != 0 && strcmp(compute, "bf16") != 0)
        rc = err_set(&err, MOE2_ECONFIG, "--compute is \"%s\", wanted f32 or bf16", compute);
    if (!rc && (step.batch_tokens < 0 || step.batch_tokens > 1 << 20))
        rc = err_set(&err, MOE2_ECONFIG, "--batch-tokens is %lld, wanted 1 to %d",
                     (long long)step.batch_tokens, 1 << 20);
    if (!rc && (threads < 0 || threads > 256))
        rc = err_set(&err, MOE2_ECONFIG, "--threads is %lld, wanted 0 (all cores) to 256",
                     (long long)threads);
    if (!rc && features && (device.name || device.limit))
        rc = err_set(&err, MOE2_ECONFIG,
                     "--device is for --model: hashed features are made by the host");
    if (!rc)
        rc = device_flags_read(&step.device, &device, &err);
    step.hashed = features != NULL;
    step.bf16 = strcmp(compute, "bf16") == 0;
    step.n_threads = (int)threads;
    step.seed = (uint64_t)seed;
    step.sink = cli_sink();
    step.stop = cli_stop_flag();
    if (!rc)
        rc = embed_step_run(&report, &step, &err);
    if (rc)
        return cli_fail("embed", &err);
    if (json)
        rc = print_json(&report, step.out, &err);
    else
        print_lines(&report, step.out);
    embed_report_release(&report);
    return rc ? cli_fail("embed", &err) : 0;
}

const struct command cmd_embed = {
    "embed",
    "a vector for every text or question of a file",
    HELP,
    run,
};
