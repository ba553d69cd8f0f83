"""Read a model's folder: its configuration, and its tensors one at a time.

Guarantees: nothing but the tensor that is asked for is in memory; what is missing, cut off, of another shape or not known is an
error that names it. Reads safetensors only, for a pickle runs code, and runs no code that a
folder brings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig

from agentkit.errors import InvalidParams, ModelFileError
from agentkit_training.export.architectures import Architecture, Shape, Wanted, architecture_of, shape_of, wanted

__all__ = ["Header", "ModelFolder", "headers", "read_json", "read_tensor"]

FLOATS = {"F32": 4, "F16": 2, "BF16": 2}  # bytes
LEFT_ALONE = ("rotary_emb.inv_freq",)  # older checkpoints keep what is computed from the configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Where a tensor is, and of what kind."""

    file: Path
    shape: tuple[int, ...]
    dtype: str  # safetensors' name

    @property
    def elements(self) -> int:
        """How many numbers it has."""
        count = 1
        for size in self.shape:
            count *= size
        return count


class ModelFolder:
    """A causal language model that transformers saved."""

    def __init__(self, path: Path) -> None:
        """Look at `path`; weights are not read yet.

        Raises:
            InvalidParams: it holds no model.
            ModelFileError: its configuration cannot be read, or the model cannot be exported.
        """
        self.path = path
        if not path.is_dir():
            raise InvalidParams(f"/model: there is no folder {path}; give one that save_pretrained wrote")
        if not (path / "config.json").is_file():
            also = "; it is an adapter: give its base, and it with --adapter" if _is_adapter(path) else ""
            raise InvalidParams(
                f"/model: {path} has no config.json{also or '; give a folder that save_pretrained wrote'}"
            )
        self.plain = read_json(path / "config.json")
        names = self.plain.get("architectures") or [f"model_type {self.plain.get('model_type')}"]
        self.architecture: Architecture = architecture_of(names[0], path / "config.json")
        if "quantization_config" in self.plain:
            raise ModelFileError(f"{path}: its weights are quantised already; give the folder of the float weights")
        try:
            self.config: Any = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        except (ValueError, TypeError, KeyError, OSError, StrictDataclassError) as error:
            raise ModelFileError(f"{path / 'config.json'}: transformers cannot read it ({error}); mend it") from error
        self.shape: Shape = shape_of(self.config, self.architecture, path / "config.json")

    @cached_property
    def headers(self) -> dict[str, Header]:
        """Every tensor there is, by its name.

        Raises:
            ModelFileError: a file is missing, cut off, or none of safetensors.
        """
        return headers(self.path, "model")

    def wanted(self) -> dict[str, Wanted]:
        """Return the tensors that the model is made of; all are there, of the right shape, and none is left over.

        Raises:
            ModelFileError: that is not so.
        """
        needed, found = wanted(self.architecture, self.shape), dict(self.headers)
        if self.shape.tied:
            found.pop("lm_head.weight", None)  # transformers does not read it either
        missing = [name for name in needed if name not in found]
        if missing:
            raise ModelFileError(f"{self.path}: {_some(missing)} missing; the folder is not complete: fetch it again")
        unknown = [name for name in found if name not in needed and not name.endswith(LEFT_ALONE)]
        if unknown:
            raise ModelFileError(
                f"{self.path}: {_some(unknown)} not known in llama.cpp's {self.architecture.name}; such a model cannot be exported"
            )
        for name, one in needed.items():
            if found[name].shape != one.shape:
                raise ModelFileError(
                    f"{self.path}: {name} is {list(found[name].shape)}, and config.json asks for {list(one.shape)}; "
                    "one of the two belongs to another model"
                )
            if found[name].dtype not in FLOATS:
                raise ModelFileError(
                    f"{self.path}: {name} is {found[name].dtype}; give weights in {', '.join(FLOATS)}: what is quantised "
                    "already loses twice"
                )
        return needed

    def tensor(self, name: str) -> Tensor:
        """Return one tensor as it is kept.

        Raises:
            ModelFileError: its file cannot be read any more.
        """
        return read_tensor(self.headers[name].file, name)


def headers(folder: Path, stem: str) -> dict[str, Header]:
    """Return the tensors of `<stem>.safetensors`, or of the files that `<stem>.safetensors.index.json` names.

    Raises:
        ModelFileError: there are none, or one is damaged.
    """
    index = folder / f"{stem}.safetensors.index.json"
    if index.is_file():
        places: dict[str, str] = read_json(index).get("weight_map") or {}
        files = [folder / name for name in sorted(set(places.values()))]
    else:
        places, files = {}, [folder / f"{stem}.safetensors"]
    found: dict[str, Header] = {}
    for file in files:
        if not file.is_file():
            raise ModelFileError(f"{file}: is missing; save the model as safetensors, or fetch it again")
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118  it is no mapping
                    part = opened.get_slice(name)
                    found[name] = Header(file=file, shape=tuple(part.get_shape()), dtype=part.get_dtype())
        except (SafetensorError, OSError) as error:
            raise ModelFileError(f"{file}: is damaged or cut off ({error}); fetch it again") from error
    lost = [name for name in places if name not in found]
    if lost:
        raise ModelFileError(f"{index}: {_some(lost)} in none of the files it names; fetch the folder again")
    return found


def read_tensor(file: Path, name: str) -> Tensor:
    """Return one tensor of a safetensors file.

    Raises:
        ModelFileError: it cannot be read.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            return opened.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{file}: {name} cannot be read ({error}); fetch it again") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return a file's JSON object.

    Raises:
        ModelFileError: it is none.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ModelFileError(f"{path}: cannot be read as JSON ({error}); fetch it again") from error
    if not isinstance(data, dict):
        raise ModelFileError(f"{path}: is no JSON object; fetch it again")
    return data


def _is_adapter(path: Path) -> bool:
    return (path / "adapter_config.json").is_file()


def _some(names: list[str]) -> str:
    """Return the first of names for a message, with a verb."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more} {'are' if more else 'is'}"
