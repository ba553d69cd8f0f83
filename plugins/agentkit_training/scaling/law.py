"""What every scaling law can do: say the loss of a model, and which model a budget is best spent on.

Units throughout: N is the number of parameters, D and U are tokens, C is training compute in FLOPs with C = 6ND,
and losses are nats per token. All are positive and finite.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import UsageError

__all__ = ["FLOPS_PER_PARAM_TOKEN", "Array", "Law", "positive"]

FLOPS_PER_PARAM_TOKEN = 6.0  # 2 forward and 4 backward (Kaplan et al. 2020, section 2.1)
Array = NDArray[np.float64]


def positive(name: str, value: float) -> float:
    """Return `value` as a float.

    Raises:
        UsageError: it is not a positive, finite number.
    """
    number = float(value)
    if not math.isfinite(number) or number <= 0:
        raise UsageError(f"{name} is {number:g}; give a positive, finite number")
    return number


@dataclass(frozen=True)
class Law(ABC):
    """A law with its constants; the fields of a subclass are the constants, in the order of the literature."""

    form: ClassVar[str]
    repeats: ClassVar[bool] = False  # whether it knows tokens that are seen more than once

    def __post_init__(self) -> None:
        for name, value in self.constants().items():
            positive(name, value)

    @abstractmethod
    def losses(self, params: Array, tokens: Array, unique_tokens: Array | None = None) -> Array:
        """Return the losses of many models; the arguments broadcast, and are not checked."""

    @abstractmethod
    def optimum(self, flops: float, unique_tokens: float | None = None) -> tuple[float, float]:
        """Return the N and D with 6ND = `flops` that have the lowest loss."""

    def predict(self, params: float, tokens: float, unique_tokens: float | None = None) -> float:
        """Return the loss in nats per token of a model with N parameters trained on D tokens.

        Args:
            params: N.
            tokens: D, repeated ones counted as often as they are seen.
            unique_tokens: U, the different ones among them; all of them if not said.

        Raises:
            UsageError: a number is not positive and finite, or this law knows no unique tokens.
        """
        self.check_unique(unique_tokens)
        unique = None if unique_tokens is None else np.float64(unique_tokens)
        n, d = np.float64(positive("params", params)), np.float64(positive("tokens", tokens))
        return float(self.losses(n, d, unique))  # type: ignore[arg-type]  # scalars broadcast as well

    def check_unique(self, unique_tokens: float | None) -> None:
        """Raise `UsageError` for unique tokens that are no number, or that this law has no term for."""
        if unique_tokens is None:
            return
        positive("unique tokens", unique_tokens)
        if not self.repeats:
            raise UsageError(
                f"a {self.form} law says nothing of repeated tokens; leave unique tokens out, or use a data_constrained law"
            )

    def constants(self) -> dict[str, float]:
        """Return the constants by name, in order."""
        return {item.name: float(getattr(self, item.name)) for item in fields(self)}
