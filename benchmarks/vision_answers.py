"""The picture of answers: pictures with a question, the answer and the caption below each, wrong ones in red."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from agentkit_vision.contracts import Pixels

COLUMNS, WIDTH = 4, 34  # pictures in a row; letters in a line
RIGHT, WRONG, GREY = "black", "#c00000", "#707070"


class Answered(NamedTuple):
    """A picture with what was said about it."""

    pixels: Pixels
    question: str
    answer: str
    is_right: bool
    caption: str
    is_true: bool  # the caption, in all attributes


def montage(shown: Sequence[Answered], path: Path) -> None:
    """Draw pictures as a PNG, four in a row."""
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(2.9 * COLUMNS, 3.6 * rows))
    for place, one in enumerate(shown, 1):
        axes = figure.add_subplot(rows, COLUMNS, place)
        axes.imshow(one.pixels, interpolation="nearest")
        axes.set_axis_off()
        lines = [
            *((line, GREY) for line in textwrap.wrap(one.question, WIDTH)),
            (f"→ {one.answer or '(nothing)'}", RIGHT if one.is_right else WRONG),
            *((line, RIGHT if one.is_true else WRONG) for line in textwrap.wrap(one.caption or "(no caption)", WIDTH)),
        ]
        for n, (line, colour) in enumerate(lines):
            axes.text(0.5, -0.04 - 0.085 * n, line, transform=axes.transAxes, ha="center", va="top", fontsize=8.5, color=colour)  # fmt: skip
    figure.subplots_adjust(left=0.01, right=0.99, top=0.98, bottom=0.1, wspace=0.1, hspace=0.55)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
