"""One reading of a data set of texts: all that can be counted as rows go by, and a sample for what cannot.

Held of each row are two hashes and a label, 20 bytes; of the sample, whole rows.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agentkit_synthesis.quality.folders import Dataset
from agentkit_synthesis.quality.leakage import problem_hash
from agentkit_synthesis.quality.numbers import sampled
from agentkit_synthesis.quality.rows import Texts, read_rows, texts_of
from agentkit_synthesis.quality.words import Hashes, text_hash, tokens

__all__ = ["Sampled", "Survey", "survey"]

MOST_VALUES = 50  # of a column, for it to be a label
LABELS = ("family", "label", "category", "task", "source")  # the first of these that rows have is what classes are
NO_LABELS = frozenset(
    {"id", "hash", "split", "messages", "text", "prompt", "completion", "chosen", "rejected", "tools"}
)


@dataclass(frozen=True, slots=True)
class Sampled:
    """A row that was kept, with where it stands."""

    split: str
    line: int
    row: Mapping[str, Any]
    texts: Texts
    label: str


@dataclass
class Survey:
    """What was counted.

    Attributes:
        rows: of each split.
        prompts, contents, problems: a 64-bit hash of each row's prompt, of all it says, and of its prompt whatever its spaces and
            capitals, by split.
        labels: number of each row's label in `names`, by split.
        columns: value -> rows for each column of few values.
        claimed: rows with a column `verified`, and those of them where it is true.
        empty: rows that say nothing that could be read.
        sample: rows with equal chances.
    """

    rows: Counter[str] = field(default_factory=Counter)
    prompts: dict[str, array[int]] = field(default_factory=dict)
    contents: dict[str, array[int]] = field(default_factory=dict)
    problems: dict[str, array[int]] = field(default_factory=dict)
    labels: dict[str, array[int]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    columns: dict[str, Counter[str]] = field(default_factory=dict)
    prompt_lengths: Counter[int] = field(default_factory=Counter)
    answer_lengths: Counter[int] = field(default_factory=Counter)
    claimed: list[int] = field(default_factory=lambda: [0, 0])
    empty: int = 0
    sample: list[Sampled] = field(default_factory=list)
    too_many: set[str] = field(default_factory=set)

    def hashes(self, of: Mapping[str, array[int]]) -> Hashes:
        """Return the hashes of all splits, one after the other."""
        parts = [np.frombuffer(found, np.uint64) for found in of.values() if found]
        return np.concatenate(parts) if parts else np.empty(0, np.uint64)


def survey(data: Dataset, *, sample: int, seed: int, tick: Callable[[int], None]) -> Survey:
    """Read all rows once.

    Args:
        data: the data set.
        sample: rows that are kept.
        seed: of which.
        tick: told the number of rows read so far, after each.

    Raises:
        InvalidParams: a line cannot be read.
    """
    found, rng, seen = Survey(), np.random.default_rng(seed), 0
    for split, path in data.files.items():
        for line, row in read_rows(path):
            own = str(row["split"]) if split == "all" and isinstance(row.get("split"), str) else split
            texts = texts_of(row)
            label = _count(found, own, row, texts)
            sampled(rng, found.sample, Sampled(own, line, row, texts, label), seen, sample)
            seen += 1
            tick(seen)
    return found


def _count(found: Survey, split: str, row: Mapping[str, Any], texts: Texts) -> str:
    found.rows[split] += 1
    told = (
        (found.prompts, text_hash(texts.prompt or texts.answer)),
        (found.contents, text_hash("\0".join((texts.system, texts.prompt, texts.answer)))),
        (found.problems, problem_hash(texts.prompt or texts.answer)),
    )
    for into, value in told:
        into.setdefault(split, array("Q")).append(value)
    label = next((str(row[name]) for name in LABELS if isinstance(row.get(name), (str, int))), "")
    found.labels.setdefault(split, array("I")).append(found.names.setdefault(label, len(found.names)))
    found.prompt_lengths[len(tokens(texts.prompt))] += 1
    found.answer_lengths[len(tokens(texts.answer))] += 1
    found.empty += not texts.whole
    if isinstance(row.get("verified"), bool):
        found.claimed[0] += 1
        found.claimed[1] += row["verified"]
    _columns(found, row)
    return label


def _columns(found: Survey, row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        if name in NO_LABELS or name in found.too_many or not isinstance(value, (str, int, bool)):
            continue
        counts = found.columns.setdefault(name, Counter())
        counts[str(value)[:80]] += 1
        if len(counts) > MOST_VALUES:
            found.too_many.add(name)
            del found.columns[name]
