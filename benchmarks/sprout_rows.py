"""Rows out of judged cases: which shares are stated, and what each was to be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import sprout_tasks
from benchmarks.figures import Measured, share
from benchmarks.sprout_tasks import Judged

TARGETS = {
    "seen-tool": 0.95, "seen-call": 0.85, "seen-task": 0.75, "steps-task": 0.75,
    "unseen-tool": 0.75, "unseen-call": 0.55, "schema-valid": 1.0, "percent": 0.9, "sum-file": 0.8,
}  # fmt: skip
_PARTS: tuple[tuple[str, str, Callable[[Judged], bool]], ...] = (
    ("tool", "right tool", lambda one: one.right_tool),
    ("call", "whole call", lambda one: one.right_call),
    ("task", "whole task", lambda one: one.right_task),
)
_KINDS = {"basics": "bundled tools", "catalog": "everyday, devops, office", "new": "tools never seen",
          "none": "none of the tools does it"}  # fmt: skip


def measured(judged: Sequence[Judged], seed: int, weight: float) -> list[Measured]:
    """Return all shares that these cases give."""
    return [*_held_out(judged, seed, weight), *_handwritten(judged), *_numbers(judged), *_validity(judged)]


def confusions(judged: Sequence[Judged]) -> dict[str, list[dict[str, Any]]]:
    """Return the most frequent wrong picks, of the generated and of the handwritten requests, ranker on."""
    return {
        task: sprout_tasks.confusions([one for one in judged if one.task == task and one.ranked])
        for task in ("set", "hand")
    }


def _held_out(judged: Sequence[Judged], seed: int, weight: float) -> Iterator[Measured]:
    for ranked in (True, False):
        own = [one for one in judged if one.task == "set" and one.ranked == ranked]
        groups = {"seen": [one for one in own if one.seen], "unseen": [one for one in own if not one.seen]}
        groups |= {kind: cases for kind, cases in sprout_tasks.by_kind(own) if kind != "invented"}
        how = f"ranker at {weight:g}" if ranked else "model alone"
        for group, cases in groups.items():
            for part, words, right in _PARTS:
                if cases:
                    yield _share(f"{group}-{part}", f"held-out requests (seed {seed}), {_named(group)}: {words}, {how}",
                                 cases, right, ranked)  # fmt: skip


def _handwritten(judged: Sequence[Judged]) -> Iterator[Measured]:
    for ranked in (True, False):
        own = [one for one in judged if one.task == "hand" and one.ranked == ranked]
        groups = {"all": own} | dict(sprout_tasks.by_kind(own))
        how = "with the ranker" if ranked else "model alone"
        for group, cases in groups.items():
            for part, words, right in _PARTS[:2]:
                if cases:
                    about = _KINDS.get(group, "all")
                    yield _share(f"hand-{group}-{part}", f"requests written by hand, {about}: {words}, {how}",
                                 cases, right, ranked)  # fmt: skip


def _numbers(judged: Sequence[Judged]) -> Iterator[Measured]:
    asked = (
        ("percent", "percent", "percentages written by hand: calculator, exact answer"),
        ("sum", "sum-file", "sums over a file, written by hand: read_file, calculator, exact answer"),
        ("lists", "list", "sums over generated files of 2 to 20 numbers, new phrasings"),
    )
    for task, name, words in asked:
        own = [one for one in judged if one.task == task]
        if own:
            yield _share(name, words, own, lambda one: one.right_task, True)
        if task == "lists":
            for length, cases in sprout_tasks.by_kind(own):
                yield _share(f"list-{length}", f"sum of {int(length)} numbers in a file", cases,
                             lambda one: one.right_task, True)  # fmt: skip
            for variant in sprout_tasks.VARIANTS if own else ():
                cases = [one for one in own if f"-{variant}-" in one.id]
                yield _share(f"list-{variant}", f"sum of the numbers in a file, {variant}", cases,
                             lambda one: one.right_task, True)  # fmt: skip


def _validity(judged: Sequence[Judged]) -> Iterator[Measured]:
    valid, calls = sum(one.valid for one in judged), sum(one.calls for one in judged)
    if calls:
        yield share("schema-valid", "calls whose arguments fit their tool's schema, of all calls made", valid, calls,
                    TARGETS["schema-valid"])  # fmt: skip


def _share(id: str, what: str, cases: Sequence[Judged], right: Callable[[Judged], bool], ranked: bool) -> Measured:
    name = id if ranked else f"{id}-alone"
    return share(name, what, sum(map(right, cases)), len(cases), TARGETS.get(name))


def _named(group: str) -> str:
    names = {"seen": "tools seen in training", "unseen": "tools never seen", "bundled": "bundled tools",
             "catalogue": "everyday tools", "steps": "several steps"}  # fmt: skip
    return names[group]
