"""Read a LoRA adapter that PEFT trained, and hold it against the model that it belongs to.

Guarantees: whatever an adapter may have beside two matrices a projection (Hu et al. 2021: W + s B A) is an error, never left out
without a word; so is a setting of PEFT's that is not known here. Matrices are read one pair at a time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from agentkit.errors import InvalidParams, ModelFileError
from agentkit_training.export.architectures import Wanted
from agentkit_training.export.folder import Header, ModelFolder, headers, read_json, read_tensor

__all__ = ["Adapter", "Pair", "read_adapter"]

PREFIX, A, B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
HARMLESS = {  # settings that are heeded, or that say how it was trained and not what it is
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "eva_config", "exclude_modules",
    "fan_in_fan_out", "inference_mode", "init_lora_weights", "layers_pattern", "layers_to_transform", "lora_alpha",
    "lora_dropout", "megatron_core", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern", "revision",
    "target_modules", "task_type", "use_rslora",
}  # fmt: skip
CHANGES_BASE = (
    "pissa",
    "olora",
    "corda",
    "loftq",
    "lora_ga",
)  # such an adapter belongs to a base that was changed for it


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The two matrices of one projection."""

    a: Header  # rank, columns
    b: Header  # rows, rank
    alpha: float  # the product counts alpha / rank

    @property
    def rank(self) -> int:
        """The inner size."""
        return self.a.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoRA: pairs by the name of the weight that they are added to."""

    path: Path
    pairs: Mapping[str, Pair]

    def matrices(self, name: str) -> tuple[Tensor, Tensor]:
        """Return A and B of a weight in 32 bits."""
        pair, stem = self.pairs[name], PREFIX + name.removesuffix(".weight")
        return read_tensor(pair.a.file, stem + A).float(), read_tensor(pair.b.file, stem + B).float()

    def delta(self, name: str) -> Tensor | None:
        """Return what is to be added to a weight, in 32 bits; None: nothing."""
        if name not in self.pairs:
            return None
        a, b = self.matrices(name)
        return (b @ a) * (self.pairs[name].alpha / self.pairs[name].rank)


def read_adapter(path: Path, folder: ModelFolder) -> Adapter:
    """Return the adapter in a folder that PEFT saved.

    Args:
        path: the adapter's folder.
        folder: the model that it is for.

    Raises:
        InvalidParams: there is no adapter, or it is for another model.
        ModelFileError: it is damaged, or more than a LoRA of the model's projections.
    """
    if not (path / "adapter_config.json").is_file():
        raise InvalidParams(
            f"/adapter: {path} has no adapter_config.json; give a folder that PEFT's save_pretrained wrote"
        )
    config, needed = read_json(path / "adapter_config.json"), folder.wanted()
    _check(config, path)
    found = headers(path, "adapter_model")
    pairs: dict[str, Pair] = {}
    for module in sorted({_module(name) for name in found if name.startswith(PREFIX) and name.endswith((A, B))}):
        pairs[f"{module}.weight"] = _pair(config, module, found, path)
        _fits(f"{module}.weight", pairs[f"{module}.weight"], needed, path)
    for name in found:
        if f"{_module(name)}.weight" not in pairs or not name.endswith((A, B)):
            _check_copy(name, found[name], folder, path)
    if not pairs:
        raise ModelFileError(f"{path}: holds no pairs of lora_A and lora_B; train or fetch it again")
    return Adapter(path=path, pairs=pairs)


def _module(name: str) -> str:
    return name.removesuffix(A).removesuffix(B).removeprefix(PREFIX)


def _check_copy(name: str, header: Header, folder: ModelFolder, path: Path) -> None:
    """Let pass what is the base's own: PEFT keeps embeddings beside an adapter of the output.

    Raises:
        ModelFileError: it is not.
    """
    same = name.removeprefix(PREFIX).replace(".base_layer.", ".")
    if same not in folder.headers or not read_tensor(header.file, name).float().equal(folder.tensor(same).float()):
        raise ModelFileError(
            f"{path}: {name} is no part of a LoRA of projections; `agentkit train merge_adapter`, and export what it writes"
        )


def _check(config: Mapping[str, Any], path: Path) -> None:
    """Refuse what is not a plain LoRA.

    Raises:
        ModelFileError: it is not one.
    """
    where = path / "adapter_config.json"
    if config.get("peft_type") != "LORA":
        raise ModelFileError(
            f"{where}: peft_type {config.get('peft_type')}; llama.cpp knows LORA only: merge it (`agentkit train merge_adapter`)"
        )
    if config.get("bias") not in {None, "none"}:
        raise ModelFileError(
            f"{where}: bias '{config['bias']}' was trained too, which no adapter of llama.cpp holds; merge it (`agentkit train merge_adapter`)"
        )
    how = str(config.get("init_lora_weights", True)).lower()
    if how.startswith(CHANGES_BASE):
        raise ModelFileError(
            f"{where}: init_lora_weights '{how}' changed the base as well; convert it (PEFT: path_initial_model_for_weight_conversion)"
        )
    other = [
        name
        for name, value in config.items()
        if value and name not in HARMLESS | {"bias"} and not name.endswith("_config")
    ]
    other += [name for name, value in config.items() if value and name.endswith("_config") and name not in HARMLESS]
    if other:
        raise ModelFileError(
            f"{where}: {', '.join(sorted(other))}: no plain LoRA, and llama.cpp has nothing like it; merge it (`agentkit train merge_adapter`)"
        )


def _pair(config: Mapping[str, Any], module: str, found: Mapping[str, Header], path: Path) -> Pair:
    a, b = found.get(PREFIX + module + A), found.get(PREFIX + module + B)
    if a is None or b is None or len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        raise ModelFileError(f"{path}: lora_A and lora_B of {module} do not fit together; train or fetch it again")
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    alpha = next(
        (of for key, of in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), config.get("lora_alpha")
    )
    if not isinstance(alpha, int | float) or alpha == 0:
        raise ModelFileError(
            f"{path / 'adapter_config.json'}: lora_alpha {alpha!r} for {module}; it must be a number that is not 0"
        )
    rank = a.shape[0]
    return Pair(a=a, b=b, alpha=alpha * rank**0.5 if config.get("use_rslora") else float(alpha))


def _fits(name: str, pair: Pair, needed: Mapping[str, Wanted], path: Path) -> None:
    if name not in needed:
        tied = (
            "; the model's output is its embedding, and llama.cpp cannot change only one of the two"
            if name == "lm_head.weight"
            else ""
        )
        raise InvalidParams(
            f"/adapter: {path} changes {name}, which this model does not have{tied}; give the base it was trained on"
        )
    shape = (pair.b.shape[0], pair.a.shape[1])
    if len(needed[name].shape) != 2 or shape != needed[name].shape:
        raise InvalidParams(
            f"/adapter: {path} changes {name} as {list(shape)}, and this model's is {list(needed[name].shape)}; "
            "give the base it was trained on"
        )
