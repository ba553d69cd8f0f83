"""Looking at rows without making a data set: a few before, and any one afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentkit.errors import InvalidParams, JobError
from agentkit_synthesis.dataset.manifest import read_manifest
from agentkit_synthesis.dataset.rows import PAIRS, Rejected, make_row

__all__ = ["preview", "row"]


def preview(
    source: str, options: Mapping[str, Any], seed: int, n: int = 10, *, patience: int = 200
) -> list[dict[str, Any]]:
    """Return the first `n` rows that a data set of these options would have.

    Args:
        source: `module:function` of the rows.
        options: what the source is given.
        seed: what it draws from.
        n: rows.
        patience: rows tried without one that verified before giving up.

    Raises:
        JobError: none of `patience` rows verified; names the most frequent reasons.
    """
    found: list[dict[str, Any]] = []
    reasons: Counter[str] = Counter()
    since = index = 0
    while len(found) < n:
        made = make_row(source, options, seed, index)
        index += 1
        if isinstance(made, Rejected):
            reasons[made.reason] += 1
            since += 1
            if since >= patience:
                told = "; ".join(f"{reason} ({count} times)" for reason, count in reasons.most_common(3))
                raise JobError(f"{source}: none of {since} rows in a row verified: {told}; change the options")
            continue
        since = 0
        found.append(dict(made))
    return found


def row(folder: Path, id: str) -> dict[str, Any]:
    """Return a row of a data set, made again from its id and the manifest.

    Args:
        folder: a data set's.
        id: the row's, `<kind>-<seed>-<index>`.

    Raises:
        InvalidParams: the folder is no data set, or there is no such row in it.
    """
    manifest = read_manifest(folder)
    kind, _, rest = id.rpartition("-")[0].rpartition("-")
    index = id.rpartition("-")[2]
    if kind != manifest.kind or rest != str(manifest.seed) or not (index.isascii() and index.isdigit()):
        raise InvalidParams(f"/id: {id!r} is no row of {folder}; its ids are {manifest.kind}-{manifest.seed}-N")
    if int(index) >= manifest.tried:
        raise InvalidParams(f"/id: {id!r}: {folder} ends before row {manifest.tried}")
    made = make_row(manifest.source, manifest.options, manifest.seed, int(index))
    if isinstance(made, Rejected):
        raise InvalidParams(f"/id: {id!r} was rejected: {made.reason}; it is no row of {folder}")
    return {name: value for name, value in made.items() if name != PAIRS}
