"""A small directed graph as an SVG, drawn here: no network, no browser, no layout library.

Nodes stand in columns, each one step further from the start than the furthest of its sources; edges that
skip columns bow over the row, edges that go back bow under it, conditional ones are dashed. Meant for
graphs of a dozen nodes; it does not minimise crossings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

CHAR, HEIGHT, GAP_X, GAP_Y, MARGIN, BOW = 8.0, 36.0, 44.0, 28.0, 24.0, 26.0

_STYLE = """
  .node rect { fill: #eef2ff; stroke: #4f5fb3; stroke-width: 1.4 }
  .end rect { fill: #f3f3f3; stroke: #888 }
  text { font: 14px ui-monospace, monospace; fill: #1c2033; text-anchor: middle }
  path { fill: none; stroke: #4a4f63; stroke-width: 1.3 }
  .conditional { stroke-dasharray: 5 4 }
  marker path { fill: #4a4f63; stroke: none }
  @media (prefers-color-scheme: dark) {
    .node rect { fill: #262b45; stroke: #8e9be6 } .end rect { fill: #333; stroke: #999 }
    text { fill: #e6e8f2 } path { stroke: #b4b9cc } marker path { fill: #b4b9cc }
  }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """An arrow; `conditional` if it is one of several ways on."""

    source: str
    target: str
    conditional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a node stands: its column, and the centre and width of its rectangle."""

    column: int
    x: float
    y: float
    width: float


def draw(nodes: Sequence[str], edges: Sequence[Edge], *, title: str) -> str:
    """Return the SVG text; the first node is the start."""
    columns = layers(nodes, edges)
    widest = max(max((columns[e.target] - columns[e.source] for e in edges), default=1), 1)
    furthest_back = max((columns[e.source] - columns[e.target] for e in edges), default=0)
    above, below = _bow(widest) if widest > 1 else 0.0, _bow(furthest_back) if furthest_back > 0 else 0.0
    boxes = _place(nodes, columns, top=MARGIN + above)
    width = max(box.x + box.width / 2 for box in boxes.values()) + MARGIN
    height = max(box.y for box in boxes.values()) + HEIGHT / 2 + below + MARGIN
    body = [*(_arrow(boxes, edge) for edge in edges), *(_node(name, box, nodes) for name, box in boxes.items())]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'width="{width:.0f}" height="{height:.0f}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
            '<path d="M0 0L8 4L0 8z"/></marker></defs>',
            *body,
            "</svg>\n",
        )
    )


def layers(nodes: Sequence[str], edges: Iterable[Edge]) -> dict[str, int]:
    """Return each node's column: the longest way from the start that never goes back."""
    out: dict[str, list[str]] = {name: [] for name in nodes}
    for edge in edges:
        out[edge.source].append(edge.target)
    back = _going_back(nodes, out)
    columns = dict.fromkeys(nodes, 0)
    for _ in nodes:  # a longest way has fewer steps than there are nodes
        for source, targets in out.items():
            for target in targets:
                if (source, target) not in back:
                    columns[target] = max(columns[target], columns[source] + 1)
    return columns


def _going_back(nodes: Sequence[str], out: Mapping[str, list[str]]) -> set[tuple[str, str]]:
    """Return the edges to a node that is still open in a depth-first walk: without them there is no cycle."""
    found: set[tuple[str, str]] = set()
    closed: set[str] = set()

    def walk(name: str, open_: tuple[str, ...]) -> None:
        for target in out[name]:
            if target in open_:
                found.add((name, target))
            elif target not in closed:
                walk(target, (*open_, target))
        closed.add(name)

    for name in nodes:
        if name not in closed:
            walk(name, (name,))
    return found


def _place(nodes: Sequence[str], columns: Mapping[str, int], *, top: float) -> dict[str, Box]:
    by_column: dict[int, list[str]] = {}
    for name in nodes:
        by_column.setdefault(columns[name], []).append(name)
    tallest = max(len(names) for names in by_column.values())
    middle = top + (tallest * HEIGHT + (tallest - 1) * GAP_Y) / 2
    boxes: dict[str, Box] = {}
    left = MARGIN
    for column in sorted(by_column):
        names = by_column[column]
        width = max(len(label(name)) for name in names) * CHAR + 24
        first = middle - (len(names) - 1) * (HEIGHT + GAP_Y) / 2
        for n, name in enumerate(names):
            boxes[name] = Box(column=column, x=left + width / 2, y=first + n * (HEIGHT + GAP_Y), width=width)
        left += width + GAP_X
    return boxes


def _arrow(boxes: Mapping[str, Box], edge: Edge) -> str:
    a, b = boxes[edge.source], boxes[edge.target]
    kind = ' class="conditional"' if edge.conditional else ""
    span = b.column - a.column
    if span == 1:
        way = f"M{a.x + a.width / 2:.1f} {a.y:.1f}L{b.x - b.width / 2:.1f} {b.y:.1f}"
    else:
        side = -1 if span > 1 else 1  # over the row when skipping columns, under it when going back
        rise = side * _bow(abs(span)) * 4 / 3  # a cubic reaches three quarters of its handles
        ya, yb = a.y + side * HEIGHT / 2, b.y + side * HEIGHT / 2
        lean = 8 if span > 0 else -8
        way = f"M{a.x + lean:.1f} {ya:.1f}C{a.x + lean:.1f} {ya + rise:.1f} {b.x - lean:.1f} {yb + rise:.1f} {b.x - lean:.1f} {yb:.1f}"
    return f'<path{kind} d="{way}" marker-end="url(#tip)"/>'


def _node(name: str, box: Box, nodes: Sequence[str]) -> str:
    kind = "node end" if name.startswith("__") else "node"
    radius = HEIGHT / 2 if name.startswith("__") else 6
    return (
        f'<g class="{kind}"><rect x="{box.x - box.width / 2:.1f}" y="{box.y - HEIGHT / 2:.1f}" width="{box.width:.1f}" '
        f'height="{HEIGHT:.0f}" rx="{radius:.0f}"/><text x="{box.x:.1f}" y="{box.y:.1f}" dy="0.35em">{escape(label(name))}</text></g>'
    )


def _bow(span: int) -> float:
    return BOW + 9.0 * span


def label(name: str) -> str:
    """Return a node's name as people write it: `__start__` is START."""
    return name.strip("_").upper() if name.startswith("__") else name
