#!/bin/bash
# "moe2 profile --models" on tiny models: what it writes, what goes on after a stop, meters on a sysfs tree of our own, what is refused.
# usage: test_profile_models.sh MOE2
set -u
. "$(dirname "$0")/shell.sh"
moe2=$(realpath "$1")
source=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
writer=
trap '[ -n "$writer" ] && kill $writer 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1

holds() { # what, a part, file
    grep -qF -- "$2" "$3" || same "$1" "…$2…" "$(cat "$3")"
}
"$moe2" init --config "$source/configs/model/tiny.json" --out tiny --seed 1 >/dev/null 2>&1 || same "init" 0 "$?"
"$moe2" init --config "$source/configs/model/tiny.json" --out other --seed 2 >/dev/null 2>&1 || same "init" 0 "$?"

# ---- two models, an estimate by watts ----
"$moe2" profile --models a=tiny,other/ --prompts 24,8,8,600 --outputs 1,6 --repeat 2 --meter none --watts 20 --machine "a box" --threads 1 \
    --out out >table 2>stderr
same "status" 0 "$?"
same "a row an answer" 17 "$(wc -l <out/profile/measurements.csv)"
holds "columns" "expert,device,prompt_tokens,output_tokens,latency_s,latency_source,latency_note,energy_j,energy_source,energy_note" out/profile/measurements.csv
same "lengths of each, sorted, once" "8,1 8,6 24,1 24,6" "$(grep -o '^a,"[^"]*",[0-9]*,[0-9]*' out/profile/measurements.csv | sed 's/.*",//' | sort -u -t, -k1n -k2n | tr '\n' ' ' | sed 's/ $//')"
same "both models, called by name and by folder" 2 "$(grep -cE '^ "?(a|other)"?: \{|^  "(a|other)": \{' out/latency/latency.json)"
holds "where and when" "\"note\": \"measured here: a box, 1 thread, $(date +%Y)-" out/latency/latency.json
same "latency was measured" 2 "$(grep -c '"source": "measured"' out/latency/latency.json)"
same "joules were estimated" 2 "$(grep -c '"source": "estimated"' out/energy/energy.json)"
holds "and how" "estimated: 20 W times the seconds measured here: a box, 1 thread" out/energy/energy.json
sed 's/"[^"]*"//g' out/profile/measurements.csv |
    awk -F, 'NR > 1 { d = $8 - 20 * $5; if (d < -1e-9 || d > 1e-9 || !($5 > 0)) bad = 1 } END { exit bad }'
same "joules are watts times seconds" 0 "$?"
holds "points and runs" '"runs": 2' out/latency/latency.json
holds "residuals" '"rms":' out/energy/energy.json
holds "what was left out is said" "a: left out: a prompt of 600 tokens with answers of 1 to 6: more than the model's window of 512" table
if command -v gnuplot >/dev/null; then
    holds "figure 4 says where" "measured here: a box, 1 thread" out/figures/figure4_latency.svg
    holds "figure 5 says that it is an estimate" "(estimated)" out/figures/figure5_energy.svg
fi

# ---- the CSV is what --import reads ----
"$moe2" profile --import out/profile/measurements.csv --out again >/dev/null 2>&1
same "import: status" 0 "$?"
cmp -s out/latency/latency.json again/latency/latency.json && cmp -s out/energy/energy.json again/energy/energy.json
same "imported curves are the measured ones" 0 "$?"

# ---- the same again: nothing is measured; other settings or a broken record: all is ----
cp out/profile/a.json before.json
again() { "$moe2" profile --models a=tiny --prompts 8,24,600 --outputs 1,6 --repeat "$1" --meter none --machine "a box" --threads 1 --out out >/dev/null 2>stderr; }
again 2
same "again: status" 0 "$?"
holds "again: kept" "a: kept as measured on $(date +%Y)-" stderr
cmp -s before.json out/profile/a.json
same "again: the record is as it was" 0 "$?"
same "without watts no joules" ",,," "$(sed -n 's/.*[0-9]"\(,,,\)$/\1/p' out/profile/measurements.csv | head -1)"
again 1
holds "other settings" "a: measured anew, the record was made with other settings" stderr
for broken in '{"settings": 3}' '{' "$(sed 's/"latency_s": [0-9.e-]*/"latency_s": "x"/' before.json)"; do
    printf '%s' "$broken" >out/profile/a.json
    again 2
    same "a broken record: status" 0 "$?"
    holds "a broken record" "a: measured anew, out/profile/a.json" stderr
done

# ---- too slow: said and left out ----
for _ in $(seq 20); do
    "$moe2" profile --models tiny --prompts 4 --outputs 1,500 --repeat 1 --max-seconds 0.02 --meter none --threads 1 --out slow >table 2>stderr && break
done
holds "too slow" "left out: a prompt of 4 tokens with an answer of 500: takes more than 0.02 s" table
same "what was in time is there" 2 "$(wc -l <slow/profile/measurements.csv)"

# ---- stopped: whole models are kept, and the next run goes on ----
words=(profile --models "a=tiny,b=other" --prompts "64,128" --outputs 64 --repeat 6 --meter none --threads 1 --out stop)
"$moe2" "${words[@]}" >/dev/null 2>stderr &
run=$!
for _ in $(seq 2400); do
    [ -e stop/profile/a.json ] && break
    sleep 0.025
done
kill -INT $run
wait $run
same "stopped: status" 130 "$?"
holds "stopped" "moe2 profile: b: stopped" stderr
same "stopped: only whole models" "a.json" "$(ls stop/profile)"
"$moe2" "${words[@]}" >/dev/null 2>stderr
same "it goes on: status" 0 "$?"
holds "it goes on behind a" "a: kept as measured on" stderr
holds "with b" "b: model 2 of 2" stderr

# ---- meters, on a tree of our own ----
rapl=sys/class/powercap/intel-rapl:0
mkdir -p $rapl
echo package-0 >$rapl/name
echo 1000000000 >$rapl/max_energy_range_uj
echo 999000000 >$rapl/energy_uj
(
    j=999
    while sleep 0.005; do # 1 J each: it wraps at once
        j=$(((j + 1) % 1000))
        echo ${j}000000 >$rapl/new && mv $rapl/new $rapl/energy_uj
    done
) &
writer=$!
metered() { "$moe2" profile --models tiny --prompts 16 --outputs 1,8 --repeat 1 --threads 1 --sysfs sys --out "$@" >table 2>stderr; }
metered rapl
same "RAPL: status" 0 "$?"
kill $writer
wait $writer 2>/dev/null
writer=
holds "RAPL counts" "; counts processor packages (RAPL)" rapl/energy/energy.json
holds "RAPL measures" '"source": "measured"' rapl/energy/energy.json
holds "RAPL is named" "joules are counted by processor packages (RAPL): package-0" stderr
grep -qE '"energy_j": (0\.0*[1-9]|[1-9])' rapl/profile/tiny.json
same "RAPL: joules are no zeros" 0 "$?"
ina=sys/class/hwmon/hwmon0
mkdir -p $ina
echo ina3221 >$ina/name
echo VDD_IN >$ina/in1_label
echo 5000 >$ina/in1_input
echo 2000 >$ina/curr1_input
metered ina --meter ina3221
same "INA3221: status" 0 "$?"
holds "INA3221 counts" "; counts rails of the board (INA3221)" ina/energy/energy.json
"$moe2" doctor --sysfs sys >doctor
holds "doctor: RAPL" "counts processor packages (RAPL): package-0" doctor
holds "doctor: INA3221" "counts rails of the board (INA3221): VDD_IN" doctor
echo much >$ina/curr1_input
metered broken --meter ina3221
same "a broken meter: status" 1 "$?"
holds "a broken meter" "hwmon0/curr1_input: is \"much\", wanted a whole number" stderr
rm $rapl/energy_uj
metered none
same "auto without a meter: status" 0 "$?"
holds "auto without a meter says why" "joules are not known (--watts W estimates them): rapl: sys/class/powercap/intel-rapl:0/energy_uj: can't be read: No such file" table
same "and writes no energy" no "$([ -e none/energy ] && echo yes || echo no)"

# ---- what is refused ----
fails() { # NAME STATUS WORDS_OF_THE_MESSAGE WORDS…: moe2 profile WORDS
    refused "$1" "$2" "moe2 profile: *$3*" "$moe2" profile "${@:4}" --out x
    same "$1: nothing on standard output" "" "$(cat refused.out)"
    same "$1: the message is one line" 1 "$(grep -c '^moe2 profile: ' refused.err)"
}
short=(--prompts 4 --outputs 1 --repeat 1 --meter none)
fails "a model that is not there" 1 "nowhere: " --models nowhere "${short[@]}"
fails "no model" 2 "--models wants 1 to 64 models" --models "tiny," "${short[@]}"
fails "a name without a model" 2 "--models wants 1 to 64 models" --models "a=" "${short[@]}"
fails "two of a name" 2 'two models are called "tiny"; NAME=DIR' --models tiny,./tiny "${short[@]}"
fails "a name that is a path" 2 'a model is called "../a"' --models ../a=tiny "${short[@]}"
fails "a table of sizes without an import" 2 "--import is missing" --models sizes.csv
fails "a curve without an import" 2 "--import is missing" --models tiny --curve a
fails "a length that is none" 2 "--prompts: " --models tiny --prompts 4,x
fails "a length of nothing" 2 "a prompt of 0 tokens, wanted 1 to" --models tiny --prompts 0
fails "a length without end" 2 "an answer of 2000000 tokens, wanted 1 to" --models tiny --outputs 2000000
fails "too many lengths" 2 "--outputs has 33 lengths, wanted at most 32" --models tiny --outputs "$(seq -s, 33)"
fails "never" 2 "every answer 0 times, wanted 1 to 100" --models tiny --repeat 0
fails "no time at all" 2 "answers within 0 s" --models tiny --max-seconds 0
fails "negative watts" 2 "-3 W, wanted" --models tiny --watts -3
fails "a meter of no kind" 2 'there is no meter "volts"' --models tiny --prompts 4 --meter volts
fails "a meter that is not here" 2 "has no intel-rapl package" --models tiny --prompts 4 --meter rapl --sysfs nowhere
fails "a device of no kind" 2 "abacus" --models tiny --device abacus "${short[@]}"
fails "too little memory" 1 "tiny: " --models tiny --memory-limit 1MB "${short[@]}"
fails "a machine without a name" 2 "the machine's name has 0 bytes" --models tiny --machine "" "${short[@]}"
fails "measuring words beside an import" 2 "--watts is for measuring" --import out/profile/measurements.csv --watts 3
fails "all of it too slow" 2 "tiny: no length could be measured; left out: a prompt of 4 tokens" --models tiny "${short[@]}" --max-seconds 1e-9
fails "all of it beyond the window" 2 "more than the model's window of 512" --models tiny "${short[@]}" --prompts 512
same "what was refused measured nothing" "" "$(find x -name '*.json' -o -name '*.csv' 2>/dev/null)"
finish
