"""Prints the tables of bench/tokenizer.sh: medians over rounds, the ratio to ours, whether the ids are HF's.

usage: tokenizer_table.py FILE      each line: what ("encode", "train"), vocab, text, and a line of bench_tokenizer or tokenizer.py
"""
import json
import statistics
import sys

groups = {}
for line in open(sys.argv[1], encoding="utf-8"):
    r = json.loads(line)
    key = (r["what"], r.get("vocab", ""), r["text"], r["threads"])
    groups.setdefault(key, {}).setdefault(r["engine"], []).append(r)


def median(rs, field):
    values = [r[field] for r in rs if field in r]
    return statistics.median(values) if values else None


def show(v, form="{:8.1f}"):
    return form.format(v) if v is not None else "       –"


for (what, vocab, text, threads), engines in sorted(groups.items()):
    ours = engines["moe2"]
    if what == "encode":
        print(f"\nencode {vocab}, {text}, {threads} thread{'s' if threads > 1 else ''}, {ours[0]['documents']} documents: MB/s, "
              f"medians of {len(ours)} processes")
        print("engine        version    first     fresh      warm   ours/first  ours/warm   exact  CPU/wall  peak MiB")
        right = engines["tokenizers"][0]["hash"] if "tokenizers" in engines else None
        for name, rs in engines.items():
            first, warm = median(rs, "first"), median(rs, "warm")
            exact = "?" if right is None else "yes" if all(r["hash"] == right for r in rs) else "no"
            print(f"{name:<12}  {rs[0].get('version', ''):<7} {show(first)}  {show(median(rs, 'fresh'))}  {show(warm)}  "
                  f"{median(ours, 'first') / first:>10.2f}  {median(ours, 'warm') / warm:>9.2f}   {exact:<5} "
                  f"{show(median(rs, 'cpu_per_wall'), '{:9.2f}')}  {show(median(rs, 'peak_mib'))}")
    else:
        print(f"\ntrain {ours[0]['vocab_size']} on {text}, {threads} thread{'s' if threads > 1 else ''}: seconds, medians of {len(ours)} processes")
        print("engine        version   seconds  (min–max)           MB/s  peer/ours  peak MiB")
        for name, rs in engines.items():
            s = [r["seconds"] for r in rs]
            print(f"{name:<12}  {rs[0].get('version', ''):<7}  {statistics.median(s):>8.3f}  ({min(s):.3f}–{max(s):.3f})     {rs[0]['bytes'] / statistics.median(s) / 1e6:>6.1f}"
                  f"  {statistics.median(s) / median(ours, 'seconds'):>9.2f}  {show(median(rs, 'peak_mib'))}")
