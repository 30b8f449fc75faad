#!/usr/bin/env bash
# moe2 pipeline from outside, on synthetic data: every step once, nothing twice, what changed again; what must fail.
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

fails() { # NAME STATUS MESSAGE WORDS…: moe2 pipeline WORDS
    refused "$1" "$2" "moe2 pipeline: $3*" "$moe2" pipeline "${@:4}"
}

cat >small.yaml <<'Y'
out: build
data: {root: nowhere, synthetic_rows: 400}
embed.dim: 64
gate: {kind: knn, folds: 3}
Y
state() { awk -v step="$1" '$1 == step { print $2 }' status.out; }

passes "the first run does everything" "$moe2" pipeline --config small.yaml
cp check.out first.out
passes "it says that the data is made up" grep -q "^note: SYNTHETIC" first.out
for step in gating_set corpus embed cluster outcomes gate profile select report; do
    passes "$step ran" grep -qE "^$step +ran " first.out
done
passes "there is nothing to train" grep -qE "^experts +left out" first.out
for f in data/gating_train.jsonl data/combined_train.jsonl data/embeddings.npy data/cluster_7.jsonl results/accuracy/outcomes.csv \
    results/accuracy/predictions_test.csv results/accuracy/lengths_train.csv results/accuracy/by_subject.csv gating/gating.safetensors \
    gating/oof_scores.npy gating/test_scores.npy results/latency/latency.json results/energy/energy.json \
    results/smo_tables/table2_latency.md results/smo_tables/table3_energy.csv results/smo_tables/table4_both.json results/report.html pipeline.json; do
    passes "$f is made" test -s build/$f
done
passes "the manifest says that it is synthetic" grep -q '"note": "SYNTHETIC' build/pipeline.json
passes "so does the gating set's" grep -q '"note": "SYNTHETIC' build/data/gating_set.json
passes "so do the tables" grep -q 'SYNTHETIC' build/results/smo_tables/table2_latency.md
passes "so does the page" grep -q 'SYNTHETIC' build/results/report.html
passes "table IV has all pairs" test "$(wc -l <build/results/smo_tables/table4_both.csv)" = 31
passes "every answer is proven" test "$(tail -n +2 build/results/smo_tables/table4_both.csv | cut -d, -f13 | sort -u)" = 1
passes "so do the costs" grep -q 'SYNTHETIC' build/results/latency/latency.json
wilson() { # every line of by_subject.csv against Wilson's formula
    awk -F, 'NR > 1 && $(NF - 4) > 0 { n = $(NF - 4); k = $(NF - 3); p = k / n; z2 = 1.959963984540054 ^ 2
        half = sqrt(z2 * p * (1 - p) / n + z2 * z2 / (4 * n * n)) / (1 + z2 / n); middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        if ($NF - middle - half > 6e-5 || middle + half - $NF > 6e-5) bad++
        if ($(NF - 1) - middle + half > 6e-5 || middle - half - $(NF - 1) > 6e-5) bad++ }
        END { exit bad > 0 || NR < 2 }' "$1"
}
passes "intervals by subject are Wilson's" wilson build/results/accuracy/by_subject.csv
passes "the vectors line up with the outcomes" test "$(tail -n +2 build/results/accuracy/outcomes_test.csv | cut -d, -f1 | tr '\n' ' ')" = \
    "$(sed 's/{"id":"\([0-9]*\)".*/\1/' build/data/gating_test.jsonl | tr '\n' ' ')"

"$moe2" pipeline --config small.yaml --json >again.json 2>/dev/null
passes "the second run does nothing" grep -q '"ran": 0' again.json
"$moe2" pipeline --config small.yaml --status --set gate.folds=4 >status.out 2>/dev/null
passes "another gate: the gate is to be done" test "$(state gate)" = to
passes "and the vectors are done" test "$(state embed)" = "done"
echo >>build/data/clusters.json
"$moe2" pipeline --config small.yaml --status >status.out 2>/dev/null
passes "a file that was touched is seen" test "$(state cluster)" = to
passes "it is made again" "$moe2" pipeline --config small.yaml
passes "and nothing else" test "$(grep -cE '^[a-z_]+ +ran ' check.out)" = 1
passes "a step is forced" "$moe2" pipeline --config small.yaml --force profile
passes "and alone" test "$(grep -cE '^[a-z_]+ +ran ' check.out)" = 1
passes "another seed does all again" "$moe2" pipeline --config small.yaml --set seed=2 --to embed
passes "up to the last one asked for" test "$(grep -cE '^[a-z_]+ +ran ' check.out)" = 3
rm -rf build2
"$moe2" pipeline --config small.yaml --out build2 >/dev/null 2>&1
"$moe2" pipeline --config small.yaml --out build >/dev/null 2>&1
for f in data/gating_train.jsonl data/embeddings.npy data/labels.npy gating/oof_scores.npy results/accuracy/outcomes.csv; do
    passes "the same seed gives the same $f" cmp build/$f build2/$f
done

"$moe2" pipeline --help-config >help.out
passes "help-config lists the keys with their meaning" grep -q "folder that everything is made under" help.out
fails "a step of no name" 2 '--from is "gat", no step of that name, did you mean gate?' --config small.yaml --from gat
fails "a mistyped key" 2 "" --config small.yaml --set clusters.k=3
fails "a word that is no override" 2 '"gate" is no key=value (see --help)' --config small.yaml gate
fails "no data, and none may be made" 1 "nowhere/mmlu_pro/questions.jsonl: is not there (data.root, data.mmlu_pro)" --config small.yaml \
    --set data.synthetic=never
fails "a step whose inputs are not there" 1 "step cluster: needs empty/data/embeddings.npy, which is not there" --config small.yaml --out empty \
    --from cluster
fails "a configuration that is not there" 1 "" --config none.yaml
echo '{"format": "other"}' >build2/pipeline.json
fails "a manifest of something else" 1 'build2/pipeline.json: format is "other", wanted "moe2 pipeline"' --config small.yaml --out build2

# one at a time
passes "the process at work is named" grep -qxE "[0-9]+" build/pipeline.pid
echo $$ >build/pipeline.pid
exec 9<build/pipeline.pid
flock 9
fails "somebody is at it" 2 "build is being worked on by process $$" --config small.yaml
passes "a look at the state is no work" "$moe2" pipeline --config small.yaml --status
exec 9<&-
passes "and it is free again" "$moe2" pipeline --config small.yaml

finish
