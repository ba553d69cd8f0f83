"""What a trained model says of itself: the README.md in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkit_training.finetune.params import TrainParams

__all__ = ["write_card"]


def write_card(path: Path, method: str, params: TrainParams, figures: Mapping[str, Any]) -> Path:
    """Write the card and return it."""
    told = params.model_dump(mode="json", exclude_defaults=True)
    lines = [
        f"# {params.out.name}",
        "",
        f"{params.model}, trained by {method.upper()} with agentkit on {params.data.name}.",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value:.6g} |" for name, value in figures.items() if isinstance(value, int | float)),
        "",
        "| parameter | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in told.items() if name not in {"out", "force"}),
        "",
        "Figures without `_before` are from after training; those of `rows_held_out` rows were not trained on.",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
