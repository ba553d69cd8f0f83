"""A model's float weights as one small file, to fine-tune from: F16 safetensors."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file

from agentkit_training.llama import Llama

__all__ = ["load_floats", "save_floats"]


def save_floats(model: Llama, path: Path) -> Path:
    """Write the weights of `model` to `path` in F16 and return it."""
    save_file({name: weight.half().contiguous() for name, weight in model.state_dict().items()}, path)
    return path


def load_floats(model: Llama, path: Path) -> Llama:
    """Read what `save_floats` wrote into `model`, as F32, and return it."""
    model.load_state_dict({name: weight.float() for name, weight in load_file(path).items()})
    return model
