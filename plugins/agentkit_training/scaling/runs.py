"""The training runs that a law is fitted to, read from CSV or JSON Lines.

Columns are `params`, `loss`, `tokens` or `flops`, and `unique_tokens` where tokens are repeated; others are left alone.
A row that cannot be used is refused with its line: a fit that drops rows in silence answers another question.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkit.errors import UsageError
from agentkit_training.scaling.law import FLOPS_PER_PARAM_TOKEN

__all__ = ["Run", "checked", "read_runs"]


@dataclass(frozen=True)
class Run:
    """One trained model: its size, what it read, and its loss in nats per token."""

    params: float
    tokens: float
    loss: float
    unique_tokens: float | None = None
    line: int | None = None  # of the file it was read from

    @property
    def flops(self) -> float:
        """6ND."""
        return FLOPS_PER_PARAM_TOKEN * self.params * self.tokens

    @property
    def figures(self) -> tuple[float, float, float, float]:
        """Everything but the line; what makes two runs duplicates."""
        return self.params, self.tokens, self.loss, self.unique_tokens or self.tokens


def checked(runs: Sequence[Run], source: str = "runs") -> list[Run]:
    """Return the runs, as plain floats, in an order that does not depend on theirs.

    Raises:
        UsageError: a number is NaN, infinite, zero or negative, or a run stands there twice; says on which line, or for
            runs that have none, which in the order given.
    """
    seen: dict[tuple[float, ...], str] = {}
    for number, run in enumerate(runs, 1):
        place = f"line {run.line}" if run.line is not None else f"run {number}"
        for name in ("params", "tokens", "loss", "unique_tokens"):
            value = getattr(run, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UsageError(f"{source}, {place}: {name} is {value:g}; it must be positive and finite")
        if run.figures in seen:
            raise UsageError(f"{source}, {place}: the same run as {seen[run.figures]}; leave one of them out")
        seen[run.figures] = place
    return sorted(map(_plain, runs), key=lambda run: run.figures)


def _plain(run: Run) -> Run:
    unique = None if run.unique_tokens is None else float(run.unique_tokens)
    return Run(float(run.params), float(run.tokens), float(run.loss), unique, run.line)


def read_runs(path: Path | str) -> list[Run]:
    """Return the runs in a file of CSV, or of JSON Lines (`.jsonl`, `.ndjson`), in the file's order.

    Where a row has no tokens they are flops / (6 params); where it has both, its flops are left alone.

    Raises:
        UsageError: the file cannot be read, a column is missing, or a row is unusable; says which line and why.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); name a file of runs") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not text in UTF-8; save it as CSV or JSON Lines in UTF-8") from error
    rows = _json_rows(path, text) if path.suffix in {".jsonl", ".ndjson"} else _csv_rows(path, text)
    runs = [_run(path, line, row) for line, row in rows]
    if not runs:
        raise UsageError(f"{path}: holds no runs; it needs a row for each trained model")
    checked(runs, str(path))
    return runs


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    names: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = [cell.strip() for cell in cells]
                _check_columns(path, names)
                continue
            if len(cells) != len(names):
                raise UsageError(
                    f"{path}, line {reader.line_num}: {len(cells)} cells under {len(names)} columns; mend it"
                )
            yield reader.line_num, dict(zip(names, cells, strict=True))
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: is not CSV ({error}); mend it") from error


def _check_columns(path: Path, names: Sequence[str]) -> None:
    for name in {name for name in names if name and names.count(name) > 1}:
        raise UsageError(f"{path}, line 1: column '{name}' stands there twice; rename one of them")
    wanted = ["params", "loss"] if "flops" in names else ["params", "tokens", "loss"]
    for name in wanted:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"rename '{near[0]}'" if near else f"the first line names: {', '.join(names)}"
            other = " (or flops)" if name == "tokens" else ""
            raise UsageError(f"{path}: has no column '{name}'{other}; {hint}")


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{path}, line {number}: is not JSON ({error}); write one object a line") from error
        if not isinstance(row, dict):
            raise UsageError(f"{path}, line {number}: is not an object; write one object a line")
        yield number, row


def _run(path: Path, line: int, row: Mapping[str, Any]) -> Run:
    """Return the run of one row."""
    where = f"{path}, line {line}"
    params, loss = _number(where, row, "params"), _number(where, row, "loss")
    unique = None if _absent(row, "unique_tokens") else _number(where, row, "unique_tokens")
    if _absent(row, "tokens") and not _absent(row, "flops"):
        flops = _number(where, row, "flops")
        if not params:
            raise UsageError(f"{where}: params is 0; it must be positive and finite")
        tokens = flops / (FLOPS_PER_PARAM_TOKEN * params)
    else:
        tokens = _number(where, row, "tokens")
    return Run(params, tokens, loss, unique, line)


def _absent(row: Mapping[str, Any], name: str) -> bool:
    value = row.get(name)
    return value is None or (isinstance(value, str) and not value.strip())


def _number(where: str, row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    if _absent(row, name):
        raise UsageError(f"{where}: {name} is missing; give a number")
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f"{where}: {name} is {value!r}; give a number")
    try:
        return float(value)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{where}: {name} is {str(value)[:40]!r}; give a number") from error
