"""Prints one table from JSON lines of several engines: medians, spread, the ratio to the first engine's peers, share of the peak.

usage: side_by_side.py FILE [--peak GFLOP/s]      each line: engine, tok_s, ms_step (number or {median}), gflops, rss_peak_mb, dtype, threads
"""
import json
import statistics
import sys

peak = float(sys.argv[sys.argv.index("--peak") + 1]) if "--peak" in sys.argv else 0.0
groups = {}
for line in open(sys.argv[1], encoding="utf-8"):
    if line.startswith("{"):
        r = json.loads(line)
        groups.setdefault((r["engine"], r.get("dtype", ""), r.get("kernels", "")), []).append(r)

rows = []
for (engine, dtype, kernels), rs in groups.items():
    rate = [r["tok_s"] for r in rs]
    rows.append((engine + (f" ({kernels})" if kernels else ""), dtype, rs[0].get("threads", "?"), len(rs),
                 statistics.median(rate), min(rate), max(rate), statistics.median(r["gflops"] for r in rs),
                 statistics.median(r["rss_peak_mb"] for r in rs)))
base = next((r for r in rows if r[0].startswith("transformers")), rows[-1])
width = max(len(r[0]) for r in rows)
print(f"{'engine':<{width}}  dtype     thr  runs  tok/s  (min–max)      GFLOP/s  of peak  peak MB  tok/s ratio  memory ratio")
for r in rows:
    share = f"{100 * r[7] / peak:5.0f} %" if peak else "      –"
    print(f"{r[0]:<{width}}  {r[1]:<8}  {r[2]:>3}  {r[3]:>4}  {r[4]:>5.0f}  ({r[5]:.0f}–{r[6]:.0f})".ljust(width + 46)
          + f" {r[7]:>7.0f}  {share}  {r[8]:>7.0f}  {r[4] / base[4]:>11.2f}  {r[8] / base[8]:>12.2f}")
