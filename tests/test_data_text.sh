#!/usr/bin/env bash
# moe2 data text, italian and reference from outside: every form of input packs to the same tokens, counts are the tokenizer's,
# threads change no byte, broken input gives one sentence and leaves nothing behind.
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

# fails NAME STATUS MESSAGE WORDS…: moe2 data text WORDS ends so, with that one line on stderr.
fails() {
    refused "$1" "$2" "$3" "$moe2" data text "${@:4}"
    passes "$1 (nothing left)" test ! -e out -a ! -e out.tmp
}

same_folder() { diff -r "$1" "$2"; }
number() { sed -n "s/.*\"$2\": \([0-9.]*\),*$/\1/p" "$1" | head -1; }

# Twelve documents, each on one line, without anything that cleaning would touch.
for i in $(seq 1 12); do
    echo "Documento $i: la barca del pescatore numero $i tornava verso il porto quando il sole era già alto, e perché sì."
done >lines.txt
awk '{ print "{\"text\": \"" $0 "\", \"timestamp\": \"2020\", \"url\": \"u\"}" }' lines.txt >a.jsonl
{ echo text,timestamp,url; awk '{ print "\"" $0 "\",2020,u" }' lines.txt; } >a.csv
awk '{ print $0 "\n" }' lines.txt >a.txt
gzip -k a.jsonl
command -v zstd >/dev/null && zstd -q a.jsonl -o a.jsonl.zst
mkdir -p tree/x/y tree/z
head -5 a.jsonl >tree/a.jsonl
sed -n 6,9p a.jsonl | gzip >tree/x/y/b.json.gz
{ head -1 a.csv; sed -n 11,13p a.csv; } >tree/z/c.csv
echo '{"text": broken' >tree/z/notes.md
cp a.jsonl nameless
base="--min-chars 20 --validation 0.2 --test 0.2 --seed 3 --plain paragraph"

# ---- forms ----
passes "JSON lines are packed" "$moe2" data text --input a.jsonl --out ref $base --threads 1
for input in a.csv a.txt a.jsonl.gz nameless tree; do
    passes "$input is packed" "$moe2" data text --input $input --out forms $base --force
    sed -i '/"path":/d' forms/manifest.json
    sed '/"path":/d' ref/manifest.json >ref.json
    passes "$input gives the same manifest" diff ref.json forms/manifest.json
    for f in train-00000.bin validation-00000.bin test-00000.bin validation.txt test.txt; do
        passes "$input gives the same $f" cmp ref/$f forms/$f
    done
done
if [ -e a.jsonl.zst ]; then
    passes "zstd is packed" "$moe2" data text --input a.jsonl.zst --out zst $base
    passes "zstd gives the same ids" cmp ref/train-00000.bin zst/train-00000.bin
fi
passes "several inputs go in their order" "$moe2" data text --input tree/a.jsonl --input tree/x tree/z --out several $base
passes "several inputs give the same ids" cmp ref/train-00000.bin several/train-00000.bin
mkdir only && printf '%s\n' '.TH X 1' '.SH NOME' 'x \- una pagina di prova che basta' | gzip >only/x.1.gz
passes "a manual page is read by --form" "$moe2" data text --input only --form man --out man --min-chars 10 --validation 0 --test 0
passes "its text is there" grep -q '"text_bytes": 38' man/manifest.json

# ---- counts ----
text_bytes=$(awk '{ print }' lines.txt | tr -d '\n' | wc -c)
"$moe2" data text --input a.jsonl --out json $base --json >json.out
passes "bytes kept are those of the lines" test "$(number json.out bytes_kept)" = "$text_bytes"
passes "twelve documents were kept" test "$(number json.out kept)" = 12
total=$(grep '"tokens"' json.out | tr -dc '0-9\n' | awk '{ s += $1 } END { print s }')
passes "tokens are bytes and ends ($total)" test "$total" = $((text_bytes + 12))

passes "a BPE is trained and used" "$moe2" data text --input a.jsonl --out bpe $base --vocab-size 300 --json
passes "the tokenizer is kept beside the shards" test -s bpe/tokenizer/tokenizer.json -a -s bpe/tokenizer/tokenizer_config.json
{ cat bpe/test.txt; echo; } | grep . >test.lines
n_lines=$(wc -l <test.lines)
ids=$("$moe2" tokenize --tokenizer bpe/tokenizer <test.lines | tr -dc ',\n' | awk '{ n += length($0) + 1 } END { print n }')
tokens=$(sed -n '/"test": {/,$p' bpe/manifest.json | number /dev/stdin tokens)
passes "test tokens are the tokenizer's and one for each end ($tokens)" test "$tokens" = $((ids + n_lines))
passes "the same tokenizer gives the same ids again" "$moe2" data text --input a.jsonl --out again $base --tokenizer bpe/tokenizer
passes "…" cmp bpe/train-00000.bin again/train-00000.bin

# ---- threads, shards ----
for n in 1 2 5; do
    passes "$n threads pack the grammar" "$moe2" data italian --grammar --out g$n --vocab-size 600 --threads $n --shard-tokens 100000
done
passes "two threads change no byte" same_folder g1 g2
passes "five threads change no byte" same_folder g1 g5
passes "long splits have several shards" test -e g1/train-00009.bin
passes "the grammar is named in the manifest" grep -q '"path": "grammar"' g1/manifest.json
"$moe2" data italian --grammar --out g1 --force --vocab-size 600 >g.out 2>g.err
passes "made text is called so" grep -q "NOT REAL TEXT" g.out
PATH=/nonexistent "$moe2" data italian --out nomirror --vocab-size 600 --json >n.out 2>n.err
passes "without a mirror it says so" grep -q '"note": "NOT REAL TEXT: no Debian mirror answered (libreoffice-help-it: apt-get: can.t be run' n.out
passes "--text stands in for a mirror" "$moe2" data italian --out it --text lines.txt --min-chars 20 --tokenizer bytes --validation 0 --test 0

# ---- what must fail ----
fails "no input" 2 "moe2 data text: --input is missing (see --help)" --out out
fails "no such file" 1 "moe2 data text: nowhere.jsonl: is not there" --input nowhere.jsonl --out out
mkdir empty
fails "an empty folder" 2 "moe2 data text: empty: has no file to read, wanted .jsonl, .json, .csv, .html, .txt or manual pages (also .gz, .zst)" --input empty --out out
fails "too much held out" 2 "moe2 data text: validation 0.6 and test 0.5 leave nothing to train on, wanted a sum below 1" --input a.jsonl --out out --validation 0.6 --test 0.5
fails "a mistyped form" 2 "moe2 data text: --form is \"jsnl\", did you mean jsonl?" --input a.jsonl --out out --form jsnl
fails "an unknown language" 2 "moe2 data text: language \"xx\" is unknown, wanted one of: it, en, fr, de, es, pt" --input a.jsonl --out out --language xx
fails "a tokenizer that is not there" 2 "moe2 data text: tokenizer \"nowhere\" is no folder, wanted one with tokenizer.json, or bytes" --input a.jsonl --out out --tokenizer nowhere
fails "everything dropped" 2 "moe2 data text: nothing is left to train on: of 12 documents read, 12 were too short, 0 too long, 0 no text, 0 in the wrong language, 0 duplicates" --input a.jsonl --out out --min-chars 5000
head -c 150 a.jsonl.gz >cut.jsonl.gz
"$moe2" data text --input cut.jsonl.gz --out out $base 2>cut.err
passes "a cut gzip file is an error (status $?)" grep -q "^moe2 data text: cut.jsonl.gz: " cut.err
passes "a cut gzip file leaves nothing" test ! -e out -a ! -e out.tmp
{ head -3 a.jsonl; echo '{"text": "mai chius'; tail -9 a.jsonl; } >broken.jsonl
"$moe2" data text --input broken.jsonl --out out $base 2>broken.err
passes "a broken line is named" grep -q "broken.jsonl" broken.err
passes "a broken line leaves nothing" test ! -e out
passes "broken lines are passed over when asked" "$moe2" data text --input broken.jsonl --out skip $base --skip-broken
passes "…and counted" grep -q '"broken": 1' skip/manifest.json
"$moe2" data text --input broken.jsonl --out skip2 $base --skip-broken >skip.out 2>/dev/null
passes "…and the first one is named" grep -q "^the first broken one: broken.jsonl:4: " skip.out
"$moe2" data text --input broken.jsonl --out skip3 $base --skip-broken --json >skip.json 2>/dev/null
passes "…in JSON too" grep -q '"first_broken": *"broken.jsonl:4: ' skip.json
passes "…and the rest is the same" cmp ref/train-00000.bin skip/train-00000.bin
echo '{"testo": "x"}' >field.jsonl
"$moe2" data text --input field.jsonl --out out 2>field.err
passes "a missing field is named" grep -q '"text"\|text' field.err
before=$(cat ref/* 2>/dev/null | cksum)
"$moe2" data text --input a.jsonl --out ref $base 2>there.err
passes "a folder that is there stays" grep -qxF "moe2 data text: ref: is there already, wanted a new folder or --force" there.err
"$moe2" data text --input cut.jsonl.gz --out ref $base --force 2>/dev/null
passes "a failed replacement leaves the old folder" test "$(cat ref/* 2>/dev/null | cksum)" = "$before"
mkdir mine && echo hello >mine/file
"$moe2" data text --input a.jsonl --out mine $base --force 2>mine.err
passes "a folder of other things is never replaced" grep -qxF "moe2 data text: mine: is there and holds other things than packed text, wanted a new folder" mine.err
passes "…" test -e mine/file
mkdir -p killed.tmp && echo x >killed.tmp/train-00000.bin
passes "what a killed run left is swept away" "$moe2" data text --input a.jsonl --out killed $base
passes "…" test -e killed/manifest.json -a ! -e killed.tmp
mkdir slash.old && echo mine >slash.old/file
passes "a slash behind the name of a folder is none" "$moe2" data text --input a.jsonl --out slash/ $base
passes "…nor where the folder is replaced" "$moe2" data text --input a.jsonl --out slash/ $base --force
passes "…and the folder is whole" same_folder slash killed
passes "…and has no neighbour left" test ! -e slash.tmp -a ! -e slash/.tmp
passes "…and a neighbour of somebody else's stays" test -e slash.old/file
passes "the same for data italian" "$moe2" data italian --out it/ --text lines.txt --min-chars 20 --tokenizer bytes --validation 0 --test 0 --force
passes "…" test -e it/manifest.json -a ! -e it/.tmp -a ! -e it.tmp
awk 'BEGIN { for (i = 0; i < 300000; i++) print "Riga numero " i ": la barca del pescatore tornava verso il porto quando il sole era alto.\n" }' >big.txt
"$moe2" data text --input big.txt --out stopped --plain paragraph --min-chars 20 --threads 1 >/dev/null 2>stop.err &
pid=$!
sleep 0.3
kill -INT $pid
wait $pid
status=$?
passes "SIGINT ends a run with 130 (status $status)" test $status = 130
passes "an interrupted run says so" grep -qxF "moe2 data text: stopped; nothing was kept" stop.err
passes "an interrupted run leaves nothing" test ! -e stopped -a ! -e stopped.tmp

# ---- reference lines ----
passes "reference lines are measured" "$moe2" data reference --data bpe
"$moe2" data reference --data bpe --json >reference.json
passes "the 5-gram line is there" grep -q '"label": "5-gram"' reference.json
"$moe2" data reference --data mine 2>reference.err
passes "a folder without packed text is named" grep -qxF "moe2 data reference: mine/manifest.json: is not there; mine is no folder that moe2 data text made" reference.err

finish
