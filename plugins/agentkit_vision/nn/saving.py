"""A network on disk: half-precision safetensors, and its configuration as JSON beside them.

A folder holds one network of each kind: `image_tower.safetensors` and `image_tower.json`, and so on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from agentkit.errors import ModelFileError, ModelNotFound

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["freeze", "load_config", "load_weights", "save", "weights_hash"]

Config = TypeVar("Config", bound="DataclassInstance")


def save(module: nn.Module, config: DataclassInstance, folder: Path, kind: str) -> None:
    """Write a network's weights as halves and its configuration; the folder is made if need be.

    Weights beyond 65,504 would be infinite as halves.

    Raises:
        ModelFileError: a weight is not finite as a half.
    """
    weights = {name: _small(weight.detach().cpu()).contiguous() for name, weight in module.state_dict().items()}
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise ModelFileError(f"{kind}: {name} is not finite in half precision; nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / f"{kind}.safetensors", lambda path: save_file(weights, path, metadata={"format": "pt"}))
    text = json.dumps({"kind": kind, **asdict(config)}, indent=1) + "\n"
    _replace(folder / f"{kind}.json", lambda path: path.write_text(text, encoding="utf-8"))


def load_config(config: type[Config], folder: Path, kind: str) -> Config:
    """Return a network's configuration.

    Raises:
        ModelNotFound: the folder holds none.
        ModelFileError: the file is not a configuration of this kind.
    """
    path = folder / f"{kind}.json"
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelNotFound(f"{path}: there is no such file; a saved {kind} is two files, .json and .safetensors") from error  # fmt: skip
    except ValueError as error:
        raise ModelFileError(f"{path}: not JSON: {error}") from error
    known = {field.name for field in fields(config)}
    if not isinstance(told, dict) or told.pop("kind", None) != kind or set(told) != known:
        raise ModelFileError(f"{path}: not the configuration of a {kind}, which has the fields {', '.join(sorted(known))}")  # fmt: skip
    return config(**told)


def load_weights(module: nn.Module, folder: Path, kind: str) -> None:
    """Put saved weights into a network of the same shape, as single precision.

    Raises:
        ModelNotFound: the folder holds none.
        ModelFileError: the file is damaged, or its weights are not those of the configuration beside it.
    """
    path = folder / f"{kind}.safetensors"
    if not path.is_file():
        raise ModelNotFound(f"{path}: there is no such file; a saved {kind} is two files, .json and .safetensors")
    try:
        weights = {
            name: weight.float() if weight.is_floating_point() else weight for name, weight in load_file(path).items()
        }
        module.load_state_dict(weights)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelFileError(f"{path}: does not hold the weights that {kind}.json describes: {error}") from error


def weights_hash(*modules: nn.Module) -> str:
    """Return the SHA-256 of all weights, names and buffers of networks, in hexadecimal."""
    digest = hashlib.sha256()
    for module in modules:
        for name, weight in sorted(module.state_dict().items()):
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
            digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def freeze(module: nn.Module) -> nn.Module:
    """Stop a network from learning: no gradients, and its mode is that of use."""
    return module.requires_grad_(False).eval()


def _small(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight as halves; what counts steps as it is."""
    return weight.half() if weight.is_floating_point() else weight


def _replace(path: Path, write: Any) -> None:
    """Write a file so that it changes whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    partial.replace(path)
