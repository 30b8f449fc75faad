"""Makes tests/fixtures/io_python.{safetensors,npy}: files as the public Python packages write them.

    python tests/golden/make_io_fixtures.py        (numpy 2, torch 2.15, safetensors 0.8)
"""
import pathlib

import numpy as np
import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures"

save_file(
    {
        "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4,
        "b": torch.tensor([1.5, -2.25], dtype=torch.bfloat16),
        "c": torch.tensor([0.1], dtype=torch.float16),
        "odd": torch.tensor([1, 2, 3], dtype=torch.uint8),
        "flag": torch.tensor([True]),
        "ids": torch.tensor(-5),
        "e": torch.tensor([448.0, -0.5]).to(torch.float8_e4m3fn),
        "empty": torch.zeros(0, 4),
    },
    str(OUT / "io_python.safetensors"),
    metadata={"format": "pt", "città": "è"},
)
np.save(OUT / "io_python.npy", np.arange(12, dtype=np.float64).reshape(3, 2, 2) / 3)
