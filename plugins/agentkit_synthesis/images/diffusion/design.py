"""What a diffusion model of labelled images is: sizes, schedule, attributes; plain enough for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from agentkit.errors import InvalidParams

__all__ = ["SIZE_STEP", "Design", "design_for"]

Schedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
Prediction = Literal["epsilon", "sample", "v_prediction"]
SIZE_STEP, MOST_SIZE = 8, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The shape of a model.

    Attributes:
        size: side of its images in pixels.
        channels: 1 or 3.
        values: attribute -> the names of its values, in the order of the network's embeddings.
        patch: the network sees squares of so many pixels a side as one, with more channels.
        widths: channels at each level; each a multiple of 8.
        layers: residual blocks a level.
        timesteps: T of the forward process.
        schedule: of its betas.
        prediction: what the network predicts.
    """

    size: int
    channels: int
    values: Mapping[str, tuple[str, ...]]
    patch: int = 1
    widths: tuple[int, ...] = (32, 64)
    layers: int = 1
    timesteps: int = 1000
    schedule: Schedule = "squaredcos_cap_v2"
    prediction: Prediction = "v_prediction"

    @property
    def nulls(self) -> tuple[int, ...]:
        """For each attribute the index that means: not given."""
        return tuple(len(values) for values in self.values.values())

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Design:
        """Return the design that `to_json` wrote."""
        values = {name: tuple(found) for name, found in data["values"].items()}
        return cls(**{**data, "values": values, "widths": tuple(data["widths"])})


def design_for(size: int, channels: int, values: Mapping[str, tuple[str, ...]], **changes: Any) -> Design:
    """Return the design for images of a size: small enough to be trained in minutes on two cores.

    Raises:
        InvalidParams: the size is no multiple of 8 from 8 to 64.
    """
    if size % SIZE_STEP or not SIZE_STEP <= size <= MOST_SIZE:
        raise InvalidParams(f"/size: {size} is no multiple of {SIZE_STEP} from {SIZE_STEP} to {MOST_SIZE}")
    patch = 1 if size <= 16 else 2 if size <= 32 else 4
    widths = (32, 64, 64) if size == SIZE_STEP else (64, 96, 128)
    return Design(size=size, channels=channels, values=dict(values), **{"patch": patch, "widths": widths, **changes})
