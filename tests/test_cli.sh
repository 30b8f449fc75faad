#!/usr/bin/env bash
# What all commands share: help with examples that name them and flags that exist, the nearest flag for a wrong one, pages of docs/,
# valid JSON where --json is, exit status.   test_cli.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
source=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# ---- the list of commands ----
"$moe2" --help >help 2>stderr || fault "--help: exit status $?"
[ -s stderr ] && fault "--help speaks on stderr"
mapfile -t commands < <(sed -n 's/^  \([a-z_]*\( [a-z_][a-z_]*\)\{0,1\}\)  .*/\1/p' help)
[ ${#commands[@]} -ge 19 ] || fault "--help lists ${#commands[@]} commands: ${commands[*]}"
"$moe2" >stdout 2>stderr
[ $? -eq 2 ] || fault "no command at all: wanted exit status 2"
cmp -s stderr help || fault "no command at all: wanted the list of commands on stderr"
"$moe2" --version | grep -qE '^moe2 [0-9]+\.[0-9]+\.[0-9]+$' || fault "--version says $("$moe2" --version)"

# The flags that a page names. --set and --input are taken out of the words before the others are looked at.
flags_of() { grep -oE '(^|[ [|])--[a-z][a-z0-9_-]*' "$1" | grep -oE -- '--[a-z0-9_-]*' | grep -vxE -- '--(set|input)' | sort -u; }
for command in "${commands[@]}"; do
    read -ra words <<<"$command"
    "$moe2" "${words[@]}" --help >page 2>stderr || fault "$command --help: exit status $?"
    [ -s stderr ] && fault "$command --help speaks on stderr"
    grep -qE '^usage: moe2 '"$command"'( |$)' page || fault "$command --help has no usage"
    grep -qE '^examples?:' page || fault "$command --help has no example"
    sed -n '/^examples\{0,1\}:/,$p' page | grep -qE "moe2 $command( |$)" || fault "$command --help: no example names the command"
    "$moe2" help "${words[@]}" >again 2>&1
    cmp -s page again || fault "help $command says something else than $command --help"
    awk 'length($0) > 160 { exit 1 }' page || fault "$command --help has lines of more than 160 characters"

    # Whoever takes --device is in the table of docs/cuda.md, and nobody else.
    in_help=$(grep -c -- '--device NAME' page)
    in_table=$(grep -o '^| `[^|]*' "$source/docs/cuda.md" | grep -cE "\`$command( [^\`]*)?\`")
    [ $((in_help > 0)) -eq $((in_table > 0)) ] || fault "$command: --device stands $in_help times in its help, $in_table times in docs/cuda.md"

    # Every flag of the page is one: wrong by a letter, it is what is suggested.
    for flag in $(flags_of page); do
        got=$("$moe2" "${words[@]}" "${flag}x=1" 2>&1 >/dev/null)
        [ $? -eq 2 ] || fault "$command ${flag}x: wanted exit status 2"
        [ "$got" = "moe2 $command: unknown option ${flag}x, did you mean $flag?" ] || fault "$command ${flag}x: said \"$got\""
    done
    got=$("$moe2" "${words[@]}" --qqqqqqqqqqqqq 2>&1 >/dev/null)
    [ $? -eq 2 ] || fault "$command --qqqqqqqqqqqqq: wanted exit status 2"
    [ "$got" = "moe2 $command: unknown option --qqqqqqqqqqqqq (see --help)" ] || fault "$command --qqqqqqqqqqqqq: said \"$got\""
done

# ---- pages ----
"$moe2" help >stdout 2>&1 || fault "help: exit status $?"
head -n "$(wc -l <help)" stdout | cmp -s - help || fault "help does not begin with the commands"
subjects=$(tail -1 stdout)
for file in "$source"/docs/*.md; do
    subject=$(basename "$file" .md)
    "$moe2" help "$subject" >page 2>stderr || fault "help $subject: exit status $?"
    cmp -s page "$file" || fault "help $subject is not docs/$subject.md"
    [[ " $subjects " == *" $subject "* ]] || fault "help does not list $subject"
done
"$moe2" help nothing_of_the_kind >stdout 2>stderr
[ $? -eq 2 ] || fault "help of nothing: wanted exit status 2"
[ "$(wc -l <stderr)" -eq 1 ] || fault "help of nothing: wanted one line"
"$moe2" run --help-config | grep -qE '^router\.incentive ' || fault "--help-config does not name router.incentive"

# ---- JSON ----
if ! command -v python3 >/dev/null; then
    echo "skipped: whether --json gives JSON; there is no python3"
else
    seq 1 400 | sed 's/$/ righe di testo per provare il modello con parole diverse, e poi altre parole/' >text.txt
    "$moe2" init --config "$source/configs/model/tiny.json" --out tiny >/dev/null || fault "init"
    is_json() {
        "$moe2" "$@" >stdout 2>stderr || fault "$*: $(cat stderr)"
        python3 -m json.tool stdout >/dev/null 2>stderr || fault "$*: no JSON: $(cat stderr)"
    }
    is_json doctor --json
    head -c 400 text.txt >short.txt
    is_json perplexity --model tiny --tokenizer bytes --text short.txt --window 64 --json
    python3 -c 'import json,sys; d=json.load(open("stdout")); sys.exit(sorted(d) != ["bits_per_byte","nll","ppl","seconds","tokens"] or d["tokens"] != 400)' ||
        fault "perplexity --json gives $(cat stdout)"
    is_json route --model tiny --tokenizer bytes --text short.txt --window 64 --json
    sed G text.txt >book.txt
    is_json data text --input book.txt --plain paragraph --test 0.2 --validation 0.2 --out packed --min-chars 20 --json
    is_json data reference --data packed --json
    printf 'perché no\n' | "$moe2" tokenize --tokenizer bytes >ids || fault tokenize
    python3 -m json.tool ids >/dev/null || fault "tokenize gives no JSON array"
    "$moe2" tokenize --tokenizer bytes --decode --json-lines <ids >stdout || fault "tokenize --decode"
    python3 -m json.tool stdout >/dev/null || fault "tokenize --decode --json-lines gives no JSON string"
    cat >run.yaml <<Y
name: a
results_dir: res
data: {text: [text.txt]}
model: {config: $source/configs/model/tiny.json}
train: {steps: 4, batch_tokens: 64, sequence: 32, eval_every: 2, threads: 1}
eval: {tokens: 128, test_tokens: 128, sample_tokens: 4}
Y
    "$moe2" train_eval --config run.yaml >stdout 2>stderr || fault "train_eval: $(tail -1 stderr)"
    for file in res/a/metrics.json res/a/checkpoints/*/*.json; do
        python3 -m json.tool "$file" >/dev/null 2>stderr || fault "$file is no JSON: $(cat stderr)"
    done
    while read -r line; do
        printf '%s\n' "$line" | python3 -m json.tool >/dev/null 2>stderr || fault "metrics.jsonl: $(cat stderr)"
    done <res/a/metrics.jsonl
    [ "$(grep -c '"eval"' res/a/metrics.jsonl)" -eq 2 ] || fault "metrics.jsonl has not two evaluations"
    is_json compare --configs run.yaml --seeds 1 --out cmp --json
fi

finish "${#commands[@]} commands: help, flags, pages and JSON as promised"
