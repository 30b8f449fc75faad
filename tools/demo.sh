#!/usr/bin/env bash
# The main job on built-in data: the small DeepSeek-V3 model under RD-ESI, no incentive, the auxiliary loss, loss-free bias and expert choice,
# about 120,000 tokens each on Italian documentation out of Debian's own packages; evaluation, table, report. Then the two-level build with
# experts of its own, trained, put in 4 bits and asked on the spot; and, where the shared data lies beside the project, the build on recorded answers of
# real models. Six to eight minutes on two cores.
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
build=${MOE2_DEMO_BUILD:-results/two_level}
recorded=
if [ -d ../shared/data/mmlu_pro ]; then # on the cores that the rest leaves idle: five runs on two cores are one short of six
    mkdir -p "$(dirname "$build")"
    nice -n 19 "$moe2" pipeline --config configs/moe2.yaml --out "${build}_recorded" --set threads=1 >"${build}_recorded.txt" 2>&1 &
    recorded=$!
    trap 'kill $recorded 2>/dev/null || true' EXIT
fi
echo "== five routers, the same model, data and initial weights"
"$moe2" compare --out "$out" --seeds 1 --jobs "$(nproc)" --tokens 120000 --set data.dir="$data" --set train.batch_tokens=512 \
    --set eval.tokens=8192 --set eval.test_tokens=32768 \
    --configs configs/rd_esi_config.yaml configs/none_config.yaml configs/top_k_baseline_config.yaml \
    configs/loss_free_config.yaml configs/expert_choice_baseline_config.yaml
echo "the report is in $out/report.html"
echo "== eight experts of our own: trained on clusters of questions, in 4 bits, a gate over them, who is in service within each budget"
"$moe2" pipeline --config configs/built_in.yaml --out "$build"
echo "the report is in $build/results/report.html, tables II to IV in $build/results/smo_tables, those of the running fleet beside them (live_)"
if [ -n "$recorded" ]; then
    echo "== the same on recorded answers of eight real models: which to keep in service within limits, and who answers what"
    wait "$recorded" || { cat "${build}_recorded.txt"; exit 1; }
    trap - EXIT
    cat "${build}_recorded.txt"
    echo "the report is in ${build}_recorded/results/report.html"
fi
