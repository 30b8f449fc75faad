/* moe2 profile: what an answer of each expert costs on its device: measured here, or from others' numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/words.h"
#include "cli/cli.h"
#include "cli/device_flags.h"
#include "io/json_util.h"
#include "pipeline/step_profile.h"

enum { MAX_MODELS = 64 };

static const char HELP[] =
    "usage: moe2 profile --models [NAME=]DIR,… [--prompts 32,128,…] [--outputs 1,32,…] --out DIR\n"
    "       moe2 profile --import SOURCE [--fleet FLEET.yaml] [--models MODELS.csv] --out DIR\n\n"
    "Makes latency and energy curves of experts, value = t0 + prefill * prompt tokens + decode * "
    "output tokens, by\n"
    "non-negative least squares, with their residuals: DIR/latency/latency.json, "
    "DIR/energy/energy.json and the figures\n"
    "DIR/figures/figure4_latency and figure5_energy. Every curve says whether it was measured, "
    "published or estimated.\n\n"
    "measuring on this machine (without --import):\n"
    "  --models A,B,…      model folders or files; a model is called as its folder unless NAME= "
    "says\n"
    "  --prompts P,…       lengths of prompt, in tokens (32,128,512,1024,2048,4096)\n"
    "  --outputs O,…       lengths of answer (1,32,128)\n"
    "  --repeat N          every answer so often; a point is their median (3)\n"
    "  --max-seconds S     lengths whose answer takes longer are left out, and said (60)\n"
    "  --meter NAME        what counts joules: auto, rapl, ina3221, nvml, none (auto; moe2 doctor "
    "lists them)\n"
    "  --watts W           without a meter: joules are W times the seconds, called estimated\n"
    "  --machine NAME      what this machine is called (its processor, board or GPU)\n"
    "  --sysfs DIR         where sysfs lies (/sys)\n"
    "  --threads N         0: every core (0)\n" DEVICE_FLAGS_HELP
    "DIR/profile/NAME.json keeps each model's answers: a run that was stopped goes on with the "
    "next model.\n"
    "DIR/profile/measurements.csv is what --import reads.\n\n"
    "from others' numbers:\n"
    "  --import SOURCE     a folder of published tables (scorecard.csv, detail.csv, table.csv), or "
    "a CSV with a row\n"
    "                      a run: expert, prompt_tokens, output_tokens, latency_s (or "
    "latency_ms), and, where\n"
    "                      known, energy_j (or energy_mj) and device\n"
    "  --models F.csv      curves for models of known size (model, params_b, active_b), scaled "
    "from one: estimated\n"
    "  --curve NAME        the curve that is scaled (" PROFILE_BASE_CURVE ")\n"
    "  --curve-params B    its size in 10^9 parameters, where the published tables don't tell\n\n"
    "for both:\n"
    "  --fleet F.yaml      the curves of this fleet's experts (configs/fleet/)\n"
    "  --chars F.csv       characters generated a question and expert: DIR/accuracy/lengths.csv, a "
    "token every four\n"
    "  --prompt-tokens P   lengths for the printed table (512)\n"
    "  --output-tokens O   (32)\n"
    "  --out DIR           where everything goes (results)\n"
    "  --gnuplot PROGRAM   draws the figures\n"
    "  --json              print the table as JSON\n\n"
    "Without --fleet and MODELS.csv the curves themselves are written. More: moe2 help costs\n\n"
    "examples:\n"
    "  moe2 profile --models small=models/small,large=models/large.gguf --watts 65 --out results\n"
    "  moe2 profile --models models/small --prompts 32,512 --outputs 1,64 --device cuda --out "
    "results\n"
    "  moe2 profile --import ../shared/data/devices --out results\n"
    "  moe2 profile --import ../shared/data/devices --fleet configs/fleet/demo.yaml --out results\n"
    "  moe2 profile --import runs.csv --out results --json\n";

struct words {
    struct profile_step step;
    struct profile_models measured;
    struct profile_model models[MAX_MODELS];
    struct device_flags device;
    char *copy; /* of --models, cut into names */
    const char *prompts, *outputs;
    int64_t threads;
    double prompt, output; /* of the printed table */
    bool json;
};

/* ---- words ---- */

static int read_models(struct words *w, const char *text, struct err *err)
{
    const char *end = strrchr(text, '.');
    if (end && strcmp(end, ".csv") == 0)
        return err_set(err, MOE2_ECONFIG,
                       "--models %.100s scales an imported curve, and --import is missing", text);
    w->copy = strdup(text);
    if (!w->copy)
        return err_set(err, MOE2_ELIMIT, "no memory for names");
    for (char *rest = w->copy, *p; (p = words_cut(&rest));) {
        char *equals = strchr(p, '='), *path = equals ? equals + 1 : p;
        if (w->measured.n_models == MAX_MODELS || !*path)
            return err_set(err, MOE2_ECONFIG, "--models wants 1 to %d models with commas between",
                           MAX_MODELS);
        if (equals)
            *equals = 0;
        const char *name = path_last(path);
        w->models[w->measured.n_models++] = (struct profile_model){equals ? p : name, path};
    }
    return 0;
}

static int read_lengths(int64_t *list, int *n, const char *flag, const char *text, struct err *err)
{
    int32_t *ids = NULL;
    int64_t n_ids = 0;
    if (!text)
        return 0;
    int rc = cli_ids(&ids, &n_ids, text, err);
    if (rc)
        err_prefix(err, "%s", flag);
    if (!rc && n_ids > PROFILE_MAX_LENGTHS)
        rc = err_set(err, MOE2_ECONFIG, "%s has %lld lengths, wanted at most %d", flag,
                     (long long)n_ids, PROFILE_MAX_LENGTHS);
    for (int64_t i = 0; i < n_ids && !rc; i++)
        list[i] = ids[i];
    if (!rc)
        *n = (int)n_ids;
    free(ids);
    return rc;
}

/* What only measuring reads is refused beside --import, so that nobody waits for what never comes. */
static int check_import(const struct words *w, struct err *err)
{
    const struct profile_models *m = &w->measured;
    const struct {
        const char *flag;
        bool given;
    } only[] = {{"--prompts", w->prompts},
                {"--outputs", w->outputs},
                {"--meter", m->meter},
                {"--sysfs", m->sysfs},
                {"--machine", m->machine},
                {"--watts", m->watts != 0},
                {"--device", w->device.name},
                {"--memory-limit", w->device.limit},
                {"--threads", w->threads != 0},
                {"--repeat", m->plan.repeat != 3},
                {"--max-seconds", m->plan.most_s != 60}};
    for (size_t i = 0; i < COUNT_OF(only); i++)
        if (only[i].given)
            return err_set(err, MOE2_ECONFIG,
                           "%s is for measuring, and --import takes what was measured elsewhere",
                           only[i].flag);
    return 0;
}

static int read_measuring(struct words *w, struct err *err)
{
    struct profile_models *m = &w->measured;
    if (!w->step.models)
        return err_set(err, MOE2_ECONFIG,
                       "wanted --import SOURCE, or --models [NAME=]DIR,… to measure here");
    if (w->step.curve || w->step.curve_params_b != 0)
        return err_set(err, MOE2_ECONFIG,
                       "--curve is for scaling an imported curve, and --import is missing");
    int rc = read_models(w, w->step.models, err);
    if (!rc)
        rc = read_lengths(m->plan.prompts, &m->plan.n_prompts, "--prompts", w->prompts, err);
    if (!rc)
        rc = read_lengths(m->plan.outputs, &m->plan.n_outputs, "--outputs", w->outputs, err);
    if (!rc)
        rc = device_flags_read(&m->device, &w->device, err);
    if (!rc && (w->threads < 0 || w->threads > 4096))
        rc = err_set(err, MOE2_ECONFIG, "--threads is %lld, wanted 0 to 4096",
                     (long long)w->threads);
    m->models = w->models;
    m->threads = (int)w->threads;
    m->out_dir = w->step.out_dir;
    m->sink = w->step.sink;
    m->stop = cli_stop_flag();
    w->step.models = NULL;
    w->step.measured = m;
    return rc;
}

static int read_words(struct words *w, int argc, char **argv, struct err *err)
{
    struct profile_step *step = &w->step;
    struct profile_models *m = &w->measured;
    const struct cli_flag flags[] = {
        {"--import", FLAG_TEXT, &step->import, false},
        {"--fleet", FLAG_TEXT, &step->fleet, false},
        {"--models", FLAG_TEXT, &step->models, false},
        {"--curve", FLAG_TEXT, &step->curve, false},
        {"--curve-params", FLAG_REAL, &step->curve_params_b, false},
        {"--chars", FLAG_TEXT, &step->chars, false},
        {"--prompts", FLAG_TEXT, &w->prompts, false},
        {"--outputs", FLAG_TEXT, &w->outputs, false},
        {"--repeat", FLAG_INT, &m->plan.repeat, false},
        {"--max-seconds", FLAG_REAL, &m->plan.most_s, false},
        {"--meter", FLAG_TEXT, &m->meter, false},
        {"--watts", FLAG_REAL, &m->watts, false},
        {"--machine", FLAG_TEXT, &m->machine, false},
        {"--sysfs", FLAG_TEXT, &m->sysfs, false},
        {"--threads", FLAG_INT, &w->threads, false},
        DEVICE_FLAGS(&w->device),
        {"--prompt-tokens", FLAG_REAL, &w->prompt, false},
        {"--output-tokens", FLAG_REAL, &w->output, false},
        {"--out", FLAG_TEXT, &step->out_dir, false},
        {"--gnuplot", FLAG_TEXT, &step->gnuplot, false},
        {"--json", FLAG_BOOL, &w->json, false},
    };
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, err);
    if (!rc && !(w->prompt >= 0 && w->output >= 0))
        rc =
            err_set(err, MOE2_ECONFIG, "%g and %g tokens, wanted at least 0", w->prompt, w->output);
    if (!rc)
        rc = step->import ? check_import(w, err) : read_measuring(w, err);
    return rc;
}

/* ---- what is printed ---- */

static int print(const struct profile_set *set, const struct words *w, struct err *err)
{
    struct table *t = NULL;
    struct buf text = {0};
    int rc = profile_table(&t, set, w->prompt, w->output, err);
    if (!rc)
        rc = w->json ? table_json(&text, t, err) : table_text(&text, t, err);
    if (!rc)
        fwrite(text.bytes, 1, text.n, stdout);
    if (!rc && w->json)
        putchar('\n');
    if (!rc && set->notes.n)
        fprintf(w->json ? stderr : stdout, "%s%s", w->json ? "" : "\n", set->notes.bytes);
    buf_release(&text);
    table_free(t);
    return rc;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct profile_set set = {0};
    struct words w = {.step = {.out_dir = "results", .sink = cli_sink()},
                      .measured = {.plan = profile_plan_default()},
                      .prompt = 512,
                      .output = 32};
    int rc = read_words(&w, argc, argv, &err);
    if (!rc)
        rc = profile_run(&set, &w.step, &err);
    if (!rc)
        rc = print(&set, &w, &err);
    profile_set_release(&set);
    free(w.copy);
    return rc ? cli_fail("profile", &err) : 0;
}

const struct command cmd_profile = {
    "profile",
    "latency and energy curves of experts, measured here or published elsewhere",
    HELP,
    run,
};
