"""Writes tests/fixtures/gate_mlp.safetensors: a two-layer gate before and after a few steps of PyTorch's AdamW, with its losses.

usage: python tests/golden/make_gate_golden.py      needs torch, numpy and safetensors; the same versions write the same bytes
Rows with outcomes that were not run (-1) are masked out of the loss, as moe2 gate train does.
"""
import os

import numpy as np
import torch
from safetensors.numpy import save_file

D, F, N, T, BATCH, STEPS = 20, 16, 3, 40, 8, 6
torch.manual_seed(3)
rng = np.random.default_rng(3)
x = rng.standard_normal((T, D)).astype(np.float32)
right = (rng.random((T, N)) < 0.5).astype(np.int8)
right[rng.random((T, N)) < 0.2] = -1
rows = rng.permutation(T)[: BATCH * 5].astype(np.int32)
rows = np.concatenate([rows, rng.permutation(T)[:BATCH].astype(np.int32)])
out = {"x": x, "right": right, "rows": rows}

for kind in ("sigmoid", "softmax"):
    net = torch.nn.Sequential(torch.nn.Linear(D, F), torch.nn.ReLU(), torch.nn.Linear(F, N))
    opt = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.05)
    flat = lambda: np.concatenate([p.detach().numpy().ravel() for p in net.parameters()])
    out[f"{kind}.before"] = flat()
    losses = []
    for s in range(STEPS):
        j = rows[s * BATCH:(s + 1) * BATCH]
        z, y = net(torch.from_numpy(x[j])), torch.from_numpy(right[j]).float()
        if kind == "sigmoid":
            known = y >= 0
            loss = torch.nn.functional.binary_cross_entropy_with_logits(z[known], y[known])
        else:
            t = (y > 0).float()
            some = t.sum(1) > 0
            t = t[some] / t[some].sum(1, keepdim=True)
            loss = -(t * torch.log_softmax(z[some], 1)).sum(1).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    out[f"{kind}.after"] = flat()
    out[f"{kind}.losses"] = np.array(losses, np.float32)

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures", "gate_mlp.safetensors")
save_file(out, path, metadata={"made_by": "tests/golden/make_gate_golden.py", "torch": torch.__version__})
print(f"{os.path.normpath(path)}: {os.path.getsize(path)} bytes")
