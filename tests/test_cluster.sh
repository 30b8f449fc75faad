#!/bin/bash
# What "moe2 cluster" writes, prints and refuses. usage: test_cluster.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

npy() { # FILE DESCR "SHAPE", the numbers' bytes on standard input
    local dict="{'descr': '$2', 'fortran_order': False, 'shape': $3, }"
    printf -v dict '%-117s\n' "$dict"
    { printf '\x93NUMPY\x01\x00\x76\x00%s' "$dict"; cat; } >"$1"
}

fails() { # NAME STATUS MESSAGE WORDS…: moe2 cluster WORDS
    refused "$1" "$2" "moe2 cluster: $3" "$moe2" cluster "${@:4}"
    same "$1: nothing on standard output" "" "$(cat refused.out)"
}

# ---- two topics, told apart by the hashed words ----
for i in 1 2 3 4 5 6; do
    echo "{\"question\": \"The court heard the defendant and the judge, case $i.\", \"choices\": [\"guilty\", \"not guilty\"], \"category\": \"law\", \"source\": \"a\"}"
    echo "{\"question\": \"An electron moves through the magnetic field, run $i.\", \"choices\": [\"left\", \"right\"], \"category\": \"physics\", \"source\": \"b\"}"
done >"$work/rows.jsonl"
"$moe2" embed --features hashed --fit "$work/rows.jsonl" --in "$work/rows.jsonl" --out "$work/e.npy" --dim 64 >/dev/null 2>&1
"$moe2" cluster --in "$work/e.npy" --k 2 --rows "$work/rows.jsonl" --out "$work/a" >"$work/table" 2>/dev/null
same "cluster runs" 0 "$?"
same "each cluster's rows are of one topic" "6 6" "$(for f in "$work"/a/cluster_[01].jsonl; do wc -l <"$f"; done | xargs)"
same "the lines are those of the file" "$(sort "$work/rows.jsonl")" "$(cat "$work"/a/cluster_?.jsonl | sort)"
same "no cluster mixes them" "1 1" "$(for f in "$work"/a/cluster_[01].jsonl; do grep -o '"category": "[a-z]*"' "$f" | sort -u | wc -l; done | xargs)"
same "a name has words and the subject" 1 "$(grep -c 'court.*(law)\|defendant.*(law)' "$work/table")"
same "labels are int32, one a row" 1 "$(head -c 128 "$work/a/labels.npy" | grep -ac "'<i4'.*(12, *)")"
same "centroids are float32" 1 "$(head -c 128 "$work/a/centroids.npy" | grep -ac "'<f4'.*(2, 64)")"
for n in 1 2; do
    "$moe2" cluster --in "$work/e.npy" --k 2 --out "$work/t$n" --threads $n --json >"$work/json$n" 2>/dev/null
done
cmp -s "$work/t1/centroids.npy" "$work/t2/centroids.npy" && cmp -s "$work/t1/labels.npy" "$work/t2/labels.npy"
same "the same bits with one thread and two" 0 "$?"
same "--json is clusters.json" "$(cat "$work/t1/clusters.json")" "$(cat "$work/json1")"
same "a sampled silhouette says so" 1 "$("$moe2" cluster --in "$work/e.npy" --k 2 --sample 8 --out "$work/b" 2>/dev/null | grep -c 'on a sample of 8 rows')"
seq 400000 | head -c 2097152 | npy "$work/big.npy" '<f4' '(8192, 64)'
same "above the memory limit it goes by mini-batches" 1 "$("$moe2" cluster --in "$work/big.npy" --k 2 --memory-mb 1 --out "$work/b" 2>/dev/null | grep -c 'mini-batch k-means')"

# ---- bad input ----
rm -rf "$work/b"
printf '\0\0\200\077\0\0\300\177' | npy "$work/nan.npy" '<f4' '(2, 1)'
fails "NaN" 1 "$work/nan.npy: row 1, column 0 is NaN, wanted a number" --in "$work/nan.npy" --k 1 --out "$work/b"
printf '\0\0\200\077\0\0\200\077\0\0\200\077' | npy "$work/same.npy" '<f4' '(3, 1)'
fails "equal rows" 1 "$work/same.npy: there are only 1 different rows, wanted at least k = 2" --in "$work/same.npy" --k 2 --out "$work/b"
fails "more clusters than rows" 2 "$work/same.npy: k-means: 3 rows, wanted at least k = 8" --in "$work/same.npy" --out "$work/b"
npy "$work/none.npy" '<f4' '(0, 4)' </dev/null
fails "no row" 1 "$work/none.npy: has 0 rows and 4 columns, wanted at least one of each" --in "$work/none.npy" --out "$work/b"
: >"$work/empty.npy"
"$moe2" cluster --in "$work/empty.npy" --out "$work/b" >/dev/null 2>&1
same "an empty file fails" 1 "$?"
head -5 "$work/rows.jsonl" >"$work/short.jsonl"
fails "too few rows" 1 "$work/short.jsonl: has 5 rows, wanted 12, one a vector" --in "$work/e.npy" --k 2 --rows "$work/short.jsonl" --out "$work/c"
same "and leaves no part of them" "" "$(ls "$work/c")"
{ cat "$work/rows.jsonl"; head -1 "$work/rows.jsonl"; } >"$work/long.jsonl"
fails "too many rows" 1 "$work/long.jsonl: line 13: has more rows than the 12 vectors" --in "$work/e.npy" --k 2 --rows "$work/long.jsonl" --out "$work/c"
{ head -11 "$work/rows.jsonl"; echo '[1]'; } >"$work/odd.jsonl"
fails "a row that is no object" 1 "$work/odd.jsonl: line 12: is no JSON object" --in "$work/e.npy" --k 2 --rows "$work/odd.jsonl" --out "$work/c"
fails "k of nothing" 2 "$work/e.npy: k-means: k is 0, wanted 1 to 4096" --in "$work/e.npy" --k 0 --out "$work/c"
finish "cluster: all checks passed"
