"""Rows by program: what a row source is, and what every row has.

A source is a function `make(options, seed, index)`, named `module:function`. It is pure: the same arguments give the same
row in every process. That is what makes a data set resumable, parallel and reproducible row by row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from agentkit.errors import JobError

__all__ = ["PAIRS", "Rejected", "RowSource", "Split", "find_source", "make_row", "split_of"]

Split = Literal["train", "test"]
PAIRS = "pairs"  # a row's preference pairs, each prompt/chosen/rejected; they go to a file of their own
NEEDED = ("id", "family", "split", "messages")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that did not verify.

    Attributes:
        reason: one short sentence without figures, so that equal reasons can be counted.
    """

    reason: str


RowSource = Callable[[Mapping[str, Any], int, int], Mapping[str, Any] | Rejected]


def find_source(name: str) -> RowSource:
    """Return the function that `module:function` names.

    Raises:
        JobError: it cannot be imported, or is no function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function, None)
    except ImportError as error:
        raise JobError(f"{name}: cannot be imported ({error}); install what it belongs to") from error
    if not callable(found):
        raise JobError(f"{name}: is no function; name a row source as module:function")
    source: RowSource = found
    return source


def make_row(name: str, options: Mapping[str, Any], seed: int, index: int) -> Mapping[str, Any] | Rejected:
    """Return row `index` (from 0) of a source, or why it was rejected.

    Raises:
        JobError: the source failed, or gave a row without `id`, `family`, `split` or `messages`.
    """
    row = find_source(name)(options, seed, index)
    if isinstance(row, Rejected):
        return row
    missing = [key for key in NEEDED if key not in row]
    if missing or row["split"] not in ("train", "test"):
        wrong = f"no `{'`, `'.join(missing)}`" if missing else f"the split {row['split']!r}, not train or test"
        raise JobError(f"{name}: row {index} has {wrong}; mend the source")
    return row


def split_of(problem: str, test_share: float) -> Split:
    """Return the split that owns a problem: by its hash, so that no problem is in both.

    Args:
        problem: the problem itself, without what only dresses it (wording, system message).
        test_share: expected share of the problems that are in `test`, 0 to 1.
    """
    drawn = int.from_bytes(hashlib.sha256(problem.encode()).digest()[:8]) / 2**64
    return "test" if drawn < test_share else "train"
