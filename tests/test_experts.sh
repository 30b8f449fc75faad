#!/usr/bin/env bash
# moe2 pipeline with experts of our own, end to end on tiny bases: trained on the clusters, merged, in 4 bits, asked, also as a running
# fleet; nothing twice; what
# must fail.
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
dir=$(mktemp -d)
writer=
trap '[ -n "$writer" ] && kill $writer 2>/dev/null; rm -rf "$dir"' EXIT
cd "$dir" || exit 1

fails() { # NAME STATUS MESSAGE WORDS…: moe2 pipeline WORDS
    refused "$1" "$2" "*$3*" "$moe2" pipeline "${@:4}"
}

cat >tiny.json <<'J'
{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "vocab_size": 264, "hidden_size": 64, "intermediate_size": 64,
 "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "hidden_act": "silu", "initializer_range": 0.02,
 "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "max_position_embeddings": 512, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
 "bos_token_id": 0, "eos_token_id": 1}
J
echo "some text" >text.txt
passes "a tokenizer of single bytes" "$moe2" tokenizer train --input text.txt --vocab-size 258 --out tok
for base in big little; do
    passes "a base, $base" "$moe2" init --config tiny.json --out $base --dtype bf16 --seed "${#base}"
    cp tok/tokenizer* $base/
done
cat >fleet.yaml <<'Y'
name: two experts
devices: [a, b]
kinds: [rtx-4090-like, agx-orin]
experts: [big-0, little-1]
on: [a, b]
curves: [x, y]
bases: [big, little/]
Y
cat >expert.yaml <<'Y'
name: expert
base.path: big
lora: {r: 4, alpha: 8}
data: {examples: x, choices: text}
train: {epochs: 1, batch_tokens: 1024, sequence: 512, lr: 0.01}
Y
cat >build.yaml <<'Y'
out: build
data: {by_rules: 160, by_rules_gating: 100}
embed.dim: 64
cluster.k: 2
fleet: fleet.yaml
experts: {train: true, config: expert.yaml, answer: text, quantized_questions: 8}
gate: {kind: knn, folds: 3}
profile.import: nowhere
report.fleets: ""
live.questions: 4
Y

passes "the whole build" "$moe2" pipeline --config build.yaml
cp check.out first.out
for step in gating_set corpus embed cluster experts quantize outcomes gate profile live select report; do
    passes "$step ran" grep -qE "^$step +ran " first.out
done
for f in experts/big-0/adapter_config.json experts/little-1/adapter_model.safetensors experts/big-0-Q4/config.json experts/logs/big-0.txt \
    results/accuracy/outcomes.csv results/accuracy/predictions_train.csv results/accuracy/lengths_test.csv results/accuracy/by_subject.csv \
    results/accuracy/quantized.csv results/accuracy/asked_bases/outcomes.csv gating/gate.json results/smo_tables/table4_both.csv \
    results/report.html; do
    passes "$f is made" test -s build/$f
done
passes "their answers can be put to the vote" "$moe2" pipeline --config build.yaml --from select --set select.k=2 --set select.combine=vote
passes "and back" "$moe2" pipeline --config build.yaml
ls -l --time-style=full-iso build/by_rules >before.txt
"$moe2" pipeline --config build.yaml --status >/dev/null 2>&1
passes "a look writes nothing" cmp before.txt <(ls -l --time-style=full-iso build/by_rules)
passes "nothing merged is left" test ! -e build/experts/big-0.merged

# the running fleet: four questions out of twenty, both experts, tables of them beside the recorded ones
live=build/results/live
passes "live: four questions" test "$(wc -l <$live/questions.jsonl)" = 4
passes "live: all experts on each" test "$(wc -l <$live/runs.csv)" = 9
passes "live: every fifth of the test" cmp $live/questions.jsonl <(awk 'NR % 5 == 1' build/data/gating_test.jsonl)
for q in $(tail -n +2 $live/predictions.csv | cut -d, -f1); do # the same answers as without servers
    grep -m1 "^$q," $live/predictions.csv
done >live.txt
for q in $(cut -d, -f1 live.txt); do grep -m1 "^$q," build/results/accuracy/predictions_test.csv; done >asked.txt
passes "live: the answers are those of the step outcomes" cmp live.txt asked.txt
for t in table2_latency table3_energy table4_both; do
    passes "live: $t says what it is" grep -q "live: simulated devices, slowed and metered" build/results/smo_tables/live_$t.md
    passes "live: $t has the rows of the other" test "$(wc -l <build/results/smo_tables/live_$t.csv)" = "$(wc -l <build/results/smo_tables/$t.csv)"
    passes "live: $t has as many test questions" grep -q '"questions": 4' build/results/smo_tables/live_$t.json
done
passes "live: nobody is faster than his device" awk -F, 'NR > 1 && $4 < 0.02 + 5e-5 * $2 + 0.011 * $3 - 1e-9 { exit 1 }' $live/runs.csv
passes "live: the page has them" grep -q "Table IV, live" build/results/report.html
passes "live: and says what they are" grep -q "live: simulated devices, slowed and metered" build/results/report.html
passes "live: without it there are none" "$moe2" pipeline --config build.yaml --from live --set live.questions=0
cp check.out off.out
passes "live: it is left out" grep -qE '^live +left out .*live.questions is 0' off.out
passes "live: again" "$moe2" pipeline --config build.yaml
passes "the weights are NF4" grep -q bitsandbytes build/experts/little-1-Q4/config.json
passes "every gating question was asked" test "$(wc -l <build/results/accuracy/outcomes.csv)" = 101
passes "of both experts" grep -q '^question_id,.*,big-0,little-1$' build/results/accuracy/outcomes.csv
passes "the page has the matrix" grep -q "Who is good at what" build/results/report.html
passes "and the bases" grep -q "<td[^>]*>little</td>" build/results/report.html
passes "costs are said to be made up" grep -q SYNTHETIC build/results/latency/latency.json
"$moe2" pipeline --config build.yaml --json >again.json 2>/dev/null
passes "the second run does nothing" grep -q '"ran": 0' again.json
cp fleet.yaml kept.yaml
sed -i 's/^experts: .*/experts: [little-1, big-0]/' fleet.yaml
"$moe2" pipeline --config build.yaml --status >status.out 2>/dev/null
passes "names that were swapped: the other one's data trains each" grep -qE '^experts +to do .*its inputs or its configuration changed' status.out
"$moe2" pipeline --config build.yaml --status --from quantize >status.out 2>/dev/null
passes "and each is quantized again" grep -qE '^quantize +to do .*its inputs or its configuration changed' status.out
sed -i 's/^experts: .*/experts: [big-0, small-1]/' fleet.yaml
"$moe2" pipeline --config build.yaml --status --from profile >status.out 2>/dev/null
passes "made curves are of the experts' names" grep -qE '^profile +to do .*its inputs or its configuration changed' status.out
mv kept.yaml fleet.yaml

# one adapter is gone: its run is finished and its adapter is put back, with the same bytes
sum=$(sha256sum build/experts/big-0/adapter_model.safetensors | cut -d' ' -f1)
rm -r build/experts/big-0
passes "what is gone is made again" "$moe2" pipeline --config build.yaml
cp check.out again.out
passes "and is what it was" test "$(sha256sum build/experts/big-0/adapter_model.safetensors | cut -d' ' -f1)" = "$sum"
passes "what follows needs nothing" test "$(grep -cE '^[a-z_]+ +ran ' again.out)" = 1
sed -i 's/lr: 0.01/lr: 0.02/' expert.yaml
passes "another configuration trains anew" "$moe2" pipeline --config build.yaml
passes "other adapters come out" test "$(sha256sum build/experts/big-0/adapter_model.safetensors | cut -d' ' -f1)" != "$sum"

# costs of the experts on this machine, by an estimate and by a meter on a tree of our own
measure=(--config build.yaml --from profile --to profile --set profile.measure=true --set "profile.prompts=8,24,600" --set "profile.outputs=1,4")
fails "no joules" 2 "profile: wanted a meter (profile.meter) or profile.watts: joules are not known " "${measure[@]}" --set profile.meter=none
passes "estimated joules" "$moe2" pipeline "${measure[@]}" --set profile.meter=none --set profile.watts=20
cp check.out measured.out
passes "what was timed is not timed again" grep -q "big-0: kept as measured on" measured.out
passes "is said" grep -q "2 curves: 2 measured; joules: 2 estimated" measured.out
passes "latency is measured" test "$(grep -c '"source": "measured"' build/results/latency/latency.json)" = 2
passes "joules are estimated" grep -q "estimated: 20 W times the seconds measured here" build/results/energy/energy.json
rapl=sys/class/powercap/intel-rapl:0
mkdir -p $rapl
echo package-0 >$rapl/name
echo 1000000000 >$rapl/max_energy_range_uj
echo 1000000 >$rapl/energy_uj
(
    j=1
    while sleep 0.005; do
        j=$(((j + 1) % 1000))
        echo ${j}000000 >$rapl/new && mv $rapl/new $rapl/energy_uj
    done
) &
writer=$!
passes "metered joules" "$moe2" pipeline "${measure[@]}" --set profile.sysfs=sys
cp check.out measured.out
kill $writer
writer=
passes "are said to be" grep -q "2 curves: 2 measured; joules: 2 measured" measured.out
passes "and so in the file" test "$(grep -c '"source": "measured"' build/results/energy/energy.json)" = 2
passes "by what" grep -q "counts " build/results/energy/energy.json
passes "tables of them" "$moe2" pipeline --config build.yaml --from select --set live.questions=0
passes "an imported profile again" "$moe2" pipeline --config build.yaml
fails "recorded answers can't be timed" 2 "profile.measure times experts of our own" --config build.yaml --set data.by_rules=0 --set data.root="$OLDPWD" \
    --set data.gating=mmlu --set data.mmlu=[.] --set experts.train=false --set profile.measure=true

# a fleet that can't come up; one that is broken off
cp build/experts/big-0-Q4/model.safetensors kept
head -c 100 kept >build/experts/big-0-Q4/model.safetensors
fails "an expert that can't be opened" 1 "live: the fleet ended before it was ready ($live/fleet.txt): " --config build.yaml --from live --to live
cp kept build/experts/big-0-Q4/model.safetensors
cp build/data/gating_test.jsonl kept
sed -i 1d build/data/gating_test.jsonl
fails "a row of scores a question" 1 "gating/test_scores.npy: wanted float32 scores ?19, 2?, a row for each line of" --config build.yaml --from live --to live
cp kept build/data/gating_test.jsonl
rm $live/fleet.txt
"$moe2" pipeline --config build.yaml --force live --to live --set live.questions=20 >/dev/null 2>stopped.err &
run=$!
listening $live/fleet.txt $run && kill -INT $run
wait $run
passes "broken off: status 130" test $? = 130
none_left() { ! pgrep -f -- "--config $live/fleet.yaml --parent $run" >/dev/null; }
passes "broken off: the fleet has ended" none_left

sed 's/bases: .*/bases: [big]/' fleet.yaml >one.yaml
sed 's/big-0/..\/big/' fleet.yaml >out.yaml
fails "an expert outside" 2 'an expert is called "../big", wanted the name of a folder' --config build.yaml --out other --set fleet=out.yaml
exec 9<build/experts/experts.pid
flock 9
fails "children of a run that ended" 2 "build/experts is being worked on by what process $(cat build/experts/experts.pid) started" \
    --config build.yaml --force experts
echo $$ >build/experts/experts.pid
fails "somebody is at it" 2 "build/experts is being worked on by process $$" --config build.yaml --force experts
exec 9<&-
fails "a base is missing" 2 "one.yaml: bases has 1 entries, wanted 2" --config build.yaml --set fleet=one.yaml
sed 's/bases: .*/bases: []/' fleet.yaml >none.yaml
fails "no bases" 2 "bases has 0 entries, wanted 2, one for each of experts (experts.train)" --config build.yaml --set fleet=none.yaml
sed 's/bases: .*/bases: [big, gone]/' fleet.yaml >gone.yaml
fails "a base that is not there" 1 "gone" --config build.yaml --out other --set fleet=gone.yaml
fails "as many clusters as experts" 2 "cluster.k is 3, wanted 2, one for each of fleet.yaml's experts" --config build.yaml --set cluster.k=3
fails "nobody answered these" 2 "wanted experts.train: true" --config build.yaml --set experts.train=false
sed 's/r: 4/r: 0/' expert.yaml >bad.yaml
fails "a run that fails says why" 1 ": moe2 finetune: bad.yaml:3: lora.r is " --config build.yaml --out other --set experts.config=bad.yaml
passes "and leaves no expert" test ! -e other/experts/big-0

finish
