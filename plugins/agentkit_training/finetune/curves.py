"""A run's curves as one picture: loss, margin, accuracy, divergence, learning rate, gradient norm; training and evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

__all__ = ["PANELS", "draw", "series"]

PANELS: tuple[tuple[str, str], ...] = (
    ("loss", "loss"),
    ("margin", "reward margin"),
    ("accuracy", "reward accuracy"),
    ("reward", "reward"),
    ("kl", "KL to the reference, nats a token"),
    ("token_accuracy", "token accuracy"),
    ("length", "tokens of a completion"),
    ("logps_chosen", "log-probability of chosen"),
    ("logps_rejected", "log-probability of rejected"),
    ("learning_rate", "learning rate"),
    ("grad_norm", "gradient norm"),
)
ACROSS = 3


def series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Return the steps and values of one figure; of a step that was made again after an interruption, the last value."""
    found = {int(row["step"]): float(row[name]) for row in rows if row.get(name) is not None}
    return list(found), [found[step] for step in found]


def draw(metrics: Path, target: Path) -> Path | None:
    """Draw what a run's metrics.jsonl holds, and return the picture; None where it holds nothing."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines() if line] if metrics.exists() else []
    shown = [
        (name, title) for name, title in PANELS if any(f"{kind}{name}" in row for row in rows for kind in ("", "eval_"))
    ]
    if not shown:
        return None
    down = -(-len(shown) // ACROSS)
    figure = Figure(figsize=(4.2 * ACROSS, 2.8 * down), layout="constrained")
    for place, (name, title) in enumerate(shown, 1):
        axes = figure.add_subplot(down, ACROSS, place)
        for key, label, style in ((name, "training", "-"), (f"eval_{name}", "held out", "o-")):
            steps, values = series(rows, key)
            if steps:
                axes.plot(steps, values, style, label=label, markersize=3, linewidth=1)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.3)
        if any(f"eval_{name}" in row for row in rows):
            axes.legend(fontsize=7)
    partial = target.with_name(f".{target.name}.png")
    figure.savefig(partial, dpi=110)
    partial.replace(target)
    return target
