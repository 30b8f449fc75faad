#!/usr/bin/env bash
# moe2 serve from outside: what its endpoints answer, that they say what moe2 generate, chat and answer say, and one sentence for everything
# that a client can do wrong.   test_serve.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
source=$(cd "$(dirname "$0")/.." && pwd)
model=$source/tests/fixtures/choice
tmp=$(mktemp -d)
server= url=
trap '[ -n "$server" ] && kill -9 $server 2>/dev/null; rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

"$moe2" serve --help | grep -q '^example:' || fault "serve --help has no example"
command -v curl >/dev/null || { echo "skipped: there is no curl"; exit 0; }
if ! "$moe2" serve --model "$model" --host 127.0.0.x >/dev/null 2>stderr && grep -q 'built without' stderr; then
    echo "skipped: $(cat stderr)"
    exit 0
fi

# up NAME WORDS...: serves WORDS on a free port; $url and $server are then set
up() {
    local name=$1
    shift
    "$moe2" serve --name "$name" --port 0 --threads 1 "$@" >"$name.out" 2>"$name.err" &
    server=$!
    listening "$name.out" $server || { fault "$name does not listen: $(cat "$name.err")"; exit 1; }
}
down() { # ends it and looks at how
    kill -TERM $server
    wait $server
    local rc=$?
    [ $rc -eq 0 ] || fault "SIGTERM ended it with status $rc: $(cat "$1.err")"
    server=
}
json='Content-Type: application/json'
post() { curl -s -H "$json" "$url/v1/chat/completions" -d "$1"; }
# denied STATUS MESSAGE CURLS_WORDS...: MESSAGE is a pattern of the shell
denied() {
    local status=$1 message=$2 got said
    shift 2
    got=$(curl -s -o body -w '%{http_code}' "$@")
    said=$(sed -n 's/^{"error":{"message":"\(.*\)","type":"[a-z_]*","param":null,"code":[a-z_"]*}}$/\1/p' body)
    [ "$got" = "$status" ] || fault "$*: status $got, wanted $status"
    # shellcheck disable=SC2053
    [[ $said == $message ]] || fault "$*: said \"$(cat body)\", wanted \"$message\""
}
field() { sed 's/.*"'"$1"'":\("[^"]*"\|[^,}]*\).*/\1/' "${2:-reply}"; }

# ---- a model that goes on with texts ----
up plain --model "$model" --answers both --queue 4
ask='{"model":"plain","messages":[{"role":"user","content":"The capital of Italy is"}],"max_tokens":12,"temperature":'
post "${ask}0}" >reply
"$moe2" generate --model "$model" --prompt "The capital of Italy is" --max-tokens 12 --temperature 0 --threads 1 --json >wanted 2>/dev/null
[ "$(field content)" = "$(field text wanted)" ] || fault "generate says $(cat wanted), the endpoint $(cat reply)"
grep -qE '^\{"id":"chatcmpl-[0-9-]+","object":"chat.completion","created":[0-9]+,"model":"plain","choices":\[\{"index":0,"message":\{"role":"assistant","content":".*","refusal":null\},"logprobs":null,"finish_reason":"length"\}\],"usage":\{"prompt_tokens":15,"completion_tokens":12,"total_tokens":27\},"moe2":\{' reply ||
    fault "not the shape of a completion: $(cat reply)"
post "${ask}2,\"seed\":5,\"top_k\":20}" >one
"$moe2" generate --model "$model" --prompt "The capital of Italy is" --max-tokens 12 --temperature 2 --top-k 20 --seed 5 --threads 1 --json >wanted 2>/dev/null
[ "$(field content one)" = "$(field text wanted)" ] || fault "a seed: generate says $(cat wanted), the endpoint $(cat one)"
post "${ask}0,\"stop\":[\"no such\",\"not\"]}" >reply
[ "$(field content)$(field finish_reason)" = '" ""stop"' ] || fault "a stop string: $(cat reply)"

# the same as events: pieces that make the same text, an end, the usage, [DONE]
curl -s -N -H "$json" "$url/v1/chat/completions" -d "${ask}0,\"stream\":true,\"stream_options\":{\"include_usage\":true}}" >events
post "${ask}0}" >reply
pieces=$(grep -o '"delta":{[^}]*}' events | sed 's/.*"content":"\(.*\)"}/\1/; s/"delta":{}//' | tr -d '\n')
[ "\"$pieces\"" = "$(field content)" ] || fault "the stream says $pieces, the whole $(field content)"
[ "$(grep -c '^data: {.*"object":"chat.completion.chunk"' events)" -eq "$(grep -c '^data: {' events)" ] || fault "events: $(cat events)"
grep -q '"delta":{},"logprobs":null,"finish_reason":"length"' events || fault "no event with the reason: $(cat events)"
grep -q '"choices":\[\],"usage":{"prompt_tokens":15,"completion_tokens":12,"total_tokens":27}' events || fault "no usage: $(cat events)"
[ "$(tail -2 events | head -1)" = "data: [DONE]" ] || fault "the stream's end: $(tail -3 events)"

# choices: what moe2 answer says of the same question
printf '{"id":"q","source":"s","subject":"history","question":"Who?","choices":["x","a cat","no"],"answer":1,"kind":"choice"}\n' >q.jsonl
"$moe2" answer --models plain="$model" --questions q.jsonl --out answers --threads 1 >/dev/null || fault "answer"
letter=$(tail -1 answers/predictions.csv | sed 's/.*,//')
post '{"model":"plain","messages":[{"role":"user","content":"The following are multiple choice questions (with answers) about history.\n\nWho?\nA. x\nB. a cat\nC. no\nAnswer:"}],"guided_choice":[" A"," B"," C"]}' >reply
[ "$(field content)" = "\" $letter\"" ] || fault "answer says $letter, the endpoint $(cat reply)"
scores=$(sed 's/.*"logprobs":\[\([^]]*\)\]}}$/\1/' reply)
[ "$(tr ',' '\n' <<<"$scores" | grep -c .)" -eq 3 ] || fault "not three log-probabilities: $(cat reply)"
post '{"model":"plain","messages":[{"role":"user","content":"Who?"}],"guided_choice":["yes","no"],"stream":true}' | grep -qE '"content":"(yes|no)"' || fault "a streamed choice"

[ "$(curl -s "$url/v1/models" | sed 's/"created":[0-9]*/"created":0/')" = '{"object":"list","data":[{"id":"plain","object":"model","created":0,"owned_by":"moe2"}]}' ] || fault "models: $(curl -s "$url/v1/models")"
curl -s "$url/health" | grep -q '^{"status":"ok","model":"plain","waiting":0,"answered":[0-9]*}$' || fault "health"

# ---- what a client can do wrong ----
chat=$url/v1/chat/completions
bad() { denied "$1" "$2" -H "$json" "$chat" -d "$3"; }
m='"model":"plain","messages":[{"role":"user","content":"x"}]'
bad 400 'request:1:13: is no JSON: *' '{"model":"pla'
bad 400 'request: is no object, *' '[1]'
bad 400 'request: model is missing, wanted a string' '{"messages":[]}'
bad 404 'the model *gpt* is not here, wanted *plain*' '{"model":"gpt","messages":[{"role":"user","content":"x"}]}'
bad 400 'request: messages has 0 entries, wanted 1 to 1024' '{"model":"plain","messages":[]}'
bad 400 'messages*0*: role is *tool*, wanted system, user or assistant' '{"model":"plain","messages":[{"role":"tool","content":"x"}]}'
bad 400 'messages*0*: a part of content is of type *image_url*, wanted text' '{"model":"plain","messages":[{"role":"user","content":[{"type":"image_url"}]}]}'
bad 400 'request: max_tokens is -3, wanted a whole number from 1 to 1048576' "{$m,\"max_tokens\":-3}"
bad 400 'request: temperature is *hot*, wanted a number from 0 to 100' "{$m,\"temperature\":\"hot\"}"
bad 400 'request: top_p is 2, wanted a number from 0 to 1' "{$m,\"top_p\":2}"
bad 400 'request: tools is asked for and can*t be done here' "{$m,\"tools\":[{\"type\":\"function\"}]}"
bad 400 'request: n is 2, wanted *' "{$m,\"n\":2}"
bad 400 'request: guided_choice has 1 entries, wanted 2 to 26' "{$m,\"guided_choice\":[\"x\"]}"
bad 400 'request: stop?1? is no string with something in it' "{$m,\"stop\":[\"x\",\"\"]}"
bad 400 '* there is room for * in all' "{\"model\":\"plain\",\"messages\":[{\"role\":\"user\",\"content\":\"$(printf 'x y %.0s' $(seq 3000))\"}]}"
bad 400 '* there is room for * in all' "{\"stream\":true,\"model\":\"plain\",\"messages\":[{\"role\":\"user\",\"content\":\"$(printf 'x y %.0s' $(seq 3000))\"}]}"
denied 415 'Content-Type is *x-www-form*, wanted application/json' "$chat" -d "{$m}"
denied 405 'wanted POST here' "$chat"
denied 404 'wanted POST /v1/chat/completions, *' "$url/v1/embeddings"
head -c 10000000 /dev/zero | tr '\0' a >big
denied 413 'the request is too long, wanted at most 4194304 bytes' -H "$json" -H 'Expect:' "$chat" --data-binary @big
denied 413 'the request is too long, wanted at most 4194304 bytes' -H "$json" -H 'Expect:' -H 'Transfer-Encoding: chunked' "$chat" --data-binary @big

# ---- more than it can do at once: a full queue says 503, nobody waits for ever, and those who hang up are not waited for ----
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
    curl -s -o "busy.$i" -w '%{http_code}\n' -H "$json" "$chat" -d "{$m,\"max_tokens\":400,\"temperature\":0}" >"code.$i" &
    pids[i]=$!
done
wait "${pids[@]}"
cat code.* | sort | uniq -c >codes
[ "$(grep -cvE ' (200|503)$' codes)" -eq 0 ] && grep -q ' 200$' codes || fault "many at once: $(cat codes)"
curl -s "$url/health" | grep -q '"waiting":0' || fault "some still wait: $(curl -s "$url/health")"
down plain

# ---- a chat template: what moe2 chat says ----
cp -r "$model" chatty
printf '{"model_max_length": 1000000000000000019884624838656, "chat_template": "{{ %s }}"}' "'<|im_start|>'" >chatty/tokenizer_config.json
up chat --model chatty
printf 'Ciao!\n' | "$moe2" chat --model chatty --max-tokens 6 --temperature 0 --threads 1 --system "Be brief." 2>/dev/null >said
turn='{"role":"system","content":"Be brief."},{"role":"user","content":"Ciao!"}'
post "{\"model\":\"chat\",\"messages\":[$turn],\"max_tokens\":6,\"temperature\":0}" >reply
[ "$(field content)" = "\"$(sed ':a;N;$!ba;s/\n/\\n/g' said)\"" ] || fault "chat says $(cat said), the endpoint $(cat reply)"
chat=$url/v1/chat/completions
bad 400 'messages?1?: role is assistant, wanted user' '{"model":"chat","messages":[{"role":"system","content":"x"},{"role":"assistant","content":"y"}]}'
bad 400 'the last message is of the assistant, wanted one of the user' '{"model":"chat","messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}'
bad 400 'this expert was started with --answers text and gives no choices' '{"model":"chat","messages":[{"role":"user","content":"x"}],"guided_choice":["a","b"]}'

# SIGTERM in the middle of an answer: it is broken off, and told so
curl -s -N -o long -w '%{http_code}' -H "$json" "$chat" -d '{"model":"chat","messages":[{"role":"user","content":"x"}],"max_tokens":4000,"temperature":0}' >code &
asking=$!
sleep 0.05
down chat
wait $asking
[[ $(cat code) =~ ^(200|503|000)$ ]] || fault "an answer that was broken off: $(cat code long)"

# ---- slowed and metered like a device ----
printf '{"slow":{"device":"a-device","unit":"s","source":"published","points":[],"fit":{"t0":0.3,"prefill":0,"decode":0.01}}}' >latency.json
printf '{"slow":{"device":"a-device","unit":"mJ","source":"estimated","points":[],"fit":{"t0":500,"prefill":100,"decode":1000}}}' >energy.json
up slow --model "$model" --latency latency.json --energy energy.json
begun=$(date +%s%N)
post '{"model":"slow","messages":[{"role":"user","content":"The capital of Italy is"}],"max_tokens":10,"temperature":0}' >reply
took_ms=$((($(date +%s%N) - begun) / 1000000))
[ $took_ms -ge 400 ] || fault "it took $took_ms ms, the device 400"
[ "$(field device) $(field device_s) $(field energy_j) $(field latency_source) $(field energy_source)" = '"a-device" 0.4 12 "published" "estimated"' ] || fault "the device: $(cat reply)"
down slow

# ---- without --name it is called as its folder is, a slash behind it or not ----
"$moe2" serve --model "$model/" --port 0 --threads 1 >slash.out 2>slash.err &
server=$!
listening slash.out $server
grep -q '^choice listens on http://' slash.out || fault "a folder with a slash: $(cat slash.out slash.err)"
down slash

# ---- words ----
fails() { # STATUS MESSAGE WORDS…: moe2 serve WORDS
    refused_alone "serve ${*:3}" "$1" "moe2 serve: $2" "$moe2" serve "${@:3}"
}
fails 2 '--answers is "all", wanted text, choices or both' --model "$model" --answers all
fails 2 '--queue is 0, wanted 1 to 192' --model "$model" --queue 0
fails 2 '--port is 99999, wanted 0 to 65535' --model "$model" --port 99999
fails 2 'host "localhost" is no IPv4 address' --model "$model" --host localhost --port 0
fails 2 'latency.json: has no curve of "fast"' --model "$model" --name fast --latency latency.json
fails 2 'an adapter answers choices only (--answers choices); moe2 merge makes a model of it that answers with text' --model "$model" --adapter x
fails 130 'process 1234567, which should have started it, is not there' --model "$model" --parent 1234567

finish "serve: all as promised"
