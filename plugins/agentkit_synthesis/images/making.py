"""Images to order from a model: candidates in numbered batches, kept where the judge confirms every label and nothing is copied.

A candidate's number gives its noise; a batch always has the same size, so what a batch comes to depends on the model, the seed and
what the batches before it left open, and on nothing else. Each finished batch is one line of `batches.jsonl`: a run that is stopped
at any moment goes on behind the last line and gives the same images.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import JobError
from agentkit_synthesis.images.balance import Values, spelled
from agentkit_synthesis.images.files import append, png, put

__all__ = ["BATCHES", "NOT_NEEDED", "Maker", "Verdict", "file_name", "image_id", "numbers_to_seeds"]

BATCHES = "batches.jsonl"
WINDOW = 64  # batches ahead that are looked through for open slots
NOT_NEEDED = "not needed any more"
GIVEN_UP_AFTER = 512  # candidates of which none was right


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one candidate: empty `why` if it is to be kept, and what is noted about it."""

    why: str
    notes: Mapping[str, Any] = field(default_factory=dict)


class Sampler(Protocol):
    """Makes candidates: numbers and labels of a whole batch to images (B, H, W, C)."""

    def __call__(self, numbers: Sequence[int], targets: NDArray[np.int64], /) -> NDArray[np.uint8]: ...


Check = Callable[[NDArray[np.uint8], NDArray[np.int64]], Sequence[Verdict]]


def numbers_to_seeds(seed: int, numbers: Sequence[int], stream: int) -> list[int]:
    """Return a seed of its own for each candidate."""
    return [int(np.random.SeedSequence((seed, stream, n)).generate_state(1, np.uint64)[0] >> 1) for n in numbers]


def image_id(seed: int, number: int) -> str:
    """Return an image's id."""
    return f"images-{seed}-{number}"


def file_name(folder: str, seed: int, number: int) -> str:
    """Return an image's file in the data set: in a folder for the value of the first attribute."""
    return f"{folder}/{image_id(seed, number)}.png"


def folders_of(values: Sequence[str]) -> list[str]:
    """Return a folder's name for each value, different ones for different values."""
    plain = [re.sub(r"[^\w.-]+", "_", value).strip("._") or "_" for value in values]
    return [name if plain.count(name) == 1 else f"{name}-{n}" for n, name in enumerate(plain)]


class Maker:
    """Fills the slots of what was asked for.

    Args:
        wanted: (count, attributes) labels of the images.
        spare: (M, attributes) labels that take the place of a combination that cannot be had; the first with the same value of
            the first attribute. Without one the job ends.
        values: attribute -> the names of its values.
        sample: makes candidates.
        check: says which are kept.
        folder: where images and `batches.jsonl` go, and are found again.
        seed: part of the images' names.
        at_once: candidates a batch.
        sure: every candidate will be right, so the last batch need not be full.
        most_tries: candidates for each image that is wanted of a combination, at most.
    """

    def __init__(
        self, wanted: NDArray[np.int64], spare: NDArray[np.int64], values: Values, *, sample: Sampler, check: Check, folder: Path, seed: int,
        at_once: int, most_tries: int, sure: bool = False,
    ) -> None:  # fmt: skip
        self._wanted, self._values, self._sample, self._check = wanted.copy(), values, sample, check
        self._spare = {int(one): list(map(tuple, spare[spare[:, 0] == one].tolist())) for one in np.unique(spare[:, 0])}
        self.replaced: list[tuple[int, ...]] = []
        self._folder, self._seed, self._at_once, self._most_tries = folder, seed, at_once, most_tries
        self._sure, self.tried = sure, 0  # candidates made
        self._open: dict[tuple[int, ...], list[int]] = {}
        self._asked: Counter[tuple[int, ...]] = Counter()
        for slot, row in enumerate(map(tuple, wanted.tolist())):
            self._ask(slot, row)
        self._tried: Counter[tuple[int, ...]] = Counter()
        self._filled, self._first = np.zeros(len(wanted), bool), 0  # the first slot that may be open
        self._folders = folders_of(next(iter(values.values())))
        self.why: Counter[str] = Counter()
        self.batches = self.kept = 0
        self._restore()

    def run(self, *, told: Callable[[int], None], should_stop: Callable[[], bool]) -> bool:
        """Make images until every slot is filled; return whether all are.

        Raises:
            JobError: a combination, or all, come out wrong again and again; or the disk is full.
        """
        while self.kept < len(self._wanted):
            if should_stop():
                return False
            self._batch()
            told(self.kept)
            self._give_up()
        return True

    def targets(self) -> NDArray[np.int64]:
        """Return the labels that the next batch is asked for: those of the open slots in order, from the start again if few."""
        self._first += int(np.argmin(self._filled[self._first :]))
        window = self._filled[self._first : self._first + WINDOW * self._at_once]
        left = self._first + np.flatnonzero(~window)[: self._at_once]
        return self._wanted[left if self._sure else left[np.arange(self._at_once) % len(left)]]

    def _batch(self) -> None:
        targets = self.targets()
        numbers = [self.tried + n for n in range(len(targets))]
        made = self._sample(numbers, targets)
        kept: list[dict[str, Any]] = []
        why: Counter[str] = Counter()
        taken: Counter[tuple[int, ...]] = Counter()
        for number, row, pixels, verdict in zip(numbers, map(tuple, targets.tolist()), made, self._check(made, targets), strict=True):  # fmt: skip
            if verdict.why or taken[row] == len(self._open.get(row, ())):
                why[verdict.why or NOT_NEEDED] += 1
                continue
            slot = self._open[row][taken[row]]
            taken[row] += 1
            name = file_name(self._folders[row[0]], self._seed, number)
            put(self._folder / name, png(pixels))
            kept.append({"number": number, "slot": slot, "file_name": name, **verdict.notes})
        line = {"batch": self.batches, "targets": targets.tolist(), "kept": kept, "why": dict(sorted(why.items()))}
        append(self._folder / BATCHES, json.dumps(line, ensure_ascii=False))
        self._count(line)

    def _count(self, line: Mapping[str, Any]) -> None:
        """Take a finished batch into the books."""
        self.batches += 1
        self.tried += len(line["targets"])
        self._tried.update(map(tuple, line["targets"]))
        self.why.update(line["why"])
        self.kept += len(line["kept"])
        for one in line["kept"]:
            row = tuple(self._wanted[one["slot"]].tolist())
            self._filled[one["slot"]] = True
            self._open[row].remove(one["slot"])
            if not self._open[row]:
                del self._open[row]
        self._replace()

    def _ask(self, slot: int, row: tuple[int, ...]) -> None:
        self._open.setdefault(row, []).append(slot)
        self._asked[row] += 1

    def _replace(self) -> None:
        """Give the slots of combinations that cannot be had to others; part of counting, so that resuming does the same."""
        for row in [row for row in self._open if self._tried[row] >= self._limit(row) and self._spare.get(row[0])]:
            slots = self._open.pop(row)
            self.replaced.append(row)
            for slot in slots:
                new = self._spare[row[0]].pop(0) if self._spare[row[0]] else row
                self._wanted[slot] = new
                self._ask(slot, new)

    def _limit(self, row: tuple[int, ...]) -> int:
        return self._most_tries * self._asked[row] + self._at_once

    def _restore(self) -> None:
        """Read the batches of an earlier start; a line that was torn is cut off."""
        path = self._folder / BATCHES
        if not path.exists():
            return
        whole = 0
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    whole += len(line)
                    self._count(json.loads(line))
        with path.open("r+b") as file:
            file.truncate(whole)

    def _give_up(self) -> None:
        reasons = ", ".join(f"{count} {why}" for why, count in self.why.most_common(3))
        if self.kept == 0 and self.tried >= max(GIVEN_UP_AFTER, self._at_once):
            raise JobError(f"none of {self.tried} images is what was asked for ({reasons}); {_ADVICE}")
        for row, slots in self._open.items():
            if self._tried[row] >= self._limit(row):
                made = self._asked[row] - len(slots)
                raise JobError(
                    f"{spelled(row, self._values)}: {made} of {self._asked[row]} after {self._tried[row]} tries"
                    f" (of all: {reasons}); {_ADVICE}"
                )


_ADVICE = (
    "train longer (train_steps), ask for less confidence, allow more tries (most_tries), or learn fewer attributes"
)
