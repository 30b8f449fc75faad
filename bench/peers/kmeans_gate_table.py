"""Prints medians of bench/gate.sh's JSON lines, and each engine's ratio to the peer (the first engine that is not moe2).

usage: kmeans_gate_table.py FILE
"""
import json
import statistics
import sys

groups = {}
for line in open(sys.argv[1], encoding="utf-8"):
    r = json.loads(line)
    groups.setdefault(r["what"], {}).setdefault(r["engine"], []).append(r)
for what, engines in groups.items():
    peer = next(e for e in engines if not e.startswith("moe2"))
    base = statistics.median(r["s"] for r in engines[peer])
    print(f"{what}\n  {'engine':<22} threads runs  seconds (min–max)        CPU s  ratio  outcome")
    for e, rs in engines.items():
        s = [r["s"] for r in rs]
        found = ("inertia", "mean inertia") if "inertia" in rs[0] else ("loss", "mean loss of the last epoch")
        print(f"  {e:<22} {rs[0]['threads']:>7} {len(rs):>4}  {statistics.median(s):.3f} ({min(s):.3f}–{max(s):.3f})".ljust(60)
              + f"{statistics.median(r['cpu_s'] for r in rs):>6.2f} {base / statistics.median(s):>6.2f}"
              + f"  {found[1]} {statistics.mean(r[found[0]] for r in rs):.6g}")
