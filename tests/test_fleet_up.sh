#!/usr/bin/env bash
# moe2 fleet up from outside: experts as processes behind one endpoint, a gate that picks among them, votes, streams passed on, an expert
# that is killed and comes back, and no process left behind.   test_fleet_up.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
source=$(cd "$(dirname "$0")/.." && pwd)
model=$source/tests/fixtures/choice
tmp=$(mktemp -d)
fleet= url=
trap '[ -n "$fleet" ] && kill -9 $fleet 2>/dev/null; rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

"$moe2" fleet up --help | grep -q '^example:' || fault "fleet up --help has no example"
"$moe2" fleet up --help-config | grep -q 'in_service' || fault "--help-config lacks a key"
command -v curl >/dev/null || { echo "skipped: there is no curl"; exit 0; }
if ! "$moe2" serve --model "$model" --host 127.0.0.x >/dev/null 2>stderr && grep -q 'built without' stderr; then
    echo "skipped: $(cat stderr)"
    exit 0
fi

# three experts that say different things: the same shape, other weights
for e in ant bee cat; do
    mkdir $e
    cp "$model/config.json" "$model/tokenizer.json" $e/
done
cp "$model/model.safetensors" ant/
"$moe2" init --config "$model/config.json" --out bee --seed 2 >/dev/null 2>&1 || fault "init"
cp "$model/model.safetensors" cat/
cp "$model/tokenizer.json" bee/
cat >fleet.yaml <<'Y'
name: zoo
experts: [ant, bee, cat]
models: [ant, bee, cat]
answers: both
k: 3
combine: vote
port: 0
Y

up() { # WORDS of fleet up: then $url and $fleet are set
    "$moe2" fleet up --local --config fleet.yaml "$@" >up.out 2>up.err &
    fleet=$!
    listening up.out $fleet || { fault "the fleet does not listen: $(cat up.err)"; exit 1; }
    chat=$url/v1/chat/completions
}
alive() { grep -q '^State:[[:space:]]*[RSDTt]' "/proc/$1/status" 2>/dev/null; } # a zombie nobody waits for is not
pids() { curl -s "$url/health" | grep -o '"pid":[1-9][0-9]*' | sed 's/.*://'; }
down() {
    local of rc
    of=$(pids)
    kill -TERM $fleet
    wait $fleet
    rc=$?
    [ $rc -eq 0 ] || fault "SIGTERM ended the fleet with status $rc: $(cat up.err)"
    for p in $of; do alive "$p" && fault "process $p was left behind"; done
    fleet=
}
json='Content-Type: application/json'
post() { curl -s -D head -H "$json" "$chat" -d "$1"; }
field() { grep -o '"'"$1"'":\("[^"]*"\|[^,}]*\)' "${2:-reply}" | head -1 | sed 's/^"[^"]*"://'; }
said_by() { "$moe2" generate --model "$1" --prompt "$2" --max-tokens 8 --temperature 0 --threads 1 --json 2>/dev/null | sed 's/^{"text":\("[^"]*"\).*/\1/'; }

# ---- all three vote: ant and cat say the same, so bee loses ----
up
ask='"messages":[{"role":"user","content":"The capital of Italy is"}],"max_tokens":8,"temperature":0}'
post "{\"model\":\"zoo\",$ask" >reply
[ "$(field content)" = "$(said_by ant "The capital of Italy is")" ] || fault "ant says $(said_by ant "The capital of Italy is"), the fleet $(cat reply)"
[ "$(grep -o '"expert":"[a-z]*"' reply | tr -d '\n')" = '"expert":"ant""expert":"ant""expert":"bee""expert":"cat"' ] || fault "who was asked: $(cat reply)"
grep -qi '^x-moe2-asked: ant,bee,cat' head && grep -qi '^x-moe2-expert: ant' head || fault "headers: $(cat head)"
[ "$(field model)$(field object)$(field combine)" = '"zoo""chat.completion""vote"' ] || fault "the shape: $(cat reply)"
[ "$(field prompt_tokens)" -eq 45 ] || fault "tokens are those of all: $(cat reply)"
post "{\"model\":\"bee\",$ask" >reply
[ "$(field content)" = "$(said_by bee "The capital of Italy is")" ] || fault "bee by name: $(cat reply)"
[ "$(field content)" != "$(said_by ant "The capital of Italy is")" ] || fault "ant and bee say the same: the test shows nothing"
post "{\"model\":\"zoo\",\"stream\":true,$ask" >events
grep -q '^data: {.*"object":"chat.completion.chunk"' events && [ "$(tail -2 events | head -1)" = "data: [DONE]" ] || fault "a vote as events: $(cat events)"
post "{\"model\":\"cat\",\"stream\":true,$ask" >events
[ "$(grep -c '^data: {' events)" -gt 3 ] || fault "a stream that is passed on: $(cat events)"
post "{\"model\":\"zoo\",\"guided_choice\":[\" A\",\" B\"],$ask" >reply
[[ $(field content) =~ ^\"\ [AB]\"$ ]] || fault "a choice: $(cat reply)"
[ "$(curl -s "$url/v1/models" | grep -o '"id":"[a-z]*"' | tr -d '\n')" = '"id":"zoo""id":"ant""id":"bee""id":"cat"' ] || fault "models: $(curl -s "$url/v1/models")"

# ---- what a client can do wrong ----
denied() { # STATUS MESSAGE BODY
    local got
    got=$(curl -s -o body -w '%{http_code}' -H "$json" "$chat" -d "$3")
    # shellcheck disable=SC2053
    [ "$got" = "$1" ] && [[ $(cat body) == '{"error":{"message":"'$2'","type":"'* ]] || fault "$3: $got $(cat body), wanted $1 $2"
}
denied 404 'the model *gpt* is not here, wanted *zoo* or an expert?s name' "{\"model\":\"gpt\",$ask"
denied 400 'request:1:12: is no JSON: *' '{"model":"zo'
denied 400 'request: max_tokens is -1, wanted *' '{"model":"zoo","messages":[{"role":"user","content":"x"}],"max_tokens":-1}'
long=$(printf 'x y %.0s' $(seq 3000))
denied 400 '* there is room for *' "{\"model\":\"zoo\",\"messages\":[{\"role\":\"user\",\"content\":\"$long\"}]}"
denied 400 '* there is room for *' "{\"model\":\"ant\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"$long\"}]}"
head -c 10000000 /dev/zero | tr '\0' a >big
[ "$(curl -s -o body -w '%{http_code}' -H "$json" -H 'Expect:' "$chat" --data-binary @big)" = 413 ] || fault "ten million bytes: $(cat body)"

# ---- an expert is killed: the others answer, and it comes back ----
bee=$(pids | sed -n 2p)
kill -9 "$bee"
post "{\"model\":\"zoo\",$ask" >reply
[ "$(field content)" = "$(said_by ant "The capital of Italy is")" ] || fault "with bee dead: $(cat reply)"
for _ in $(seq 600); do
    curl -s "$url/health" >health
    grep -q '"name":"bee","in_service":true,"ready":true,"url":"[^"]*","pid":[0-9]*,"restarts":1' health && break
    sleep 0.05
done
grep -q '"name":"bee","in_service":true,"ready":true,"url":"[^"]*","pid":[0-9]*,"restarts":1' health || fault "bee did not come back: $(cat health)"
[ "$(pids | sed -n 2p)" != "$bee" ] || fault "bee has its old number"
post "{\"model\":\"bee\",$ask" >reply
[ "$(field content)" = "$(said_by bee "The capital of Italy is")" ] || fault "bee after it came back: $(cat reply)"
grep -q 'bee was ended by signal 9, is started again' up.err || fault "nothing was said of it: $(cat up.err)"
down

# ---- the gate picks: one that finds bee best, whatever the text ----
"$moe2" data synth --out data --train 20 --gating-train 40 --gating-test 16 --few-shot 80 >/dev/null || fault "data synth"
"$moe2" embed --features hashed --fit data/gating_train.jsonl --in data/gating_train.jsonl --dim 64 --out e.npy --state f.safetensors >/dev/null 2>&1 || fault "embed"
awk -F'"' 'BEGIN { print "question_id,category,answer,ant,bee,cat" } { print $4 ",c,A," (NR % 4 == 0) ",1," (NR % 3 == 0) }' data/gating_train.jsonl >outcomes.csv
"$moe2" gate train --embeddings e.npy --outcomes outcomes.csv --out gate --kind knn >/dev/null 2>&1 || fault "gate train"
up --set gate=gate --set features=f.safetensors --set k=1 --set combine=top1
post "{\"model\":\"zoo\",$ask" >reply
[ "$(field content)" = "$(said_by bee "The capital of Italy is")" ] || fault "the gate's pick: $(cat reply)"
[[ $(grep -o '"expert":"[a-z]*","score":[0-9.]*' reply) =~ ^\"expert\":\"bee\",\"score\":0\.9[0-9]*$ ]] || fault "the gate's score: $(cat reply)"
kill -STOP "$(pids | sed -n 2p)" # it hangs: whoever waits for it is told, and nobody else
curl -s -m 1 -H "$json" "$chat" -d "{\"model\":\"bee\",$ask" >/dev/null
post "{\"model\":\"ant\",$ask" >reply
[ "$(field content)" = "$(said_by ant "The capital of Italy is")" ] || fault "beside one that hangs: $(cat reply)"
down

# ---- one of several in service; the first of equals; who dies with whom ----
up --set in_service=cat --set k=1
post "{\"model\":\"zoo\",$ask" >reply
[ "$(grep -o '"asked":\[{"expert":"[a-z]*"' reply)" = '"asked":[{"expert":"cat"' ] || fault "only cat is in service: $(cat reply)"
of=$(pids)
kill -9 $fleet
wait $fleet 2>/dev/null
fleet=
sleep 1
for p in $of; do alive "$p" && fault "process $p outlived a fleet that was killed"; done

# ---- experts elsewhere: a fleet without processes in front of a server of ours ----
"$moe2" serve --model ant --name far --port 0 --threads 1 >far.out 2>far.err &
far=$!
listening far.out $far || fault "the server does not listen: $(cat far.err)"
printf 'experts: [near, gone]\nmodels: [far, x]\nurls: ["%s", "http://127.0.0.1:9"]\nk: 2\nport: 0\n' "$url" >far.yaml
"$moe2" fleet up --config far.yaml >up.out 2>up.err &
fleet=$!
listening up.out $fleet || fault "the fleet does not listen: $(cat up.err)"
chat=$url/v1/chat/completions
post "{\"model\":\"moe2\",$ask" >reply
[ "$(field content)" = "$(said_by ant "The capital of Italy is")" ] || fault "an expert elsewhere: $(cat reply)"
grep -q '"expert":"gone","score":0,"answer":null,"failure":"http://127.0.0.1:9/v1/chat/completions: ' reply || fault "one that is not there: $(cat reply)"
denied 503 'nobody of the 1 asked answered; gone: http://127.0.0.1:9/*' "{\"model\":\"gone\",$ask"
down
kill -TERM $far
wait $far

# ---- words ----
fails() { # STATUS MESSAGE WORDS…: moe2 fleet up WORDS
    refused "fleet up ${*:3}" "$1" "moe2 fleet up: $2" timeout 60 "$moe2" fleet up "${@:3}"
}
fails 2 '--config is missing (see --help)' --local
fails 2 '*k is "4000", wanted a whole number from 1 to 64' --local --config fleet.yaml --set k=4000
fails 2 'fleet.yaml: without a gate all 3 in service are asked, and k is 2' --local --config fleet.yaml --set k=2
fails 2 'fleet.yaml: models has 2 entries, wanted 3, one for each of experts' --local --config fleet.yaml --set models=ant,bee
fails 2 'fleet.yaml: in_service has "dog", no expert of it' --local --config fleet.yaml --set in_service=dog
fails 2 'fleet.yaml: gate is given and features is not, wanted both or none' --local --config fleet.yaml --set gate=gate
fails 2 'the configuration has no urls: wanted --local, or urls' --config fleet.yaml
fails 1 'bee ended with status * before it was ready' --local --config fleet.yaml --set models=ant,nothing,cat
fails 2 'gate*: expert 0 is "ant", in the fleet "dog"' --local --config fleet.yaml --set gate=gate --set features=f.safetensors --set experts=dog,bee,cat

finish "fleet up: all as promised"
