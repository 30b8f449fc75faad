#!/usr/bin/env bash
# moe2 forward --live from outside: running experts say what moe2 answer says of the same questions, the tables are the same, and costs and
# selection go on from what the run left.   test_forward_live.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
source=$(cd "$(dirname "$0")/.." && pwd)
model=$source/tests/fixtures/choice
tmp=$(mktemp -d)
fleet= url=
trap '[ -n "$fleet" ] && kill $fleet 2>/dev/null && wait $fleet; rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
if ! "$moe2" serve --model "$model" --host 127.0.0.x >/dev/null 2>stderr && grep -q 'built without' stderr; then
    echo "skipped: $(cat stderr)"
    exit 0
fi

mkdir ant
cp "$model"/*.json "$model/model.safetensors" ant/
"$moe2" init --config "$model/config.json" --out bee --seed 2 >/dev/null 2>&1 || fault "init"
cp "$model/tokenizer.json" bee/
"$moe2" data synth --out data --train 20 --gating-train 40 --gating-test 16 --few-shot 80 >/dev/null || fault "data synth"
q=data/gating_test.jsonl
for e in ant bee; do
    printf '"%s":{"device":"a-device","unit":"s","source":"published","points":[],"fit":{"t0":%s,"prefill":0.001,"decode":0.25}}\n' $e 0.5
done | paste -sd, | sed 's/.*/{&}/' >latency.json
printf '{"ant":{"device":"a-device","unit":"J","source":"estimated","points":[],"fit":{"t0":5,"prefill":0,"decode":1}},"bee":{"device":"a-device","unit":"J","source":"estimated","points":[],"fit":{"t0":7,"prefill":0,"decode":1}}}' >energy.json
printf 'experts: [ant, bee]\nmodels: [ant, bee]\nanswers: choices\nlatency: latency.json\nenergy: energy.json\npace: 0\nk: 2\nport: 0\n' >fleet.yaml

"$moe2" fleet up --local --config fleet.yaml >up.out 2>up.err &
fleet=$!
listening up.out $fleet || { fault "the fleet does not listen: $(cat up.err)"; exit 1; }

"$moe2" answer --models ant,bee --questions $q --out recorded --threads 1 >/dev/null || fault "answer"
"$moe2" forward --live "$url" --questions $q --k 2 --out live >live.txt || fault "forward --live"
for f in outcomes predictions lengths; do
    cmp recorded/$f.csv live/$f.csv || fault "$f.csv differs from moe2 answer's"
done
"$moe2" forward --outcomes recorded/outcomes.csv --predictions recorded/predictions.csv --k 2 --out offline >offline.txt || fault "forward"
cmp live.txt offline.txt || fault "live and recorded answers are told differently"
cmp live/answers.jsonl offline/answers.jsonl || fault "answers.jsonl differs"
[ "$(wc -l <live/runs.csv)" -eq 33 ] || fault "runs.csv has $(wc -l <live/runs.csv) lines, wanted 33"
head -2 live/runs.csv | tail -1 | grep -qE '^ant,[0-9]+,[0-9]+,[0-9.]+,[0-9.]+,a-device,published,estimated$' || fault "a run: $(head -2 live/runs.csv)"

# a gate that likes ant on every question: float32 [16, 2]
printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (16, 2), }" >scores.npy
for _ in $(seq 16); do printf '\0\0\200\077\0\0\0\0'; done >>scores.npy

# costs of that run: the devices' curves again, called what they are; then the selection
"$moe2" profile --import live/runs.csv --out results --json >profile.json 2>profile.err || fault "profile: $(cat profile.err)"
grep -q '"source": *"published"' results/latency/latency.json || fault "latency is not called published: $(cat results/latency/latency.json)"
grep -q '"source": *"estimated"' results/energy/energy.json || fault "energy is not called estimated"
"$moe2" select --outcomes live/outcomes.csv --predictions live/predictions.csv --latency results/latency/latency.json --energy results/energy/energy.json \
    --output-tokens live/lengths.csv --gate-scores scores.npy --latency-s 1,2,3 --energy-j 5,10,20 --json >select.txt 2>select.err || fault "select: $(cat select.err)"

# only those that the gate asks: the others stay empty
"$moe2" forward --live "$url" --questions $q --subset bee --limit 3 --out few --json >few.json || fault "a subset"
grep -q '"questions":3,' few.json || fault "--limit: $(cat few.json)"
[ "$(tail -n +2 few/outcomes.csv | cut -d, -f5 | tr -d '\n')" = "" ] || fault "ant was asked: $(cat few/outcomes.csv)"
"$moe2" forward --live "$url" --questions $q --gate-scores scores.npy --k 1 --out one >one.txt 2>one.err || fault "a gate: $(cat one.err)"
grep -q 'the best single one and the oracle are not known' one.txt || fault "partial: $(cat one.txt)"
[ "$(tail -n +2 one/outcomes.csv | cut -d, -f6 | tr -d '\n')" = "" ] || fault "bee was asked: $(cat one/outcomes.csv)"

fails() { # STATUS MESSAGE WORDS…: moe2 forward WORDS
    refused_alone "forward ${*:3}" "$1" "moe2 forward: $2" "$moe2" forward "${@:3}"
}
fails 2 '--live wants --questions: what is to be asked' --live "$url"
fails 2 '--live asks running experts: *' --live "$url" --questions $q --outcomes x.csv
fails 2 '--live is "ftp://x", wanted http://host:port' --live ftp://x --questions $q
fails 1 'http://127.0.0.1:9/health: *' --live http://127.0.0.1:9 --questions $q
fails 2 '--gate-scores is missing: without it all 2 experts are asked, and --k is 1' --live "$url" --questions $q
fails 2 '--subset: http://* has no "dog", wanted names such as "ant"' --live "$url" --questions $q --subset dog
kill -TERM $fleet
wait $fleet || fault "the fleet ended with status $?"
fleet=
fails 1 'http://*/health: *' --live "$url" --questions $q --k 2

# one server without curves: time is measured here, and of joules nobody says a word
"$moe2" serve --model ant --answers choices --port 0 --threads 1 >serve.out 2>serve.err &
fleet=$!
listening serve.out $fleet || fault "the server does not listen: $(cat serve.err)"
"$moe2" forward --live "$url" --questions $q --limit 3 --k 1 --out plain >/dev/null 2>plain.err || fault "a server: $(cat plain.err)"
grep -qE '^ant,[0-9]+,[0-9]+,[0-9.e-]+,,,measured,$' plain/runs.csv || fault "a run without curves: $(cat plain/runs.csv)"
"$moe2" profile --import plain/runs.csv --out plain >/dev/null 2>plain.err || fault "profile of it: $(cat plain.err)"
kill -TERM $fleet
wait $fleet || fault "the server ended with status $?"
fleet=

finish "forward --live: all as promised"
