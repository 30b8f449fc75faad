/* moe2 select: who is in service within a budget? */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "pipeline/select_run.h"

static const char HELP[] =
    "usage: moe2 select --outcomes F.csv --gate-scores F.npy [--latency F.json] [--energy F.json] "
    "[options]\n\n"
    "From what each expert got right, what the gate thinks of each and what each costs: the subset "
    "of experts that\n"
    "answers the most prompts right within a latency and an energy limit, proven, for a whole grid "
    "of limits at once.\n\n"
    "input:\n"
    "  --outcomes F.csv          question_id, then a column an expert: 1 right, 0 wrong, empty not "
    "run\n"
    "  --gate-scores F.npy       [prompts, experts], larger is better suited (not for coverage)\n"
    "  --latency, --energy F     {expert: {\"unit\", \"fit\": {\"t0\", \"prefill\", \"decode\"}}}\n"
    "  --prompt-tokens X         a number, or a CSV of question_id and tokens or a column an "
    "expert\n"
    "  --output-tokens X         the same; else the outcomes' columns prompt_tokens, "
    "output_tokens\n"
    "  --predictions F.csv       the answers given: votes are counted by answer\n"
    "  --category-limits F.csv   category,latency_s,energy_j: limits beside the grid's\n\n"
    "options:\n"
    "  --latency-s L, --energy-j L   lists of limits, \"1,2,inf\"; their product is the grid "
    "(inf)\n"
    "  --cost deployed|routed        charge everything in service, or what is called (deployed)\n"
    "  --k K                         experts called a prompt (1)\n"
    "  --combine top1|vote|weighted  how their answers become one (top1)\n"
    "  --objective accuracy|coverage coverage: some member is right (accuracy)\n"
    "  --missing wrong|avoid|drop    what an empty cell means (wrong)\n"
    "  --latency-stat mean|p50|p90|p95|p99|max  how prompts' latencies become one number (mean)\n"
    "  --aggregation-s X             routed: added where two or more were called (0)\n"
    "  --experts a,b,…               only these may be chosen\n"
    "  --max-experts M               at most M of them\n"
    "  --by-category                 every category solved alone\n"
    "  --frontier                    every subset that no other dominates, too\n"
    "  --method auto|enumerate       enumerate: every subset, up to 20 experts (auto)\n"
    "  --time-limit S                seconds for the run beyond 20 experts, 0: none (60)\n"
    "  --json                        one JSON object instead of the table\n"
    "  --out DIR                     select.csv, select.json and select.md\n\n"
    "examples:\n"
    "  moe2 select --outcomes outcomes.csv --gate-scores gate.npy --latency latency.json --energy "
    "energy.json \\\n"
    "      --latency-s 1,2,3,inf --energy-j 5,10,20,50,inf --output-tokens 32 --prompt-tokens 256\n"
    "  moe2 select --outcomes outcomes.csv --objective coverage --max-experts 3 --json\n"
    "  moe2 select --outcomes outcomes.csv --gate-scores gate.npy --k 3 --combine vote "
    "--predictions predictions.csv\n";

/* The place of word among names. */
static int choose(int *out, const char *flag, const char *word, const char *const *names, int n,
                  struct err *err)
{
    char wanted[100] = "";
    for (int i = 0; i < n; i++) {
        size_t at = strlen(wanted);
        if (strcmp(word, names[i]) == 0) {
            *out = i;
            return 0;
        }
        snprintf(wanted + at, sizeof wanted - at, "%s%s",
                 i == 0      ? ""
                 : i + 1 < n ? ", "
                             : " or ",
                 names[i]);
    }
    return err_set(err, MOE2_ECONFIG, "%s is \"%.40s\", wanted %s", flag, word, wanted);
}

struct words {
    const char *cost, *combine, *method, *objective, *missing, *stat;
};

static int take_words(struct select_options *o, const struct words *w, struct err *err)
{
    static const char *const costs[] = {"deployed", "routed"};
    static const char *const methods[] = {"auto", "enumerate"};
    static const char *const objectives[] = {"accuracy", "coverage"};
    static const char *const missing[] = {"wrong", "avoid", "drop"};
    static const char *const stats[] = {"mean", "p50", "p90", "p95", "p99", "max"};
    int v[5] = {0};
    int rc = choose(&v[0], "--cost", w->cost, costs, 2, err);
    if (!rc)
        rc = choose(&v[1], "--method", w->method, methods, 2, err);
    if (!rc)
        rc = choose(&v[2], "--objective", w->objective, objectives, 2, err);
    if (!rc)
        rc = choose(&v[3], "--missing", w->missing, missing, 3, err);
    if (!rc)
        rc = choose(&v[4], "--latency-stat", w->stat, stats, STAT_N, err);
    if (!rc)
        rc = vote_find(&o->combine, w->combine, "--combine", err);
    o->cost = (enum select_cost)v[0];
    o->method = (enum select_method)v[1];
    o->objective = (enum select_objective)v[2];
    o->missing = (enum select_missing)v[3];
    o->stat = (enum select_stat)v[4];
    return rc;
}

static int show(const struct select_options *o, bool json, const char *out, struct err *err)
{
    struct select_report r = {0};
    struct buf text = {0};
    int rc = select_run(&r, o, err);
    if (!rc)
        rc = json ? select_json(&text, &r, err) : select_text(&text, &r, false, err);
    if (!rc && out)
        rc = select_write(&r, out, err);
    if (!rc)
        fwrite(text.bytes, 1, text.n, stdout);
    if (!rc && !json)
        printf("\nread in %.3g s, solved in %.3g s\n", r.load_s, r.solve_s);
    if (!rc && !json && out)
        printf("written: %s/select.csv, select.json, select.md\n", out);
    buf_release(&text);
    select_report_release(&r);
    return rc;
}

static int run(int argc, char **argv)
{
    struct err err = {0};
    struct select_options o;
    struct words w = {"deployed", "top1", "auto", "accuracy", "wrong", "mean"};
    const char *out = NULL;
    bool json = false;
    select_options_init(&o);
    const struct cli_flag flags[] = {
        {"--outcomes", FLAG_TEXT, &o.outcomes, true},
        {"--gate-scores", FLAG_TEXT, &o.gate_scores, false},
        {"--latency", FLAG_TEXT, &o.latency, false},
        {"--energy", FLAG_TEXT, &o.energy, false},
        {"--prompt-tokens", FLAG_TEXT, &o.prompt_tokens, false},
        {"--output-tokens", FLAG_TEXT, &o.output_tokens, false},
        {"--predictions", FLAG_TEXT, &o.predictions, false},
        {"--category-limits", FLAG_TEXT, &o.category_limits, false},
        {"--latency-s", FLAG_TEXT, &o.latency_s, false},
        {"--energy-j", FLAG_TEXT, &o.energy_j, false},
        {"--experts", FLAG_TEXT, &o.experts, false},
        {"--cost", FLAG_TEXT, &w.cost, false},
        {"--combine", FLAG_TEXT, &w.combine, false},
        {"--method", FLAG_TEXT, &w.method, false},
        {"--objective", FLAG_TEXT, &w.objective, false},
        {"--missing", FLAG_TEXT, &w.missing, false},
        {"--latency-stat", FLAG_TEXT, &w.stat, false},
        {"--k", FLAG_INT, &o.k, false},
        {"--max-experts", FLAG_INT, &o.max_experts, false},
        {"--aggregation-s", FLAG_REAL, &o.aggregation_s, false},
        {"--time-limit", FLAG_REAL, &o.time_limit_s, false},
        {"--by-category", FLAG_BOOL, &o.by_category, false},
        {"--frontier", FLAG_BOOL, &o.frontier, false},
        {"--json", FLAG_BOOL, &json, false},
        {"--out", FLAG_TEXT, &out, false},
    };
    int rc = cli_parse(argc, argv, flags, COUNT_OF(flags), NULL, &err);
    if (!rc)
        rc = take_words(&o, &w, &err);
    o.sink = cli_sink();
    o.stop = cli_stop_flag();
    if (!rc)
        rc = show(&o, json, out, &err);
    return rc ? cli_fail("select", &err) : 0;
}

const struct command cmd_select = {
    "select",
    "the experts that answer the most within a latency and an energy limit",
    HELP,
    run,
};
