#!/usr/bin/env bash
# The main job on built-in data: the small DeepSeek-V3 model under RD-ESI, no incentive, the auxiliary loss, loss-free bias and expert choice,
# about 120,000 tokens each on Italian documentation out of Debian's own packages; evaluation, table, report. Then the two-level build on recorded
# answers of real models, where the shared data lies beside the project, else on synthetic ones. About five minutes on two cores.
#   tools/demo.sh [MOE2] [--text FILE]     MOE2: the program (build/release/moe2); FILE: text to use instead
set -eu
cd "$(dirname "$0")/.."
moe2=build/release/moe2
case ${1:-} in --*|"") ;; *) moe2=$1; shift ;; esac
out=${MOE2_DEMO_OUT:-results/demo}
data=${MOE2_DEMO_DATA:-data/italian}
if [ ! -f "$data/manifest.json" ]; then
    echo "== Italian text"
    "$moe2" data italian --out "$data" "$@"
fi
echo "== five routers, the same model, data and initial weights"
"$moe2" compare --out "$out" --seeds 1 --jobs "$(nproc)" --tokens 120000 --set data.dir="$data" --set train.batch_tokens=512 \
    --set eval.tokens=8192 --set eval.test_tokens=32768 \
    --configs configs/rd_esi_config.yaml configs/none_config.yaml configs/top_k_baseline_config.yaml \
    configs/loss_free_config.yaml configs/expert_choice_baseline_config.yaml
echo "the report is in $out/report.html"
echo "== which of eight language models to keep in service within limits, and who answers what"
"$moe2" pipeline --config configs/moe2.yaml --out "${MOE2_DEMO_BUILD:-results/two_level}"
echo "tables II to IV are in ${MOE2_DEMO_BUILD:-results/two_level}/results/smo_tables"
