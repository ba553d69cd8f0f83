"""Compare llama.cpp with PyTorch on the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from agentkit_training.gguf_reader import GgufModel
from agentkit_training.llama import Llama

__all__ = ["parity"]


def parity(model: Llama, path: Path, tokens: Sequence[int]) -> float:
    """Return the largest difference between llama.cpp's logits and PyTorch's over `tokens`, keys and values in F32."""
    with torch.no_grad():
        ours = model(torch.tensor([list(tokens)]))[0].float().numpy()
    with GgufModel(path, window=len(tokens)) as loaded:
        theirs = loaded.logits(tokens)
    return float(np.abs(ours - theirs).max())
