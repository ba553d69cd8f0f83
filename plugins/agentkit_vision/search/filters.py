"""Which images of a collection a search may find: by label, by path and by size."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Self

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import UsageError
from agentkit_vision.search.values import Snapshot

__all__ = ["Filters"]

_FORM = re.compile(r"\s*([^=<>!]+?)\s*(!=|>=|<=|=)\s*(.+?)\s*", re.DOTALL)
Read = Callable[[str], Sequence[str] | None]  # attribute -> every image's value as the encoder reads it, or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Conditions that all have to hold.

    Attributes:
        labels: attribute -> values, one of which the image must have. Capitals do not matter.
        without: attribute -> values, none of which it may have.
        paths: globs, one of which its name must match; `*` also matches `/`.
        width: least and most, in pixels of the file.
        height: the same.
    """

    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    without: Mapping[str, Sequence[str]] = field(default_factory=dict)
    paths: Sequence[str] = ()
    width: tuple[int, int | None] = (0, None)
    height: tuple[int, int | None] = (0, None)

    @classmethod
    def parse(cls, lines: Sequence[str]) -> Self:
        """Return the filters that people write: `colour=red|blue`, `colour!=red`, `path=shoes/*`, `width>=100`.

        Raises:
            UsageError: a line is none of these.
        """
        labels: dict[str, tuple[str, ...]] = {}
        without: dict[str, tuple[str, ...]] = {}
        paths: list[str] = []
        sizes: dict[str, tuple[int, int | None]] = {"width": (0, None), "height": (0, None)}
        for line in lines:
            found = _FORM.fullmatch(line)
            if found is None:
                raise UsageError(f"filter '{line}': not a condition; write colour=red, path=shoes/* or width>=100")
            name, sign, value = found.groups()
            if name in sizes:
                sizes[name] = _bounds(line, sizes[name], sign, value)
            elif name == "path" and sign == "=":
                paths.append(value)
            elif sign in {"=", "!="}:
                several = tuple(part.strip() for part in value.split("|"))
                kept = labels if sign == "=" else without
                kept[name] = (*kept.get(name, ()), *several)
            else:
                raise UsageError(f"filter '{line}': only width and height are numbers; write {name}=VALUE")
        return cls(labels=labels, without=without, paths=paths, width=sizes["width"], height=sizes["height"])

    def allowed(self, now: Snapshot, read: Read = lambda name: None) -> NDArray[np.bool_]:
        """Return (n,) whether each image may be found.

        Args:
            now: the collection.
            read: what the encoder sees where an image has no such label.

        Raises:
            UsageError: no image has such a label, and the encoder does not tell the attribute.
        """
        kept = np.ones(len(now), bool)
        for wanted, is_right in ((self.labels, True), (self.without, False)):
            for name, values in wanted.items():
                kept &= _has(now, name, values, read) == is_right
        if self.paths:
            kept &= np.array([any(fnmatchcase(path, glob) for glob in self.paths) for path in now.paths], bool)
        for column, (least, most) in enumerate((self.width, self.height)):
            kept &= (now.sizes[:, column] >= least) & (most is None or now.sizes[:, column] <= most)
        return kept


def _has(now: Snapshot, name: str, values: Sequence[str], read: Read) -> NDArray[np.bool_]:
    """Return (n,) whether each image has one of the values."""
    wanted = {value.casefold() for value in values}
    labelled = [labels.get(name) for labels in now.labels]
    if len(now) and None in labelled:
        seen = read(name)
        if seen is None and not any(value is not None for value in labelled):
            known = sorted({label for labels in now.labels for label in labels})
            told = f"; there are {', '.join(known)}" if known else "; its images have no labels"
            raise UsageError(
                f"filter {name}={'|'.join(values)}: no image of the collection has the label '{name}'{told}"
            )
        if seen is not None:
            labelled = [own if own is not None else other for own, other in zip(labelled, seen, strict=True)]
    return np.array([value is not None and value.casefold() in wanted for value in labelled], bool)


def _bounds(line: str, old: tuple[int, int | None], sign: str, value: str) -> tuple[int, int | None]:
    if not value.isdecimal() or sign == "!=":
        raise UsageError(f"filter '{line}': not a size; write width>=100, width<=100 or width=100")
    number = int(value)
    return (number if sign in {">=", "="} else old[0], number if sign in {"<=", "="} else old[1])
