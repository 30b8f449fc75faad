/* moe2 profile: what an answer of each expert costs on its device. */
#include <stdio.h>

#include "cli/cli.h"
#include "io/json_util.h"
#include "pipeline/step_profile.h"

static const char HELP[] =
    "usage: moe2 profile --import SOURCE [--fleet FLEET.yaml] [--models MODELS.csv] --out DIR\n\n"
    "Makes latency and energy curves of experts, value = t0 + prefill * prompt tokens + decode * "
    "output tokens, by\n"
    "non-negative least squares, with their residuals: DIR/latency/latency.json, "
    "DIR/energy/energy.json and the figures\n"
    "DIR/figures/figure4_latency and figure5_energy. Every curve says whether it was measured, "
    "published or estimated.\n\n"
    "options:\n"
    "  --import SOURCE     a folder of published tables (scorecard.csv, detail.csv, table.csv), or "
    "a CSV with a row\n"
    "                      a run: expert, prompt_tokens, output_tokens, latency_s (or "
    "latency_ms), and, where\n"
    "                      known, energy_j (or energy_mj) and device\n"
    "  --fleet F.yaml      the curves of this fleet's experts (configs/fleet/)\n"
    "  --models F.csv      curves for models of known size (model, params_b, active_b), scaled "
    "from one: estimated\n"
    "  --curve NAME        the curve that is scaled (" PROFILE_BASE_CURVE ")\n"
    "  --curve-params B    its size in 10^9 parameters, where the published tables don't tell\n"
    "  --chars F.csv       characters generated a question and expert: DIR/accuracy/lengths.csv, a "
    "token every four\n"
    "  --prompt-tokens P   lengths for the printed table (512)\n"
    "  --output-tokens O   (32)\n"
    "  --out DIR           where everything goes (results)\n"
    "  --gnuplot PROGRAM   draws the figures\n"
    "  --json              print the table as JSON\n\n"
    "Without --fleet and --models the imported curves themselves are written. More: moe2 help "
    "costs\n\n"
    "examples:\n"
    "  moe2 profile --import ../shared/data/devices --out results\n"
    "  moe2 profile --import ../shared/data/devices --fleet configs/fleet/demo.yaml --out results\n"
    "  moe2 profile --import runs.csv --out results --json\n";

static int print(const struct profile_set *set, double prompt, double output, bool json,
                 struct err *err)
{
    struct table *t = NULL;
    struct buf text = {0};
    int rc = profile_table(&t, set, prompt, output, err);
    if (!rc)
        rc = json ? table_json(&text, t, err) : table_text(&text, t, err);
    if (!rc)
        fwrite(text.bytes, 1, text.n, stdout);
    if (!rc && json)
        putchar('\n');
    if (!rc && set->notes.n && !json)
        printf("\n%s", set->notes.bytes);
    buf_release(&text);
    table_free(t);
    return rc;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct profile_step step = {.out_dir = "results", .sink = cli_sink()};
    struct profile_set set = {0};
    double prompt = 512, output = 32;
    bool json = false;
    const struct cli_flag flags[] = {
        {"--import", FLAG_TEXT, &step.import, true},
        {"--fleet", FLAG_TEXT, &step.fleet, false},
        {"--models", FLAG_TEXT, &step.models, false},
        {"--curve", FLAG_TEXT, &step.curve, false},
        {"--curve-params", FLAG_REAL, &step.curve_params_b, false},
        {"--chars", FLAG_TEXT, &step.chars, false},
        {"--prompt-tokens", FLAG_REAL, &prompt, false},
        {"--output-tokens", FLAG_REAL, &output, false},
        {"--out", FLAG_TEXT, &step.out_dir, false},
        {"--gnuplot", FLAG_TEXT, &step.gnuplot, false},
        {"--json", FLAG_BOOL, &json, false},
    };
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc && !(prompt >= 0 && output >= 0))
        rc = err_set(&err, MOE2_ECONFIG, "%g and %g tokens, wanted at least 0", prompt, output);
    if (!rc)
        rc = profile_run(&set, &step, &err);
    if (!rc)
        rc = print(&set, prompt, output, json, &err);
    profile_set_release(&set);
    return rc ? cli_fail("profile", &err) : 0;
}

const struct command cmd_profile = {
    "profile",
    "latency and energy curves of experts, from published or measured values",
    HELP,
    run,
};
