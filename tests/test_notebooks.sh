#!/usr/bin/env bash
# The notebooks on a run and a packed text made here: every code cell runs. One argument: the program. Needs Python with numpy and
# matplotlib (the peers' environment, or MOE2_VENV); without it the test is skipped.
set -eu
moe2=$1
here=$(cd "$(dirname "$0")/.." && pwd)
python=python3
for p in "${MOE2_VENV:-$HOME/.cache/moe2/venv}/bin/python" python3; do
    if "$p" -c 'import numpy, matplotlib' 2>/dev/null; then python=$p; break; fi
done
if ! "$python" -c 'import numpy, matplotlib' 2>/dev/null; then
    echo "skipped: no Python with numpy and matplotlib"
    exit 0
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
export OMP_WAIT_POLICY=passive
"$moe2" data italian --grammar --out data >log.txt 2>&1 || { cat log.txt; exit 1; }
"$moe2" train_eval --config "$here/configs/rd_esi_config.yaml" --set name=tiny results_dir=results data.dir=data \
    model.config="$here/configs/model/tiny.json" model.vocab_size=4096 train.tokens=0 train.steps=30 train.batch_tokens=128 train.sequence=32 \
    eval.tokens=512 eval.test_tokens=512 >log.txt 2>&1 || { cat log.txt; exit 1; }
cat >cells.py <<'PY'
import json, sys
cells = json.load(open(sys.argv[1], encoding="utf-8"))["cells"]
code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
assert len(code) >= 4, "too few code cells"
assert not any(c.get("outputs") for c in cells), "outputs are not committed"
exec(compile("\n".join(code), sys.argv[1], "exec"), {"__name__": "notebook"})
PY
for n in data_exploration results_analysis; do
    MPLBACKEND=Agg MOE2_DATA_DIR=data MOE2_RESULTS=results "$python" cells.py "$here/notebooks/$n.ipynb" >out.txt || { cat out.txt; exit 1; }
    [ -s out.txt ] || { echo "$n printed nothing"; exit 1; }
done
echo "both notebooks ran"
