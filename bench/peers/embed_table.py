"""Prints the table of bench/embed.sh: medians over rounds, the ratio to ours, memory, our share of the measured peak.

usage: embed_table.py FILE TITLE LIMITS      each line of FILE: one of bench_embed or embed.py; LIMITS: the last line of bench_limits
"""
import json
import statistics
import sys

path, title, limits = sys.argv[1:]
threads, f32_peak, bf16_peak = limits.split()[:3]
groups = {}
for line in open(path, encoding="utf-8"):
    r = json.loads(line)
    engine = r["engine"] + (f" {r['compute']} ({r['kernels']})" if "compute" in r else "")
    groups.setdefault((r["tokens"], r["batch"]), {}).setdefault(engine, []).append(r)

print(f"\n{title}, {threads} threads; measured peak {f32_peak} GFLOP/s float32, {bf16_peak} bf16\n")
print("tokens  batch  engine                       version   ms a batch  (min–max)            texts/s  peer/ours  GFLOP/s  of f32 peak  peak MiB")
for (tokens, batch), engines in sorted(groups.items()):
    base = next(statistics.median(r["ms"] for r in rs) for name, rs in engines.items() if name.startswith("moe2 f32"))
    for name, rs in engines.items():
        ms = [r["ms"] for r in rs]
        middle = statistics.median(ms)
        gflops = statistics.median(r["gflops"] for r in rs) if "gflops" in rs[0] else None
        print(f"{tokens:>6}  {batch:>5}  {name:<28} {rs[0]['version']:<9} {middle:>9.2f}  {f'({min(ms):.2f}–{max(ms):.2f})':<19} {1e3 * batch / middle:>8.1f}"
              f"  {middle / base:>9.2f}  {f'{gflops:7.0f}  {100 * gflops / float(f32_peak):9.0f} %' if gflops else ' ' * 20}  "
              f"{statistics.median(r['peak_mib'] for r in rs):>8.0f}")
