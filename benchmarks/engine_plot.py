"""The engine's ratios as a picture: one bar each, the peer at 1.

python -m benchmarks.engine_plot [--rows benchmarks/results/engine-1b.json] [--out docs/engine.svg]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from benchmarks import figures
from benchmarks.figures import RESULTS, ROOT, Row

__all__ = ["draw"]

LABELS = {  # of the ratios to a peer or to the engine without a part; other rows are not drawn
    "calls-turn-gbnf": "message and tool call: time / class Llama",
    "calls-turn-guidance": "message and tool call: time / guidance",
    "calls-gbnf": "the call alone: time / class Llama",
    "calls-guidance": "the call alone: time / guidance",
    "calls-unforced": "one tool call: time / no fast-forward",
    "calls-own-gbnf": "one tool call: time / GBNF for llguidance",
    "tree-time": "search tree, 64 nodes: time / class Llama",
    "tree-tokens": "search tree: prompt tokens / class Llama",
    "server-time": "search tree: time / llama-server",
    "server-tokens": "search tree: prompt tokens / llama-server",
    "radix-tokens": "search tree: prompt tokens / no prefix cache",
    "radix-time": "small search tree: time / no prefix cache",
    "turns-first-token": "ten-turn trace: time to first token / class Llama",
    "rank-full": "8 candidates: full scores / one by one",
    "rank-choose": "8 candidates: choosing / one by one",
    **{
        f"drafts-{kind}": f"{text}: time / without guesses"
        for kind, text in (
            ("copied", "a reply that copies"),
            ("edited", "one that copies with changes"),
            ("new", "one that does not"),
        )
    },
    **{f"best-of-{k}": f"best of {k}: time / class Llama" for k in (1, 4, 8, 16)},
    **{f"batch-{k}": f"best of {k}: side by side / one by one" for k in (4, 8, 16)},
}
LEFT, WIDTH, RIGHT, LINE, BAR, TOP = 400, 480, 60, 26, 14, 54
_STYLE = """
  text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #1c2033 }
  .head { font-weight: 600; font-size: 15px } .label { text-anchor: end } .small { font-size: 11px; fill: #5b6075 }
  .less { fill: #4f6fc4 } .more { fill: #c9762b } .one { stroke: #1c2033; stroke-dasharray: 4 3 }
  .grid { stroke: #d9dce6 } .range { stroke: #1c2033; stroke-width: 1.4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e8f2 } .small { fill: #a2a8bf } .less { fill: #7d9bf0 } .more { fill: #e39a55 }
    .one, .range { stroke: #e6e8f2 } .grid { stroke: #3a3f52 }
  }
"""


def draw(rows: Iterable[Row]) -> str:
    """Return the SVG text: a bar for each ratio against a peer, with its interval."""
    shown = [row for row in rows if row.unit == "ratio" and row.n and row.id in LABELS]
    most = max([1.1, *(max(row.value, row.interval[1] if row.interval else 0.0) for row in shown)]) * 1.05
    width, height = LEFT + WIDTH + RIGHT, TOP + LINE * len(shown) + 34
    ticks = [n / 4 for n in range(int(most * 4) + 1)] if most <= 2.5 else [float(n) for n in range(int(most) + 1)]
    bottom = TOP + LINE * len(shown)
    body = ['<text class="head" x="16" y="24">Less is better: 1 is the peer, or the engine without the part</text>']
    for tick in ticks:
        kind, x = ("one" if tick == 1 else "grid"), _x(tick, most)
        body.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{bottom}"/>')
        body.append(f'<text class="small" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    for n, row in enumerate(shown):
        body += _bar(row, TOP + n * LINE, most)
    where = "; ".join(dict.fromkeys(f"{row.machine}, {row.date}" for row in shown))
    body.append(f'<text class="small" x="16" y="{height - 6}">{escape(where)}</text>')
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">',
            "<title>What the engine takes, against its peers</title>",
            f"<style>{_STYLE}</style>",
            *body,
            "</svg>\n",
        )
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the rows of a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.engine_plot", description="Draw the engine's ratios.")
    parser.add_argument("--rows", type=Path, default=RESULTS / "engine-1b.json", help="default: engine-1b.json")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "engine.svg", help="default: docs/engine.svg")
    wanted = parser.parse_args(argv)
    figures.write_whole(wanted.out, draw(figures.read(wanted.rows)))
    return 0


def _bar(row: Row, top: float, most: float) -> list[str]:
    """Return a row's label, bar, interval and value."""
    start, end, middle = _x(0.0, most), _x(row.value, most), top + BAR / 2
    parts = [
        f'<text class="label" x="{LEFT - 10}" y="{middle}" dy="0.35em">{escape(LABELS[row.id])}</text>',
        f'<rect class="{"less" if row.value <= 1 else "more"}" x="{start:.1f}" y="{top}" width="{end - start:.1f}" '
        f'height="{BAR}" rx="2"><title>{escape(row.what)}</title></rect>',
    ]
    if row.interval:
        low, high = (_x(bound, most) for bound in row.interval)
        parts.append(
            f'<path class="range" fill="none" d="M{low:.1f} {middle - 4}v8M{low:.1f} {middle}H{high:.1f}m0 -4v8"/>'
        )
        end = max(end, high)
    parts.append(f'<text x="{end + 6:.1f}" y="{middle}" dy="0.35em">{row.value:.3g}</text>')
    return parts


def _x(value: float, most: float) -> float:
    return LEFT + WIDTH * value / most


if __name__ == "__main__":
    raise SystemExit(main())
