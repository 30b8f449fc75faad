"""Makes tests/fixtures/format_*.safetensors: what others read out of quantised weights, and what codes they choose.

    python tests/golden/make_format_golden.py [blocks] [nf4]

format_blocks: for each block type of ggml `TYPE.bytes` (random bytes with sane scales, all codes occur) and `TYPE.values`, gguf's own
dequantisation; `x` and `Q8_0.codes`, `Q4_0.codes`, gguf's quantisation of x. format_nf4: `x` (an odd number of values: a short last
block), bitsandbytes' codes and absmax at block size 64, the doubly quantised absmax with its state, and the last values
read back; the signed and unsigned dynamic maps. Needs: gguf, bitsandbytes, torch, safetensors.
"""
import os
import sys

import numpy as np
from safetensors.numpy import save_file

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # compiling takes minutes and may fuse a product and a sum
TAIL = 4000
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")


def values_with_edges(rng, n):
    """Normal values, and blocks that are all zero, all equal, hold ties or one outlier."""
    x = rng.standard_normal(n).astype(np.float32)
    x[32:64] = 0
    x[64:96] = 0.25
    x[96:128] = np.linspace(-8, 7.5, 32, dtype=np.float32)
    x[130] = 50
    return x


def blocks():
    import gguf
    from gguf import GGMLQuantizationType as T
    rng = np.random.default_rng(5)
    out = {}
    halves = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
    for name, places in halves.items():
        n_values, n_bytes = gguf.GGML_QUANT_SIZES[T[name]]
        b = rng.integers(0, 256, (3 if n_values == 256 else 12, n_bytes), dtype=np.uint8)
        for p in places:
            b[:, p:p + 2] = (rng.standard_normal(len(b)) * 0.05).astype(np.float16).view(np.uint8).reshape(-1, 2)
        b[1, places[0]:places[0] + 2] = np.array([3e-7], np.float16).view(np.uint8)  # a subnormal scale
        out[name + ".bytes"] = b.reshape(-1)
        out[name + ".values"] = gguf.quants.dequantize(b, T[name]).astype(np.float32).reshape(-1)
    x = values_with_edges(rng, 12 * 32)
    out["x"] = x
    for name in ("Q8_0", "Q4_0"):
        out[name + ".codes"] = gguf.quants.quantize(x.reshape(1, -1), T[name]).reshape(-1).view(np.uint8)
    save_file(out, os.path.join(FIXTURES, "format_blocks.safetensors"))


def nearest_codes(r, code):
    """bitsandbytes' quantize_blockwise as backends/default/ops.py and its CUDA kernel define it: by the midpoints of the map. (Its C++
    for CPUs looks values up in a coarser table and is now and then one step off.)"""
    bounds = (code[:-1] + code[1:]) / np.float32(2)
    full = len(r) // 256 * 256
    whole = r[:full].reshape(-1, 256)
    scaled = (whole * (np.float32(1) / np.abs(whole).max(1, keepdims=True))).reshape(-1)
    return np.searchsorted(bounds, np.concatenate([scaled, r[full:] / np.abs(r[full:]).max()]), side="left").astype(np.uint8)


def nf4():
    import torch
    import bitsandbytes.functional as F
    rng = np.random.default_rng(6)
    out = {}
    x = values_with_edges(rng, 64 * 300 + 17) * 0.1
    x[:18000] *= np.repeat(rng.uniform(0.5, 2, 300 - 18), 64)[:18000].astype(np.float32)
    half = x.astype(np.float16)  # a small fixture, and values in the middle of two levels
    x = half.astype(np.float32)
    q, s = F.quantize_4bit(torch.from_numpy(x), blocksize=64, quant_type="nf4")
    out.update(x=half, codes=q.numpy().reshape(-1), absmax=s.absmax.numpy(), tail=F.dequantize_4bit(q, s).numpy()[-TAIL:])
    q, s = F.quantize_4bit(torch.from_numpy(x), blocksize=64, quant_type="nf4", compress_statistics=True)
    assert (q.numpy().reshape(-1) == out["codes"]).all()
    fast = s.absmax.numpy()
    exact = nearest_codes(out["absmax"] - s.offset.numpy(), s.state2.code.numpy())
    assert (np.abs(exact.astype(int) - fast) <= 1).all() and (exact != fast).mean() < 0.02
    s.absmax = torch.from_numpy(exact)
    out.update({"nested.codes": exact, "nested.absmax": s.state2.absmax.numpy(), "nested.offset": s.offset.numpy().reshape(1),
                "nested.tail": F.dequantize_4bit(q, s).numpy()[-TAIL:]})
    out["map.signed"] = F.create_dynamic_map(True).numpy()
    out["map.unsigned"] = F.create_dynamic_map(False).numpy()
    save_file(out, os.path.join(FIXTURES, "format_nf4.safetensors"))


if __name__ == "__main__":
    for name in sys.argv[1:] or ["blocks", "nf4"]:
        {"blocks": blocks, "nf4": nf4}[name]()
