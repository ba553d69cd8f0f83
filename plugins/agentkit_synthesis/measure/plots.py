"""What a measurement says, drawn: accuracy against real labels, or accuracy of each family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

__all__ = ["plot_images", "plot_traces"]

COLOURS = {
    "real": "#30343a",
    "real, augmented": "#2f7d4f",
    "real + synthetic": "#3f7cac",
    "real + synthetic, augmented": "#b3623a",
}
LINES = {"synthetic": "#3f7cac", "synthetic, augmented": "#b3623a"}
SIZE = (7.2, 4.4)


def plot_images(found: Mapping[str, Any], target: Path, *, title: str, generator_labels: int) -> None:
    """Draw accuracy against real labels for each arm, with 95 % intervals over seeds; one panel a student.

    A dotted line stands at the labels that the generator saw, where it saw any.
    """
    figure, axes = pyplot.subplots(1, len(found), figsize=(SIZE[0] * len(found), SIZE[1]), squeeze=False)
    for axis, (student, one) in zip(axes[0], found.items(), strict=True):
        for arm, colour in COLOURS.items():
            rows = sorted((row for row in one["rows"] if row["arm"] == arm), key=lambda row: row["labels"])
            if rows:
                _line(axis, rows, arm, colour)
        for arm, colour in LINES.items():
            for row in one["rows"]:
                if row["arm"] == arm:
                    axis.axhline(row["mean"], color=colour, linestyle="--", linewidth=1, label=f"{arm} only")
        if generator_labels:
            axis.axvline(generator_labels, color="#888888", linestyle=":", linewidth=1.2, label="seen by the generator")
        axis.set(
            xscale="log", xlabel="real labels", ylabel="accuracy on real images held out", title=f"{title}: {student}"
        )
        axis.grid(alpha=0.25)
        axis.legend(fontsize=8, loc="lower right")
    _save(figure, target)


def _line(axis: Any, rows: list[Mapping[str, Any]], name: str, colour: str) -> None:
    labels, means = [row["labels"] for row in rows], np.array([row["mean"] for row in rows])
    axis.plot(labels, means, color=colour, marker="o", markersize=4, linewidth=1.6, label=name)
    if all(row["interval"] for row in rows):
        ends = np.array([row["interval"] for row in rows])
        axis.fill_between(
            labels, np.clip(ends[:, 0], 0, 1), np.clip(ends[:, 1], 0, 1), color=colour, alpha=0.15, linewidth=0
        )


def plot_traces(found: Mapping[str, Any], target: Path, *, title: str) -> None:
    """Draw the accuracy of each family, with explanations and with answers alone."""
    families = found["families"]
    figure, axis = pyplot.subplots(figsize=(max(SIZE[0], 1.2 * len(families)), SIZE[1]))
    arms = (("explained", "explanations", "#3f7cac"), ("answers", "answers alone", "#30343a"), ("answers_as_many_tokens", "answers alone, as many tokens", "#9aa3ab"))  # fmt: skip
    places = np.arange(len(families))
    for n, (name, told, colour) in enumerate(arms):
        rows = [family[name] for family in families]
        means = np.array([row["mean"] for row in rows])
        axis.bar(places + (n - 1) * 0.27, means, 0.25, color=colour, label=told)
        if all(row["interval"] for row in rows):
            ends = np.clip(np.array([row["interval"] for row in rows]), 0, 1)
            axis.errorbar(places + (n - 1) * 0.27, means, [means - ends[:, 0], ends[:, 1] - means], fmt="none", color="#888888", capsize=2, linewidth=1)  # fmt: skip
    axis.set(ylabel="right answers on problems held out", title=title, ylim=(0, 1))
    axis.set_xticks(places, [family["family"].replace("_", " ") for family in families], rotation=20, ha="right")
    axis.grid(axis="y", alpha=0.25)
    axis.legend(fontsize=8)
    _save(figure, target)


def _save(figure: Any, target: Path) -> None:
    figure.tight_layout()
    temporary = target.with_name(f".{target.name}.tmp")
    figure.savefig(temporary, dpi=130, format="png", metadata={"Software": None})
    pyplot.close(figure)
    temporary.replace(target)
