"""Small charts as SVG inside a page: bars, drawn with the page's own colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["bars", "columns"]

WIDTH, HEIGHT, LINE = 640, 120, 20  # pixels
NAME, NUMBER = 150, 70
MOST_BARS = 40


def bars(counts: Mapping[str, float]) -> str:
    """Return a horizontal bar for each name, in the order given; at most 40."""
    shown = list(counts.items())[:MOST_BARS]
    most = max((value for _, value in shown), default=0) or 1
    room = WIDTH - NAME - NUMBER
    lines = []
    for place, (name, value) in enumerate(shown):
        top, long = place * LINE, room * value / most
        lines.append(
            f'<text class="name" x="{NAME - 8}" y="{top + 14}" text-anchor="end">{escape(_short(name))}</text>'
            f'<rect x="{NAME}" y="{top + 3}" width="{long:.1f}" height="{LINE - 6}" rx="2"/>'
            f'<text x="{NAME + long + 6:.1f}" y="{top + 14}">{value:,g}</text>'
        )
    return _svg(
        "".join(lines), len(shown) * LINE, "a bar for each: " + ", ".join(f"{name} {value:g}" for name, value in shown)
    )


def columns(histogram: Sequence[Mapping[str, Any]], unit: str) -> str:
    """Return a histogram: bars of `from`, `to` and `count`, side by side."""
    if not histogram:
        return ""
    most = max(bar["count"] for bar in histogram) or 1
    wide = WIDTH / len(histogram)
    lines = [
        f'<rect x="{place * wide + 1:.1f}" y="{HEIGHT - HEIGHT * bar["count"] / most:.1f}" width="{max(wide - 2, 1):.1f}" '
        f'height="{HEIGHT * bar["count"] / most:.1f}"><title>{bar["from"]} to {bar["to"]} {escape(unit)}: {bar["count"]:,}</title></rect>'
        for place, bar in enumerate(histogram)
    ]
    ends = (
        f'<text x="0" y="{HEIGHT + 16}">{histogram[0]["from"]}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + 16}" text-anchor="end">{histogram[-1]["to"]} {escape(unit)}</text>'
    )
    return _svg("".join(lines) + ends, HEIGHT + 20, f"histogram in {unit}")


def _svg(inside: str, height: int, told: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(told)}">{inside}</svg>'


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
