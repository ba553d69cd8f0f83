"""Positions: transformers' rope parameters as llama.cpp's.

Guarantees: angles are computed by transformers itself and divided out, so that what llama.cpp turns by is what the model was
trained with; a kind that llama.cpp cannot do for an architecture is an error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from agentkit.errors import ModelFileError
from agentkit_training.export.architectures import Architecture, Shape
from agentkit_training.llama import STILL

__all__ = ["Rope", "rope_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """How positions turn queries and keys.

    Attributes:
        base: theta.
        factors: what each pair's angle is divided by, [head width / 2]; None: nothing is.
        scaling: llama.cpp's kind of scaling, if it is not by factors.
        factor: by how much.
        original: context that it was trained with before, in tokens.
        attention: what queries and keys are multiplied by, beside what llama.cpp does of itself.
    """

    base: float
    factors: NDArray[np.float32] | None = None
    scaling: gguf.RopeScalingType | None = None
    factor: float = 1.0
    original: int = 0
    attention: float = 1.0


def rope_of(config: Any, architecture: Architecture, shape: Shape, where: object) -> Rope:
    """Return the rope of a configuration.

    `dynamic` scaling changes nothing within the context that the file states. `proportional` leaves pairs still, `llama3` and YaRN
    with bounds of its own divide the slow ones: they become factors, for llama.cpp reads YaRN's bounds from no file.

    Raises:
        ModelFileError: llama.cpp cannot do it.
    """
    params = config.rope_parameters
    kind, base = params.get("rope_type", "default"), float(params["rope_theta"])
    if kind in {"default", "dynamic"}:
        return Rope(base=base)
    if kind not in {"linear", "yarn", "llama3", "proportional"}:
        raise ModelFileError(f"{where}: rope type '{kind}' cannot be exported; get a GGUF that its makers published")
    angles, attention = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    if len(angles) != shape.head_width // 2:
        raise ModelFileError(
            f"{where}: rope '{kind}' turns a part of a head only; llama.cpp's {architecture.name} turns all"
        )
    if kind == "linear":
        return Rope(base=base, scaling=gguf.RopeScalingType.LINEAR, factor=float(params["factor"]))
    if kind == "yarn" and _usual(params):
        factor, original = float(params["factor"]), int(params["original_max_position_embeddings"])
        own = 1 + 0.1 * math.log(factor)
        return Rope(
            base=base,
            scaling=gguf.RopeScalingType.YARN,
            factor=factor,
            original=original,
            attention=attention / own,
        )
    if not architecture.factors:
        raise ModelFileError(
            f"{where}: such a rope ('{kind}') cannot be exported: llama.cpp's {architecture.name} has no factors for it"
        )
    return Rope(base=base, factors=_factors(base, angles, shape.head_width), attention=attention)


def _usual(params: dict[str, Any]) -> bool:
    """Whether YaRN's bounds are the paper's (Peng et al. 2023), which are llama.cpp's."""
    bounds = (params.get("beta_fast") or 32, params.get("beta_slow") or 1)
    return bounds == (32, 1) and params.get("truncate", True) and (params.get("factor") or 0) > 1


def _factors(base: float, angles: torch.Tensor, width: int) -> NDArray[np.float32]:
    plain = base ** (-np.arange(0, width, 2) / width)
    turned = angles.double().numpy()
    factors = np.full(len(turned), STILL)
    np.divide(plain, turned, out=factors, where=turned > 0)
    return factors.astype(np.float32)
