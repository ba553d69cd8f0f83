"""Rows for people: a table on the terminal, and docs/figures.md."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import figures
from benchmarks.figures import SHARE, Measured, Row

HEAD = """\
# Figures

Rendered from `benchmarks/results/` by `python -m benchmarks --render`. Every row was written by the command it names.
Intervals are 95 %: Wilson for shares, bootstrap for ratios of medians. A target that was missed stays here as missed.
`python -m benchmarks ID` measures a row anew.
"""


def publish(area: str, measured: Sequence[Measured], *, command: str, began: float, write: bool) -> list[Row]:
    """Print what was measured as a table, with `write` put it among the results, and return its rows.

    Args:
        area: whose file in `benchmarks/results/`.
        measured: the figures.
        command: prints them again.
        began: when it was started, by `time.monotonic()`.
        write: whether they are kept.
    """
    rows = figures.rows(measured, command=command, seconds=time.monotonic() - began)
    Console(width=None if sys.stdout.isatty() else 150).print(table([(area, rows)]))
    if write:
        figures.write(area, rows)
    return rows


def number(row: Row, value: float) -> str:
    """Return a value of `row` in its unit."""
    if row.unit == SHARE:
        return f"{100 * value:.1f} %"
    return f"{value:.3g} {row.unit}"


def target(row: Row) -> str:
    """Return what was wanted, with its direction."""
    if row.target is None:
        return ""
    return f"{'≥' if row.unit == SHARE else '≤'} {number(row, row.target)}"


def interval(row: Row) -> str:
    """Return the interval."""
    if row.interval is None:
        return ""
    low, high = row.interval
    return f"{100 * low:.1f} to {100 * high:.1f}" if row.unit == SHARE else f"{low:.3g} to {high:.3g}"


def verdict(row: Row) -> str:
    """Return whether it holds, in a word."""
    return {None: "", True: "yes", False: "MISSED"}[row.holds]


def table(areas: Iterable[tuple[str, list[Row]]]) -> Table:
    """Return all rows as one table."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "what", "value", "95 %", "target", "holds", "n", "date"):
        drawn.add_column(name, justify="right" if name in {"value", "n"} else "left", overflow="fold")
    for area, rows in areas:
        drawn.add_row(f"[bold]{area}[/bold]")
        for row in rows:
            style = "red" if row.holds is False else ""
            cells = (row.id, row.what, number(row, row.value), interval(row), target(row), verdict(row))
            drawn.add_row(*cells, f"{row.n:,}", row.date, style=style)
    return drawn


def page(areas: Iterable[tuple[str, list[Row]]], mistakes: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return docs/figures.md; `mistakes` are the most frequent wrong picks of the embedded model, by what was asked."""
    parts = [HEAD]
    for area, rows in areas:
        parts.append(f"## {area}\n")
        parts.append("| id | what | value | 95 % | target | holds | n | measured |")
        parts.append("|---|---|---|---|---|---|---|---|")
        for row in rows:
            cells = (f"`{row.id}`", row.what, number(row, row.value), interval(row), target(row), verdict(row))
            where = f"{row.date}, {row.commit}" if row.commit else row.date
            parts.append("| " + " | ".join((*cells, f"{row.n:,}", where)) + " |")
        parts.append("")
        parts += [f"- `{command}`" for command in dict.fromkeys(row.command for row in rows)]
        parts += [f"- on {machine}" for machine in dict.fromkeys(row.machine for row in rows)]
        parts.append("")
    for name, confused in mistakes.items():
        parts += [f"## Taken for another tool: {name}\n", "| wanted | got | times |", "|---|---|---|"]
        parts += [f"| `{one['wanted']}` | `{one['got']}` | {one['times']} |" for one in confused]
        parts.append("")
    return "\n".join(parts)
